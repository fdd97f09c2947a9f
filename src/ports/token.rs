//! The backing token's work for the ledger: it wraps the data key, and remembers one value. These are two
//! traits, because they may be two tokens: the one that wraps keys need not be the one that detects old
//! copies.

use zeroize::Zeroizing;

use crate::kernel::seal::StoreId;

/// Wraps the data key under a key that never leaves the backing token.
pub trait Sealer: Send + Sync {
    /// Makes the wrapping key of `store` in the token, sensitive and never extractable, and wraps a data key
    /// under it, bound to `context`. Before it returns, it has unwrapped the result again and compared the
    /// key. On failure nothing is left in the token.
    fn wrap(&self, store: &StoreId, context: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, BackingError>;

    /// Unwraps the key. `None` if no wrapping key of `store` opens it.
    fn unwrap(
        &self,
        store: &StoreId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<[u8; 32]>>, BackingError>;

    /// Destroys the wrapping key of a store that could not be made.
    fn withdraw(&self, store: &StoreId) -> Result<(), BackingError>;
}

/// Remembers one value, and never loses it.
pub trait Anchor: Send + Sync {
    /// Its present value, or two values if a step was interrupted. None before its first step.
    fn current(&self) -> Result<Vec<Vec<u8>>, BackingError>;

    /// Steps from `old` to `new`, which is then the only value. The same call finishes a step that was
    /// interrupted. If it has neither value, it may refuse. Without `old` it is the first step of a store,
    /// which replaces anything that is there.
    fn step(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), BackingError>;

    /// Takes back the first step of a store that could not be made.
    fn withdraw(&self, first: &[u8]) -> Result<(), BackingError>;

    /// Starts again with the token after a failure: with new sessions, logged in. The result says nothing
    /// about the anchor's value.
    fn reopen(&self) -> Result<(), ReopenError>;
}

/// The reason why the backing token is not opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// It does not answer now, and may later.
    #[error(transparent)]
    Away(BackingError),
    /// It refuses the PIN, or the PIN cannot be read. Trying again could lock it.
    #[error(transparent)]
    Refused(BackingError),
}

impl From<ReopenError> for BackingError {
    fn from(error: ReopenError) -> BackingError {
        let (ReopenError::Away(error) | ReopenError::Refused(error)) = error;
        error
    }
}

/// The reason why the backing token does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backing token: {0}")]
pub struct BackingError(pub String);
