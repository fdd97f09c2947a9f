//! Partial signatures that are already there: each must be of type ALL and verify.
//!
//! A signer that adds its own beside a bad one helps to build a transaction that nobody can finalise, or that somebody
//! can finalise otherwise.

use bitcoin::bip32::Fingerprint;
use bitcoin::hashes::Hash;
use bitcoin::psbt::Input;
use bitcoin::secp256k1::{All, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{PublicKey, Transaction, TxOut};

use super::decode::Decoded;
use super::ownership::{OurInput, output_key};
use super::{PsbtError, refuse};
use crate::kernel::rule::Rule;
use crate::kernel::wallet::{Spend, WatchOnly};

/// Verifies every signature of every input. `prevouts` has one output for each input. `foreign-partial-sig`,
/// `sighash-type`.
pub(super) fn check(
    psbt: &Decoded,
    prevouts: &[TxOut],
    ours: &[OurInput],
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let mut cache = SighashCache::new(&psbt.transaction);
    let mut ours = ours.iter().peekable();
    for index in 0..psbt.inputs.len() {
        let spend = ours.next_if(|input| input.index == index).map(|input| &input.rebuilt.spend);
        check_ecdsa(psbt, index, &prevouts[index], spend, &mut cache, secp)?;
        check_schnorr(psbt, index, prevouts, &mut cache, secp)?;
    }
    Ok(())
}

/// `require-cosigner`: each input of ours has a signature of the cosigner. That it verifies was found before.
pub(super) fn require(
    cosigner: Fingerprint,
    psbt: &Decoded,
    ours: &[OurInput],
    wallet: &WatchOnly,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    for OurInput { index, rebuilt, .. } in ours {
        let keys = wallet
            .cosigner_keys(cosigner, rebuilt.location, secp)
            .map_err(|error| refuse(Rule::DerivedKey, error.to_string()))?;
        if !keys.into_iter().any(|key| has_signature(&psbt.inputs[*index], key, &rebuilt.spend)) {
            return Err(refuse(
                Rule::RequireCosigner,
                format!("input {index} has no signature of cosigner {cosigner}: have the user sign first"),
            ));
        }
    }
    Ok(())
}

fn has_signature(input: &Input, key: bitcoin::secp256k1::PublicKey, spend: &Spend) -> bool {
    let x_only = key.x_only_public_key().0;
    match spend {
        Spend::Legacy(_) | Spend::SegwitV0(_) => input.partial_sigs.contains_key(&PublicKey::new(key)),
        Spend::KeyPath(taproot) | Spend::ScriptPath(taproot, _) => {
            input.tap_script_sigs.keys().any(|(signer, _)| *signer == x_only)
                || (taproot.internal_key == x_only && input.tap_key_sig.is_some())
        }
    }
}

fn check_ecdsa(
    psbt: &Decoded,
    index: usize,
    prevout: &TxOut,
    spend: Option<&Spend>,
    cache: &mut SighashCache<&Transaction>,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let signatures = &psbt.inputs[index].partial_sigs;
    if signatures.is_empty() {
        return Ok(());
    }
    if signatures.values().any(|signature| signature.sighash_type != EcdsaSighashType::All) {
        return Err(refuse(
            Rule::SighashType,
            format!("a partial signature of input {index} is not of type ALL"),
        ));
    }
    let spend = spend.cloned().or_else(|| claimed_spend(&psbt.inputs[index], prevout));
    let message = spend.and_then(|spend| ecdsa_message(&spend, index, prevout, cache));
    let verifies = message.is_some_and(|message| {
        signatures
            .iter()
            .all(|(key, signature)| secp.verify_ecdsa(&message, &signature.signature, &key.inner).is_ok())
    });
    if verifies {
        return Ok(());
    }
    Err(refuse(
        Rule::ForeignPartialSig,
        format!("a partial signature of input {index} does not verify: take it out"),
    ))
}

/// How an input that is not ours is signed for, by the scripts in the PSBT, which hash to what is spent.
fn claimed_spend(input: &Input, prevout: &TxOut) -> Option<Spend> {
    let program = input.redeem_script.as_ref().unwrap_or(&prevout.script_pubkey);
    if program.is_p2wpkh() {
        return program.p2wpkh_script_code().map(Spend::SegwitV0);
    }
    if program.is_p2wsh() {
        return input.witness_script.clone().map(Spend::SegwitV0);
    }
    Some(Spend::Legacy(program.clone()))
}

/// What an ECDSA signature of type ALL signs: BIP 143 for a witness program of version 0, else the legacy hash.
pub(in crate::kernel) fn ecdsa_message(
    spend: &Spend,
    index: usize,
    prevout: &TxOut,
    cache: &mut SighashCache<&Transaction>,
) -> Option<Message> {
    let all = EcdsaSighashType::All;
    match spend {
        Spend::SegwitV0(code) => {
            cache.p2wsh_signature_hash(index, code, prevout.value, all).ok().map(Message::from)
        }
        Spend::Legacy(code) => {
            let hash = cache.legacy_signature_hash(index, code, all.to_u32()).ok()?;
            Some(Message::from_digest(hash.to_byte_array()))
        }
        Spend::KeyPath(_) | Spend::ScriptPath(..) => None,
    }
}

fn check_schnorr(
    psbt: &Decoded,
    index: usize,
    prevouts: &[TxOut],
    cache: &mut SighashCache<&Transaction>,
    secp: &Secp256k1<All>,
) -> Result<(), PsbtError> {
    let input = &psbt.inputs[index];
    let key_path = input
        .tap_key_sig
        .iter()
        .map(|signature| (None, output_key(&prevouts[index].script_pubkey), signature));
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
