//! The world as the engine sees it: one trait for each dependency.
//!
//! `shell` implements them with the system's clock, SQLite and a backing token; tests and benches with their
//! own. The engine uses [`Clock`], [`Random`], [`Ledger`] and [`Vault`]. The ledger uses [`Store`],
//! [`Anchor`], [`Sealer`] and [`Random`].

mod store;
mod token;

pub use store::{Claim, Header, Pages, Row, Sight, Site, Store, View, VisitLink, VisitRow};
pub use token::{Anchor, BackingError, ReopenError, Sealer};

use crate::kernel::anchor::StateError;
use crate::kernel::audit::Head;
use crate::kernel::clock::{BootId, Reading};
use crate::kernel::failures::Failures;
use crate::kernel::receipt::{Batch, Committed};
use crate::kernel::seal::{Kind, RecordKey, StoreId, Unsealed};

/// Reads the time.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn read(&self) -> Reading;

    /// Seconds since the machine booted in which it was not suspended, by a clock that nobody can set.
    fn awake(&self) -> u64;

    /// The present run of the machine, or zero if it is unknown.
    fn boot_id(&self) -> BootId;
}

/// Makes secrets.
pub trait Random: Send + Sync {
    /// Fills `bytes`, or says why it cannot.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// Holds the records: sealed, chained and anchored.
pub trait Ledger: Send + Sync {
    /// Reads the newest version of a record, which may not be durable yet. A commit that was decided on it
    /// becomes durable after it.
    fn read(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError>;

    /// The newest version of a record, without reading it.
    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError>;

    /// The places of all records of a kind.
    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError>;

    /// Writes all of a batch or nothing. `Ok` means that the batch, and everything that was read before, is
    /// durable and anchored.
    fn commit<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, LedgerError>;

    /// Waits until the commit that wrote `version` of a record is durable and anchored, or everything that
    /// was read so far if that is less. No answer that depends on it may leave before.
    fn settle(&self, version: u64) -> Result<(), LedgerError>;

    /// The id of the store.
    fn store(&self) -> StoreId;

    /// The number of the newest link, and the head after it.
    fn newest(&self) -> (u64, Head);

    /// The newest time of any record, Unix seconds.
    fn high_water(&self) -> u64;

    /// The wrong tries of the hour before the ledger was opened, according to the audit chain.
    fn failures(&self) -> Failures;

    /// Closes the ledger because a record that opens cannot be read.
    fn close(&self, found: &StateError);

    /// Whether it is closed ([`LedgerError::Closed`]) until it is opened again.
    fn closed(&self) -> bool;

    /// The state of the ledger. Finding out may close it.
    fn standing(&self) -> LedgerStanding {
        if self.closed() { LedgerStanding::Closed } else { LedgerStanding::Open }
    }
}

/// The state of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerStanding {
    /// It answers.
    Open,
    /// A write failed. Its caller and those after it wait while the store or the token is opened again.
    Reviving,
    /// A write has taken too long: the disk or the backing token does not answer, and everybody waits for it.
    Stuck,
    /// It is closed. Opening it in a new process shows what is durable.
    Closed,
    /// The backing token refuses its PIN. The ledger is closed, and the PIN is not tried again.
    Refused,
    /// It is closed, and the store at its place is not the one that it had open: a new process would not find
    /// that one.
    Lost,
}

/// Finds the ledger, or makes one.
pub trait Vault: Send + Sync {
    /// Opens the ledger, or returns `None` if nothing was ever initialised.
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError>;

    /// Makes a ledger whose first commit is `first`.
    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError>;
}

/// The reason why the ledger does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A record has another version than the batch expects, or is where it expects none: another commit came first.
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
        /// Process id, if it is known.
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
        /// The failure.
        problem: String,
    },
    /// The open store is not the one at its place.
    #[error("{problem}")]
    Displaced {
        /// Path of the store.
        store: String,
        /// What is there instead.
        problem: String,
    },
    /// The newest link of the store is not the one that a commit must follow, because somebody else wrote
    /// one.
    #[error("the store {store}: its newest link is {found:?}, and not {expected:?}: somebody else writes it")]
    Moved {
        /// Path of the store.
        store: String,
        /// The expected sequence.
        expected: Option<u64>,
        /// The sequence found.
        found: Option<u64>,
    },
    /// The backing token failed.
    #[error(transparent)]
    Backing(#[from] BackingError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// An earlier commit failed half-way. Only opening the ledger again shows what is durable.
    #[error("the store was closed after a failed commit ({0}): open the module again")]
    Closed(String),
}

/// The reason why there is no randomness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomError {
    /// A source fails now, and may work later.
    #[error("no randomness: {0}")]
    Failed(String),
    /// The backing token refuses its PIN. Trying again could lock it.
    #[error("no randomness: {0}")]
    Refused(String),
}
