//! The number of officers who have signed: it counts different pinned keys, whatever the files are called and
//! claim.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use countersign::kernel::officer::Officers;
use countersign_plugin::{self as plugin, Release as Verifiable};

use harness::module::Finished;

use super::release::{Officer, Release, refused};

#[test]
fn as_many_officers_as_the_threshold_are_enough_whoever_they_are() {
    let officers = [Officer::new(), Officer::new(), Officer::new()];
    let pinned: Vec<&Officer> = officers.iter().collect();
    for threshold in 1..=3 {
        for subset in 0..8_usize {
            let release = Release::new("1.0.0", "1.0.0");
            let config = release.config(&pinned, threshold);
            let (signing, missing): (Vec<_>, Vec<_>) = (0..3).partition(|at| subset >> at & 1 == 1);
            release.sign(&signing.iter().map(|at| pinned[*at]).collect::<Vec<_>>());
            let signers = |signatures: &plugin::signatures::Signatures| {
                signatures.signers.iter().map(|signer| signer.officer.line().to_owned()).collect::<Vec<_>>()
            };
            let expected: Vec<String> = signing.iter().map(|at| pinned[*at].line()).collect();
            if signing.len() >= threshold {
                let pinned_release = plugin::pin(&config).expect("enough have signed");
                assert_eq!(signers(pinned_release.signatures()), expected);
                let verified = plugin::verify(&config).expect("enough have signed");
                assert_eq!(signers(verified.release().signatures()), expected);
                assert_eq!(verified.signers().len(), signing.len());
                assert_eq!(verified.manifest().version().to_string(), "1.0.0");
            } else {
                let count = format!("{} valid signatures of the {threshold} that it needs", signing.len());
                let error = plugin::pin(&config).expect_err("too few").to_string();
                assert!(error.contains(&count), "{error}");
                assert!(!release.floor_file().exists(), "{signing:?}: a floor was written");
                let unsigned = error.split_once("; not signed by ").expect("they are named").1;
                for at in missing {
                    assert!(unsigned.contains(&officers[at].line()), "{error}");
                }
                for line in expected {
                    assert!(!unsigned.contains(&line) && error.contains(&line), "{error}");
                }
                refused(plugin::verify(&config), &[&count, "countersign plugin sign"]);
            }
        }
    }
}

#[test]
fn somebody_who_is_not_pinned_does_not_count_and_is_named() {
    let (officer, other, stranger) = (Officer::new(), Officer::new(), Officer::new());
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.config(&[&officer, &other], 2);
    release.sign(&[&officer, &stranger]);
    let by = format!("1.minisig is by key {}, which is not pinned here", stranger.id());
    refused(plugin::verify(&config), &["1 valid signatures of the 2", &by]);
    // Nor does it do any harm.
    release.sign(&[&officer, &stranger, &other]);
    let verified = plugin::pin(&config).expect("both have signed");
    let aside = &verified.signatures().set_aside;
    assert_eq!(aside.len(), 1);
    assert!(aside[0].to_string().contains(&by), "{}", aside[0]);
}

#[test]
fn one_key_counts_once_however_often_it_signs() {
    let (officer, other) = (Officer::new(), Officer::new());
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.config(&[&officer, &other], 2);
    for number in 0..5 {
        // Each signature differs, in its comment and in its randomness.
        let text = officer.signature(&release.manifest_bytes(), &format!("number {number}"));
        release.put(&format!("officer-{number}"), text);
    }
    let again = format!("officer-4.minisig is another signature of {} ({})", officer.id(), officer.line());
    refused(plugin::verify(&config), &["1 valid signatures of the 2", &again]);
    release.put("other", other.signature(&release.manifest_bytes(), ""));
    assert_eq!(plugin::pin(&config).expect("two officers").signatures().set_aside.len(), 4);
}

#[test]
fn one_key_under_two_key_ids_cannot_be_pinned() {
    let (officer, other) = (Officer::new(), Officer::new());
    let twice = [officer.line(), officer.under_id_of(&other).line()];
    assert_ne!(twice[0], twice[1]);
    let error = Officers::parse(&twice, 2).expect_err("the same key").to_string();
    assert!(error.contains("entry 2 is the same key as entry 1"), "{error}");
}

#[test]
fn two_officers_with_one_key_id_count_as_two_and_one_signing_twice_as_one() {
    let officer = Officer::new();
    let twin = Officer::with_id_of(&officer);
    assert_eq!(officer.id(), twin.id());
    for (first, second) in [(&officer, &twin), (&twin, &officer)] {
        let release = Release::new("1.0.0", "1.0.0");
        let config = release.config(&[&officer, &twin], 2);
        release.sign(&[first, first]);
        let missing = format!("not signed by {} ({})", second.id(), second.line());
        refused(plugin::verify(&config), &["1 valid signatures of the 2", &missing]);
        release.sign(&[first, second]);
        assert_eq!(plugin::pin(&config).expect("two officers").signatures().signers.len(), 2);
    }
}

#[test]
fn a_stranger_with_an_officers_key_id_is_nobody() {
    let (officer, other) = (Officer::new(), Officer::new());
    let forger = Officer::with_id_of(&other);
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.config(&[&officer, &other], 2);
    release.sign(&[&officer, &forger]);
    let wrong = format!("1.minisig has the key id of {} ({}) but does not verify", other.id(), other.line());
    refused(plugin::verify(&config), &["1 valid signatures of the 2", &wrong]);
}

#[test]
fn other_files_do_not_count_as_signatures_and_are_not_waited_for() {
    let (officer, other) = (Officer::new(), Officer::new());
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.config(&[&officer, &other], 2);
    let good = other.signature(&release.manifest_bytes(), "");
    release.sign(&[&officer]);
    release.put("empty", "");
    release.put("binary", [0xff, 0xfe]);
    release.put("cut", &good[..good.len() / 2]);
    release.put("large", format!("{good}{}", " ".repeat(16 * 1024)));
    release.put("key", format!("untrusted comment: a public key\n{}\n", other.line()));
    let path = |name: &str| release.path(&format!("libcountersign.so.manifest.{name}.minisig"));
    fs::create_dir(path("folder")).expect("the folder is ours");
    symlink("nowhere", path("nowhere")).expect("the folder is ours");
    Finished::of(Command::new("mkfifo").arg(path("pipe"))).expect_success();
    refused(
        plugin::verify(&config),
        &[
            "1 valid signatures of the 2",
            "empty.minisig is not in minisign's format",
            "binary.minisig is not in",
            "cut.minisig is not in",
            "key.minisig is not in",
            "large.minisig cannot be read: it has more than 16384 bytes",
            "folder.minisig cannot be read: it is not a regular file",
            "pipe.minisig cannot be read: it is not a regular file",
            "nowhere.minisig cannot be read",
        ],
    );
    // Files with other names are ignored. Any name that fits the pattern counts.
    for name in
        ["libcountersign.so.manifest.minisig.bak", "x.minisig", ".libcountersign.so.manifest.a.minisig"]
    {
        fs::write(release.path(name), &good).expect("the folder is ours");
        assert!(plugin::verify(&config).is_err(), "{name}");
    }
    fs::write(release.path("libcountersign.so.manifest.minisig"), &good).expect("the folder is ours");
    plugin::pin(&config).expect("the name that minisign itself gives");
}

#[test]
fn the_number_of_signature_files_is_bounded() {
    let officer = Officer::new();
    let release = Release::new("1.0.0", "1.0.0");
    let config = release.config(&[&officer], 1);
    release.sign(&[&officer]);
    (1..64).for_each(|number| release.put(&format!("{number}"), ""));
    assert!(Verifiable::verify(&config.library, &config.officers).is_ok());
    release.put("64", "");
    refused(plugin::verify(&config), &["more than 64 signature files", "remove the others"]);
}
