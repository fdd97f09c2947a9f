//! Proposals, and those who were users shortly before, read from the ledger. A text has up to 256 KiB.

use std::sync::Arc;

use super::super::kept::Kept;
use super::super::{Engine, EngineError, read};
use crate::kernel::motion::Nonce;
use crate::kernel::proposal::{Proposal, ProposalError};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::FormerUsers;

/// The most bytes of texts that are kept, for as many acts as an administrator can propose without an officer, and more.
const MOST_KEPT: usize = 16 * 1_024 * 1_024;

/// Proposals, as they were read.
pub(super) fn kept() -> Kept<Proposal> {
    Kept::new(|proposal| proposal.text().len(), MOST_KEPT)
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
        self.read_kept(&self.officers.kept, place)
    }

    pub(crate) fn former_users_at(
        &self,
        place: RecordKey,
    ) -> Result<Option<Versioned<FormerUsers>>, EngineError> {
        read(self.ledger()?, place)
    }
}
