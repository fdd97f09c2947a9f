//! Both versions of a PSBT (BIP 174, BIP 370) in one form: a transaction, and a map for each of its inputs
//! and outputs.
//!
//! A decoded map is several times as large as its bytes: a kilobyte for an input, and more for each list of
//! keys. So each map is decoded when its input or output is checked, and then dropped.

use std::collections::BTreeMap;

use bitcoin::bip32::{ChildNumber, Fingerprint, KeySource, Xpub};
use bitcoin::consensus::{deserialize_partial, serialize};
use bitcoin::psbt::raw::Key;
use bitcoin::psbt::{Input, Output, Psbt};
use bitcoin::{OutPoint, Transaction, TxIn, TxOut, VarInt};

use super::cursor::{Cursor, MAGIC, SEPARATOR};
use super::fields::{self, Map};
use super::layout::{self, Layout, Version};
use super::version_2;
use super::{PsbtError, refuse};
use crate::rule::Rule;

const IN_NON_WITNESS_UTXO: u8 = 0x00;
const IN_WITNESS_UTXO: u8 = 0x01;
/// `PSBT_IN_POR_COMMITMENT` (BIP 127).
const IN_POR_COMMITMENT: u8 = 0x09;
/// `PSBT_GLOBAL_GENERIC_SIGNED_MESSAGE` (BIP 322).
pub(super) const GLOBAL_SIGNED_MESSAGE: u8 = 0x09;
const IN_BIP32_DERIVATION: u8 = 0x06;
const IN_TAP_BIP32_DERIVATION: u8 = 0x16;
const OUT_BIP32_DERIVATION: u8 = 0x02;
const OUT_TAP_BIP32_DERIVATION: u8 = 0x07;
const IN_TAP_KEY_SIG: u8 = 0x13;
const IN_TAP_SCRIPT_SIG: u8 = 0x14;
const LEAF_HASH_LEN: usize = 32;
/// A Schnorr signature with its type.
const EXPLICIT_SIG_LEN: usize = 65;

/// A PSBT of either version.
pub(super) struct Decoded<'a> {
    pub(super) transaction: Transaction,
    pub(super) xpubs: BTreeMap<Xpub, KeySource>,
    /// According to the global map, this is a message (BIP 322).
    pub(super) is_message: bool,
    version: Version,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
}

/// An input map's fields about the spent output, as bytes.
pub(super) struct Spent<'a> {
    /// `PSBT_IN_NON_WITNESS_UTXO`: the previous transaction.
    pub(super) previous: Option<&'a [u8]>,
    /// `PSBT_IN_WITNESS_UTXO`: the output.
    pub(super) output: Option<&'a [u8]>,
    /// `PSBT_IN_POR_COMMITMENT`: the input spends nothing, but commits to a message (BIP 127).
    pub(super) is_commitment: bool,
}

/// Decodes the global map of `bytes`, whose `layout` was read, and finds the other maps.
pub(super) fn decode<'a>(bytes: &'a [u8], layout: &Layout) -> Result<Decoded<'a>, PsbtError> {
    let mut skeleton = match layout.version {
        Version::V0 => layout.up_to_inputs(bytes).to_vec(),
        Version::V2 => version_2::up_to_inputs(bytes, layout)?,
    };
    // With empty maps for all inputs and outputs it is a PSBT.
    skeleton.resize(skeleton.len() + layout.maps(), SEPARATOR);
    let Psbt { unsigned_tx, xpub, unknown, inputs, outputs, .. } =
        Psbt::deserialize(&skeleton).map_err(|_| {
            unreadable(Map::Global, &layout.up_to_inputs(bytes)[MAGIC.len()..], |key, pair| {
                alone_in_global(key, pair, layout)
            })
        })?;
    if layout.maps() != inputs.len() + outputs.len() {
        return Err(PsbtError::TrailingBytes("there are bytes behind the last map".into()));
    }
    // In version 2 these fields are removed by now. In version 0 they could contradict the transaction.
    let is_misplaced = |key: &&Key| key.key.is_empty() && version_2::GLOBAL_FIELDS.contains(&key.type_value);
    if let Some(key) = unknown.keys().find(is_misplaced) {
        return Err(version_2::misplaced(Map::Global, key.type_value));
    }
    let is_message = unknown.keys().any(|key| key.type_value == GLOBAL_SIGNED_MESSAGE);
    let (inputs, outputs) = layout.split(bytes, inputs.len());
    let version = layout.version;
    let decoded = Decoded { transaction: unsigned_tx, xpubs: xpub, is_message, version, inputs, outputs };
    if decoded.version == Version::V0 {
        version_2::refuse_fields(&decoded.inputs, Map::Input, version_2::INPUT_FIELDS)?;
        version_2::refuse_fields(&decoded.outputs, Map::Output, version_2::OUTPUT_FIELDS)?;
    }
    Ok(decoded)
}

impl<'a> Decoded<'a> {
    /// What input `index` spends, according to its map.
    pub(super) fn spent(&self, index: usize) -> Result<Spent<'a>, PsbtError> {
        let mut spent = Spent { previous: None, output: None, is_commitment: false };
        Cursor::over(self.inputs[index]).walk(|key, value| {
            match key {
                [IN_NON_WITNESS_UTXO] => spent.previous = Some(value),
                [IN_WITNESS_UTXO] => spent.output = Some(value),
                [IN_POR_COMMITMENT, ..] => spent.is_commitment = true,
                _ => {}
            }
            Ok(())
        })?;
        Ok(spent)
    }

    /// The map of input `index`, without its previous transaction.
    pub(super) fn input(&self, index: usize) -> Result<Input, PsbtError> {
        let mut bytes = of_one_input(vec![]);
        let is_v2 = self.version == Version::V2;
        Cursor::over(self.inputs[index]).copy(&mut bytes, |key_type| {
            key_type == IN_NON_WITNESS_UTXO || (is_v2 && version_2::INPUT_FIELDS.contains(&key_type))
        })?;
        // The parser would take it for type DEFAULT, which consensus does not (BIP 341, "Common signature
        // message").
        Cursor::over(self.inputs[index]).walk(|key, value| match (key, value) {
            ([IN_TAP_KEY_SIG], [.., 0]) | ([IN_TAP_SCRIPT_SIG, ..], [.., 0])
                if value.len() == EXPLICIT_SIG_LEN =>
            {
                Err(refuse(
                    Rule::SighashType,
                    format!(
                        "a taproot signature of input {index} names type DEFAULT, which must be left out"
                    ),
                ))
            }
            _ => Ok(()),
        })?;
        let psbt = Psbt::deserialize(&bytes).map_err(|_| {
            let alone = |pair: &[u8]| [&of_one_input(vec![]), pair, &[SEPARATOR]].concat();
            unreadable(Map::Input(index), self.inputs[index], |key, pair| match key.first() {
                Some(&IN_NON_WITNESS_UTXO) => None,
                Some(key_type) if is_v2 && version_2::INPUT_FIELDS.contains(key_type) => None,
                _ => Some(alone(pair)),
            })
        })?;
        psbt.inputs.into_iter().next().ok_or_else(missing_map)
    }

    /// The map of output `index`.
    pub(super) fn output(&self, index: usize) -> Result<Output, PsbtError> {
        let mut bytes = of_one_input(vec![TxOut::NULL]);
        bytes.push(SEPARATOR);
        let is_v2 = self.version == Version::V2;
        Cursor::over(self.outputs[index])
            .copy(&mut bytes, |key_type| is_v2 && version_2::OUTPUT_FIELDS.contains(&key_type))?;
        let psbt = Psbt::deserialize(&bytes).map_err(|_| {
            let alone = |pair: &[u8]| {
                [&of_one_input(vec![TxOut::NULL])[..], &[SEPARATOR], pair, &[SEPARATOR]].concat()
            };
            unreadable(Map::Output(index), self.outputs[index], |key, pair| match key.first() {
                Some(key_type) if is_v2 && version_2::OUTPUT_FIELDS.contains(key_type) => None,
                _ => Some(alone(pair)),
            })
        })?;
        psbt.outputs.into_iter().next().ok_or_else(missing_map)
    }

    /// The path of the first key that the map of input `index` claims for the master `ours`, read without
    /// decoding the map.
    pub(super) fn input_claim(&self, index: usize, ours: Fingerprint) -> Option<Vec<ChildNumber>> {
        first_claim(self.inputs[index], [IN_BIP32_DERIVATION, IN_TAP_BIP32_DERIVATION], ours)
    }

    /// The same for output `index`.
    pub(super) fn output_claim(&self, index: usize, ours: Fingerprint) -> Option<Vec<ChildNumber>> {
        first_claim(self.outputs[index], [OUT_BIP32_DERIVATION, OUT_TAP_BIP32_DERIVATION], ours)
    }

    /// What makes these bytes no PSBT at all, without previous transactions. Maps are decoded only when they
    /// are checked, and a rule may refuse before. The caller then gets the more serious of the two errors.
    pub(super) fn unreadable_map(&self) -> Option<PsbtError> {
        let inputs = (0..self.inputs.len()).find_map(|index| self.input(index).err());
        inputs.or_else(|| (0..self.outputs.len()).find_map(|index| self.output(index).err()))
    }
}

/// The first path in `map` that begins at the master `ours`. `types` are those of a plain and of a taproot
/// derivation, which has the hashes of its leaves in front (BIP 371). Unreadable origins are skipped, because
/// the parser refuses them.
fn first_claim(map: &[u8], types: [u8; 2], ours: Fingerprint) -> Option<Vec<ChildNumber>> {
    let [plain, tap] = types;
    let mut found = None;
    // The layout has already refused a map that ends before its separator.
    let _ = Cursor::over(map).walk(|key, value| {
        let origin = match key {
            [key_type, _, ..] if *key_type == plain => Some(value),
            [key_type, _, ..] if *key_type == tap => behind_leaves(value),
            _ => None,
        };
        if found.is_none() {
            found = origin.and_then(|origin| path_from(origin, ours));
        }
        Ok(())
    });
    found
}

fn behind_leaves(value: &[u8]) -> Option<&[u8]> {
    let (VarInt(leaves), read) = deserialize_partial(value).ok()?;
    let hashes = usize::try_from(leaves).ok()?.checked_mul(LEAF_HASH_LEN)?;
    value.get(read..)?.get(hashes..)
}

/// The path of a key origin (BIP 174, `PSBT_IN_BIP32_DERIVATION`) that begins at the master `ours`.
fn path_from(origin: &[u8], ours: Fingerprint) -> Option<Vec<ChildNumber>> {
    let path = origin.strip_prefix(ours.as_bytes())?;
    let (steps, rest) = path.as_chunks();
    rest.is_empty().then(|| steps.iter().map(|step| u32::from_le_bytes(*step).into()).collect())
}

/// The beginning of a PSBT with some transaction of one input. The crate decodes a map only within a PSBT,
/// and a map's meaning does not depend on the transaction.
fn of_one_input(output: Vec<TxOut>) -> Vec<u8> {
    let transaction = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output: OutPoint::null(), ..TxIn::default() }],
        output,
    };
    layout::with_unsigned_tx(&serialize(&transaction), &[SEPARATOR])
}

/// Why a map cannot be read: its first field that cannot be read by itself, in the PSBT that `alone` makes
/// for it. `None` if the field is checked elsewhere. The crate's own text would repeat keys and values of the
/// PSBT, of any length, in our log.
fn unreadable(map: Map, bytes: &[u8], alone: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> PsbtError {
    let reads =
        |key: &[u8], pair: &[u8]| alone(key, pair).is_none_or(|psbt| Psbt::deserialize(&psbt).is_ok());
    PsbtError::NotPsbt(match fields::unreadable(bytes, reads) {
        Some(key_type) => format!("{} is not encoded as BIP 174, 370 or 371 requires", map.field(key_type)),
        None => format!("the fields of {map} do not go together (BIP 174)"),
    })
}

/// A PSBT whose global map has only this field, and the transaction that makes it a PSBT.
fn alone_in_global(key: &[u8], pair: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    match key.first() {
        Some(&layout::GLOBAL_UNSIGNED_TX) => {
            let mut psbt = [MAGIC, pair, &[SEPARATOR]].concat();
            psbt.resize(psbt.len() + layout.maps(), SEPARATOR);
            Some(psbt)
        }
        // Read before.
        Some(key_type) if layout.version == Version::V2 && version_2::is_global(*key_type) => None,
        _ => {
            let mut psbt = of_one_input(vec![]);
            psbt.pop();
            psbt.extend_from_slice(pair);
            psbt.extend_from_slice(&[SEPARATOR, SEPARATOR]);
            Some(psbt)
        }
    }
}

fn missing_map() -> PsbtError {
    PsbtError::NotPsbt("a map is missing".into())
}
