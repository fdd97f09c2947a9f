//! The ledger: sealed rows in SQLite, one chain, one anchor.
//!
//! Invariants:
//! - L1. A commit is written and synced first, anchored second, answered third.
//! - L2. A record's version is the sequence of the commit that wrote it: no version of any record comes twice, not even
//!   after it was removed, so that a row put back is noticed.
//! - L3. After a commit that failed half-way nothing is answered any more: only opening anew tells what is durable.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lock::StoreLock;
use super::sqlite::{Row, RowWrite, Sqlite};
use crate::kernel::anchor::{self, Anchor, Opening, StateError};
use crate::kernel::audit::{Head, Link};
use crate::kernel::receipt::{Batch, Content};
use crate::kernel::seal::{DataKey, Kind, RecordKey, SetHash};
use crate::ports::{AnchorSlots, Ledger, LedgerError, Plain};

/// Sealed rows, one chain, one anchor.
pub struct SealedLedger<A> {
    key: DataKey,
    slots: A,
    inner: Mutex<Inner>,
}

struct Inner {
    sqlite: Sqlite,
    /// Version and set-hash element of every record.
    index: HashMap<RecordKey, (u64, SetHash)>,
    newest: Newest,
    closed: Option<String>,
    _lock: StoreLock,
}

/// What the newest link says.
#[derive(Clone, Copy)]
struct Newest {
    sequence: u64,
    head: Head,
    set: SetHash,
    time: u64,
}

impl Newest {
    fn of(link: &Link) -> Newest {
        Newest { sequence: link.sequence, head: link.head(), set: link.set, time: link.time }
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
        let newest = newest_link(&sqlite, &key)?;
        let (index, records) = index(&sqlite, &key)?;
        let anchor = slots
            .values()?
            .iter()
            // A torn value is what a crash leaves of a new slot while the old one is still there.
            .filter_map(|value| Anchor::decode(value, &key))
            .max_by_key(|anchor| anchor.sequence)
            .ok_or(StateError::AnchorMissing)?;
        match anchor::judge(&newest, records, &anchor)? {
            Opening::Agree => {}
            Opening::RollForward => tracing::warn!("the last commit before a crash was anchored on opening"),
        }
        // Also where they agree: this clears away the second slot that a crash may have left.
        slots.replace(&Anchor::of(&newest).encode(&key))?;
        let inner = Inner { sqlite, index, newest: Newest::of(&newest), closed: None, _lock: lock };
        Ok(SealedLedger { key, slots, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = PoisonError::into_inner(poisoned);
            // A panic half-way through a commit leaves the index in doubt.
            inner.closed.get_or_insert_with(|| "an internal error".into());
            inner
        })
    }
}

impl<A: AnchorSlots> Ledger for SealedLedger<A> {
    fn read(&self, place: &RecordKey) -> Result<Option<Plain>, LedgerError> {
        let inner = self.inner();
        inner.check_open()?;
        let Some(&(version, _)) = inner.index.get(place) else { return Ok(None) };
        let damaged = |what: &str| {
            LedgerError::State(StateError::Sealed(format!("a {:?} record is {what}", place.kind)))
        };
        let row = inner.sqlite.row(place)?.ok_or_else(|| damaged("missing"))?;
        if row.version != version {
            return Err(damaged("of another version"));
        }
        let plaintext =
            self.key.open(place, version, &row.sealed).map_err(|error| damaged(&error.to_string()))?;
        Ok(Some((version, plaintext)))
    }

    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError> {
        let inner = self.inner();
        inner.check_open()?;
        Ok(inner.index.keys().filter(|place| place.kind == kind).copied().collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), LedgerError> {
        let mut inner = self.inner();
        inner.check_open()?;
        for write in &batch.writes {
            if inner.index.get(&write.place).map(|(version, _)| *version) != write.expected {
                return Err(LedgerError::Conflict);
            }
        }
        let sequence = inner.newest.sequence + 1;
        let (rows, elements, set) = seal(&self.key, batch, sequence, &inner.index, inner.newest.set)?;
        let link =
            Link { sequence, time: batch.time, event: batch.event.clone(), previous: inner.newest.head, set };
        let sealed_link = seal_link(&self.key, &link)?;
        // From here on a failure leaves open what is durable.
        let written = inner
            .sqlite
            .commit(&rows, sequence, &sealed_link)
            .and_then(|()| Ok(self.slots.replace(&Anchor::of(&link).encode(&self.key))?));
        if let Err(error) = written {
            tracing::error!("{error}; the store stays closed until the module is opened again");
            inner.closed = Some(error.to_string());
            return Err(error);
        }
        for (place, element) in elements {
            match element {
                Some(element) => inner.index.insert(place, (sequence, element)),
                None => inner.index.remove(&place),
            };
        }
        inner.newest = Newest { time: inner.newest.time.max(batch.time), ..Newest::of(&link) };
        Ok(())
    }

    fn high_water(&self) -> u64 {
        self.inner().newest.time
    }
}

impl Inner {
    fn check_open(&self) -> Result<(), LedgerError> {
        self.closed.as_ref().map_or(Ok(()), |reason| Err(LedgerError::Closed(reason.clone())))
    }
}

/// Writes the first commit of a new store, and gives its anchor.
pub fn begin(sqlite: &Sqlite, key: &DataKey, first: &Batch) -> Result<Vec<u8>, LedgerError> {
    let (rows, _, set) = seal(key, first, 0, &HashMap::new(), SetHash::default())?;
    let link =
        Link { sequence: 0, time: first.time, event: first.event.clone(), previous: Head::default(), set };
    sqlite.commit(&rows, 0, &seal_link(key, &link)?)?;
    Ok(Anchor::of(&link).encode(key))
}

type Sealed = (Vec<RowWrite>, Vec<(RecordKey, Option<SetHash>)>, SetHash);

/// Seals the writes of a batch as versions `sequence`: the rows, their set-hash elements, and the set after them.
fn seal(
    key: &DataKey,
    batch: &Batch,
    sequence: u64,
    index: &HashMap<RecordKey, (u64, SetHash)>,
    mut set: SetHash,
) -> Result<Sealed, LedgerError> {
    let (mut rows, mut elements) = (Vec::new(), Vec::new());
    for write in &batch.writes {
        let place = write.place;
        if let Some((_, element)) = index.get(&place) {
            set = set.without(*element);
        }
        let (row, element) = match &write.content {
            Content::Put(plaintext) => {
                let sealed = key.seal(&place, sequence, nonce()?, plaintext);
                let element = key.element(&place, sequence, &sealed);
                set = set.with(element);
                (Some(Row { version: sequence, sealed }), Some(element))
            }
            Content::Remove => (None, None),
        };
        rows.push(RowWrite { place, row });
        elements.push((place, element));
    }
    Ok((rows, elements, set))
}

fn seal_link(key: &DataKey, link: &Link) -> Result<Vec<u8>, LedgerError> {
    Ok(key.seal(&RecordKey::link(link.sequence), link.sequence, nonce()?, &link.encode()))
}

/// Follows the chain from its first link to the newest one, which it gives.
fn newest_link(sqlite: &Sqlite, key: &DataKey) -> Result<Link, LedgerError> {
    let damaged = |sequence: u64, what: &str| {
        LedgerError::State(StateError::Sealed(format!("link {sequence} of the history is {what}")))
    };
    let mut newest: Option<(Link, Head)> = None;
    sqlite.for_each_link(|sequence, sealed| {
        let plaintext = key
            .open(&RecordKey::link(sequence), sequence, &sealed)
            .map_err(|error| damaged(sequence, &error.to_string()))?;
        let link =
            Link::decode(&plaintext).ok_or_else(|| damaged(sequence, "of a format that is not known"))?;
        let (expected, previous) =
            newest.as_ref().map_or((0, Head::default()), |(last, head)| (last.sequence + 1, *head));
        if (link.sequence, sequence, link.previous) != (expected, expected, previous) {
            return Err(damaged(expected, "missing or another one"));
        }
        let head = link.head();
        newest = Some((link, head));
        Ok(())
    })?;
    newest.map(|(link, _)| link).ok_or_else(|| damaged(0, "missing"))
}

type Index = HashMap<RecordKey, (u64, SetHash)>;

fn index(sqlite: &Sqlite, key: &DataKey) -> Result<(Index, SetHash), LedgerError> {
    let (mut index, mut set) = (HashMap::new(), SetHash::default());
    sqlite.for_each_row(|place, row| {
        let element = key.element(&place, row.version, &row.sealed);
        set = set.with(element);
        index.insert(place, (row.version, element));
        Ok(())
    })?;
    Ok((index, set))
}

fn nonce() -> Result<[u8; 12], LedgerError> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).map_err(|error| {
        LedgerError::Backing(crate::ports::BackingError(format!("no randomness: {error}")))
    })?;
    Ok(nonce)
}
