//! Verifies a finalised transaction with Bitcoin Core's consensus code (crate `bitcoinconsensus`).
//!
//! ```text
//! cargo run -p verify_tx -- FILE.json
//! ```
//!
//! The file holds the transaction and every output that it spends, in the order of its inputs:
//!
//! ```json
//! {"tx": "hex", "prevouts": [{"txid": "hex", "vout": 0, "amount_sat": 1, "script_pubkey": "hex"}]}
//! ```
//!
//! Prints `valid`, the transaction's id, its inputs and its fee; or says what is wrong and ends with status 1.

use std::process::ExitCode;

use bitcoin::{OutPoint, Transaction, Txid, consensus};
use bitcoinconsensus::Utxo;
use serde::Deserialize;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: verify_tx FILE.json");
        return ExitCode::from(2);
    };
    let outcome = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
        .and_then(|text| verify(&text));
    match outcome {
        Ok(valid) => {
            println!("valid: {} ({} inputs, fee {} sat)", valid.txid, valid.inputs, valid.fee_sat);
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("invalid: {what}");
            ExitCode::FAILURE
        }
    }
}

/// A transaction whose inputs have all verified.
#[derive(Debug)]
pub(crate) struct Valid {
    txid: Txid,
    inputs: usize,
    fee_sat: u64,
}

/// Verifies the script and witness of every input, under all consensus rules up to taproot (BIP 341), and the sums.
pub(crate) fn verify(text: &str) -> Result<Valid, String> {
    let spend: Spend =
        serde_json::from_str(text).map_err(|error| format!("not the expected JSON: {error}"))?;
    let raw = hex::decode(&spend.tx).map_err(|error| format!("tx is not hex: {error}"))?;
    let tx: Transaction =
        consensus::deserialize(&raw).map_err(|error| format!("tx is not a transaction: {error}"))?;
    if tx.input.len() != spend.prevouts.len() {
        return Err(format!("{} inputs, but {} prevouts", tx.input.len(), spend.prevouts.len()));
    }
    let scripts = spend
        .prevouts
        .iter()
        .map(|prevout| hex::decode(&prevout.script_pubkey).map_err(|error| format!("script_pubkey: {error}")))
        .collect::<Result<Vec<_>, _>>()?;
    let utxos = spend
        .prevouts
        .iter()
        .zip(&scripts)
        .map(|(prevout, script)| utxo(prevout, script))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, (prevout, script)) in spend.prevouts.iter().zip(&scripts).enumerate() {
        let spent = OutPoint { txid: prevout.txid, vout: prevout.vout };
        if tx.input[index].previous_output != spent {
            return Err(format!("input {index} spends {}, not {spent}", tx.input[index].previous_output));
        }
        bitcoinconsensus::verify(script, prevout.amount_sat, &raw, Some(&utxos), index)
            .map_err(|error| format!("input {index} does not verify: {error:?}"))?;
    }
    Ok(Valid { txid: tx.compute_txid(), inputs: tx.input.len(), fee_sat: fee(&tx, &spend.prevouts)? })
}

fn utxo(prevout: &Prevout, script: &[u8]) -> Result<Utxo, String> {
    Ok(Utxo {
        script_pubkey: script.as_ptr(),
        script_pubkey_len: u32::try_from(script.len())
            .map_err(|_| "a script_pubkey of over 4 GB".to_owned())?,
        value: i64::try_from(prevout.amount_sat).map_err(|_| "an amount out of range".to_owned())?,
    })
}

/// The sum of the inputs minus the sum of the outputs, which must not be negative.
fn fee(tx: &Transaction, prevouts: &[Prevout]) -> Result<u64, String> {
    let spent = sum(prevouts.iter().map(|prevout| prevout.amount_sat));
    let paid = sum(tx.output.iter().map(|output| output.value.to_sat()));
    match (spent, paid) {
        (Some(spent), Some(paid)) if paid <= spent => Ok(spent - paid),
        _ => Err("the outputs pay more than the inputs hold".to_owned()),
    }
}

fn sum(mut amounts: impl Iterator<Item = u64>) -> Option<u64> {
    amounts.try_fold(0, u64::checked_add)
}

#[derive(Deserialize)]
struct Spend {
    tx: String,
    prevouts: Vec<Prevout>,
}

#[derive(Deserialize)]
struct Prevout {
    #[serde(deserialize_with = "txid")]
    txid: Txid,
    vout: u32,
    amount_sat: u64,
    script_pubkey: String,
}

/// A transaction id in the usual order of display. `bitcoin` is built here without its `serde` feature.
fn txid<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Txid, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
