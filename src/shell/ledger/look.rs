//! Checks the open store: is it still where it was, and does the disk have what was written?
//!
//! A caller that commits looks before the anchor moves. If nobody writes, a caller that asks for the state of
//! the ledger looks. The place of the files is checked each time, and header and newest link if the last
//! check is a second old. In the boundary, a thread of its own reads everything once an hour. Each look uses
//! a view of its own with nothing cached, so it sees what is on the disk. If garbage is written into the
//! store's file in place, neither inode nor size changes, and only reading finds it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::book::Book;
use super::opening::chain;
use super::revival::{Stumble, lost, of_store};
use super::{SealedLedger, Writer, in_order};
use crate::kernel::anchor::{Anchored, StateError};
use crate::kernel::audit::Link;
use crate::kernel::seal::{DataKey, RecordKey, SetHash};
use crate::ports::{LedgerError, LedgerStanding, Sight, View};

/// The times of the last looks.
pub(super) struct Looks {
    /// At the header and the newest link. Never, at first: the first batch then checks that writer and reader
    /// have the same file.
    glanced: Option<Instant>,
    /// At everything. Opening counts as such a look.
    whole: Instant,
    reading: Option<Reading>,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { glanced: None, whole: Instant::now(), reading: None }
    }
}

/// The thread that reads everything, which ends when this is dropped.
struct Reading {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has found nothing.
            let _ = thread.join();
        }
    }
}

impl SealedLedger {
    /// Looks at the store, whose newest link must be that of `newest`.
    pub(super) fn look_at_store(&self, writer: &mut Writer, newest: &Anchored) -> Result<(), Stumble> {
        let sight = writer.store.look().map_err(of_look)?;
        let is_due = writer.looks.glanced.is_none_or(|at| at.elapsed() >= self.upkeep.glance);
        if is_due || sight == Sight::Smaller {
            let view = writer.store.view().map_err(of_look)?;
            glance(&*view, &self.key, newest).map_err(of_look)?;
            writer.looks.glanced = Some(Instant::now());
        }
        if sight == Sight::Smaller {
            // Another program may have rewritten it to a smaller file. Then everything in it must be there.
            let view = writer.store.view().map_err(of_look)?;
            read_whole(&*view, &self.key, newest, &AtomicBool::new(false)).map_err(of_look)?;
            writer.store.found_whole();
        }
        if self.upkeep.whole.is_some_and(|whole| writer.looks.whole.elapsed() >= whole) {
            self.begin_reading(writer, *newest)?;
        }
        Ok(())
    }

    /// The same for the newest batch, if nobody writes. A writer looks itself.
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
            // The next batch meets this, too, and opens the store again.
            Err(Stumble::Store(error) | Stumble::Token(error)) => tracing::warn!("{error}"),
        }
    }

    /// Starts a thread that reads everything, unless one runs.
    fn begin_reading(&self, writer: &mut Writer, newest: Anchored) -> Result<(), Stumble> {
        let is_running =
            |reading: &Reading| reading.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if writer.looks.reading.as_ref().is_some_and(is_running) {
            return Ok(());
        }
        let view = writer.store.view().map_err(of_look)?;
        writer.looks.whole = Instant::now();
        let (key, book) = (Arc::clone(&self.key), Arc::clone(&self.book));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let begun = std::thread::Builder::new()
            .name("countersign look".into())
            .spawn(move || look_at_all(view, &key, &newest, &stopped, &book));
        match begun {
            Ok(thread) => writer.looks.reading = Some(Reading { stop, thread: Some(thread) }),
            Err(error) => tracing::warn!("the store was not read in full this hour: {error}"),
        }
        Ok(())
    }
}

/// Reads header and newest link. No link may follow that one, because this caller keeps all others from
/// writing.
fn glance(view: &dyn View, key: &DataKey, newest: &Anchored) -> Result<(), LedgerError> {
    let (mut is_there, mut more) = (false, 0);
    let is_ours = view.header()?.store == *key.store();
    view.follow(newest.sequence, &mut |sequence, sealed| {
        let opened = key.open(&RecordKey::link(sequence), sequence, &sealed);
        let link = opened.ok().and_then(|plaintext| Link::decode(&plaintext));
        is_there |= link.is_some_and(|link| newest.is_of(&link));
        more += 1;
        Ok(())
    })?;
    if is_ours && is_there && more == 1 {
        return Ok(());
    }
    Err(StateError::Sealed(format!("link {} is not there as it was written", newest.sequence)).into())
}

fn look_at_all(view: Box<dyn View>, key: &DataKey, newest: &Anchored, stop: &AtomicBool, book: &Mutex<Book>) {
    match read_whole(&*view, key, newest, stop).map_err(of_look) {
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

/// Reads every link and every record. `newest` must be among the links, and the records must belong to the
/// newest one.
fn read_whole(
    view: &dyn View,
    key: &DataKey,
    newest: &Anchored,
    stop: &AtomicBool,
) -> Result<(), LedgerError> {
    let check = || match stop.load(Ordering::Relaxed) {
        true => Err(LedgerError::Closed("the store is closing".into())),
        false => Ok(()),
    };
    view.hold_still()?;
    let mut is_there = false;
    let end = chain(view, key, |link| {
        is_there |= link.sequence == newest.sequence && newest.is_of(link);
        check()
    })?
    .end;
    if !is_there {
        return Err(StateError::Older { store: end.newest.sequence, anchor: newest.sequence }.into());
    }
    let mut records = SetHash::default();
    view.rows(&mut |place, row| {
        records = records.with(key.element(&place, row.version, &row.sealed));
        check()
    })?;
    if records == end.newest.set { Ok(()) } else { Err(StateError::Records.into()) }
}

/// The meaning of an error in a look: reading may work later, or the store is not what was written.
fn of_look(error: LedgerError) -> Stumble {
    match error {
        LedgerError::State(error) => Stumble::End(lost(error.to_string())),
        error => of_store(error),
    }
}
