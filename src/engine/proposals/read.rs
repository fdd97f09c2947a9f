//! Proposals, and those who were users shortly before, read from the ledger. A text has up to 256 KiB, and everybody may look at all of them as often as they like, so each
//! version is opened and parsed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{Engine, EngineError, opened, read};
use crate::kernel::motion::Nonce;
use crate::kernel::proposal::{Proposal, ProposalError};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::FormerUsers;

/// The most bytes of texts that are kept, for as many acts as an administrator can propose without an officer, and more.
const MOST_KEPT: usize = 16 * 1_024 * 1_024;

/// Proposals in their durable versions, as they were read.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<Nonce, Arc<Versioned<Proposal>>>>);

impl Kept {
    fn get(&self, nonce: &Nonce, version: u64) -> Option<Arc<Versioned<Proposal>>> {
        self.all().get(nonce).filter(|kept| kept.version() == version).cloned()
    }

    fn put(&self, proposal: &Arc<Versioned<Proposal>>) {
        let mut all = self.all();
        all.insert(proposal.value().nonce(), Arc::clone(proposal));
        if all.values().map(|kept| kept.value().text().len()).sum::<usize>() > MOST_KEPT {
            all.clear();
        }
    }

    /// Forgets those that are gone.
    fn retain(&self, places: &[RecordKey]) {
        self.all().retain(|nonce, _| places.contains(&RecordKey::proposal(nonce)));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Nonce, Arc<Versioned<Proposal>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    pub(super) fn proposal_record(&self, nonce: &Nonce) -> Result<Arc<Versioned<Proposal>>, EngineError> {
        Ok(self.read_proposal(RecordKey::proposal(nonce))?.ok_or(ProposalError::Unknown)?)
    }

    pub(super) fn proposal_records(&self) -> Result<Vec<Arc<Versioned<Proposal>>>, EngineError> {
        let places = self.ledger()?.places(Kind::Proposal)?;
        self.officers.kept.retain(&places);
        let mut records = Vec::with_capacity(places.len());
        for place in places {
            records.extend(self.read_proposal(place)?);
        }
        Ok(records)
    }

    fn read_proposal(&self, place: RecordKey) -> Result<Option<Arc<Versioned<Proposal>>>, EngineError> {
        let ledger = self.ledger()?;
        let Some(version) = ledger.version(&place)? else { return Ok(None) };
        if let Some(kept) = self.officers.kept.get(&place.id, version) {
            return Ok(Some(kept));
        }
        let Some(record) = ledger.read(&place)? else { return Ok(None) };
        let proposal = Arc::new(opened(ledger, &record)?);
        // If a commit under way fails, another one may have its number.
        if record.is_settled() {
            self.officers.kept.put(&proposal);
        }
        Ok(Some(proposal))
    }

    pub(crate) fn former_users_at(
        &self,
        place: RecordKey,
    ) -> Result<Option<Versioned<FormerUsers>>, EngineError> {
        read(self.ledger()?, place)
    }
}
