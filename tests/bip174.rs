//! BIP 174 and BIP 371 test vectors: what is no PSBT is told apart from what is one and not for us.

mod support;

use std::fs;
use std::path::Path;

use bitcoin::secp256k1::Secp256k1;
use zeroize::Zeroizing;

use countersign::kernel::psbt::{CheckedPsbt, PsbtError, Surroundings, Survey};
use countersign::kernel::state::Reach;
use countersign::kernel::wallet::{Network, Wallet, WalletRecord};

/// Checks every vector of a folder for a wallet of ours, and gives what came out, by name.
fn check_all(folder: &str) -> Vec<(String, Vec<u8>, Result<CheckedPsbt, PsbtError>)> {
    let secp = Secp256k1::new();
    let users = vec!["alice".into()];
    let policy = "unlimited = true".into();
    let seed = Zeroizing::new([3; 64]);
    let record = WalletRecord::new("w".into(), vec![], Network::Testnet, users, policy, seed);
    let wallet = Wallet::open(&record, &secp).expect("a wallet");
    let around = Surroundings { reach: Reach::default(), is_sibling: &|_| false, secp: &secp };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/bip174").join(folder);
    fs::read_dir(&folder)
        .expect("the vectors are there")
        .map(|entry| {
            let path = entry.expect("readable").path();
            let bytes = hex::decode(fs::read_to_string(&path).expect("readable").trim()).expect("hex");
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let checked = CheckedPsbt::parse(&bytes, &wallet, &around);
            (name, bytes, checked)
        })
        .collect()
}

#[test]
fn valid_vectors_are_psbts_and_none_is_ours_to_sign() {
    let vectors = check_all("valid");
    assert_eq!(vectors.len(), 12);
    for (name, bytes, checked) in vectors {
        assert!(Survey::take(&bytes).is_ok(), "{name}");
        match checked {
            Err(PsbtError::Refused { .. }) => {}
            Err(other) => panic!("{name}: {other}"),
            Ok(_) => panic!("{name}: would be signed"),
        }
    }
}

#[test]
fn invalid_vectors_are_no_psbts() {
    let vectors = check_all("invalid");
    assert_eq!(vectors.len(), 15);
    for (name, _, checked) in vectors {
        assert!(matches!(checked, Err(PsbtError::NotPsbt(_))), "{name}: {:?}", checked.err());
    }
}

#[test]
fn a_psbt_of_version_2_is_not_taken_for_one_of_version_0() {
    let bench = support::Bench::new();
    bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let good = bench.psbt(&id, 1).serialize();
    // PSBT_GLOBAL_VERSION = 2 (BIP 370) in front of the global map's pairs.
    let version = [1, 0xfb, 4, 2, 0, 0, 0];
    let two = [&good[..5], &version[..], &good[5..]].concat();
    let answer = bench.sign(&id, "alice", "123456", &two);
    assert!(matches!(answer, Err(countersign::engine::EngineError::Psbt(PsbtError::NotPsbt(_)))));
}
