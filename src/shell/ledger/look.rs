//! Checks the open store: is it still where it was, and does the disk have what was written?
//!
//! A commit checks before the anchor moves; a question about the ledger's standing checks if nobody writes. Each check looks at the files'
//! places. It reads header and newest link if the last such read is a second old. In the boundary a thread with its own handle reads
//! everything once an hour: only reading finds garbage that was written into the file in place.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::book::Book;
use super::opening::chain;
use super::revival::{Stumble, lost};
use super::{SealedLedger, Writer, in_order};
use crate::kernel::anchor::{Anchor, StateError};
use crate::kernel::audit::Link;
use crate::kernel::seal::{DataKey, RecordKey, SetHash};
use crate::ports::{AnchorSlots, LedgerError, LedgerStanding};
use crate::shell::sqlite::Sqlite;

/// When the store was looked at.
pub(super) struct Looks {
    /// At the header and the newest link. Never, at first: the first batch shows that writer and reader have one file.
    glanced: Option<Instant>,
    /// At everything: opening is such a look.
    whole: Instant,
    reading: Option<Reading>,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { glanced: None, whole: Instant::now(), reading: None }
    }
}

/// The thread that reads everything. It ends with this.
struct Reading {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that has panicked has found nothing.
            let _ = thread.join();
        }
    }
}

impl<A: AnchorSlots> SealedLedger<A> {
    /// Looks at the store, whose newest link must be that of `newest`.
    pub(super) fn look_at_store(&self, writer: &mut Writer, newest: &Anchor) -> Result<(), Stumble> {
        let cut = writer.place.look()?;
        let is_due = writer.looks.glanced.is_none_or(|at| at.elapsed() >= self.upkeep.glance);
        if is_due || cut.is_some() {
            self.glance(newest).map_err(of_look)?;
            writer.looks.glanced = Some(Instant::now());
        }
        if let Some(size) = cut {
            // Another program may have written it anew, and smaller: then everything is there.
            read_whole(&self.path, &self.key, newest, &AtomicBool::new(false)).map_err(of_look)?;
            writer.place.take_size(size);
        }
        if self.upkeep.whole.is_some_and(|whole| writer.looks.whole.elapsed() >= whole) {
            self.begin_reading(writer, *newest);
        }
        Ok(())
    }

    /// The same for the newest batch, where nobody writes: whoever writes looks.
    pub(super) fn look_if_nobody_writes(&self) {
        if self.book().standing(self.upkeep.patience) != LedgerStanding::Open {
            return;
        }
        let Ok(mut writer) = self.writer.try_lock() else { return };
        if writer.is_in_doubt {
            return;
        }
        let anchored = writer.anchored;
        match self.look_at_store(&mut writer, &anchored) {
            Ok(()) => {}
            Err(Stumble::End(closed)) => {
                tracing::error!("{}", closed.reason);
                self.book().close(closed);
            }
            // The next batch meets it, too, and opens the store anew.
            Err(Stumble::Store(error) | Stumble::Token(error)) => tracing::warn!("{error}"),
        }
    }

    fn glance(&self, newest: &Anchor) -> Result<(), LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reader) = &*reader else { return Ok(()) };
        let (store, sequence, sealed) = reader.glance()?;
        let opened = self.key.open(&RecordKey::link(sequence), sequence, &sealed);
        let link = opened.ok().and_then(|plaintext| Link::decode(&plaintext));
        if store == self.key.store() && link.is_some_and(|link| Anchor::of(&link) == *newest) {
            return Ok(());
        }
        Err(StateError::Sealed(format!("link {} is not there as it was written", newest.sequence)).into())
    }

    /// Has a thread read everything, unless one does.
    fn begin_reading(&self, writer: &mut Writer, newest: Anchor) {
        let is_running =
            |reading: &Reading| reading.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if writer.looks.reading.as_ref().is_some_and(is_running) {
            return;
        }
        writer.looks.whole = Instant::now();
        let (path, key, book) = (self.path.clone(), Arc::clone(&self.key), Arc::clone(&self.book));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let begun = std::thread::Builder::new()
            .name("countersign look".into())
            .spawn(move || look_at_all(&path, &key, &newest, &stopped, &book));
        match begun {
            Ok(thread) => writer.looks.reading = Some(Reading { stop, thread: Some(thread) }),
            Err(error) => tracing::warn!("the store was not read in full this hour: {error}"),
        }
    }
}

fn look_at_all(path: &Path, key: &DataKey, newest: &Anchor, stop: &AtomicBool, book: &Mutex<Book>) {
    match read_whole(path, key, newest, stop).map_err(of_look) {
        Ok(()) => {}
        Err(_) if stop.load(Ordering::Relaxed) => {}
        Err(Stumble::End(closed)) => {
            tracing::error!("{}", closed.reason);
            in_order(book.lock()).close(closed);
        }
        Err(Stumble::Store(error) | Stumble::Token(error)) => {
            tracing::warn!("{error}: it was not read in full");
        }
    }
}

/// Reads every link and every record by a handle of its own. `newest` must be among the links, and the records those of the
/// newest one.
fn read_whole(path: &Path, key: &DataKey, newest: &Anchor, stop: &AtomicBool) -> Result<(), LedgerError> {
    let check = || match stop.load(Ordering::Relaxed) {
        true => Err(LedgerError::Closed("the store is closing".into())),
        false => Ok(()),
    };
    let sqlite = Sqlite::read_only(path)?;
    sqlite.hold_still()?;
    // A damaged file is told from one that cannot be read just now.
    sqlite.glance()?;
    let mut is_there = false;
    let end = chain(&sqlite, key, |link| {
        is_there |= link.sequence == newest.sequence && Anchor::of(link) == *newest;
        check()
    })?
    .end;
    if !is_there {
        return Err(StateError::Older { store: end.newest.sequence, anchor: newest.sequence }.into());
    }
    let mut records = SetHash::default();
    sqlite.for_each_row(|place, row| {
        records = records.with(key.element(&place, row.version, &row.sealed));
        check()
    })?;
    if records == end.newest.set { Ok(()) } else { Err(StateError::Records.into()) }
}

/// What a look found: it may be read later, or the file is not what was written.
fn of_look(error: LedgerError) -> Stumble {
    match error {
        LedgerError::State(error) => Stumble::End(lost(error.to_string())),
        error => Stumble::Store(error),
    }
}
