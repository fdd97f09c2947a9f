//! The audit chain: one record per outcome, each bound to all before it by a hash.
//!
//! A link is written in the same commit as the state it changes. The head is anchored in the backing token, so that a
//! chain that was cut, forked or replaced by an older copy does not fit its anchor.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::act::RecordedAct;
use super::policy::Direction;
use super::rule::Rule;
use super::seal::SetHash;

const LABEL: &[u8] = b"countersign/audit/v1\0";
/// Most links of one batch.
pub const MAX_BATCH: u64 = 64;

/// Hash of a link and, through it, of every link before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head(pub [u8; 32]);

/// Whose PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The security officer.
    So,
    /// The user of PKCS#11: the backend.
    User,
}

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

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Counts the links from 0.
    pub sequence: u64,
    /// Unix time in seconds.
    pub time: u64,
    /// What happened.
    pub event: Event,
    /// The head before this link.
    pub previous: Head,
    /// The set hash over all sealed records after this link's commit.
    pub set: SetHash,
    /// Sequence of the first link of the batch that this one was written in.
    pub batch: u64,
}

/// A link as it is written, but for `batch`, which stands behind it: the links of the first format have none, and each of
/// them was a batch of its own.
#[derive(Serialize, Deserialize)]
struct Body {
    sequence: u64,
    time: u64,
    event: Event,
    previous: Head,
    set: SetHash,
}

impl Link {
    /// The head after this link.
    pub fn head(&self) -> Head {
        Head(Sha256::new_with_prefix(LABEL).chain_update(self.encode()).finalize().into())
    }

    /// The link as bytes (postcard). A link that begins its batch is written as the first format had it.
    pub fn encode(&self) -> Vec<u8> {
        let Link { sequence, time, event, previous, set, batch } = self.clone();
        let body = Body { sequence, time, event, previous, set };
        let written = if batch == sequence {
            postcard::to_allocvec(&body)
        } else {
            postcard::to_allocvec(&(body, batch))
        };
        written.expect("a link holds nothing that postcard cannot write")
    }

    /// Reads what [`Self::encode`] wrote, and nothing behind it.
    pub fn decode(bytes: &[u8]) -> Option<Link> {
        let (Body { sequence, time, event, previous, set }, rest) = postcard::take_from_bytes(bytes).ok()?;
        let batch = if rest.is_empty() {
            sequence
        } else {
            let (batch, rest) = postcard::take_from_bytes(rest).ok()?;
            // One way to write each link, so that one link has one head.
            (rest.is_empty() && batch < sequence).then_some(batch)?
        };
        Some(Link { sequence, time, event, previous, set, batch })
    }
}

/// The end of a chain that was followed link by link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnd {
    /// The newest link.
    pub newest: Link,
    /// The head after it.
    pub head: Head,
    /// The head before the batch that it was written in.
    pub before_batch: Head,
}

impl ChainEnd {
    /// Begins a chain with its first link; `None` if it is none.
    pub fn begin(first: Link) -> Option<ChainEnd> {
        (first.sequence == 0 && first.batch == 0 && first.previous == Head::default()).then(|| {
            let head = first.head();
            ChainEnd { newest: first, head, before_batch: Head::default() }
        })
    }

    /// Follows the chain by one link; `None` if it is not the next one.
    pub fn follow(self, next: Link) -> Option<ChainEnd> {
        let expected = self.newest.sequence.checked_add(1)?;
        // A restoration leaves out the numbers that the lost links had: no version of a record comes twice.
        let in_order = next.sequence == expected
            || (next.sequence > expected && matches!(next.event, Event::Restored { .. }));
        let begins = next.batch == next.sequence;
        let goes_on = next.batch == self.newest.batch && next.sequence - next.batch < MAX_BATCH;
        if !in_order || next.previous != self.head || !(begins || goes_on) {
            return None;
        }
        let before_batch = if begins { self.head } else { self.before_batch };
        Some(ChainEnd { head: next.head(), newest: next, before_batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(links: impl IntoIterator<Item = Link>) -> Option<ChainEnd> {
        let mut links = links.into_iter();
        let mut end = ChainEnd::begin(links.next()?)?;
        for link in links {
            let previous = end.head;
            end = end.follow(Link { previous, ..link })?;
        }
        Some(end)
    }

    fn at(sequence: u64, batch: u64) -> Link {
        Link { sequence, batch, event: Event::Initialised, previous: Head::default(), ..link() }
    }

    #[test]
    fn a_chain_is_followed_batch_by_batch() {
        let end = chain([at(0, 0), at(1, 1), at(2, 1), at(3, 3), at(4, 3), at(5, 3)]).expect("a chain");
        assert_eq!(end.newest.sequence, 5);
        let before = chain([at(0, 0), at(1, 1), at(2, 1)]).expect("a chain");
        assert_eq!(end.before_batch, before.head);
    }

    #[test]
    fn a_chain_has_no_gap_no_fork_and_no_batch_of_its_own_making() {
        assert!(chain([at(1, 1)]).is_none(), "no beginning");
        assert!(chain([at(0, 0), at(2, 2)]).is_none(), "a gap");
        assert!(chain([at(0, 0), at(0, 0)]).is_none(), "the same again");
        assert!(chain([at(0, 0), at(1, 1), at(2, 0)]).is_none(), "the batch before the last");
        let long = |last| chain((0..=last).map(|sequence| at(sequence, 0)));
        assert!(long(MAX_BATCH - 1).is_some() && long(MAX_BATCH).is_none(), "a batch that is too long");
        let end = chain([at(0, 0)]).expect("a chain");
        assert!(end.follow(Link { previous: Head([9; 32]), ..at(1, 1) }).is_none(), "a fork");
    }

    #[test]
    fn only_a_restoration_leaves_numbers_out() {
        let restored = Event::Restored { epoch: 1, store: 0, anchor: Some(4) };
        assert!(chain([at(0, 0), Link { event: restored.clone(), ..at(5, 5) }]).is_some());
        assert!(chain([at(0, 0), at(1, 1), Link { event: restored, ..at(1, 1) }]).is_none(), "backwards");
    }

    fn link() -> Link {
        Link {
            sequence: 1,
            time: 1_700_000_000,
            event: Event::CodeCharged(vec!["alice".into()]),
            previous: Head([1; 32]),
            set: SetHash::from_bytes([2; 32]),
            batch: 1,
        }
    }

    #[test]
    fn the_head_is_golden() {
        assert_eq!(hex::encode(link().head().0), include_str!("../../tests/vectors/audit-head.hex").trim());
    }

    #[test]
    fn the_head_depends_on_every_field() {
        let head = link().head();
        let changed = [
            Link { sequence: 2, ..link() },
            Link { time: 1_700_000_001, ..link() },
            Link { event: Event::CodeCharged(vec!["bob".into()]), ..link() },
            Link { previous: Head([3; 32]), ..link() },
            Link { set: SetHash::from_bytes([3; 32]), ..link() },
            Link { batch: 0, ..link() },
        ];
        assert!(changed.iter().all(|other| other.head() != head));
    }

    #[test]
    fn a_link_reads_back_and_tolerates_nothing_behind_it() {
        for link in [link(), Link { batch: 0, ..link() }] {
            assert_eq!(Link::decode(&link.encode()), Some(link.clone()));
            assert_ne!(Link::decode(&[link.encode(), vec![0]].concat()), Some(link));
        }
        assert_eq!(Link::decode(&[Link { batch: 0, ..link() }.encode(), vec![0]].concat()), None);
        assert_eq!(Link::decode(&[link().encode(), vec![1]].concat()), None, "its own batch, written twice");
        assert_eq!(Link::decode(&[link().encode(), vec![2]].concat()), None, "a batch that begins later");
    }
}
