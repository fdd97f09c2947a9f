//! Opening: one scan of all links and one of all records, side by side.

use std::thread;

use super::book::Index;
use crate::kernel::anchor::StateError;
use crate::kernel::audit::{ChainEnd, Link};
use crate::kernel::failures::Failures;
use crate::kernel::seal::{DataKey, RecordKey, SetHash};
use crate::ports::{LedgerError, View};

/// The result of the scans.
pub(in crate::shell) struct Opened {
    /// Version and set-hash element of every record.
    pub(in crate::shell) index: Index,
    /// The set hash over all records.
    pub(in crate::shell) records: SetHash,
    /// The end of the chain.
    pub(in crate::shell) end: ChainEnd,
    /// The newest time of any link, Unix seconds.
    pub(in crate::shell) time: u64,
    /// The wrong tries of the last hour.
    pub(super) failures: Failures,
}

impl Opened {
    /// Scans a store that nobody writes, with two views of it.
    pub(in crate::shell) fn scan(
        [links, rows]: [Box<dyn View>; 2],
        key: &DataKey,
    ) -> Result<Opened, LedgerError> {
        // Two cores, two scans: with a million users each scan takes seconds.
        let (chain, records) = thread::scope(|scope| {
            let records = scope.spawn(move || index(&*rows, key));
            let chain = chain(&*links, key, |_| Ok(()));
            (chain, records.join())
        });
        let Chain { end, time, failures } = chain?;
        let (index, records) =
            records.unwrap_or_else(|_| Err(LedgerError::Closed("an internal error".into())))?;
        Ok(Opened { index, records, end, time, failures })
    }
}

/// The result of following the chain.
pub(in crate::shell) struct Chain {
    pub(in crate::shell) end: ChainEnd,
    time: u64,
    failures: Failures,
}

/// Follows the chain from its first link to the newest one, and shows each.
pub(in crate::shell) fn chain(
    view: &dyn View,
    key: &DataKey,
    mut show: impl FnMut(&Link) -> Result<(), LedgerError>,
) -> Result<Chain, LedgerError> {
    let damaged = |sequence: u64, what: &str| {
        LedgerError::State(StateError::Sealed(format!("link {sequence} of the history is {what}")))
    };
    let (mut end, mut time, mut failures) = (None::<ChainEnd>, 0, Failures::default());
    view.follow(0, &mut |sequence, sealed| {
        let plaintext = key
            .open(&RecordKey::link(sequence), sequence, &sealed)
            .map_err(|error| damaged(sequence, &error.to_string()))?;
        let link =
            Link::decode(&plaintext).ok_or_else(|| damaged(sequence, "of a format that is not known"))?;
        let expected = end.as_ref().map_or(0, |end| end.newest.sequence + 1);
        if link.sequence != sequence {
            return Err(damaged(expected, "missing or another one"));
        }
        time = time.max(link.time);
        failures.replay(link.time, &link.event);
        show(&link)?;
        let next = match end.take() {
            None => ChainEnd::begin(link),
            Some(end) => end.follow(link),
        };
        end = Some(next.ok_or_else(|| damaged(expected, "missing or another one"))?);
        Ok(())
    })?;
    let end = end.ok_or_else(|| damaged(0, "missing"))?;
    Ok(Chain { end, time, failures })
}

/// Scans all records: the index, and the set hash over them.
pub(in crate::shell) fn index(view: &dyn View, key: &DataKey) -> Result<(Index, SetHash), LedgerError> {
    // Allocated at once: growing would hold the old table together with the new one.
    let (mut index, mut set) = (Index::with_capacity(view.count()?), SetHash::default());
    view.rows(&mut |place, row| {
        let element = key.element(&place, row.version, &row.sealed);
        set = set.with(element);
        index.insert(place, (row.version, element));
        Ok(())
    })?;
    Ok((index, set))
}
