//! A version that has run keeps older ones out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use countersign_plugin as plugin;

use super::release::{Officer, Release, compile, refused};

#[test]
fn a_version_below_the_floor_is_refused_and_one_equal_to_it_runs() {
    let officer = Officer::new();
    let release = Release::new("2.0.0", "2.0.0");
    let config = release.installed(&officer);
    for (version, runs) in [
        ("2.0.0", true),
        ("2.0.1", true),
        ("10.0.0", true),
        ("1.9.9", false),
        ("2.0.0-rc.9", false),
        ("0.0.0", false),
    ] {
        release.replace(b"bytes", version, "0.0.0");
        release.sign(&[&officer]);
        match plugin::verify(&config) {
            Ok(verified) => {
                assert!(runs, "{version}");
                assert_eq!(verified.floor().to_string(), "2.0.0");
            }
            outcome => {
                assert!(!runs, "{version}");
                let words = format!("version {version} may not run");
                refused(outcome, &[&words, "below the floor 2.0.0", "install version 2.0.0 or a higher one"]);
            }
        }
    }
}

#[test]
fn loading_raises_the_floor_and_nothing_lowers_it() {
    let officer = Officer::new();
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.installed(&officer);
    let library = compile(release.folder.path(), 1, None);
    for (version, floor, then) in [
        ("1.0.0", "1.0.0", "1.0.0"),
        ("1.2.0", "1.1.0", "1.1.0"),
        ("1.1.0", "1.0.0", "1.1.0"),
        ("1.2.0", "1.2.0", "1.2.0"),
        ("2.0.0", "0.1.0", "1.2.0"),
    ] {
        release.replace(&library, version, floor);
        release.sign(&[&officer]);
        let before = release.floor_text();
        let verified = plugin::verify(&config).expect("not below");
        assert_eq!(release.floor_text(), before, "looking at it changes nothing");
        let loaded = verified.load().expect("it loads");
        assert_eq!(loaded.manifest.version().to_string(), version);
        assert!(release.floor_text().starts_with(&format!("floor = \"{then}\"\n")), "{version}");
        let mode = fs::metadata(release.floor_file()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    release.replace(&library, "1.1.9", "1.0.0");
    release.sign(&[&officer]);
    refused(plugin::verify(&config), &["version 1.1.9 may not run"]);
}

#[test]
fn a_floor_that_was_raised_since_it_was_verified_counts() {
    let officer = Officer::new();
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.installed(&officer);
    let seen = release.path("seen");
    let library = compile(release.folder.path(), 1, Some((&release.floor_file(), &seen)));
    release.replace(&library, "1.0.0", "1.0.0");
    release.sign(&[&officer]);
    let old = plugin::verify(&config).expect("not below");
    // Another process loads a newer version.
    release.replace(&compile(release.folder.path(), 2, None), "1.1.0", "1.1.0");
    release.sign(&[&officer]);
    plugin::verify(&config).expect("not below").load().expect("it loads");
    let error = old.load().expect_err("below by now").to_string();
    assert!(error.contains("version 1.0.0 may not run"), "{error}");
    assert!(!seen.exists(), "its code did not run");
}

#[test]
fn a_floor_file_that_is_missing_empty_or_damaged_refuses_and_is_never_made_again() {
    let officer = Officer::new();
    let release =
        Release::of(&compile(tempfile::tempdir().expect("a folder").path(), 1, None), "1.0.0", "1.0.0");
    let config = release.installed(&officer);
    let good = release.floor_text();
    let pin = "run \"countersign plugin pin\" once, at installation";
    for (content, words) in [
        (None, ["the floor file", "is missing", pin]),
        (Some(""), ["the floor file", "is damaged", "put it back"]),
        (Some("floor = \"1.0.0\"\n"), ["the floor file", "is damaged", "put it back"]),
        (Some(&good.replace("1.0.0", "0.9.0")), ["the floor file", "is damaged", "put it back"]),
    ] {
        // Also if it disappears between verifying and loading.
        fs::write(release.floor_file(), &good).expect("the folder is ours");
        let verified = plugin::verify(&config).expect("it is whole");
        match content {
            None => fs::remove_file(release.floor_file()),
            Some(content) => fs::write(release.floor_file(), content),
        }
        .expect("the folder is ours");
        refused(plugin::verify(&config), &words);
        let error = verified.load().expect_err("no floor to raise").to_string();
        assert!(error.contains(words[1]), "{error}");
        assert_eq!(fs::read_to_string(release.floor_file()).ok().as_deref(), content);
    }
    fs::write(release.floor_file(), &good).expect("the folder is ours");
    fs::set_permissions(release.floor_file(), fs::Permissions::from_mode(0o666)).expect("chmod");
    refused(plugin::verify(&config), &["others can write to the floor file", "chmod 600"]);
}
