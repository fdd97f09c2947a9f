//! The policy of a key that signs digests.

use super::hours::TimeWindows;
use super::limits::{Approvals, PeriodLimits};
use super::{Verdict, comparison, refuses_approvers, refuses_time};
use crate::direction::Direction;
use crate::factor::Approvers;

/// The rules of a key that signs digests. About a digest the module knows only that it is one more, so the
/// document has these keys:
///
/// | key | rule | refuses |
/// |---|---|---|
/// | `time_windows` | `time-window` | a time outside of all of them |
/// | `required_approvals` | `approvals` | right codes of fewer different users than this (1 without the key) |
/// | `max_period_transactions` | `period-transactions` | more signatures than this in the period |
/// | `period_hours` | | the period, 1 to 168 hours; 24 without the key |
///
/// The document must have either `max_period_transactions`, or an explicit `unlimited = true`, with which
/// nothing is counted. Any other key of a wallet's policy is refused, because nobody should rely on a limit
/// that cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPolicy {
    pub(super) period: PeriodLimits,
    pub(super) time_windows: Option<TimeWindows>,
    pub(super) approvals: Approvals,
}

impl DigestPolicy {
    /// The number of different users who must approve each signature.
    pub fn required_approvals(&self) -> usize {
        self.approvals.required
    }

    /// Judges a digest at `now` (Unix seconds) if so many users approve. See [`Policy::judge`](super::Policy::judge).
    pub(crate) fn judge(&self, approvers: &Approvers, now: u64) -> Verdict {
        let rule = refuses_time(self.time_windows.as_ref(), now)
            .or_else(|| refuses_approvers(self.required_approvals(), approvers, None));
        Verdict { rule, period: self.period }
    }

    /// The direction of a change from this policy to `new`.
    pub fn compare(&self, new: &DigestPolicy) -> Direction {
        comparison::periods(&self.period, &new.period)
            .and(comparison::time_windows(self.time_windows.as_ref(), new.time_windows.as_ref()))
            .and(comparison::approvals(self.approvals, new.approvals))
    }
}

#[cfg(test)]
mod tests {
    use super::super::PolicyError;
    use super::*;

    fn policy(document: &str) -> DigestPolicy {
        DigestPolicy::parse(document).expect("a policy")
    }

    #[test]
    fn a_policy_of_digests_counts_or_says_that_it_does_not() {
        assert_eq!(policy("max_period_transactions = 5").period.max_transactions(), Some(5));
        assert_eq!(policy("unlimited = true").period, PeriodLimits::NONE);
        for nothing in ["", "unlimited = false", "time_windows = [\"00:00-24:00\"]", "required_approvals = 2"]
        {
            assert_eq!(DigestPolicy::parse(nothing), Err(PolicyError::DigestIncomplete), "{nothing}");
        }
        let both = DigestPolicy::parse("unlimited = true\nmax_period_transactions = 5");
        assert_eq!(both, Err(PolicyError::UnlimitedWithLimits));
    }

    #[test]
    fn a_policy_of_digests_has_no_key_that_needs_a_transaction() {
        for (key, value) in [
            ("max_transaction_sat", "1"),
            ("max_period_sat", "1"),
            ("max_fee_sat", "1"),
            ("max_fee_sat_per_vbyte", "1"),
            ("max_fee_percent", "1"),
            ("allowlist", "[]"),
            ("denylist", "[]"),
            ("approvals_from_sat", "1"),
            ("consent_from_sat", "1"),
            ("consent_by", "[\"device\"]"),
            ("proposal_minutes", "1"),
            ("require_cosigner", "\"00000001\""),
        ] {
            for rest in ["unlimited = true", "max_period_transactions = 5"] {
                let refused =
                    DigestPolicy::parse(&format!("{rest}\nrequired_approvals = 1\n{key} = {value}"));
                assert_eq!(refused, Err(PolicyError::NotOfDigests { key }), "{key}");
            }
        }
        assert!(matches!(DigestPolicy::parse("unlimited = true\nx = 1"), Err(PolicyError::Toml(_))));
    }

    #[test]
    fn two_policies_of_digests_are_compared() {
        let direction = |tightens, loosens| Direction { tightens, loosens };
        for (old, new, expected) in [
            ("unlimited = true", "max_period_transactions = 5", direction(true, false)),
            ("max_period_transactions = 5", "max_period_transactions = 6", direction(false, true)),
            ("unlimited = true", "unlimited = true\nrequired_approvals = 2", direction(true, false)),
            (
                "unlimited = true\ntime_windows = [\"08:00-09:00\"]",
                "unlimited = true",
                direction(false, true),
            ),
        ] {
            assert_eq!(policy(old).compare(&policy(new)), expected, "{old} → {new}");
        }
    }
}
