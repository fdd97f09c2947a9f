//! The state of the engine: the faults that keep it from signing, or from being administered.

use std::sync::atomic::Ordering;

use super::Engine;
use crate::ports::{LedgerStanding, RandomError};

/// The faults of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStanding {
    /// The state of the ledger.
    pub ledger: LedgerStanding,
    /// The last request for randomness failed.
    pub lacks_randomness: bool,
    /// The backing token refuses its PIN, which is not tried again.
    pub pin_is_refused: bool,
    /// The clock is not trusted.
    pub clock_is_refused: bool,
    /// Too many codes of all users were wrong, so none is checked.
    pub is_stopped: bool,
    /// A peer gave too many wrong SO PINs in a row, and must wait.
    pub officer_is_locked: bool,
}

impl Engine {
    /// The present state. Looking may close the store, and asks again for randomness after a failure.
    pub fn standing(&self) -> EngineStanding {
        let ledger = self.ledger.get().map_or(LedgerStanding::Open, |ledger| ledger.standing());
        // Asks only after a failure, because a token that does not answer would delay the caller.
        let lacks_randomness = self.lacks_randomness.load(Ordering::Relaxed) && self.fill(&mut [0]).is_err();
        EngineStanding {
            ledger,
            lacks_randomness,
            pin_is_refused: ledger == LedgerStanding::Refused || self.pin_is_refused.load(Ordering::Relaxed),
            clock_is_refused: self.clock_refusal().is_ok_and(|refusal| refusal.is_some()),
            is_stopped: self.is_stopped(),
            // For any peer: the caller is not one of those that try PINs.
            officer_is_locked: self
                .token_record()
                .is_ok_and(|token| token.value().so.is_waiting_for_any(self.clocks())),
        }
    }

    /// Whether too many codes of all users were wrong to check one more.
    pub fn is_stopped(&self) -> bool {
        self.breaker.count(self.clock_time()) >= self.most_failures()
    }

    /// Fills `bytes` with randomness, and records whether that worked.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let filled = self.random.fill(bytes);
        self.lacks_randomness.store(filled.is_err(), Ordering::Relaxed);
        self.pin_is_refused.store(matches!(filled, Err(RandomError::Refused(_))), Ordering::Relaxed);
        filled
    }
}
