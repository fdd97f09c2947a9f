//! Ledgers for comparisons: one that makes nothing durable, and the real one with its anchor in memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use super::{MEMORY_KEY, Plain, unsealed};
use countersign::kernel::anchor::StateError;
use countersign::kernel::audit::{Head, Link};
use countersign::kernel::failures::Failures;
use countersign::kernel::receipt::{Batch, Committed, Content};
use countersign::kernel::seal::{DataKey, Kind, RecordKey, StoreId, Unsealed};
use countersign::ports::{Anchor, Header, Ledger, LedgerError, Site, Vault};
use countersign::shell::ledger::{self, SealedLedger};
use countersign::shell::random::SystemRandom;
use countersign::shell::sqlite::SqliteSite;

use super::fakes::MemoryAnchor;

/// Records in memory, under the same rules, without a durable commit.
#[derive(Clone, Default)]
pub struct NoCommit(Arc<Mutex<(u64, HashMap<RecordKey, Plain>)>>);

impl Ledger for NoCommit {
    fn read(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError> {
        Ok(self.0.lock().expect("not poisoned").1.get(place).map(|record| unsealed(place, record)))
    }

    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError> {
        Ok(self.0.lock().expect("not poisoned").1.get(place).map(|(version, _)| *version))
    }

    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError> {
        let state = self.0.lock().expect("not poisoned");
        Ok(state.1.keys().filter(|place| place.kind == kind).copied().collect())
    }

    fn settle(&self, _: u64) -> Result<(), LedgerError> {
        Ok(())
    }

    fn commit<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, LedgerError> {
        let (version, records) = &mut *self.0.lock().expect("not poisoned");
        if batch.is_overtaken(|place| records.get(place).map(|(version, _)| *version)) {
            return Err(LedgerError::Conflict);
        }
        *version += 1;
        for write in &batch.writes {
            match &write.content {
                Content::Put(plaintext) => records.insert(write.place, (*version, plaintext.clone())),
                Content::Remove => records.remove(&write.place),
            };
        }
        Ok(Committed::by(&MEMORY_KEY, batch))
    }

    fn store(&self) -> StoreId {
        *MEMORY_KEY.store()
    }

    fn newest(&self) -> (u64, Head) {
        (self.0.lock().expect("not poisoned").0, Head::default())
    }

    fn high_water(&self) -> u64 {
        0
    }

    fn failures(&self) -> Failures {
        Failures::default()
    }

    fn close(&self, found: &StateError) {
        panic!("{found}");
    }

    fn closed(&self) -> bool {
        false
    }
}

impl Vault for NoCommit {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        Ok(None)
    }

    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError> {
        let committed = self.commit(first)?;
        Ok((Box::new(self.clone()), committed))
    }
}

/// The real ledger over SQLite, with its anchor in memory.
pub struct AnchorInMemory {
    path: PathBuf,
    anchor: MemoryAnchor,
}

impl AnchorInMemory {
    pub fn new(path: PathBuf) -> AnchorInMemory {
        AnchorInMemory::with(path, MemoryAnchor::default())
    }

    pub fn with(path: PathBuf, anchor: MemoryAnchor) -> AnchorInMemory {
        AnchorInMemory { path, anchor }
    }

    pub fn anchor(&self) -> MemoryAnchor {
        self.anchor.clone()
    }

    fn key() -> DataKey {
        DataKey::new([1; 16], Zeroizing::new([2; 32]))
    }

    /// All links, while nobody has it open.
    pub fn links(&self) -> Result<Vec<Link>, LedgerError> {
        let store = SqliteSite::new(self.path.clone())?.open()?.expect("it was made");
        let (key, mut links) = (AnchorInMemory::key(), Vec::new());
        store.view()?.follow(0, &mut |sequence, sealed| {
            let plaintext =
                key.open(&RecordKey::link(sequence), sequence, &sealed).expect("it is of this store");
            links.push(Link::decode(&plaintext).expect("a link"));
            Ok(())
        })?;
        Ok(links)
    }

    pub fn reopen(&self) -> Result<SealedLedger, LedgerError> {
        let store = SqliteSite::new(self.path.clone())?.open()?.expect("it was made");
        let anchor = Arc::new(self.anchor.clone());
        SealedLedger::open(store, AnchorInMemory::key(), anchor, Arc::new(SystemRandom))
    }
}

impl Vault for AnchorInMemory {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        if self.path.exists() { Ok(Some(Box::new(self.reopen()?))) } else { Ok(None) }
    }

    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError> {
        let (pages, anchored) = ledger::begin(&AnchorInMemory::key(), &SystemRandom, first)?;
        let (site, header) =
            (SqliteSite::new(self.path.clone())?, Header { store: [1; 16], wrapped_key: vec![] });
        site.claim()?.make(&header, &pages, &mut || Ok(self.anchor.step(None, &anchored)?))?;
        Ok((Box::new(self.reopen()?), Committed::by(&AnchorInMemory::key(), first)))
    }
}
