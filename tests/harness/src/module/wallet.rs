//! A watch-only wallet: makes PSBTs from the descriptor alone, finalises them, and checks them with Bitcoin
//! Core's consensus code.

use std::collections::BTreeMap;

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{DerivationPath, Fingerprint};
use bitcoin::hashes::Hash;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, consensus};
use miniscript::descriptor::{Descriptor, DescriptorPublicKey};

/// The chain of receive addresses.
const EXTERNAL: usize = 0;
/// The chain of change.
const INTERNAL: usize = 1;

/// A PSBT's transaction: two coins in, a payment and change out.
pub struct Payment {
    /// Satoshi that it pays to a stranger.
    pub pay: u64,
    /// The fee in satoshi.
    pub fee: u64,
    /// Whether the PSBT includes the previous transactions.
    pub previous: bool,
}

impl Default for Payment {
    fn default() -> Payment {
        Payment { pay: 60_000, fee: 1_000, previous: true }
    }
}

impl Payment {
    /// Makes the PSBT, with invented coins that differ each time.
    pub fn psbt(&self, descriptor: &str) -> Vec<u8> {
        let change = 40_000;
        let total = self.pay + self.fee + change;
        let coins = [(3, total / 2), (8, total - total / 2)];
        let funding: Vec<Transaction> =
            coins.iter().map(|(index, sat)| fund(script(descriptor, EXTERNAL, *index), *sat)).collect();
        let mut psbt = Psbt::from_unsigned_tx(Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: funding.iter().map(|tx| spend(OutPoint::new(tx.compute_txid(), 0))).collect(),
            output: vec![
                TxOut { value: Amount::from_sat(self.pay), script_pubkey: stranger() },
                TxOut { value: Amount::from_sat(change), script_pubkey: script(descriptor, INTERNAL, 0) },
            ],
        })
        .expect("it is unsigned");
        for ((input, tx), (index, _)) in psbt.inputs.iter_mut().zip(&funding).zip(coins) {
            input.witness_utxo = Some(tx.output[0].clone());
            input.non_witness_utxo = self.previous.then(|| tx.clone());
            input.bip32_derivation = origin(descriptor, EXTERNAL, index);
        }
        psbt.outputs[1].bip32_derivation = origin(descriptor, INTERNAL, 0);
        psbt.serialize()
    }
}

/// Checks that signing only added one signature to each input, finalises, and verifies every input under Bitcoin Core's
/// consensus rules.
pub fn verify_signed(unsigned: &[u8], signed: &[u8]) {
    let before = Psbt::deserialize(unsigned).expect("it is a PSBT");
    let mut after = Psbt::deserialize(signed).expect("the answer is a PSBT");
    let mut bare = after.clone();
    bare.inputs.iter_mut().for_each(|input| input.partial_sigs.clear());
    assert_eq!(bare, before, "signing changed more of the PSBT than the signatures");
    for input in &mut after.inputs {
        let [(key, signature)] = input.partial_sigs.iter().collect::<Vec<_>>()[..] else {
            panic!("an input has {} signatures", input.partial_sigs.len());
        };
        input.final_script_witness = Some(Witness::p2wpkh(signature, &key.inner));
    }
    let prevouts: Vec<TxOut> =
        after.inputs.iter().map(|input| input.witness_utxo.clone().expect("it was put there")).collect();
    let raw = consensus::serialize(&after.extract_tx().expect("the fee is sane"));
    for (index, prevout) in prevouts.iter().enumerate() {
        let (script, sat) = (prevout.script_pubkey.as_bytes(), prevout.value.to_sat());
        bitcoinconsensus::verify(script, sat, &raw, None, index)
            .unwrap_or_else(|error| panic!("input {index}: {error:?}"));
        assert!(
            bitcoinconsensus::verify(script, sat + 1, &raw, None, index).is_err(),
            "input {index} verifies with another amount too"
        );
    }
}

fn script(descriptor: &str, chain: usize, index: u32) -> ScriptBuf {
    single(descriptor, chain)
        .at_derivation_index(index)
        .expect("in range")
        .derived_descriptor(&Secp256k1::new())
        .script_pubkey()
}

fn origin(descriptor: &str, chain: usize, index: u32) -> BTreeMap<PublicKey, (Fingerprint, DerivationPath)> {
    let definite = single(descriptor, chain).at_derivation_index(index).expect("in range");
    let Descriptor::Wpkh(wpkh) = &definite else { panic!("{descriptor} is no wpkh") };
    let place = wpkh.as_inner();
    let path = place.full_derivation_path().expect("one path");
    let key = place.derive_public_key(&Secp256k1::new());
    BTreeMap::from([(key.inner, (place.master_fingerprint(), path))])
}

fn single(descriptor: &str, chain: usize) -> Descriptor<DescriptorPublicKey> {
    descriptor
        .parse::<Descriptor<DescriptorPublicKey>>()
        .expect("a descriptor with its checksum")
        .into_single_descriptors()
        .expect("multipath")
        .swap_remove(chain)
}

fn fund(script_pubkey: ScriptBuf, sat: u64) -> Transaction {
    let mut txid = [0; 32];
    getrandom::fill(&mut txid).expect("the system gives randomness");
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![spend(OutPoint::new(Txid::from_byte_array(txid), 0))],
        output: vec![TxOut { value: Amount::from_sat(sat), script_pubkey }],
    }
}

fn spend(previous_output: OutPoint) -> TxIn {
    TxIn { previous_output, script_sig: ScriptBuf::new(), sequence: Sequence::MAX, witness: Witness::new() }
}

fn stranger() -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([0x5a; 20]))
}
