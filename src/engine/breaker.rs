//! What is counted over all users: wrong codes, at which no code is looked at any more, and refused PSBTs.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Engine, EngineError};
use crate::kernel::receipt::Receipt;
use crate::kernel::rule::Rule;
use crate::kernel::state;

/// Tries of all users together that may be wrong within an hour, unless the configuration says otherwise. With six digits
/// and three live steps, this many in every hour of a year are three right ones by chance.
pub const DEFAULT_FAILURES_PER_HOUR: u32 = 100;

/// Refused PSBTs that the audit chain records in an hour; the log has all.
const MOST_DECLINED_PER_HOUR: u32 = 60;

impl Engine {
    /// The same engine, that looks at no code once so many tries of all users together were wrong within an hour.
    #[must_use]
    pub fn stopping_at(self, failures_per_hour: u32) -> Engine {
        Engine { most_failures: failures_per_hour, ..self }
    }

    /// Counts so many tries as wrong until they prove right, unless too many of all users were wrong within an hour.
    pub(crate) fn charge_breaker(&self, tries: usize, now: u64) -> Result<(), EngineError> {
        let charged = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.charge(count(tries), self.most_failures, now).map_err(|_| failures.count(now))
        };
        let Err(failures) = charged else {
            self.told.store(false, Ordering::SeqCst);
            return Ok(());
        };
        if !self.told.swap(true, Ordering::SeqCst) {
            tracing::error!(
                "{failures} codes of all users were wrong within an hour: no code is looked at until it is less"
            );
            let ledger = self.ledger()?;
            if let Err((error, _)) = Receipt::issue(state::stop(failures, now), |batch| ledger.commit(batch))
            {
                return Err(error.into());
            }
        }
        Err(EngineError::Stopped)
    }

    /// Records a PSBT that a rule refused: as many in an hour as tell that somebody tries, and no more than a disk bears.
    pub(crate) fn decline(&self, wallet: &str, rule: Rule, now: u64) -> Result<(), EngineError> {
        let recorded = self.declined.lock().unwrap_or_else(PoisonError::into_inner).charge(
            1,
            MOST_DECLINED_PER_HOUR,
            now,
        );
        if recorded.is_err() {
            return Ok(());
        }
        let ledger = self.ledger()?;
        match Receipt::issue(state::decline(wallet, rule, now), |batch| ledger.commit(batch)) {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.into()),
        }
    }

    /// Takes back tries that were right, or were not charged after all.
    pub(crate) fn take_back(&self, tries: usize) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).take_back(count(tries));
    }
}

fn count(tries: usize) -> u32 {
    u32::try_from(tries).unwrap_or(u32::MAX)
}
