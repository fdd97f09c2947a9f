//! What became of a user's codes: the step spent last, the tries charged, the waits and locks.

use serde::{Deserialize, Serialize};

use crate::kernel::otp::MatchedStep;

/// Wrong tries in a row from which on a user must wait before the next one.
pub const BACK_OFF_FROM: u32 = 3;
/// The first wait in seconds; each further one is twice as long.
pub const BACK_OFF_FIRST: u64 = 30;
/// The longest wait in seconds.
pub const BACK_OFF_MOST: u64 = 3_600;
/// Wrong tries in a row that lock a user until the security officer unlocks.
pub const LOCK_FROM: u32 = 10;
/// Wrong tries in [`BUDGET_PERIOD`] that lock a user, whatever happens in between.
pub const BUDGET: usize = 20;
/// Seconds after which a wrong try leaves the budget: 30 days.
pub const BUDGET_PERIOD: u64 = 30 * 24 * 3_600;

/// What became of a user's codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeState {
    /// The last step spent.
    last_step: Option<u64>,
    /// Tries charged since the last right code or unlocking.
    in_row: u32,
    /// No try is taken before this Unix time.
    not_before: u64,
    /// Unix times of the tries charged in the last 30 days and not right.
    charged: Vec<u64>,
}

impl CodeState {
    pub(super) fn last_step(&self) -> Option<u64> {
        self.last_step
    }

    /// Whether no try is taken at `now`.
    pub fn is_locked(&self, now: u64) -> bool {
        self.in_row >= LOCK_FROM || now < self.not_before || self.failures(now) >= BUDGET
    }

    /// Tries charged and not right in the 30 days before `now`.
    pub fn failures(&self, now: u64) -> usize {
        self.charged.iter().filter(|&&at| at.saturating_add(BUDGET_PERIOD) > now).count()
    }

    pub(super) fn charge(&self, now: u64) -> Result<CodeState, Locked> {
        if self.is_locked(now) {
            return Err(Locked);
        }
        let in_row = self.in_row + 1;
        let wait = in_row.checked_sub(BACK_OFF_FROM).map_or(0, |doublings| {
            BACK_OFF_FIRST.checked_shl(doublings).map_or(BACK_OFF_MOST, |wait| wait.min(BACK_OFF_MOST))
        });
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|at| at.saturating_add(BUDGET_PERIOD) > now).collect();
        charged.push(now);
        Ok(CodeState { last_step: self.last_step, in_row, not_before: now + wait, charged })
    }

    /// Spends the matched step and takes back the charge it was tried under.
    pub(super) fn spend(&self, matched: &MatchedStep) -> Result<CodeState, Spent> {
        if self.last_step.is_some_and(|last| matched.step <= last) {
            return Err(Spent);
        }
        let mut charged = self.charged.clone();
        if let Some(own) = charged.iter().position(|&at| at == matched.charged_at) {
            charged.remove(own);
        }
        Ok(CodeState { last_step: Some(matched.step), in_row: 0, not_before: 0, charged })
    }

    /// What the security officer can give back: the row, not the budget.
    pub(super) fn unlocked(&self) -> CodeState {
        CodeState { in_row: 0, not_before: 0, ..self.clone() }
    }
}

/// The user is locked or must wait; the code was not evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// The step was spent meanwhile, or the user is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(step: u64, charged_at: u64) -> MatchedStep {
        MatchedStep { user: "alice".into(), step, charged_at }
    }

    #[test]
    fn otp_guess_the_back_off_doubles_up_to_an_hour_and_ten_in_a_row_lock() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920] {
            state = state.charge(now).expect("open");
            if wait > 0 {
                assert_eq!(state.charge(now + wait - 1), Err(Locked), "wait {wait}");
            }
            now += wait;
            assert!(!state.is_locked(now), "wait {wait}");
        }
        state = state.charge(now).expect("the tenth try is taken");
        assert_eq!(state.charge(now + 365 * 24 * 3_600), Err(Locked), "locked for good");
        assert!(state.unlocked().charge(now).is_ok(), "until the security officer unlocks");
    }

    #[test]
    fn otp_guess_success_never_resets_the_budget() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for failure in 1..=BUDGET {
            state = state.charge(now).expect("open");
            assert_eq!(state.failures(now), failure);
            now += 1;
            if failure < BUDGET {
                // A success in between takes back its own charge only.
                let tried = state.charge(now).expect("open");
                state = tried.spend(&matched(now, now)).expect("a later step");
                assert_eq!(state.failures(now), failure);
                now += 1;
            }
        }
        assert_eq!(state.charge(now), Err(Locked));
        assert_eq!(state.unlocked().charge(now), Err(Locked), "unlocking does not touch the budget");
        assert!(state.charge(now + BUDGET_PERIOD).is_ok(), "30 days do");
    }

    #[test]
    fn otp_replay_a_step_is_spent_once_and_no_earlier_one_after_it() {
        let state = CodeState::default().charge(1).expect("open").spend(&matched(100, 1)).expect("first");
        assert_eq!(state.spend(&matched(100, 1)), Err(Spent));
        assert_eq!(state.spend(&matched(99, 1)), Err(Spent));
        assert!(state.spend(&matched(101, 1)).is_ok());
    }

    #[test]
    fn a_charge_only_ever_adds() {
        let state = CodeState::default().charge(5).expect("open").charge(5).expect("open");
        assert_eq!((state.in_row, state.failures(5)), (2, 2));
    }
}
