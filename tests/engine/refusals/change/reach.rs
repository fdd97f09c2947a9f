//! How far change may be from the addresses that are used already.

use super::super::*;

/// Makes input `input` spend a coin of the wallet at this address.
fn spend_at(scene: &Scene, psbt: &mut Psbt, input: usize, (chain, index): (Chain, u32), value: u64) {
    let (key, origin) = key_at(&scene.wallet(), chain, index);
    let previous = funding(script_pubkey(&key), value, 70 + input as u32);
    psbt.unsigned_tx.input[input].previous_output = OutPoint::new(previous.compute_txid(), 0);
    psbt.inputs[input].bip32_derivation = [(key, origin)].into();
    psbt.inputs[input].witness_utxo = Some(previous.output[0].clone());
    psbt.inputs[input].non_witness_utxo = Some(previous);
}

/// Sends the change of a good PSBT to this address.
fn change_to(scene: &Scene, psbt: &mut Psbt, (chain, index): (Chain, u32)) {
    let (key, origin) = key_at(&scene.wallet(), chain, index);
    psbt.outputs[1].bip32_derivation = [(key, origin)].into();
    psbt.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
}

/// One deposit address for each customer: the coins of address 1,500 are spent, and the change goes back
/// there.
#[test]
fn change_path_an_input_proved_ours_admits_change_near_it_in_its_transaction_alone() {
    use Chain::{External, Internal};
    let scene = Scene::new(UNLIMITED);
    let spending = |change: (Chain, u32)| {
        let mut psbt = scene.psbt(1);
        spend_at(&scene, &mut psbt, 0, (External, 1_500), INPUT);
        change_to(&scene, &mut psbt, change);
        psbt
    };
    for near in [
        (External, 1_500),
        (External, 1_501),
        (External, 1_000),
        (External, 2_500),
        (Internal, 1_000),
        (Internal, 1_500),
    ] {
        let psbt = spending(near);
        let checked = scene.check(&psbt).unwrap_or_else(|refused| panic!("{near:?}: {refused}"));
        assert_eq!(checked.our_outputs().len(), 1, "{near:?}");
        assert_eq!(checked.leaves(), PAID + FEE, "{near:?}: as much went out there as comes back");
        assert_eq!(checked.reach(), Default::default(), "{near:?}: the lasting reach does not follow");
        scene.bench.clock.advance(30);
        scene.sign(&psbt.serialize()).unwrap_or_else(|refused| panic!("{near:?}: {refused}"));
    }
    let is_too_far = |psbt: &Psbt| {
        let refused = scene.check(psbt).err();
        matches!(refused, Some(PsbtError::Refused { rule: Rule::ChangePath, .. }))
    };
    for far in [(External, 2_501), (Internal, 1_501), (External, 0x7fff_ffff)] {
        assert!(is_too_far(&spending(far)), "{far:?}");
    }
    let told = scene.check(&spending((External, 2_501))).err().expect("refused").to_string();
    for word in ["output 1", "external index 2501", "the last one is 2500", "--reach"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // All of these were signed. The next transaction, which spends nothing out there, has the same reach as
    // before.
    for far in [(External, 1_001), (External, 1_500), (Internal, 1_000)] {
        let mut psbt = scene.psbt(1);
        change_to(&scene, &mut psbt, far);
        let answer = scene.sign(&psbt.serialize());
        assert!(
            matches!(answer, Err(EngineError::Psbt(PsbtError::Refused { rule: Rule::ChangePath, .. }))),
            "{far:?}"
        );
    }
}

/// An input that is not proved ours says nothing about where the wallet looks.
#[test]
fn change_path_an_input_that_is_not_proved_ours_admits_nothing() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(2);
    spend_at(&scene, &mut psbt, 0, (Chain::External, 1_500), INPUT);
    change_to(&scene, &mut psbt, (Chain::External, 1_500));
    scene.check(&psbt).expect("near an input of ours");
    psbt.inputs[0].bip32_derivation.clear();
    let refused = scene.check(&psbt).err().expect("refused");
    assert!(matches!(refused, PsbtError::Refused { rule: Rule::ChangePath, .. }), "{refused}");
}

/// Ransom: a tiny coin is sent to an address far ahead, and spent together with real coins whose change is to
/// go there.
#[test]
fn change_path_change_moved_beyond_the_reach_counts_as_leaving() {
    const DUST: u64 = 546;
    let far = 2_000_000_000;
    let scene = Scene::new(&format!("max_transaction_sat = {}\nmax_fee_sat = 1000", PAID + FEE));
    let ransom = |dust: u64, change: (Chain, u32)| {
        let mut psbt = scene.psbt(2);
        spend_at(&scene, &mut psbt, 0, (Chain::External, far), dust);
        psbt.unsigned_tx.output[1].value = Amount::from_sat(INPUT + dust - PAID - FEE);
        change_to(&scene, &mut psbt, change);
        psbt
    };
    let psbt = ransom(DUST, (Chain::External, far + 700));
    let checked = scene.check(&psbt).expect("it is ours, as the scripts prove");
    let back = INPUT + DUST - PAID - FEE;
    assert_eq!(checked.moved_out_of_reach(), back - DUST);
    assert_eq!(checked.leaves(), PAID + FEE + back - DUST);
    assert!(matches!(scene.sign(&psbt.serialize()), Err(EngineError::Policy(Rule::TransactionMax))));
    // The value of coins that were out there before may stay out there, and change within reach was never in
    // doubt.
    let mut psbt = ransom(INPUT, (Chain::External, far + 700));
    psbt.unsigned_tx.output[0].value = Amount::from_sat(INPUT - FEE);
    psbt.unsigned_tx.output[1].value = Amount::from_sat(INPUT);
    let checked = scene.check(&psbt).expect("good");
    assert_eq!((checked.moved_out_of_reach(), checked.leaves()), (0, INPUT));
    let psbt = ransom(DUST, (Chain::Internal, 3));
    let checked = scene.check(&psbt).expect("good");
    assert_eq!((checked.moved_out_of_reach(), checked.leaves()), (0, PAID + FEE));
    scene.bench.clock.advance(30);
    scene.sign(&psbt.serialize()).expect("signs");
}

#[test]
fn allowlist_change_that_is_moved_beyond_the_reach_is_not_ours() {
    let far = 2_000_000_000;
    let scene = Scene::new(&format!("{UNLIMITED}\nallowlist = [\"script:{}\"]", stranger().to_hex_string()));
    let spending = |value: u64, change: (Chain, u32)| {
        let mut psbt = scene.psbt(2);
        spend_at(&scene, &mut psbt, 0, (Chain::External, far), value);
        psbt.unsigned_tx.output[1].value = Amount::from_sat(INPUT + value - PAID - FEE);
        change_to(&scene, &mut psbt, change);
        psbt
    };
    let moved = spending(546, (Chain::External, far + 700));
    assert!(matches!(scene.sign(&moved.serialize()), Err(EngineError::Policy(Rule::Allowlist))));
    let mut goes_on = spending(INPUT, (Chain::External, far + 700));
    goes_on.unsigned_tx.output[0].value = Amount::from_sat(INPUT - FEE);
    goes_on.unsigned_tx.output[1].value = Amount::from_sat(INPUT);
    for stays in [spending(546, (Chain::Internal, 3)), goes_on] {
        scene.bench.clock.advance(30);
        scene.sign(&stays.serialize()).expect("what was within reach, or beyond it before, stays ours");
    }
}

#[test]
fn change_path_one_transaction_takes_the_reach_one_gap_further_at_the_most() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(2);
    for (input, index) in [(0, 999), (1, 1_999)] {
        let (key, origin) = key_at(&scene.wallet(), Chain::External, index);
        let previous = funding(script_pubkey(&key), INPUT, 50 + index);
        psbt.unsigned_tx.input[input].previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.inputs[input].bip32_derivation = [(key, origin)].into();
        psbt.inputs[input].witness_utxo = Some(previous.output[0].clone());
        psbt.inputs[input].non_witness_utxo = Some(previous);
    }
    let reach = scene.check(&psbt).expect("inputs may be anywhere").reach();
    let at = |index| countersign::kernel::wallet::Location { chain: Chain::External, index };
    assert!(reach.covers(at(1_999)) && !reach.covers(at(2_000)));
}

#[test]
fn the_reach_is_kept_over_a_restart() {
    let scene = Scene::new(UNLIMITED);
    let change_at = |bench: &Bench, index: u32| {
        let wallet = bench.engine.wallet(&scene.id).expect("there");
        let mut psbt = bench.psbt(&scene.id, 1);
        let (key, origin) = key_at(&wallet, Chain::Internal, index);
        psbt.outputs[1].bip32_derivation = [(key, origin)].into();
        psbt.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
        psbt.serialize()
    };
    scene.sign(&change_at(&scene.bench, 999)).expect("the last one in reach");
    let bytes = change_at(&scene.bench, 1_999);
    let code = scene.alice.generate(scene.bench.clock.now() + 30).to_string();
    let id = scene.id;
    let bench = scene.bench.restarted();
    bench.sign(&id, "alice", &code, &bytes).expect("in reach of what was signed before");
}
