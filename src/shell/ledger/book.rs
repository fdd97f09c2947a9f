//! The ledger's memory: the newest version of every record, durable or not, and the changes that wait to
//! become durable.
//!
//! Reading sees waiting changes. A change may build on one that is not durable yet, because it waits behind
//! it. If that one fails, all behind it fail, too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::opening::Opened;
use crate::kernel::anchor::Anchored;
use crate::kernel::audit::{Head, Link, MAX_BATCH};
use crate::kernel::failures::Failures;
use crate::kernel::officer::CouncilDigest;
use crate::kernel::receipt::{Batch, Content};
use crate::kernel::recent::Recent;
use crate::kernel::seal::{DataKey, Kind, RecordKey, SetHash};
use crate::ports::{LedgerError, LedgerStanding, Pages, Random, Row};

/// Version and set-hash element of every record.
pub(in crate::shell) type Index = HashMap<RecordKey, (u64, SetHash)>;

/// The most sealed records that are cached: those of the users and wallets that sign now.
const MAX_RECENT: usize = 4_096;

/// The ledger's memory.
pub(super) struct Book {
    index: Index,
    newest: Newest,
    failures: Failures,
    /// The newest version that is written but not durable: sealed, or `None` if the record is removed.
    pending: HashMap<RecordKey, (u64, Option<Vec<u8>>)>,
    /// Sealed records that were read or written recently, with their versions.
    recent: Recent<RecordKey, (u64, Vec<u8>)>,
    waiting: VecDeque<Group>,
    /// The callers whose group is being written wait here.
    leading: Option<Arc<Condvar>>,
    /// The time at which a caller began to write the present group, if one does.
    pub(super) led_since: Option<Instant>,
    /// The sequence up to which everything is durable and anchored.
    pub(super) durable: u64,
    /// Whether a write failed, and the store or the token is being opened again.
    pub(super) reviving: bool,
    closed: Option<Closed>,
}

/// The reason why the ledger is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) reason: String,
    /// The resulting state of the ledger.
    pub(super) standing: LedgerStanding,
}

impl From<LedgerError> for Closed {
    fn from(error: LedgerError) -> Closed {
        Closed { reason: error.to_string(), standing: LedgerStanding::Closed }
    }
}

/// The book's entry for a record.
pub(super) struct NewestRecord {
    pub(super) version: u64,
    /// The element of exactly these bytes. A row of the same version may come from a batch that a crash took
    /// back.
    pub(super) element: SetHash,
    /// Its bytes, if they are in memory.
    pub(super) sealed: Option<Vec<u8>>,
    /// It is durable and anchored.
    pub(super) is_settled: bool,
}

/// The newest link.
#[derive(Clone, Copy)]
struct Newest {
    sequence: u64,
    head: Head,
    set: SetHash,
    time: u64,
    council: Option<CouncilDigest>,
}

/// Changes that become durable together.
pub(super) struct Group {
    pub(super) pages: Pages,
    /// The anchor after them.
    pub(super) anchored: Anchored,
    first: u64,
    /// The callers of the group wait here.
    pub(super) done: Arc<Condvar>,
}

impl Book {
    pub(super) fn new(opened: Opened) -> Book {
        let Opened { index, end, time, failures, .. } = opened;
        let newest = Newest {
            sequence: end.newest.sequence,
            head: end.head,
            set: end.newest.set,
            time,
            council: end.council,
        };
        Book {
            index,
            newest,
            failures,
            pending: HashMap::new(),
            recent: Recent::new(MAX_RECENT),
            waiting: VecDeque::new(),
            leading: None,
            led_since: None,
            durable: newest.sequence,
            reviving: false,
            closed: None,
        }
    }

    pub(super) fn check_open(&self) -> Result<(), LedgerError> {
        self.closed.as_ref().map_or(Ok(()), |closed| Err(LedgerError::Closed(closed.reason.clone())))
    }

    /// The state of the ledger. A group may take `patience` to write.
    pub(super) fn standing(&self, patience: Duration) -> LedgerStanding {
        match &self.closed {
            Some(closed) => closed.standing,
            None if self.reviving => LedgerStanding::Reviving,
            None if self.led_since.is_some_and(|since| since.elapsed() >= patience) => LedgerStanding::Stuck,
            None => LedgerStanding::Open,
        }
    }

    /// Closes the ledger because something in this process went wrong.
    pub(super) fn close_after_a_panic(&mut self) {
        self.close(Closed { reason: "an internal error".into(), standing: LedgerStanding::Closed });
    }

    /// Closes the ledger, and wakes all who wait. The first reason stays.
    pub(super) fn close(&mut self, closed: Closed) {
        self.closed.get_or_insert(closed);
        for group in self.waiting.drain(..) {
            group.done.notify_all();
        }
    }

    /// The newest version of a record.
    pub(super) fn newest(&mut self, place: &RecordKey) -> Option<NewestRecord> {
        let (version, element) = *self.index.get(place)?;
        let pending = self.pending.get(place).and_then(|(_, sealed)| sealed.clone());
        let of_this_version = |(found, sealed)| (found == version).then_some(sealed);
        let sealed = pending.or_else(|| self.recent.get(place).and_then(of_this_version));
        Some(NewestRecord { version, element, sealed, is_settled: version <= self.durable })
    }

    /// The newest version of a record.
    pub(super) fn version(&self, place: &RecordKey) -> Option<u64> {
        self.index.get(place).map(|(version, _)| *version)
    }

    /// Caches a record that was read.
    pub(super) fn keep(&mut self, place: RecordKey, version: u64, sealed: Vec<u8>) {
        self.recent.put(place, (version, sealed));
    }

    pub(super) fn places(&self, kind: Kind) -> Vec<RecordKey> {
        self.index.keys().filter(|place| place.kind == kind).copied().collect()
    }

    pub(super) fn time(&self) -> u64 {
        self.newest.time
    }

    /// The number of the newest link, and the head after it.
    pub(super) fn seen(&self) -> (u64, Head) {
        (self.newest.sequence, self.newest.head)
    }

    pub(super) fn failures(&self) -> Failures {
        self.failures.clone()
    }

    /// Puts a batch behind all that wait, if every record still has the version that the batch expects, and none exists where the batch
    /// expects none. Returns the sequence of its link, and where to wait for it.
    pub(super) fn enter(
        &mut self,
        key: &DataKey,
        random: &dyn Random,
        batch: &Batch,
    ) -> Result<(u64, Arc<Condvar>), LedgerError> {
        if batch.is_overtaken(|place| self.version(place)) {
            return Err(LedgerError::Conflict);
        }
        let sequence = self.newest.sequence + 1;
        let begins = self.waiting.back().is_none_or(|group| sequence - group.first >= MAX_BATCH);
        let first = if begins { sequence } else { self.waiting.back().map_or(sequence, |group| group.first) };
        // Everything that can fail comes before the first change of the book.
        let Sealed { rows, elements, set } =
            seal((key, random), batch, sequence, &self.index, self.newest.set)?;
        let Newest { head: previous, time, .. } = self.newest;
        let link =
            Link { sequence, time: batch.time, event: batch.event.clone(), previous, set, batch: first };
        let sealed_link = seal_link((key, random), &link)?;

        let council = link.event.council().or(self.newest.council);
        let (anchored, head) = (Anchored::of(&link, council), link.head());
        self.newest = Newest { sequence, head, set, time: time.max(batch.time), council };
        for (place, element) in elements {
            match element {
                Some(element) => self.index.insert(place, (sequence, element)),
                None => self.index.remove(&place),
            };
        }
        if begins {
            let done = Arc::new(Condvar::new());
            let pages = Pages { after: Some(first - 1), ..Pages::default() };
            self.waiting.push_back(Group { pages, anchored, first, done });
        }
        let group = self.waiting.back_mut().expect("there is one: it was pushed if there was none");
        group.anchored = anchored;
        group.pages.links.push((sequence, sealed_link));
        for (place, row) in rows {
            let sealed = row.as_ref().map(|row: &Row| row.sealed.clone());
            self.pending.insert(place, (sequence, sealed));
            group.pages.rows.insert(place, row);
        }
        Ok((sequence, Arc::clone(&group.done)))
    }

    /// The newest link, if it is not durable yet, and where to wait for it.
    pub(super) fn unsettled(&self) -> Option<(u64, Arc<Condvar>)> {
        let done = self.waiting.back().map(|group| &group.done).or(self.leading.as_ref())?;
        (self.durable < self.newest.sequence).then(|| (self.newest.sequence, Arc::clone(done)))
    }

    /// The group to write next.
    pub(super) fn next_group(&mut self) -> Option<Group> {
        let group = self.waiting.pop_front();
        self.led_since = group.as_ref().map(|_| Instant::now());
        self.leading = group.as_ref().map(|group| Arc::clone(&group.done));
        group
    }

    /// A group is durable and anchored. Wakes its callers, and one of those who wait for the next group.
    pub(super) fn settle(&mut self, group: &Group) {
        self.durable = group.anchored.sequence;
        for place in group.pages.rows.keys() {
            if self.pending.get(place).is_some_and(|(version, _)| *version <= self.durable)
                && let Some((version, Some(sealed))) = self.pending.remove(place)
            {
                self.recent.put(*place, (version, sealed));
            }
        }
        self.led_since = None;
        group.done.notify_all();
        if let Some(next) = self.waiting.front() {
            next.done.notify_one();
        }
    }
}

/// The first commit of a new store: its pages, and its anchor.
pub(super) fn begin(
    key: &DataKey,
    random: &dyn Random,
    first: &Batch,
) -> Result<(Pages, Anchored), LedgerError> {
    let Sealed { rows, set, .. } = seal((key, random), first, 0, &Index::new(), SetHash::default())?;
    let (time, event) = (first.time, first.event.clone());
    let link = Link { sequence: 0, time, event, previous: Head::default(), set, batch: 0 };
    let links = vec![(0, seal_link((key, random), &link)?)];
    Ok((
        Pages { after: None, rows: rows.into_iter().collect(), links },
        Anchored::of(&link, link.event.council()),
    ))
}

/// The commit that accepts a restored store: its pages, and its anchor. `lost` is the link that was anchored.
/// The new link's number is above that link and above a batch that may have been written after it.
pub(super) fn restore(
    key: &DataKey,
    random: &dyn Random,
    opened: &Opened,
    lost: u64,
    batch: &Batch,
) -> Result<(Pages, Anchored), LedgerError> {
    let newest = &opened.end.newest;
    let sequence = newest.sequence.max(lost.saturating_add(MAX_BATCH)).saturating_add(1);
    let Sealed { rows, set, .. } = seal((key, random), batch, sequence, &opened.index, newest.set)?;
    let (time, event, previous) = (batch.time, batch.event.clone(), opened.end.head);
    let link = Link { sequence, time, event, previous, set, batch: sequence };
    let links = vec![(sequence, seal_link((key, random), &link)?)];
    let pages = Pages { after: Some(newest.sequence), rows: rows.into_iter().collect(), links };
    let council = link.event.council().or(opened.end.council);
    Ok((pages, Anchored::of(&link, council)))
}

/// The inputs of sealing: the key, and the source of nonces.
type By<'a> = (&'a DataKey, &'a dyn Random);

/// Sealed writes, their set-hash elements, and the set after them.
struct Sealed {
    rows: Vec<(RecordKey, Option<Row>)>,
    elements: Vec<(RecordKey, Option<SetHash>)>,
    set: SetHash,
}

/// Seals the writes of a batch as versions `sequence`.
fn seal(
    (key, random): By<'_>,
    batch: &Batch,
    sequence: u64,
    index: &Index,
    mut set: SetHash,
) -> Result<Sealed, LedgerError> {
    let (mut rows, mut elements) = (Vec::new(), Vec::<(RecordKey, Option<SetHash>)>::new());
    for write in &batch.writes {
        let place = write.place;
        // The newest element of the place, which may come from an earlier write of this batch.
        let earlier =
            elements.iter().rev().find(|(written, _)| *written == place).map(|(_, element)| *element);
        if let Some(element) = earlier.unwrap_or_else(|| index.get(&place).map(|(_, element)| *element)) {
            set = set.without(element);
        }
        let (row, element) = match &write.content {
            Content::Put(plaintext) => {
                let sealed = key.seal(&place, sequence, nonce(random)?, plaintext);
                let element = key.element(&place, sequence, &sealed);
                set = set.with(element);
                (Some(Row { version: sequence, sealed }), Some(element))
            }
            Content::Remove => (None, None),
        };
        rows.push((place, row));
        elements.push((place, element));
    }
    Ok(Sealed { rows, elements, set })
}

fn seal_link((key, random): By<'_>, link: &Link) -> Result<Vec<u8>, LedgerError> {
    Ok(key.seal(&RecordKey::link(link.sequence), link.sequence, nonce(random)?, &link.encode()))
}

fn nonce(random: &dyn Random) -> Result<[u8; 12], LedgerError> {
    let mut nonce = [0; 12];
    random.fill(&mut nonce)?;
    Ok(nonce)
}
