//! Randomness from two sources, so that a fault of one of them is not enough to guess a secret.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::backing::Backing;
use crate::ports::{Random, RandomError, ReopenError};

/// The operating system's randomness. Nothing else asks for it.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|error| RandomError::Failed(error.to_string()))
    }
}

/// The operating system's randomness, XORed with the backing token's.
pub struct MixedRandom {
    backing: Arc<Backing>,
}

impl MixedRandom {
    /// Takes the token to ask.
    pub fn new(backing: Arc<Backing>) -> MixedRandom {
        MixedRandom { backing }
    }
}

impl Random for MixedRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        SystemRandom.fill(bytes)?;
        let mut other = Zeroizing::new(vec![0; bytes.len()]);
        self.backing.random(&mut other).map_err(|error| match error {
            ReopenError::Away(error) => RandomError::Failed(error.to_string()),
            ReopenError::Refused(error) => RandomError::Refused(error.to_string()),
        })?;
        bytes.iter_mut().zip(other.iter()).for_each(|(byte, other)| *byte ^= other);
        Ok(())
    }
}
