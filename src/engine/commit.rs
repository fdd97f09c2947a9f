//! The one way in which the engine makes a decision durable.

use super::{Engine, EngineError};
use crate::kernel::receipt::{Decision, Receipt};
use crate::ports::LedgerError;

impl Engine {
    /// Makes a decision durable, and returns the receipt for it. If another commit came first, a record on
    /// which the decision depends may have changed. Then the request is taken back and decided again, as
    /// often as necessary.
    pub(crate) fn commit<A, E>(
        &self,
        mut asked: A,
        decide: impl Fn(A) -> Result<Decision<E>, EngineError>,
        take_back: impl Fn(Decision<E>) -> A,
    ) -> Result<Receipt<E>, EngineError> {
        loop {
            match Receipt::issue(decide(asked)?, |batch| self.commit_batch(batch)) {
                Err((EngineError::Ledger(LedgerError::Conflict), decision)) => asked = take_back(decision),
                other => return other.map_err(|(error, _)| error),
            }
        }
    }

    /// Makes a decision durable that is not made again if another commit came first.
    pub(crate) fn commit_once<E>(&self, decided: Decision<E>) -> Result<(), EngineError> {
        Receipt::issue(decided, |batch| self.commit_batch(batch)).map(drop).map_err(|(error, _)| error)
    }

    /// The same for a decision that takes nothing with it.
    pub(crate) fn commit_anew<E>(
        &self,
        decide: impl Fn() -> Result<Decision<E>, EngineError>,
    ) -> Result<Receipt<E>, EngineError> {
        self.commit((), |()| decide(), |_| ())
    }
}
