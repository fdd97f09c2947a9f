//! The ledger: sealed rows in SQLite, one chain, one anchor, and commits that share a sync.
//!
//! Whoever commits puts the change behind all that waits. Whoever then finds nobody writing writes all that waits, as one
//! batch: nothing is handed to another thread, and nobody waits for others to come.
//!
//! Invariants:
//! - L1. A batch is written and synced first, anchored second, answered third.
//! - L2. What is read is what was written: the very bytes, known by their element of the set hash. (A version is the sequence
//!   of the commit that wrote it. It can come twice, where a crash took a batch back that somebody kept a copy of.)
//! - L3. After a batch that failed half-way nothing is answered any more: only opening anew tells what is durable.
//! - L4. Changes become durable in the order in which they were decided: what was decided on a change that waits, waits
//!   behind it.

mod book;
pub(in crate::shell) mod opening;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use self::book::{Book, Group, NewestRecord};
use self::opening::Opened;
use super::lock::StoreLock;
use super::sqlite::Sqlite;
use crate::kernel::anchor::{self, Anchor, Opening, StateError};
use crate::kernel::failures::Failures;
use crate::kernel::receipt::Batch;
use crate::kernel::seal::{DataKey, Kind, RecordKey};
use crate::ports::{AnchorSlots, Ledger, LedgerError, Plain};

/// Sealed rows, one chain, one anchor.
pub struct SealedLedger<A> {
    key: DataKey,
    slots: A,
    book: Mutex<Book>,
    reader: Mutex<Sqlite>,
    /// Whoever leads holds it; it writes. The last to be closed: it leaves nothing in its journal.
    writer: Mutex<Sqlite>,
    /// Behind everything that has the file open.
    _lock: StoreLock,
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
        slots.replace(&Anchor::of(&opened.end.newest).encode(&key))?;
        let reader = Mutex::new(sqlite.reader()?);
        Ok(SealedLedger {
            key,
            slots,
            book: Mutex::new(Book::new(opened)),
            writer: Mutex::new(sqlite),
            reader,
            _lock: lock,
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
            Err(error) => {
                tracing::error!("{error}; the store stays closed until the module is opened again");
                book.led = false;
                book.close(&error.to_string());
                group.done.notify_all();
            }
        }
        std::mem::forget(abandoned);
        book
    }

    /// From here on a failure leaves open what is durable.
    fn write(&self, group: &Group) -> Result<(), LedgerError> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).commit(&group.pages)?;
        Ok(self.slots.replace(&group.anchor.encode(&self.key))?)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|poisoned| {
            let mut book = PoisonError::into_inner(poisoned);
            // A panic half-way through a change leaves the book in doubt.
            book.close("an internal error");
            book
        })
    }
}

/// Whoever leads and does not come back: nobody may wait for it.
struct Abandoned<'a, A: AnchorSlots> {
    ledger: &'a SealedLedger<A>,
    done: &'a Condvar,
}

impl<A: AnchorSlots> Drop for Abandoned<'_, A> {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        book.led = false;
        book.close("an internal error");
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
                    let row = self.reader.lock().unwrap_or_else(PoisonError::into_inner).row(place)?;
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
        while book.durable < sequence {
            book.check_open()?;
            book = if book.led { wait(&done, book) } else { self.lead(book) };
        }
        Ok(())
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
}

fn wait<'a>(done: &Condvar, book: MutexGuard<'a, Book>) -> MutexGuard<'a, Book> {
    done.wait(book).unwrap_or_else(|poisoned| {
        let mut book = PoisonError::into_inner(poisoned);
        book.close("an internal error");
        book
    })
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
