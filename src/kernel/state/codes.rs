//! What became of a user's codes: the step spent last, the tries charged, the waits and locks.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::otp::DRIFT_STEPS;
use crate::psbt::Digest;

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

/// Seconds in which a code may be tried again on the transaction that it was spent on: for who lost the answer.
pub const RETRY_PERIOD: u64 = 120;

/// Seconds to wait after so many wrong tries in a row.
pub(super) fn wait_after(in_row: u32) -> u64 {
    in_row.checked_sub(BACK_OFF_FROM).map_or(0, |doublings| {
        // From the shift on which a bit is lost on, and long before, it is the longest wait.
        BACK_OFF_FIRST.checked_shl(doublings.min(32)).map_or(BACK_OFF_MOST, |wait| wait.min(BACK_OFF_MOST))
    })
}

/// What became of a user's codes.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct CodeState {
    /// The last step spent.
    last_step: Option<u64>,
    /// Tries charged since the last right code or unlocking.
    in_row: u32,
    /// No try is taken before this Unix time.
    not_before: u64,
    /// Unix times of the tries charged in the last 30 days and not right.
    charged: Vec<u64>,
    /// What the last step was spent on, if on a signature.
    signed: Option<Signed>,
}

/// A signature that a step was spent on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Signed {
    /// What was signed.
    digest: Digest,
    /// Unix time of the spending.
    at: u64,
    /// The randomness of its signatures: with the same, the same come again.
    entropy: [u8; 32],
}

impl Signed {
    /// What is kept of a signature.
    pub(super) fn new(digest: Digest, at: u64, entropy: [u8; 32]) -> Signed {
        Signed { digest, at, entropy }
    }

    /// The randomness of its signatures.
    pub(super) fn entropy(&self) -> [u8; 32] {
        self.entropy
    }

    /// The time runs from when the answer left, where that is known, and else from when it was decided.
    fn may_be_repeated(&self, digest: &Digest, released_at: Option<u64>, now: u64) -> bool {
        let since = self.at.max(released_at.unwrap_or(0));
        self.digest == *digest && now < since.saturating_add(RETRY_PERIOD)
    }
}

impl CodeState {
    /// The state as the first format had it.
    pub(super) fn upgrade(first: FirstFormat) -> CodeState {
        let FirstFormat { last_step, in_row, not_before, charged } = first;
        CodeState { last_step, in_row, not_before, charged, signed: None }
    }

    /// The last step that is spent, or has to be taken for spent since the store was restored.
    pub(super) fn last_step(&self, restored: Option<u64>, period: u64) -> Option<u64> {
        // Every step that was live then may have been used; two windows more, for clocks that differ.
        let floor = restored.map(|at| at / period + 2 * (2 * DRIFT_STEPS + 1));
        self.last_step.max(floor)
    }

    /// Whether no code can be right yet since the store was restored.
    pub(super) fn is_barred(&self, restored: Option<u64>, period: u64, now: u64) -> bool {
        let floor = CodeState::default().last_step(restored, period);
        floor.is_some_and(|floor| now / period + DRIFT_STEPS <= floor)
    }

    /// The step that was spent on this very digest, while it may be tried again.
    pub(super) fn repeatable(&self, digest: &Digest, released_at: Option<u64>, now: u64) -> Option<u64> {
        let signed = self.signed.as_ref();
        signed.filter(|signed| signed.may_be_repeated(digest, released_at, now)).and(self.last_step)
    }

    /// Whether no try is taken at `now`.
    pub fn is_locked(&self, now: u64) -> bool {
        self.in_row >= LOCK_FROM || now < self.not_before || self.failures(now) >= BUDGET
    }

    /// Tries charged and not right in the 30 days before `now`.
    pub fn failures(&self, now: u64) -> usize {
        self.charged.iter().filter(|&&at| at.saturating_add(BUDGET_PERIOD) > now).count()
    }

    /// Charges a wrong try.
    pub(super) fn charge(&self, now: u64) -> CodeState {
        let in_row = self.in_row.saturating_add(1);
        let wait = wait_after(in_row);
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|at| at.saturating_add(BUDGET_PERIOD) > now).collect();
        charged.push(now);
        CodeState { in_row, not_before: now.saturating_add(wait), charged, ..self.clone() }
    }

    /// The longest state that can be written: as many tries as the budget has.
    pub(super) fn longest() -> CodeState {
        CodeState {
            last_step: Some(u64::MAX),
            in_row: u32::MAX,
            not_before: u64::MAX,
            charged: vec![u64::MAX; BUDGET],
            signed: Some(Signed::new([0; 32], u64::MAX, [0; 32])),
        }
    }

    /// Spends `step`, on a signature or on something else, and ends the row of wrong tries.
    pub(super) fn spend(&self, step: u64, signed: Option<Signed>) -> CodeState {
        CodeState { last_step: Some(step), in_row: 0, not_before: 0, charged: self.charged.clone(), signed }
    }

    /// The randomness of the signatures that were made of `digest`, while they may be asked for again.
    pub(super) fn repeated(&self, digest: &Digest, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        let signed = self.signed.as_ref();
        signed.filter(|signed| signed.may_be_repeated(digest, released_at, now)).map(Signed::entropy)
    }

    /// What the security officer can give back: the row, not the budget.
    pub(super) fn unlocked(&self) -> CodeState {
        CodeState { in_row: 0, not_before: 0, ..self.clone() }
    }
}

/// The state as version 0.1 first wrote it.
#[derive(Serialize, Deserialize)]
pub(super) struct FirstFormat {
    last_step: Option<u64>,
    in_row: u32,
    not_before: u64,
    charged: Vec<u64>,
}

/// A user is locked or must wait: no code was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = [7; 32];

    impl CodeState {
        fn signed_at(&self, step: u64, now: u64) -> CodeState {
            self.spend(step, Some(Signed::new(DIGEST, now, [9; 32])))
        }
    }

    #[test]
    fn otp_guess_the_back_off_doubles_up_to_an_hour_and_ten_in_a_row_lock() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920] {
            state = state.charge(now);
            if wait > 0 {
                assert!(state.is_locked(now + wait - 1), "wait {wait}");
            }
            now += wait;
            assert!(!state.is_locked(now), "wait {wait}");
        }
        state = state.charge(now);
        assert!(state.is_locked(now + 365 * 24 * 3_600), "locked for good");
        assert!(!state.unlocked().is_locked(now), "until the security officer unlocks");
    }

    #[test]
    fn otp_guess_success_never_resets_the_budget() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for failure in 1..=BUDGET {
            state = state.charge(now);
            assert_eq!(state.failures(now), failure);
            now += 1;
            if failure < BUDGET {
                // A success in between ends the row, and nothing else.
                state = state.signed_at(now, now);
                assert_eq!(state.failures(now), failure);
                now += 1;
            }
        }
        assert!(state.is_locked(now));
        assert!(state.unlocked().is_locked(now), "unlocking does not touch the budget");
        assert!(!state.unlocked().is_locked(now + BUDGET_PERIOD), "30 days do");
    }

    #[test]
    fn a_step_repeats_on_its_own_digest_for_two_minutes_from_when_its_answer_left() {
        let spent = CodeState::default().signed_at(100, 1_000);
        assert_eq!(spent.repeatable(&DIGEST, None, 1_119), Some(100));
        assert_eq!(spent.repeatable(&DIGEST, None, 1_120), None, "two minutes are over");
        assert_eq!(spent.repeatable(&[8; 32], None, 1_001), None, "another transaction");
        assert_eq!(spent.repeatable(&DIGEST, Some(1_030), 1_149), Some(100), "the answer left later");
        assert_eq!(spent.repeatable(&DIGEST, Some(1_030), 1_150), None);
        assert_eq!(spent.repeated(&DIGEST, None, 1_119), Some([9; 32]), "with the same randomness");
        assert_eq!(spent.repeated(&DIGEST, None, 1_120), None);
        let charged = spent.charge(1_010);
        assert_eq!(charged.repeatable(&DIGEST, None, 1_119), Some(100), "whatever is tried in between");
        let other = charged.spend(101, None);
        assert_eq!(other.repeatable(&DIGEST, None, 1_011), None, "not spent on a signature");
    }

    #[test]
    fn outcome_leak_no_state_is_longer_than_the_longest() {
        let longest = postcard::to_allocvec(&CodeState::longest()).expect("it is written").len();
        let (mut state, mut now) = (CodeState::default(), u64::MAX - 10 * BUDGET_PERIOD);
        while state.failures(now) < BUDGET {
            state = state.charge(now);
            now = now.max(state.not_before);
            if state.in_row >= LOCK_FROM {
                state = state.unlocked();
            }
            let signed = state.signed_at(now, now);
            for state in [&state, &signed] {
                assert!(postcard::to_allocvec(state).expect("it is written").len() <= longest);
            }
        }
    }

    #[test]
    fn state_rollback_after_a_restoration_no_code_counts_that_may_have_been_used() {
        let at = 1_800_000_000;
        let state = CodeState::default();
        assert_eq!(state.last_step(None, 30), None);
        let floor = state.last_step(Some(at), 30).expect("a floor");
        // The last step that anybody could have used before is that one step ahead of the clock.
        assert_eq!(floor, at / 30 + 6, "two windows of three steps");
        let spent = state.signed_at(floor + 5, at);
        assert_eq!(spent.last_step(Some(at), 30), Some(floor + 5), "what is known to be spent stays so");
    }
}
