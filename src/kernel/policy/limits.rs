//! The limits of one transaction, of a period and of the fee, and the number of users who must approve.

use super::Payment;
use crate::history::{Charge, History};
use crate::rule::Rule;

/// The longest period in hours: a week. A wallet's history goes back that far.
pub const MAX_PERIOD_HOURS: u32 = 168;
/// The period in hours if the policy does not name one.
pub const DEFAULT_PERIOD_HOURS: u32 = 24;

/// The limits of amounts and fees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Satoshi that may leave the wallet in one transaction, fee included.
    pub(super) max_transaction: Option<u64>,
    /// Satoshi of fee.
    pub(super) max_fee: u64,
    /// Satoshi of fee per virtual byte.
    pub(super) max_feerate: Option<u64>,
    /// Fee in percent of the value that goes to others; if none does, of the value that comes back.
    pub(super) max_fee_percent: Option<u64>,
    pub(super) period: PeriodLimits,
}

impl Limits {
    /// `transaction-max` or `fee-cap`, if one of them refuses `payment`.
    pub(super) fn refusing_rule(&self, payment: &impl Payment) -> Option<Rule> {
        let moved = shared(payment.paid_to_others(), payment.comes_back());
        self.judge(payment.leaves(), moved, payment.fee(), payment.vsize())
    }

    /// The first rule that refuses if `leaves` satoshi leave, with a `fee` for moving `moved` satoshi, in
    /// `vsize` virtual bytes.
    fn judge(&self, leaves: u64, moved: u64, fee: u64, vsize: u64) -> Option<Rule> {
        if self.max_transaction.is_some_and(|max| leaves > max) {
            return Some(Rule::TransactionMax);
        }
        // Products in 128 bits, because a large number in the policy must not wrap.
        let over_feerate =
            self.max_feerate.is_some_and(|max| u128::from(fee) > u128::from(max) * u128::from(vsize));
        let over_share = self
            .max_fee_percent
            .is_some_and(|percent| u128::from(fee) * 100 > u128::from(percent) * u128::from(moved));
        (fee > self.max_fee || over_feerate || over_share).then_some(Rule::FeeCap)
    }
}

/// The value of which the fee is a share: what goes to others. If nothing does, the wallet pays itself (it
/// gathers or splits its coins), and the value is what arrives there. If nothing arrives anywhere, all of it
/// is fee.
fn shared(external: u64, back: u64) -> u64 {
    if external > 0 { external } else { back }
}

/// What may leave a wallet in a period, over all of its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodLimits {
    pub(super) max_sat: Option<u64>,
    pub(super) max_transactions: Option<u32>,
    /// 1 to [`MAX_PERIOD_HOURS`].
    pub(super) hours: u32,
}

impl PeriodLimits {
    /// No limit.
    pub(super) const NONE: PeriodLimits =
        PeriodLimits { max_sat: None, max_transactions: None, hours: DEFAULT_PERIOD_HOURS };

    /// Satoshi that may leave in the period, fees included.
    pub fn max_sat(&self) -> Option<u64> {
        self.max_sat
    }

    /// Transactions in the period.
    pub fn max_transactions(&self) -> Option<u32> {
        self.max_transactions
    }

    /// `period-max` or `period-transactions`, if one of them refuses `history` at `now` (Unix seconds), which
    /// already includes what is to be signed.
    ///
    /// As long as `exhausted_at` is within the period, every limit counts as spent.
    pub(crate) fn refusing_rule(
        &self,
        history: &History,
        exhausted_at: Option<u64>,
        now: u64,
    ) -> Option<Rule> {
        let Charge { sat, transactions } = history.spent(self.hours, now, exhausted_at);
        // A saturated sum is of unknown size, so it is over any limit.
        if self.max_sat.is_some_and(|max| sat > max || sat == u64::MAX) {
            return Some(Rule::PeriodMax);
        }
        (self.max_transactions.is_some_and(|max| transactions > max || transactions == u32::MAX))
            .then_some(Rule::PeriodTransactions)
    }
}

/// The number of different users who must approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Approvals {
    /// 1 to [`super::super::approval::MAX_RECORDS`].
    pub(super) required: usize,
    /// Required from this many satoshi leaving the wallet; below that, one user is enough.
    pub(super) from: u64,
}

impl Approvals {
    /// One user, whatever leaves.
    pub(super) const ONE: Approvals = Approvals { required: 1, from: 0 };

    pub(super) fn required(self, leaves: u64) -> usize {
        if leaves >= self.from { self.required } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ChargeId;

    const LIMITS: Limits = Limits {
        max_transaction: Some(100_000),
        max_fee: 5_000,
        max_feerate: Some(20),
        max_fee_percent: Some(10),
        period: PeriodLimits::NONE,
    };

    #[test]
    fn transaction_max() {
        assert_eq!(LIMITS.judge(100_000, 99_900, 100, 141), None);
        assert_eq!(LIMITS.judge(100_001, 99_901, 100, 141), Some(Rule::TransactionMax));
        let without = Limits { max_transaction: None, ..LIMITS };
        assert_eq!(without.judge(u64::MAX, u64::MAX - 100, 100, 141), None);
    }

    #[test]
    fn fee_cap() {
        assert_eq!(LIMITS.judge(60_000, 55_000, 5_000, 1_000), None);
        assert_eq!(LIMITS.judge(60_000, 54_999, 5_001, 1_000), Some(Rule::FeeCap), "satoshi");
        assert_eq!(LIMITS.judge(60_000, 57_180, 2_820, 141), None);
        let found = LIMITS.judge(60_000, 57_179, 2_821, 141);
        assert_eq!(found, Some(Rule::FeeCap), "satoshi per virtual byte");
        assert_eq!(LIMITS.judge(11_000, 10_000, 1_000, 1_000), None);
        let found = LIMITS.judge(11_000, 9_999, 1_001, 1_000);
        assert_eq!(found, Some(Rule::FeeCap), "share of the external value");
        // Nothing goes to others, so the share is of what comes back.
        assert_eq!(LIMITS.judge(1_000, shared(0, 10_000), 1_000, 1_000), None);
        let found = LIMITS.judge(1_001, shared(0, 10_000), 1_001, 1_000);
        assert_eq!(found, Some(Rule::FeeCap), "share of what comes back");
        let found = LIMITS.judge(1, shared(0, 0), 1, 1_000);
        assert_eq!(found, Some(Rule::FeeCap), "nothing arrives: all of it is fee");
        assert_eq!(LIMITS.judge(0, shared(0, 0), 0, 1_000), None, "and there is none");
        let found = LIMITS.judge(1_001, shared(1_000, 1_000_000), 1_001, 1_000);
        assert_eq!(found, Some(Rule::FeeCap), "what comes back is no base where something goes out");
    }

    #[test]
    fn a_huge_limit_does_not_wrap() {
        let limits = Limits {
            max_transaction: Some(u64::MAX),
            max_fee: u64::MAX,
            max_feerate: Some(u64::MAX),
            max_fee_percent: Some(u64::MAX),
            period: PeriodLimits::NONE,
        };
        assert_eq!(limits.judge(u64::MAX, u64::MAX / 2, u64::MAX / 2, u64::MAX), None);
    }

    #[test]
    fn period_max_and_period_transactions_count_everything_in_the_period() {
        let limits = PeriodLimits { max_sat: Some(100), max_transactions: Some(2), hours: 24 };
        let id = |byte| ChargeId::from_bytes([byte; 32]);
        let judge = |history: &History| limits.refusing_rule(history, None, 0);
        let history = History::default().charge(id(1), 60, 0);
        assert_eq!(judge(&history.charge(id(2), 40, 0)), None);
        assert_eq!(judge(&history.charge(id(2), 41, 0)), Some(Rule::PeriodMax));
        let history = history.charge(id(2), 0, 0);
        assert_eq!(judge(&history.charge(id(3), 0, 0)), Some(Rule::PeriodTransactions));
        assert_eq!(judge(&history.charge(id(2), 40, 0)), None, "a replacement is no further transaction");
        assert_eq!(
            judge(&history.charge(id(2), u64::MAX, 0)),
            Some(Rule::PeriodMax),
            "a sum that does not fit"
        );
    }

    #[test]
    fn an_exhausted_period_refuses_under_any_limit_until_it_is_over() {
        let sat = PeriodLimits { max_sat: Some(u64::MAX), max_transactions: None, hours: 2 };
        let number = PeriodLimits { max_sat: None, max_transactions: Some(u32::MAX), hours: 2 };
        for (limits, rule) in [(sat, Rule::PeriodMax), (number, Rule::PeriodTransactions)] {
            let at = |now| limits.refusing_rule(&History::default(), Some(3_600), now);
            assert_eq!(at(0), Some(rule), "in the future");
            assert_eq!(at(3_600), Some(rule));
            assert_eq!(at(3_600 + 2 * 3_600), Some(rule), "a period ago");
            assert_eq!(at(2 * 3_600 + 2 * 3_600), None);
            assert_eq!(limits.refusing_rule(&History::default(), None, 3_600), None);
        }
        let none = PeriodLimits::NONE.refusing_rule(&History::default(), Some(0), 0);
        assert_eq!(none, None, "without a limit there is nothing to exhaust");
    }

    #[test]
    fn approvals_are_required_from_an_amount_on() {
        let approvals = Approvals { required: 3, from: 1_000 };
        assert_eq!([999, 1_000, u64::MAX].map(|leaves| approvals.required(leaves)), [1, 3, 3]);
        assert_eq!([0, u64::MAX].map(|leaves| Approvals::ONE.required(leaves)), [1, 1]);
    }
}
