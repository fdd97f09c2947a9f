//! The device text: a statement in one line, for the screen of a hardware wallet, whose user signs it as a message.
//!
//! ```text
//! approve: pay 0.50000000 to bc1q… fee 0.00002000 leaves 0.50002000 BTC until 2026-11-29T12:05:00Z from "treasury" 5d1c…
//! ```
//!
//! It says who is paid and how much, what leaves the wallet, until when it can be signed, and from which wallet. On any other network
//! than mainnet, its name follows the label. The last word is the digest of what is approved or refused. It binds what
//! the line leaves out: the store, the user and the enrolment, the transaction and the coins that it spends, the wallet's id, the ticket.
//!
//! Invariants:
//! - D1. The line is printable ASCII, has at most [`MAX_DEVICE_TEXT_LEN`] characters, and never two blanks in a row or one at an end.
//!   Coldcard's firmware signs nothing else; other devices show such a line as it is.
//! - D2. Nothing is shortened. A transaction whose line would be longer has none.
//! - D3. Only the label is anybody's choice. It comes after everything else that is read, in the only two quotation marks of the line, and
//!   a quotation mark of its own is written by its number.
//! - D4. Each word for each user, proposal and store has a line of its own, because it has a digest of its own.

use data_encoding::HEXLOWER;

use super::Word;
use super::digest::ConsentDigest;
use super::pending::ConsentError;
use super::statement::{Payout, Statement, print_bitcoin, print_payee};
use crate::network::Network;
use crate::utc::to_iso;

/// The most characters of a device text: as many as the strictest device signs.
pub const MAX_DEVICE_TEXT_LEN: usize = 240;

/// What a user's device shows and signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceText(String);

impl DeviceText {
    /// The line by which the user of a statement that has this digest gives their word.
    pub(super) fn new(
        word: Word,
        statement: &Statement,
        digest: ConsentDigest,
    ) -> Result<DeviceText, DeviceTextError> {
        let Statement { network, label, payouts, fee, leaves, expires, .. } = statement;
        let mut text = match word {
            Word::Approve => String::from("approve: "),
            Word::Refuse => String::from("refuse: "),
        };
        for Payout { amount, script } in payouts {
            text.extend(["pay ", &print_bitcoin(*amount), " to ", &print_payee(script, *network), " "]);
        }
        let (fee, leaves, until) = (print_bitcoin(*fee), print_bitcoin(*leaves), to_iso(*expires));
        text.extend([
            "fee ",
            &fee,
            " leaves ",
            &leaves,
            " BTC until ",
            &until,
            " from ",
            &print_label(label),
        ]);
        if *network != Network::Mainnet {
            text.extend([" on ", network.name()]);
        }
        text.extend([" ", &HEXLOWER.encode(&digest.binding(word))]);
        match text.len() {
            0..=MAX_DEVICE_TEXT_LEN => Ok(DeviceText(text)),
            length => {
                Err(DeviceTextError::Long { length, payees: payouts.len(), label: print_label(label).len() })
            }
        }
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A label in quotation marks, without another one inside, and without two blanks in a row.
fn print_label(label: &str) -> String {
    let mut text = String::from("\"");
    for character in label.chars() {
        match character {
            '"' | '\\' => text.push_str(&by_number(character)),
            ' ' if text.ends_with(' ') => text.push_str(&by_number(character)),
            ' '..='~' => text.push(character),
            _ => text.push_str(&by_number(character)),
        }
    }
    text.push('"');
    text
}

fn by_number(character: char) -> String {
    format!("\\u{{{:x}}}", u32::from(character))
}

/// Why a proposal has no device text for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceTextError {
    /// The user is not asked.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// It would not fit a device's screen.
    #[error(
        "a device shows at most {MAX_DEVICE_TEXT_LEN} characters, and this proposal needs {length} ({payees} payees, {label} for the wallet's label): pay one address at a time, give the wallet a shorter label, or approve by another means"
    )]
    Long {
        /// The characters that it would have.
        length: usize,
        /// How many payees it would show.
        payees: usize,
        /// The characters of the label as it would be shown.
        label: usize,
    },
}

#[cfg(test)]
mod tests;
