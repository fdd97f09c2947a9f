//! What a code is bound to.

/// Names what a code pays for, once it is spent: a transaction of a wallet, or a digest of a key. Whatever else is asked for with the
/// same code has another name.
pub type Binding = [u8; 32];
