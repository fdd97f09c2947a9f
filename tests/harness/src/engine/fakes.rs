//! The ledger's ports in memory: a store, an anchor, a sealer and randomness. Each fails on request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use countersign::kernel::seal::{RecordKey, StoreId};
use countersign::ports::{
    Anchor, BackingError, Claim, Header, LedgerError, Pages, Random, RandomError, ReopenError, Row, Sealer,
    Sight, Site, Store, View, VisitLink, VisitRow,
};
use countersign::shell::random::SystemRandom;
use zeroize::Zeroizing;

/// What a store in memory holds.
#[derive(Clone, Default)]
pub struct Kept {
    header: Option<Header>,
    pub rows: BTreeMap<RecordKey, Row>,
    pub links: BTreeMap<u64, Vec<u8>>,
    is_open: bool,
    is_broken: bool,
    /// The faults of the next commits.
    pub faults: VecDeque<StoreFault>,
    /// How many times the store fails to open again before it opens.
    pub away: u32,
    /// How many times the store was opened again.
    pub reopened: u32,
    /// Another store is at its place.
    pub displaced: bool,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing was written.
    Before,
    /// Everything was written, and the answer was lost.
    After,
    /// Somebody else writes a link first.
    Stranger,
}

/// The place of a store in memory.
#[derive(Clone, Default)]
pub struct MemorySite(Arc<Mutex<Kept>>);

impl MemorySite {
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("not poisoned")
    }

    fn io(problem: &str) -> LedgerError {
        LedgerError::Io { store: "memory".into(), problem: problem.into() }
    }
}

impl Site for MemorySite {
    fn name(&self) -> String {
        "memory".into()
    }

    fn open(&self) -> Result<Option<Box<dyn Store>>, LedgerError> {
        let mut kept = self.kept();
        if kept.is_open {
            return Err(LedgerError::InUse { store: self.name(), owner: "this one".into() });
        }
        if kept.header.is_none() {
            return Ok(None);
        }
        (kept.is_open, kept.is_broken) = (true, false);
        Ok(Some(Box::new(MemoryStore(self.clone()))))
    }

    fn claim(&self) -> Result<Box<dyn Claim + '_>, LedgerError> {
        match self.kept().header {
            None => Ok(Box::new(Claimed(self))),
            Some(_) => Err(LedgerError::Exists(self.name())),
        }
    }
}

struct Claimed<'a>(&'a MemorySite);

impl Claim for Claimed<'_> {
    fn make(
        &mut self,
        header: &Header,
        first: &Pages,
        anchor: &mut dyn FnMut() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        anchor()?;
        let mut kept = self.0.kept();
        kept.write(first)?;
        kept.header = Some(header.clone());
        Ok(())
    }

    fn take_back(&mut self) -> bool {
        self.0.kept().header.is_none()
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Store>, LedgerError> {
        Ok(self.0.open()?.expect("it was made"))
    }
}

impl Kept {
    fn write(&mut self, pages: &Pages) -> Result<(), LedgerError> {
        let found = self.links.keys().next_back().copied();
        if found != pages.after {
            return Err(LedgerError::Moved { store: "memory".into(), expected: pages.after, found });
        }
        for (place, row) in &pages.rows {
            match row {
                Some(row) => drop(self.rows.insert(*place, row.clone())),
                None => drop(self.rows.remove(place)),
            }
        }
        self.links.extend(pages.links.iter().cloned());
        Ok(())
    }
}

struct MemoryStore(MemorySite);

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.0.kept().is_open = false;
    }
}

impl Store for MemoryStore {
    fn name(&self) -> String {
        self.0.name()
    }

    fn view(&self) -> Result<Box<dyn View>, LedgerError> {
        Ok(Box::new(MemoryView { site: self.0.clone(), still: Mutex::default() }))
    }

    fn commit(&mut self, pages: &Pages) -> Result<(), LedgerError> {
        let mut kept = self.0.kept();
        if kept.is_broken {
            return Err(MemorySite::io("it failed, and was not opened anew"));
        }
        let fault = kept.faults.pop_front();
        kept.is_broken = fault.is_some();
        match fault {
            None => return kept.write(pages),
            Some(StoreFault::Before) => {}
            Some(StoreFault::After) => kept.write(pages)?,
            Some(StoreFault::Stranger) => {
                let next = kept.links.keys().next_back().map_or(0, |newest| newest + 1);
                kept.links.insert(next, vec![0]);
                return kept.write(pages);
            }
        }
        Err(MemorySite::io("broken by the test"))
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), LedgerError> {
        let mut kept = self.0.kept();
        kept.reopened += 1;
        match kept.away.checked_sub(1) {
            Some(left) => {
                kept.away = left;
                Err(MemorySite::io("nobody answers"))
            }
            None => {
                kept.is_broken = false;
                Ok(())
            }
        }
    }

    fn look(&mut self) -> Result<Sight, LedgerError> {
        if self.0.kept().displaced {
            let problem = "the memory is another one".into();
            return Err(LedgerError::Displaced { store: self.name(), problem });
        }
        Ok(Sight::Same)
    }

    fn found_whole(&mut self) {}
}

struct MemoryView {
    site: MemorySite,
    still: Mutex<Option<Kept>>,
}

impl MemoryView {
    fn now(&self) -> Kept {
        let still = self.still.lock().expect("not poisoned").clone();
        still.unwrap_or_else(|| self.site.kept().clone())
    }
}

impl View for MemoryView {
    fn header(&self) -> Result<Header, LedgerError> {
        Ok(self.now().header.expect("it was made"))
    }

    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError> {
        Ok(self.site.kept().rows.get(place).cloned())
    }

    fn count(&self) -> Result<usize, LedgerError> {
        Ok(self.site.kept().rows.len())
    }

    fn rows(&self, visit: &mut VisitRow<'_>) -> Result<(), LedgerError> {
        self.now().rows.into_iter().try_for_each(|(place, row)| visit(place, row))
    }

    fn follow(&self, since: u64, visit: &mut VisitLink<'_>) -> Result<(), LedgerError> {
        self.now()
            .links
            .into_iter()
            .skip_while(|(link, _)| *link < since)
            .try_for_each(|(at, link)| visit(at, link))
    }

    fn hold_still(&self) -> Result<(), LedgerError> {
        let now = self.site.kept().clone();
        *self.still.lock().expect("not poisoned") = Some(now);
        Ok(())
    }
}

/// An anchor in memory: every value that it ever had, once each, and its present values.
#[derive(Default)]
pub struct Anchorage {
    pub past: Vec<Vec<u8>>,
    pub now: Vec<Vec<u8>>,
    /// The faults of the next steps.
    pub faults: VecDeque<Fault>,
    /// How many times opening the token again fails before it works.
    pub away: u32,
    /// How many times the token lists no anchor, though it has one.
    pub unseen: u32,
    /// The token refuses the PIN.
    pub refuses: bool,
    /// How many times the token was opened again.
    pub reopened: u32,
    /// Runs during the next step.
    pub meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

/// How a step of the anchor fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Before,
    /// The new value was made, and the old one is still there.
    Between,
    /// Everything was done, and the answer was lost.
    After,
    /// An object that is no anchor was made.
    Torn,
    /// The token was put back to an older value.
    PutBack,
    /// The token was emptied.
    Emptied,
}

#[derive(Clone, Default)]
pub struct MemoryAnchor(Arc<Mutex<Anchorage>>);

impl MemoryAnchor {
    pub fn state(&self) -> MutexGuard<'_, Anchorage> {
        self.0.lock().expect("not poisoned")
    }
}

impl Anchor for MemoryAnchor {
    fn current(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        let mut state = self.state();
        if state.unseen > 0 {
            state.unseen -= 1;
            return Ok(vec![]);
        }
        Ok(state.now.clone())
    }

    /// Compares `old` with the present value, as strictly as any anchor may.
    fn step(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), BackingError> {
        let meanwhile = self.state().meanwhile.take();
        if let Some(act) = meanwhile {
            act();
        }
        let mut state = self.state();
        let is_one = |value: &Vec<u8>| value == new || old == Some(value);
        if old.is_some() && !state.now.iter().any(is_one) {
            return Err(BackingError("it stands at another value".into()));
        }
        let fault = state.faults.pop_front();
        match fault {
            None | Some(Fault::After) => state.now = vec![new.to_vec()],
            Some(Fault::Before) => {}
            Some(Fault::Between) => state.now.push(new.to_vec()),
            Some(Fault::Torn) => state.now.push(new[..40].to_vec()),
            Some(Fault::PutBack) => state.now = vec![state.past[state.past.len() - 2].clone()],
            Some(Fault::Emptied) => state.now = vec![],
        }
        if fault.is_some() {
            return Err(BackingError("broken by the test".into()));
        }
        if state.past.last().is_none_or(|last| last != new) {
            state.past.push(new.to_vec());
        }
        Ok(())
    }

    fn withdraw(&self, first: &[u8]) -> Result<(), BackingError> {
        self.state().now.retain(|value| value != first);
        Ok(())
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        let mut state = self.state();
        state.reopened += 1;
        if state.refuses {
            return Err(ReopenError::Refused(BackingError("the PIN is wrong".into())));
        }
        match state.away.checked_sub(1) {
            Some(left) => {
                state.away = left;
                Err(ReopenError::Away(BackingError("nobody answers".into())))
            }
            None => Ok(()),
        }
    }
}

/// A sealer in memory, whose wrapped key is only a name of the key.
#[derive(Clone, Default)]
pub struct MemorySealer(Arc<Mutex<HashMap<StoreId, [u8; 32]>>>);

impl MemorySealer {
    pub fn keys(&self) -> MutexGuard<'_, HashMap<StoreId, [u8; 32]>> {
        self.0.lock().expect("not poisoned")
    }
}

impl Sealer for MemorySealer {
    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError> {
        self.keys().insert(*store, *key);
        Ok(context.to_vec())
    }

    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError> {
        Ok(self.keys().get(store).copied().filter(|_| wrapped == context).map(Zeroizing::new))
    }

    fn withdraw(&self, store: &StoreId) -> Result<(), BackingError> {
        self.keys().remove(store);
        Ok(())
    }
}

/// Randomness that fails on request.
#[derive(Clone, Default)]
pub struct FailingRandom(Arc<Mutex<bool>>);

impl FailingRandom {
    pub fn fail(&self, fails: bool) {
        *self.0.lock().expect("not poisoned") = fails;
    }
}

impl Random for FailingRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        match *self.0.lock().expect("not poisoned") {
            true => Err(RandomError::Failed("as it was told".into())),
            false => SystemRandom.fill(bytes),
        }
    }
}
