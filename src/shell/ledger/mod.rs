//! The ledger: sealed rows in a store, one chain, one anchor, and commits that share a sync.
//!
//! It sees the store, the anchor and randomness only through their ports ([`crate::ports`]).
//!
//! A committing thread puts its change behind all waiting ones. If nobody is writing then, it writes all of them as one batch. No thread
//! hands its change to another, and none waits for others to come.
//!
//! Invariants:
//! - L1. A batch is written and synced first, anchored second, answered third.
//! - L2. Reading returns exactly the bytes that were written, identified by their element of the set hash. (A
//!   version is the sequence of the commit that wrote it. It can occur twice, if a crash took back a batch
//!   that somebody kept a copy of.)
//! - L3. After a failed write only opening again shows what is durable. The ledger tries that for a time
//!   (`revival`), and then closes.
//! - L4. Changes become durable in the order in which they were decided: a decision that builds on a waiting
//!   change waits behind it.
//! - L5. A batch is anchored only if it is in the store that every process would find (`look`).
//! - L6. A record that does not read as it was written closes the store, because somebody else writes there.
//!   A record that opens in a format that this version does not know closes it as well.

mod book;
mod look;
pub(in crate::shell) mod opening;
mod revival;

use std::sync::{Arc, Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::book::{Book, Closed, NewestRecord};
use self::look::Looks;
use self::opening::Opened;
use crate::kernel::anchor::{self, Anchored, Opening, StateError};
use crate::kernel::audit::Head;
use crate::kernel::failures::Failures;
use crate::kernel::receipt::{Batch, Committed};
use crate::kernel::seal::{DataKey, Kind, RecordKey, StoreId, Unsealed};
use crate::ports::{Anchor, Ledger, LedgerError, LedgerStanding, Pages, Random, Row, Store, View};

/// Sealed rows, one chain, one anchor.
pub struct SealedLedger {
    key: Arc<DataKey>,
    anchor: Arc<dyn Anchor>,
    random: Arc<dyn Random>,
    book: Arc<Mutex<Book>>,
    /// None while the store is opened again. Closed before the store.
    reader: Mutex<Option<Box<dyn View>>>,
    /// The store's name.
    name: String,
    /// Held by the caller that leads, which writes.
    writer: Mutex<Writer>,
    upkeep: Upkeep,
}

/// The part that only the leader may use.
struct Writer {
    /// Closed before the store.
    looks: Looks,
    store: Box<dyn Store>,
    /// The anchor's value, as far as no step of it failed.
    anchored: Anchored,
    /// A write failed, so it is unknown what is durable.
    is_in_doubt: bool,
}

/// How a ledger recovers, and how often it looks at its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// How long store and token are opened again after a failed write.
    pub reopening: Duration,
    /// How long a write, with its step of the anchor, may take before health reports it: disk or token may
    /// never answer.
    pub patience: Duration,
    /// How old the last look at the header and the newest link may be when a batch is anchored.
    pub glance: Duration,
    /// How old the last look at every link and record may be. None for no such looks: they take a thread, and
    /// an application's process may not have threads that the application did not make
    /// (`CKF_LIBRARY_CANT_CREATE_OS_THREADS`).
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

impl SealedLedger {
    /// Opens a store: checks every record against the newest link, and that against the anchor.
    pub fn open(
        mut store: Box<dyn Store>,
        key: DataKey,
        anchor: Arc<dyn Anchor>,
        random: Arc<dyn Random>,
    ) -> Result<SealedLedger, LedgerError> {
        let opened = Opened::scan([store.view()?, store.view()?], &key)?;
        let found = newest_anchored(&*anchor, &key)?.ok_or(StateError::AnchorMissing)?;
        match anchor::judge(&opened.end, opened.records, &found)? {
            Opening::Agree => {}
            Opening::RollForward => {
                // It may be only in the system's memory, and must not be behind its anchor after a power cut.
                store.sync()?;
                tracing::warn!("the last batch before a crash was anchored on opening");
            }
        }
        // Even if they agree, because this finishes a step that a crash may have interrupted.
        let anchored = Anchored::at(&opened.end);
        anchor.step(Some(&found.encode(&key)), &anchored.encode(&key))?;
        let (name, reader) = (store.name(), Mutex::new(Some(store.view()?)));
        let writer = Writer { looks: Looks::default(), store, anchored, is_in_doubt: false };
        Ok(SealedLedger {
            key: Arc::new(key),
            anchor,
            random,
            book: Arc::new(Mutex::new(Book::new(opened))),
            reader,
            name,
            writer: Mutex::new(writer),
            upkeep: Upkeep::default(),
        })
    }

    /// The same ledger with another upkeep.
    #[must_use]
    pub fn kept_by(self, upkeep: Upkeep) -> SealedLedger {
        SealedLedger { upkeep, ..self }
    }

    /// Returns once the link `sequence` is durable and anchored. `done` is where its group waits.
    fn wait_for<'a>(
        &'a self,
        mut book: MutexGuard<'a, Book>,
        sequence: u64,
        done: &Condvar,
    ) -> Result<(), LedgerError> {
        // Others can compute while this waits for the disk and the backing token.
        crate::cores::wait(move || {
            while book.durable < sequence {
                book.check_open()?;
                book = if book.led_since.is_some() { wait(done, book) } else { self.lead(book) };
            }
            Ok(())
        })
    }

    /// Writes the next group, while others may put theirs behind it. The book is only locked to look and to
    /// record.
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

    /// A row as it is in the store.
    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reader {
            Some(reader) => reader.row(place),
            None => Err(LedgerError::Io {
                store: self.name.clone(),
                problem: "it is opening again after a failed write: try again".into(),
            }),
        }
    }

    /// A record as it was written.
    fn sealed(&self, place: &RecordKey) -> Result<Option<Found>, LedgerError> {
        let mut expected = None;
        loop {
            let newest = {
                let mut book = self.book();
                book.check_open()?;
                book.newest(place)
            };
            let Some(NewestRecord { version, element, sealed, is_settled }) = newest else { return Ok(None) };
            if let Some(sealed) = sealed {
                return Ok(Some(Found { version, sealed, is_settled, is_read: false }));
            }
            let row = self.row(place)?;
            match row {
                Some(row)
                    if row.version == version && self.key.element(place, version, &row.sealed) == element =>
                {
                    return Ok(Some(Found { version, sealed: row.sealed, is_settled, is_read: true }));
                }
                // It may have been written again between the look at the book and the look at the store. Then
                // the book has another version by now.
                _ if expected != Some(version) => expected = Some(version),
                Some(_) => return Err(damaged(place, "not the one that was written")),
                None => return Err(damaged(place, "missing")),
            }
        }
    }

    /// Reads a record, and closes the ledger if the record is not as it was written.
    fn read_or_close(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError> {
        let read = || {
            let Some(Found { version, sealed, is_settled, is_read }) = self.sealed(place)? else {
                return Ok(None);
            };
            let opened = self.key.unseal(place, version, &sealed);
            let record = opened.map_err(|error| damaged(place, &error.to_string()))?;
            if is_read {
                self.book().keep(*place, version, sealed);
            }
            Ok(Some(if is_settled { record.settled() } else { record }))
        };
        read().inspect_err(|error| {
            if let LedgerError::State(found) = error {
                self.close_for(revival::spoilt(found.to_string()));
            }
        })
    }

    fn close_for(&self, closed: Closed) {
        tracing::error!("{}", closed.reason);
        self.book().close(closed);
    }
}

/// A record as it was written.
struct Found {
    version: u64,
    sealed: Vec<u8>,
    /// It is durable and anchored.
    is_settled: bool,
    /// Its bytes were read from the store.
    is_read: bool,
}

fn damaged(place: &RecordKey, what: &str) -> LedgerError {
    StateError::Sealed(format!("a {:?} record is {what}", place.kind)).into()
}

/// After a panic half-way through a change, the book is in doubt.
fn in_order(book: LockResult<MutexGuard<'_, Book>>) -> MutexGuard<'_, Book> {
    book.unwrap_or_else(|poisoned| {
        let mut book = PoisonError::into_inner(poisoned);
        book.close_after_a_panic();
        book
    })
}

/// Dropped if the leader panics: then nobody may wait for it.
struct Abandoned<'a> {
    ledger: &'a SealedLedger,
    done: &'a Condvar,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        book.led_since = None;
        book.close_after_a_panic();
        self.done.notify_all();
    }
}

impl Ledger for SealedLedger {
    fn read(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError> {
        self.read_or_close(place)
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

    fn commit<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, LedgerError> {
        let mut book = self.book();
        book.check_open()?;
        let (sequence, done) = book.enter(&self.key, &*self.random, batch)?;
        self.wait_for(book, sequence, &done)?;
        Ok(Committed::by(&self.key, batch))
    }

    fn settle(&self, version: u64) -> Result<(), LedgerError> {
        let book = self.book();
        match book.unsettled() {
            Some((sequence, done)) if version > book.durable => self.wait_for(book, sequence, &done),
            _ => book.check_open(),
        }
    }

    fn store(&self) -> StoreId {
        *self.key.store()
    }

    fn newest(&self) -> (u64, Head) {
        self.book().seen()
    }

    fn high_water(&self) -> u64 {
        self.book().time()
    }

    fn failures(&self) -> Failures {
        self.book().failures()
    }

    fn close(&self, found: &StateError) {
        self.close_for(revival::unreadable(found));
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

/// The value of this store's anchor, the newer one of two. A torn value is left by a crash during a step,
/// while the old value is still there.
pub(in crate::shell) fn newest_anchored(
    anchor: &dyn Anchor,
    key: &DataKey,
) -> Result<Option<Anchored>, LedgerError> {
    let values = anchor.current()?;
    Ok(values.iter().filter_map(|value| Anchored::decode(value, key)).max_by_key(|found| found.sequence))
}

/// The first commit of a new store: the pages to write, and its anchor.
pub fn begin(key: &DataKey, random: &dyn Random, first: &Batch) -> Result<(Pages, Vec<u8>), LedgerError> {
    let (pages, anchored) = book::begin(key, random, first)?;
    Ok((pages, anchored.encode(key)))
}

/// The commit that accepts a restored store: the pages to write, and its anchor. `lost` is the link that was
/// anchored.
pub(in crate::shell) fn restore(
    key: &DataKey,
    random: &dyn Random,
    opened: &Opened,
    lost: u64,
    batch: &Batch,
) -> Result<(Pages, Vec<u8>), LedgerError> {
    let (pages, anchored) = book::restore(key, random, opened, lost, batch)?;
    Ok((pages, anchored.encode(key)))
}
