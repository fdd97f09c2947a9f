//! What an in-boundary signer must refuse: each test is named after the tag of its line.
//!
//! A refusal of structure must spend nothing: [`refuses`] shows that the same code still signs afterwards.

mod named;

use std::sync::Arc;

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::ecdsa;
use bitcoin::hashes::Hash;
use bitcoin::psbt::{Psbt, PsbtSighashType};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{
    Amount, NetworkKind, OutPoint, PublicKey, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness, transaction,
};
use proptest::prelude::*;

use countersign::admin::{NewScript, WalletChange};
use countersign::engine::{EngineError, WalletId};
use countersign::kernel::audit::{Answer, Asked, Event, Fate, TransactionFacts};
use countersign::kernel::clock::ClockError;
use countersign::kernel::psbt::{CheckedPsbt, PsbtError};
use countersign::kernel::rule::Rule;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::state::Stored;
use countersign::kernel::wallet::{Chain, Wallet, WalletRecord};
use countersign::remote::Boundary;
use countersign::remote::standing::{Standing, Trouble};

use harness::engine::scripts::{self, Cosigner};
use harness::engine::{
    Bench, FEE, INPUT, PAID, alone, anchor, answer, count, fates, funding, key_at, pay_nobody, respend,
    script_pubkey, stranger, to_spend, watch,
};

const UNLIMITED: &str = "unlimited = true";

/// A token with alice, her wallet, and another wallet of hers.
struct Scene {
    bench: Bench,
    alice: totp_rs::Totp,
    id: WalletId,
    other: WalletId,
}

impl Scene {
    fn new(policy: &str) -> Scene {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.wallet("w", &["alice"], policy);
        let other = bench.wallet("other", &["alice"], UNLIMITED);
        Scene { bench, alice, id, other }
    }

    fn wallet(&self) -> Arc<Wallet> {
        self.bench.engine.wallet(&self.id).expect("there")
    }

    fn psbt(&self, inputs: u32) -> Psbt {
        self.bench.psbt(&self.id, inputs)
    }

    fn sign(&self, psbt: &[u8]) -> Result<Vec<u8>, EngineError> {
        self.bench.sign(&self.id, "alice", &self.bench.code(&self.alice), psbt)
    }

    fn check(&self, psbt: &Psbt) -> Result<CheckedPsbt, PsbtError> {
        CheckedPsbt::parse(psbt.serialize(), watch(&self.wallet()), &alone(&self.bench.secp))
    }
}

/// The change breaks `rule`, and spends nothing: the same code signs the good PSBT afterwards.
fn refuses(rule: Rule, inputs: u32, change: impl FnOnce(&Scene, &mut Psbt)) {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(inputs);
    change(&scene, &mut psbt);
    let before = scene.bench.ledger.state().events.len();
    match scene.sign(&psbt.serialize()) {
        Err(EngineError::Psbt(PsbtError::Refused { rule: found, .. })) => assert_eq!(found, rule),
        Err(other) => panic!("{rule}: {other}"),
        Ok(_) => panic!("{rule}: signed"),
    }
    let written = scene.bench.ledger.state().events.split_off(before);
    let record = Event::PsbtRefused { wallet: "w".into(), rule: rule.tag().into() };
    assert_eq!(written, [record], "{rule}: more than the refusal was written");
    assert_eq!(scene.bench.failures("alice"), 0, "{rule}: a try was charged");
    scene.sign(&scene.psbt(inputs).serialize()).expect("the code is not spent");
}

/// Adds an input of somebody else, worth as much as ours.
fn add_stranger(psbt: &mut Psbt) {
    let previous = funding(stranger(), INPUT, 99);
    psbt.unsigned_tx
        .input
        .push(TxIn { previous_output: OutPoint::new(previous.compute_txid(), 0), ..TxIn::default() });
    psbt.inputs.push(bitcoin::psbt::Input {
        witness_utxo: Some(previous.output[0].clone()),
        non_witness_utxo: Some(previous),
        ..Default::default()
    });
}

#[test]
fn the_good_psbt_is_signed_and_its_signatures_verify() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(3);
    let signed = Psbt::deserialize(&scene.sign(&psbt.serialize()).expect("signs")).expect("a PSBT");
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    for (index, input) in signed.inputs.iter().enumerate() {
        let prevout = input.witness_utxo.as_ref().expect("kept");
        let hash = cache
            .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, EcdsaSighashType::All)
            .expect("an input");
        let (key, signature) = input.partial_sigs.iter().next().expect("one signature");
        scene
            .bench
            .secp
            .verify_ecdsa(&Message::from(hash), &signature.signature, &key.inner)
            .expect("it verifies");
    }
    let mut unsigned = signed;
    unsigned.inputs.iter_mut().for_each(|input| input.partial_sigs.clear());
    assert_eq!(unsigned.serialize(), psbt.serialize(), "nothing else was changed");
}

// Amounts and fees

#[test]
fn utxo_missing() {
    refuses(Rule::UtxoMissing, 2, |_, psbt| psbt.inputs[1].non_witness_utxo = None);
    refuses(Rule::UtxoMissing, 1, |_, psbt| {
        psbt.inputs[0].non_witness_utxo = None;
        psbt.inputs[0].witness_utxo = None;
    });
    // The exception for taproot is no way in: not beside an input of ours, which is none,
    let taproot = TxOut {
        value: Amount::from_sat(INPUT),
        script_pubkey: ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat()),
    };
    refuses(Rule::UtxoMissing, 1, |_, psbt| {
        add_stranger(psbt);
        psbt.inputs[1].witness_utxo = Some(taproot.clone());
        psbt.inputs[1].non_witness_utxo = None;
    });
    // not where ours is said to be one against its previous transaction,
    refuses(Rule::UtxoDisagree, 1, |_, psbt| psbt.inputs[0].witness_utxo = Some(taproot.clone()));
    // and not where ours is said to be one, and there is none.
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

/// As wallets make them that know of a foreign coin no more than its output: BDK, and whoever spends an anchor (P2A).
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
            assert!(signed.inputs[0].tap_key_sig.is_none() && signed.inputs[0].tap_script_sigs.is_empty());
            // The signature stands for the amount of the foreign input: under another, it is none.
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
        // The very attack of CVE-2020-14199: the same output, said to be worth less.
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
        // Each within range, the sum over it.
        let half = Amount::from_sat(over / 2 + 1);
        psbt.unsigned_tx.output.iter_mut().for_each(|output| output.value = half);
    });
    refuses(Rule::AmountRange, 1, |_, psbt| {
        // A sum that would wrap to something small.
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

/// What the policy refuses spends the code: nothing can be signed with it afterwards.
fn policy_refuses(policy: &str, rule: Rule, change: impl FnOnce(&Scene, &mut Psbt)) {
    let scene = Scene::new(policy);
    let mut psbt = scene.psbt(1);
    scene.check(&psbt).expect("good");
    change(&scene, &mut psbt);
    match scene.sign(&psbt.serialize()) {
        Err(EngineError::Policy(found)) => assert_eq!(found, rule),
        other => panic!("{rule}: {:?}", other.map(|_| "signed")),
    }
    let last = scene.bench.ledger.state().events.last().cloned();
    assert_eq!(last.as_ref().and_then(answer), Some(Answer::Refused(rule)));
    let again = scene.sign(&scene.psbt(1).serialize());
    assert!(matches!(again, Err(EngineError::Code)), "the code is spent");
    assert_eq!(scene.bench.failures("alice"), 1, "only the second try failed");
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

// Change and ownership

#[test]
fn change_fraud() {
    let scene = Scene::new(UNLIMITED);
    let honest = scene.psbt(1);
    assert_eq!(scene.check(&honest).expect("good").leaves(), PAID + FEE);

    // Our fingerprint and path, our key even, but paid to somebody else.
    let mut paid_elsewhere = honest.clone();
    paid_elsewhere.unsigned_tx.output[1].script_pubkey = stranger();
    assert_eq!(scene.check(&paid_elsewhere).expect("signs as a payment").leaves(), INPUT);

    // Our fingerprint and path on somebody else's key, and paid to that key.
    let mut other_key = honest.clone();
    let (_, origin) = other_key.outputs[1].bip32_derivation.pop_first().expect("there");
    let foreign = SecretKey::from_slice(&[0x51; 32]).expect("a key").public_key(&scene.bench.secp);
    other_key.outputs[1].bip32_derivation.insert(foreign, origin);
    other_key.unsigned_tx.output[1].script_pubkey = script_pubkey(&foreign);
    assert_eq!(scene.check(&other_key).expect("signs as a payment").leaves(), INPUT);

    // Our script, and no claim: not proved, so not ours.
    let mut silent = honest.clone();
    silent.outputs[1].bip32_derivation.clear();
    assert_eq!(scene.check(&silent).expect("signs as a payment").leaves(), INPUT);

    // Change that goes to another wallet of the token, truly its own, has left this one.
    let mut sibling = honest.clone();
    let other = scene.bench.engine.wallet(&scene.other).expect("there");
    let (key, origin) = key_at(&other, Chain::Internal, 3);
    sibling.outputs[1].bip32_derivation = [(key, origin)].into();
    sibling.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
    assert_eq!(scene.check(&sibling).expect("signs as a payment").leaves(), INPUT);

    // Our fingerprint and the path of the change, on the key of another address of ours: one of the two is a lie.
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
    // Also where the key is really the one on that path.
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
        // Our key and path on an output that is somebody else's.
        respend(psbt, funding(stranger(), INPUT, 0));
    });
}

/// Every script is rebuilt from the registration: a redeem script of a witness program says nothing new.
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

/// The same in an input of others, where signatures are verified by the scripts that are there.
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

/// A wallet that pays itself has no payment to take a share of: it is that of what arrives.
#[test]
fn fee_cap_of_a_share_holds_where_nothing_goes_out() {
    let pay_myself = |scene: &Scene, psbt: &mut Psbt, fee: u64| {
        let (key, origin) = key_at(&scene.wallet(), Chain::Internal, 4);
        psbt.unsigned_tx.output[0].script_pubkey = script_pubkey(&key);
        psbt.unsigned_tx.output[0].value = Amount::from_sat(PAID + FEE - fee);
        psbt.outputs[0].bip32_derivation = [(key, origin)].into();
    };
    // 100,000 go in. A fee of 9,090 is just below a tenth of what arrives.
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

/// Whoever writes the PSBT may leave out what proves the change ours, but not make it a payment by an input of others.
#[test]
fn fee_cap_of_a_share_is_not_widened_by_an_input_of_others() {
    let policy = "max_transaction_sat = 100000000\nmax_fee_sat = 100000\nmax_fee_percent = 10";
    let scene = Scene::new(policy);
    let mut psbt = scene.psbt(2);
    // A fee of a quarter of what is paid; the change is as large as what is paid.
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

/// What the security officer changes is in force for whatever is not signed yet.
#[test]
fn a_user_taken_off_while_a_signature_is_under_way_gives_none() {
    for change in [
        WalletChange { users: Some(vec!["bob".into()]), ..WalletChange::default() },
        WalletChange {
            policy: Some("max_transaction_sat = 1\nmax_fee_sat = 1".into()),
            ..WalletChange::default()
        },
    ] {
        let bench = Bench::new();
        let alice = bench.user("alice");
        bench.user("bob");
        let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
        let psbt = bench.psbt(&id, 1).serialize();
        // Before what was decided is written.
        let beside = bench.beside();
        let act = move || beside.engine.change_wallet(&id, change).expect("the officer's change is durable");
        bench.ledger.state().meanwhile = Some((0, Box::new(act)));
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
        assert!(matches!(answer, Err(EngineError::ChangedMeanwhile(_))), "{:?}", answer.err());
        assert_eq!(count(&bench.ledger.state().events, Answer::Signed), 0);
    }
}

/// A wallet that this version does not take is closed; the others are not.
#[test]
fn a_wallet_of_another_version_stays_closed_alone() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    bench.user("bob");
    let later = bench.wallet("later", &["bob"], UNLIMITED);
    let place = RecordKey { kind: Kind::Wallet, id: later };
    {
        let mut state = bench.ledger.state();
        let (version, plaintext) = state.records[&place].clone();
        let mut record = WalletRecord::decode(&plaintext).expect("reads");
        record.policy = "unlimited = true\na_rule_of_tomorrow = 1".into();
        state.records.insert(place, (version, record.encode()));
    }
    let bench = bench.restarted();
    let closed = bench.engine.closed_keys();
    assert!(closed.len() == 1 && closed[0].contains("\"later\""), "{closed:?}");
    bench.sign(&id, "alice", &bench.code(&alice), &bench.psbt(&id, 1).serialize()).expect("the other signs");
    assert!(matches!(bench.engine.wallet(&later), Err(EngineError::NoSuchWallet)));
    // Its label and its users stay taken.
    assert!(matches!(
        bench.engine.remove_user("bob", &bench.key_id("bob")),
        Err(EngineError::UserInUse { .. })
    ));
    let again = bench.add_wallet("later", &["alice"], UNLIMITED, NewScript::default());
    assert!(matches!(again, Err(EngineError::Name(_))));
}

// Structure

/// A signature for a leaf that is not in the tree can complete nothing, and is no consent to what we sign.
#[test]
fn foreign_partial_sig_for_a_leaf_that_is_not_there() {
    use bitcoin::secp256k1::Keypair;
    use bitcoin::sighash::{Prevouts, TapSighashType};
    use bitcoin::taproot::TapLeafHash;
    let bench = Bench::new();
    let alice = bench.user("alice");
    let cosigner = Cosigner::named("A");
    let policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", cosigner.fingerprint());
    let script = scripts::named("tr-multi-a").to_be_made();
    let id = bench.add_wallet("w", &["alice"], &policy, script).expect("a wallet");
    let mut psbt = scripts::good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1);
    let rule_of = |psbt: &Psbt| match bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize()) {
        Err(EngineError::Psbt(PsbtError::Refused { rule, .. })) => Some(rule),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(rule_of(&psbt), Some(Rule::RequireCosigner));

    let path: DerivationPath = "48'/1'/0'/2'/0/0".parse().expect("a path");
    let secret = cosigner.master().derive_priv(&bench.secp, &path).expect("derives").private_key;
    let pair = Keypair::from_secret_key(&bench.secp, &secret);
    let leaf = TapLeafHash::from_byte_array([0x77; 32]);
    let prevouts = [psbt.inputs[0].witness_utxo.clone().expect("there")];
    let hash = SighashCache::new(&psbt.unsigned_tx)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(&prevouts), leaf, TapSighashType::Default)
        .expect("an input");
    let signature = bench.secp.sign_schnorr_no_aux_rand(&Message::from(hash), &pair);
    let signature = bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default };
    psbt.inputs[0].tap_script_sigs.insert((pair.x_only_public_key().0, leaf), signature);
    assert_eq!(rule_of(&psbt), Some(Rule::ForeignPartialSig));

    psbt.inputs[0].tap_script_sigs.clear();
    cosigner.sign(&mut psbt);
    assert_eq!(rule_of(&psbt), None);
}

/// Consensus refuses a Schnorr signature that names type DEFAULT: taken for good, it would satisfy nobody.
#[test]
fn sighash_type_of_a_taproot_signature_that_names_the_default() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let script = scripts::named("tr-multi-a").to_be_made();
    let id = bench.add_wallet("w", &["alice"], UNLIMITED, script).expect("a wallet");
    let mut psbt = scripts::good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1);
    Cosigner::named("A").sign(&mut psbt);
    let good = psbt.serialize();
    let mut maps = harness::engine::maps::read(&good);
    let signature = maps[1].iter_mut().find(|(key, _)| key[0] == 0x14).expect("the cosigner signed");
    signature.1.push(0x00);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &harness::engine::maps::write(&maps));
    assert!(matches!(answer, Err(EngineError::Psbt(PsbtError::Refused { rule: Rule::SighashType, .. }))));
    bench.sign(&id, "alice", &bench.code(&alice), &good).expect("without it");
}

/// A wallet of twenty keys, the most that a multisig has.
fn wallet_of_twenty(secp: &Secp256k1<bitcoin::secp256k1::All>) -> Wallet {
    let cosigners: Vec<String> = ('A'..='S').map(|name| Cosigner::named(&name.to_string()).key()).collect();
    let places: Vec<String> = (0..20).map(|place| format!("@{place}/**")).collect();
    let registration = format!("wsh(sortedmulti(2,{}))\nours\n{}", places.join(","), cosigners.join("\n"));
    scripts::of_seed([9; 64], &registration, countersign::kernel::wallet::Network::Regtest, secp)
}

/// Claims cost nothing to write: 370 KB of them took seconds, for nobody's code.
#[test]
fn oversize_of_claims_is_told_before_a_key_is_derived() {
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
    // As far as the reach goes: nothing else refuses them.
    let around = countersign::kernel::psbt::Surroundings {
        reach: countersign::kernel::state::Reach::at(5_000, 5_000),
        ..alone(&secp)
    };
    for bytes in [psbt.serialize(), harness::engine::maps::to_version_2(&psbt)] {
        let refused = CheckedPsbt::parse(bytes, watch(&wallet), &around).err().expect("refused");
        let PsbtError::Oversize(text) = refused else { panic!("{refused}") };
        assert!(text.contains("46020 keys would be derived for the outputs"), "{text}");
        assert_eq!(watch(&wallet).keys_derived(), derived, "not one");
    }
    // Of inputs: all of them could be ours, so all are held against the bound.
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

/// An address that several inputs spend, or outputs pay, is rebuilt for the first of them.
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

/// The cosigner who must sign first is asked for by the keys that the address was rebuilt of.
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

/// What a false claim costs is our own key: the cosigners' are derived for what may be ours.
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
    // Without the trees, which have a bound of their own.
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

/// A cosigner who takes another way has not agreed to ours, and cannot complete it.
#[test]
fn require_cosigner_for_the_leaf_that_we_sign() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let (cosigner, other) = (Cosigner::named("A"), Cosigner::named("C"));
    let template = "tr(@0/**,{and_v(v:pk(@1/<0;1>/*),pk(@2/**)),and_v(v:pk(@1/<2;3>/*),older(144))})";
    let script = NewScript {
        registration: Some(format!("{template}\n{}\n{}\nours", other.key(), cosigner.key())),
        path: Some("m/48'/1'/0'/3'".into()),
    };
    let policy = format!("unlimited = true\nrequire_cosigner = \"{}\"", cosigner.fingerprint());
    let id = bench.add_wallet("w", &["alice"], &policy, script).expect("a wallet");
    let wallet = bench.engine.wallet(&id).expect("there");
    let mut psbt = scripts::good_psbt(watch(&wallet), 1);
    cosigner.sign(&mut psbt);
    assert_eq!(psbt.inputs[0].tap_script_sigs.len(), 2, "the cosigner is in both leaves");
    let mut origins = psbt.inputs[0].tap_key_origins.values();
    let ours = origins.find(|(_, (fingerprint, _))| *fingerprint == wallet.master_fingerprint());
    let our_leaf = ours.expect("our key").0[0];
    let sign = |psbt: &Psbt| bench.sign(&id, "alice", &bench.code(&alice), &psbt.serialize());

    let mut elsewhere = psbt.clone();
    elsewhere.inputs[0].tap_script_sigs.retain(|(_, leaf), _| *leaf != our_leaf);
    assert!(matches!(
        sign(&elsewhere),
        Err(EngineError::Psbt(PsbtError::Refused { rule: Rule::RequireCosigner, .. }))
    ));
    psbt.inputs[0].tap_script_sigs.retain(|(_, leaf), _| *leaf == our_leaf);
    sign(&psbt).expect("the cosigner agreed");
}

/// The separator of a map has one form. Another one would be copied, and our signature put in the middle of it.
#[test]
fn a_separator_that_is_not_minimal_is_no_psbt_and_spends_nothing() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(1).serialize();
    let maps = harness::engine::maps::read(&good);
    for cut in 1..=maps.len() {
        let end = harness::engine::maps::write(&maps[..cut]).len();
        for separator in [&[0xfd, 0, 0][..], &[0xfe, 0, 0, 0, 0], &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]] {
            let bytes = [&good[..end - 1], separator, &good[end..]].concat();
            let answer = scene.sign(&bytes);
            assert!(matches!(answer, Err(EngineError::Psbt(PsbtError::NotPsbt(_)))), "map {cut}");
        }
    }
    scene.sign(&good).expect("the code is not spent");
}

#[test]
fn an_error_repeats_nothing_of_the_psbt() {
    let scene = Scene::new(UNLIMITED);
    let maps = harness::engine::maps::read(&scene.psbt(1).serialize());
    let key = [&[0x03][..], &[0x5a; 8_000]].concat();
    let mut signed = 0;
    for map in 0..maps.len() {
        let mut changed = maps.clone();
        changed[map].push((key.clone(), vec![0x5a; 100]));
        scene.bench.clock.advance(30);
        match scene.sign(&harness::engine::maps::write(&changed)) {
            Ok(_) => signed += 1,
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 200 && !text.contains("5a5a"), "{text}");
            }
        }
    }
    // The type is known in an input map only.
    assert_eq!(signed, maps.len() - 1);
}

#[test]
fn sighash_type() {
    use EcdsaSighashType::{AllPlusAnyoneCanPay, None, NonePlusAnyoneCanPay, Single, SinglePlusAnyoneCanPay};
    for asked in [None, Single, AllPlusAnyoneCanPay, NonePlusAnyoneCanPay, SinglePlusAnyoneCanPay] {
        refuses(Rule::SighashType, 1, |_, psbt| psbt.inputs[0].sighash_type = Some(asked.into()));
    }
    for asked in [0, 4, 0x101, u32::MAX] {
        refuses(Rule::SighashType, 1, |_, psbt| {
            psbt.inputs[0].sighash_type = Some(PsbtSighashType::from_u32(asked));
        });
    }
    let scene = Scene::new(UNLIMITED);
    let mut all = scene.psbt(1);
    all.inputs[0].sighash_type = Some(EcdsaSighashType::All.into());
    scene.sign(&all.serialize()).expect("ALL is what we sign");
}

#[test]
fn duplicate_input() {
    refuses(Rule::DuplicateInput, 2, |_, psbt| {
        psbt.inputs[1] = psbt.inputs[0].clone();
        psbt.unsigned_tx.input[1] = psbt.unsigned_tx.input[0].clone();
    });
    refuses(Rule::DuplicateInput, 2, |_, psbt| {
        psbt.inputs[1] = psbt.inputs[0].clone();
        let previous_output = psbt.unsigned_tx.input[0].previous_output;
        psbt.unsigned_tx.input[1] = TxIn { previous_output, sequence: Sequence::ZERO, ..TxIn::default() };
    });
}

/// Where the key-value pairs of a PSBT are, map after map.
fn pairs(psbt: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut pairs, mut at) = (vec![], 5);
    while at < psbt.len() {
        let start = at;
        if psbt[at] == 0 {
            at += 1;
            continue;
        }
        for _ in 0..2 {
            let (len, prefix) = match psbt[at] {
                0xfd => (usize::from(u16::from_le_bytes([psbt[at + 1], psbt[at + 2]])), 3),
                short => (usize::from(short), 1),
            };
            at += prefix + len;
        }
        pairs.push(start..at);
    }
    pairs
}

fn is_no_psbt(scene: &Scene, bytes: &[u8]) -> bool {
    matches!(scene.sign(bytes), Err(EngineError::Psbt(PsbtError::NotPsbt(_))))
}

#[test]
fn duplicate_key() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    psbt.inputs[0].sighash_type = Some(EcdsaSighashType::All.into());
    psbt.inputs[0].unknown.insert(bitcoin::psbt::raw::Key { type_value: 0x77, key: vec![] }, vec![9]);
    let good = psbt.serialize();
    let pairs = pairs(&good);
    assert_eq!(pairs.len(), 1 + 5 + 1, "the unsigned transaction, the input's, the change's");
    for pair in pairs {
        let doubled = [&good[..pair.end], &good[pair.clone()], &good[pair.end..]].concat();
        match scene.sign(&doubled) {
            Err(EngineError::Psbt(PsbtError::NotPsbt(why))) => {
                assert!(why.contains("duplicate-key"), "the pair at {pair:?}: {why}");
            }
            other => panic!("the pair at {pair:?}: {:?}", other.map(|_| "signed")),
        }
    }
    scene.sign(&good).expect("nothing was spent");
}

#[test]
fn no_outputs() {
    refuses(Rule::NoOutputs, 1, |_, psbt| {
        psbt.unsigned_tx.output.clear();
        psbt.outputs.clear();
    });
}

#[test]
fn no_input_of_ours() {
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| psbt.inputs[0].bip32_derivation.clear());
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| {
        let (key, (_, path)) = psbt.inputs[0].bip32_derivation.pop_first().expect("there");
        psbt.inputs[0].bip32_derivation.insert(key, (Fingerprint::from([9; 4]), path));
    });
    refuses(Rule::NoInputOfOurs, 1, |_, psbt| {
        psbt.unsigned_tx.input.clear();
        psbt.inputs.clear();
        psbt.unsigned_tx.output.iter_mut().for_each(|output| output.value = Amount::ZERO);
    });
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

#[test]
fn trailing_bytes() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(1).serialize();
    for tail in [&[0][..], &[1], &[0, 0], b"psbt\xff", &[1, 0x77, 1, 9, 0]] {
        assert!(is_no_psbt(&scene, &[&good[..], tail].concat()), "{tail:?}");
    }
    for cut in 0..good.len() {
        assert!(is_no_psbt(&scene, &good[..cut]), "cut at {cut}");
    }
    scene.sign(&good).expect("nothing was spent");
}

#[test]
fn foreign_partial_sig() {
    let secret = SecretKey::from_slice(&[0x51; 32]).expect("a key");
    let sign = move |psbt: &Psbt, index: usize, kind: EcdsaSighashType| {
        let prevout = psbt.inputs[index].witness_utxo.as_ref().expect("there");
        let hash = SighashCache::new(&psbt.unsigned_tx)
            .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, kind)
            .expect("an input");
        let signature = Secp256k1::new().sign_ecdsa(&Message::from(hash), &secret);
        ecdsa::Signature { signature, sighash_type: kind }
    };
    let public = PublicKey::new(secret.public_key(&Secp256k1::new()));

    // One that verifies is welcome.
    let scene = Scene::new(UNLIMITED);
    let mut honest = scene.psbt(1);
    add_stranger(&mut honest);
    let signature = sign(&honest, 1, EcdsaSighashType::All);
    honest.inputs[1].partial_sigs.insert(public, signature);
    let signed = Psbt::deserialize(&scene.sign(&honest.serialize()).expect("signs")).expect("a PSBT");
    assert_eq!(signed.inputs[1].partial_sigs.get(&public), Some(&signature), "it is kept");

    // One for another input, under another key, or of our own input is not.
    refuses(Rule::ForeignPartialSig, 2, move |_, psbt| {
        let signature = sign(psbt, 0, EcdsaSighashType::All);
        psbt.inputs[1].partial_sigs.insert(public, signature);
    });
    refuses(Rule::ForeignPartialSig, 1, move |_, psbt| {
        let signature = sign(psbt, 0, EcdsaSighashType::All);
        let ours = *psbt.inputs[0].bip32_derivation.first_key_value().expect("there").0;
        psbt.inputs[0].partial_sigs.insert(PublicKey::new(ours), signature);
    });
    refuses(Rule::SighashType, 1, move |_, psbt| {
        add_stranger(psbt);
        let signature = sign(psbt, 1, EcdsaSighashType::AllPlusAnyoneCanPay);
        psbt.inputs[1].partial_sigs.insert(public, signature);
    });
}

#[test]
fn already_final() {
    refuses(Rule::AlreadyFinal, 1, |_, psbt| {
        psbt.inputs[0].final_script_witness = Some(Witness::from_slice(&[[1; 71].as_slice(), &[2; 33]]));
    });
    refuses(Rule::AlreadyFinal, 1, |_, psbt| {
        psbt.inputs[0].final_script_sig = Some(ScriptBuf::from_bytes(vec![1, 1]));
    });
    // Somebody else may be ready before us.
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    add_stranger(&mut psbt);
    psbt.inputs[1].final_script_witness = Some(Witness::from_slice(&[[1; 71].as_slice(), &[2; 33]]));
    let signed = Psbt::deserialize(&scene.sign(&psbt.serialize()).expect("signs")).expect("a PSBT");
    assert_eq!(signed.inputs[1], psbt.inputs[1], "and is left as it is");
}

#[test]
fn op_return_value() {
    let op_return = || ScriptBuf::from_bytes(vec![0x6a, 4, 1, 2, 3, 4]);
    refuses(Rule::OpReturnValue, 1, |_, psbt| psbt.unsigned_tx.output[0].script_pubkey = op_return());
    let scene = Scene::new(UNLIMITED);
    let mut worthless = scene.psbt(1);
    worthless.unsigned_tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: op_return() });
    worthless.outputs.push(Default::default());
    scene.sign(&worthless.serialize()).expect("one without value burns nothing");
}

/// A statement of ownership for the price of a payment's code, in each shape of BIP 322, and of BIP 127.
#[test]
fn message() {
    let field = |value: &[u8]| {
        let key = bitcoin::psbt::raw::Key { type_value: 0x09, key: vec![] };
        (key, value.to_vec())
    };
    // The PSBT says so, whatever the transaction.
    refuses(Rule::Message, 1, |_, psbt| psbt.unknown.extend([field(b"Hello World")]));
    refuses(Rule::Message, 1, |_, psbt| psbt.inputs[0].unknown.extend([field(b"I have it")]));
    for version in [0, 1, 2, 3] {
        let versioned = |psbt: &mut Psbt| psbt.unsigned_tx.version = transaction::Version(version);
        // Simple and full: `to_sign` spends `to_spend` of an address of the wallet.
        refuses(Rule::Message, 1, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            pay_nobody(psbt);
            versioned(psbt);
        });
        // A proof of funds: further inputs are coins of the wallet.
        refuses(Rule::Message, 3, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            pay_nobody(psbt);
            versioned(psbt);
        });
        // The same by somebody else's address, for our coins.
        refuses(Rule::Message, 2, |_, psbt| {
            for script in [stranger(), anchor(0).script_pubkey] {
                psbt.inputs[0] = Default::default();
                psbt.inputs[0].witness_utxo = Some(TxOut::NULL);
                respend(psbt, to_spend(script));
            }
            pay_nobody(psbt);
            versioned(psbt);
        });
        // `to_spend` is spent by any input, and somebody is paid.
        refuses(Rule::Message, 2, |_, psbt| {
            let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
            respend(psbt, to_spend(script));
            psbt.unsigned_tx.input.swap(0, 1);
            psbt.inputs.swap(0, 1);
            psbt.unsigned_tx.output[1].value = Amount::from_sat(1_000);
            psbt.unsigned_tx.output[0].value = Amount::from_sat(60_000);
            versioned(psbt);
        });
    }
    // Nothing is moved: by coins that are worth nothing, or that are said to be so.
    let worthless = |psbt: &mut Psbt| {
        let script = psbt.inputs[0].witness_utxo.clone().expect("there").script_pubkey;
        respend(psbt, funding(script, 0, 5));
        pay_nobody(psbt);
    };
    refuses(Rule::Message, 1, |_, psbt| worthless(psbt));
    refuses(Rule::Message, 1, |_, psbt| {
        worthless(psbt);
        psbt.inputs[0].non_witness_utxo = None;
    });
    // A version that no node relays, and nobody is paid.
    refuses(Rule::Message, 1, |_, psbt| {
        pay_nobody(psbt);
        psbt.unsigned_tx.version = transaction::Version(0);
    });
}

/// The vector of BIP 322, "Transaction Hashes".
#[test]
fn to_spend_is_that_of_the_specification() {
    let address =
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l".parse::<bitcoin::Address<_>>().expect("an address");
    let txid = to_spend(address.assume_checked().script_pubkey()).compute_txid().to_string();
    assert_eq!(txid, "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b");
}

/// Child pays for parent: the parent's anchor is worth nothing, and the whole of our coin may be the fee.
#[test]
fn an_anchor_of_no_value_is_no_message() {
    for change in [true, false] {
        let scene = Scene::new(UNLIMITED);
        let mut psbt = scene.psbt(1);
        let mut parent = funding(stranger(), INPUT, 8);
        parent.output[0] = anchor(0);
        psbt.unsigned_tx
            .input
            .insert(0, TxIn { previous_output: OutPoint::new(parent.compute_txid(), 0), ..TxIn::default() });
        psbt.inputs.insert(0, Default::default());
        psbt.inputs[0].witness_utxo = Some(parent.output[0].clone());
        psbt.inputs[0].non_witness_utxo = Some(parent);
        psbt.unsigned_tx.version = transaction::Version(3);
        if !change {
            pay_nobody(&mut psbt);
        }
        let signed = Psbt::deserialize(&scene.sign(&psbt.serialize()).expect("signs")).expect("a PSBT");
        assert_eq!(signed.inputs[1].partial_sigs.len(), 1);
    }
}

/// A coinbase spends the same outpoint as `to_spend`, and what it pays is worth something.
#[test]
fn a_mined_coin_is_no_message() {
    let scene = Scene::new(UNLIMITED);
    let mut psbt = scene.psbt(1);
    let mut coinbase = psbt.inputs[0].non_witness_utxo.clone().expect("there");
    coinbase.input[0].previous_output = OutPoint::null();
    respend(&mut psbt, coinbase);
    scene.sign(&psbt.serialize()).expect("signs");
}

#[test]
fn nonce() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(20).serialize();
    let first = scene.sign(&psbt).expect("signs");
    scene.bench.clock.advance(30);
    assert_eq!(
        scene.sign(&psbt).expect("signs"),
        first,
        "RFC 6979: the same transaction, the same signatures"
    );
    for input in Psbt::deserialize(&first).expect("a PSBT").inputs {
        let (_, signature) = input.partial_sigs.first_key_value().expect("one signature");
        let compact = signature.signature.serialize_compact();
        assert!(compact[0] < 0x80, "low R");
        let mut low_s = signature.signature;
        low_s.normalize_s();
        assert_eq!(low_s, signature.signature, "low S");
    }
}

// Codes and state

fn is_wrong_code<T>(answer: &Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::Code))
}

#[test]
fn otp_replay() {
    let scene = Scene::new(UNLIMITED);
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let other = scene.psbt(2).serialize();
    let before = scene.alice.generate(bench.clock.now() - 30).to_string();
    let code = bench.code(&scene.alice);
    bench.sign(&scene.id, "alice", &code, &psbt).expect("signs");
    assert!(is_wrong_code(&bench.sign(&scene.id, "alice", &code, &other)), "the same step");
    assert!(is_wrong_code(&bench.sign(&scene.id, "alice", &before, &psbt)), "an older step");
    let next = scene.alice.generate(bench.clock.now() + 30).to_string();
    bench.sign(&scene.id, "alice", &next, &psbt).expect("a later step");
    assert_eq!(bench.failures("alice"), 2, "each was charged");

    let scene = Scene::new(UNLIMITED);
    let code = scene.bench.code(&scene.alice);
    scene.sign(&scene.psbt(1).serialize()).expect("signs");
    let other = scene.bench.psbt(&scene.other, 1).serialize();
    assert!(is_wrong_code(&scene.bench.sign(&scene.other, "alice", &code, &other)), "another wallet");
    assert!(is_wrong_code(&scene.sign(&scene.psbt(2).serialize())), "another transaction");
}

#[test]
fn otp_replay_between_decision_and_commit() {
    let scene = Scene::new(UNLIMITED);
    let (first, second) = (scene.psbt(1).serialize(), scene.psbt(2).serialize());
    let code = scene.bench.code(&scene.alice);
    let beside = scene.bench.beside();
    let (id, answer) = (scene.id, Arc::new(std::sync::Mutex::new(None)));
    let (their_code, theirs) = (code.clone(), Arc::clone(&answer));
    // The first is found right; before it commits, the other spends the same step.
    let act = move || {
        let signed = beside.sign(&id, "alice", &their_code, &second);
        *theirs.lock().expect("nobody panicked") = Some(signed);
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(is_wrong_code(&scene.bench.sign(&id, "alice", &code, &first)), "the slower one");
    answer.lock().expect("nobody panicked").take().expect("it was tried").expect("the faster one signs");
    assert_eq!(scene.bench.failures("alice"), 1, "the slower one's try is charged");
    assert_eq!(count(&scene.bench.ledger.state().events, Answer::Signed), 1);
}

#[test]
fn otp_missing_object_a_user_removed_between_decision_and_commit() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let ledger = scene.bench.ledger.clone();
    let act = move || {
        ledger.state().records.remove(&RecordKey::user("alice"));
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(is_wrong_code(&scene.sign(&psbt)));
}

#[test]
fn otp_replay_of_a_code_that_confirmed() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let code = bench.code(&alice);
    bench.confirm("alice", &code).expect("confirms");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &psbt)));
}

#[test]
fn otp_guess_a_wrong_code_confirms_nobody() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let right = bench.code(&alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    assert!(matches!(bench.confirm("alice", wrong), Err(EngineError::Code)));
    assert!(!bench.engine.user("alice").expect("readable").expect("there").confirmed);
    assert_eq!(bench.failures("alice"), 1);
    bench.confirm("alice", &right).expect("the right one does");
}

#[test]
fn otp_missing_object() {
    let scene = Scene::new(UNLIMITED);
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let mallory = bench.user("mallory");
    let newcomer = bench.unconfirmed("newcomer");
    let id = bench.wallet("two", &["alice", "newcomer"], UNLIMITED);
    let two = bench.psbt(&id, 1).serialize();
    let nobodies = || {
        let of_nobody = |event: &&Event| fates(event) == [(None, Fate::Wrong)];
        bench.ledger.state().events.iter().filter(of_nobody).count()
    };

    assert!(is_wrong_code(&bench.sign(&scene.id, "nobody", "123456", &psbt)), "unknown");
    assert_eq!(nobodies(), 1);
    assert!(
        is_wrong_code(&bench.sign(&scene.id, "mallory", &bench.code(&mallory), &psbt)),
        "another wallet's"
    );
    assert_eq!(nobodies(), 2);
    assert!(is_wrong_code(&bench.sign(&id, "", &bench.code(&scene.alice), &two)), "no name, and two users");
    assert_eq!(nobodies(), 3);
    assert!(is_wrong_code(&bench.sign(&id, "newcomer", &bench.code(&newcomer), &two)), "not confirmed");
    assert_eq!(bench.failures("newcomer"), 1);

    let place = RecordKey::user("alice");
    bench.ledger.state().damaged.insert(place);
    assert!(is_wrong_code(&scene.sign(&psbt)), "damaged");
    bench.ledger.state().damaged.clear();
    let kept = bench.ledger.state().records.remove(&place).expect("there");
    assert!(is_wrong_code(&scene.sign(&psbt)), "missing");
    assert_eq!(nobodies(), 5);
    // A record that opens and is of another kind, of another format, or of nothing.
    let of_wallet = bench.ledger.state().records[&RecordKey { kind: Kind::Wallet, id }].1.clone();
    let mut of_format_9 = kept.1.clone();
    of_format_9[0] = 9;
    for (tries, plaintext) in (6..).zip([of_wallet, of_format_9, zeroize::Zeroizing::new(vec![])]) {
        bench.ledger.state().records.insert(place, (kept.0, plaintext));
        assert!(is_wrong_code(&scene.sign(&psbt)), "unreadable");
        assert_eq!(nobodies(), tries);
    }
    bench.ledger.state().records.insert(place, kept);
    scene.sign(&psbt).expect("and back again it signs");
}

#[test]
fn otp_guess_nothing_is_told_of_a_code_whose_outcome_is_not_durable() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    // Right or wrong: the same answer.
    for code in [&right[..], wrong] {
        scene.bench.ledger.state().fail_at = Some(0);
        let answer = scene.bench.sign(&scene.id, "alice", code, &psbt);
        assert!(matches!(answer, Err(EngineError::Ledger(_))), "{answer:?}");
        scene.bench.ledger.state().fail_at = None;
    }
    scene.sign(&psbt).expect("it is not spent");
    assert_eq!(scene.bench.failures("alice"), 0, "of what nobody learned nothing is charged");
    let last = scene.bench.ledger.state().events.last().cloned();
    assert_eq!(last.as_ref().map(fates), Some(vec![(Some("alice"), Fate::Spent)]), "one link for it");
}

#[test]
fn otp_guess_a_wrong_code_is_charged_and_writes_nothing_else() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let before = scene.bench.ledger.state().events.len();
    assert!(is_wrong_code(&scene.bench.sign(&scene.id, "alice", wrong, &psbt)));
    let events = scene.bench.ledger.state().events[before..].to_vec();
    let wrong = vec![vec![(Some("alice"), Fate::Wrong)]];
    assert_eq!(events.iter().map(fates).collect::<Vec<_>>(), wrong);
    assert_eq!(scene.bench.failures("alice"), 1);
}

#[test]
fn otp_guess_three_in_a_row_must_wait_and_a_right_code_is_not_looked_at_meanwhile() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..3 {
        assert!(is_wrong_code(&scene.bench.sign(&scene.id, "alice", wrong, &psbt)));
    }
    assert!(matches!(scene.sign(&psbt), Err(EngineError::Locked)));
    assert_eq!(scene.bench.failures("alice"), 3, "what is not looked at is not charged");
    scene.bench.clock.advance(30);
    scene.sign(&psbt).expect("after the wait");
    assert_eq!(scene.bench.failures("alice"), 3, "success forgives only itself");
}

#[test]
fn crash_before_the_commit_leaves_the_code_unspent_and_nothing_learned() {
    let scene = Scene::new(UNLIMITED);
    let (psbt, other) = (scene.psbt(1).serialize(), scene.psbt(2).serialize());
    let code = scene.bench.code(&scene.alice);
    scene.bench.ledger.state().fail_at = Some(0);
    assert!(matches!(scene.sign(&psbt), Err(EngineError::Ledger(_))), "no signature without the commit");
    let Scene { bench, id, .. } = scene;
    let bench = bench.restarted();
    assert_eq!(bench.failures("alice"), 0, "nobody learned whether it was right");
    bench.sign(&id, "alice", &code, &psbt).expect("the step was not spent");
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &other)), "once");
}

#[test]
fn several_codes_must_all_be_right_each_of_another_user() {
    use countersign::kernel::approval::Approval;
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    let approval = |user: &str, code: &str| {
        Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
    };
    let (a, b) = (bench.code(&alice), bench.code(&bob));
    let wrong = if b == "000000" { "000001" } else { "000000" };
    let one_wrong =
        bench.engine.countersign(&id, vec![approval("alice", &a), approval("bob", wrong)], psbt.clone());
    assert!(is_wrong_code(&one_wrong));
    let twice =
        bench.engine.countersign(&id, vec![approval("alice", &a), approval("alice", &a)], psbt.clone());
    assert!(is_wrong_code(&twice), "one user is not two");
    assert_eq!((bench.failures("alice"), bench.failures("bob")), (1, 1), "to whom the wrong ones were");
    let both = vec![approval("alice", &a), approval("bob", &b)];
    bench.engine.countersign(&id, both, psbt).expect("both are right");
    let other = bench.psbt(&id, 2).serialize();
    assert!(is_wrong_code(&bench.sign(&id, "bob", &b, &other)), "both are spent");
}

fn clock_error(answer: &Result<Vec<u8>, EngineError>) -> Option<ClockError> {
    match answer {
        Err(EngineError::Clock(error)) => Some(*error),
        _ => None,
    }
}

#[test]
fn clock_back() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let now = scene.bench.clock.now();
    for back in [30, 3_600, now] {
        scene.bench.clock.set(now - back);
        assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Back(back)), "{back} s");
        scene.bench.clock.set(now);
    }
    assert_eq!(scene.bench.failures("alice"), 0, "nothing was charged");
    scene.sign(&psbt).expect("nothing was spent");

    // Back while the module is closed, to where the code of then would live again.
    let Scene { bench, alice, id, .. } = scene;
    bench.clock.advance(3_600);
    let code = bench.code(&alice);
    bench.sign(&id, "alice", &code, &psbt).expect("signs");
    bench.clock.set(now);
    let bench = bench.restarted();
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
    assert_eq!(clock_error(&answer), Some(ClockError::Back(3_600)), "the newest record tells");
}

#[test]
fn clock_jump() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let now = scene.bench.clock.now();
    for ahead in [30, 3_600, 24 * 3_600] {
        scene.bench.clock.set(now + ahead);
        assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Jump(ahead)), "{ahead} s");
    }
    // A clock that stands still is one that jumps back.
    scene.bench.clock.set(now);
    scene.bench.clock.advance(60);
    scene.bench.clock.set(now);
    assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Jump(60)), "frozen");
    scene.bench.clock.set(now + 60);
    assert_eq!(scene.bench.failures("alice"), 0, "nothing was charged");
    scene.sign(&psbt).expect("nothing was spent");
}

/// Spends a coin of the wallet at this address with input `input`.
fn spend_at(scene: &Scene, psbt: &mut Psbt, input: usize, (chain, index): (Chain, u32), value: u64) {
    let (key, origin) = key_at(&scene.wallet(), chain, index);
    let previous = funding(script_pubkey(&key), value, 70 + input as u32);
    psbt.unsigned_tx.input[input].previous_output = OutPoint::new(previous.compute_txid(), 0);
    psbt.inputs[input].bip32_derivation = [(key, origin)].into();
    psbt.inputs[input].witness_utxo = Some(previous.output[0].clone());
    psbt.inputs[input].non_witness_utxo = Some(previous);
}

/// Has the change of a good PSBT come back to this address.
fn change_to(scene: &Scene, psbt: &mut Psbt, (chain, index): (Chain, u32)) {
    let (key, origin) = key_at(&scene.wallet(), chain, index);
    psbt.outputs[1].bip32_derivation = [(key, origin)].into();
    psbt.unsigned_tx.output[1].script_pubkey = script_pubkey(&key);
}

/// One deposit address a customer: the coins of address 1,500 are spent, and what is left goes back there.
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
    // All of these were signed, and the next transaction, which spends nothing out there, has what it had before.
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

/// An input that is not proved ours says nothing of where the wallet looks.
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

/// Ransom: a farthing is sent to an address far ahead and spent together with real coins, whose change is to end up there.
#[test]
fn change_path_what_is_moved_out_of_reach_counts_as_leaving() {
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
    // Coins that were out there before may go on there, and change within reach was never in doubt.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One byte of a good PSBT changed: refused, or what is signed for is what its bytes now say.
    #[test]
    fn a_changed_byte_is_refused_or_counted(position in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let secp = Secp256k1::new();
        let wallet = harness::engine::scripts::named("wpkh").wallet(&secp);
        let good = harness::engine::good_psbt(&wallet, 2);
        let mut bytes = good.serialize();
        let at = position.index(bytes.len());
        bytes[at] ^= flip;
        let watch = watch(&wallet);
        if let Ok(checked) = CheckedPsbt::parse(bytes.clone(), watch, &alone(&secp)) {
            let parsed = Psbt::deserialize(&bytes).expect("it was checked");
            prop_assert_eq!(checked.transaction(), &parsed.unsigned_tx);
            let paid: u64 = parsed.unsigned_tx.output.iter().map(|output| output.value.to_sat()).sum();
            prop_assert_eq!(checked.fee(), 2 * INPUT - paid, "the amounts of the inputs cannot be changed");
            // What leaves is what the keys say, whatever was changed: all of it, unless every input is proved.
            let ours = |claims: &std::collections::BTreeMap<_, (Fingerprint, DerivationPath)>, script| {
                claims.iter().any(|(key, (fingerprint, path))| {
                    *fingerprint == wallet.master_fingerprint()
                        && script_pubkey(key) == script
                        && watch.locate(path.as_ref()).is_ok_and(|location| {
                            watch.public_key(location).expect("derives") == *key
                        })
                })
            };
            let all_ours = parsed.inputs.iter().all(|input| {
                let previous = input.non_witness_utxo.as_ref().expect("it was checked");
                ours(&input.bip32_derivation, previous.output[0].script_pubkey.clone())
            });
            let back: u64 = parsed
                .outputs
                .iter()
                .zip(&parsed.unsigned_tx.output)
                .filter(|(output, paid)| ours(&output.bip32_derivation, paid.script_pubkey.clone()))
                .map(|(_, paid)| paid.value.to_sat())
                .sum();
            prop_assert_eq!(checked.leaves(), if all_ours { 2 * INPUT - back } else { 2 * INPUT });
        }
    }
}

#[test]
fn an_input_with_an_invented_txid_is_no_input() {
    refuses(Rule::UtxoTxid, 1, |_, psbt| {
        psbt.unsigned_tx.input[0].previous_output.txid = Txid::from_byte_array([1; 32]);
    });
}

/// Every byte of a good PSBT changed, one at a time: what is signed nevertheless is what its bytes now say, in the
/// answer and in the record.
#[test]
fn a_changed_byte_is_refused_or_signed_as_it_is() {
    let scene = Scene::new(UNLIMITED);
    let good = scene.psbt(2).serialize();
    let mut signed_of = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let Ok(answer) = scene.sign(&bytes) else { continue };
        let asked = Psbt::deserialize(&bytes).expect("it was signed");
        let mut signed = Psbt::deserialize(&answer).expect("a PSBT");
        for (index, input) in signed.inputs.iter_mut().enumerate() {
            let prevout = &asked.inputs[index].witness_utxo.clone().unwrap_or_else(|| {
                asked.inputs[index].non_witness_utxo.as_ref().expect("proved").output[0].clone()
            });
            let hash = SighashCache::new(&asked.unsigned_tx)
                .p2wpkh_signature_hash(index, &prevout.script_pubkey, prevout.value, EcdsaSighashType::All)
                .expect("an input");
            for (key, signature) in std::mem::take(&mut input.partial_sigs) {
                let secp = &scene.bench.secp;
                secp.verify_ecdsa(&Message::from(hash), &signature.signature, &key.inner)
                    .unwrap_or_else(|error| panic!("byte {at}: {error}"));
            }
        }
        assert_eq!(signed, asked, "byte {at}: nothing else was changed");
        let checked = scene.check(&asked).expect("it was signed");
        let mut txid = asked.unsigned_tx.compute_txid().to_byte_array();
        txid.reverse();
        let facts =
            TransactionFacts { wallet: "w".into(), txid, leaves: checked.leaves(), fee: checked.fee() };
        match scene.bench.ledger.state().events.last() {
            Some(Event::Tried { asked: Asked::Transaction(transaction), answer: Answer::Signed, .. }) => {
                assert_eq!(*transaction, facts, "byte {at}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        scene.bench.clock.advance(30);
        signed_of += 1;
    }
    assert!(signed_of > 50, "amounts, scripts, sequences and claims can change: {signed_of}");
    assert_eq!(scene.bench.failures("alice"), 0, "no refusal was charged");
}

#[test]
fn a_store_that_is_closed_is_told_to_who_hosts_the_module() {
    let Bench { engine, ledger, .. } = Bench::new();
    let hosted = countersign::pkcs11::host(engine).expect("the only one here");
    assert_eq!(hosted.standing(), Standing::WELL);
    ledger.state().fail_at = Some(0);
    assert!(hosted.standing().has(Trouble::StoreClosed));
}
