//! What a link tells.

use serde::{Deserialize, Serialize};

use crate::act::RecordedAct;
use crate::direction::Direction;
use crate::pin::Role;
use crate::rule::Rule;

/// What happened. No secret, no code, no PIN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    // The acts of administration that stand here without a document are those of version 0.1: now [`Event::Act`].
    /// The token was initialised.
    Initialised,
    /// A try at a PIN was charged, before the comparison.
    PinCharged(Role),
    /// The PIN charged for was right.
    PinAccepted(Role),
    /// A PIN was set.
    PinSet(Role),
    /// A user was enrolled.
    UserAdded(String),
    /// A user was removed.
    UserRemoved(String),
    /// The security officer unlocked a user.
    UserUnlocked(String),
    /// One try was charged to each of these users (empty: to nobody known), before the comparison.
    CodeCharged(Vec<String>),
    /// A code was right and is spent; it confirmed or checked the user.
    CodeAccepted(String),
    /// A wallet was created.
    WalletCreated(String),
    /// Users, policy or label of a wallet were changed. Written by version 0.1, now [`Event::WalletUpdated`].
    WalletChanged(String),
    /// Right codes, refused by the policy: the codes are spent.
    PolicyRefused {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
        /// Tag of the rule.
        rule: String,
    },
    /// Right codes, approved: codes and amount are spent, the signature may leave.
    Countersigned {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
    },
    /// The clock was taken as it was found: after the machine was started, or by word of the security officer.
    ClockTaken {
        /// Seconds by which it differed from the one believed before, if that can be told.
        moved: Option<i64>,
    },
    /// One try was charged for each code, before the comparison.
    Charged {
        /// The users it was charged to; who is nobody known is left out.
        users: Vec<String>,
        /// Codes tried.
        codes: u32,
        /// The transaction that they were to pay for, if any.
        transaction: Option<TransactionFacts>,
    },
    /// The answer to a transaction that was countersigned before was asked for again: nothing more is spent.
    Repeated {
        /// The users whose codes they were.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
    },
    /// Too many tries of all users together were wrong: for the time being no code is looked at.
    Stopped {
        /// Wrong tries in the last hour.
        failures: u32,
    },
    /// A store that did not fit its anchor was taken by word of the security officer. What was spent since is unknown:
    /// every limit counts as spent, and every code that may have been used is taken for used.
    Restored {
        /// Counts the restorations from 1.
        epoch: u32,
        /// The newest link of the store that was taken.
        store: u64,
        /// The link that the backing token remembered.
        anchor: Option<u64>,
    },
    /// A PSBT that a rule of structure, amounts or ownership refuses: no code was looked at.
    PsbtRefused {
        /// Label of the wallet.
        wallet: String,
        /// Tag of the rule.
        rule: String,
    },
    /// Users, policy, label or registration of a wallet were changed.
    WalletUpdated {
        /// The label, the new one where it was changed.
        wallet: String,
        /// Names of the users who sign now and did not before.
        users_added: Vec<String>,
        /// Names of the users who signed before and do not now.
        users_removed: Vec<String>,
        /// Whether another policy allows less or more; none where it stayed.
        policy: Option<Direction>,
    },
    /// A key that signs digests was created.
    DigestKeyCreated(String),
    /// Users, policy or label of a key that signs digests were changed.
    DigestKeyUpdated {
        /// The label, the new one where it was changed.
        key: String,
        /// Names of the users who sign now and did not before.
        users_added: Vec<String>,
        /// Names of the users who signed before and do not now.
        users_removed: Vec<String>,
        /// Whether another policy allows less or more; none where it stayed.
        policy: Option<Direction>,
    },
    /// One try was charged for each code that was to pay for a digest, before the comparison.
    DigestCharged {
        /// The users it was charged to; who is nobody known is left out.
        users: Vec<String>,
        /// Codes tried.
        codes: u32,
        /// The digest.
        digest: DigestFacts,
    },
    /// Right codes, approved: the codes are spent, the signature of the digest may leave.
    DigestSigned {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The digest.
        digest: DigestFacts,
    },
    /// The signature of a digest that was signed before was asked for again: nothing more is spent.
    DigestRepeated {
        /// The users whose codes they were.
        users: Vec<String>,
        /// The digest.
        digest: DigestFacts,
    },
    /// Right codes for a digest, refused by the policy: the codes are spent.
    DigestRefused {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The digest.
        digest: DigestFacts,
        /// Tag of the rule.
        rule: String,
    },
    /// An act of administration, with the whole document that it put in force.
    Act(Box<RecordedAct>),
    /// What came of the codes of one request: one link, and whatever came of it, of one length.
    Tried {
        /// Each code, in the order in which they were given.
        codes: Vec<TriedCode>,
        /// What was asked for.
        asked: Asked,
        /// What came of it.
        answer: Answer,
    },
}

impl Event {
    // The order of the variants is part of what is sealed: a new one goes to the end.

    /// The act of administration that it is, if it is one that was done.
    pub fn act(&self) -> Option<&RecordedAct> {
        match self {
            Event::Act(act) => Some(act),
            Event::Tried { asked: Asked::Enrolment(act), answer: Answer::Confirmed, .. } => act.as_deref(),
            _ => None,
        }
    }

    /// By how many this changes the number of tries that were not right.
    pub fn failures(&self) -> i64 {
        let count = |users: &Vec<String>| i64::try_from(users.len()).unwrap_or(i64::MAX);
        match self {
            Event::Charged { codes, .. } | Event::DigestCharged { codes, .. } => i64::from(*codes),
            // A link of the first format says nothing of how many nobodies there were.
            Event::CodeCharged(users) => count(users).max(1),
            Event::CodeAccepted(_) => -1,
            Event::PolicyRefused { users, .. }
            | Event::Countersigned { users, .. }
            | Event::Repeated { users, .. }
            | Event::DigestRefused { users, .. }
            | Event::DigestSigned { users, .. }
            | Event::DigestRepeated { users, .. } => -count(users),
            Event::Tried { codes, .. } => {
                let wrong = codes.iter().filter(|code| code.fate == Fate::Wrong).count();
                i64::try_from(wrong).unwrap_or(i64::MAX)
            }
            _ => 0,
        }
    }
}

/// A code that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriedCode {
    /// Whose it was taken for; nobody where no such user may sign.
    pub user: Option<String>,
    /// What came of it.
    pub fate: Fate,
}

/// What came of one code. Each is written in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It was right, and is spent.
    Spent,
    /// It was spent on the same before: nothing more is spent.
    Repeated,
    /// It was wrong, replayed or stale, or of nobody who may sign: one try is charged.
    Wrong,
    /// It was right beside one that was not: neither spent nor charged.
    Kept,
}

/// What codes were to pay for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// The signatures of a transaction.
    Transaction(TransactionFacts),
    /// The signature of a digest.
    Digest(DigestFacts),
    /// That a code be checked; where it is a user's first one, that this act confirm them, whether or not the code is right.
    Enrolment(Option<Box<RecordedAct>>),
}

/// What came of a request. Each is written in two bytes: which one, and the number of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "[u8; 2]", try_from = "[u8; 2]")]
pub enum Answer {
    /// The codes are right and spent, and what was asked for may be signed.
    Signed,
    /// The same was signed for the same codes before: it may be signed again.
    Repeated,
    /// The codes are right and spent, and this rule refuses.
    Refused(Rule),
    /// A code was not right.
    WrongCode,
    /// The code is right and spent: its user is confirmed.
    Confirmed,
}

impl From<Answer> for [u8; 2] {
    fn from(answer: Answer) -> [u8; 2] {
        match answer {
            Answer::Signed => [0, 0],
            Answer::Repeated => [1, 0],
            Answer::Refused(rule) => [2, number_of(rule)],
            Answer::WrongCode => [3, 0],
            Answer::Confirmed => [4, 0],
        }
    }
}

/// The number of a rule in one byte, so that every answer has the same length.
fn number_of(rule: Rule) -> u8 {
    u8::try_from(rule.number()).expect("there are fewer than 256 rules")
}

/// Bytes that stand for no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer that this version does not know")]
pub struct UnknownAnswer;

impl TryFrom<[u8; 2]> for Answer {
    type Error = UnknownAnswer;

    fn try_from(bytes: [u8; 2]) -> Result<Answer, UnknownAnswer> {
        match bytes {
            [0, 0] => Ok(Answer::Signed),
            [1, 0] => Ok(Answer::Repeated),
            [2, number] => Rule::of_number(number.into()).map(Answer::Refused).ok_or(UnknownAnswer),
            [3, 0] => Ok(Answer::WrongCode),
            [4, 0] => Ok(Answer::Confirmed),
            _ => Err(UnknownAnswer),
        }
    }
}

/// What the audit keeps of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionFacts {
    /// Label of the wallet.
    pub wallet: String,
    /// Id of the unsigned transaction, in the byte order of display. For inputs that have a scriptSig once they are
    /// final (`pkh`, `sh`) the transaction gets another one on the chain.
    pub txid: [u8; 32],
    /// Satoshi that leave the wallet, fee included.
    pub leaves: u64,
    /// Satoshi of fee.
    pub fee: u64,
}

/// What the audit keeps of a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestFacts {
    /// Label of the key.
    pub key: String,
    /// The digest that was to be signed.
    pub digest: [u8; 32],
}
