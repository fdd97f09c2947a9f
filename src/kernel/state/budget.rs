//! The budget of guesses at a user: wrong tries, waits and locks. All factors of a user share it.

use serde::{Deserialize, Serialize};

/// Wrong tries in a row from which on a user must wait before the next one.
pub const BACK_OFF_FROM: u32 = 3;
/// The first wait in seconds; each further one is twice as long.
pub const BACK_OFF_FIRST: u64 = 30;
/// The longest wait in seconds.
pub const BACK_OFF_MOST: u64 = 3_600;
/// Wrong tries in a row that lock a user until the security officer unlocks them.
pub const LOCK_FROM: u32 = 10;
/// Wrong tries in [`BUDGET_PERIOD`] that lock a user, whatever happens in between.
pub const BUDGET: usize = 20;
/// Seconds after which a wrong try leaves the budget: 30 days.
pub const BUDGET_PERIOD: u64 = 30 * 24 * 3_600;

/// Seconds to wait after so many wrong tries in a row.
pub(super) fn wait_after(in_row: u32) -> u64 {
    in_row.checked_sub(BACK_OFF_FROM).map_or(0, |doublings| {
        // Long before a shift loses a bit, the longest wait applies.
        BACK_OFF_FIRST.checked_shl(doublings.min(32)).map_or(BACK_OFF_MOST, |wait| wait.min(BACK_OFF_MOST))
    })
}

/// The state of the tries at a user's factors.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Wrong tries since the last right one or unlocking.
    in_row: u32,
    /// No try is accepted before this Unix time.
    not_before: u64,
    /// Unix times of the wrong tries in the last 30 days.
    charged: Vec<u64>,
}

impl Budget {
    /// Whether no try is accepted at `now`.
    pub fn is_locked(&self, now: u64) -> bool {
        self.in_row >= LOCK_FROM || now < self.not_before || self.failures(now) >= BUDGET
    }

    /// Wrong tries in the 30 days before `now`.
    pub fn failures(&self, now: u64) -> usize {
        self.charged.iter().filter(|&&at| at.saturating_add(BUDGET_PERIOD) > now).count()
    }

    /// Whether a wrong try was charged at `since` or later.
    pub fn was_charged_since(&self, since: u64) -> bool {
        self.charged.iter().any(|at| *at >= since)
    }

    /// Charges a wrong try.
    pub(super) fn charge(&self, now: u64) -> Budget {
        let in_row = self.in_row.saturating_add(1);
        let wait = wait_after(in_row);
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|at| at.saturating_add(BUDGET_PERIOD) > now).collect();
        charged.push(now);
        Budget { in_row, not_before: now.saturating_add(wait), charged }
    }

    /// The longest that can be written: with the most tries possible.
    pub(super) fn longest() -> Budget {
        Budget { in_row: u32::MAX, not_before: u64::MAX, charged: vec![u64::MAX; BUDGET] }
    }

    /// Ends the row of wrong tries, after a right one or by the security officer. The 30 days stay as they
    /// are.
    pub(super) fn row_ended(&self) -> Budget {
        Budget { in_row: 0, not_before: 0, charged: self.charged.clone() }
    }
}

/// A user is locked or must wait: no code was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn otp_guess_the_back_off_doubles_up_to_an_hour_and_ten_in_a_row_lock() {
        let (mut budget, mut now) = (Budget::default(), 1_000_000);
        for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920] {
            budget = budget.charge(now);
            if wait > 0 {
                assert!(budget.is_locked(now + wait - 1), "wait {wait}");
            }
            now += wait;
            assert!(!budget.is_locked(now), "wait {wait}");
        }
        budget = budget.charge(now);
        assert!(budget.is_locked(now + 365 * 24 * 3_600), "locked for good");
        assert!(!budget.row_ended().is_locked(now), "until the security officer unlocks");
    }

    #[test]
    fn otp_guess_success_never_resets_the_budget() {
        let (mut budget, mut now) = (Budget::default(), 1_000_000);
        for failure in 1..=BUDGET {
            budget = budget.charge(now);
            assert_eq!(budget.failures(now), failure);
            now += 1;
            if failure < BUDGET {
                // A right code in between ends the row, and changes nothing else.
                budget = budget.row_ended();
                assert_eq!(budget.failures(now), failure);
                now += 1;
            }
        }
        assert!(budget.is_locked(now));
        assert!(budget.row_ended().is_locked(now), "unlocking does not touch the budget");
        assert!(!budget.row_ended().is_locked(now + BUDGET_PERIOD), "30 days do");
    }

    #[test]
    fn outcome_leak_no_budget_is_longer_than_the_longest() {
        let len = |budget: &Budget| postcard::to_allocvec(budget).expect("it is written").len();
        let (mut budget, mut now) = (Budget::default(), u64::MAX - 10 * BUDGET_PERIOD);
        while budget.failures(now) < BUDGET {
            budget = budget.charge(now);
            now = now.max(budget.not_before);
            if budget.in_row >= LOCK_FROM {
                budget = budget.row_ended();
            }
            assert!(len(&budget) <= len(&Budget::longest()));
        }
    }
}
