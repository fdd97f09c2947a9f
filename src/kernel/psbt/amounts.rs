//! The proved amounts that go in and out.

use bitcoin::consensus::deserialize;
use bitcoin::{Amount, OutPoint, Transaction, TxOut};

use super::decode::{Decoded, Spent};
use super::{PsbtError, message, refuse};
use crate::rule::Rule;

/// The outputs that the inputs spend. `utxo-missing`, `utxo-txid`, `utxo-vout`, `utxo-disagree`, `message`.
///
/// A `witness_utxo` alone is a claim. If every input that we sign is taproot, that is enough, also for other
/// inputs and whatever their scripts are: our signatures (DEFAULT or ALL) cover the amounts and scripts of
/// all spent outputs (BIP 341, "Common signature message"). If one of the claims were false, so that the fee
/// or the leaving amount differed from what is judged here, none of our signatures would be valid for the
/// transaction. A BIP 143 signature covers only the amount of its own input, and a legacy one covers none, so
/// those prove nothing about other inputs.
pub(super) fn prevouts(psbt: &Decoded<'_>, we_sign_taproot_only: bool) -> Result<Vec<TxOut>, PsbtError> {
    message::check_name(psbt)?;
    let mut prevouts = Vec::with_capacity(psbt.transaction.input.len());
    let mut claimed_only = Vec::new();
    for (index, input) in psbt.transaction.input.iter().enumerate() {
        let Spent { previous, output, is_commitment } = psbt.spent(index)?;
        if is_commitment {
            return Err(message::commitment(index));
        }
        let claimed: Option<TxOut> = output
            .map(|bytes| deserialize(bytes).map_err(|_| unreadable("witness_utxo", index)))
            .transpose()?;
        prevouts.push(match (previous, claimed) {
            (Some(bytes), claimed) => proved(index, input.previous_output, bytes, claimed.as_ref())?,
            (None, Some(claimed)) => {
                claimed_only.push(index);
                claimed
            }
            (None, None) => return Err(says_nothing(index)),
        });
    }
    message::check_shape(&psbt.transaction, &prevouts, &claimed_only)?;
    // If all claim to be taproot, and the wallet is not, then no input is the wallet's, and that is the error
    // to report.
    let all_taproot = prevouts.iter().all(|prevout| prevout.script_pubkey.is_p2tr());
    match claimed_only.first() {
        Some(index) if !we_sign_taproot_only && !all_taproot => Err(only_claims(*index)),
        _ => Ok(prevouts),
    }
}

/// The output that input `index` spends, according to its previous transaction.
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

fn says_nothing(index: usize) -> PsbtError {
    refuse(
        Rule::UtxoMissing,
        format!(
            "input {index} has neither non_witness_utxo nor witness_utxo: add the previous transaction that it spends \
             (non_witness_utxo)"
        ),
    )
}

/// Nodes without an index of transactions make such PSBTs, for coins that are not in their own wallet.
fn only_claims(index: usize) -> PsbtError {
    refuse(
        Rule::UtxoMissing,
        format!(
            "input {index} has a witness_utxo but no non_witness_utxo, and its amount is only a claim: add its previous \
             transaction. Bitcoin Core adds it (utxoupdatepsbt, descriptorprocesspsbt) if it runs with -txindex, and for \
             the coins of a wallet that it has (walletprocesspsbt)"
        ),
    )
}

fn unreadable(what: &str, index: usize) -> PsbtError {
    PsbtError::NotPsbt(format!("{what} of input {index} cannot be read"))
}

/// The sums of what goes in and out, in satoshi. `amount-range`.
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
