//! The ledger: sealed rows in SQLite, one chain, one anchor, and commits that share a sync.
//!
//! A committing thread puts its change behind all waiting ones. If nobody is writing then, it writes all of them as one batch. No thread
//! hands its change to another, and none waits for others to come.
//!
//! Invariants:
//! - L1. A batch is written and synced first, anchored second, answered third.
//! - L2. Reading gives the very bytes that were written, identified by their element of the set hash. (A version is the sequence of the
//!   commit that wrote it. It can come twice, if a crash took back a batch that somebody kept a copy of.)
//! - L3. After a failed write only opening again shows what is durable. The ledger tries that for a time (`revival`), and then answers
//!   nothing any more.
//! - L4. Changes become durable in the order in which they were decided: what was decided on a change that waits, waits
//!   behind it.
//! - L5. No batch is anchored that is not where everybody finds the store (`look`).

mod book;
mod look;
pub(in crate::shell) mod opening;
mod place;
mod revival;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::book::{Book, NewestRecord};
use self::look::Looks;
use self::opening::Opened;
use self::place::{Displaced, Place};
use self::revival::Stumble;
use super::lock::StoreLock;
use super::sqlite::{Row, Sqlite};
use crate::kernel::anchor::{self, Anchor, Opening, StateError};
use crate::kernel::failures::Failures;
use crate::kernel::receipt::Batch;
use crate::kernel::seal::{DataKey, Kind, RecordKey};
use crate::ports::{AnchorSlots, Ledger, LedgerError, LedgerStanding, Plain};

/// Sealed rows, one chain, one anchor.
pub struct SealedLedger<A> {
    key: Arc<DataKey>,
    slots: A,
    book: Arc<Mutex<Book>>,
    /// None while the store is opened anew.
    reader: Mutex<Option<Sqlite>>,
    path: PathBuf,
    /// Whoever leads holds it; it writes. The last to be closed: it leaves nothing in its journal.
    writer: Mutex<Writer>,
    upkeep: Upkeep,
    /// Behind everything that has the file open.
    _lock: StoreLock,
}

/// What only whoever leads may do.
struct Writer {
    /// None while the store is opened anew.
    sqlite: Option<Sqlite>,
    place: Place,
    /// What the token remembers, as far as no step of it failed.
    anchored: Anchor,
    /// A write failed: what is durable is not known.
    is_in_doubt: bool,
    looks: Looks,
}

impl Writer {
    fn store(&self) -> Result<&Sqlite, Stumble> {
        self.sqlite.as_ref().ok_or_else(|| Stumble::Store(reopened(self.place.path())))
    }
}

fn reopened(path: &Path) -> LedgerError {
    let problem = "it is opening again after a failed write: try again".into();
    LedgerError::Io { store: path.display().to_string(), problem }
}

/// How a ledger keeps itself going, and how often it looks at its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// For how long store and token are opened anew after a write that failed.
    pub reopening: Duration,
    /// How long a write, with its step of the anchor, may be under way before it is told: disk or token may never answer.
    pub patience: Duration,
    /// How old the last look at the header and the newest link may be when a batch is anchored.
    pub glance: Duration,
    /// How old the last look at every link and record may be. None: there is none, for it takes a thread, and an application's
    /// process may have no thread that the application did not make (`CKF_LIBRARY_CANT_CREATE_OS_THREADS`).
    pub whole: Option<Duration>,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep {
            reopening: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            glance: Duration::from_secs(1),
            whole: None,
        }
    }
}

impl<A: AnchorSlots> SealedLedger<A> {
    /// Opens a store: checks every record against the newest link, and that against the anchor.
    pub fn open(
        sqlite: Sqlite,
        lock: StoreLock,
        key: DataKey,
        slots: A,
    ) -> Result<SealedLedger<A>, LedgerError> {
        // Where opening fails the lock goes last, as it does at the end.
        let (lock, sqlite) = (lock, sqlite);
        let displaced = |error: Displaced| LedgerError::Io {
            store: sqlite.path().display().to_string(),
            problem: error.to_string(),
        };
        let place = Place::before_opening(sqlite.path()).map_err(displaced)?;
        let opened = Opened::scan(&sqlite, &key)?;
        let anchor = newest_anchor(&slots, &key)?.ok_or(StateError::AnchorMissing)?;
        match anchor::judge(&opened.end, opened.records, &anchor)? {
            Opening::Agree => {}
            Opening::RollForward => {
                // It may be in the system's memory alone: it must not be behind its anchor after a power cut.
                sqlite.sync()?;
                tracing::warn!("the last batch before a crash was anchored on opening");
            }
        }
        // Also where they agree: this clears away the second slot that a crash may have left.
        let anchored = Anchor::of(&opened.end.newest);
        slots.replace(&anchored.encode(&key))?;
        let reader = Mutex::new(Some(sqlite.reader()?));
        let place = place.opened().map_err(displaced)?;
        let (path, looks) = (sqlite.path().to_owned(), Looks::default());
        let writer = Writer { sqlite: Some(sqlite), place, anchored, is_in_doubt: false, looks };
        Ok(SealedLedger {
            path,
            key: Arc::new(key),
            slots,
            book: Arc::new(Mutex::new(Book::new(opened))),
            writer: Mutex::new(writer),
            reader,
            upkeep: Upkeep::default(),
            _lock: lock,
        })
    }

    /// The same ledger, kept otherwise.
    #[must_use]
    pub fn kept_by(self, upkeep: Upkeep) -> SealedLedger<A> {
        SealedLedger { upkeep, ..self }
    }

    /// Returns once the link `sequence` is durable and anchored; `done` is where its group is told.
    fn wait_for<'a>(
        &'a self,
        mut book: MutexGuard<'a, Book>,
        sequence: u64,
        done: &Condvar,
    ) -> Result<(), LedgerError> {
        // Others compute while this waits for the disk and the backing token.
        crate::cores::wait(move || {
            while book.durable < sequence {
                book.check_open()?;
                book = if book.led_since.is_some() { wait(done, book) } else { self.lead(book) };
            }
            Ok(())
        })
    }

    /// Writes the next group, while others may put theirs behind it. Without the book: that is only held to look and to
    /// note.
    fn lead<'a>(&'a self, mut book: MutexGuard<'a, Book>) -> MutexGuard<'a, Book> {
        let Some(group) = book.next_group() else { return book };
        drop(book);
        let abandoned = Abandoned { ledger: self, done: &group.done };
        let written = self.write(&group);
        let mut book = self.book();
        match written {
            Ok(()) => book.settle(&group),
            Err(closed) => {
                tracing::error!("{}; the store stays closed until the module is opened again", closed.reason);
                book.led_since = None;
                book.close(closed);
                group.done.notify_all();
            }
        }
        std::mem::forget(abandoned);
        book
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        in_order(self.book.lock())
    }

    /// A row as it is in the file.
    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reader {
            Some(reader) => reader.row(place),
            None => Err(reopened(&self.path)),
        }
    }
}

/// A panic half-way through a change leaves the book in doubt.
fn in_order(book: LockResult<MutexGuard<'_, Book>>) -> MutexGuard<'_, Book> {
    book.unwrap_or_else(|poisoned| {
        let mut book = PoisonError::into_inner(poisoned);
        book.close_after_a_panic();
        book
    })
}

/// Whoever leads and does not come back: nobody may wait for it.
struct Abandoned<'a, A: AnchorSlots> {
    ledger: &'a SealedLedger<A>,
    done: &'a Condvar,
}

impl<A: AnchorSlots> Drop for Abandoned<'_, A> {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        book.led_since = None;
        book.close_after_a_panic();
        self.done.notify_all();
    }
}

impl<A: AnchorSlots> Ledger for SealedLedger<A> {
    fn read(&self, place: &RecordKey) -> Result<Option<Plain>, LedgerError> {
        let damaged = |what: &str| {
            LedgerError::State(StateError::Sealed(format!("a {:?} record is {what}", place.kind)))
        };
        let mut expected = None;
        loop {
            let newest = {
                let mut book = self.book();
                book.check_open()?;
                book.newest(place)
            };
            let Some(NewestRecord { version, element, sealed }) = newest else { return Ok(None) };
            let (sealed, is_read) = match sealed {
                Some(sealed) => (sealed, false),
                None => {
                    let row = self.row(place)?;
                    match row {
                        Some(row)
                            if row.version == version
                                && self.key.element(place, version, &row.sealed) == element =>
                        {
                            (row.sealed, true)
                        }
                        // Between the look at the book and that at the file it may have been written anew: then the
                        // book tells of another version by now.
                        _ if expected != Some(version) => {
                            expected = Some(version);
                            continue;
                        }
                        Some(_) => return Err(damaged("another one than was written")),
                        None => return Err(damaged("missing")),
                    }
                }
            };
            let plaintext =
                self.key.open(place, version, &sealed).map_err(|error| damaged(&error.to_string()))?;
            if is_read {
                self.book().keep(*place, version, sealed);
            }
            return Ok(Some((version, plaintext)));
        }
    }

    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError> {
        let book = self.book();
        book.check_open()?;
        Ok(book.version(place))
    }

    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError> {
        let book = self.book();
        book.check_open()?;
        Ok(book.places(kind))
    }

    fn commit(&self, batch: &Batch) -> Result<(), LedgerError> {
        let mut book = self.book();
        book.check_open()?;
        let (sequence, done) = book.enter(&self.key, batch)?;
        self.wait_for(book, sequence, &done)
    }

    fn settle(&self, version: u64) -> Result<(), LedgerError> {
        let book = self.book();
        match book.unsettled() {
            Some((sequence, done)) if version > book.durable => self.wait_for(book, sequence, &done),
            _ => book.check_open(),
        }
    }

    fn high_water(&self) -> u64 {
        self.book().time()
    }

    fn failures(&self) -> Failures {
        self.book().failures()
    }

    fn closed(&self) -> bool {
        self.book().check_open().is_err()
    }

    fn standing(&self) -> LedgerStanding {
        self.look_if_nobody_writes();
        self.book().standing(self.upkeep.patience)
    }
}

fn wait<'a>(done: &Condvar, book: MutexGuard<'a, Book>) -> MutexGuard<'a, Book> {
    in_order(done.wait(book))
}

/// The newest anchor of this store. A torn value is what a crash leaves of a new slot while the old one is still there.
pub(in crate::shell) fn newest_anchor(
    slots: &impl AnchorSlots,
    key: &DataKey,
) -> Result<Option<Anchor>, LedgerError> {
    let values = slots.values()?;
    Ok(values.iter().filter_map(|value| Anchor::decode(value, key)).max_by_key(|anchor| anchor.sequence))
}

/// Writes the first commit of a new store, and gives its anchor.
pub fn begin(sqlite: &Sqlite, key: &DataKey, first: &Batch) -> Result<Vec<u8>, LedgerError> {
    let (pages, anchor) = book::begin(key, first)?;
    sqlite.commit(&pages)?;
    Ok(anchor.encode(key))
}

/// Writes the commit by which a restored store is taken, and gives its anchor. `lost` is the link that was anchored.
pub(in crate::shell) fn restore(
    sqlite: &Sqlite,
    key: &DataKey,
    opened: &Opened,
    lost: u64,
    batch: &Batch,
) -> Result<Vec<u8>, LedgerError> {
    let (pages, anchor) = book::restore(key, opened, lost, batch)?;
    sqlite.commit(&pages)?;
    Ok(anchor.encode(key))
}
