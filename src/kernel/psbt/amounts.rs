//! What goes in and out, proved.

use bitcoin::consensus::deserialize;
use bitcoin::{Amount, OutPoint, Transaction, TxOut};

use super::decode::{Decoded, Spent};
use super::{PsbtError, message, refuse};
use crate::kernel::rule::Rule;

/// The outputs that the inputs spend. `utxo-missing`, `utxo-txid`, `utxo-vout`, `utxo-disagree`, `message`.
pub(super) fn prevouts(psbt: &Decoded<'_>) -> Result<Vec<TxOut>, PsbtError> {
    message::check_name(psbt)?;
    let mut prevouts = Vec::with_capacity(psbt.transaction.input.len());
    let (mut claimed_only, mut all_taproot) = (Vec::new(), true);
    for (index, input) in psbt.transaction.input.iter().enumerate() {
        let Spent { previous, output, is_commitment } = psbt.spent(index)?;
        if is_commitment {
            return Err(message::commitment(index));
        }
        let claimed: Option<TxOut> = output
            .map(|bytes| deserialize(bytes).map_err(|_| unreadable("witness_utxo", index)))
            .transpose()?;
        all_taproot &= claimed.as_ref().is_some_and(|output| output.script_pubkey.is_p2tr());
        prevouts.push(match (previous, claimed) {
            (Some(bytes), claimed) => proved(index, input.previous_output, bytes, claimed.as_ref())?,
            (None, Some(claimed)) => {
                claimed_only.push(index);
                claimed
            }
            (None, None) => return Err(missing(index)),
        });
    }
    message::check_shape(&psbt.transaction, &prevouts, &claimed_only)?;
    // Only where every input is taproot does every sighash cover all amounts and scripts (BIP 341).
    match claimed_only.first() {
        Some(index) if !all_taproot => Err(missing(*index)),
        _ => Ok(prevouts),
    }
}

/// The output that input `index` spends, by its previous transaction.
fn proved(
    index: usize,
    spent: OutPoint,
    previous: &[u8],
    claimed: Option<&TxOut>,
) -> Result<TxOut, PsbtError> {
    let previous: Transaction =
        deserialize(previous).map_err(|_| unreadable("the previous transaction", index))?;
    if previous.compute_txid() != spent.txid {
        return Err(refuse(
            Rule::UtxoTxid,
            format!("the previous transaction of input {index} is another one"),
        ));
    }
    let vout = usize::try_from(spent.vout).ok();
    let spends_nothing = message::is_unspendable(&previous);
    let prevout = vout.and_then(|vout| previous.output.into_iter().nth(vout)).ok_or_else(|| {
        refuse(Rule::UtxoVout, format!("input {index} spends an output that does not exist"))
    })?;
    if spends_nothing && prevout.value == Amount::ZERO {
        return Err(message::virtual_input(index));
    }
    if claimed.is_some_and(|utxo| *utxo != prevout) {
        return Err(refuse(
            Rule::UtxoDisagree,
            format!("witness_utxo of input {index} differs from the previous transaction"),
        ));
    }
    Ok(prevout)
}

fn missing(index: usize) -> PsbtError {
    refuse(
        Rule::UtxoMissing,
        format!("input {index} has no non_witness_utxo: have the wallet add the previous transaction"),
    )
}

fn unreadable(what: &str, index: usize) -> PsbtError {
    PsbtError::NotPsbt(format!("{what} of input {index} cannot be read"))
}

/// What is paid in and out, in satoshi. `amount-range`.
pub(super) fn sums(transaction: &Transaction, prevouts: &[TxOut]) -> Result<(u64, u64), PsbtError> {
    let sum = |outputs: &[TxOut]| {
        outputs
            .iter()
            .try_fold(0u64, |sum, output| {
                sum.checked_add(output.value.to_sat()).filter(|_| in_range(output.value))
            })
            .filter(|sum| in_range(Amount::from_sat(*sum)))
            .ok_or_else(|| refuse(Rule::AmountRange, "an amount or a sum is over 21 million bitcoin"))
    };
    let (paid_in, paid_out) = (sum(prevouts)?, sum(&transaction.output)?);
    if paid_out > paid_in {
        return Err(refuse(Rule::AmountRange, "the outputs are worth more than the inputs"));
    }
    Ok((paid_in, paid_out))
}

fn in_range(amount: Amount) -> bool {
    amount <= Amount::MAX_MONEY
}
