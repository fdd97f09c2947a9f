//! The policy of a wallet: what right codes may sign.
//!
//! A policy is a TOML document, sealed with its wallet and only replaced as a whole. It names its limits, or
//! has `unlimited = true`; an empty policy is refused. Amounts are in satoshi, times in UTC.
//!
//! docs/policies.md has the table of the keys, with the rule for each.
//!
//! A policy has either `unlimited = true` without any other limit of amounts, fees and periods, or
//! `max_fee_sat` and at least one of `max_transaction_sat` and `max_period_sat`. All other keys are optional,
//! and allowed together with `unlimited`.
//!
//! If any rule refuses, the policy refuses, so an allowlist never outweighs a denylist. The rules are judged
//! in this order, and the first to refuse is named: `denylist`, `allowlist`, `max_transaction_sat`, the fee's
//! caps, `time_windows`, `required_approvals` and `consent_from_sat`. The period's rules come last, and are judged against exactly
//! the state of the wallet that the commit replaces ([`super::state::decide`]), so that two transactions
//! cannot both pass a limit that allows one.
//!
//! `require_cosigner` names the master fingerprint of a key of the wallet (eight hex digits). It is checked
//! with the PSBT, before any code is charged. Without anything that the cosigner has signed, a caller can
//! neither guess a code nor lock a user. This protects a user only if all of their wallets require it and no
//! key that signs digests lists them, and only until the cosigner has signed one transaction: with that one,
//! however old, tries are charged as usual.
//!
//! The policy of a key that signs digests has only the keys that need no PSBT: see [`DigestPolicy`].

mod comparison;
mod consent;
mod digest;
mod document;
mod hours;
mod limits;
mod listing;

use std::collections::HashSet;

use bitcoin::TxOut;
use bitcoin::bip32::Fingerprint;

use super::factor::{Approvers, Shown};
use super::rule::Rule;
#[cfg(test)]
pub(crate) use comparison::tests::document as tests_document;
use consent::{Consent, refuses_approvers};
pub use consent::{DEFAULT_PROPOSAL_MINUTES, MAX_PROPOSAL_MINUTES};
pub use digest::DigestPolicy;
pub use document::{Difference, PolicyError, changed_keys, differences};
pub use hours::MAX_WINDOWS;
use hours::TimeWindows;
use limits::{Approvals, Limits};
pub use limits::{DEFAULT_PERIOD_HOURS, MAX_PERIOD_HOURS, PeriodLimits};
use listing::Listing;
pub use listing::{EntryError, MAX_ENTRIES, MAX_RANGED, RANGE};

/// What a wallet may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The limits. Without them, the wallet signs whatever its users' codes approve.
    limits: Option<Limits>,
    allowlist: Option<Listing>,
    denylist: Option<Listing>,
    time_windows: Option<TimeWindows>,
    approvals: Approvals,
    consent: Option<Consent>,
    proposal_minutes: u64,
    require_cosigner: Option<Fingerprint>,
}

/// The facts of a transaction that a policy judges.
pub trait Payment {
    /// Its outputs.
    fn outputs(&self) -> &[TxOut];

    /// The indices of the outputs that are the wallet's within its reach.
    fn our_reachable_outputs(&self) -> impl Iterator<Item = usize>;

    /// Satoshi that leave the wallet, fee included.
    fn leaves(&self) -> u64;

    /// Satoshi in outputs that are not the wallet's.
    fn paid_to_others(&self) -> u64;

    /// Satoshi in outputs that are the wallet's.
    fn comes_back(&self) -> u64;

    /// Satoshi of fee.
    fn fee(&self) -> u64;

    /// The smallest number of virtual bytes that it can have.
    fn vsize(&self) -> u64;
}

/// The judgement of a policy, without the limits of the period. The policy does not know whether the codes are right,
/// and judges wrong ones alike. Only the kernel can look into it.
///
/// ```compile_fail,E0624
/// // Asking for a judgement with more users than approve.
/// use countersign_kernel::{policy::Policy, psbt::CheckedPsbt};
/// fn judge(policy: &Policy, psbt: &CheckedPsbt) { let _ = policy.judge(psbt, &Default::default(), 0); }
/// ```
#[must_use = "a verdict that nobody heeds refuses nothing"]
pub struct Verdict {
    /// The rule that refuses.
    pub(crate) rule: Option<Rule>,
    /// The limits that the history of the wallet or key must still be compared with.
    pub(crate) period: PeriodLimits,
}

impl Policy {
    /// The master fingerprint of the cosigner who must have signed before us.
    pub fn require_cosigner(&self) -> Option<Fingerprint> {
        self.require_cosigner
    }

    /// The limits of a period.
    pub fn period(&self) -> PeriodLimits {
        self.limits.as_ref().map_or(PeriodLimits::NONE, |limits| limits.period)
    }

    /// Whether it signs only at some times.
    pub fn has_time_windows(&self) -> bool {
        self.time_windows.is_some()
    }

    /// How many different users must approve if so many satoshi leave.
    pub fn required_approvals(&self, leaves: u64) -> usize {
        self.approvals.required(leaves)
    }

    /// The means by which users must approve if so many satoshi leave, or none if codes count, too.
    pub fn consent_by(&self, leaves: u64) -> Option<&[Shown]> {
        self.consent.as_ref()?.asked(leaves)
    }

    /// From how many satoshi on users must approve what they are shown.
    pub fn consent_from(&self) -> Option<u64> {
        self.consent.as_ref().map(|consent| consent.from)
    }

    /// Minutes for which a proposed transaction is open.
    pub fn proposal_minutes(&self) -> u64 {
        self.proposal_minutes
    }

    /// The largest number of different users that it may require.
    pub fn most_approvals(&self) -> usize {
        self.approvals.required
    }

    /// Judges `payment` at `now` (Unix seconds) if so many users approve. Only [`super::state::decide`] may call
    /// this: other code could mistake a verdict for the permission to sign.
    pub(crate) fn judge(&self, payment: &impl Payment, approvers: &Approvers, now: u64) -> Verdict {
        let (required, asked) =
            (self.required_approvals(payment.leaves()), self.consent_by(payment.leaves()));
        let rule = self
            .refusing_rule(payment)
            .or_else(|| refuses_time(self.time_windows.as_ref(), now))
            .or_else(|| refuses_approvers(required, approvers, asked));
        Verdict { rule, period: self.period() }
    }

    /// The first rule that refuses `payment`, of those that need nothing else: neither time nor codes nor history.
    pub fn refusing_rule(&self, payment: &impl Payment) -> Option<Rule> {
        self.refuses_outputs(payment).or_else(|| self.limits.as_ref()?.refusing_rule(payment))
    }

    /// `denylist`, `allowlist`.
    fn refuses_outputs(&self, payment: &impl Payment) -> Option<Rule> {
        let outputs = payment.outputs();
        if let Some(denied) = &self.denylist
            && outputs.iter().any(|output| denied.has(&output.script_pubkey))
        {
            return Some(Rule::Denylist);
        }
        let allowed = self.allowlist.as_ref()?;
        let ours: HashSet<usize> = payment.our_reachable_outputs().collect();
        let is_allowed = |index, output: &TxOut| ours.contains(&index) || allowed.has(&output.script_pubkey);
        let all = outputs.iter().enumerate().all(|(index, output)| is_allowed(index, output));
        (!all).then_some(Rule::Allowlist)
    }
}

fn refuses_time(windows: Option<&TimeWindows>, now: u64) -> Option<Rule> {
    (!windows?.are_open(now)).then_some(Rule::TimeWindow)
}

#[cfg(test)]
mod tests;
