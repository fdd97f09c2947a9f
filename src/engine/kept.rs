//! Records that are long to read and that everybody may look at as often as they like: each durable version is opened and parsed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Engine, EngineError, opened};
use crate::kernel::record::{Stored, Versioned};
use crate::kernel::seal::RecordKey;

/// Records of one kind in their durable versions, as they were read.
pub(super) struct Kept<T> {
    all: Mutex<HashMap<[u8; 16], Arc<Versioned<T>>>>,
    /// The length of what counts of a record.
    len: fn(&T) -> usize,
    /// The most of it that is kept.
    most: usize,
}

impl<T: Stored> Kept<T> {
    pub(super) fn new(len: fn(&T) -> usize, most: usize) -> Kept<T> {
        Kept { all: Mutex::default(), len, most }
    }

    /// Forgets those that are gone.
    pub(super) fn retain(&self, places: &[RecordKey]) {
        let there: std::collections::HashSet<[u8; 16]> = places.iter().map(|place| place.id).collect();
        self.all().retain(|id, _| there.contains(id));
    }

    fn get(&self, id: &[u8; 16], version: u64) -> Option<Arc<Versioned<T>>> {
        self.all().get(id).filter(|kept| kept.version() == version).cloned()
    }

    fn put(&self, id: [u8; 16], record: &Arc<Versioned<T>>) {
        let mut all = self.all();
        all.insert(id, Arc::clone(record));
        if all.values().map(|kept| (self.len)(kept.value())).sum::<usize>() > self.most {
            all.clear();
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<[u8; 16], Arc<Versioned<T>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// The record at a place in its present version, read now or before.
    pub(super) fn read_kept<T: Stored>(
        &self,
        kept: &Kept<T>,
        place: RecordKey,
    ) -> Result<Option<Arc<Versioned<T>>>, EngineError> {
        let ledger = self.ledger()?;
        let Some(version) = ledger.version(&place)? else { return Ok(None) };
        if let Some(found) = kept.get(&place.id, version) {
            return Ok(Some(found));
        }
        let Some(record) = ledger.read(&place)? else { return Ok(None) };
        let read = Arc::new(opened(ledger, &record)?);
        // If a commit under way fails, another one may have its number.
        if record.is_settled() {
            kept.put(place.id, &read);
        }
        Ok(Some(read))
    }
}
