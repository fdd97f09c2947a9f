//! The policy of a wallet: what a right code may sign.
//!
//! A policy is a TOML document. It names its limits, or says `unlimited = true` in so many words; an empty one is
//! refused. Amounts are in satoshi.
//!
//! | key | rule | refuses |
//! |---|---|---|
//! | `max_transaction_sat` | `transaction-max` | more than this leaves the wallet, fee included |
//! | `max_fee_sat` | `fee-cap` | a fee over this |
//! | `max_fee_sat_per_vbyte` | `fee-cap` | a feerate over this (optional) |
//! | `max_fee_percent` | `fee-cap` | a fee over this share of what goes to outputs not proved ours, if any does (optional) |
//! | `require_cosigner` | `require-cosigner` | an input of ours without a valid signature of this cosigner (optional) |
//!
//! `require_cosigner` names the master fingerprint of a key of the wallet (eight hex digits). It is checked with the PSBT,
//! before any code is charged: who has nothing that the cosigner signed can neither guess a code nor lock a user.

use core::str::FromStr;

use bitcoin::bip32::Fingerprint;
use serde::Deserialize;

use super::otp::Matched;
use super::psbt::CheckedPsbt;
use super::rule::Rule;

/// What a wallet may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The limits; without them, whatever the user's code approves.
    limits: Option<Limits>,
    require_cosigner: Option<Fingerprint>,
}

/// The limits of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Satoshi that may leave the wallet in one transaction, fee included.
    pub max_transaction: u64,
    /// Satoshi of fee.
    pub max_fee: u64,
    /// Satoshi of fee per virtual byte.
    pub max_feerate: Option<u64>,
    /// Fee in percent of the value that goes to others.
    pub max_fee_percent: Option<u64>,
}

/// The policy's answer. Either way it holds the codes, and either way they are spent.
#[must_use = "a verdict that nobody follows protects nothing"]
pub enum Verdict {
    /// Signing is allowed, once the codes are spent.
    Approved(Approved),
    /// A rule refuses.
    Refused(Refused),
}

/// A transaction that its policy allows, with the codes that pay for it.
///
/// ```compile_fail,E0451
/// use countersign::kernel::{otp::Matched, policy::Approved, psbt::CheckedPsbt};
/// fn forge(psbt: CheckedPsbt, matched: Matched) -> Approved { Approved { psbt, matched } }
/// ```
#[must_use = "approved is not yet signed"]
pub struct Approved {
    psbt: CheckedPsbt,
    matched: Matched,
}

impl Approved {
    pub(in crate::kernel) fn parts(&self) -> (&CheckedPsbt, &Matched) {
        (&self.psbt, &self.matched)
    }

    /// The codes that pay for it.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }

    pub(in crate::kernel) fn into_psbt(self) -> CheckedPsbt {
        self.psbt
    }
}

/// A transaction that its policy refuses, with the codes that are spent on it.
#[must_use = "a refused transaction spends its codes"]
pub struct Refused {
    psbt: CheckedPsbt,
    matched: Matched,
    rule: Rule,
}

impl Refused {
    /// The rule that refused.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The codes that are spent on it.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }

    pub(in crate::kernel) fn parts(&self) -> (&CheckedPsbt, &Matched) {
        (&self.psbt, &self.matched)
    }
}

impl Policy {
    /// Parses the TOML document.
    pub fn parse(document: &str) -> Result<Policy, PolicyError> {
        let keys: Keys =
            toml::from_str(document).map_err(|error| PolicyError::Toml(error.message().into()))?;
        let require_cosigner = keys.require_cosigner.as_deref().map(parse_fingerprint).transpose()?;
        Ok(Policy { limits: keys.limits()?, require_cosigner })
    }

    /// The master fingerprint of the cosigner who must have signed before us.
    pub fn require_cosigner(&self) -> Option<Fingerprint> {
        self.require_cosigner
    }

    /// Judges a checked transaction for which right codes were given.
    pub fn judge(&self, psbt: CheckedPsbt, matched: Matched) -> Verdict {
        match self.refusing_rule(&psbt) {
            None => Verdict::Approved(Approved { psbt, matched }),
            Some(rule) => Verdict::Refused(Refused { psbt, matched, rule }),
        }
    }

    /// The first rule that refuses `psbt`.
    pub fn refusing_rule(&self, psbt: &CheckedPsbt) -> Option<Rule> {
        self.limits.as_ref()?.refusing_rule(psbt.leaves(), psbt.paid_to_others(), psbt.fee(), psbt.vsize())
    }
}

/// Eight hex digits.
fn parse_fingerprint(text: &str) -> Result<Fingerprint, PolicyError> {
    Fingerprint::from_str(text).map_err(|_| PolicyError::Cosigner)
}

impl Limits {
    /// The first rule that refuses `leaves`, `external` and `fee` satoshi in `vsize` virtual bytes.
    fn refusing_rule(&self, leaves: u64, external: u64, fee: u64, vsize: u64) -> Option<Rule> {
        if leaves > self.max_transaction {
            return Some(Rule::TransactionMax);
        }
        // Products in 128 bits: an operator's large number must not wrap.
        let over_feerate =
            self.max_feerate.is_some_and(|max| u128::from(fee) > u128::from(max) * u128::from(vsize));
        let over_share = external > 0
            && self
                .max_fee_percent
                .is_some_and(|percent| u128::from(fee) * 100 > u128::from(percent) * u128::from(external));
        (fee > self.max_fee || over_feerate || over_share).then_some(Rule::FeeCap)
    }
}

/// Why a document is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No TOML, an unknown key, or a value of the wrong type.
    #[error("{0}")]
    Toml(String),
    /// Neither limits nor `unlimited = true`.
    #[error("name both max_transaction_sat and max_fee_sat, or say unlimited = true")]
    Incomplete,
    /// Both.
    #[error("unlimited = true stands alone: take the limits out, or take it out")]
    UnlimitedWithLimits,
    /// No master fingerprint.
    #[error("require_cosigner is a master fingerprint: eight hex digits in quotes")]
    Cosigner,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    unlimited: Option<bool>,
    max_transaction_sat: Option<u64>,
    max_fee_sat: Option<u64>,
    max_fee_sat_per_vbyte: Option<u64>,
    max_fee_percent: Option<u64>,
    require_cosigner: Option<String>,
}

impl Keys {
    fn limits(&self) -> Result<Option<Limits>, PolicyError> {
        let named =
            [self.max_transaction_sat, self.max_fee_sat, self.max_fee_sat_per_vbyte, self.max_fee_percent];
        if self.unlimited == Some(true) {
            return if named.iter().any(Option::is_some) {
                Err(PolicyError::UnlimitedWithLimits)
            } else {
                Ok(None)
            };
        }
        let (Some(max_transaction), Some(max_fee)) = (self.max_transaction_sat, self.max_fee_sat) else {
            return Err(PolicyError::Incomplete);
        };
        Ok(Some(Limits {
            max_transaction,
            max_fee,
            max_feerate: self.max_fee_sat_per_vbyte,
            max_fee_percent: self.max_fee_percent,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { max_transaction: 100_000, max_fee: 5_000, max_feerate: Some(20), max_fee_percent: Some(10) };

    #[test]
    fn an_empty_policy_is_refused() {
        for document in
            ["", "unlimited = false", "max_transaction_sat = 1", "max_fee_sat = 1", "max_fee_percent = 1"]
        {
            assert_eq!(Policy::parse(document), Err(PolicyError::Incomplete), "{document}");
        }
    }

    #[test]
    fn unlimited_stands_alone() {
        assert_eq!(Policy::parse("unlimited = true"), Ok(Policy { limits: None, require_cosigner: None }));
        for key in ["max_transaction_sat", "max_fee_sat", "max_fee_sat_per_vbyte", "max_fee_percent"] {
            let document = format!("unlimited = true\n{key} = 1");
            assert_eq!(Policy::parse(&document), Err(PolicyError::UnlimitedWithLimits), "{key}");
        }
    }

    #[test]
    fn a_misspelt_or_ill_typed_key_is_an_error() {
        for document in
            ["max_transaction = 1", "max_transaction_sat = -1\nmax_fee_sat = 1", "unlimited = \"yes\"", "["]
        {
            assert!(matches!(Policy::parse(document), Err(PolicyError::Toml(_))), "{document}");
        }
    }

    #[test]
    fn limits_are_read() {
        let document = "max_transaction_sat = 100_000\nmax_fee_sat = 5_000\nmax_fee_sat_per_vbyte = 20\nmax_fee_percent = 10";
        assert_eq!(Policy::parse(document), Ok(Policy { limits: Some(LIMITS), require_cosigner: None }));
    }

    #[test]
    fn require_cosigner_is_a_fingerprint_and_no_limit() {
        let policy = Policy::parse("unlimited = true\nrequire_cosigner = \"f5acc2fd\"").expect("reads");
        assert_eq!(policy.require_cosigner(), Some(Fingerprint::from([0xf5, 0xac, 0xc2, 0xfd])));
        assert_eq!(Policy::parse("require_cosigner = \"f5acc2fd\""), Err(PolicyError::Incomplete));
        for text in ["", "f5acc2f", "f5acc2fd00", "@0", "xyzwxyzw"] {
            let document = format!("unlimited = true\nrequire_cosigner = \"{text}\"");
            assert_eq!(Policy::parse(&document), Err(PolicyError::Cosigner), "{text}");
        }
    }

    #[test]
    fn transaction_max() {
        assert_eq!(LIMITS.refusing_rule(100_000, 99_900, 100, 141), None);
        assert_eq!(LIMITS.refusing_rule(100_001, 99_901, 100, 141), Some(Rule::TransactionMax));
    }

    #[test]
    fn fee_cap() {
        assert_eq!(LIMITS.refusing_rule(60_000, 55_000, 5_000, 1_000), None);
        assert_eq!(LIMITS.refusing_rule(60_000, 54_999, 5_001, 1_000), Some(Rule::FeeCap), "satoshi");
        assert_eq!(LIMITS.refusing_rule(60_000, 57_180, 2_820, 141), None);
        assert_eq!(
            LIMITS.refusing_rule(60_000, 57_179, 2_821, 141),
            Some(Rule::FeeCap),
            "satoshi per virtual byte"
        );
        assert_eq!(LIMITS.refusing_rule(11_000, 10_000, 1_000, 1_000), None);
        assert_eq!(
            LIMITS.refusing_rule(11_000, 9_999, 1_001, 1_000),
            Some(Rule::FeeCap),
            "share of the external value"
        );
        assert_eq!(
            LIMITS.refusing_rule(1_001, 0, 1_001, 1_000),
            None,
            "nothing goes to others: the share has no base"
        );
    }

    #[test]
    fn a_huge_limit_does_not_wrap() {
        let limits = Limits {
            max_transaction: u64::MAX,
            max_fee: u64::MAX,
            max_feerate: Some(u64::MAX),
            max_fee_percent: Some(u64::MAX),
        };
        assert_eq!(limits.refusing_rule(u64::MAX, u64::MAX / 2, u64::MAX / 2, u64::MAX), None);
    }
}
