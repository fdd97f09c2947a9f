//! BIP 174 and BIP 371 test vectors: the module tells bytes that are no PSBT from a PSBT that it refuses.
//!
//! The files are named after their defect or their content. `bip371_N` are the taproot vectors in the order
//! of the BIP.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bitcoin::Transaction;
use bitcoin::consensus::deserialize;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Secp256k1};

use countersign::engine::EngineError;
use countersign::kernel::network::Network;
use countersign::kernel::psbt::{CheckedPsbt, Layout, PsbtError};
use countersign::kernel::rule::Rule;

/// Every vector of a folder, by its name.
fn vectors(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/bip174").join(folder);
    fs::read_dir(&folder)
        .expect("the vectors are there")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let bytes = hex::decode(fs::read_to_string(&path).expect("readable").trim()).expect("hex");
            (path.file_stem().expect("a file").to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

/// Checks `bytes` for a wallet that has none of the vectors' keys.
fn check(bytes: &[u8], secp: &Secp256k1<All>) -> Result<CheckedPsbt, PsbtError> {
    let wallet = harness::engine::scripts::of_seed([3; 64], "wpkh(@0/**)\nours", Network::Testnet, secp);
    CheckedPsbt::parse(bytes.to_vec(), harness::engine::watch(&wallet), &harness::engine::alone(secp))
}

/// The rule that refuses `bytes`. A signature fails the test, and so does "no PSBT".
fn refusing_rule(name: &str, bytes: &[u8], secp: &Secp256k1<All>) -> Rule {
    match check(bytes, secp) {
        Err(PsbtError::Refused { rule, .. }) => rule,
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name}: would be signed"),
    }
}

#[test]
fn valid_vectors_are_psbts_and_none_is_ours_to_sign() {
    let secp = Secp256k1::new();
    let vectors = vectors("valid");
    let found: Vec<_> = vectors
        .iter()
        .map(|(name, bytes)| {
            Layout::take(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name.as_str(), refusing_rule(name, bytes, &secp))
        })
        .collect();
    let expected = [
        // Taproot alone needs no previous transaction.
        ("bip371_1", Rule::NoInputOfOurs),
        ("bip371_2", Rule::NoInputOfOurs),
        ("bip371_3", Rule::NoInputOfOurs),
        ("bip371_4", Rule::NoInputOfOurs),
        ("bip371_5", Rule::NoInputOfOurs),
        ("bip371_6", Rule::NoInputOfOurs),
        ("global-xpub", Rule::UtxoMissing),
        ("input-unknown-type", Rule::UtxoMissing),
        ("input-unknown-type-0f", Rule::UtxoMissing),
        ("no-inputs", Rule::NoInputOfOurs),
        ("no-inputs-no-outputs", Rule::NoInputOfOurs),
        ("p2pkh", Rule::NoInputOfOurs),
        ("p2pkh-and-p2sh-p2wpkh", Rule::UtxoMissing),
        ("p2pkh-finalized-and-p2sh-p2wpkh", Rule::UtxoMissing),
        ("p2pkh-sighash-type", Rule::NoInputOfOurs),
        ("p2sh-p2wsh-one-of-two-signatures", Rule::UtxoMissing),
        ("p2wsh-global-xpubs", Rule::UtxoMissing),
    ];
    assert_eq!(found, expected);
}

#[test]
fn invalid_vectors_are_no_psbts() {
    let secp = Secp256k1::new();
    let vectors = vectors("invalid");
    assert_eq!(vectors.len(), 19 + 12, "of BIP 174 and of BIP 371");
    for (name, bytes) in vectors {
        let checked = check(&bytes, &secp);
        assert!(matches!(&checked, Err(error) if error.is_no_psbt()), "{name}: {:?}", checked.err());
    }
}

/// The vectors that a Signer must refuse lack a previous transaction, which our first check refuses. With it
/// added, the defect of their scripts is what refuses them.
#[test]
fn vectors_that_fail_the_signer_s_checks_are_refused() {
    let secp = Secp256k1::new();
    let previous = include_str!("../vectors/bip174/previous-transaction.hex").trim();
    let previous: Transaction = deserialize(&hex::decode(previous).expect("hex")).expect("a transaction");
    let vectors = vectors("signer-fails");
    assert_eq!(vectors.len(), 4);
    let mut of_scripts = 0;
    for (name, bytes) in vectors {
        assert_eq!(refusing_rule(&name, &bytes, &secp), Rule::UtxoMissing, "{name}");
        if name.starts_with("witness-utxo") {
            continue;
        }
        let mut psbt = Psbt::deserialize(&bytes).expect("a PSBT");
        psbt.inputs[1].non_witness_utxo = Some(previous.clone());
        assert_eq!(refusing_rule(&name, &psbt.serialize(), &secp), Rule::ScriptMismatch, "{name}");
        // Without the scripts and their signatures, the only thing wrong is that the input is not ours.
        for input in &mut psbt.inputs {
            input.redeem_script = None;
            input.witness_script = None;
            input.partial_sigs.clear();
        }
        assert_eq!(refusing_rule(&name, &psbt.serialize(), &secp), Rule::NoInputOfOurs, "{name}");
        of_scripts += 1;
    }
    assert_eq!(of_scripts, 3);
}

#[test]
fn a_psbt_of_version_2_is_not_taken_for_one_of_version_0() {
    let bench = harness::engine::Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let good = bench.psbt(&id, 1).serialize();
    // PSBT_GLOBAL_VERSION (BIP 370) before the global map's pairs.
    let of_version = |version: u8| [&good[..5], &[1, 0xfb, 4, version, 0, 0, 0][..], &good[5..]].concat();
    for version in [1, 2, 0xff] {
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &of_version(version));
        assert!(matches!(answer, Err(EngineError::Psbt(error)) if error.is_no_psbt()), "version {version}");
    }
    bench.sign(&id, "alice", &bench.code(&alice), &of_version(0)).expect("version 0 may be named");
}
