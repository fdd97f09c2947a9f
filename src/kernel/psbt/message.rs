//! Messages that are signed as if they were transactions: `message`.
//!
//! BIP 322 signs a message as a transaction, `to_sign`, whose first input spends another one, `to_spend`,
//! that cannot be in any block. A verifier takes it for a statement of the address's owner. It moves nothing,
//! so it would pass every limit, and the user who gives a code for it thinks of a payment.
//!
//! These signs reveal it, in each of its shapes (simple, full, with further inputs as a proof of funds):
//! - the PSBT says so: `PSBT_GLOBAL_GENERIC_SIGNED_MESSAGE`, or the commitment of a proof of reserves (BIP
//!   127);
//! - an input spends `to_spend`, which itself spends the outpoint that does not exist, and pays nothing. A
//!   coinbase spends that outpoint, too, but its spendable outputs have a value;
//! - all inputs together are worth nothing;
//! - nobody can be paid (every output is an OP_RETURN), and either the version is one that no node relays, or
//!   an input is worth nothing and lacks its previous transaction, which would distinguish `to_spend` from an
//!   anchor output.
//!
//! An input without value alone is no such sign: the child that pays the fee spends anchors without value. If
//! the amount of `to_spend` is only a claim, and a wrong one, a verifier cannot use the signature: BIP 341
//! signs all amounts, and all other types need the previous transaction.

use bitcoin::{Amount, Transaction, TxOut};

use super::cursor::Cursor;
use super::decode::{Decoded, GLOBAL_SIGNED_MESSAGE};
use super::{PsbtError, refuse};
use crate::rule::Rule;

/// Refuses a PSBT that is a message according to its global map.
pub(super) fn check_name(psbt: &Decoded<'_>) -> Result<(), PsbtError> {
    if psbt.is_message {
        return Err(message(
            "the PSBT has the field of a signed message (PSBT_GLOBAL_GENERIC_SIGNED_MESSAGE)",
        ));
    }
    Ok(())
}

/// Refuses a transaction that can only be a message. The inputs in `claimed` come without a previous
/// transaction.
pub(super) fn check_shape(
    transaction: &Transaction,
    prevouts: &[TxOut],
    claimed: &[usize],
) -> Result<(), PsbtError> {
    let is_worthless = |prevout: &TxOut| prevout.value == Amount::ZERO;
    if prevouts.iter().all(is_worthless) {
        return Err(message("all inputs together are worth nothing"));
    }
    if !transaction.output.iter().all(|output| output.script_pubkey.is_op_return()) {
        return Ok(());
    }
    if transaction.version.0 < 1 {
        return Err(message("it has a version that no node relays, and pays nobody"));
    }
    match claimed.iter().find(|index| is_worthless(&prevouts[**index])) {
        Some(index) => Err(message(&format!(
            "input {index} is worth nothing, no previous transaction (non_witness_utxo) shows what it is, and nobody is paid"
        ))),
        None => Ok(()),
    }
}

/// Whether `previous` can be in a block only as a coinbase, because it spends the outpoint that does not
/// exist.
pub(super) fn is_unspendable(previous: &Transaction) -> bool {
    previous.input.iter().any(|input| input.previous_output.is_null())
}

/// The refusal of an input that spends `to_spend`.
pub(super) fn virtual_input(index: usize) -> PsbtError {
    message(&format!("input {index} spends the virtual transaction that commits to a message (to_spend)"))
}

/// The refusal of an input that commits to a message (BIP 127).
pub(super) fn commitment(index: usize) -> PsbtError {
    message(&format!("input {index} has the commitment of a proof of reserves (PSBT_IN_POR_COMMITMENT)"))
}

/// The message in the global map of a PSBT.
pub(super) fn text(psbt: &[u8]) -> Option<String> {
    let mut text = None;
    let mut global = Cursor::behind_magic(psbt).ok()?;
    global
        .walk(|key, value| {
            if key == [GLOBAL_SIGNED_MESSAGE] {
                text = String::from_utf8(value.to_vec()).ok();
            }
            Ok(())
        })
        .ok()?;
    text
}

fn message(why: &str) -> PsbtError {
    refuse(
        Rule::Message,
        format!(
            "{why}: this is a message to be signed (BIP 322, BIP 127), not a payment, and no wallet signs one here"
        ),
    )
}
