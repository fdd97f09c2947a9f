//! BIP 370, PSBT version 2: its test vectors, and that the answer has the version of the request and differs
//! from it only by what signing adds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use serde_json::Value;

use countersign::engine::EngineError;
use countersign::kernel::psbt::{self, CheckedPsbt, Layout, PsbtError, Version};
use countersign::kernel::rule::Rule;
use harness::engine::maps::{read, to_version_2, write};
use harness::engine::scripts::{SCRIPTS, good_psbt, named};
use harness::engine::{Bench, alone, watch};

fn vectors(which: &str) -> Vec<(String, Vec<u8>, Value)> {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/bip370.json")).expect("JSON");
    vectors[which]
        .as_array()
        .expect("a list")
        .iter()
        .map(|vector| {
            let text = |field: &str| vector[field].as_str().expect("a text").to_owned();
            (text("case"), STANDARD.decode(text("base64")).expect("base64"), vector["locktime"].clone())
        })
        .collect()
}

fn check(bytes: &[u8]) -> Result<CheckedPsbt, PsbtError> {
    let secp = Secp256k1::new();
    let wallet = named("wpkh").wallet(&secp);
    CheckedPsbt::parse(bytes.to_vec(), watch(&wallet), &alone(&secp))
}

#[test]
fn valid_vectors_are_psbts_of_version_2_and_none_is_ours_to_sign() {
    let vectors = vectors("valid");
    assert_eq!(vectors.len(), 14);
    for (case, bytes, _) in vectors {
        assert_eq!(Layout::take(&bytes).expect("a PSBT").version, Version::V2, "{case}");
        psbt::transaction_of(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        match check(&bytes) {
            // The first vector has no previous transaction; the others are of other wallets.
            Err(PsbtError::Refused { rule: Rule::UtxoMissing | Rule::NoInputOfOurs, .. }) => {}
            other => panic!("{case}: {:?}", other.err()),
        }
    }
}

#[test]
fn invalid_vectors_are_no_psbts() {
    let vectors = vectors("invalid");
    assert_eq!(vectors.len(), 24);
    for (case, bytes, _) in vectors {
        let checked = check(&bytes);
        assert!(matches!(&checked, Err(error) if error.is_no_psbt()), "{case}: {:?}", checked.err());
    }
}

#[test]
fn the_lock_time_is_determined_as_the_bip_says() {
    let vectors = vectors("locktime");
    assert_eq!(vectors.len(), 10);
    for (case, bytes, expected) in vectors {
        match (psbt::transaction_of(&bytes), expected.as_u64()) {
            (Ok(transaction), Some(expected)) => {
                assert_eq!(u64::from(transaction.lock_time.to_consensus_u32()), expected, "{case}");
            }
            (Err(error), None) if error.is_no_psbt() => assert_eq!(expected, "indeterminate", "{case}"),
            (found, expected) => panic!("{case}: {found:?}, expected {expected:?}"),
        }
    }
}

/// The crate reads a missing sequence as zero, where the BIP says that it is final. Our code corrects that.
#[test]
fn another_implementation_reads_the_same_transaction() {
    let secp = Secp256k1::new();
    let of_scripts = SCRIPTS.iter().map(|script| {
        let psbt = good_psbt(watch(&script.wallet(&secp)), 3);
        (script.name.to_owned(), to_version_2(&psbt))
    });
    let of_vectors =
        vectors("valid").into_iter().chain(vectors("locktime")).map(|(case, bytes, _)| (case, bytes));
    let mut compared = 0;
    for (case, bytes) in of_scripts.chain(of_vectors) {
        let mut theirs = psbt_v2::v2::Psbt::deserialize(&bytes).unwrap_or_else(|_| panic!("{case}"));
        for input in &mut theirs.inputs {
            input.sequence.get_or_insert(bitcoin::Sequence::MAX);
        }
        let Ok(theirs) = psbt_v2::v2::Signer::new(theirs) else {
            assert!(psbt::transaction_of(&bytes).is_err(), "{case}");
            continue;
        };
        assert_eq!(psbt::transaction_of(&bytes).expect("a PSBT"), theirs.unsigned_tx(), "{case}");
        compared += 1;
    }
    assert_eq!(compared, SCRIPTS.len() + 14 + 9);
}

#[test]
fn both_versions_are_the_same_transaction_with_the_same_consequences() {
    let secp = Secp256k1::new();
    for script in SCRIPTS {
        let wallet = script.wallet(&secp);
        let psbt = good_psbt(watch(&wallet), 3);
        let checked = |bytes| {
            CheckedPsbt::parse(bytes, watch(&wallet), &alone(&secp))
                .unwrap_or_else(|error| panic!("{}: {error}", script.name))
        };
        let (zero, two) = (checked(psbt.serialize()), checked(to_version_2(&psbt)));
        assert_eq!(zero.transaction(), two.transaction(), "{}", script.name);
        assert_eq!(
            (zero.leaves(), zero.fee(), zero.vsize(), zero.our_outputs()),
            (two.leaves(), two.fee(), two.vsize(), two.our_outputs()),
        );
    }
}

#[test]
fn a_sequence_that_is_left_out_is_the_final_one() {
    let secp = Secp256k1::new();
    let wallet = named("wpkh").wallet(&secp);
    let mut maps = read(&to_version_2(&good_psbt(watch(&wallet), 1)));
    maps[1].retain(|(key, _)| key[..] != [0x10]);
    let transaction = psbt::transaction_of(&write(&maps)).expect("a PSBT");
    assert_eq!(transaction.input[0].sequence, bitcoin::Sequence::MAX);
}

/// Adds pairs that neither BIP 174 nor BIP 371 has, to every map.
fn decorate(psbt: &[u8]) -> Vec<u8> {
    let mut maps = read(psbt);
    for (number, map) in maps.iter_mut().enumerate() {
        let proprietary = [&[0xfc, 4][..], b"test", &[7, number as u8]].concat();
        // Before and behind the others, so that the test sees a changed order, too.
        map.insert(0, (proprietary, vec![number as u8; 300]));
        map.push((vec![0xee, 1, 2, 3], vec![]));
        map.push((vec![0xee, 1, 2, 2], vec![9; 70_000]));
    }
    write(&maps)
}

#[test]
fn the_answer_is_what_was_asked_with_our_signatures_added() {
    for script in SCRIPTS {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id =
            bench.add_wallet("w", &["alice"], "unlimited = true", script.to_be_made()).expect(script.name);
        let psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 2);
        for (version, asked) in [(0, decorate(&psbt.serialize())), (2, decorate(&to_version_2(&psbt)))] {
            let answer = bench.sign(&id, "alice", &bench.code(&alice), &asked).expect(script.name);
            bench.clock.advance(30);
            let (mut asked, mut answered) = (read(&asked), read(&answer));
            for map in &mut answered[1..3] {
                let (key, _) = map.pop().expect("a pair");
                assert!([0x02, 0x13, 0x14].contains(&key[0]), "{}: key {key:?}", script.name);
            }
            // Signing makes inputs and outputs fixed and sets the flags for that. Nothing else differs.
            for (key, value) in &mut asked[0] {
                if version == 2 && key[..] == [0x06] {
                    assert_eq!(value[..], [0b11]);
                    value[0] = 0;
                }
            }
            assert_eq!(answered, asked, "{}, version {version}", script.name);
        }
    }
}

#[test]
fn the_flag_of_sighash_single_and_unknown_flags_stay() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let psbt = bench.psbt(&id, 1);
    let mut maps = read(&to_version_2(&psbt));
    maps[0].iter_mut().filter(|(key, _)| key[..] == [0x06]).for_each(|(_, value)| value[0] = 0xff);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &write(&maps)).expect("signs");
    let answered = read(&answer);
    assert!(answered[0].contains(&(vec![0x06], vec![0xfc])));
}

#[test]
fn counts_that_are_not_those_of_the_maps_are_no_psbt() {
    let secp = Secp256k1::new();
    let wallet = named("wpkh").wallet(&secp);
    let good = to_version_2(&good_psbt(watch(&wallet), 1));
    for (key, value) in
        [(0x04, vec![2]), (0x05, vec![1]), (0x04, vec![0xff; 9]), (0x05, vec![]), (0x04, vec![1, 0])]
    {
        let mut maps = read(&good);
        maps[0]
            .iter_mut()
            .filter(|(there, _)| there[..] == [key])
            .for_each(|(_, there)| *there = value.clone());
        assert!(matches!(check(&write(&maps)), Err(error) if error.is_no_psbt()), "{key} {value:?}");
    }
    // One input fewer and one output more: the same number of maps, with another meaning.
    for (inputs, outputs) in [(0, 4), (1, 3), (3, 1), (4, 0)] {
        let mut maps = read(&to_version_2(&good_psbt(watch(&wallet), 2)));
        for (key, value) in &mut maps[0] {
            match key[..] {
                [0x04] => value[0] = inputs,
                [0x05] => value[0] = outputs,
                _ => {}
            }
        }
        match check(&write(&maps)) {
            Err(error) if error.is_no_psbt() => assert_ne!(inputs, 0),
            Err(PsbtError::Refused { rule: Rule::NoInputOfOurs, .. }) => assert_eq!(inputs, 0),
            other => panic!("{inputs} inputs, {outputs} outputs: {:?}", other.err()),
        }
    }
}

#[test]
fn version_1_and_versions_after_2_are_refused() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let psbt = Psbt::deserialize(&bench.psbt(&id, 1).serialize()).expect("a PSBT");
    for version in [1u32, 3, 4, u32::MAX] {
        let mut maps = read(&to_version_2(&psbt));
        maps[0]
            .iter_mut()
            .filter(|(key, _)| key[..] == [0xfb])
            .for_each(|(_, value)| *value = version.to_le_bytes().to_vec());
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &write(&maps));
        assert!(matches!(answer, Err(EngineError::Psbt(error)) if error.is_no_psbt()), "version {version}");
    }
    bench.sign(&id, "alice", &bench.code(&alice), &to_version_2(&psbt)).expect("nothing was spent");
}
