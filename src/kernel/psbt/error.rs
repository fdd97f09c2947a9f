//! Why a PSBT is not signed.

use crate::rule::Rule;

/// The reason why bytes are not signed. The texts contain no amounts, keys or addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PsbtError {
    /// Not a PSBT of version 0 or 2.
    #[error("not a PSBT: {0}")]
    NotPsbt(String),
    /// Not a PSBT: a map has a key twice.
    #[error("not a PSBT: {0}")]
    DuplicateKey(String),
    /// Not a PSBT: bytes follow the last map.
    #[error("not a PSBT: {0}")]
    TrailingBytes(String),
    /// Over a bound.
    #[error("oversize: {0}")]
    Oversize(String),
    /// A rule refuses.
    #[error("{rule}: {detail}")]
    Refused {
        /// The rule.
        rule: Rule,
        /// What broke it, and what to do.
        detail: String,
    },
}

impl PsbtError {
    /// The rule that refuses.
    pub fn rule(&self) -> Rule {
        match self {
            PsbtError::NotPsbt(_) => Rule::NotAPsbt,
            PsbtError::DuplicateKey(_) => Rule::DuplicateKey,
            PsbtError::TrailingBytes(_) => Rule::TrailingBytes,
            PsbtError::Oversize(_) => Rule::Oversize,
            PsbtError::Refused { rule, .. } => *rule,
        }
    }

    /// Whether the bytes are no PSBT at all.
    pub fn is_no_psbt(&self) -> bool {
        matches!(self.rule(), Rule::NotAPsbt | Rule::DuplicateKey | Rule::TrailingBytes)
    }
}

/// A refusal by this rule.
pub(super) fn refuse(rule: Rule, detail: impl Into<String>) -> PsbtError {
    PsbtError::Refused { rule, detail: detail.into() }
}
