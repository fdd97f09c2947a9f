//! What a statement says, as pages show it. The words stay the boundary's: only lines are split, and addresses grouped for reading.

use countersign::kernel::consent::Statement;
use countersign::kernel::factor::TicketId;

use crate::qr::Qr;

const FIRST_LINE: &str = "countersign/approve/1";
/// The characters of an address that stand together.
const GROUP: usize = 4;

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The network.
    pub(crate) network: String,
    /// The wallet's label, in quotes as the statement has it, so that no label looks like another.
    pub(crate) wallet: String,
    /// What leaves the wallet, in the order of the outputs.
    pub(crate) payouts: Vec<Payout>,
    /// As in `0.00002000 BTC`.
    pub(crate) fee: String,
    /// As in `0.50002000 BTC`.
    pub(crate) leaves: String,
    /// Id of the unsigned transaction.
    pub(crate) txid: String,
    /// Unix time in seconds.
    pub(crate) expires: u64,
}

/// What one output pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payout {
    /// As in `0.50000000 BTC`.
    pub(crate) amount: String,
    /// The address, or `script` and its bytes.
    pub(crate) payee: Payee,
}

/// Who is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payee {
    /// An address, in groups, with its QR code.
    Address { groups: Vec<String>, qr: Qr },
    /// A script that has no address.
    Script { groups: Vec<String> },
}

impl Facts {
    /// Reads the statements for all users who are asked. None if they are not what this version knows, or say different things.
    pub(crate) fn of(statements: &str, ticket: &TicketId) -> Option<Facts> {
        let mut all = Vec::<String>::new();
        for line in statements.split_inclusive('\n') {
            if line.strip_suffix('\n') == Some(FIRST_LINE) {
                all.push(String::new());
            }
            // Nothing may stand in front of the first one.
            all.last_mut()?.push_str(line);
        }
        let text = all.first().cloned()?;
        let first = Statement::parse(&text).ok()?;
        // A word goes to the proposal of this ticket.
        if first.nonce != *ticket {
            return None;
        }
        for other in all.drain(1..) {
            let other = Statement::parse(&other).ok()?;
            if (Statement { user: first.user.clone(), ..other }) != first {
                return None;
            }
        }
        Facts::read(&text, &first)
    }

    /// Takes the words from a text that was parsed, so each line has the form that it should have.
    fn read(text: &str, statement: &Statement) -> Option<Facts> {
        let after = |word: &str| text.lines().find_map(|line| line.strip_prefix(word));
        let (wallet, _id) = after("wallet ")?.rsplit_once(' ')?;
        let payouts = text.lines().filter_map(|line| line.strip_prefix("pay "));
        Some(Facts {
            network: statement.network.name().into(),
            wallet: wallet.into(),
            payouts: payouts.map(Payout::read).collect::<Option<_>>()?,
            fee: after("fee ")?.into(),
            leaves: after("leaves ")?.into(),
            txid: after("tx ")?.into(),
            expires: statement.expires,
        })
    }
}

impl Payout {
    fn read(words: &str) -> Option<Payout> {
        let (amount, payee) = words.split_once(" to ")?;
        let payee = match payee.strip_prefix("script ") {
            Some(script) => Payee::Script { groups: groups(script) },
            None => Payee::Address { groups: groups(payee), qr: Qr::of(payee)? },
        };
        Some(Payout { amount: amount.into(), payee })
    }
}

/// Splits printable ASCII into groups.
fn groups(text: &str) -> Vec<String> {
    text.as_bytes().chunks(GROUP).map(|group| String::from_utf8_lossy(group).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: TicketId = [0x47; 16];
    const ADDRESS: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";

    fn statement(user: &str, amount: &str) -> String {
        format!(
            "countersign/approve/1\nfor \"{user}\" {} on signet\nwallet \"trea\\u{{73}}ury\" {}\npay {amount} BTC to {ADDRESS}\n\
             pay 0.00000000 BTC to script 6a0401020304\nfee 0.00002000 BTC\nleaves 0.50002000 BTC\ntx {}\n\
             until 2026-11-29T12:05:00Z nonce {}\n",
            "16".repeat(16),
            "3f".repeat(16),
            "9f".repeat(32),
            "47".repeat(16)
        )
        .replace("trea\\u{73}ury", "treasury")
    }

    #[test]
    fn the_words_on_the_page_are_those_of_the_statement() {
        let facts = Facts::of(&statement("alice", "0.50000000"), &TICKET).expect("a statement");
        assert_eq!((&*facts.wallet, &*facts.network), ("\"treasury\"", "signet"));
        assert_eq!((&*facts.fee, &*facts.leaves), ("0.00002000 BTC", "0.50002000 BTC"));
        assert_eq!((facts.payouts.len(), &*facts.payouts[0].amount), (2, "0.50000000 BTC"));
        let Payee::Address { groups, .. } = &facts.payouts[0].payee else { panic!("an address") };
        assert_eq!((groups.concat().as_str(), &*groups[0]), (ADDRESS, "tb1q"));
        assert_eq!(
            facts.payouts[1].payee,
            Payee::Script { groups: vec!["6a04".into(), "0102".into(), "0304".into()] }
        );
    }

    #[test]
    fn statements_that_differ_in_more_than_the_user_are_not_shown() {
        let one = statement("alice", "0.50000000");
        let both = |other: &str| Facts::of(&format!("{one}{other}"), &TICKET);
        let alone = Facts::of(&one, &TICKET);
        assert!(alone.is_some());
        assert_eq!(both(&statement("bob", "0.50000000")), alone);
        assert_eq!(Facts::of(&one, &[0x48; 16]), None, "of another proposal");
        let of_later = format!("countersign/approve/2\nfor somebody\n{one}");
        assert_eq!(Facts::of(&of_later, &TICKET), None, "something stands in front of it");
        assert_eq!(both(&statement("bob", "0.40000000")), None);
        assert_eq!(both("countersign/approve/2\nfor somebody\n"), None);
        for unknown in [
            "",
            "countersign/approve/2\n",
            &one.replace("fee ", "Fee "),
            &one.replace(" signet", " signet\nnote hello"),
        ] {
            assert_eq!(Facts::of(unknown, &TICKET), None, "{unknown}");
        }
    }
}
