//! Compatibility with minisign itself: keys and signatures work both ways.

use std::fs;

use countersign::kernel::officer::Officers;
use countersign_plugin::{self as plugin, PluginConfig};

use harness::officers::{PASSWORD, done, failed, keygen, line, minisign};

use super::commands::countersign;
use super::release::{Officer, Release, refused};

fn config(release: &Release, lines: &[String], threshold: usize) -> PluginConfig {
    PluginConfig {
        library: release.library(),
        officers: Officers::parse(lines, threshold).expect("officers"),
        floor_file: release.floor_file(),
    }
}

#[test]
fn minisign_verifies_our_signatures() {
    let release = Release::new("1.2.0", "1.1.0");
    let folder = release.folder.path();
    let id = keygen(folder, "alice");
    done(&countersign(folder, &["sign", "--secret-key", "alice.key", "--library", "libcountersign.so"]));
    let signature = format!("libcountersign.so.manifest.{id}.minisig");
    let verify = ["-V", "-p", "alice.pub", "-m", "libcountersign.so.manifest", "-x", &signature];
    let shown = minisign(folder, &verify, "").expect_success().stdout;
    for words in ["verified", "file:libcountersign.so.manifest", "version:1.2.0", "sha256:"] {
        assert!(shown.contains(words), "{words:?} is not in: {shown}");
    }
    // The signature covers the bytes that it verifies.
    fs::write(release.manifest(), [&release.manifest_bytes()[..], b"\n"].concat())
        .expect("the folder is ours");
    assert!(!minisign(folder, &verify, "").status.success());
}

#[test]
fn minisigns_signatures_are_accepted_and_its_legacy_ones_refused() {
    let release = Release::new("1.2.0", "1.1.0");
    let folder = release.folder.path();
    minisign(folder, &["-G", "-W", "-p", "bob.pub", "-s", "bob.key"], "").expect_success();
    let config = config(&release, &[line(folder, "bob.pub")], 1);
    let sign = ["-S", "-W", "-s", "bob.key", "-m", "libcountersign.so.manifest"];
    minisign(folder, &[&sign[..], &["-l"]].concat(), "").expect_success();
    refused(
        plugin::verify(&config),
        &["0 valid signatures", "manifest.minisig is a legacy signature of ", "without -l"],
    );
    minisign(folder, &sign, "").expect_success();
    let signers = plugin::pin(&config).expect("signed").signatures().signers.len();
    assert_eq!(signers, 1);
    // A legacy signature in addition does no harm.
    let legacy = ["-l", "-x", "libcountersign.so.manifest.old.minisig"];
    minisign(folder, &[&sign[..], &legacy].concat(), "").expect_success();
    assert_eq!(plugin::verify(&config).expect("signed").release().signatures().set_aside.len(), 1);
}

#[test]
fn keys_go_both_ways() {
    let release = Release::new("1.2.0", "1.1.0");
    let folder = release.folder.path();
    // Our key, used by minisign.
    keygen(folder, "alice");
    let sign = ["-S", "-s", "alice.key", "-m", "libcountersign.so.manifest"];
    minisign(folder, &sign, &format!("{PASSWORD}\n")).expect_success();
    // minisign's own key, encrypted under a password, used by us.
    let twice = format!("{PASSWORD}\n{PASSWORD}\n");
    minisign(folder, &["-G", "-p", "bob.pub", "-s", "bob.key"], &twice).expect_success();
    done(&countersign(folder, &["sign", "--secret-key", "bob.key", "--library", "libcountersign.so"]));
    let officers = [line(folder, "alice.pub"), line(folder, "bob.pub")];
    let config = config(&release, &officers, 2);
    assert_eq!(plugin::pin(&config).expect("both have signed").signatures().signers.len(), 2);
}

#[test]
fn a_key_without_a_password_is_refused() {
    let release = Release::new("1.2.0", "1.1.0");
    let folder = release.folder.path();
    minisign(folder, &["-G", "-W", "-p", "bob.pub", "-s", "bob.key"], "").expect_success();
    let answer = countersign(folder, &["sign", "--secret-key", "bob.key", "--library", "libcountersign.so"]);
    assert!(failed(&answer).contains("no password protects it"), "{}", answer.json);
    let other = Officer::new().line();
    fs::write(folder.join("no.key"), format!("untrusted comment: x\n{other}\n")).expect("the folder is ours");
    let answer = countersign(folder, &["sign", "--secret-key", "no.key", "--library", "libcountersign.so"]);
    assert!(failed(&answer).contains("not a secret key of minisign"), "{}", answer.json);
}
