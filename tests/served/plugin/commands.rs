//! The command line, from the officers' keys to the installed release.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use countersign_plugin as plugin;
use serde_json::{Value, json};

use harness::module::Finished;
use harness::module::cli::{Answer, Cli};
use harness::officers::{self, done, failed, keygen};

use super::release::{Officer, Release};

/// `countersign plugin …` in a folder.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    officers::command(folder, &[&["plugin"], arguments].concat())
}

/// Its answer.
pub(crate) fn countersign(folder: &Path, arguments: &[&str]) -> Answer {
    officers::countersign(folder, &[&["plugin"], arguments].concat())
}

/// Writes a configuration that pins these officers.
fn configure(release: &Release, lines: &[String], threshold: usize) {
    let text = format!(
        "[backing]\nmodule = \"/m.so\"\ntoken = \"t\"\npin_env = \"PIN\"\n[store]\npath = \"/s\"\n[plugin]\nlibrary = {:?}\n\
         officers = {lines:?}\nthreshold = {threshold}\nfloor_file = {:?}\n",
        release.library(),
        release.floor_file()
    );
    fs::write(release.path("countersign.toml"), text).expect("the folder is ours");
}

#[test]
fn the_bill_of_materials_is_signed_with_the_library_and_another_one_is_found() {
    let release = Release::new("0.0.0", "0.0.0");
    fs::remove_file(release.manifest()).expect("the folder is ours");
    let folder = release.folder.path();
    keygen(folder, "alice");
    let line = fs::read_to_string(folder.join("alice.pub")).expect("it was written");
    let line = line.lines().nth(1).expect("a comment and the key").to_owned();
    configure(&release, std::slice::from_ref(&line), 1);
    let sbom = release.path("libcountersign.so.cdx.json");
    fs::write(&sbom, "{}").expect("the folder is ours");

    let library = ["--library", "libcountersign.so"];
    let manifest = [&["manifest", "--floor", "1.1.0", "--version", "1.2.0"], &library[..]].concat();
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(done(&countersign(folder, &manifest))["manifest"]["sbom_sha256"], digest);
    let sign = [&["sign", "--secret-key", "alice.key"], &library[..]].concat();
    fs::write(&sbom, "{ }").expect("the folder is ours");
    assert!(failed(&countersign(folder, &sign)).contains("does not match the manifest"));
    fs::remove_file(&sbom).expect("the folder is ours");
    assert!(failed(&countersign(folder, &sign)).contains("is missing; nothing was signed"));
    fs::write(&sbom, "{}").expect("the folder is ours");
    let signed = countersign(folder, &sign);
    assert!(signed.stderr.contains(digest), "it is shown before the password: {}", signed.stderr);
    done(&signed);

    done(&countersign(folder, &["pin"]));
    let verify = || countersign(folder, &["verify"]);
    assert_eq!(done(&verify())["plugin"]["sbom"], "as signed");
    fs::remove_file(&sbom).expect("the folder is ours");
    assert_eq!(done(&verify())["plugin"]["sbom"], "missing");
    fs::write(&sbom, "{ }").expect("the folder is ours");
    let other = verify();
    assert!(!other.success, "{}", other.json);
    assert_eq!(other.json["plugin"]["sbom"], "not the one that was signed");
}

#[test]
fn a_release_goes_from_the_officers_to_the_boundary() {
    let release = Release::new("0.0.0", "0.0.0");
    fs::remove_file(release.manifest()).expect("the folder is ours");
    let folder = release.folder.path();
    let ids = ["alice", "bob", "carol"].map(|name| keygen(folder, name));
    let lines: Vec<String> = ["alice", "bob", "carol"]
        .map(|name| fs::read_to_string(folder.join(format!("{name}.pub"))).expect("it was written"))
        .map(|text| text.lines().nth(1).expect("a comment and the key").to_owned())
        .into();
    configure(&release, &lines, 2);

    let library = ["--library", "libcountersign.so"];
    let manifest = [&["manifest", "--floor", "1.1.0", "--version", "1.2.0"], &library[..]].concat();
    let made = countersign(folder, &manifest);
    assert_eq!(done(&made)["manifest"]["version"], "1.2.0");
    let signed = |name: &str| {
        let key = format!("{name}.key");
        let answer = countersign(folder, &[&["sign", "--secret-key", &key], &library[..]].concat());
        // Each officer sees what they sign before the command asks for the password.
        for words in
            ["about to sign", "1.2.0", "1.1.0", made.json["manifest"]["sha256"].as_str().expect("a text")]
        {
            assert!(answer.stderr.contains(words), "{words:?} is not in: {}", answer.stderr);
        }
        done(&answer)["signature_file"].as_str().expect("a text").to_owned()
    };

    // `verify` refuses what `serve` would refuse, with the same words, and `pin` does not pin it.
    let config =
        countersign::shell::config::EngineConfig::load(&release.path("countersign.toml")).expect("complete");
    let config = config.plugin.expect("it is there");
    let refused_alike = || {
        let error = plugin::verify(&config).expect_err("refused");
        assert_eq!(failed(&countersign(folder, &["verify"])), format!("{error}\n{}", error.next()));
        assert_eq!(Finished::of(&mut command(folder, &["verify"])).status.code(), Some(1));
        error.to_string()
    };
    assert!(refused_alike().contains("0 valid signatures of the 2"));
    assert_eq!(signed("alice"), format!("libcountersign.so.manifest.{}.minisig", ids[0]));
    let alone = refused_alike();
    assert!(alone.contains("1 valid signatures of the 2") && alone.contains(&ids[1]), "{alone}");
    assert!(failed(&countersign(folder, &["pin"])).contains("1 valid signatures"));
    signed("carol");
    assert!(refused_alike().contains("is missing"), "the floor file");
    let pinned = countersign(folder, &["pin"]);
    assert_eq!(done(&pinned)["floor"], "1.1.0");
    assert!(failed(&countersign(folder, &["pin"])).contains("exists already"));

    let verified = countersign(folder, &["verify"]);
    let shown = &done(&verified)["plugin"];
    assert_eq!((&shown["threshold"], &shown["officers"]), (&json!(2), &json!(3)));
    assert_eq!(shown["running_floor"], "1.1.0");
    assert_eq!(shown["manifest"], made.json["manifest"]);
    let signers: Vec<&Value> = shown["signers"].as_array().expect("a list").iter().collect();
    assert_eq!(signers.len(), 2);
    assert_eq!((&signers[0]["key_id"], &signers[1]["key_id"]), (&json!(ids[0]), &json!(ids[2])));
    let comment = signers[0]["trusted_comment"].as_str().expect("a text");
    assert!(comment.contains("version:1.2.0\tsha256:"), "{comment}");
    let text = Finished::of(&mut command(folder, &["verify"])).expect_success().stdout;
    for words in [&lines[0], &lines[2], "2 of 3 officers", "1.2.0", "running floor"] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }

    // Without any configuration.
    let mut options = vec!["verify", "--library", "libcountersign.so", "--threshold", "2"];
    lines.iter().for_each(|line| options.extend(["--officer", line]));
    let anywhere = countersign(folder, &options);
    assert_eq!(done(&anywhere)["plugin"]["running_floor"], Value::Null);
    options[4] = "3";
    assert!(failed(&countersign(folder, &options)).contains("2 valid signatures of the 3"));
    options[4] = "4";
    assert!(failed(&countersign(folder, &options)).contains("--threshold: a number from 1 to 3"));
    options.push("--officer");
    options.push("RW");
    assert!(failed(&countersign(folder, &options)).contains("--officer: entry 4 is no public key"));
}

#[test]
fn keys_are_made_for_their_owner_alone_and_overwrite_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();
    let id = keygen(folder, "alice");
    let mode = |name: &str| fs::metadata(folder.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("alice.key"), 0o600);
    assert!(fs::read_to_string(folder.join("alice.pub")).expect("there").contains(&id));
    let before = ["alice.key", "alice.pub"].map(|name| fs::read(folder.join(name)).expect("there"));
    for (secret, public) in [("alice.key", "new.pub"), ("new.key", "alice.pub"), ("alice.key", "alice.pub")] {
        let answer = countersign(folder, &["keygen", "--secret-key", secret, "--public-key", public]);
        assert!(failed(&answer).contains("exists already; nothing was changed"), "{}", answer.json);
    }
    assert_eq!(["alice.key", "alice.pub"].map(|name| fs::read(folder.join(name)).expect("there")), before);
    assert_eq!(fs::read_dir(folder).expect("listed").count(), 2);
    // Without a password no key is made.
    let keygen = ["keygen", "--secret-key", "bob.key", "--public-key", "bob.pub"];
    let answer = Cli::answer(command(folder, &keygen).env_remove("COUNTERSIGN_OFFICER_PASSWORD"), "");
    assert!(failed(&answer).contains("--password-file"), "{}", answer.json);
    let answer = Cli::answer(command(folder, &keygen).env("COUNTERSIGN_OFFICER_PASSWORD", ""), "");
    assert!(failed(&answer).contains("is set, but empty"), "{}", answer.json);
    fs::write(folder.join("password"), "x".repeat(1025)).expect("the folder is ours");
    let long = [&keygen[..], &["--password-file", "password"]].concat();
    assert!(failed(&countersign(folder, &long)).contains("more than 1024 bytes"));
    assert!(!folder.join("bob.key").exists() && !folder.join("bob.pub").exists());
}

#[test]
fn nobody_signs_a_library_that_the_manifest_is_not_for() {
    let release = Release::new("1.2.0", "1.1.0");
    let folder = release.folder.path();
    let id = keygen(folder, "alice");
    let sign = ["sign", "--secret-key", "alice.key", "--library", "libcountersign.so"];
    let good = fs::read(release.library()).expect("there");
    fs::write(release.library(), b"another build").expect("the folder is ours");
    let answer = countersign(folder, &sign);
    let said = failed(&answer);
    assert!(said.contains("its sha256 is ") && said.contains("nothing was signed"), "{said}");
    assert!(said.contains("softhsm/reproduce.sh"), "{said}");
    fs::write(release.library(), &good).expect("the folder is ours");

    let manifest = release.manifest_bytes();
    fs::write(release.manifest(), b"name = \"other\"").expect("the folder is ours");
    assert!(failed(&countersign(folder, &sign)).contains("the manifest"));
    fs::remove_file(release.manifest()).expect("the folder is ours");
    assert!(failed(&countersign(folder, &sign)).contains("is missing"));
    fs::write(release.manifest(), &manifest).expect("the folder is ours");

    let mut wrong = command(folder, &sign);
    let answer = Cli::answer(wrong.env("COUNTERSIGN_OFFICER_PASSWORD", "not this one"), "");
    assert!(failed(&answer).contains("this password does not open the secret key"), "{}", answer.json);
    let none = ["sign", "--secret-key", "none.key", "--library", "libcountersign.so"];
    assert!(failed(&countersign(folder, &none)).contains("cannot use the secret key none.key"));
    let signature = release.path(&format!("libcountersign.so.manifest.{id}.minisig"));
    assert!(!signature.exists(), "nothing was signed so far");

    done(&countersign(folder, &sign));
    let first = fs::read(&signature).expect("there");
    assert!(failed(&countersign(folder, &sign)).contains("exists already"));
    assert_eq!(fs::read(&signature).expect("there"), first);
}

#[test]
fn a_manifest_is_made_once_and_its_floor_is_not_above_it() {
    let release = Release::new("0.0.0", "0.0.0");
    let folder = release.folder.path();
    let made = |more: &[&str]| {
        countersign(folder, &[&["manifest", "--library", "libcountersign.so", "--floor"], more].concat())
    };
    assert!(failed(&made(&["0.0.1"])).contains("exists already"));
    fs::remove_file(release.manifest()).expect("the folder is ours");
    assert!(
        failed(&made(&["1.2.1", "--version", "1.2.0"])).contains("1.2.1 is above the version itself, 1.2.0")
    );
    assert!(!release.manifest().exists());
    let answer = made(&["0.0.1"]);
    assert_eq!(done(&answer)["manifest"]["version"], env!("CARGO_PKG_VERSION"));
    let read = plugin::read_manifest(&release.library()).expect("it was written").1;
    assert_eq!(done(&answer)["manifest"]["sha256"], read.digest().to_string());
    plugin::read_library(&release.library(), &read).expect("it is of this library");
    fs::remove_file(release.manifest()).expect("the folder is ours");
    for version in ["1", "v1.0.0", "1.0.0+5", ""] {
        let mut command =
            command(folder, &["manifest", "--library", "libcountersign.so", "--floor", version]);
        assert_eq!(Finished::of(&mut command).status.code(), Some(2), "{version}: wrong usage");
    }
    fs::remove_file(release.library()).expect("the folder is ours");
    assert!(failed(&made(&["0.0.1"])).contains("the library libcountersign.so is missing"));
}

#[test]
fn without_a_table_in_the_configuration_it_says_what_to_write() {
    let release = Release::new("1.0.0", "1.0.0");
    let folder = release.folder.path();
    assert!(failed(&countersign(folder, &["verify"])).contains("countersign.toml"));
    let text = "[backing]\nmodule = \"/m.so\"\ntoken = \"t\"\npin_env = \"PIN\"\n[store]\npath = \"/s\"\n";
    fs::write(release.path("countersign.toml"), text).expect("the folder is ours");
    for verb in ["verify", "pin"] {
        let said = failed(&countersign(folder, &[verb]));
        assert!(said.contains("has no table [plugin]") && said.contains("floor_file"), "{said}");
    }
    configure(&release, &[Officer::new().line()], 2);
    assert!(failed(&countersign(folder, &["verify"])).contains("key plugin.threshold"));
}
