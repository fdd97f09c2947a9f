//! Amounts and fees.

use super::*;

#[test]
fn utxo_missing() {
    refuses(Rule::UtxoMissing, 2, |_, psbt| psbt.inputs[1].non_witness_utxo = None);
    refuses(Rule::UtxoMissing, 1, |_, psbt| {
        psbt.inputs[0].non_witness_utxo = None;
        psbt.inputs[0].witness_utxo = None;
    });
    // Nobody can abuse the exception for taproot: not beside an input of ours that is not taproot,
    let taproot = TxOut {
        value: Amount::from_sat(INPUT),
        script_pubkey: ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()),
    };
    refuses(Rule::UtxoMissing, 1, |_, psbt| {
        add_stranger(psbt);
        psbt.inputs[1].witness_utxo = Some(taproot.clone());
        psbt.inputs[1].non_witness_utxo = None;
    });
    // not where our input claims to be taproot against its previous transaction,
    refuses(Rule::UtxoDisagree, 1, |_, psbt| psbt.inputs[0].witness_utxo = Some(taproot.clone()));
    // and not where our input claims to be taproot and has no previous transaction.
    refuses(Rule::ScriptMismatch, 1, |_, psbt| {
        psbt.inputs[0].witness_utxo = Some(taproot.clone());
        psbt.inputs[0].non_witness_utxo = None;
    });
}

#[test]
fn utxo_missing_names_the_input_at_fault_and_what_fills_it_in() {
    let scene = Scene::new(UNLIMITED);
    let told = |change: fn(&mut Psbt)| {
        let mut psbt = scene.psbt(2);
        add_stranger(&mut psbt);
        change(&mut psbt);
        scene.check(&psbt).err().expect("refused").to_string()
    };
    let ours = told(|psbt| psbt.inputs[1].non_witness_utxo = None);
    assert!(ours.contains("input 1 has a witness_utxo but no non_witness_utxo"), "{ours}");
    assert!(ours.contains("-txindex") && ours.contains("walletprocesspsbt"), "{ours}");
    let theirs = told(|psbt| psbt.inputs[2].non_witness_utxo = None);
    assert!(theirs.contains("input 2 has a witness_utxo"), "{theirs}");
    let neither = told(|psbt| psbt.inputs[2] = Default::default());
    assert!(neither.contains("input 2 has neither"), "{neither}");
}

/// PSBTs of wallets that know only the output of a foreign coin: BDK, and wallets that spend an anchor (P2A).
#[test]
fn a_taproot_wallet_signs_beside_inputs_of_others_that_have_their_outputs_alone() {
    let secp = Secp256k1::new();
    for script in scripts::SCRIPTS.iter().filter(|script| script.is_taproot()) {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect("a wallet");
        let wallet = bench.engine.wallet(&id).expect("there");
        for foreign in [TxOut { value: Amount::from_sat(INPUT), script_pubkey: stranger() }, anchor(240)] {
            bench.clock.advance(30);
            let mut psbt = scripts::good_psbt(watch(&wallet), 1);
            psbt.inputs[0].non_witness_utxo = None;
            add_stranger(&mut psbt);
            psbt.unsigned_tx.input.swap(0, 1);
            psbt.inputs.swap(0, 1);
            psbt.inputs[0].non_witness_utxo = None;
            psbt.inputs[0].witness_utxo = Some(foreign.clone());
            let value = foreign.value.to_sat();
            let checked =
                CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp)).expect("it is tolerated");
            assert_eq!(checked.leaves(), INPUT + value, "{}: all that goes in", script.name);
            assert_eq!(checked.fee(), FEE + value);
            let signed = bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize()).expect("signs");
            let signed = Psbt::deserialize(&signed).expect("a PSBT");
            let is_unsigned =
                signed.inputs[0].tap_key_sig.is_none() && signed.inputs[0].tap_script_sigs.is_empty();
            assert!(is_unsigned, "{}: the foreign input has no signature of ours", script.name);
            // The signature covers the amount of the foreign input. Under another amount it does not verify.
            let verifies = |value: u64| {
                let mut signed = signed.clone();
                signed.inputs[0].witness_utxo.as_mut().expect("there").value = Amount::from_sat(value);
                CheckedPsbt::parse(signed.serialize(), watch(&wallet), &alone(&secp)).is_ok()
            };
            assert!(verifies(value) && !verifies(value - 1) && !verifies(value + 1), "{}", script.name);
        }
    }
}

#[test]
fn utxo_txid() {
    refuses(Rule::UtxoTxid, 1, |_, psbt| {
        // The attack of CVE-2020-14199: the same output, with a lower value.
        let previous = psbt.inputs[0].non_witness_utxo.as_mut().expect("there");
        previous.output[0].value = Amount::from_sat(INPUT - 10_000);
        psbt.inputs[0].witness_utxo = Some(previous.output[0].clone());
    });
}

#[test]
fn utxo_vout() {
    for vout in [1, 2, u32::MAX] {
        refuses(Rule::UtxoVout, 1, |_, psbt| psbt.unsigned_tx.input[0].previous_output.vout = vout);
    }
}

#[test]
fn utxo_disagree() {
    refuses(Rule::UtxoDisagree, 1, |_, psbt| {
        psbt.inputs[0].witness_utxo.as_mut().expect("there").value = Amount::from_sat(INPUT - 1);
    });
    refuses(Rule::UtxoDisagree, 1, |_, psbt| {
        psbt.inputs[0].witness_utxo.as_mut().expect("there").script_pubkey = stranger();
    });
}

#[test]
fn amount_range() {
    let over = Amount::MAX_MONEY.to_sat() + 1;
    refuses(Rule::AmountRange, 1, |_, psbt| psbt.unsigned_tx.output[0].value = Amount::from_sat(over));
    refuses(Rule::AmountRange, 1, |_, psbt| psbt.unsigned_tx.output[0].value = Amount::from_sat(u64::MAX));
    refuses(Rule::AmountRange, 1, |_, psbt| {
        // Each is within range, and the sum is not.
        let half = Amount::from_sat(over / 2 + 1);
        psbt.unsigned_tx.output.iter_mut().for_each(|output| output.value = half);
    });
    refuses(Rule::AmountRange, 1, |_, psbt| {
        // A sum that would wrap to a small number.
        psbt.unsigned_tx.output[0].value = Amount::from_sat(u64::MAX - 1);
        psbt.unsigned_tx.output[1].value = Amount::from_sat(2);
    });
    refuses(Rule::AmountRange, 1, |_, psbt| {
        psbt.unsigned_tx.output[0].value = Amount::from_sat(PAID + FEE + 1)
    });
    refuses(Rule::AmountRange, 1, |scene, psbt| {
        let (key, _) = key_at(&scene.wallet(), Chain::External, 0);
        respend(psbt, funding(script_pubkey(&key), over, 0));
    });
}

#[test]
fn fee_cap() {
    let cheap = |_: &Scene, psbt: &mut Psbt| psbt.unsigned_tx.output[1].value -= Amount::from_sat(1);
    policy_refuses("max_transaction_sat = 1000000\nmax_fee_sat = 1000", Rule::FeeCap, cheap);
    let dear = |_: &Scene, psbt: &mut Psbt| psbt.unsigned_tx.output[1].value -= Amount::from_sat(14_000);
    let feerate = "max_transaction_sat = 1000000\nmax_fee_sat = 100000\nmax_fee_sat_per_vbyte = 100";
    policy_refuses(feerate, Rule::FeeCap, dear);
    let share = "max_transaction_sat = 1000000\nmax_fee_sat = 100000\nmax_fee_percent = 24";
    policy_refuses(share, Rule::FeeCap, dear);
}

#[test]
fn transaction_max() {
    let exact = format!("max_transaction_sat = {}\nmax_fee_sat = 1000", PAID + FEE);
    let scene = Scene::new(&exact);
    scene.sign(&scene.psbt(1).serialize()).expect("what leaves is exactly the maximum");
    let policy = format!("max_transaction_sat = {}\nmax_fee_sat = 1000", PAID + FEE);
    policy_refuses(&policy, Rule::TransactionMax, |_, psbt| {
        psbt.unsigned_tx.output[0].value += Amount::from_sat(1);
        psbt.unsigned_tx.output[1].value -= Amount::from_sat(1);
    });
}

#[test]
fn an_input_with_an_invented_txid_is_no_input() {
    refuses(Rule::UtxoTxid, 1, |_, psbt| {
        psbt.unsigned_tx.input[0].previous_output.txid = Txid::from_byte_array([1; 32]);
    });
}
