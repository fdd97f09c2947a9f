//! The one way in which the engine makes a decision durable.

use super::{Engine, EngineError};
use crate::kernel::receipt::{Change, Receipt};
use crate::ports::LedgerError;

impl Engine {
    /// Has a decision made durable, and gives the receipt for it. Where another commit came first, one of the records that the
    /// decision rests on may be another by now: what was `asked` is taken back and decided anew, as often as it takes.
    pub(crate) fn commit<A, E>(
        &self,
        mut asked: A,
        decide: impl Fn(A) -> Result<Change<E>, EngineError>,
        take_back: impl Fn(Change<E>) -> A,
    ) -> Result<Receipt<E>, EngineError> {
        loop {
            match Receipt::issue(decide(asked)?, |batch| self.commit_batch(batch)) {
                Err((EngineError::Ledger(LedgerError::Conflict), change)) => asked = take_back(change),
                other => return other.map_err(|(error, _)| error),
            }
        }
    }

    /// The same where the decision takes nothing with it.
    pub(crate) fn commit_anew<E>(
        &self,
        decide: impl Fn() -> Result<Change<E>, EngineError>,
    ) -> Result<Receipt<E>, EngineError> {
        self.commit((), |()| decide(), |_| ())
    }
}
