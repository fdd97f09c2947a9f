//! What is proved about a PSBT for a wallet: the rules of structure, amounts and ownership, one after the other.

use std::collections::HashSet;

use bitcoin::psbt::{Input, PsbtSighashType};
use bitcoin::sighash::EcdsaSighashType;
use bitcoin::{Amount, Transaction, TxOut};

use super::decode::Decoded;
use super::ownership::{OurInput, Prover};
use super::{PsbtError, Surroundings, amounts, hint, partial, refuse, work};
use crate::rule::Rule;
use crate::wallet::{Location, WatchOnly};

/// What is proved about a PSBT for a wallet.
pub(super) struct Proved {
    pub(super) prevouts: Vec<TxOut>,
    pub(super) paid_in: u64,
    pub(super) paid_out: u64,
    pub(super) ours: Vec<OurInput>,
    pub(super) change: Vec<(usize, Location)>,
}

/// Checks every rule of structure, amounts and ownership.
pub(super) fn prove(
    psbt: &Decoded<'_>,
    wallet: &WatchOnly,
    around: &Surroundings<'_>,
) -> Result<Proved, PsbtError> {
    check_structure(&psbt.transaction)?;
    check_global_keys(psbt, wallet)?;
    // The wallet has one script, so all inputs that we sign are of one kind.
    let prevouts = amounts::prevouts(psbt, wallet.is_taproot())?;
    let (paid_in, paid_out) = amounts::sums(&psbt.transaction, &prevouts)?;
    let repeated = work::repeated(psbt, wallet)?;
    let mut prover = Prover::new(wallet, around, &psbt.transaction, repeated);
    let ours = inputs_of_ours(psbt, &prevouts, &mut prover, wallet, around)?;
    if ours.is_empty() {
        return Err(hint::no_input_of_ours(psbt, wallet));
    }
    let change = outputs_of_ours(psbt, &mut prover)?;
    Ok(Proved { prevouts, paid_in, paid_out, ours, change })
}

/// Checks every input, and returns those proved ours. `sighash-type`, and the refusals of [`super::ownership`] and
/// [`super::partial`].
fn inputs_of_ours(
    psbt: &Decoded<'_>,
    prevouts: &[TxOut],
    prover: &mut Prover<'_>,
    wallet: &WatchOnly,
    around: &Surroundings<'_>,
) -> Result<Vec<OurInput>, PsbtError> {
    let mut verifier = partial::Verifier::new(&psbt.transaction, prevouts, around.secp);
    let mut ours = Vec::new();
    for (index, prevout) in prevouts.iter().enumerate() {
        let input = psbt.input(index)?;
        check_sighash_type(index, &input, prevout)?;
        let mut proved = prover.input(index, &input, prevout)?;
        verifier.check(index, &input, proved.as_ref())?;
        if let (Some(cosigner), Some(proved)) = (around.require_cosigner, &mut proved) {
            partial::require(cosigner, &input, proved, wallet)?;
        }
        ours.extend(proved);
    }
    Ok(ours)
}

/// Checks every output, and returns those proved ours, with their places. The refusals of [`super::ownership`].
fn outputs_of_ours(psbt: &Decoded<'_>, prover: &mut Prover<'_>) -> Result<Vec<(usize, Location)>, PsbtError> {
    let mut ours = Vec::new();
    for (index, paid) in psbt.transaction.output.iter().enumerate() {
        let place = prover.output(index, &psbt.output(index)?, &paid.script_pubkey)?;
        ours.extend(place.map(|place| (index, place)));
    }
    Ok(ours)
}

/// `sighash-type`: ALL; for taproot also DEFAULT (BIP 341, "Common signature message").
fn check_sighash_type(index: usize, input: &Input, prevout: &TxOut) -> Result<(), PsbtError> {
    let is_default = |asked: PsbtSighashType| asked.to_u32() == 0 && prevout.script_pubkey.is_p2tr();
    if input.sighash_type.is_none_or(|asked| asks_all(asked) || is_default(asked)) {
        return Ok(());
    }
    Err(refuse(Rule::SighashType, format!("input {index} asks for a signature that is not of type ALL")))
}

/// `no-input-of-ours`, `duplicate-input`, `no-outputs`, `op-return-value`.
fn check_structure(transaction: &Transaction) -> Result<(), PsbtError> {
    if transaction.input.is_empty() {
        return Err(refuse(Rule::NoInputOfOurs, "the transaction has no inputs"));
    }
    if transaction.output.is_empty() {
        return Err(refuse(Rule::NoOutputs, "the transaction has no outputs"));
    }
    let mut outpoints = HashSet::with_capacity(transaction.input.len());
    if let Some(input) = transaction.input.iter().find(|input| !outpoints.insert(input.previous_output)) {
        return Err(refuse(Rule::DuplicateInput, format!("{} is spent twice", input.previous_output)));
    }
    for (index, output) in transaction.output.iter().enumerate() {
        if output.script_pubkey.is_op_return() && output.value != Amount::ZERO {
            return Err(refuse(
                Rule::OpReturnValue,
                format!("output {index} burns its value in an OP_RETURN"),
            ));
        }
    }
    Ok(())
}

/// ALL, of whatever kind of script.
pub(super) fn asks_all(asked: PsbtSighashType) -> bool {
    asked.to_u32() == EcdsaSighashType::All.to_u32()
}

/// `network`: an extended key of our master with another network's version bytes.
fn check_global_keys(psbt: &Decoded<'_>, wallet: &WatchOnly) -> Result<(), PsbtError> {
    let foreign = psbt.xpubs.iter().any(|(xpub, (fingerprint, _))| {
        *fingerprint == wallet.master_fingerprint() && xpub.network != wallet.network().kind()
    });
    if foreign {
        return Err(refuse(Rule::Network, "an extended key of this wallet is written for another network"));
    }
    Ok(())
}
