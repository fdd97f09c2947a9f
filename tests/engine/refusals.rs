//! What an in-boundary signer must refuse. Each test is named after the tag of its line.
//!
//! A refusal of structure must not spend anything: [`refuses`] shows that the same code still signs
//! afterwards.

mod amounts;
mod change;
mod codes;
mod named;
mod since;
mod structure;

use std::sync::Arc;

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::hashes::Hash;
use bitcoin::psbt::{Psbt, PsbtSighashType};
use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{
    Amount, NetworkKind, OutPoint, PublicKey, ScriptBuf, Sequence, TxIn, TxOut, Txid, Witness, ecdsa,
    transaction,
};
use proptest::prelude::*;

use countersign::admin::{KeyChange, NewScript};
use countersign::engine::{EngineError, WalletId};
use countersign::kernel::audit::{Answer, Asked, Event, Fate, TransactionFacts};
use countersign::kernel::clock::ClockError;
use countersign::kernel::psbt::{CheckedPsbt, PsbtError};
use countersign::kernel::record::Stored;
use countersign::kernel::rule::Rule;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::wallet::{Chain, Wallet, WalletRecord};
use countersign::remote::Boundary;
use countersign::remote::standing::{Standing, Trouble};

use harness::engine::scripts::{self, Cosigner};
use harness::engine::{
    Bench, FEE, INPUT, PAID, alone, anchor, answer, count, fates, funding, key_at, pay_nobody, respend,
    script_pubkey, stranger, to_spend, watch,
};

const UNLIMITED: &str = "unlimited = true";

/// A token with alice, her wallet, and a second wallet of hers.
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

/// Adds an input of a stranger, worth as much as ours.
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

/// A refusal by the policy spends the code: nothing can be signed with it afterwards.
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
