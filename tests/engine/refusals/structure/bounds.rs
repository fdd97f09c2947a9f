//! The bounded cost of reading a PSBT, and `oversize`.

use super::super::*;

/// A wallet of twenty keys, the most that a multisig has.
fn wallet_of_twenty(secp: &Secp256k1<bitcoin::secp256k1::All>) -> Wallet {
    let cosigners: Vec<String> = ('A'..='S').map(|name| Cosigner::named(&name.to_string()).key()).collect();
    let places: Vec<String> = (0..20).map(|place| format!("@{place}/**")).collect();
    let registration = format!("wsh(sortedmulti(2,{}))\nours\n{}", places.join(","), cosigners.join("\n"));
    scripts::of_seed([9; 64], &registration, countersign::kernel::network::Network::Regtest, secp)
}

/// Claims cost nothing to write: 370 KB of them took seconds, without anybody's code.
#[test]
fn oversize_of_claims_is_refused_before_a_key_is_derived() {
    let secp = Secp256k1::new();
    let wallet = wallet_of_twenty(&secp);
    let mut psbt = scripts::good_psbt(watch(&wallet), 1);
    let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(&secp);
    psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
    // Within the unsigned transaction's 100 kB.
    for index in 0..2_300 {
        let script_pubkey = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_byte_array([7; 32]));
        psbt.unsigned_tx.output.push(TxOut { value: Amount::from_sat(1), script_pubkey });
        let path = format!("48'/1'/0'/2'/{}/{}", index % 2, index / 2).parse().expect("a path");
        let claim = [(foreign, (wallet.master_fingerprint(), path))].into();
        psbt.outputs.push(bitcoin::psbt::Output { bip32_derivation: claim, ..Default::default() });
    }
    let derived = watch(&wallet).keys_derived();
    // Up to the end of the reach, so that nothing else refuses them.
    let around = countersign::kernel::psbt::Surroundings {
        reach: countersign::kernel::wallet::Reach::at(5_000, 5_000),
        ..alone(&secp)
    };
    for bytes in [psbt.serialize(), harness::engine::maps::to_version_2(&psbt)] {
        let refused = CheckedPsbt::parse(bytes, watch(&wallet), &around).err().expect("refused");
        let PsbtError::Oversize(text) = refused else { panic!("{refused}") };
        assert!(text.contains("46020 keys would be derived for the outputs"), "{text}");
        assert_eq!(watch(&wallet).keys_derived(), derived, "not one");
    }
    // For inputs: all of them could be ours, so all of them count for the bound.
    let mut psbt = scripts::good_psbt(watch(&wallet), 1);
    for index in 1..=500 {
        let previous = funding(stranger(), 1_000, index);
        let previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.unsigned_tx.input.push(TxIn { previous_output, ..TxIn::default() });
        let path = format!("48'/1'/0'/2'/0/{index}").parse().expect("a path");
        psbt.inputs.push(bitcoin::psbt::Input {
            witness_utxo: Some(previous.output[0].clone()),
            non_witness_utxo: Some(previous),
            bip32_derivation: [(foreign, (wallet.master_fingerprint(), path))].into(),
            ..Default::default()
        });
    }
    let derived = watch(&wallet).keys_derived();
    let refused = CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &around).err().expect("refused");
    assert!(refused.to_string().contains("10040 keys would be derived"), "{refused}");
    assert_eq!(watch(&wallet).keys_derived(), derived, "not one");
}

/// An address that several inputs spend, or several outputs pay, is rebuilt only once.
#[test]
fn each_address_of_a_psbt_is_derived_once() {
    let scene = Scene::new(UNLIMITED);
    let wallet = scene.wallet();
    let mut psbt = scene.psbt(300);
    for again in 0..300 {
        let script = psbt.inputs[again].witness_utxo.clone().expect("there").script_pubkey;
        let previous = funding(script, INPUT, 1_000 + again as u32);
        let previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.unsigned_tx.input.push(TxIn { previous_output, ..TxIn::default() });
        psbt.inputs.push(bitcoin::psbt::Input {
            witness_utxo: Some(previous.output[0].clone()),
            non_witness_utxo: Some(previous),
            bip32_derivation: psbt.inputs[again].bip32_derivation.clone(),
            ..Default::default()
        });
    }
    watch(&wallet).forget_known();
    let derived = watch(&wallet).keys_derived();
    let checked = scene.check(&psbt).expect("good");
    assert_eq!(checked.our_inputs().count(), 600);
    assert_eq!(watch(&wallet).keys_derived() - derived, 300 + 1, "300 addresses, and that of the change");
}

/// The cosigner who must sign first is looked up by the keys from which the address was rebuilt.
#[test]
fn require_cosigner_derives_no_key_twice() {
    let secp = Secp256k1::new();
    let script = scripts::named("wsh-sortedmulti");
    let (wallet, cosigner) = (script.wallet(&secp), Cosigner::named("B"));
    let mut psbt = scripts::good_psbt(watch(&wallet), 2);
    cosigner.sign(&mut psbt);
    watch(&wallet).forget_known();
    let derived = watch(&wallet).keys_derived();
    let around = countersign::kernel::psbt::Surroundings {
        require_cosigner: Some(cosigner.fingerprint()),
        ..alone(&secp)
    };
    CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &around).expect("the cosigner has signed");
    assert_eq!(watch(&wallet).keys_derived() - derived, 3 * 3, "three addresses of three keys");
}

/// A false claim costs only the derivation of our key. The cosigners' keys are derived only for what may be
/// ours.
#[test]
fn a_claim_that_is_false_or_of_another_form_costs_one_key() {
    let secp = Secp256k1::new();
    let wallet = wallet_of_twenty(&secp);
    let mut psbt = scripts::good_psbt(watch(&wallet), 1);
    psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
    let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(&secp);
    for index in 10..30 {
        let location = countersign::kernel::wallet::Location { chain: Chain::Internal, index };
        let ours = watch(&wallet).public_key(location).expect("derives");
        let wsh = ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_byte_array([7; 32]));
        for (key, script_pubkey) in [(foreign, wsh), (ours, script_pubkey(&ours))] {
            let path = format!("48'/1'/0'/2'/1/{index}").parse().expect("a path");
            psbt.unsigned_tx.output.push(TxOut { value: Amount::from_sat(1), script_pubkey });
            let claim = [(key, (wallet.master_fingerprint(), path))].into();
            psbt.outputs.push(bitcoin::psbt::Output { bip32_derivation: claim, ..Default::default() });
        }
    }
    watch(&wallet).forget_known();
    let derived = watch(&wallet).keys_derived();
    let checked =
        CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp)).expect("they are spends");
    assert_eq!(checked.our_outputs().len(), 1);
    assert_eq!(
        watch(&wallet).keys_derived() - derived,
        20 + 20 + 40,
        "input, change, and one for each claim"
    );
}

/// The claims of ten thousand outputs, times the keys of a large script, are not all derived.
#[test]
fn oversize_of_the_keys_that_would_be_derived() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let leaf = |first: u32| -> String {
        let key = |at: u32| format!("@{}/<{};{}>/*", at + 1, first, first + 1);
        format!("multi_a(5,{})", (0..10).map(key).collect::<Vec<_>>().join(","))
    };
    let leaves: Vec<String> = (0..10).map(|at| leaf(2 * at)).collect();
    let tree = leaves.into_iter().reduce(|tree, leaf| format!("{{{tree},{leaf}}}")).expect("ten");
    let keys: Vec<String> =
        "ABCDEFGHIJ".chars().map(|name| Cosigner::named(&name.to_string()).key()).collect();
    let script = NewScript {
        registration: Some(format!("tr(@0/**,{tree})\nours\n{}", keys.join("\n"))),
        path: Some("m/86'/1'/0'".into()),
    };
    let id = bench.add_wallet("w", &["alice"], UNLIMITED, script).expect("a wallet");
    let mut psbt = scripts::good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1);
    // Without the trees, which have their own bound.
    psbt.outputs[1].tap_tree = None;
    let (output, map) = (psbt.unsigned_tx.output[1].clone(), psbt.outputs[1].clone());
    psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
    for _ in 0..1_100 {
        psbt.unsigned_tx.output.push(TxOut { value: Amount::from_sat(1), ..output.clone() });
        psbt.outputs.push(map.clone());
    }
    let wallet = bench.engine.wallet(&id).expect("there");
    let derived = watch(&wallet).keys_derived();
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize());
    assert_eq!(watch(&wallet).keys_derived(), derived, "not one was");
    let Err(EngineError::Psbt(PsbtError::Oversize(text))) = answer else { panic!("{:?}", answer.err()) };
    assert!(text.contains("derived"), "{text}");
    assert_eq!(bench.failures("alice"), 0);
}

#[test]
fn oversize() {
    let scene = Scene::new(UNLIMITED);
    let mut heavy = scene.psbt(1);
    // A transaction that no node relays.
    let script = ScriptBuf::from_bytes(vec![0x6a; 9_000]);
    for _ in 0..12 {
        heavy.unsigned_tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: script.clone() });
        heavy.outputs.push(Default::default());
    }
    let refused = scene.sign(&heavy.serialize());
    assert!(matches!(refused, Err(EngineError::Psbt(PsbtError::Oversize(_)))));
    let huge = vec![0; 100 << 20];
    assert!(matches!(scene.sign(&huge), Err(EngineError::Psbt(PsbtError::Oversize(_)))));
    scene.sign(&scene.psbt(1).serialize()).expect("nothing was spent");
}
