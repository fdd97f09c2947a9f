//! What the backing token does for the ledger: it wraps the data key, and remembers one value. Two traits, for they may be two
//! tokens: what wraps need not be what refuses an old copy.

use zeroize::Zeroizing;

use crate::kernel::seal::StoreId;

/// Wraps the data key under a key that never leaves the backing token.
pub trait Sealer: Send + Sync {
    /// Makes the wrapping key of `store` in the token, sensitive and never extractable, and wraps a data key under it, bound to
    /// `context`. What it gives was unwrapped again before, to the same key. On failure nothing is left in the token.
    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError>;

    /// Unwraps it. `None` where no wrapping key of `store` opens it.
    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError>;

    /// Destroys the wrapping key of a store that was not made after all.
    fn withdraw(&self, store: &StoreId) -> Result<(), BackingError>;
}

/// Remembers one value, and is never without one.
pub trait Anchor: Send + Sync {
    /// Where it stands: at one value, or between two where a step was interrupted. None before its first step.
    fn current(&self) -> Result<Vec<Vec<u8>>, BackingError>;

    /// Steps from `old` to `new`, after which it stands at `new` alone; a step that was interrupted is finished by the same
    /// call. Where it stands at neither, it may refuse. Without `old` it is the first step of a store: whatever is there goes.
    fn step(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), BackingError>;

    /// Takes back the first step of a store that was not made after all.
    fn withdraw(&self, first: &[u8]) -> Result<(), BackingError>;

    /// Begins anew with the token after a failure: with new sessions, logged in. It tells nothing of where the anchor stands.
    fn reopen(&self) -> Result<(), ReopenError>;
}

/// Why the backing token is not opened anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// It does not answer now, and may later.
    #[error(transparent)]
    Away(BackingError),
    /// It refuses the PIN, or there is none to be read. Trying again could lock it.
    #[error(transparent)]
    Refused(BackingError),
}

impl From<ReopenError> for BackingError {
    fn from(error: ReopenError) -> BackingError {
        let (ReopenError::Away(error) | ReopenError::Refused(error)) = error;
        error
    }
}

/// Why the backing token does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backing token: {0}")]
pub struct BackingError(pub String);
