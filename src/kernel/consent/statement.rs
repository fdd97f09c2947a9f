//! The statement: a transaction in the boundary's own words, for one user to approve.
//!
//! ```text
//! countersign/approve/1
//! for "alice" 1618… on mainnet              who is asked: name and enrolment; the network
//! wallet "treasury" 3f9a…                   label and id
//! pay 0.50000000 BTC to bc1q…               one line for each output that leaves the wallet, in the transaction's order
//! pay 0.00000000 BTC to script 6a04…        where a script has no address, the script
//! fee 0.00002000 BTC
//! leaves 0.50002000 BTC                     what the limits count: payouts, fee, and all that is not proved to come back
//! tx 9f86…                                  id of the unsigned transaction
//! until 2026-11-29T12:05:00Z nonce 4711…    the nonce is the ticket
//! ```
//!
//! Invariants:
//! - N1. One statement has one text: [`Statement::parse`] accepts what [`Statement::print`] prints and nothing else, byte for byte.
//! - N2. A text is printable ASCII and newlines, without blanks at the end of a line. Names are in quotes, and any other character of a
//!   name is written by its number. So no name makes a line, turns the direction of writing, or looks like another name.
//! - N3. An amount has one spelling, in bitcoin with eight places. An address is printed as its network writes it.
//! - N4. Whatever is proved to be the wallet's and stays within its reach is left out. Everything else has a line, so that nothing
//!   can be paid that the text does not say.
//!
//! This format is read for ever. A format that says more will be `countersign/approve/2`.

use std::collections::HashSet;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, Amount, ScriptBuf, TxOut};
use data_encoding::HEXLOWER;

use crate::factor::TicketId;
use crate::name::{KeyId, UserId, check_label, check_user_name};
use crate::network::Network;
use crate::policy::Payment;
use crate::psbt::CheckedPsbt;
use crate::text::{Reader, from_hex, named, print_user, quote, user};
use crate::utc::{from_iso, to_iso};

/// The greatest length of a text: some 300 payees with addresses. Nobody reads more.
pub const MAX_STATEMENT_LEN: usize = 32 * 1_024;

const FIRST_LINE: &str = "countersign/approve/1";
const UNIT: &str = " BTC";
const PLACES: usize = 8;
/// An output whose script is empty. Anybody can spend it.
const EMPTY: &str = "none";

/// What one user is asked to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Who is asked.
    pub user: UserId,
    /// The network.
    pub network: Network,
    /// The wallet's label.
    pub label: String,
    /// The wallet's id, which never changes.
    pub wallet: KeyId,
    /// What leaves the wallet, in the order of the outputs.
    pub payouts: Vec<Payout>,
    /// Satoshi of fee.
    pub fee: u64,
    /// Satoshi that leave the wallet, fee included.
    pub leaves: u64,
    /// Id of the unsigned transaction, in display order.
    pub txid: [u8; 32],
    /// Unix time in seconds, after which it is void.
    pub expires: u64,
    /// The ticket.
    pub nonce: TicketId,
}

/// What one output pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Satoshi.
    pub amount: u64,
    /// The payee.
    pub script: ScriptBuf,
}

/// What a statement is about, besides the transaction.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The wallet's label.
    pub label: &'a str,
    /// The wallet's id.
    pub wallet: KeyId,
    /// The wallet's network.
    pub network: Network,
    /// The ticket.
    pub nonce: TicketId,
    /// Unix time in seconds, after which the statement is void.
    pub expires: u64,
}

impl Statement {
    /// States for `user` what a transaction does.
    pub fn of(transaction: &CheckedPsbt, subject: &Subject<'_>, user: UserId) -> Statement {
        Statement::of_payment(transaction, transaction.txid(), subject, user)
    }

    fn of_payment(payment: &impl Payment, txid: [u8; 32], subject: &Subject<'_>, user: UserId) -> Statement {
        let kept: HashSet<usize> = payment.our_reachable_outputs().collect();
        let leave = payment.outputs().iter().enumerate().filter(|(index, _)| !kept.contains(index));
        let payout =
            |output: &TxOut| Payout { amount: output.value.to_sat(), script: output.script_pubkey.clone() };
        let payouts = leave.map(|(_, output)| payout(output)).collect();
        let &Subject { label, wallet, network, nonce, expires } = subject;
        let (fee, leaves, label) = (payment.fee(), payment.leaves(), label.into());
        Statement { user, network, label, wallet, payouts, fee, leaves, txid, expires, nonce }
    }

    /// The text, or why there is none: the statement says something that cannot be, or too much.
    pub fn print(&self) -> Result<String, StatementError> {
        self.check()?;
        let Statement { user, network, label, wallet, payouts, fee, leaves, txid, expires, nonce } = self;
        let mut text = format!(
            "{FIRST_LINE}\nfor {} on {}\nwallet {} {}\n",
            print_user(user),
            network.name(),
            quote(label),
            HEXLOWER.encode(wallet)
        );
        for Payout { amount, script } in payouts {
            let payee = print_payee(script, *network);
            text.extend(["pay ", &print_amount(*amount), " to ", &payee, "\n"]);
        }
        text.extend(["fee ", &print_amount(*fee), "\nleaves ", &print_amount(*leaves), "\n"]);
        let (txid, nonce) = (HEXLOWER.encode(txid), HEXLOWER.encode(nonce));
        text.extend(["tx ", &txid, "\nuntil ", &to_iso(*expires), " nonce ", &nonce, "\n"]);
        if text.len() > MAX_STATEMENT_LEN { Err(StatementError::Length) } else { Ok(text) }
    }

    /// Reads what [`Self::print`] prints, and nothing else.
    pub fn parse(text: &str) -> Result<Statement, StatementError> {
        if text.len() > MAX_STATEMENT_LEN {
            return Err(StatementError::Length);
        }
        let statement = Statement::read(text).ok_or(StatementError::Form)?;
        if statement.print()? == text { Ok(statement) } else { Err(StatementError::Form) }
    }

    fn read(text: &str) -> Option<Statement> {
        let mut reader = Reader::new(text);
        reader.expect(FIRST_LINE)?;
        let (who, network) = reader.value("for")?.rsplit_once(" on ")?;
        let (user, network) = (user(who)?, network.parse().ok()?);
        let (label, wallet) = named(reader.value("wallet")?)?;
        let mut payouts = Vec::new();
        while reader.has("pay ") {
            let (amount, payee) = reader.value("pay")?.split_once(" to ")?;
            payouts.push(Payout { amount: read_amount(amount)?, script: read_payee(payee, network)? });
        }
        let fee = read_amount(reader.value("fee")?)?;
        let leaves = read_amount(reader.value("leaves")?)?;
        let txid = from_hex(reader.value("tx")?)?;
        let (expires, nonce) = reader.value("until")?.split_once(" nonce ")?;
        let (expires, nonce) = (from_iso(expires)?, from_hex(nonce)?);
        reader.end()?;
        Some(Statement { user, network, label, wallet, payouts, fee, leaves, txid, expires, nonce })
    }

    fn check(&self) -> Result<(), StatementError> {
        let Statement { user, label, payouts, fee, leaves, expires, .. } = self;
        if check_user_name(&user.name).is_err() || check_label(label).is_err() {
            return Err(StatementError::Says("a name that nobody can have"));
        }
        if from_iso(&to_iso(*expires)) != Some(*expires) {
            return Err(StatementError::Says("a time after the year 9999"));
        }
        let mut amounts = payouts.iter().map(|payment| payment.amount).chain([*fee, *leaves]);
        if amounts.any(|amount| amount > Amount::MAX_MONEY.to_sat()) {
            return Err(StatementError::Says("an amount of more than 21 million bitcoin"));
        }
        Ok(())
    }
}

/// `0.50000000 BTC`.
fn print_amount(satoshi: u64) -> String {
    print_bitcoin(satoshi) + UNIT
}

/// `0.50000000`.
pub(super) fn print_bitcoin(satoshi: u64) -> String {
    let one = Amount::ONE_BTC.to_sat();
    format!("{}.{:0PLACES$}", satoshi / one, satoshi % one)
}

/// Reads more ways to write an amount than there are: whoever calls this prints it again, and compares.
fn read_amount(text: &str) -> Option<u64> {
    let (whole, part) = text.strip_suffix(UNIT)?.split_once('.')?;
    let part: u64 = if part.len() == PLACES { part.parse().ok()? } else { return None };
    whole.parse::<u64>().ok()?.checked_mul(Amount::ONE_BTC.to_sat())?.checked_add(part)
}

pub(super) fn print_payee(script: &ScriptBuf, network: Network) -> String {
    match Address::from_script(script, network.addresses()) {
        Ok(address) => address.to_string(),
        Err(_) if script.is_empty() => format!("script {EMPTY}"),
        Err(_) => format!("script {}", HEXLOWER.encode(script.as_bytes())),
    }
}

/// Reads also the script of something that has an address, and every notation of an address. See [`read_amount`].
fn read_payee(text: &str, network: Network) -> Option<ScriptBuf> {
    match text.strip_prefix("script ") {
        Some(EMPTY) => Some(ScriptBuf::new()),
        Some(script) => HEXLOWER.decode(script.as_bytes()).ok().map(ScriptBuf::from),
        None => {
            let address: Address<NetworkUnchecked> = text.parse().ok()?;
            Some(address.require_network(network.addresses()).ok()?.script_pubkey())
        }
    }
}

/// Why a text is no statement, or a transaction has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Too long to be read by anybody.
    #[error(
        "the statement of this transaction has more than {MAX_STATEMENT_LEN} bytes: pay fewer outputs at once, or sign it with codes"
    )]
    Length,
    /// Not the one text that a statement has.
    #[error(
        "the text is not in the form of a statement: compare it with the one that the module shows, byte for byte"
    )]
    Form,
    /// It says something that cannot be.
    #[error("the statement says {0}")]
    Says(&'static str),
}

#[cfg(test)]
pub(super) mod tests;
