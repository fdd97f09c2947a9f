//! TOTP as a factor: RFC 6238 sections 4 to 6.
//!
//! A time step is spent together with every step before it (section 5.2: a code is accepted once).

use serde::{Deserialize, Serialize};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use super::{Against, Spends, SpentOn, Verified};
use crate::binding::Binding;
use crate::otp::OtpKey;

/// The valid steps before and after the current one (RFC 6238 sections 5.2 and 6: network delay and drift).
pub const DRIFT_STEPS: u64 = 1;

const MIN_CODE_LEN: usize = 6;
const MAX_CODE_LEN: usize = 8;

/// A code as typed: 6 to 8 ASCII digits. No `Debug`, no comparison: only [`super`] looks into it.
pub struct Code {
    /// Left-aligned and padded with zero bytes. Codes of every length are compared in this form.
    digits: Zeroizing<[u8; MAX_CODE_LEN]>,
}

impl Code {
    /// Accepts exactly `[0-9]{6,8}`. A space, a sign or a digit of another script makes the parameter
    /// malformed.
    pub fn parse(bytes: &[u8]) -> Result<Code, NotACode> {
        if !(MIN_CODE_LEN..=MAX_CODE_LEN).contains(&bytes.len()) || !bytes.iter().all(u8::is_ascii_digit) {
            return Err(NotACode);
        }
        let mut digits = Zeroizing::new([0; MAX_CODE_LEN]);
        digits[..bytes.len()].copy_from_slice(bytes);
        Ok(Code { digits })
    }

    pub(crate) fn padded(&self) -> &[u8; MAX_CODE_LEN] {
        &self.digits
    }
}

/// Bytes that are no code. The text does not repeat them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is 6 to 8 ASCII digits and nothing else")]
pub struct NotACode;

/// A user's OTP key, and its spent state.
#[derive(Clone, Serialize, Deserialize)]
pub struct Totp {
    key: OtpKey,
    /// The last step spent.
    last_step: Option<u64>,
    /// The signature that it was spent on, if any.
    on: Option<SpentOn>,
}

impl Totp {
    pub(super) fn new(key: OtpKey) -> Totp {
        Totp { key, last_step: None, on: None }
    }

    /// From a record's fields.
    pub(crate) fn read(key: OtpKey, last_step: Option<u64>, on: Option<SpentOn>) -> Totp {
        Totp { key, last_step, on }
    }

    /// The same with the longest spent state.
    pub(super) fn longest(&self) -> Totp {
        Totp { key: self.key.clone(), last_step: Some(u64::MAX), on: Some(SpentOn::longest()) }
    }

    /// The last step spent, and on what.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> (Option<u64>, Option<&SpentOn>) {
        (self.last_step, self.on.as_ref())
    }

    pub(super) fn key(&self) -> &OtpKey {
        &self.key
    }

    /// The last step that is spent, or counts as spent after the store was restored.
    fn last_step(&self, restored: Option<u64>) -> Option<u64> {
        self.last_step.max(self.floor(restored))
    }

    /// Every step that was valid at a restoration may have been used, and two windows more, because clocks
    /// differ.
    fn floor(&self, restored: Option<u64>) -> Option<u64> {
        restored.map(|at| at / self.key.period() + 2 * (2 * DRIFT_STEPS + 1))
    }

    pub(super) fn is_barred(&self, restored: Option<u64>, now: u64) -> bool {
        self.floor(restored).is_some_and(|floor| now / self.key.period() + DRIFT_STEPS <= floor)
    }

    /// The step that was spent on exactly this digest, while it may be tried again.
    fn repeatable(&self, digest: &Binding, released_at: Option<u64>, now: u64) -> Option<u64> {
        self.repeated(digest, released_at, now).and(self.last_step)
    }

    pub(super) fn repeated(&self, digest: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        self.on.as_ref().and_then(|on| on.repeated(digest, released_at, now))
    }

    pub(super) fn spend(&self, step: u64, on: Option<SpentOn>) -> Totp {
        Totp { key: self.key.clone(), last_step: Some(step), on }
    }
}

/// Compares one code with every valid step and with the one that may be repeated. Computes the same if there
/// is none.
pub(super) fn verify(code: &Code, enrolled: Option<&Totp>, against: &Against<'_>) -> Verified {
    let &Against { binding, released_at, restored, now } = against;
    let decoy = OtpKey::decoy();
    let (key, last_step, repeatable) = match enrolled {
        Some(totp) => {
            let repeatable = binding.and_then(|binding| totp.repeatable(binding, released_at, now));
            (&totp.key, totp.last_step(restored), repeatable)
        }
        None => (&decoy, None, None),
    };
    let known = Choice::from(u8::from(enrolled.is_some()));
    let (found, step) = match_step(key, code.padded(), last_step, now);
    let repeats = is_code_of(key, repeatable, code.padded()) & known;
    let step = u64::conditional_select(&step, &repeatable.unwrap_or(0), repeats);
    Verified { spends: Spends::Step(step), is_new: found & known & !repeats, repeats }
}

/// Whether `code` is that of `step`. Computes the same without a step.
fn is_code_of(key: &OtpKey, step: Option<u64>, code: &[u8; 8]) -> Choice {
    let expected = key.codes().of_step(step.unwrap_or(0));
    expected.ct_eq(code) & Choice::from(u8::from(step.is_some()))
}

/// Whether `code` is that of a valid step after `last_step`, and which one (the latest, if two collide).
fn match_step(key: &OtpKey, code: &[u8; 8], last_step: Option<u64>, now: u64) -> (Choice, u64) {
    let codes = key.codes();
    let current = now / key.period();
    // Step 0 can be spent only if nothing was. `next` is the first step that may be spent.
    let next = last_step.map_or(0, |last| last.saturating_add(1));
    let (mut found, mut matched) = (Choice::from(0), 0);
    for step in current.saturating_sub(DRIFT_STEPS)..=current.saturating_add(DRIFT_STEPS) {
        let unspent = !next.ct_gt(&step);
        let right = codes.of_step(step).ct_eq(code) & unspent;
        matched.conditional_assign(&step, right);
        found |= right;
    }
    (found, matched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::OtpHash;

    const DIGEST: Binding = [7; 32];

    fn key(secret: &[u8], hash: OtpHash, digits: u8, period: u64) -> OtpKey {
        OtpKey::new(Zeroizing::new(secret.to_vec()), hash, digits, period).expect("within the bounds")
    }

    fn totp() -> Totp {
        Totp::new(key(&[5; 20], OtpHash::Sha1, 6, 30))
    }

    fn code(key: &OtpKey, time: u64) -> String {
        let padded = key.codes().of_step(time / key.period());
        String::from_utf8(padded[..usize::from(key.digits())].to_vec()).expect("digits")
    }

    fn padded(code: &str) -> [u8; 8] {
        let mut padded = [0; 8];
        padded[..code.len()].copy_from_slice(code.as_bytes());
        padded
    }

    fn matches(key: &OtpKey, code: &str, last_step: Option<u64>, now: u64) -> Option<u64> {
        let (found, step) = match_step(key, &padded(code), last_step, now);
        bool::from(found).then_some(step)
    }

    fn signed_at(totp: &Totp, step: u64, now: u64) -> Totp {
        totp.spend(step, Some(SpentOn::new(DIGEST, now, [9; 32])))
    }

    #[test]
    fn three_steps_are_live_and_the_matching_one_is_returned() {
        let key = key(&[5; 20], OtpHash::Sha1, 6, 30);
        let now = 1_700_000_010;
        let step = now / 30;
        for live in [step - 1, step, step + 1] {
            assert_eq!(matches(&key, &code(&key, live * 30), None, now), Some(live));
        }
        for stale in [step - 2, step + 2] {
            assert_eq!(matches(&key, &code(&key, stale * 30), None, now), None);
        }
    }

    #[test]
    fn otp_replay_only_a_later_step_matches() {
        let key = key(&[5; 20], OtpHash::Sha1, 6, 30);
        let now = 1_700_000_010;
        let step = now / 30;
        assert_eq!(matches(&key, &code(&key, step * 30), Some(step), now), None, "the same step");
        assert_eq!(matches(&key, &code(&key, (step - 1) * 30), Some(step), now), None, "an older step");
        assert_eq!(
            matches(&key, &code(&key, (step + 1) * 30), Some(step), now),
            Some(step + 1),
            "a later step"
        );
        assert_eq!(matches(&key, &code(&key, (step + 1) * 30), Some(u64::MAX), now), None);
    }

    #[test]
    fn a_code_of_another_length_does_not_match() {
        let key = key(&[5; 20], OtpHash::Sha1, 8, 30);
        let right = code(&key, 1_700_000_010);
        assert_eq!(matches(&key, &right, None, 1_700_000_010), Some(1_700_000_010 / 30));
        assert_eq!(matches(&key, &right[..6], None, 1_700_000_010), None);
        assert_eq!(matches(&key, &right[2..], None, 1_700_000_010), None);
    }

    #[test]
    fn time_zero_and_the_end_of_time_do_not_overflow() {
        let key = key(&[5; 20], OtpHash::Sha1, 6, 30);
        assert_eq!(matches(&key, &code(&key, 0), None, 0), Some(0));
        let _ = matches(&key, "000000", None, u64::MAX);
    }

    #[test]
    fn a_step_repeats_on_its_own_digest_for_two_minutes_from_when_its_answer_left() {
        let spent = signed_at(&totp(), 100, 1_000);
        assert_eq!(spent.repeatable(&DIGEST, None, 1_119), Some(100));
        assert_eq!(spent.repeatable(&DIGEST, None, 1_120), None, "two minutes are over");
        assert_eq!(spent.repeatable(&[8; 32], None, 1_001), None, "another transaction");
        assert_eq!(spent.repeatable(&DIGEST, Some(1_030), 1_149), Some(100), "the answer left later");
        assert_eq!(spent.repeatable(&DIGEST, Some(1_030), 1_150), None);
        assert_eq!(spent.repeated(&DIGEST, None, 1_119), Some([9; 32]), "with the same randomness");
        assert_eq!(spent.repeated(&DIGEST, None, 1_120), None);
        let other = spent.spend(101, None);
        assert_eq!(other.repeatable(&DIGEST, None, 1_011), None, "not spent on a signature");
    }

    #[test]
    fn state_rollback_after_a_restoration_no_code_counts_that_may_have_been_used() {
        let at = 1_800_000_000;
        assert_eq!(totp().last_step(None), None);
        let floor = totp().last_step(Some(at)).expect("a floor");
        // The last step that anybody could have used before is the one after the clock's.
        assert_eq!(floor, at / 30 + 6, "two windows of three steps");
        let spent = signed_at(&totp(), floor + 5, at);
        assert_eq!(spent.last_step(Some(at)), Some(floor + 5), "what is known to be spent stays so");
    }

    #[test]
    fn a_code_is_verified_against_what_it_is_bound_to_and_is_never_right_for_nobody() {
        let (totp, now) = (totp(), 1_700_000_010);
        let right = Code::parse(code(&totp.key, now).as_bytes()).expect("digits");
        let against = |binding| Against { binding, released_at: None, restored: None, now };
        let answers = |totp: Option<&Totp>, binding| {
            let Verified { is_new, repeats, .. } = verify(&right, totp, &against(binding));
            (bool::from(is_new), bool::from(repeats))
        };
        assert_eq!(answers(Some(&totp), Some(&DIGEST)), (true, false));
        assert_eq!(answers(None, Some(&DIGEST)), (false, false), "of nobody");
        let spent = signed_at(&totp, now / 30, now);
        assert_eq!(answers(Some(&spent), Some(&DIGEST)), (false, true), "what it was spent on");
        assert_eq!(answers(Some(&spent), Some(&[8; 32])), (false, false), "something else");
        assert_eq!(answers(Some(&spent), None), (false, false), "for its own sake");
    }
}
