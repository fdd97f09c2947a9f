//! The freezes.

use std::sync::PoisonError;

use super::{Engine, EngineError, read};
use crate::kernel::administration::Target;
use crate::kernel::freeze::{Freezable, Freeze, place_of};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::ports::Ledger;

impl Engine {
    /// Whether this thing is frozen by itself. The freeze of everything ([`Target::Everything`]) is another one.
    pub fn is_frozen(&self, target: &Target) -> Result<bool, EngineError> {
        let version = self.version_at(target.place())?;
        // A freeze that is under way may still fail.
        self.ledger()?.settle(version.unwrap_or(0))?;
        Ok(version.is_some())
    }

    /// How many things of each kind are frozen.
    pub fn frozen_counts(&self) -> [(Freezable, u64); 4] {
        let frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        Freezable::ALL.map(|what| (what, frozen.values().filter(|of| **of == what).count() as u64))
    }

    pub(crate) fn freeze_at(&self, place: &RecordKey) -> Result<Option<Versioned<Freeze>>, EngineError> {
        read(self.ledger()?, *place)
    }

    /// Counts the freezes of a ledger that was just opened or made.
    pub(super) fn adopt_freezes(&self, ledger: &dyn Ledger) -> Result<(), EngineError> {
        for place in ledger.places(Kind::Freeze)? {
            if let Some(freeze) = read::<Freeze>(ledger, place)? {
                self.count_freeze(place, Some(freeze.value().what));
            }
        }
        Ok(())
    }

    /// Counts a freeze, or ends its count.
    pub(crate) fn count_freeze(&self, place: RecordKey, what: Option<Freezable>) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => frozen.insert(place, what),
            None => frozen.remove(&place),
        };
    }

    /// Ends the count of a freeze of a user who was removed.
    pub(crate) fn forget_freeze_of_user(&self, name: &str) {
        self.count_freeze(place_of(&RecordKey::user(name)), None);
    }
}
