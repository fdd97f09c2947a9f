//! The backend's watch-only wallet in Rust (`bitcoin`, `miniscript`): it makes payments and finalises them, and holds no key.
//!
//! It knows nothing of the wallet but the output descriptor, which anybody may read from the module.

use std::error::Error;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, consensus,
    transaction,
};
use miniscript::psbt::PsbtExt;
use miniscript::{Descriptor, DescriptorPublicKey};
use serde_json::{Value, json};

// All on regtest. A real backend takes these values from its own books and its own node.
const PAYEE: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const COIN: Amount = Amount::from_sat(100_000);
const PAID: Amount = Amount::from_sat(60_000);
const CHANGE: Amount = Amount::from_sat(39_500);

/// A PSBT (BIP 174) that spends the wallet's first coin: a payment, and change back to the wallet.
pub(crate) fn payment(descriptor: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let descriptor: Descriptor<DescriptorPublicKey> = descriptor.parse()?;
    let [receive, change] = &descriptor.into_single_descriptors()?[..] else {
        return Err("the descriptor has no receive and change branch".into());
    };
    let (received, change) = (receive.at_derivation_index(0)?, change.at_derivation_index(0)?);
    let funding = invented_coin(received.script_pubkey())?;
    let payee = PAYEE.parse::<Address<_>>()?.require_network(Network::Regtest)?;
    let mut psbt = Psbt::from_unsigned_tx(Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(funding.compute_txid(), 0),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            ..TxIn::default()
        }],
        output: vec![
            TxOut { value: PAID, script_pubkey: payee.script_pubkey() },
            TxOut { value: CHANGE, script_pubkey: change.script_pubkey() },
        ],
    })?;
    // The whole transaction that paid the coin: without it the amount is only a claim, and nothing is signed.
    psbt.inputs[0].witness_utxo = funding.output.first().cloned();
    psbt.inputs[0].non_witness_utxo = Some(funding);
    // Where each key comes from. Change without it counts as a payment to a stranger.
    psbt.update_input_with_descriptor(0, &received)?;
    psbt.update_output_with_descriptor(1, &change)?;
    Ok(psbt.serialize())
}

/// Invents a transaction that paid the wallet. A real backend asks its node for it.
fn invented_coin(script_pubkey: ScriptBuf) -> Result<Transaction, Box<dyn Error>> {
    let mut origin = [0; 32];
    getrandom::fill(&mut origin)?;
    let origin = OutPoint::new(Txid::from_byte_array(origin), 0);
    Ok(Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: origin, ..TxIn::default() }],
        output: vec![TxOut { value: COIN, script_pubkey }],
    })
}

/// The final transaction and the outputs that it spends, as `examples/verify_tx` reads them.
pub(crate) fn finalise(signed: &[u8]) -> Result<Value, Box<dyn Error>> {
    let secp = Secp256k1::verification_only();
    let mut psbt = Psbt::deserialize(signed)?;
    psbt.finalize_mut(&secp).map_err(|_| "signatures are missing")?;
    let transaction = psbt.extract(&secp)?;
    let prevouts: Vec<Value> = transaction
        .input
        .iter()
        .zip(psbt.iter_funding_utxos())
        .map(|(input, utxo)| {
            let (spent, utxo) = (input.previous_output, utxo?);
            Ok(json!({
                "txid": spent.txid.to_string(),
                "vout": spent.vout,
                "amount_sat": utxo.value.to_sat(),
                "script_pubkey": utxo.script_pubkey.to_hex_string(),
            }))
        })
        .collect::<Result<_, bitcoin::psbt::Error>>()?;
    Ok(json!({ "tx": consensus::encode::serialize_hex(&transaction), "prevouts": prevouts }))
}
