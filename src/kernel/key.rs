//! What a wallet and a key that signs digests have in common: how it is called, who approves, and within which limits.

use serde::{Deserialize, Serialize};

/// How a wallet or key is called, who approves, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTerms {
    /// Its label, unique among the wallets and keys of the token.
    pub label: String,
    /// `CKA_ID`. In what is to be made: empty for its own id.
    pub cka_id: Vec<u8>,
    /// Names of the users whose codes sign.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
}

/// What to change of the terms of a wallet or key; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// Another label.
    pub label: Option<String>,
    /// Other users.
    pub users: Option<Vec<String>>,
    /// Another policy.
    pub policy: Option<String>,
}
