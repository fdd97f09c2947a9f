//! The two versions of a PSBT (BIP 174, BIP 370) as one.

use std::collections::BTreeMap;

use bitcoin::bip32::{KeySource, Xpub};
use bitcoin::psbt::{Input, Output, Psbt, PsbtSighashType};
use bitcoin::{OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use psbt_v2::v2;

use super::PsbtError;
use super::layout::{self, Layout, Version};

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
        Version::V0 => version_0(bytes)?,
        Version::V2 => version_2(bytes)?,
    };
    if layout.maps != decoded.inputs.len() + decoded.outputs.len() {
        return Err(PsbtError::NotPsbt("there are bytes behind the last map".into()));
    }
    Ok(decoded)
}

fn version_0(bytes: &[u8]) -> Result<Decoded, PsbtError> {
    let psbt = Psbt::deserialize(bytes).map_err(|error| PsbtError::NotPsbt(error.to_string()))?;
    refuse_fields_of_version_2(&psbt)?;
    let Psbt { unsigned_tx, xpub, inputs, outputs, .. } = psbt;
    Ok(Decoded { transaction: unsigned_tx, inputs, outputs, xpubs: xpub })
}

/// The fields that BIP 370 excludes from version 0: there they could say something else than the transaction.
fn refuse_fields_of_version_2(psbt: &Psbt) -> Result<(), PsbtError> {
    const GLOBAL: core::ops::RangeInclusive<u8> = 0x02..=0x06;
    const INPUT: core::ops::RangeInclusive<u8> = 0x0e..=0x12;
    const OUTPUT: core::ops::RangeInclusive<u8> = 0x03..=0x04;
    let global = psbt.unknown.keys().any(|key| GLOBAL.contains(&key.type_value));
    let input =
        psbt.inputs.iter().flat_map(|map| map.unknown.keys()).any(|key| INPUT.contains(&key.type_value));
    let output =
        psbt.outputs.iter().flat_map(|map| map.unknown.keys()).any(|key| OUTPUT.contains(&key.type_value));
    if global || input || output {
        return Err(PsbtError::NotPsbt("a field of version 2 in version 0".into()));
    }
    Ok(())
}

fn version_2(bytes: &[u8]) -> Result<Decoded, PsbtError> {
    let psbt = v2::Psbt::deserialize(bytes).map_err(|error| PsbtError::NotPsbt(error.to_string()))?;
    let lock_time = psbt.determine_lock_time().map_err(|error| PsbtError::NotPsbt(error.to_string()))?;
    let transaction = Transaction {
        version: psbt.global.tx_version,
        lock_time,
        input: psbt.inputs.iter().map(unsigned_input).collect(),
        output: psbt
            .outputs
            .iter()
            .map(|output| TxOut { value: output.amount, script_pubkey: output.script_pubkey.clone() })
            .collect(),
    };
    layout::check_unsigned_len(transaction.base_size())?;
    Ok(Decoded {
        transaction,
        inputs: psbt.inputs.into_iter().map(input).collect(),
        outputs: psbt.outputs.into_iter().map(output).collect(),
        xpubs: psbt.global.xpubs,
    })
}

/// An input without `PSBT_IN_SEQUENCE` has the final sequence number (BIP 370; the crate's own takes zero).
fn unsigned_input(input: &v2::Input) -> TxIn {
    TxIn {
        previous_output: OutPoint::new(input.previous_txid, input.spent_output_index),
        script_sig: ScriptBuf::new(),
        sequence: input.sequence.unwrap_or(Sequence::MAX),
        witness: Witness::new(),
    }
}

/// What the two versions of an input have in common. Proprietary and unknown fields stay in the bytes.
fn input(input: v2::Input) -> Input {
    Input {
        witness_utxo: input.witness_utxo,
        partial_sigs: input.partial_sigs,
        sighash_type: input.sighash_type.map(|asked| PsbtSighashType::from_u32(asked.to_u32())),
        redeem_script: input.redeem_script,
        witness_script: input.witness_script,
        bip32_derivation: input.bip32_derivations.into_iter().map(|(key, from)| (key.inner, from)).collect(),
        final_script_sig: input.final_script_sig,
        final_script_witness: input.final_script_witness,
        tap_key_sig: input.tap_key_sig,
        tap_script_sigs: input.tap_script_sigs,
        tap_scripts: input.tap_scripts,
        tap_key_origins: input.tap_key_origins,
        tap_internal_key: input.tap_internal_key,
        tap_merkle_root: input.tap_merkle_root,
        ..Input::default()
    }
}

fn output(output: v2::Output) -> Output {
    Output {
        redeem_script: output.redeem_script,
        witness_script: output.witness_script,
        bip32_derivation: output.bip32_derivations.into_iter().map(|(key, from)| (key.inner, from)).collect(),
        tap_internal_key: output.tap_internal_key,
        tap_tree: output.tap_tree,
        tap_key_origins: output.tap_key_origins,
        ..Output::default()
    }
}
