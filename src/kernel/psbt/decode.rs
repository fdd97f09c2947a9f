//! The two versions of a PSBT (BIP 174, BIP 370) as one.

use core::ops::RangeInclusive;
use std::collections::BTreeMap;

use bitcoin::Transaction;
use bitcoin::bip32::{KeySource, Xpub};
use bitcoin::psbt::raw::Key;
use bitcoin::psbt::{Input, Output, Psbt};

use super::PsbtError;
use super::layout::{Layout, Version};
use super::version_2::to_version_0;

/// A PSBT of either version, without its previous transactions.
pub(super) struct Decoded {
    pub(super) transaction: Transaction,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    pub(super) xpubs: BTreeMap<Xpub, KeySource>,
}

/// Decodes `bytes`, of which `layout` was taken, from which the previous transactions are taken out.
pub(super) fn decode(bytes: &[u8], layout: &Layout) -> Result<Decoded, PsbtError> {
    let decoded = match layout.version {
        Version::V0 => parse(bytes)?,
        Version::V2 => parse(&to_version_0(bytes, layout)?)?,
    };
    if layout.maps != decoded.inputs.len() + decoded.outputs.len() {
        return Err(PsbtError::NotPsbt("there are bytes behind the last map".into()));
    }
    Ok(decoded)
}

fn parse(bytes: &[u8]) -> Result<Decoded, PsbtError> {
    let psbt = Psbt::deserialize(bytes).map_err(|error| PsbtError::NotPsbt(error.to_string()))?;
    refuse_fields_of_version_2(&psbt)?;
    let Psbt { unsigned_tx, xpub, inputs, outputs, .. } = psbt;
    Ok(Decoded { transaction: unsigned_tx, inputs, outputs, xpubs: xpub })
}

/// The fields that BIP 370 excludes from version 0: there they could say something else than the transaction.
fn refuse_fields_of_version_2(psbt: &Psbt) -> Result<(), PsbtError> {
    // These have no key data: what has some is unknown, in any version.
    let within = |key: &Key, types: RangeInclusive<u8>| key.key.is_empty() && types.contains(&key.type_value);
    let global = psbt.unknown.keys().any(|key| within(key, 0x02..=0x06));
    let input = psbt.inputs.iter().flat_map(|map| map.unknown.keys()).any(|key| within(key, 0x0e..=0x12));
    let output = psbt.outputs.iter().flat_map(|map| map.unknown.keys()).any(|key| within(key, 0x03..=0x04));
    if global || input || output {
        return Err(PsbtError::NotPsbt("a field of version 2 in version 0".into()));
    }
    Ok(())
}
