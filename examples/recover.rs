//! Spends a wallet's coins when Countersign is gone, with the backups that the user still has.
//!
//! ```text
//! cargo run --example recover -- --descriptor-file wallet.txt --coins coins.txt --to ADDRESS --fee SAT \
//!     --key-file backup.txt [--key-file …] --out final.json
//! ```
//!
//! It needs nothing from Countersign but the descriptor that `countersign wallet show` prints, and uses standard libraries.
//!
//! - `--descriptor-file`: the wallet's descriptor, kept with the backup.
//! - `--coins`: the transactions that paid the wallet, in hex, one a line, as any node or block explorer gives them.
//! - `--key-file`: a backup: the words of BIP 39 (without a passphrase), or the master key of BIP 32 (xprv, tprv). Mode
//!   600; never an argument. Without a file, the program asks for the backup.
//!
//! It first tries to spend at once, which two keys of three can do. Then it tries the timelocks of the descriptor, the shortest
//! first: one key alone can spend once the coins are old enough. The result is final: `examples/verify_tx` can check it, and any
//! node can broadcast it.

use core::str::FromStr;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bip39::Mnemonic;
use bitcoin::absolute::LockTime;
use bitcoin::address::NetworkUnchecked;
use bitcoin::bip32::Xpriv;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{
    Address, Amount, Network, NetworkKind, OutPoint, Script, Sequence, Transaction, TxIn, TxOut, Txid,
    consensus, transaction,
};
use clap::Parser;
use miniscript::policy::Liftable;
use miniscript::psbt::PsbtExt;
use miniscript::{DefiniteDescriptorKey, Descriptor, DescriptorPublicKey, ForEachKey};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Spends a wallet's coins with the backups that are left, without Countersign")]
struct Arguments {
    /// The wallet's descriptor, as `countersign wallet show` prints it
    #[arg(long, value_name = "FILE")]
    descriptor_file: PathBuf,
    /// The transactions that paid the wallet: hex, one a line
    #[arg(long, value_name = "FILE")]
    coins: PathBuf,
    /// A backup: words (BIP 39) or a master key (BIP 32). Repeat it for a multisig. Without one, the program asks
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
    /// Where all the coins go
    #[arg(long, value_name = "ADDRESS")]
    to: Address<NetworkUnchecked>,
    /// The fee in satoshi
    #[arg(long, value_name = "SAT")]
    fee: u64,
    /// How many addresses of each chain to search for coins
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    lookahead: u32,
    /// Where to write the final transaction and the outputs that it spends (JSON)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[allow(dead_code, reason = "the tests call what it calls")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(given: &Arguments) -> Result<(), Box<dyn Error>> {
    let descriptor = Descriptor::from_str(read(&given.descriptor_file)?.trim())?;
    let network = network_of(&descriptor);
    let keys = backups(&given.key_file)?
        .iter()
        .map(|backup| master_key(backup, network))
        .collect::<Result<Vec<_>, _>>()?;
    let to = checked(given.to.clone(), network)?;
    let previous = read(&given.coins)?
        .split_whitespace()
        .map(|line| Ok(consensus::encode::deserialize_hex(line)?))
        .collect::<Result<Vec<Transaction>, Box<dyn Error>>>()?;
    let coins = find_coins(&descriptor, &previous, given.lookahead)?;
    println!("{} coins, {} sat together", coins.len(), total(&coins).to_sat());

    let recovered = recover(&coins, &keys, to.script_pubkey().as_script(), Amount::from_sat(given.fee))?;
    println!("{}", recovered.when());
    fs::write(&given.out, recovered.to_json(&coins).to_string())?;
    println!("final, in {}: {}", given.out.display(), recovered.transaction.compute_txid());
    Ok(())
}

/// Refuses an address of another network than the wallet's. Coins sent to it would not be lost, but no wallet would look there.
fn checked(address: Address<NetworkUnchecked>, kind: NetworkKind) -> Result<Address, String> {
    let networks = [Network::Bitcoin, Network::Testnet, Network::Signet, Network::Regtest];
    if networks
        .into_iter()
        .any(|network| NetworkKind::from(network) == kind && address.is_valid_for_network(network))
    {
        return Ok(address.assume_checked());
    }
    Err("the address of --to is for another network than the wallet".into())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The backups in these files, or the one typed at the prompt.
fn backups(files: &[PathBuf]) -> Result<Vec<String>, Box<dyn Error>> {
    if files.is_empty() {
        return Ok(vec![rpassword::prompt_password("words or master key of the backup: ")?]);
    }
    Ok(files.iter().map(|path| read(path)).collect::<Result<_, _>>()?)
}

/// The kind of network that a descriptor's extended keys are written for.
pub(crate) fn network_of(descriptor: &Descriptor<DescriptorPublicKey>) -> NetworkKind {
    let mut kind = NetworkKind::Main;
    descriptor.for_each_key(|key| {
        if let DescriptorPublicKey::XPub(xpub) = key {
            kind = xpub.xkey.network;
        } else if let DescriptorPublicKey::MultiXPub(xpub) = key {
            kind = xpub.xkey.network;
        }
        true
    });
    kind
}

/// The master key (BIP 32) of a backup.
pub(crate) fn master_key(backup: &str, network: NetworkKind) -> Result<Xpriv, Box<dyn Error>> {
    if let Ok(key) = Xpriv::from_str(backup.trim()) {
        return Ok(key);
    }
    // The error gives the position of the wrong word, and no word.
    let words =
        Mnemonic::parse(backup.trim()).map_err(|error| format!("neither words nor a key: {error}"))?;
    Ok(Xpriv::new_master(network, &words.to_seed(""))?)
}

/// An output that pays an address of the wallet.
pub(crate) struct Coin {
    descriptor: Descriptor<DefiniteDescriptorKey>,
    previous: Transaction,
    outpoint: OutPoint,
}

impl Coin {
    pub(crate) fn output(&self) -> &TxOut {
        &self.previous.output[self.outpoint.vout as usize]
    }
}

fn total(coins: &[Coin]) -> Amount {
    coins.iter().map(|coin| coin.output().value).sum()
}

/// The outputs of these transactions that pay an address of the wallet. A transaction without such an output is an error.
pub(crate) fn find_coins(
    descriptor: &Descriptor<DescriptorPublicKey>,
    previous: &[Transaction],
    lookahead: u32,
) -> Result<Vec<Coin>, Box<dyn Error>> {
    let previous: BTreeMap<Txid, &Transaction> =
        previous.iter().map(|transaction| (transaction.compute_txid(), transaction)).collect();
    let secp = Secp256k1::verification_only();
    let mut coins = Vec::new();
    for chain in descriptor.clone().into_single_descriptors()? {
        for index in 0..lookahead {
            let address = chain.at_derivation_index(index)?;
            let script = address.derived_descriptor(&secp).script_pubkey();
            for (txid, transaction) in &previous {
                for (vout, _) in
                    transaction.output.iter().enumerate().filter(|(_, out)| out.script_pubkey == script)
                {
                    let outpoint = OutPoint::new(*txid, u32::try_from(vout)?);
                    coins.push(Coin {
                        descriptor: address.clone(),
                        previous: (*transaction).clone(),
                        outpoint,
                    });
                }
            }
        }
    }
    let unpaid = previous.keys().find(|txid| coins.iter().all(|coin: &Coin| coin.outpoint.txid != **txid));
    match unpaid {
        Some(txid) => Err(format!(
            "no output of {txid} pays one of the first {lookahead} addresses of the wallet; search more with --lookahead"
        )
        .into()),
        None if coins.is_empty() => Err("the file of --coins has no transactions".into()),
        None => Ok(coins),
    }
}

/// A final transaction, and when it can be broadcast.
pub(crate) struct Recovered {
    pub(crate) transaction: Transaction,
    pub(crate) wait: Wait,
}

/// The timelocks of one way to spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Each coin must have this age (BIP 68).
    pub(crate) older: Option<u32>,
    /// The height or time that must be reached (BIP 65).
    pub(crate) after: Option<u32>,
}

impl Recovered {
    fn when(&self) -> String {
        let older = self
            .wait
            .older
            .map(|age| format!("the coins have an age of {age} (BIP 68: in blocks if below 65,536)"));
        let after = self
            .wait
            .after
            .map(|time| format!("the time is {time} (a height if below 500,000,000, otherwise a Unix time)"));
        let waits: Vec<String> = older.into_iter().chain(after).collect();
        if waits.is_empty() {
            return "it can be broadcast at once".into();
        }
        format!("it can be broadcast once {}", waits.join(" and "))
    }

    pub(crate) fn to_json(&self, coins: &[Coin]) -> serde_json::Value {
        let prevouts: Vec<_> = coins
            .iter()
            .map(|coin| {
                let output = coin.output();
                json!({
                    "txid": coin.outpoint.txid.to_string(), "vout": coin.outpoint.vout,
                    "amount_sat": output.value.to_sat(), "script_pubkey": output.script_pubkey.to_hex_string(),
                })
            })
            .collect();
        json!({ "tx": consensus::encode::serialize_hex(&self.transaction), "prevouts": prevouts })
    }
}

/// Spends all `coins` to one script, in the first way that these keys allow.
pub(crate) fn recover(
    coins: &[Coin],
    keys: &[Xpriv],
    to: &Script,
    fee: Amount,
) -> Result<Recovered, Box<dyn Error>> {
    let value = total(coins).checked_sub(fee).filter(|left| *left > Amount::ZERO);
    let value = value.ok_or("the fee is more than the coins are worth")?;
    let output = TxOut { value, script_pubkey: to.to_owned() };
    let policy = coins.first().ok_or("no coins")?.descriptor.lift()?;
    let none = [None].into_iter();
    let afters: Vec<Option<u32>> =
        none.clone().chain(policy.absolute_timelocks().into_iter().map(Some)).collect();
    let olders: Vec<Option<u32>> = none.chain(policy.relative_timelocks().into_iter().map(Some)).collect();
    let secp = Secp256k1::new();
    for after in afters {
        for older in &olders {
            let wait = Wait { older: *older, after };
            if let Some(transaction) = spend(coins, keys, &output, wait, &secp)? {
                return Ok(Recovered { transaction, wait });
            }
        }
    }
    Err("these keys alone can never spend the coins; add another backup (--key-file)".into())
}

/// The final transaction, if the keys suffice for this way.
fn spend(
    coins: &[Coin],
    keys: &[Xpriv],
    output: &TxOut,
    wait: Wait,
    secp: &Secp256k1<All>,
) -> Result<Option<Transaction>, Box<dyn Error>> {
    // Any sequence but the final one lets the lock time count, and the transaction be replaced (BIP 125).
    let sequence = wait.older.map_or(Sequence::ENABLE_RBF_NO_LOCKTIME, Sequence::from_consensus);
    let lock_time = wait.after.map_or(LockTime::ZERO, LockTime::from_consensus);
    let input = |coin: &Coin| TxIn { previous_output: coin.outpoint, sequence, ..TxIn::default() };
    let mut psbt = Psbt::from_unsigned_tx(Transaction {
        version: transaction::Version::TWO,
        lock_time,
        input: coins.iter().map(input).collect(),
        output: vec![output.clone()],
    })?;
    for (index, coin) in coins.iter().enumerate() {
        if coin.descriptor.desc_type().segwit_version().is_some() {
            psbt.inputs[index].witness_utxo = Some(coin.output().clone());
        }
        psbt.inputs[index].non_witness_utxo = Some(coin.previous.clone());
        psbt.update_input_with_descriptor(index, &coin.descriptor)?;
    }
    for key in keys {
        // A key need not have a part in every input, so an error here means nothing. Finalising finds missing signatures.
        let _ = psbt.sign(key, secp);
    }
    if psbt.finalize_mut(secp).is_err() {
        return Ok(None);
    }
    Ok(Some(psbt.extract(secp)?))
}
