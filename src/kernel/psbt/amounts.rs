//! What goes in and out, proved.

use bitcoin::consensus::deserialize;
use bitcoin::psbt::Input;
use bitcoin::{Amount, Transaction, TxOut};

use super::decode::Decoded;
use super::{PsbtError, refuse};
use crate::kernel::rule::Rule;

/// The outputs that the inputs spend. `previous` has the previous transaction of each input, where there is one.
/// `utxo-missing`, `utxo-txid`, `utxo-vout`, `utxo-disagree`.
pub(super) fn prevouts(psbt: &Decoded, previous: &[Option<&[u8]>]) -> Result<Vec<TxOut>, PsbtError> {
    // Only where every input is taproot does every sighash cover all amounts and scripts (BIP 341).
    let all_taproot = psbt.inputs.iter().all(|input| taproot_claim(input).is_some());
    (0..psbt.inputs.len())
        .map(|index| match (previous[index], &psbt.inputs[index].witness_utxo) {
            (Some(bytes), claimed) => proved(psbt, index, bytes, claimed.as_ref()),
            (None, Some(utxo)) if all_taproot => Ok(utxo.clone()),
            (None, _) => Err(refuse(
                Rule::UtxoMissing,
                format!(
                    "input {index} has no non_witness_utxo: have the wallet add the previous transaction"
                ),
            )),
        })
        .collect()
}

/// The `witness_utxo` of an input that says it is taproot.
pub(super) fn taproot_claim(input: &Input) -> Option<&TxOut> {
    input.witness_utxo.as_ref().filter(|utxo| utxo.script_pubkey.is_p2tr())
}

/// The output that input `index` spends, by its previous transaction.
fn proved(
    psbt: &Decoded,
    index: usize,
    previous: &[u8],
    claimed: Option<&TxOut>,
) -> Result<TxOut, PsbtError> {
    let previous: Transaction = deserialize(previous).map_err(|_| {
        PsbtError::NotPsbt(format!("the previous transaction of input {index} cannot be read"))
    })?;
    let spent = psbt.transaction.input[index].previous_output;
    if previous.compute_txid() != spent.txid {
        return Err(refuse(
            Rule::UtxoTxid,
            format!("the previous transaction of input {index} is another one"),
        ));
    }
    let vout = usize::try_from(spent.vout).ok();
    let prevout = vout.and_then(|vout| previous.output.into_iter().nth(vout)).ok_or_else(|| {
        refuse(Rule::UtxoVout, format!("input {index} spends an output that does not exist"))
    })?;
    if claimed.is_some_and(|utxo| *utxo != prevout) {
        return Err(refuse(
            Rule::UtxoDisagree,
            format!("witness_utxo of input {index} differs from the previous transaction"),
        ));
    }
    Ok(prevout)
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
