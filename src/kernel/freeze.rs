//! Freezes: an administrator stops a wallet, a key, a user or everything at once, until somebody thaws it.
//!
//! A thing is frozen while a record exists at the place of its freeze ([`place_of`], [`EVERYTHING`]). An older version does not know
//! this kind of record, and opens no store that has one.
//!
//! Invariants:
//! - F1. The module checks no code for a frozen wallet or key, and none of a frozen user: nothing is charged, spent or learned.
//! - F2. No decision from before a freeze is committed after it. The batch of a signature names every freeze that would have stopped
//!   it, and the ledger takes the batch only if none of them exists ([`Batch::absent`](crate::receipt::Batch::absent)).
//! - F3. The commit that removes a user removes the user's freeze.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::seal::{Kind, RecordKey};

/// Where the freeze of everything is recorded.
pub const EVERYTHING: RecordKey = RecordKey::single(Kind::Freeze);

/// Where the freeze of an object is recorded, whose own record is at `object`. Ids are random or hashes, so no two kinds share one.
pub const fn place_of(object: &RecordKey) -> RecordKey {
    RecordKey { kind: Kind::Freeze, id: object.id }
}

/// What can be frozen. Stores keep it: a new variant goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Freezable {
    /// All wallets, keys and users, also those made later.
    Everything,
    /// One wallet.
    Wallet,
    /// One key that signs digests.
    DigestKey,
    /// One user.
    User,
}

impl Freezable {
    /// All of them.
    pub const ALL: [Freezable; 4] =
        [Freezable::Everything, Freezable::Wallet, Freezable::DigestKey, Freezable::User];

    /// Its name, in the audit and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Freezable::Everything => "everything",
            Freezable::Wallet => "wallet",
            Freezable::DigestKey => "key",
            Freezable::User => "user",
        }
    }
}

/// Who froze something. Stores keep it: a new variant goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freezer {
    /// The security officer.
    SecurityOfficer,
    /// An officer, by an act.
    Officer,
}

/// A freeze, as its record and as the audit keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// The kind of thing that is frozen.
    pub what: Freezable,
    /// Its name or label when it was frozen; empty for everything.
    pub name: String,
    /// Since when, Unix seconds.
    pub since: u64,
    /// By whom.
    pub by: Freezer,
}

/// The freeze that refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// Everything is frozen.
    Everything,
    /// The wallet or key that was to sign is frozen.
    Key,
    /// A user whose code came with the request is frozen.
    User(String),
}

/// One line for the log.
impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frozen::Everything => f.write_str("everything is frozen"),
            Frozen::Key => f.write_str("this wallet or key is frozen"),
            Frozen::User(name) => write!(f, "user {name:?} is frozen"),
        }
    }
}
