//! Finalises with miniscript, and verifies with Bitcoin Core's consensus code.

use bitcoin::consensus::serialize;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Transaction, TxOut};
use miniscript::psbt::PsbtExt;

use super::scripts::{Cosigner, Script};

/// Whether consensus accepts each input.
pub fn verdicts(transaction: &Transaction, prevouts: &[TxOut]) -> Vec<bool> {
    let scripts: Vec<_> = prevouts.iter().map(|prevout| prevout.script_pubkey.as_bytes()).collect();
    let spent: Vec<_> = prevouts
        .iter()
        .zip(&scripts)
        .map(|(prevout, script)| bitcoinconsensus::Utxo {
            script_pubkey: script.as_ptr(),
            script_pubkey_len: script.len() as u32,
            value: prevout.value.to_sat() as i64,
        })
        .collect();
    let bytes = serialize(transaction);
    let flags = bitcoinconsensus::VERIFY_ALL_PRE_TAPROOT | bitcoinconsensus::VERIFY_TAPROOT;
    let verdict = |(index, prevout): (usize, &TxOut)| {
        let script = prevout.script_pubkey.as_bytes();
        let value = prevout.value.to_sat();
        bitcoinconsensus::verify_with_flags(script, value, &bytes, Some(&spent), index, flags).is_ok()
    };
    prevouts.iter().enumerate().map(verdict).collect()
}

/// The outputs that a PSBT spends.
pub fn prevouts(psbt: &Psbt) -> Vec<TxOut> {
    psbt.iter_funding_utxos().map(|prevout| prevout.expect("there").clone()).collect()
}

/// The transaction, after the cosigners have added their signatures.
pub fn completed(script: &Script, mut signed: Psbt) -> Transaction {
    for name in script.with {
        Cosigner::named(name).sign(&mut signed);
    }
    let secp = Secp256k1::new();
    signed.finalize_mut(&secp).unwrap_or_else(|errors| panic!("{}: {errors:?}", script.name));
    signed.extract(&secp).expect("final")
}
