//! Our key in several branches of one script (BIP 388): it signs for the branch that the PSBT shows, and
//! consensus accepts each.

use bitcoin::psbt::{Input, Psbt};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Sequence, Transaction};
use miniscript::psbt::PsbtExt;

use countersign::engine::EngineError;
use countersign::kernel::psbt::{CheckedPsbt, PsbtError};
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::{Chain, Location, WatchOnly};

use harness::engine::consensus::{prevouts, verdicts};
use harness::engine::scripts::{Cosigner, Script, good_psbt, named};
use harness::engine::{Bench, FEE, PAID, alone, watch};

/// The timelock of the scripts' recovery branch.
const WAITED: Sequence = Sequence(144);

/// A script with our key in both branches, its wallet and its user.
struct Scene {
    bench: Bench,
    alice: totp_rs::Totp,
    id: countersign::engine::WalletId,
    psbt: Psbt,
}

impl Scene {
    fn new(script: Script, policy: &str, sequence: Sequence) -> Scene {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], policy, script.to_be_made()).expect(script.name);
        let mut psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 2);
        for input in &mut psbt.unsigned_tx.input {
            input.sequence = sequence;
        }
        Scene { bench, alice, id, psbt }
    }

    fn sign(&self, psbt: &Psbt) -> Result<Psbt, EngineError> {
        self.bench.clock.advance(30);
        let answer = self.bench.sign(&self.id, "alice", &self.bench.code(&self.alice), &psbt.serialize())?;
        Ok(Psbt::deserialize(&answer).expect("a PSBT"))
    }

    /// Leaves only those of our derivations in the inputs that are on this chain.
    fn show_only(&self, psbt: &mut Psbt, chain: u32) {
        let wallet = self.bench.engine.wallet(&self.id).expect("there");
        let ours = wallet.master_fingerprint();
        let stays = |path: &bitcoin::bip32::DerivationPath| {
            let steps: Vec<u32> = path.into_iter().copied().map(u32::from).collect();
            steps[steps.len() - 2] == chain
        };
        for input in &mut psbt.inputs {
            input.bip32_derivation.retain(|_, (fingerprint, path)| *fingerprint != ours || stays(path));
            input.tap_key_origins.retain(|_, (_, (fingerprint, path))| *fingerprint != ours || stays(path));
        }
    }
}

fn signatures(input: &Input) -> usize {
    input.partial_sigs.len() + input.tap_script_sigs.len() + input.tap_key_sig.iter().count()
}

/// The transaction after `with` has signed it, too.
fn completed(mut signed: Psbt, with: &str) -> Transaction {
    Cosigner::named(with).sign(&mut signed);
    let secp = Secp256k1::new();
    signed.finalize_mut(&secp).unwrap_or_else(|errors| panic!("with {with}: {errors:?}"));
    signed.extract(&secp).expect("final")
}

const BOTH: [&str; 2] = ["wsh-both-branches", "tr-both-branches"];

#[test]
fn consensus_takes_what_we_sign_in_either_branch() {
    for script in BOTH.map(named) {
        for (sequence, cosigner) in [(Sequence::ENABLE_RBF_NO_LOCKTIME, "A"), (WAITED, "B")] {
            let scene = Scene::new(script, "unlimited = true", sequence);
            let signed = scene.sign(&scene.psbt).unwrap_or_else(|error| panic!("{}: {error}", script.name));
            let transaction = completed(signed, cosigner);
            let verdicts = verdicts(&transaction, &prevouts(&scene.psbt));
            assert_eq!(verdicts, [true; 2], "{} with {cosigner}", script.name);
        }
    }
}

#[test]
fn only_the_branch_that_the_psbt_shows_is_signed() {
    for script in BOTH.map(named) {
        for (chain, cosigner, other) in [(0, "A", "B"), (2, "B", "A")] {
            let scene = Scene::new(script, "unlimited = true", WAITED);
            let mut psbt = scene.psbt.clone();
            scene.show_only(&mut psbt, chain);
            let signed = scene.sign(&psbt).unwrap_or_else(|error| panic!("{}: {error}", script.name));
            assert!(signed.inputs.iter().all(|input| signatures(input) == 1), "{} {chain}", script.name);
            // Only the cosigner of that branch completes it.
            let mut with_other = signed.clone();
            Cosigner::named(other).sign(&mut with_other);
            if script.is_taproot() {
                assert!(with_other.finalize_mut(&Secp256k1::new()).is_err(), "{} {chain}", script.name);
            }
            let transaction = completed(signed, cosigner);
            assert_eq!(verdicts(&transaction, &prevouts(&psbt)), [true; 2], "{} {chain}", script.name);
        }
    }
}

#[test]
fn a_branch_whose_timelock_the_transaction_does_not_keep_is_not_signed() {
    for script in BOTH.map(named) {
        for (sequence, count) in
            [(Sequence::MAX, 1), (Sequence(143), 1), (WAITED, 2), (Sequence(1 << 22 | 144), 1)]
        {
            let scene = Scene::new(script, "unlimited = true", sequence);
            let signed = scene.sign(&scene.psbt).unwrap_or_else(|error| panic!("{}: {error}", script.name));
            for input in &signed.inputs {
                assert_eq!(signatures(input), count, "{} {sequence}", script.name);
            }
        }
    }
}

#[test]
fn of_a_taproot_input_only_the_leaf_that_it_shows_is_signed() {
    let scene = Scene::new(named("tr-both-branches"), "unlimited = true", WAITED);
    let leaves: Vec<_> = scene.psbt.inputs[0].tap_scripts.values().cloned().collect();
    assert_eq!(leaves.len(), 2);
    for (script, version) in leaves {
        let mut psbt = scene.psbt.clone();
        let leaf = bitcoin::taproot::TapLeafHash::from_script(&script, version);
        psbt.inputs[0].tap_scripts.retain(|_, (there, _)| *there == script);
        let signed = scene.sign(&psbt).expect("signs");
        let for_leaves: Vec<_> = signed.inputs[0].tap_script_sigs.keys().map(|(_, leaf)| *leaf).collect();
        assert_eq!(for_leaves, [leaf]);
        assert_eq!(signed.inputs[1].tap_script_sigs.len(), 2, "which shows both");
    }
}

#[test]
fn each_signature_that_is_there_already_is_left_as_it_is_and_the_other_is_added() {
    for script in BOTH.map(named) {
        let scene = Scene::new(script, "unlimited = true", WAITED);
        let mut shown = scene.psbt.clone();
        scene.show_only(&mut shown, 2);
        let first = scene.sign(&shown).expect("signs");
        let mut both = scene.psbt.clone();
        for (input, first) in both.inputs.iter_mut().zip(&first.inputs) {
            input.partial_sigs = first.partial_sigs.clone();
            input.tap_script_sigs = first.tap_script_sigs.clone();
        }
        let second = scene.sign(&both).expect("signs");
        for (input, first) in second.inputs.iter().zip(&first.inputs) {
            assert_eq!(signatures(input), 2, "{}", script.name);
            let kept = |(key, sig)| input.partial_sigs.get(key) == Some(sig);
            assert!(first.partial_sigs.iter().all(kept), "{}", script.name);
            let kept = |(key, sig)| input.tap_script_sigs.get(key) == Some(sig);
            assert!(first.tap_script_sigs.iter().all(kept), "{}", script.name);
        }
    }
}

#[test]
fn change_is_proved_by_any_of_our_places() {
    let secp = Secp256k1::new();
    for script in BOTH.map(named) {
        let wallet = script.wallet(&secp);
        let watch: &WatchOnly = watch(&wallet);
        let good = good_psbt(watch, 2);
        let ours = wallet.master_fingerprint();
        for kept in [vec![1], vec![3], vec![1, 3]] {
            let mut psbt = good.clone();
            let stays = |path: &bitcoin::bip32::DerivationPath| {
                let steps: Vec<u32> = path.into_iter().copied().map(u32::from).collect();
                kept.contains(&steps[steps.len() - 2])
            };
            let output = &mut psbt.outputs[1];
            output.bip32_derivation.retain(|_, (fingerprint, path)| *fingerprint != ours || stays(path));
            output.tap_key_origins.retain(|_, (_, (there, path))| *there != ours || stays(path));
            let checked = CheckedPsbt::parse(psbt.serialize(), watch, &alone(&secp)).expect(script.name);
            assert_eq!(checked.our_outputs(), [(1, Location { chain: Chain::Internal, index: 3 })]);
            assert_eq!(checked.leaves(), PAID + 2 * FEE, "{}: {kept:?}", script.name);
        }
    }
}

#[test]
fn derived_key_the_claims_of_one_input_are_of_one_address_and_each_true() {
    let secp = Secp256k1::new();
    let wallet = named("wsh-both-branches").wallet(&secp);
    let ours = wallet.master_fingerprint();
    let refused = |change: &dyn Fn(&mut Psbt)| {
        let mut psbt = good_psbt(watch(&wallet), 2);
        change(&mut psbt);
        match CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp)).map(drop) {
            Err(PsbtError::Refused { rule, .. }) => rule,
            other => panic!("{other:?}"),
        }
    };
    // Our recovery key of another index.
    let mixed = refused(&|psbt| {
        let other = psbt.inputs[1].bip32_derivation.clone();
        let is_ours = |path: &bitcoin::bip32::DerivationPath| path.to_string().contains("/2/1");
        let (key, source) = other.iter().find(|(_, (fp, path))| *fp == ours && is_ours(path)).expect("there");
        let input = &mut psbt.inputs[0].bip32_derivation;
        input.retain(|_, (fp, path)| *fp != ours || !path.to_string().contains("/2/0"));
        input.insert(*key, source.clone());
    });
    assert_eq!(mixed, Rule::DerivedKey);
    // The right path with a wrong key.
    let swapped = refused(&|psbt| {
        let input = &mut psbt.inputs[0].bip32_derivation;
        let claims: Vec<_> =
            input.iter().filter(|(_, (fp, _))| *fp == ours).map(|(k, s)| (*k, s.clone())).collect();
        let [(first, a), (second, b)] = <[_; 2]>::try_from(claims).expect("two places");
        input.insert(first, b);
        input.insert(second, a);
    });
    assert_eq!(swapped, Rule::DerivedKey);
    // More claims than the script has places.
    let many = refused(&|psbt| {
        let more = psbt.inputs[1].bip32_derivation.clone();
        psbt.inputs[0].bip32_derivation.extend(more);
    });
    assert_eq!(many, Rule::DerivedKey);
}

#[test]
fn require_cosigner_only_the_branches_that_the_cosigner_has_signed_are_signed() {
    let cosigner = Cosigner::named("A").fingerprint();
    let policy = format!("unlimited = true\nrequire_cosigner = \"{cosigner}\"");
    let scene = Scene::new(named("tr-both-branches"), &policy, WAITED);
    let rule = |psbt: &Psbt| match scene.sign(psbt) {
        Err(EngineError::Psbt(PsbtError::Refused { rule, .. })) => Some(rule),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    };
    assert_eq!(rule(&scene.psbt), Some(Rule::RequireCosigner));
    let mut psbt = scene.psbt.clone();
    Cosigner::named("A").sign(&mut psbt);
    // A has no key in the recovery branch, which the transaction could also use.
    let signed = scene.sign(&psbt).expect("signs");
    for (index, (input, before)) in signed.inputs.iter().zip(&psbt.inputs).enumerate() {
        assert_eq!((signatures(before), signatures(input)), (1, 2), "input {index}");
        let (_, leaf) = before.tap_script_sigs.keys().next().expect("of A");
        let are_there = input.tap_script_sigs.keys().all(|(_, there)| there == leaf);
        assert!(are_there, "input {index}: ours is in another leaf than A's");
    }
    scene.show_only(&mut psbt, 2);
    assert_eq!(rule(&psbt), Some(Rule::RequireCosigner), "only the recovery is asked for");
}
