//! The world, as the engine sees it: one trait per dependency.
//!
//! `shell` implements them with the system's clock, SQLite and a backing token; tests and benches with what they need.

use zeroize::Zeroizing;

use crate::kernel::anchor::StateError;
use crate::kernel::clock::{BootId, Reading};
use crate::kernel::failures::Failures;
use crate::kernel::receipt::Batch;
use crate::kernel::seal::{Kind, RecordKey, StoreId};

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

/// A record as it was read: its version and plaintext.
pub type Plain = (u64, Zeroizing<Vec<u8>>);

/// Holds the records: sealed, chained and anchored.
pub trait Ledger: Send + Sync {
    /// Reads the newest version of a record: it may wait to become durable. Whatever is decided on it becomes so after it.
    fn read(&self, place: &RecordKey) -> Result<Option<Plain>, LedgerError>;

    /// The newest version of a record, without reading it.
    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError>;

    /// The places of all records of a kind.
    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError>;

    /// Writes all of a batch or nothing. `Ok` means durable and anchored, and so is all that reading had shown before.
    fn commit(&self, batch: &Batch) -> Result<(), LedgerError>;

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
    fn create(&self, first: &Batch) -> Result<Box<dyn Ledger>, LedgerError>;
}

/// Wraps the data key under a key that never leaves the backing token.
pub trait Sealer: Send + Sync {
    /// Makes the wrapping key of `store` in the token, sensitive and never extractable, and wraps a data key under it, bound to
    /// `context`. What it gives was unwrapped again before, to the same key. On failure nothing is left in the token.
    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError>;

    /// Unwraps it. `None` where no wrapping key of `store` opens it.
    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError>;

    /// Takes out of the token what an initialisation that failed has left there of `store`, of which there is no other trace:
    /// its wrapping key, and an anchor of its first link.
    fn withdraw(&self, store: &StoreId) -> Result<(), BackingError>;
}

/// Remembers one value in the backing token, replacing it without ever being without one.
pub trait AnchorSlots: Send + Sync {
    /// Every value there: one, or two after a crash between making the new and destroying the old one.
    fn values(&self) -> Result<Vec<Vec<u8>>, BackingError>;

    /// Makes `value` the only one: creates it, reads it back, then destroys every other.
    fn replace(&self, value: &[u8]) -> Result<(), BackingError>;

    /// Begins anew with the token after a failure: with new sessions, logged in. It tells nothing of what is there now.
    fn reopen(&self) -> Result<(), ReopenError> {
        Ok(())
    }
}

/// Why the backing token is not opened anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// It does not answer now, and may later.
    #[error(transparent)]
    Away(BackingError),
    /// It refuses the PIN, or there is none to be read. Trying again could lock it.
    #[error(transparent)]
    Refused(BackingError),
}

impl From<ReopenError> for BackingError {
    fn from(error: ReopenError) -> BackingError {
        let (ReopenError::Away(error) | ReopenError::Refused(error)) = error;
        error
    }
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
    /// The backing token failed.
    #[error(transparent)]
    Backing(#[from] BackingError),
    /// An earlier commit failed half-way: only opening anew tells what is durable.
    #[error("the store was closed after a failed commit ({0}): open the module again")]
    Closed(String),
}

/// Why the backing token does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backing token: {0}")]
pub struct BackingError(pub String);

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
