//! How the engine stands: what keeps it from signing, or from being administered.

use std::sync::atomic::Ordering;

use super::Engine;
use crate::ports::{LedgerStanding, RandomError};

/// What keeps the engine from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStanding {
    /// How the ledger stands.
    pub ledger: LedgerStanding,
    /// The last randomness that was asked for did not come.
    pub lacks_randomness: bool,
    /// The backing token refuses its PIN: it is not tried again.
    pub pin_is_refused: bool,
    /// The clock cannot be believed.
    pub clock_is_refused: bool,
    /// Too many codes of all users were wrong: none is looked at.
    pub is_stopped: bool,
    /// A peer gave too many wrong SO PINs in a row, and must wait.
    pub officer_is_locked: bool,
}

impl Engine {
    /// How it stands now. Looking may find out that the store has to be closed, and asks again for randomness that did not come.
    pub fn standing(&self) -> EngineStanding {
        let ledger = self.ledger.get().map_or(LedgerStanding::Open, |ledger| ledger.standing());
        // Only asked for after it failed: a token that does not answer would hold up whoever looks.
        let lacks_randomness = self.lacks_randomness.load(Ordering::Relaxed) && self.fill(&mut [0]).is_err();
        EngineStanding {
            ledger,
            lacks_randomness,
            pin_is_refused: ledger == LedgerStanding::Refused || self.pin_is_refused.load(Ordering::Relaxed),
            clock_is_refused: self.clock_refusal().is_ok_and(|refusal| refusal.is_some()),
            is_stopped: self.is_stopped(),
            // Of any peer: whoever asks how the engine stands is none of those that try PINs.
            officer_is_locked: self
                .token_record()
                .is_ok_and(|token| token.value().so.is_waiting_for_any(self.clocks())),
        }
    }

    /// Whether too many codes of all users were wrong for one more to be looked at.
    pub fn is_stopped(&self) -> bool {
        self.breaker.count(self.clock_time()) >= self.most_failures
    }

    /// Fills `bytes` with randomness, and notes whether it came.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let filled = self.random.fill(bytes);
        self.lacks_randomness.store(filled.is_err(), Ordering::Relaxed);
        self.pin_is_refused.store(matches!(filled, Err(RandomError::Refused(_))), Ordering::Relaxed);
        filled
    }
}
