//! Partial signatures that are already there: each must be of type ALL and verify.
//!
//! A signer that adds its own beside a bad one helps to build a transaction that nobody can finalise, or that somebody
//! can finalise otherwise.

use bitcoin::hashes::Hash;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{Transaction, TxOut, XOnlyPublicKey};

use super::{PsbtError, refuse};
use crate::kernel::rule::Rule;

/// Verifies every signature of every input. `prevouts` has one output for each input.
pub(super) fn check(psbt: &Psbt, prevouts: &[TxOut], secp: &Secp256k1<All>) -> Result<(), PsbtError> {
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    for index in 0..psbt.inputs.len() {
        check_ecdsa(psbt, index, prevouts, &mut cache, secp)?;
        check_schnorr(psbt, index, prevouts, &mut cache, secp)?;
    }
    Ok(())
}

fn check_ecdsa(
    psbt: &Psbt,
    index: usize,
    prevouts: &[TxOut],
    cache: &mut SighashCache<&Transaction>,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    for (key, signature) in &psbt.inputs[index].partial_sigs {
        if signature.sighash_type != EcdsaSighashType::All {
            return Err(refuse(
                Rule::SighashType,
                format!("a partial signature of input {index} is not of type ALL"),
            ));
        }
        let verifies = ecdsa_message(psbt, index, &prevouts[index], cache)
            .is_some_and(|message| secp.verify_ecdsa(&message, &signature.signature, &key.inner).is_ok());
        if !verifies {
            return Err(refuse(
                Rule::ForeignPartialSig,
                format!("a partial signature of input {index} does not verify: take it out"),
            ));
        }
    }
    Ok(())
}

/// What an ECDSA signature of type ALL signs: BIP 143 for a witness program of version 0, else the legacy hash.
fn ecdsa_message(
    psbt: &Psbt,
    index: usize,
    prevout: &TxOut,
    cache: &mut SighashCache<&Transaction>,
) -> Option<Message> {
    let input = &psbt.inputs[index];
    let program = input.redeem_script.as_ref().unwrap_or(&prevout.script_pubkey);
    let all = EcdsaSighashType::All;
    if program.is_p2wpkh() {
        return cache.p2wpkh_signature_hash(index, program, prevout.value, all).ok().map(Message::from);
    }
    if program.is_p2wsh() {
        let script = input.witness_script.as_ref()?;
        return cache.p2wsh_signature_hash(index, script, prevout.value, all).ok().map(Message::from);
    }
    let hash = cache.legacy_signature_hash(index, program, all.to_u32()).ok()?;
    Some(Message::from_digest(hash.to_byte_array()))
}

fn check_schnorr(
    psbt: &Psbt,
    index: usize,
    prevouts: &[TxOut],
    cache: &mut SighashCache<&Transaction>,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let input = &psbt.inputs[index];
    let output_key = || {
        let script = prevouts[index].script_pubkey.as_bytes();
        prevouts[index]
            .script_pubkey
            .is_p2tr()
            .then(|| XOnlyPublicKey::from_slice(&script[2..]).ok())
            .flatten()
    };
    let key_path = input.tap_key_sig.iter().map(|signature| (None, output_key(), signature));
    let script_path =
        input.tap_script_sigs.iter().map(|((key, leaf), signature)| (Some(*leaf), Some(*key), signature));
    for (leaf, key, signature) in key_path.chain(script_path) {
        if !matches!(signature.sighash_type, TapSighashType::Default | TapSighashType::All) {
            return Err(refuse(
                Rule::SighashType,
                format!("a taproot signature of input {index} is not of type ALL"),
            ));
        }
        let all = Prevouts::All(prevouts);
        let hash = match leaf {
            None => cache.taproot_key_spend_signature_hash(index, &all, signature.sighash_type),
            Some(leaf) => {
                cache.taproot_script_spend_signature_hash(index, &all, leaf, signature.sighash_type)
            }
        };
        let verifies = match (hash, key) {
            (Ok(hash), Some(key)) => {
                secp.verify_schnorr(&signature.signature, &Message::from(hash), &key).is_ok()
            }
            _ => false,
        };
        if !verifies {
            return Err(refuse(
                Rule::ForeignPartialSig,
                format!("a taproot signature of input {index} does not verify: take it out"),
            ));
        }
    }
    Ok(())
}
