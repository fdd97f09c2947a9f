//! The world, as the engine sees it: one trait per dependency.
//!
//! `shell` implements them with the system's clock, SQLite and a backing token; tests and benches with what they need. The
//! engine stands on [`Clock`], [`Random`], [`Ledger`] and [`Vault`]; the ledger on [`Store`], [`Anchor`], [`Sealer`] and
//! [`Random`].

mod store;
mod token;

pub use store::{Claim, Header, Pages, Row, Sight, Site, Store, View, VisitLink, VisitRow};
pub use token::{Anchor, BackingError, ReopenError, Sealer};

use crate::kernel::anchor::StateError;
use crate::kernel::clock::{BootId, Reading};
use crate::kernel::failures::Failures;
use crate::kernel::receipt::{Batch, Committed};
use crate::kernel::seal::{Kind, RecordKey, Unsealed};

/// Reads the time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn read(&self) -> Reading;

    /// The run of the machine, zero where it cannot be told.
    fn boot_id(&self) -> BootId;
}

/// Makes secrets.
pub trait Random: Send + Sync {
    /// Fills `bytes`, or says why it cannot.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// Holds the records: sealed, chained and anchored.
pub trait Ledger: Send + Sync {
    /// Reads the newest version of a record: it may wait to become durable. Whatever is decided on it becomes so after it.
    fn read(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError>;

    /// The newest version of a record, without reading it.
    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError>;

    /// The places of all records of a kind.
    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError>;

    /// Writes all of a batch or nothing. `Ok` means durable and anchored, and so is all that reading had shown before.
    fn commit<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, LedgerError>;

    /// Waits until the commit that wrote `version` of a record is durable and anchored, or all that reading has shown so far if
    /// that is less. Nothing that rests on it may be told before.
    fn settle(&self, version: u64) -> Result<(), LedgerError>;

    /// The newest time of any record, Unix seconds.
    fn high_water(&self) -> u64;

    /// The tries of the hour before it was opened that were charged and not right, as the audit chain told.
    fn failures(&self) -> Failures;

    /// Whether it answers nothing any more ([`LedgerError::Closed`]), until it is opened anew.
    fn closed(&self) -> bool;

    /// How it stands. Looking may find out that it has to be closed.
    fn standing(&self) -> LedgerStanding {
        if self.closed() { LedgerStanding::Closed } else { LedgerStanding::Open }
    }
}

/// How a ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerStanding {
    /// It answers.
    Open,
    /// A write failed: its caller, and who came after it, wait while the store or the token is opened anew.
    Reviving,
    /// A write has been under way for too long: the disk or the backing token does not answer, and everybody waits for it.
    Stuck,
    /// It answers nothing any more. Opening it in a new process tells what is durable.
    Closed,
    /// The backing token refuses its PIN. It answers nothing any more, and the PIN is not tried again.
    Refused,
    /// It answers nothing any more, and what it had open is not what is at its place now: a new process would not find it.
    Lost,
}

/// Finds the ledger, or makes it.
pub trait Vault: Send + Sync {
    /// Opens the ledger; `None` where nothing was ever initialised.
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError>;

    /// Makes a ledger whose first commit is `first`.
    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError>;
}

/// Why the ledger does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A record has another version than the batch expects: another commit came first.
    #[error("another commit came first")]
    Conflict,
    /// The state cannot be trusted: the module stays closed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process has the store open.
    #[error("the store {store} is in use by process {owner}: stop it, or reach it through its own interface")]
    InUse {
        /// Path of the store.
        store: String,
        /// Process id, as far as it is known.
        owner: String,
    },
    /// The store was written by a newer version.
    #[error(
        "the store {store} has format {found}, this version reads format {known}: install a newer version"
    )]
    NewerFormat {
        /// Path of the store.
        store: String,
        /// The format found.
        found: i64,
        /// The format known.
        known: i64,
    },
    /// A token cannot be initialised twice.
    #[error("the store {0} exists already: a token is initialised once")]
    Exists(String),
    /// The disk or the database failed.
    #[error("the store {store}: {problem}")]
    Io {
        /// Path of the store.
        store: String,
        /// What failed.
        problem: String,
    },
    /// What is open is not what everybody finds at its place.
    #[error("{problem}")]
    Displaced {
        /// Path of the store.
        store: String,
        /// What is there.
        problem: String,
    },
    /// The newest link of the store is another one than a commit follows: somebody else has written it.
    #[error("the store {store}: its newest link is {found:?}, and not {expected:?}: somebody else writes it")]
    Moved {
        /// Path of the store.
        store: String,
        /// What was to be there.
        expected: Option<u64>,
        /// What is there.
        found: Option<u64>,
    },
    /// The backing token failed.
    #[error(transparent)]
    Backing(#[from] BackingError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// An earlier commit failed half-way: only opening anew tells what is durable.
    #[error("the store was closed after a failed commit ({0}): open the module again")]
    Closed(String),
}

/// Why no randomness came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomError {
    /// A source fails now, and may answer later.
    #[error("no randomness: {0}")]
    Failed(String),
    /// The backing token refuses its PIN. Trying again could lock it.
    #[error("no randomness: {0}")]
    Refused(String),
}
