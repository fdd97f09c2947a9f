//! Nothing that was signed can be changed, and nothing unsigned is trusted.

use std::fs;

use countersign_plugin as plugin;

use super::release::{Officer, Release, refused};

#[test]
fn any_changed_byte_of_the_manifest_refuses() {
    let officer = Officer::new();
    let release = Release::new("1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let whole = release.manifest_bytes();
    let mut changed: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    changed.push([&whole[..], b"\n"].concat());
    changed.push([b"\n", &whole[..]].concat());
    for at in 0..whole.len() {
        for bit in [0, 3, 5] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            changed.push(bytes);
        }
    }
    for bytes in changed {
        fs::write(release.manifest(), &bytes).expect("the folder is ours");
        refused(plugin::verify(&config), &["0 valid signatures of the 1", "does not verify"]);
    }
    fs::write(release.manifest(), whole).expect("the folder is ours");
    plugin::verify(&config).expect("as it was signed").manifest();
}

#[test]
fn any_changed_byte_of_a_signature_and_its_trusted_comment_refuses() {
    let officer = Officer::new();
    let release = Release::new("1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let text = officer.signature(&release.manifest_bytes(), "file:x\tversion:1.2.0");
    // The rest of the first line is an unsigned comment, and nothing is read from it.
    let unsigned = "untrusted comment: ".len()..text.find('\n').expect("four lines");
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'\n' {
            continue;
        }
        // Also another base64 character, so that the format is not the only reason for a refusal.
        for other in [b'A', b'B', b'+', b' '].into_iter().filter(|other| *other != byte) {
            let mut changed = text.clone().into_bytes();
            changed[at] = other;
            release.put("0", &changed);
            let outcome = plugin::verify(&config);
            assert_eq!(outcome.is_ok(), unsigned.contains(&at), "{}", String::from_utf8_lossy(&changed));
        }
    }
    let lines: Vec<&str> = text.lines().collect();
    for order in [[0, 3, 2, 1], [0, 1, 2, 1], [0, 3, 2, 3], [0, 2, 1, 3], [2, 1, 0, 3]] {
        release.put("0", order.map(|line| lines[line]).join("\n"));
        refused(plugin::verify(&config), &["0 valid signatures of the 1"]);
    }
    // The comment of another signature of the same key.
    let other = officer.signature(&release.manifest_bytes(), "version:9.9.9");
    let other: Vec<&str> = other.lines().collect();
    release.put("0", [lines[0], lines[1], other[2], other[3]].join("\n"));
    refused(plugin::verify(&config), &["0 valid signatures", "does not verify"]);
}

#[test]
fn another_manifests_signature_is_none() {
    let officer = Officer::new();
    let release = Release::new("1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let old = officer.signature(&release.manifest_bytes(), "");
    release.replace(b"other bytes", "1.3.0", "1.1.0");
    release.put("0", old);
    refused(plugin::verify(&config), &["0 valid signatures", "is of something else, or was changed"]);
}

#[test]
fn any_changed_byte_of_the_library_refuses() {
    let officer = Officer::new();
    let whole = b"the library's bytes, some more of them";
    let release = Release::of(whole, "1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let mut changed: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    changed.push([&whole[..], b"\0"].concat());
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x80;
        changed.push(bytes);
    }
    let signed = String::from_utf8(release.manifest_bytes()).expect("UTF-8");
    let signed = signed.split("sha256 = \"").nth(1).expect("it is there")[..64].to_owned();
    for bytes in changed {
        fs::write(release.library(), &bytes).expect("the folder is ours");
        refused(plugin::verify(&config), &["its sha256 is ", &signed, "treat this as an intrusion"]);
    }
    fs::remove_file(release.library()).expect("the folder is ours");
    refused(plugin::verify(&config), &["the library", "libcountersign.so is missing", "the whole release"]);
    fs::create_dir(release.library()).expect("the folder is ours");
    refused(plugin::verify(&config), &["the library", "cannot be read: it is not a regular file"]);
}

#[test]
fn a_manifest_that_is_missing_or_too_long_refuses() {
    let officer = Officer::new();
    let release = Release::new("1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let long = [release.manifest_bytes(), vec![b'#'; 4096]].concat();
    fs::write(release.manifest(), long).expect("the folder is ours");
    release.sign(&[&officer]);
    refused(plugin::verify(&config), &["the manifest", "more than 4096 bytes"]);
    fs::remove_file(release.manifest()).expect("the folder is ours");
    refused(plugin::verify(&config), &["the manifest", "is missing"]);
}

#[test]
fn a_manifest_that_is_signed_and_no_manifest_of_ours_refuses() {
    let officer = Officer::new();
    let release = Release::new("1.2.0", "1.1.0");
    let config = release.installed(&officer);
    let good = String::from_utf8(release.manifest_bytes()).expect("UTF-8");
    for (from, to, words) in [
        ("name = \"countersign\"", "name = \"kryoptic\"", "belongs to \"kryoptic\", not to \"countersign\""),
        ("floor = \"1.1.0\"", "floor = \"1.3.0\"", "1.3.0 is above the version itself"),
        ("floor = \"1.1.0\"", "", "key floor: it is missing"),
        ("floor", "url = \"x\"\nfloor", "key url: there is no such key"),
        ("sha256 = \"", "sha256 = \"00", "sha256: 64 lower-case"),
    ] {
        assert!(good.contains(from), "the good manifest has no {from:?}");
        fs::write(release.manifest(), good.replacen(from, to, 1)).expect("the folder is ours");
        release.sign(&[&officer]);
        refused(
            plugin::verify(&config),
            &["libcountersign.so.manifest, ", words, "countersign plugin manifest"],
        );
    }
}
