//! A PSBT (BIP 174) that may be signed: [`CheckedPsbt`] exists only where every rule of structure, amount and
//! ownership holds.
//!
//! Invariants:
//! - P1. Every amount is proved: by the previous transaction whose txid the prevout names (BIP 143 alone would let a
//!   liar split the fee over two signings, CVE-2020-14199), or by the sighash itself where all inputs are taproot.
//! - P2. "Ours" is proved by deriving the key and rebuilding the scriptPubKey; a claim in the PSBT proves nothing.
//! - P3. While any input is not proved ours, everything that goes in counts as leaving, and nothing as coming back.
//!   Otherwise a transaction could be countersigned input by input, the others hidden each time, under a limit for one.
//! - P4. No sum wraps: every amount is at most 21 million bitcoin, every sum is checked.

mod partial;
mod survey;

use std::collections::HashSet;

use bitcoin::bip32::Fingerprint;
use bitcoin::psbt::{Input, Output, Psbt};
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::sighash::EcdsaSighashType;
use bitcoin::{Amount, ScriptBuf, Transaction, TxOut};

use super::rule::Rule;
use super::state::Reach;
use super::wallet::{Elsewhere, Location, Wallet, script_pubkey};
pub use survey::{MAX_PSBT_LEN, Survey};

/// Weight units of our witness: stack count, low-R signature with its type (1 + 71), key (1 + 33) (BIP 141, 143).
const OUR_WITNESS_WEIGHT: u64 = 107;
/// Weight units of the marker and flag of a transaction with witnesses (BIP 141).
const SEGWIT_MARKER_WEIGHT: u64 = 2;

/// A PSBT that breaks no rule, with what it means for the wallet.
pub struct CheckedPsbt {
    psbt: Psbt,
    wallet: String,
    ours: Vec<OurInput>,
    leaves: u64,
    fee: u64,
    vsize: u64,
    reach: Reach,
}

/// An input proved ours.
pub(in crate::kernel) struct OurInput {
    pub(in crate::kernel) index: usize,
    pub(in crate::kernel) location: Location,
    pub(in crate::kernel) key: bitcoin::secp256k1::PublicKey,
    pub(in crate::kernel) prevout: TxOut,
}

/// What the check knows of the token the wallet is in.
pub struct Surroundings<'a> {
    /// How far the wallet's addresses have been used.
    pub reach: Reach,
    /// Whether a master fingerprint is that of another wallet of this token.
    pub is_sibling: &'a dyn Fn(&Fingerprint) -> bool,
    /// The curve.
    pub secp: &'a Secp256k1<All>,
}

impl CheckedPsbt {
    /// Parses and checks `bytes` for `wallet`.
    pub fn parse(bytes: &[u8], wallet: &Wallet, around: &Surroundings<'_>) -> Result<CheckedPsbt, PsbtError> {
        let survey = Survey::take(bytes)?;
        let psbt = Psbt::deserialize(bytes).map_err(|error| PsbtError::NotPsbt(error.to_string()))?;
        if survey.maps != psbt.inputs.len() + psbt.outputs.len() {
            return Err(PsbtError::NotPsbt("there are bytes behind the last map".into()));
        }
        check_structure(&psbt)?;
        check_global_keys(&psbt, wallet)?;
        let prevouts = prevouts(&psbt)?;
        let (paid_in, paid_out) = sums(&psbt, &prevouts)?;
        let ours = our_inputs(&psbt, &prevouts, wallet, around)?;
        let change = our_outputs(&psbt, wallet, around)?;
        partial::check(&psbt, &prevouts, around.secp)?;

        let all_ours = ours.len() == psbt.inputs.len();
        let back: u64 = change.iter().map(|(index, _)| psbt.unsigned_tx.output[*index].value.to_sat()).sum();
        let leaves = if all_ours { paid_in.checked_sub(back) } else { Some(paid_in) };
        let reach = ours
            .iter()
            .map(|input| input.location)
            .chain(change.iter().map(|(_, location)| *location))
            // Held against the reach before: one transaction takes it one gap further at the most.
            .filter(|location| around.reach.covers(*location))
            .fold(around.reach, Reach::extended);
        Ok(CheckedPsbt {
            wallet: wallet.label().into(),
            leaves: leaves.ok_or_else(|| refuse(Rule::AmountRange, "more comes back than goes in"))?,
            fee: paid_in - paid_out,
            vsize: vsize(&psbt, &ours),
            ours,
            reach,
            psbt,
        })
    }

    /// Satoshi that leave the wallet: inputs less outputs proved ours, where all inputs are proved ours; else all inputs.
    /// The fee counts.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Satoshi of fee.
    pub fn fee(&self) -> u64 {
        self.fee
    }

    /// Virtual bytes of the signed transaction (BIP 141), as far as they are known: witnesses of others count as empty.
    pub fn vsize(&self) -> u64 {
        self.vsize
    }

    /// The unsigned transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.psbt.unsigned_tx
    }

    /// Label of the wallet it was checked for.
    pub fn wallet(&self) -> &str {
        &self.wallet
    }

    /// The wallet's reach after this transaction.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    pub(in crate::kernel) fn into_parts(self) -> (Psbt, Vec<OurInput>) {
        (self.psbt, self.ours)
    }
}

/// Why bytes are not signed. The texts hold no amounts, keys or addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PsbtError {
    /// No PSBT of version 0.
    #[error("not a PSBT: {0}")]
    NotPsbt(String),
    /// Over a bound.
    #[error("oversize: {0}")]
    Oversize(String),
    /// A rule refuses.
    #[error("{rule}: {detail}")]
    Refused {
        /// The rule.
        rule: Rule,
        /// What broke it, and what to do.
        detail: String,
    },
}

fn refuse(rule: Rule, detail: impl Into<String>) -> PsbtError {
    PsbtError::Refused { rule, detail: detail.into() }
}

/// `duplicate-input`, `no-outputs`, `sighash-type`, `op-return-value`.
fn check_structure(psbt: &Psbt) -> Result<(), PsbtError> {
    let transaction = &psbt.unsigned_tx;
    if transaction.output.is_empty() {
        return Err(refuse(Rule::NoOutputs, "the transaction has no outputs"));
    }
    let mut outpoints = HashSet::with_capacity(transaction.input.len());
    if let Some(input) = transaction.input.iter().find(|input| !outpoints.insert(input.previous_output)) {
        return Err(refuse(Rule::DuplicateInput, format!("{} is spent twice", input.previous_output)));
    }
    for (index, input) in psbt.inputs.iter().enumerate() {
        if input.sighash_type.is_some_and(|asked| !is_all(asked.to_u32(), input)) {
            return Err(refuse(
                Rule::SighashType,
                format!("input {index} asks for a signature that is not of type ALL"),
            ));
        }
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

/// ALL; for taproot also DEFAULT (BIP 341, "Common signature message").
fn is_all(sighash_type: u32, input: &Input) -> bool {
    let taproot = input.witness_utxo.as_ref().is_some_and(|utxo| utxo.script_pubkey.is_p2tr());
    sighash_type == EcdsaSighashType::All.to_u32() || (taproot && sighash_type == 0)
}

/// `network`: an extended key of our master under another network's version bytes.
fn check_global_keys(psbt: &Psbt, wallet: &Wallet) -> Result<(), PsbtError> {
    let foreign = psbt.xpub.iter().any(|(xpub, (fingerprint, _))| {
        *fingerprint == wallet.master_fingerprint() && xpub.network != wallet.network().kind()
    });
    if foreign {
        return Err(refuse(Rule::Network, "an extended key of this wallet is written for another network"));
    }
    Ok(())
}

/// The outputs that the inputs spend. `utxo-missing`, `utxo-txid`, `utxo-vout`, `utxo-disagree`.
fn prevouts(psbt: &Psbt) -> Result<Vec<TxOut>, PsbtError> {
    let is_taproot =
        |input: &Input| input.witness_utxo.as_ref().is_some_and(|utxo| utxo.script_pubkey.is_p2tr());
    // Only where every input is taproot does every sighash cover all amounts and scripts (BIP 341).
    let all_taproot = psbt.inputs.iter().all(is_taproot);
    psbt.inputs
        .iter()
        .zip(&psbt.unsigned_tx.input)
        .enumerate()
        .map(|(index, (input, spent))| match (&input.non_witness_utxo, &input.witness_utxo) {
            (Some(previous), witness_utxo) => {
                if previous.compute_txid() != spent.previous_output.txid {
                    return Err(refuse(
                        Rule::UtxoTxid,
                        format!("the previous transaction of input {index} is another one"),
                    ));
                }
                let prevout = usize::try_from(spent.previous_output.vout)
                    .ok()
                    .and_then(|vout| previous.output.get(vout))
                    .ok_or_else(|| {
                        refuse(Rule::UtxoVout, format!("input {index} spends an output that does not exist"))
                    })?;
                if witness_utxo.as_ref().is_some_and(|utxo| utxo != prevout) {
                    return Err(refuse(
                        Rule::UtxoDisagree,
                        format!("witness_utxo of input {index} differs from the previous transaction"),
                    ));
                }
                Ok(prevout.clone())
            }
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

/// What is paid in and out, in satoshi. `amount-range`.
fn sums(psbt: &Psbt, prevouts: &[TxOut]) -> Result<(u64, u64), PsbtError> {
    let sum = |outputs: &[TxOut]| {
        outputs
            .iter()
            .try_fold(0u64, |sum, output| {
                sum.checked_add(output.value.to_sat()).filter(|_| in_range(output.value))
            })
            .filter(|sum| in_range(Amount::from_sat(*sum)))
            .ok_or_else(|| refuse(Rule::AmountRange, "an amount or a sum is over 21 million bitcoin"))
    };
    let (paid_in, paid_out) = (sum(prevouts)?, sum(&psbt.unsigned_tx.output)?);
    if paid_out > paid_in {
        return Err(refuse(Rule::AmountRange, "the outputs are worth more than the inputs"));
    }
    Ok((paid_in, paid_out))
}

fn in_range(amount: Amount) -> bool {
    amount <= Amount::MAX_MONEY
}

/// The inputs proved ours. `mixed-wallets`, `network`, `derived-key`, `script-mismatch`, `already-final`,
/// `no-input-of-ours`.
fn our_inputs(
    psbt: &Psbt,
    prevouts: &[TxOut],
    wallet: &Wallet,
    around: &Surroundings<'_>,
) -> Result<Vec<OurInput>, PsbtError> {
    let mut ours = Vec::new();
    for (index, (input, prevout)) in psbt.inputs.iter().zip(prevouts).enumerate() {
        check_scripts("input", index, &input.redeem_script, &input.witness_script, &prevout.script_pubkey)?;
        for (key, (fingerprint, path)) in &input.bip32_derivation {
            if (around.is_sibling)(fingerprint) {
                return Err(refuse(
                    Rule::MixedWallets,
                    format!("input {index} is of another wallet of this token"),
                ));
            }
            if *fingerprint != wallet.master_fingerprint() {
                continue;
            }
            let location = wallet.locate(path.as_ref()).map_err(|elsewhere| match elsewhere {
                Elsewhere::Network => {
                    refuse(Rule::Network, format!("input {index} has another network's coin type"))
                }
                Elsewhere::Path => {
                    refuse(Rule::MixedWallets, format!("input {index} is on no path of this wallet"))
                }
            })?;
            if derive(wallet, location, around)? != *key {
                return Err(refuse(
                    Rule::DerivedKey,
                    format!("the path of input {index} derives another key"),
                ));
            }
            if script_pubkey(key) != prevout.script_pubkey {
                return Err(refuse(
                    Rule::ScriptMismatch,
                    format!("the output that input {index} spends is not of its key"),
                ));
            }
            if input.final_script_sig.is_some() || input.final_script_witness.is_some() {
                return Err(refuse(Rule::AlreadyFinal, format!("input {index} is already finalised")));
            }
            // One key and one script: a second proof of the same input cannot exist.
            ours.push(OurInput { index, location, key: *key, prevout: prevout.clone() });
        }
    }
    if ours.is_empty() {
        return Err(refuse(
            Rule::NoInputOfOurs,
            "no input is proved to be this wallet's: have the wallet add its bip32_derivation",
        ));
    }
    Ok(ours)
}

/// The outputs proved ours, with their place. `change-path`, `network`. An output that claims our key and is not paid to
/// it (`change-fraud`) is not ours: it counts as spent.
fn our_outputs(
    psbt: &Psbt,
    wallet: &Wallet,
    around: &Surroundings<'_>,
) -> Result<Vec<(usize, Location)>, PsbtError> {
    let mut ours = Vec::new();
    for (index, (output, paid)) in psbt.outputs.iter().zip(&psbt.unsigned_tx.output).enumerate() {
        let Output { redeem_script, witness_script, bip32_derivation, .. } = output;
        check_scripts("output", index, redeem_script, witness_script, &paid.script_pubkey)?;
        for (key, (fingerprint, path)) in bip32_derivation {
            if *fingerprint != wallet.master_fingerprint() {
                continue;
            }
            let location = wallet.locate(path.as_ref()).map_err(|elsewhere| match elsewhere {
                Elsewhere::Network => {
                    refuse(Rule::Network, format!("output {index} has another network's coin type"))
                }
                Elsewhere::Path => {
                    refuse(Rule::ChangePath, format!("output {index} is on no path of this wallet"))
                }
            })?;
            if !around.reach.covers(location) {
                return Err(refuse(
                    Rule::ChangePath,
                    format!("output {index} has an index so far ahead that no wallet would find it"),
                ));
            }
            // The script first: it fits one key at most, so that no list of claims, however long, costs a list of
            // derivations.
            if script_pubkey(key) == paid.script_pubkey && derive(wallet, location, around)? == *key {
                ours.push((index, location));
            }
        }
    }
    Ok(ours)
}

/// `script-mismatch`: a redeem script that does not hash to its P2SH, a witness script that does not hash to its P2WSH.
fn check_scripts(
    side: &str,
    index: usize,
    redeem_script: &Option<ScriptBuf>,
    witness_script: &Option<ScriptBuf>,
    script_pubkey: &ScriptBuf,
) -> Result<(), PsbtError> {
    let redeem_fits = redeem_script.as_ref().is_none_or(|script| script.to_p2sh() == *script_pubkey);
    let program = redeem_script.as_ref().unwrap_or(script_pubkey);
    let witness_fits = witness_script.as_ref().is_none_or(|script| script.to_p2wsh() == *program);
    if redeem_fits && witness_fits {
        return Ok(());
    }
    Err(refuse(Rule::ScriptMismatch, format!("a script of {side} {index} does not hash to its program")))
}

fn derive(
    wallet: &Wallet,
    location: Location,
    around: &Surroundings<'_>,
) -> Result<bitcoin::secp256k1::PublicKey, PsbtError> {
    wallet.public_key(location, around.secp).map_err(|error| refuse(Rule::DerivedKey, error.to_string()))
}

fn vsize(psbt: &Psbt, ours: &[OurInput]) -> u64 {
    let mut weight = psbt.unsigned_tx.weight().to_wu() + SEGWIT_MARKER_WEIGHT;
    // Every input has a witness, at least its empty stack.
    weight += (psbt.inputs.len() - ours.len()) as u64 + ours.len() as u64 * OUR_WITNESS_WEIGHT;
    weight.div_ceil(4)
}
