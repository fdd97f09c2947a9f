//! The policy of a wallet: what right codes may sign.
//!
//! A policy is a TOML document, sealed with its wallet and changed as a whole. It names its limits, or says
//! `unlimited = true`; an empty policy is refused. Amounts are in satoshi, times in UTC.
//!
//! docs/policies.md has the table of the keys, with the rule that each stands for.
//!
//! Either `unlimited = true` without any other limit of amounts, fees and periods, or `max_fee_sat` and at least one of
//! `max_transaction_sat` and `max_period_sat`. All else is optional, and may stand beside `unlimited`.
//!
//! Any rule that refuses, refuses, so an allowlist never outweighs a denylist. The rules are judged in this order, and the first to
//! refuse is named: `denylist`, `allowlist`, `max_transaction_sat`, the fee's caps, `time_windows`, `required_approvals`. The period's
//! rules come last, against the very state of the wallet that the commit writes ([`super::state::decide`]), so that no two transactions
//! can pass a limit for one.
//! `require_cosigner` names the master fingerprint of a key of the wallet (eight hex digits). It is checked with the PSBT,
//! before any code is charged. A caller without anything that the cosigner signed can neither guess a code nor lock a user. This
//! protects a user only if all of their wallets ask for it and no key that signs digests lists them, and only until the cosigner has
//! signed one transaction: with that one, however old, tries are charged as ever.
//!
//! The policy of a key that signs digests has only the keys that need no PSBT: see [`DigestPolicy`].

mod comparison;
mod digest;
mod document;
mod hours;
mod limits;
mod listing;

use std::collections::HashSet;

use bitcoin::bip32::Fingerprint;

use super::psbt::CheckedPsbt;
use super::rule::Rule;
use super::state::Claim;
pub use comparison::Direction;
pub use digest::DigestPolicy;
pub use document::{PolicyError, changed_keys};
pub use hours::MAX_WINDOWS;
use hours::TimeWindows;
use limits::{Approvals, Limits};
pub use limits::{DEFAULT_PERIOD_HOURS, MAX_PERIOD_HOURS, PeriodLimits};
use listing::Listing;
pub use listing::{EntryError, MAX_ENTRIES, MAX_RANGED, RANGE};

/// What a wallet may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The limits; without them, whatever the users' codes approve.
    limits: Option<Limits>,
    allowlist: Option<Listing>,
    denylist: Option<Listing>,
    time_windows: Option<TimeWindows>,
    approvals: Approvals,
    require_cosigner: Option<Fingerprint>,
}

/// What was asked for with the codes that are to pay for it, and what the policy says, but for the limits of the period. Whether
/// the codes are right, the policy does not know: it judges wrong ones alike.
///
/// ```compile_fail,E0451
/// use countersign_kernel::policy::{Judged, PeriodLimits};
/// use countersign_kernel::{psbt::CheckedPsbt, state::Claim};
/// fn forge(asked: CheckedPsbt, claims: Vec<Claim>, period: PeriodLimits) -> Judged<CheckedPsbt> {
///     Judged { asked, claims, rule: None, period }
/// }
/// ```
#[must_use = "judged is not yet signed"]
pub struct Judged<S> {
    asked: S,
    claims: Vec<Claim>,
    /// The rule that refuses.
    rule: Option<Rule>,
    /// The limits that the history of its wallet or key is still to be held against.
    period: PeriodLimits,
}

impl<S> Judged<S> {
    pub(crate) fn into_parts(self) -> (S, Vec<Claim>, Option<Rule>, PeriodLimits) {
        (self.asked, self.claims, self.rule, self.period)
    }
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

    /// Whether it signs at some times only.
    pub fn has_time_windows(&self) -> bool {
        self.time_windows.is_some()
    }

    /// How many different users must approve where so many satoshi leave.
    pub fn required_approvals(&self, leaves: u64) -> usize {
        self.approvals.required(leaves)
    }

    /// How many different users must approve where the most is required.
    pub fn most_approvals(&self) -> usize {
        self.approvals.required
    }

    /// Judges at `now` (Unix seconds) a checked transaction that is to be paid for by the codes of `claims`.
    pub fn judge(&self, psbt: CheckedPsbt, claims: Vec<Claim>, now: u64) -> Judged<CheckedPsbt> {
        let rule = self
            .refusing_rule(&psbt)
            .or_else(|| self.refuses_time(now))
            .or_else(|| refuses_approvals(self.required_approvals(psbt.leaves()), &claims));
        Judged { asked: psbt, claims, rule, period: self.period() }
    }

    /// The first rule that refuses `psbt`, of those that need nothing else: neither time nor codes nor history.
    pub fn refusing_rule(&self, psbt: &CheckedPsbt) -> Option<Rule> {
        self.refuses_outputs(psbt).or_else(|| self.limits.as_ref()?.refusing_rule(psbt))
    }

    /// `denylist`, `allowlist`.
    fn refuses_outputs(&self, psbt: &CheckedPsbt) -> Option<Rule> {
        let outputs = &psbt.transaction().output;
        if let Some(denied) = &self.denylist
            && outputs.iter().any(|output| denied.has(&output.script_pubkey))
        {
            return Some(Rule::Denylist);
        }
        let allowed = self.allowlist.as_ref()?;
        let ours: HashSet<usize> = psbt.our_reachable_outputs().collect();
        let is_allowed =
            |index, output: &bitcoin::TxOut| ours.contains(&index) || allowed.has(&output.script_pubkey);
        let all = outputs.iter().enumerate().all(|(index, output)| is_allowed(index, output));
        (!all).then_some(Rule::Allowlist)
    }

    fn refuses_time(&self, now: u64) -> Option<Rule> {
        refuses_time(self.time_windows.as_ref(), now)
    }
}

fn refuses_time(windows: Option<&TimeWindows>, now: u64) -> Option<Rule> {
    (!windows?.are_open(now)).then_some(Rule::TimeWindow)
}

/// Of codes that are right, each is of another user.
fn refuses_approvals(required: usize, claims: &[Claim]) -> Option<Rule> {
    (claims.len() < required).then_some(Rule::Approvals)
}

#[cfg(test)]
mod tests;
