//! `countersign psbt show`: the signer's own checks, with the public side of the wallet that the module
//! shows.

use std::path::PathBuf;

use bitcoin::absolute::LockTime;
use bitcoin::bip32::Fingerprint;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Address, Script, Sequence, Transaction, TxIn, TxOut};
use clap::Args;
use countersign::kernel::network::Network;
use countersign::kernel::policy::Policy;
use countersign::kernel::psbt::{self, CheckedPsbt, Surroundings};
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::{Chain, Location};
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::module::Module;
use crate::next_step::next_step;
use crate::output::{Report, details, table};
use crate::secret::EitherPin;
use crate::wallet::{Watched, watched};
use crate::{Global, names, psbt_file};

/// Show a PSBT as the signer sees it.
///
/// It shows which inputs and outputs belong to the wallet, what leaves it, the fee, and what the signer would refuse. It needs no code and
/// spends none.
#[derive(Args)]
pub(crate) struct Show {
    /// The wallet that would sign
    #[arg(long, value_name = "LABEL", value_parser = names::wallet_label)]
    wallet: String,
    /// The PSBT; - is standard input
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    pin: EitherPin,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let (psbt, _) = psbt_file::read(Some(&self.input))?;
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let watched = watched(&session, &self.wallet)?;
        let policy = Policy::parse(&watched.policy, watched.watch.network()).map_err(|error| {
            CommandError::new(
                format!("the wallet's policy cannot be read: {error}"),
                "use the program that came with the module",
            )
        })?;
        // A cosigner wants to see what there is to sign before there is a signature.
        Ok(match check(&psbt, &watched, None) {
            // If it is no transaction, nothing can be shown.
            Err(refusal) if psbt::transaction_of(&psbt).is_err() => {
                let next = next_step(
                    refusal.rule(),
                    &format!("countersign wallet show {}", names::quoted(&self.wallet)),
                );
                return Err(CommandError::new(refusal.to_string(), next));
            }
            Err(refusal) => show_refused(&psbt, &watched, refusal),
            Ok(checked) => {
                let refused = match check(&psbt, &watched, policy.require_cosigner()) {
                    Err(refusal) => Some(Refused::Check(refusal)),
                    Ok(_) if watched.is_frozen => Some(Refused::Freeze),
                    Ok(checked) => policy.refusing_rule(&checked).map(Refused::Policy),
                };
                let hints = psbt::hints(&psbt, &watched.watch);
                show_checked(&checked, &watched, &policy, refused.as_ref(), &hints)
            }
        })
    }
}

fn check(
    psbt: &[u8],
    watched: &Watched,
    require_cosigner: Option<Fingerprint>,
) -> Result<CheckedPsbt, psbt::PsbtError> {
    let secp = Secp256k1::new();
    let around = Surroundings {
        reach: watched.reach,
        require_cosigner,
        is_sibling: &|fingerprint| watched.siblings.contains(fingerprint),
        secp: &secp,
    };
    CheckedPsbt::parse(psbt.to_vec(), &watched.watch, &around)
}

/// The refusal that the signer would give.
enum Refused {
    Check(psbt::PsbtError),
    Policy(Rule),
    Freeze,
}

impl Refused {
    fn to_text(&self) -> String {
        match self {
            Refused::Check(refusal) => format!("{refusal} (no code would be spent)"),
            Refused::Policy(rule) => {
                format!("{rule}: {} (the wallet's policy, and the code would be spent)", rule.sentence())
            }
            Refused::Freeze => {
                format!("{}: {} (no code would be looked at)", Rule::Frozen, Rule::Frozen.sentence())
            }
        }
    }

    /// What to do next, if a rule refuses.
    fn next(&self, wallet: &str) -> String {
        let rule = match self {
            Refused::Check(refusal) => refusal.rule(),
            Refused::Policy(rule) => *rule,
            Refused::Freeze => Rule::Frozen,
        };
        next_step(rule, &format!("countersign wallet show {}", names::quoted(wallet)))
    }

    fn to_json(&self, wallet: &str) -> Value {
        let next = self.next(wallet);
        match self {
            Refused::Check(reason) => json!({ "by": "check", "reason": reason.to_string(), "next": next }),
            Refused::Policy(rule) => {
                json!({ "by": "policy", "rule": rule.tag(), "sentence": rule.sentence(), "next": next })
            }
            Refused::Freeze => {
                let (rule, sentence) = (Rule::Frozen.tag(), Rule::Frozen.sentence());
                json!({ "by": "freeze", "rule": rule, "sentence": sentence, "next": next })
            }
        }
    }
}

/// One input or output, as a row.
struct Line {
    index: usize,
    /// Its place in the wallet, if that is proved; `None` if nothing at all is proved.
    whose: Option<Option<Location>>,
    value: Option<u64>,
    address: String,
    /// Set for an input.
    sequence: Option<Sequence>,
}

impl Line {
    fn new(index: usize, paid: &TxOut, whose: Option<Option<Location>>, network: Network) -> Line {
        Line {
            index,
            whose,
            value: Some(paid.value.to_sat()),
            address: address(&paid.script_pubkey, network),
            sequence: None,
        }
    }

    fn of_input(self, input: &TxIn) -> Line {
        Line { sequence: Some(input.sequence), ..self }
    }

    fn whose(&self) -> String {
        match &self.whose {
            None => "?".into(),
            Some(None) => "foreign".into(),
            Some(Some(Location { chain: Chain::External, index })) => format!("ours, external {index}"),
            Some(Some(Location { chain: Chain::Internal, index })) => format!("ours, internal {index}"),
        }
    }

    fn to_row(&self) -> Vec<String> {
        let value = self.value.map_or("?".into(), |value| value.to_string());
        let row = [self.index.to_string(), self.whose(), value, self.address.clone()];
        row.into_iter().chain(self.sequence.map(|sequence| format!("{:#010x}", sequence.0))).collect()
    }

    fn to_json(&self) -> Value {
        let location = self.whose.flatten().map(|location| {
            let chain = if location.chain == Chain::External { "external" } else { "internal" };
            json!({ "chain": chain, "index": location.index })
        });
        json!({
            "index": self.index,
            "ours": self.whose.map(|whose| whose.is_some()),
            "location": location,
            "value_sat": self.value,
            "address": self.address,
            "sequence": self.sequence.map(|sequence| sequence.0),
        })
    }
}

const OUTPUTS: &[&str] = &["#", "WHOSE", "SATOSHI", "ADDRESS"];
const INPUTS: &[&str] = &["#", "WHOSE", "SATOSHI", "ADDRESS", "SEQUENCE"];

/// The rules that also decide and do not depend on the PSBT alone.
fn judged_later(policy: &Policy) -> Vec<&'static str> {
    let rules = [
        (policy.has_time_windows(), Rule::TimeWindow),
        (policy.period().max_sat().is_some(), Rule::PeriodMax),
        (policy.period().max_transactions().is_some(), Rule::PeriodTransactions),
    ];
    rules.iter().filter(|(is_there, _)| *is_there).map(|(_, rule)| rule.tag()).collect()
}

fn show_checked(
    checked: &CheckedPsbt,
    watched: &Watched,
    policy: &Policy,
    refused: Option<&Refused>,
    hints: &[String],
) -> Report {
    let network = watched.watch.network();
    let our_inputs: Vec<_> = checked.our_inputs().collect();
    let located = |ours: &[(usize, Location)], index| {
        Some(ours.iter().find(|(there, _)| *there == index).map(|(_, location)| *location))
    };
    let inputs: Vec<Line> = (checked.prevouts().iter().enumerate())
        .map(|(index, spent)| {
            let line = Line::new(index, spent, located(&our_inputs, index), network);
            line.of_input(&checked.transaction().input[index])
        })
        .collect();
    let outputs: Vec<Line> = (checked.transaction().output.iter().enumerate())
        .map(|(index, paid)| Line::new(index, paid, located(checked.our_outputs(), index), network))
        .collect();
    let feerate = checked.fee() as f64 / checked.vsize() as f64;
    let all_ours = our_inputs.len() == inputs.len();
    let leaves = if all_ours && checked.moved_out_of_reach() > 0 {
        format!(
            "{} sat, fee included, and {} sat of change that are moved beyond the wallet's reach",
            checked.leaves(),
            checked.moved_out_of_reach()
        )
    } else if all_ours {
        format!("{} sat, fee included", checked.leaves())
    } else {
        format!("{} sat: everything, because an input is not proved to be the wallet's", checked.leaves())
    };
    let approvals = policy.required_approvals(checked.leaves());
    let later = judged_later(policy);
    let codes = if approvals == 1 {
        "a right code signs it".to_owned()
    } else {
        format!("right codes of {approvals} users sign it")
    };
    let verdict = match refused {
        Some(refused) => refused.to_text(),
        None if later.is_empty() => format!("nothing: {codes}"),
        None => format!("nothing in this PSBT: {codes}, unless {} refuses", later.join(" or ")),
    };
    let label = watched.watch.label();
    let mut rows = vec![
        ("wallet", label.to_owned()),
        ("unsigned txid", checked.transaction().compute_txid().to_string()),
        ("version", checked.transaction().version.to_string()),
        ("lock time", lock_time(checked.transaction())),
        ("leaves", leaves),
        ("fee", format!("{} sat, {feerate:.1} sat/vB of {} vB", checked.fee(), checked.vsize())),
        ("refused", verdict),
    ];
    rows.extend(refused.map(|refused| ("next", refused.next(label))));
    rows.extend(hints.iter().map(|hint| ("hint", hint.clone())));
    let text = format!(
        "{}\nInputs\n{}\nOutputs\n{}",
        details(&rows),
        table(INPUTS, &to_rows(&inputs)),
        table(OUTPUTS, &to_rows(&outputs)),
    );
    let json = json!({
        "wallet": watched.watch.label(),
        "unsigned_txid": checked.transaction().compute_txid().to_string(),
        "inputs": inputs.iter().map(Line::to_json).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(Line::to_json).collect::<Vec<_>>(),
        "leaves_sat": checked.leaves(),
        "moved_out_of_reach_sat": checked.moved_out_of_reach(),
        "fee_sat": checked.fee(),
        "version": checked.transaction().version.0,
        "lock_time": checked.transaction().lock_time.to_consensus_u32(),
        "vsize": checked.vsize(),
        "refused": refused.map(|refused| refused.to_json(label)),
        "hints": hints,
        "required_approvals": approvals,
        "judged_when_signing": later,
    });
    Report::new(text, json)
}

/// What can be said about a PSBT of which nothing is proved.
fn show_refused(psbt: &[u8], watched: &Watched, refusal: psbt::PsbtError) -> Report {
    let network = watched.watch.network();
    let transaction = psbt::transaction_of(psbt).ok();
    let is_message = matches!(refusal, psbt::PsbtError::Refused { rule: Rule::Message, .. });
    let message = psbt::message_of(psbt).filter(|_| is_message);
    let refused = Refused::Check(refusal);
    let label = watched.watch.label();
    let inputs: Vec<Line> = (transaction.iter().flat_map(|transaction| &transaction.input).enumerate())
        .map(|(index, input)| Line {
            index,
            whose: None,
            value: None,
            address: format!("spends {}", input.previous_output),
            sequence: Some(input.sequence),
        })
        .collect();
    let outputs: Vec<Line> = (transaction.iter().flat_map(|transaction| &transaction.output).enumerate())
        .map(|(index, paid)| Line::new(index, paid, None, network))
        .collect();
    let txid = transaction.as_ref().map(|transaction| transaction.compute_txid().to_string());
    let mut rows = vec![
        ("wallet", watched.watch.label().to_owned()),
        ("unsigned txid", txid.clone().unwrap_or_else(|| "none".into())),
        ("refused", refused.to_text()),
    ];
    rows.push(("next", refused.next(label)));
    if is_message {
        rows.insert(1, ("kind", "a message to be signed (BIP 322, BIP 127); it moves no coins".into()));
    }
    if let Some(message) = &message {
        rows.insert(2, ("message", names::printable(message)));
    }
    let mut text = details(&rows);
    if transaction.is_some() {
        text = format!(
            "{text}\nInputs\n{}\nOutputs\n{}",
            table(INPUTS, &to_rows(&inputs)),
            table(OUTPUTS, &to_rows(&outputs))
        );
    }
    let json = json!({
        "wallet": watched.watch.label(),
        "unsigned_txid": txid,
        "inputs": inputs.iter().map(Line::to_json).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(Line::to_json).collect::<Vec<_>>(),
        "is_message": is_message,
        "message": message,
        "refused": refused.to_json(label),
    });
    Report::new(text, json)
}

fn to_rows(lines: &[Line]) -> Vec<Vec<String>> {
    lines.iter().map(Line::to_row).collect()
}

/// The lock time: when the transaction can be mined (BIP 65).
fn lock_time(transaction: &Transaction) -> String {
    let is_final = transaction.input.iter().all(|input| input.sequence.is_final());
    match transaction.lock_time {
        LockTime::Blocks(height) if height.to_consensus_u32() == 0 => "none".into(),
        _ if is_final => "none: every sequence is final".into(),
        LockTime::Blocks(height) => format!("above block {height}"),
        LockTime::Seconds(time) => format!("after {time} (Unix time)"),
    }
}

/// The address of a script, or the script itself if it has none.
fn address(script: &Script, network: Network) -> String {
    match Address::from_script(script, network.addresses()) {
        Ok(address) => address.to_string(),
        // The data with its pushes: nobody can be paid by it.
        Err(_) if script.is_op_return() => format!("OP_RETURN {}", data_of(script)),
        Err(_) => format!("script {}", script.to_hex_string()),
    }
}

/// The data after OP_RETURN.
fn data_of(script: &Script) -> String {
    script.as_bytes().iter().skip(1).map(|byte| format!("{byte:02x}")).collect()
}
