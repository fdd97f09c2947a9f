//! The event of a link.

use core::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::consent::{ConsentFacts, ConsentStep};
use crate::act::RecordedAct;
use crate::act::document::Document;
use crate::direction::Direction;
use crate::officer::CouncilDigest;
use crate::otp::OtpKeyId;
use crate::pin::Role;
use crate::rule::Rule;

/// An event. It contains no secret, no code and no PIN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    // The acts of administration without a document are those of version 0.1. They are now [`Event::Act`].
    /// The token was initialised.
    Initialised,
    /// A try at a PIN was charged, before the comparison.
    PinCharged(Role),
    /// The PIN of a charged try was right.
    PinAccepted(Role),
    /// A PIN was set.
    PinSet(Role),
    /// A user was enrolled.
    UserAdded(String),
    /// A user was removed.
    UserRemoved(String),
    /// The security officer unlocked a user.
    UserUnlocked(String),
    /// One try was charged to each of these users before the comparison. An empty list stands for nobody
    /// known.
    CodeCharged(Vec<String>),
    /// A code was right and is spent; it confirmed or checked the user.
    CodeAccepted(String),
    /// A wallet was created.
    WalletCreated(String),
    /// Users, policy or label of a wallet were changed. Written by version 0.1; now [`Event::WalletUpdated`].
    WalletChanged(String),
    /// The policy refused, although the codes were right. The codes are spent.
    PolicyRefused {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
        /// Tag of the rule.
        rule: String,
    },
    /// Right codes, approved: codes and amount are spent, and the signature may leave.
    Countersigned {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
    },
    /// The clock was accepted: after a boot, or by the security officer.
    ClockTaken {
        /// Seconds by which it differed from the one trusted before, if that is known.
        moved: Option<i64>,
    },
    /// One try was charged for each code, before the comparison.
    Charged {
        /// The users to whom it was charged, without unknown ones.
        users: Vec<String>,
        /// Codes tried.
        codes: u32,
        /// The transaction that they should pay for, if any.
        transaction: Option<TransactionFacts>,
    },
    /// A request repeated a transaction that was countersigned before. Nothing more is spent.
    Repeated {
        /// The users whose codes they were.
        users: Vec<String>,
        /// The transaction.
        transaction: TransactionFacts,
    },
    /// Too many tries of all users together were wrong: for the time being no code is checked.
    Stopped {
        /// Wrong tries in the last hour.
        failures: u32,
    },
    /// The security officer accepted a store that did not fit its anchor. Nobody knows what was spent since
    /// the copy, so every limit counts as spent, and every code that may have been used counts as used.
    Restored {
        /// Counts the restorations from 1.
        epoch: u32,
        /// The newest link of the accepted store.
        store: u64,
        /// The link that the backing token had anchored.
        anchor: Option<u64>,
    },
    /// A rule of structure, amount or ownership refused a PSBT. No code was checked.
    PsbtRefused {
        /// Label of the wallet.
        wallet: String,
        /// Tag of the rule.
        rule: String,
    },
    /// Users, policy, label or registration of a wallet were changed.
    WalletUpdated {
        /// The label; after a change, the new one.
        wallet: String,
        /// The users who sign now and did not before.
        users_added: Vec<String>,
        /// The users who signed before and do not now.
        users_removed: Vec<String>,
        /// Whether a new policy allows less or more; none if it did not change.
        policy: Option<Direction>,
    },
    /// A key that signs digests was created.
    DigestKeyCreated(String),
    /// Users, policy or label of a key that signs digests were changed.
    DigestKeyUpdated {
        /// The label; after a change, the new one.
        key: String,
        /// The users who sign now and did not before.
        users_added: Vec<String>,
        /// The users who signed before and do not now.
        users_removed: Vec<String>,
        /// Whether a new policy allows less or more; none if it did not change.
        policy: Option<Direction>,
    },
    /// One try was charged for each code for a digest, before the comparison.
    DigestCharged {
        /// The users to whom it was charged, without unknown ones.
        users: Vec<String>,
        /// Codes tried.
        codes: u32,
        /// The digest.
        digest: DigestFacts,
    },
    /// Right codes, approved: the codes are spent, and the signature of the digest may leave.
    DigestSigned {
        /// The users whose codes were spent.
        users: Vec<String>,
        /// The digest.
        digest: DigestFacts,
    },
    /// A request repeated a digest that was signed before. Nothing more is spent.
    DigestRepeated {
        /// The users whose codes they were.
        users: Vec<String>,
        /// The digest.
        digest: DigestFacts,
    },
    /// The policy refused a digest, although the codes were right. The codes are spent.
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
    /// The outcome of the codes of one request: one link, of the same length for every outcome.
    Tried {
        /// The codes, in the order in which they were given.
        codes: Vec<TriedCode>,
        /// The request.
        asked: Asked,
        /// The outcome of the request.
        answer: Answer,
    },
    /// Officers decided an act of administration, and it was done.
    Decided(Box<DecidedAct>),
    /// Something happened to a proposed act.
    Proposal(Box<ProposalStep>),
    /// Time counted as delay for so many proposed acts.
    Ticked(u32),
    /// Officers decided that a store that did not fit its anchor is accepted, which the security officer did. Otherwise as
    /// [`Event::Restored`].
    RestoredByOfficers {
        /// Counts the restorations from 1.
        epoch: u32,
        /// The newest link of the accepted store.
        store: u64,
        /// The link that the backing token had anchored.
        anchor: Option<u64>,
        /// The public keys of the officers who agreed.
        officers: Vec<[u8; 32]>,
        /// The text of the council in force since then, if there is one.
        council: Option<String>,
    },
    /// Something happened to a transaction that waits for its users' approvals.
    Consent(Box<ConsentStep>),
}

/// An act that officers decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedAct {
    /// What was done.
    pub act: RecordedAct,
    /// The nonce of the text that they signed.
    pub nonce: [u8; 16],
    /// The public keys of those who did.
    pub officers: Vec<[u8; 32]>,
}

/// What happened to a proposed act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalStep {
    /// Its nonce.
    pub nonce: [u8; 16],
    /// What it does, of what.
    pub heading: String,
    /// What happened.
    pub step: Step,
}

/// What can happen to a proposed act, until it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It was proposed.
    Proposed {
        /// The text.
        text: String,
        /// The signature of the officer who brought it. Without one, the security officer proposed it.
        signature: Option<OfficerSignature>,
    },
    /// An officer signed it.
    Signed(OfficerSignature),
    /// An officer vetoed it.
    VetoedByOfficer(OfficerSignature),
    /// A user vetoed it.
    VetoedByUser {
        /// The name.
        name: String,
        /// The enrolment.
        enrolment: OtpKeyId,
    },
    /// The security officer withdrew it. No officer had signed it.
    Withdrawn,
    /// It was found void, and stays so.
    Voided(Void),
}

/// What has changed since an act was written, so that it is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Void {
    /// It is another store.
    Store,
    /// The store was restored.
    Epoch,
    /// The act's subject was changed, or is gone.
    Subject,
    /// Others decide, or after another delay.
    Officers,
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Void::Store => "it is for another store",
            Void::Epoch => "the store was restored after it was written",
            Void::Subject => "its subject was changed after it was written",
            Void::Officers => "the officers were changed after it was proposed",
        })
    }
}

impl Step {
    /// Its name, in the audit and the metrics.
    pub const fn tag(&self) -> &'static str {
        match self {
            Step::Proposed { .. } => "act-proposed",
            Step::Signed(_) => "act-signed",
            Step::VetoedByOfficer(_) | Step::VetoedByUser { .. } => "act-vetoed",
            Step::Withdrawn => "act-withdrawn",
            Step::Voided(_) => "act-voided",
        }
    }
}

/// One line for the log.
impl fmt::Display for ProposalStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProposalStep { nonce, heading, step } = self;
        write!(f, "act {} ({heading}) was ", HEXLOWER.encode(nonce))?;
        match step {
            Step::Proposed { signature: None, .. } => f.write_str("proposed by the security officer"),
            Step::Proposed { signature: Some(_), .. } => f.write_str("proposed and signed by an officer"),
            Step::Signed(_) => f.write_str("signed by an officer"),
            Step::VetoedByOfficer(_) => f.write_str("vetoed by an officer"),
            Step::VetoedByUser { name, .. } => write!(f, "vetoed by user {name:?}"),
            Step::Withdrawn => f.write_str("withdrawn by the security officer"),
            Step::Voided(void) => write!(f, "found void: {void}"),
        }
    }
}

/// An officer's signature, which anybody can verify again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfficerSignature {
    /// The public key.
    pub officer: [u8; 32],
    /// The signature, in minisign's format.
    pub signature: String,
}

impl Event {
    // The order of the variants is part of the sealed format, so a new one goes to the end.

    /// The act of administration, if it is one that was done.
    pub fn act(&self) -> Option<&RecordedAct> {
        match self {
            Event::Act(act) => Some(act),
            Event::Decided(decided) => Some(&decided.act),
            Event::Tried { asked: Asked::Enrolment(act), answer: Answer::Confirmed, .. } => act.as_deref(),
            _ => None,
        }
    }

    /// The council that it put in force, if it did.
    pub fn council(&self) -> Option<CouncilDigest> {
        let text = match self {
            Event::RestoredByOfficers { council, .. } => council.as_ref(),
            event => match event.act()?.document.as_ref()? {
                Document::Council(text) => Some(text),
                _ => None,
            },
        };
        text.map(|text| CouncilDigest::of(text))
    }

    /// Whether it accepted a store that did not fit its anchor.
    pub fn restores(&self) -> bool {
        matches!(self, Event::Restored { .. } | Event::RestoredByOfficers { .. })
    }

    /// By how much this changes the number of wrong tries.
    pub fn failures(&self) -> i64 {
        let count = |users: &Vec<String>| i64::try_from(users.len()).unwrap_or(i64::MAX);
        match self {
            Event::Charged { codes, .. } | Event::DigestCharged { codes, .. } => i64::from(*codes),
            // A link of the first format does not say how many unknown users there were.
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
    /// The user that it was taken for, or nobody if no such user may sign.
    pub user: Option<String>,
    /// Its outcome.
    pub fate: Fate,
}

/// The outcome of one code. Each is written in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It was right, and is spent.
    Spent,
    /// It was spent on the same request before: nothing more is spent.
    Repeated,
    /// It was wrong, replayed or stale, or of somebody who may not sign: one try is charged.
    Wrong,
    /// It was right, but another one was not: neither spent nor charged.
    Kept,
}

/// What codes should pay for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// The signatures of a transaction.
    Transaction(TransactionFacts),
    /// The signature of a digest.
    Digest(DigestFacts),
    /// The check of a code. If it is a user's first one, with the act that would confirm the user, whether or
    /// not the code is right.
    Enrolment(Option<Box<RecordedAct>>),
    /// The veto of the proposed act with this nonce.
    Veto([u8; 16]),
    /// A user's word on a transaction that waits for it.
    Consent(ConsentFacts),
    /// What a ticket should pay for. The codes are then those of the users who approved it.
    Ticket {
        /// The ticket.
        ticket: [u8; 16],
        /// What it should pay for.
        asked: Box<Asked>,
    },
    /// A user's word on a transaction that waits for it, by a code that was typed at the desk.
    ConsentAtDesk(ConsentFacts),
}

/// The outcome of a request. Each is written in two bytes: the outcome, and the number of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "[u8; 2]", try_from = "[u8; 2]")]
pub enum Answer {
    /// The codes are right and spent, and the request may be signed.
    Signed,
    /// The same was signed for the same codes before, and may be signed again.
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

/// The number of a rule in one byte, so that every outcome has the same length.
fn number_of(rule: Rule) -> u8 {
    u8::try_from(rule.number()).expect("there are fewer than 256 rules")
}

/// Bytes that are no outcome.
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

/// The audit's facts about a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionFacts {
    /// Label of the wallet.
    pub wallet: String,
    /// Id of the unsigned transaction, in display order. If inputs get a scriptSig when they are finalised
    /// (`pkh`, `sh`), the transaction has another id on the chain.
    pub txid: [u8; 32],
    /// Satoshi that leave the wallet, fee included.
    pub leaves: u64,
    /// Satoshi of fee.
    pub fee: u64,
}

/// The audit's facts about a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestFacts {
    /// Label of the key.
    pub key: String,
    /// The digest to sign.
    pub digest: [u8; 32],
}
