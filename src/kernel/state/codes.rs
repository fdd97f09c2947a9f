//! What became of a user's codes: the step spent last, the tries charged, the waits and locks.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kernel::otp::{DRIFT_STEPS, MatchedStep};
use crate::kernel::psbt::Digest;

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

    fn may_be_repeated(&self, digest: &Digest, now: u64) -> bool {
        self.digest == *digest && now < self.at.saturating_add(RETRY_PERIOD)
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
    pub(super) fn repeatable(&self, digest: &Digest, now: u64) -> Option<u64> {
        self.signed.as_ref().filter(|signed| signed.may_be_repeated(digest, now)).and(self.last_step)
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
        let wait = wait_after(in_row);
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|at| at.saturating_add(BUDGET_PERIOD) > now).collect();
        charged.push(now);
        Ok(CodeState { in_row, not_before: now.saturating_add(wait), charged, ..self.clone() })
    }

    /// Spends the matched step, on a signature or on something else, and takes back the charge it was tried under.
    pub(super) fn spend(&self, matched: &MatchedStep, signed: Option<Signed>) -> Result<CodeState, Spent> {
        if matched.repeats || self.last_step.is_some_and(|last| matched.step <= last) {
            return Err(Spent);
        }
        let charged = self.without_charge(matched.charged_at);
        Ok(CodeState { last_step: Some(matched.step), in_row: 0, not_before: 0, charged, signed })
    }

    /// Takes back the charge of a step that was spent on this digest before, and nothing else: whoever saw a code could
    /// else end a row of failures with it. Gives the randomness of the signatures.
    pub(super) fn repeat(
        &self,
        matched: &MatchedStep,
        digest: &Digest,
        now: u64,
    ) -> Result<(CodeState, [u8; 32]), Spent> {
        let signed =
            self.signed.as_ref().filter(|signed| signed.may_be_repeated(digest, now)).ok_or(Spent)?;
        if self.last_step != Some(matched.step) {
            return Err(Spent);
        }
        let charged = self.without_charge(matched.charged_at);
        let in_row = self.in_row.saturating_sub(1);
        Ok((CodeState { in_row, charged, ..self.clone() }, signed.entropy()))
    }

    fn without_charge(&self, charged_at: u64) -> Vec<u64> {
        let mut charged = self.charged.clone();
        if let Some(own) = charged.iter().position(|&at| at == charged_at) {
            charged.remove(own);
        }
        charged
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

/// The user is locked or must wait; the code was not evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// The step was spent meanwhile, or the user is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = [7; 32];

    fn matched(step: u64, charged_at: u64) -> MatchedStep {
        MatchedStep { user: "alice".into(), key_id: [1; 16], step, charged_at, repeats: false }
    }

    fn repeating(step: u64, charged_at: u64) -> MatchedStep {
        MatchedStep { repeats: true, ..matched(step, charged_at) }
    }

    impl CodeState {
        fn charged(&self, now: u64) -> CodeState {
            self.charge(now).expect("open")
        }

        fn spent(&self, matched: &MatchedStep) -> CodeState {
            let signed = Signed::new(DIGEST, matched.charged_at, [9; 32]);
            self.spend(matched, Some(signed)).expect("a later step")
        }

        fn is_closed(&self, now: u64) -> bool {
            self.charge(now).is_err()
        }
    }

    #[test]
    fn otp_guess_the_back_off_doubles_up_to_an_hour_and_ten_in_a_row_lock() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920] {
            state = state.charged(now);
            if wait > 0 {
                assert!(state.is_closed(now + wait - 1), "wait {wait}");
            }
            now += wait;
            assert!(!state.is_locked(now), "wait {wait}");
        }
        state = state.charged(now);
        assert!(state.is_closed(now + 365 * 24 * 3_600), "locked for good");
        assert!(state.unlocked().charge(now).is_ok(), "until the security officer unlocks");
    }

    #[test]
    fn otp_guess_success_never_resets_the_budget() {
        let (mut state, mut now) = (CodeState::default(), 1_000_000);
        for failure in 1..=BUDGET {
            state = state.charged(now);
            assert_eq!(state.failures(now), failure);
            now += 1;
            if failure < BUDGET {
                // A success in between takes back its own charge only.
                state = state.charged(now).spent(&matched(now, now));
                assert_eq!(state.failures(now), failure);
                now += 1;
            }
        }
        assert!(state.is_closed(now));
        assert!(state.unlocked().is_closed(now), "unlocking does not touch the budget");
        assert!(state.charge(now + BUDGET_PERIOD).is_ok(), "30 days do");
    }

    #[test]
    fn otp_replay_a_step_is_spent_once_and_no_earlier_one_after_it() {
        let state = CodeState::default().charged(1).spent(&matched(100, 1));
        assert!(state.spend(&matched(100, 1), None).is_err());
        assert!(state.spend(&matched(99, 1), None).is_err());
        assert!(state.spend(&repeating(101, 1), None).is_err(), "a repetition spends nothing");
        assert!(state.spend(&matched(101, 1), None).is_ok());
    }

    #[test]
    fn a_charge_only_ever_adds() {
        let state = CodeState::default().charged(5).charged(5);
        assert_eq!((state.in_row, state.failures(5)), (2, 2));
    }

    #[test]
    fn a_step_repeats_on_its_own_digest_for_two_minutes_and_gives_back_its_own_charge() {
        let spent = CodeState::default().charged(1_000).spent(&matched(100, 1_000));
        assert_eq!(spent.repeatable(&DIGEST, 1_119), Some(100));
        assert_eq!(spent.repeatable(&DIGEST, 1_120), None, "two minutes are over");
        assert_eq!(spent.repeatable(&[8; 32], 1_001), None, "another transaction");
        // One wrong code, then the same again.
        let charged = spent.charged(1_010).charged(1_011);
        let (repeated, entropy) = charged.repeat(&repeating(100, 1_011), &DIGEST, 1_011).expect("its own");
        assert_eq!((entropy, repeated.failures(1_011), repeated.in_row), ([9; 32], 1, 1));
        assert_eq!(repeated.repeatable(&DIGEST, 1_119), Some(100), "and once more");
        assert_eq!(repeated.repeatable(&DIGEST, 1_120), None, "never for longer");
        for (matched, digest, now) in [
            (repeating(100, 1_011), [8; 32], 1_011),
            (repeating(99, 1_011), DIGEST, 1_011),
            (repeating(100, 1_011), DIGEST, 1_120),
        ] {
            assert!(charged.repeat(&matched, &digest, now).is_err());
        }
        let other = charged.spend(&matched(101, 1_011), None).expect("a later step");
        assert!(other.repeat(&repeating(101, 1_011), &DIGEST, 1_011).is_err(), "not spent on a signature");
    }

    #[test]
    fn state_rollback_after_a_restoration_no_code_counts_that_may_have_been_used() {
        let at = 1_800_000_000;
        let state = CodeState::default();
        assert_eq!(state.last_step(None, 30), None);
        let floor = state.last_step(Some(at), 30).expect("a floor");
        // The last step that anybody could have used before is that one step ahead of the clock.
        assert_eq!(floor, at / 30 + 6, "two windows of three steps");
        let spent = state.charged(at).spent(&matched(floor + 5, at));
        assert_eq!(spent.last_step(Some(at), 30), Some(floor + 5), "what is known to be spent stays so");
    }
}
