//! The keys that sign digests.

use std::sync::{Arc, PoisonError};

use super::{Closed, Engine, EngineError, Held, KeyId, read};
use crate::kernel::digest_key::{DigestKey, DigestKeyRecord};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::WalletState;
use crate::ports::Ledger;

/// The id of a key that signs digests.
pub type DigestKeyId = KeyId;

impl Engine {
    /// All keys that sign digests, in any order.
    pub fn digest_keys(&self) -> Vec<(DigestKeyId, Arc<DigestKey>)> {
        let keys = self.digest_keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|(id, held)| (*id, Arc::clone(&held.key))).collect()
    }

    /// One key that signs digests.
    pub fn digest_key(&self, id: &DigestKeyId) -> Result<Arc<DigestKey>, EngineError> {
        Ok(self.held_digest_key(id)?.key)
    }

    pub(crate) fn held_digest_key(&self, id: &DigestKeyId) -> Result<Held<DigestKey>, EngineError> {
        let keys = self.digest_keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(id).cloned().ok_or(EngineError::NoSuchDigestKey)
    }

    pub(crate) fn digest_key_record(
        &self,
        id: &DigestKeyId,
    ) -> Result<Versioned<DigestKeyRecord>, EngineError> {
        let place = RecordKey { kind: Kind::DigestKey, id: *id };
        read(self.ledger()?, place)?.ok_or(EngineError::NoSuchDigestKey)
    }

    pub(crate) fn digest_key_state(&self, id: &DigestKeyId) -> Result<Versioned<WalletState>, EngineError> {
        self.state_at(RecordKey { kind: Kind::DigestKeyState, id: *id })
    }

    /// Loads the keys of a ledger that was just opened or made.
    pub(super) fn adopt_digest_keys(&self, ledger: &dyn Ledger) -> Result<(), EngineError> {
        for place in ledger.places(Kind::DigestKey)? {
            let Some(record) = read::<DigestKeyRecord>(ledger, place)? else { continue };
            if let Err(error) = self.publish_digest_key(place.id, &record) {
                let DigestKeyRecord { label, users, .. } = record.into_value();
                self.close(Closed { label, users, refusal: error.to_string() });
            }
        }
        Ok(())
    }

    /// Makes the engine sign with a key as it is now recorded.
    pub(crate) fn publish_digest_key(
        &self,
        id: DigestKeyId,
        record: &Versioned<DigestKeyRecord>,
    ) -> Result<(), EngineError> {
        let key = DigestKey::of(record, &self.secp)
            .map_err(|error| EngineError::DigestKeyUnreadable { key: record.value().label.clone(), error })?;
        let held = Held { key: Arc::new(key), version: record.version() };
        self.digest_keys.write().unwrap_or_else(PoisonError::into_inner).insert(id, held);
        Ok(())
    }
}
