//! Partial signatures that are already there: each must be of type ALL and verify.
//!
//! If a signer added its own signature beside a bad one, it would help to build a transaction that nobody can
//! finalise, or that somebody can finalise in another way.

use std::sync::Arc;

use bitcoin::bip32::Fingerprint;
use bitcoin::hashes::Hash;
use bitcoin::psbt::Input;
use bitcoin::secp256k1::{All, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{PublicKey, Script, ScriptBuf, Transaction, TxOut};

use super::ownership::OurInput;
use super::scripts::output_key;
use super::{PsbtError, refuse};
use crate::rule::Rule;
use crate::wallet::{Branch, Rebuilt, Spend, Taproot, WatchOnly};

/// Verifies signatures, input by input.
pub(super) struct Verifier<'a> {
    cache: SighashCache<&'a Transaction>,
    prevouts: &'a [TxOut],
    secp: &'a Secp256k1<All>,
}

impl<'a> Verifier<'a> {
    /// `prevouts` has one output for each input.
    pub(super) fn new(
        transaction: &'a Transaction,
        prevouts: &'a [TxOut],
        secp: &'a Secp256k1<All>,
    ) -> Verifier<'a> {
        Verifier { cache: SighashCache::new(transaction), prevouts, secp }
    }

    /// Verifies every signature of input `index`; `ours` is given if the input is ours.
    /// `foreign-partial-sig`, `sighash-type`.
    pub(super) fn check(
        &mut self,
        index: usize,
        input: &Input,
        ours: Option<&OurInput>,
    ) -> Result<(), PsbtError> {
        let ours = ours.map(|ours| &ours.rebuilt);
        if let Some(ours) = ours {
            check_leaves(index, input, ours)?;
        }
        // ECDSA signs the same message for each of our keys.
        self.check_ecdsa(index, input, ours.and_then(|ours| ours.branches.first()).map(|ours| &ours.spend))?;
        self.check_schnorr(index, input)
    }

    fn check_ecdsa(&mut self, index: usize, input: &Input, spend: Option<&Spend>) -> Result<(), PsbtError> {
        let prevout = &self.prevouts[index];
        let signatures = &input.partial_sigs;
        if signatures.is_empty() {
            return Ok(());
        }
        if signatures.values().any(|signature| signature.sighash_type != EcdsaSighashType::All) {
            return Err(refuse(
                Rule::SighashType,
                format!("a partial signature of input {index} is not of type ALL"),
            ));
        }
        let spend = spend.cloned().or_else(|| claimed_spend(input, prevout));
        let message = spend.and_then(|spend| ecdsa_message(&spend, index, prevout, &mut self.cache));
        let verifies = message.is_some_and(|message| {
            signatures.iter().all(|(key, signature)| {
                self.secp.verify_ecdsa(&message, &signature.signature, &key.inner).is_ok()
            })
        });
        if verifies {
            return Ok(());
        }
        Err(refuse(
            Rule::ForeignPartialSig,
            format!("a partial signature of input {index} does not verify: take it out"),
        ))
    }

    fn check_schnorr(&mut self, index: usize, input: &Input) -> Result<(), PsbtError> {
        let key_path = input
            .tap_key_sig
            .iter()
            .map(|signature| (None, output_key(&self.prevouts[index].script_pubkey), signature));
        let script_path =
            input.tap_script_sigs.iter().map(|((key, leaf), signature)| (Some(*leaf), Some(*key), signature));
        for (leaf, key, signature) in key_path.chain(script_path) {
            if !matches!(signature.sighash_type, TapSighashType::Default | TapSighashType::All) {
                return Err(refuse(
                    Rule::SighashType,
                    format!("a taproot signature of input {index} is not of type ALL"),
                ));
            }
            let all = Prevouts::All(self.prevouts);
            let hash = match leaf {
                None => self.cache.taproot_key_spend_signature_hash(index, &all, signature.sighash_type),
                Some(leaf) => {
                    self.cache.taproot_script_spend_signature_hash(index, &all, leaf, signature.sighash_type)
                }
            };
            let verifies = match (hash, key) {
                (Ok(hash), Some(key)) => {
                    self.secp.verify_schnorr(&signature.signature, &Message::from(hash), &key).is_ok()
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
}

/// `require-cosigner`: every input of ours must have a signature of the cosigner. Only the branches with such
/// a signature are signed. Earlier checks found that it verifies.
pub(super) fn require(
    cosigner: Fingerprint,
    input: &Input,
    ours: &mut OurInput,
    wallet: &WatchOnly,
) -> Result<(), PsbtError> {
    let (index, rebuilt) = (ours.index, Arc::clone(&ours.rebuilt));
    let has_signed = |ours: &Branch| {
        let mut keys = wallet.cosigner_keys(cosigner, &rebuilt);
        keys.any(|key| has_signature(input, *key, &ours.spend, &rebuilt.leaves))
    };
    if ours.keep(has_signed) {
        return Ok(());
    }
    Err(refuse(
        Rule::RequireCosigner,
        format!("input {index} has no signature of cosigner {cosigner}: have the user sign first"),
    ))
}

/// Whether this key has signed for what we sign: for the same leaf, or by the key path.
fn has_signature(
    input: &Input,
    key: bitcoin::secp256k1::PublicKey,
    ours: &Spend,
    leaves: &[TapLeafHash],
) -> bool {
    let x_only = key.x_only_public_key().0;
    let by_key_path = |taproot: &Taproot| taproot.internal_key == x_only && input.tap_key_sig.is_some();
    let for_leaf = |leaf: &TapLeafHash| input.tap_script_sigs.contains_key(&(x_only, *leaf));
    match ours {
        Spend::Legacy(_) | Spend::SegwitV0(_) => input.partial_sigs.contains_key(&PublicKey::new(key)),
        // We need no other signature here: one for any leaf shows that the cosigner agrees.
        Spend::KeyPath(taproot) => by_key_path(taproot) || leaves.iter().any(for_leaf),
        Spend::ScriptPath(taproot, leaf) => by_key_path(taproot) || for_leaf(leaf),
    }
}

/// `foreign-partial-sig`: a signature for a leaf that is not in the tree of our address cannot complete
/// anything.
fn check_leaves(index: usize, input: &Input, ours: &Rebuilt) -> Result<(), PsbtError> {
    if input.tap_script_sigs.keys().all(|(_, leaf)| ours.leaves.contains(leaf)) {
        return Ok(());
    }
    Err(refuse(
        Rule::ForeignPartialSig,
        format!("a taproot signature of input {index} is for a leaf that is not in its tree: take it out"),
    ))
}

/// How an input that is not ours is signed, by the scripts in the PSBT, which hash to the spent output.
fn claimed_spend(input: &Input, prevout: &TxOut) -> Option<Spend> {
    let program = match &input.redeem_script {
        Some(script) => script.clone(),
        None => left_out(input, &prevout.script_pubkey).unwrap_or_else(|| prevout.script_pubkey.clone()),
    };
    if program.is_p2wpkh() {
        return program.p2wpkh_script_code().map(Spend::SegwitV0);
    }
    if program.is_p2wsh() {
        return input.witness_script.clone().map(Spend::SegwitV0);
    }
    Some(Spend::Legacy(program))
}

/// The omitted redeem script of a witness program in a P2SH, which follows from the witness script or the
/// key.
fn left_out(input: &Input, script_pubkey: &Script) -> Option<ScriptBuf> {
    let of_key = |key: &PublicKey| Some(ScriptBuf::new_p2wpkh(&key.wpubkey_hash().ok()?));
    let program = match &input.witness_script {
        Some(script) => script.to_p2wsh(),
        None => input.partial_sigs.keys().next().and_then(of_key)?,
    };
    (program.to_p2sh().as_script() == script_pubkey).then_some(program)
}

/// The message of an ECDSA signature of type ALL: BIP 143 for a witness program of version 0, otherwise the
/// legacy hash.
pub(crate) fn ecdsa_message(
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
