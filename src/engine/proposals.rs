//! The officers of the store.

use super::{Engine, EngineError};
use crate::kernel::officer::Council;
use crate::kernel::seal::Kind;

impl Engine {
    /// The officers, once there are any.
    pub fn council(&self) -> Result<Option<Council>, EngineError> {
        let Some(council) = self.if_there::<Council>(Kind::Council)? else { return Ok(None) };
        // One that is under way may still fail.
        self.ledger()?.settle(council.version())?;
        Ok(Some(council.into_value()))
    }
}
