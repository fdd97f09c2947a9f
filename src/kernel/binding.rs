//! What a code is bound to once it is spent.

/// Names what a spent code paid for: a transaction of a wallet, or a digest of a key. Any other request has another
/// name.
pub type Binding = [u8; 32];
