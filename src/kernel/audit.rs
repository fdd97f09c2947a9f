//! The audit chain: one record per outcome, each bound to all before it by a hash.
//!
//! A link is written in the same commit as the state it changes. The head is anchored in the backing token, so that a
//! chain that was cut, forked or replaced by an older copy does not fit its anchor.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::policy::Direction;
use super::seal::SetHash;

const LABEL: &[u8] = b"countersign/audit/v1\0";

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
}

/// What the audit keeps of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Link {
    /// The head after this link.
    pub fn head(&self) -> Head {
        Head(Sha256::new_with_prefix(LABEL).chain_update(self.encode()).finalize().into())
    }

    /// The link as bytes (postcard).
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("a link holds nothing that postcard cannot write")
    }

    /// Reads what [`Self::encode`] wrote, and nothing behind it.
    pub fn decode(bytes: &[u8]) -> Option<Link> {
        let (link, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            sequence: 1,
            time: 1_700_000_000,
            event: Event::CodeCharged(vec!["alice".into()]),
            previous: Head([1; 32]),
            set: SetHash::from_bytes([2; 32]),
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
        ];
        assert!(changed.iter().all(|other| other.head() != head));
    }

    #[test]
    fn a_link_reads_back_and_tolerates_nothing_behind_it() {
        assert_eq!(Link::decode(&link().encode()), Some(link()));
        assert_eq!(Link::decode(&[link().encode(), vec![0]].concat()), None);
    }
}
