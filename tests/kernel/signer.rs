//! Every script type: miniscript finalises what the module signs, and Bitcoin's consensus code accepts it.

mod branches;
mod evidence;

use bitcoin::ecdsa;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::sighash::TapSighashType;
use miniscript::psbt::PsbtExt;

use countersign::kernel::psbt::CheckedPsbt;
use countersign::kernel::wallet::{Chain, Location};
use harness::engine::consensus::{completed, prevouts, verdicts};
use harness::engine::scripts::{BRANCHED, Cosigner, SCRIPTS, Script, good_psbt, script_at};
use harness::engine::{Bench, FEE, INPUT, PAID, alone, watch};

const UNLIMITED: &str = "unlimited = true";

struct Signed {
    script: Script,
    psbt: Psbt,
    signed: Psbt,
}

/// Each script type, signed by the engine.
fn each(inputs: u32, change: impl Fn(&mut Psbt)) -> impl Iterator<Item = Signed> {
    SCRIPTS.iter().chain(BRANCHED).map(move |script| {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect(script.name);
        let wallet = bench.engine.wallet(&id).expect("there");
        let mut psbt = good_psbt(watch(&wallet), inputs);
        change(&mut psbt);
        let answer = bench
            .sign(&id, "alice", &bench.code(&alice), &psbt.serialize())
            .unwrap_or_else(|error| panic!("{}: {error}", script.name));
        let signed = Psbt::deserialize(&answer).expect("a PSBT");
        Signed { script: *script, psbt, signed }
    })
}

#[test]
fn consensus_takes_what_we_sign_in_every_script() {
    for Signed { script, psbt, signed } in each(3, |_| {}) {
        let transaction = completed(&script, signed);
        let prevouts = prevouts(&psbt);
        assert_eq!(verdicts(&transaction, &prevouts), [true; 3], "{}", script.name);
        let mut dearer = transaction.clone();
        dearer.output[1].value -= bitcoin::Amount::ONE_SAT;
        assert_eq!(verdicts(&dearer, &prevouts), [false; 3], "{}: not another output", script.name);
    }
}

#[test]
fn without_us_nothing_is_final_and_without_the_cosigners_neither() {
    for Signed { script, psbt, signed } in each(1, |_| {}) {
        let secp = Secp256k1::new();
        let mut theirs = psbt.clone();
        for name in script.with {
            Cosigner::named(name).sign(&mut theirs);
        }
        assert!(theirs.finalize_mut(&secp).is_err(), "{}: final without us", script.name);
        if !script.with.is_empty() {
            assert!(signed.clone().finalize_mut(&secp).is_err(), "{}: final without them", script.name);
        }
    }
}

#[test]
fn one_signature_an_input_is_added_and_nothing_else_is_changed() {
    for Signed { script, psbt, mut signed } in each(2, |_| {}) {
        for input in &mut signed.inputs {
            let count =
                input.partial_sigs.len() + input.tap_script_sigs.len() + input.tap_key_sig.iter().count();
            assert_eq!(count, 1, "{}", script.name);
            let is_final = input.final_script_sig.is_some() || input.final_script_witness.is_some();
            assert!(!is_final, "{}: we are no finalizer", script.name);
            input.partial_sigs.clear();
            input.tap_script_sigs.clear();
            input.tap_key_sig = None;
        }
        assert_eq!(signed, psbt, "{}", script.name);
    }
}

#[test]
fn ecdsa_is_low_s_and_low_r_and_schnorr_says_as_much_as_was_asked() {
    for Signed { script, signed, .. } in each(4, |_| {}) {
        for input in &signed.inputs {
            for ecdsa::Signature { signature, .. } in input.partial_sigs.values() {
                let (compact, mut low) = (signature.serialize_compact(), *signature);
                low.normalize_s();
                assert!(compact[0] < 0x80, "{}: low R", script.name);
                assert_eq!(low, *signature, "{}: low S", script.name);
            }
            for signature in input.tap_key_sig.iter().chain(input.tap_script_sigs.values()) {
                assert_eq!(signature.sighash_type, TapSighashType::Default, "{}", script.name);
            }
        }
    }
    let all = |psbt: &mut Psbt| {
        for input in &mut psbt.inputs {
            input.sighash_type = Some(bitcoin::sighash::EcdsaSighashType::All.into());
        }
    };
    for Signed { script, psbt, signed } in each(1, all) {
        for signature in signed.inputs[0].tap_key_sig.iter().chain(signed.inputs[0].tap_script_sigs.values())
        {
            assert_eq!(signature.sighash_type, TapSighashType::All, "{}", script.name);
        }
        if script.with.is_empty() {
            let transaction = completed(&script, signed);
            assert_eq!(verdicts(&transaction, &prevouts(&psbt)), [true], "{}", script.name);
        }
    }
}

#[test]
fn schnorr_signatures_have_fresh_randomness_and_ecdsa_none() {
    for script in SCRIPTS.iter().chain(BRANCHED) {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect(script.name);
        let psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 2).serialize();
        let sign = || {
            let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect(script.name);
            bench.clock.advance(30);
            answer
        };
        assert_eq!(sign() == sign(), !script.is_taproot(), "{}", script.name);
    }
}

#[test]
fn the_scripts_rebuilt_are_those_of_miniscript() {
    let secp = Secp256k1::new();
    for script in SCRIPTS.iter().chain(BRANCHED) {
        let wallet = script.wallet(&secp);
        for chain in [Chain::External, Chain::Internal] {
            for index in [0, 1, 20, 999, 0x7fff_ffff] {
                let rebuilt =
                    watch(&wallet).rebuild(Location { chain, index }).expect("rebuilds").script_pubkey;
                let expected = script_at(watch(&wallet), chain, index);
                assert_eq!(rebuilt, expected, "{} {chain:?} {index}", script.name);
            }
        }
    }
}

#[test]
fn the_leaving_amount_is_the_same_in_every_script() {
    let secp = Secp256k1::new();
    for script in SCRIPTS.iter().chain(BRANCHED) {
        let wallet = script.wallet(&secp);
        let psbt = good_psbt(watch(&wallet), 3);
        let checked = CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp))
            .unwrap_or_else(|error| panic!("{}: {error}", script.name));
        assert_eq!(checked.leaves(), PAID + 3 * FEE, "{}", script.name);
        assert_eq!(checked.fee(), 3 * FEE, "{}", script.name);
        assert_eq!(checked.our_inputs().count(), 3);
        let change = Location { chain: Chain::Internal, index: 3 };
        assert_eq!(checked.our_outputs(), [(1, change)], "{}", script.name);
        assert_eq!((checked.reach().next(Chain::External), checked.reach().next(Chain::Internal)), (3, 4));
    }
}

#[test]
fn the_feerate_is_judged_by_the_size_of_the_final_transaction() {
    for Signed { script, psbt, signed } in each(3, |_| {}) {
        let bench = Bench::new();
        let wallet = script.wallet(&bench.secp);
        let psbt_of_test_wallet = good_psbt(watch(&wallet), psbt.inputs.len() as u32);
        let checked =
            CheckedPsbt::parse(psbt_of_test_wallet.serialize(), watch(&wallet), &alone(&bench.secp))
                .expect("good");
        let size = completed(&script, signed).vsize() as u64;
        let judged = checked.vsize();
        // A cap on the feerate errs on the small side: other people's signatures may be a byte longer than
        // ours, which can make the length of a scriptSig longer, too. One in a hundred is a byte shorter.
        assert!(judged <= size + 1, "{}: {size} vB are judged as {judged}", script.name);
        assert!(size <= judged + judged / 50 + 1, "{}: {size} vB are judged as {judged}", script.name);
    }
}

#[test]
fn a_signature_of_ours_that_is_there_already_is_left_as_it_is() {
    for script in SCRIPTS.iter().chain(BRANCHED) {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect(script.name);
        let psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 2).serialize();
        let first = bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect(script.name);
        bench.clock.advance(30);
        let second = bench.sign(&id, "alice", &bench.code(&alice), &first).expect(script.name);
        assert_eq!(second, first, "{}", script.name);
    }
}

#[test]
fn cosigners_may_sign_before_us() {
    for script in SCRIPTS.iter().chain(BRANCHED).filter(|script| !script.with.is_empty()) {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect(script.name);
        let mut psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 2);
        for name in script.with {
            Cosigner::named(name).sign(&mut psbt);
        }
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize()).expect(script.name);
        let mut signed = Psbt::deserialize(&answer).expect("a PSBT");
        let secp = Secp256k1::new();
        signed.finalize_mut(&secp).unwrap_or_else(|errors| panic!("{}: {errors:?}", script.name));
        let transaction = signed.extract(&secp).expect("final");
        assert_eq!(verdicts(&transaction, &prevouts(&psbt)), [true; 2], "{}", script.name);
        assert_eq!(transaction.output[0].value.to_sat(), PAID);
        assert_eq!(INPUT * 2 - PAID - 2 * FEE, transaction.output[1].value.to_sat());
    }
}
