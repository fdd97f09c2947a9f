//! The testkit: a file for each attack of `Amounts`, `Change` and `Structure`, and for each script type to
//! which the attack applies, with the expected answer in its header. The header also has the wallet, so other
//! signers can be tested with the files.
//!
//! [`generate`] makes the files; `UPDATE_TESTKIT=1 cargo test --test kernel testkit` writes them again.

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::bip32::Fingerprint;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Secp256k1};

use countersign::kernel::network::Network;
use countersign::kernel::policy::Policy;
use countersign::kernel::psbt::{CheckedPsbt, PsbtError, Surroundings};
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::Reach;
use harness::engine::scripts::{SCRIPTS, named};
use harness::engine::{maps, watch};

/// One file: its header, line by line, and its PSBT.
struct Vector {
    header: BTreeMap<String, String>,
    psbt: Vec<u8>,
}

impl Vector {
    fn parse(text: &str) -> Vector {
        let (header, body) = text.split_once("\n\n").expect("a blank line behind the header");
        let header = header
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").expect("name and value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body: String = body.split_whitespace().collect();
        Vector { header, psbt: STANDARD.decode(body).expect("base64") }
    }

    fn get(&self, name: &str) -> &str {
        &self.header[name]
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testkit/vectors")
}

fn files() -> BTreeMap<String, String> {
    fs::read_dir(folder())
        .expect("the vectors are there")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect()
}

/// The signer's answer, in the words of a header.
fn answer(vector: &Vector, psbt: Vec<u8>, secp: &Secp256k1<All>) -> String {
    let wallet = named(vector.get("script")).wallet(secp);
    let policy =
        Policy::parse(&vector.get("policy").replace("; ", "\n"), Network::Regtest).expect("a policy");
    let sibling: Fingerprint = vector.get("sibling").parse().expect("hex");
    let around = Surroundings {
        reach: Reach::default(),
        require_cosigner: policy.require_cosigner(),
        is_sibling: &|fingerprint| *fingerprint == sibling,
        secp,
    };
    match CheckedPsbt::parse(psbt, watch(&wallet), &around) {
        Err(PsbtError::Refused { rule, .. }) => format!("refused {rule}"),
        Err(PsbtError::Oversize(_)) => "oversize".into(),
        Err(_) => "no psbt".into(),
        Ok(checked) => match policy.refusing_rule(&checked) {
            Some(rule) => format!("policy {rule}"),
            None => format!("leaves {}", checked.leaves()),
        },
    }
}

#[test]
fn the_files_are_those_of_the_generator() {
    let made = generate::files();
    if std::env::var_os("UPDATE_TESTKIT").is_some() {
        fs::remove_dir_all(folder()).expect("the folder is there");
        fs::create_dir(folder()).expect("it can be made");
        for (name, text) in &made {
            fs::write(folder().join(format!("{name}.txt")), text).expect("written");
        }
    }
    let there = files();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&there), names(&made));
    for (name, text) in there {
        assert_eq!(text, made[&name], "{name}");
    }
}

#[test]
fn every_vector_is_answered_as_its_header_says() {
    let secp = Secp256k1::new();
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let vector = Vector::parse(&text);
        let answer = answer(&vector, vector.psbt.clone(), &secp);
        if answer != vector.get("expect") {
            wrong.push(format!("{name}: {answer}, not {}", vector.get("expect")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_vector_is_answered_alike_in_version_2() {
    let secp = Secp256k1::new();
    let mut asked = 0;
    for (name, text) in files() {
        let vector = Vector::parse(&text);
        let Ok(psbt) = Psbt::deserialize(&vector.psbt) else { continue };
        // Bytes behind the last map are gone after parsing.
        if psbt.serialize().len() != vector.psbt.len() {
            continue;
        }
        let answer = answer(&vector, maps::to_version_2(&psbt), &secp);
        assert_eq!(answer, vector.get("expect"), "{name}");
        asked += 1;
    }
    assert!(asked > 400, "{asked}");
}

/// A vector proves little if the PSBT without its attack would be refused, too.
#[test]
fn the_psbt_that_every_attack_begins_with_is_signed() {
    let secp = Secp256k1::new();
    for (name, text) in files().iter().filter(|(name, _)| name.starts_with("good--")) {
        let vector = Vector::parse(text);
        assert!(answer(&vector, vector.psbt.clone(), &secp).starts_with("leaves "), "{name}");
    }
    assert_eq!(files().keys().filter(|name| name.starts_with("good--")).count(), SCRIPTS.len());
}

#[test]
fn every_rule_has_its_vectors() {
    let found: BTreeSet<String> =
        files().values().map(|text| Vector::parse(text).get("tag").to_owned()).collect();
    // Rules that no PSBT can break by itself: they depend on the time, on codes, or on earlier transactions.
    // `tests/kernel/policy.rs` tests them.
    let of_time = [Rule::PeriodMax, Rule::PeriodTransactions, Rule::TimeWindow, Rule::Approvals];
    // For bytes that are no PSBT there are the invalid vectors of BIP 174, 370 and 371. `tests/engine/freeze.rs` freezes.
    let without = [&of_time[..], &[Rule::NotAPsbt, Rule::Frozen, Rule::Consent]].concat();
    for rule in Rule::ALL.iter().filter(|rule| !without.contains(rule)) {
        assert!(found.contains(rule.tag()), "{rule} has none");
    }
    // Not a rule: the output counts as spent.
    assert!(found.contains("change-fraud"));
}
