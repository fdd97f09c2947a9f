//! Change and ownership.

mod reach;

use super::*;

#[test]
fn change_fraud() {
    let scene = Scene::new(UNLIMITED);
    let honest = scene.psbt(1);
    assert_eq!(scene.check(&honest).expect("good").leaves(), PAID + FEE);

    // Our fingerprint and path, even our key, but paid to a stranger.
    let mut paid_elsewhere = honest.clone();
    paid_elsewhere.unsigned_tx.output[1].script_pubkey = stranger();
    assert_eq!(scene.check(&paid_elsewhere).expect("signs as a payment").leaves(), INPUT);

    // Our fingerprint and path with a stranger's key, and paid to that key.
    let mut other_key = honest.clone();
    let (_, origin) = other_key.outputs[1].bip32_derivation.pop_first().expect("there");
    let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(&scene.bench.secp);
    other_key.outputs[1].bip32_derivation.insert(foreign, origin);
    other_key.unsigned_tx.output[1].script_pubkey = script_pubkey(&foreign);
    assert_eq!(scene.check(&other_key).expect("signs as a payment").leaves(), INPUT);

    // Our script without a claim: not proved, so not ours.
    let mut silent = honest.clone();
    silent.outputs[1].bip32_derivation.clear();
    assert_eq!(scene.check(&silent).expect("signs as a payment").leaves(), INPUT);

    // Change that goes to another wallet of the token, and truly belongs to it, has left this one.
    let mut sibling = honest.clone();
    let other = scene.bench.engine.wallet(&scene.other).expect("there");
    let (key, origin) = key_at(&other, Chain::Internal, 3);
    sibling.outputs[1].bip32_derivation = [(key, origin)].into();
    sibling.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
    assert_eq!(scene.check(&sibling).expect("signs as a payment").leaves(), INPUT);

    // Our fingerprint and the path of the change, with the key of another address of ours: one of the two is
    // false.
    let mut shifted = honest.clone();
    let (_, origin) = shifted.outputs[1].bip32_derivation.pop_first().expect("there");
    let (key, _) = key_at(&scene.wallet(), Chain::Internal, 4);
    shifted.outputs[1].bip32_derivation.insert(key, origin);
    shifted.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
    assert_eq!(scene.check(&shifted).expect("signs as a payment").leaves(), INPUT);

    // And the policy counts it.
    let policy = format!("max_transaction_sat = {}\nmax_fee_sat = 1000", PAID + FEE);
    policy_refuses(&policy, Rule::TransactionMax, |_, psbt| {
        psbt.unsigned_tx.output[1].script_pubkey = stranger();
    });
}

#[test]
fn change_path() {
    let moved = |path: &'static str| {
        move |_: &Scene, psbt: &mut Psbt| {
            let (key, (fingerprint, _)) = psbt.outputs[1].bip32_derivation.pop_first().expect("there");
            psbt.outputs[1].bip32_derivation.insert(key, (fingerprint, path.parse().expect("a path")));
        }
    };
    for path in [
        "84'/1'/1'/1/3",
        "84'/1'/0'/2/3",
        "84'/1'/0'/1'/3",
        "84'/1'/0'/1/3'",
        "84'/1'/0'/1",
        "84'/1'/0'/1/3/0",
        "84/1'/0'/1/3",
        "49'/1'/0'/1/3",
        "84'/1'/0'/1/1000",
        "84'/1'/0'/1/2147483647",
    ] {
        refuses(Rule::ChangePath, 1, moved(path));
    }
    // Even if the key is really the one on that path.
    refuses(Rule::ChangePath, 1, |scene, psbt| {
        let (key, origin) = key_at(&scene.wallet(), Chain::Internal, 1_000);
        psbt.outputs[1].bip32_derivation = [(key, origin)].into();
        psbt.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
    });
}

#[test]
fn script_mismatch() {
    let script = || ScriptBuf::from_bytes(vec![0x51]);
    refuses(Rule::ScriptMismatch, 1, |_, psbt| psbt.inputs[0].redeem_script = Some(script()));
    refuses(Rule::ScriptMismatch, 1, |_, psbt| psbt.inputs[0].witness_script = Some(script()));
    refuses(Rule::ScriptMismatch, 1, |_, psbt| psbt.outputs[0].redeem_script = Some(script()));
    refuses(Rule::ScriptMismatch, 1, |_, psbt| psbt.outputs[1].witness_script = Some(script()));
    refuses(Rule::ScriptMismatch, 1, |_, psbt| {
        // Our key and path on a stranger's output.
        respend(psbt, funding(stranger(), INPUT, 0));
    });
}

/// Every script is rebuilt from the registration, so a redeem script of a witness program adds nothing.
#[test]
fn a_redeem_script_that_is_left_out_is_no_mismatch() {
    let secp = Secp256k1::new();
    for name in ["sh-wpkh", "sh-wsh-sortedmulti"] {
        let script = scripts::named(name);
        let wallet = script.wallet(&secp);
        let mut psbt = scripts::good_psbt(watch(&wallet), 2);
        script.with.iter().for_each(|cosigner| Cosigner::named(cosigner).sign(&mut psbt));
        psbt.inputs.iter_mut().for_each(|input| input.redeem_script = None);
        psbt.outputs.iter_mut().for_each(|output| output.redeem_script = None);
        let check = |psbt: &Psbt| CheckedPsbt::parse(psbt.serialize(), watch(&wallet), &alone(&secp));
        assert_eq!(check(&psbt).expect(name).leaves(), PAID + 2 * FEE);
        if name != "sh-wpkh" {
            psbt.inputs[1].witness_script = Some(ScriptBuf::from_bytes(vec![0x51]));
            let refused = check(&psbt).err().expect("refused");
            assert!(matches!(refused, PsbtError::Refused { rule: Rule::ScriptMismatch, .. }), "{refused}");
        }
    }
}

/// The same in a foreign input, whose signatures are verified by the scripts that it has.
#[test]
fn foreign_partial_sig_of_a_nested_witness_program_without_its_redeem_script() {
    let scene = Scene::new(UNLIMITED);
    let secret = SecretKey::from_slice(&[0x51; 32]).expect("a key");
    let key = PublicKey::new(secret.public_key(&scene.bench.secp));
    let witness_script =
        ScriptBuf::builder().push_key(&key).push_opcode(bitcoin::opcodes::all::OP_CHECKSIG).into_script();
    let nested = [
        (ScriptBuf::new_p2wpkh(&key.wpubkey_hash().expect("compressed")), None),
        (witness_script.to_p2wsh(), Some(witness_script)),
    ];
    for (program, witness_script) in nested {
        let mut psbt = scene.psbt(1);
        add_stranger(&mut psbt);
        let previous = funding(program.to_p2sh(), INPUT, 98);
        psbt.unsigned_tx.input[1].previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.inputs[1].witness_utxo = Some(previous.output[0].clone());
        psbt.inputs[1].non_witness_utxo = Some(previous);
        psbt.inputs[1].witness_script = witness_script.clone();
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        let (all, value) = (EcdsaSighashType::All, Amount::from_sat(INPUT));
        let hash = match &witness_script {
            Some(script) => cache.p2wsh_signature_hash(1, script, value, all),
            None => cache.p2wpkh_signature_hash(1, &program, value, all).map_err(|_| unreachable!()),
        };
        let signature = scene.bench.secp.sign_ecdsa(&Message::from(hash.expect("an input")), &secret);
        psbt.inputs[1].partial_sigs.insert(key, ecdsa::Signature::sighash_all(signature));
        scene.check(&psbt).expect("it verifies");
        psbt.unsigned_tx.output[0].value -= Amount::ONE_SAT;
        let refused = scene.check(&psbt).err().expect("refused");
        assert!(matches!(refused, PsbtError::Refused { rule: Rule::ForeignPartialSig, .. }), "{refused}");
    }
}

#[test]
fn derived_key() {
    refuses(Rule::DerivedKey, 1, |_, psbt| {
        let (_, origin) = psbt.inputs[0].bip32_derivation.pop_first().expect("there");
        let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(&Secp256k1::new());
        psbt.inputs[0].bip32_derivation.insert(foreign, origin);
    });
    refuses(Rule::DerivedKey, 1, |_, psbt| {
        let (key, (fingerprint, _)) = psbt.inputs[0].bip32_derivation.pop_first().expect("there");
        let path = "84'/1'/0'/0/1".parse().expect("a path");
        psbt.inputs[0].bip32_derivation.insert(key, (fingerprint, path));
    });
}

#[test]
fn network() {
    let mainnet = |origins: &mut std::collections::BTreeMap<_, (Fingerprint, DerivationPath)>| {
        let (key, (fingerprint, _)) = origins.pop_first().expect("there");
        origins.insert(key, (fingerprint, "84'/0'/0'/0/0".parse().expect("a path")));
    };
    refuses(Rule::Network, 1, |_, psbt| mainnet(&mut psbt.inputs[0].bip32_derivation));
    refuses(Rule::Network, 1, |_, psbt| mainnet(&mut psbt.outputs[1].bip32_derivation));
    refuses(Rule::Network, 1, |scene, psbt| {
        let key = Xpriv::new_master(NetworkKind::Main, &[1; 32]).expect("a key");
        let xpub = Xpub::from_priv(&scene.bench.secp, &key);
        let origin = (scene.wallet().master_fingerprint(), DerivationPath::master());
        psbt.xpub.insert(xpub, origin);
    });
}

#[test]
fn mixed_wallets() {
    refuses(Rule::MixedWallets, 2, |scene, psbt| {
        let other = scene.bench.psbt(&scene.other, 2);
        psbt.inputs[1] = other.inputs[1].clone();
        psbt.unsigned_tx.input[1] = other.unsigned_tx.input[1].clone();
    });
    refuses(Rule::MixedWallets, 1, |_, psbt| {
        let (key, (fingerprint, _)) = psbt.inputs[0].bip32_derivation.pop_first().expect("there");
        let path = "84'/1'/1'/0/0".parse().expect("a path");
        psbt.inputs[0].bip32_derivation.insert(key, (fingerprint, path));
    });
}

#[test]
fn with_an_unproved_input_everything_that_goes_in_counts_as_leaving() {
    let scene = Scene::new(UNLIMITED);
    let mut with_stranger = scene.psbt(1);
    add_stranger(&mut with_stranger);
    let checked = scene.check(&with_stranger).expect("tolerated");
    assert_eq!(checked.leaves(), 2 * INPUT);
    assert_eq!(checked.fee(), FEE + INPUT);
}

#[test]
fn transaction_max_holds_for_a_transaction_that_is_split_over_several_codes() {
    // Each half is within the limit, the whole is not.
    let policy = format!("max_transaction_sat = {}\nmax_fee_sat = 1000", INPUT + INPUT / 2);
    let whole = |_: &Scene, psbt: &mut Psbt| {
        psbt.unsigned_tx.output[0].value = Amount::from_sat(2 * INPUT - FEE - 1_000);
        psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
    };
    for hidden in [None, Some(0), Some(1)] {
        let scene = Scene::new(&policy);
        let mut psbt = scene.psbt(2);
        whole(&scene, &mut psbt);
        if let Some(hidden) = hidden {
            psbt.inputs[hidden].bip32_derivation.clear();
        }
        let answer = scene.sign(&psbt.serialize());
        assert!(matches!(answer, Err(EngineError::Policy(Rule::TransactionMax))), "{hidden:?}");
    }
}

/// If a wallet pays itself, no payment exists to take a share of, so the share is that of what arrives.
#[test]
fn fee_cap_of_a_share_applies_if_nothing_goes_to_others() {
    let pay_myself = |scene: &Scene, psbt: &mut Psbt, fee: u64| {
        let (key, origin) = key_at(&scene.wallet(), Chain::Internal, 4);
        psbt.unsigned_tx.output[0].script_pubkey = script_pubkey(&key);
        psbt.unsigned_tx.output[0].value = Amount::from_sat(PAID + FEE - fee);
        psbt.outputs[0].bip32_derivation = [(key, origin)].into();
    };
    // 100,000 satoshi go in. A fee of 9,090 is just below a tenth of what arrives.
    let share = "max_transaction_sat = 1000000\nmax_fee_sat = 100000\nmax_fee_percent = 10";
    let scene = Scene::new(share);
    let mut psbt = scene.psbt(1);
    pay_myself(&scene, &mut psbt, 9_090);
    assert_eq!(scene.check(&psbt).expect("good").paid_to_others(), 0);
    scene.sign(&psbt.serialize()).expect("signs");
    policy_refuses(share, Rule::FeeCap, |scene, psbt| pay_myself(scene, psbt, 9_091));
    // Nothing arrives anywhere.
    policy_refuses(share, Rule::FeeCap, |_, psbt| pay_nobody(psbt));
}

/// A PSBT's author can leave out the proof of the change, but cannot turn the change into a payment with a
/// foreign input.
#[test]
fn fee_cap_of_a_share_is_not_widened_by_an_input_of_others() {
    let policy = "max_transaction_sat = 100000000\nmax_fee_sat = 100000\nmax_fee_percent = 10";
    let scene = Scene::new(policy);
    let mut psbt = scene.psbt(2);
    // A fee of a quarter of the payment. The change is as large as the payment.
    psbt.unsigned_tx.output[0].value = Amount::from_sat(80_000);
    psbt.unsigned_tx.output[1].value = Amount::from_sat(2 * INPUT - 80_000 - 20_000);
    let refused = |psbt: &Psbt| {
        scene.bench.clock.advance(30);
        matches!(scene.sign(&psbt.serialize()), Err(EngineError::Policy(Rule::FeeCap)))
    };
    assert!(refused(&psbt));
    let previous = funding(stranger(), 1_000, 99);
    psbt.unsigned_tx
        .input
        .push(TxIn { previous_output: OutPoint::new(previous.compute_txid(), 0), ..TxIn::default() });
    psbt.inputs.push(bitcoin::psbt::Input { non_witness_utxo: Some(previous), ..Default::default() });
    assert!(refused(&psbt), "with an input of others");
}
