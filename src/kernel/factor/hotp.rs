//! HOTP as a factor: RFC 4226 sections 5 and 7.
//!
//! A counter is spent together with every counter before it, so the counter only moves forward. A code is right within the
//! look-ahead window (section 7.4). An authenticator that has run further ahead is resynchronised by two codes in a row.
//!
//! A counter has no time. After the store was restored, nobody can tell which codes were spent since the copy: they would be
//! right again, and two of them in a row would even resynchronise. So a restoration ends the enrolment: the user is enrolled anew.

use serde::{Deserialize, Serialize};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::totp::Code;
use super::{Against, Spends, SpentOn, Verified};
use crate::binding::Binding;
use crate::otp::HotpKey;

/// The counters after the next one whose codes are right, too (`s` of RFC 4226 section 7.4).
pub const LOOK_AHEAD: u64 = 10;
/// The counters after the next one at which two codes in a row resynchronise. Two codes have 16 digits, so nobody guesses them
/// anywhere in this window.
pub const RESYNC_AHEAD: u64 = 1_000;

/// A user's key for codes with a counter, and its spent state.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hotp {
    key: HotpKey,
    /// The first counter that is not spent.
    next: u64,
    /// The name of the epoch of the store in which it was enrolled.
    epoch: u64,
    /// The signature that the last counter was spent on, if any.
    on: Option<SpentOn>,
}

impl Hotp {
    pub(super) fn new(key: HotpKey) -> Hotp {
        Hotp { key, next: 0, epoch: 0, on: None }
    }

    pub(super) fn enrolled_in(self, epoch: u64) -> Hotp {
        Hotp { epoch, ..self }
    }

    /// The same with the longest spent state.
    pub(super) fn longest(&self) -> Hotp {
        Hotp { key: self.key.clone(), next: u64::MAX, epoch: self.epoch, on: Some(SpentOn::longest()) }
    }

    pub(super) fn key(&self) -> &HotpKey {
        &self.key
    }

    /// Whether the store was restored since it was enrolled.
    pub(super) fn is_barred(&self, restored: Option<u64>) -> bool {
        self.epoch != restored.unwrap_or(0)
    }

    pub(super) fn repeated(&self, digest: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        self.on.as_ref().and_then(|on| on.repeated(digest, released_at, now))
    }

    /// The counter that was spent on exactly this digest, while it may be tried again.
    fn repeatable(&self, digest: &Binding, released_at: Option<u64>, now: u64) -> Option<u64> {
        self.repeated(digest, released_at, now).and(self.next.checked_sub(1))
    }

    pub(super) fn spend(&self, counter: u64, on: Option<SpentOn>) -> Hotp {
        // Whoever calls this has found the counter in a window that begins at `next`.
        let next = self.next.max(counter.saturating_add(1));
        Hotp { key: self.key.clone(), next, epoch: self.epoch, on }
    }
}

/// Compares one code with that of every counter of the window, and with the one that may be repeated. Computes the same if there
/// is no key.
pub(super) fn verify(code: &Code, enrolled: Option<&Hotp>, against: &Against<'_>) -> Verified {
    let &Against { binding, released_at, now, .. } = against;
    let decoy = HotpKey::decoy();
    let (key, next, repeatable) = match enrolled {
        Some(hotp) => {
            let repeatable = binding.and_then(|binding| hotp.repeatable(binding, released_at, now));
            (&hotp.key, hotp.next, repeatable)
        }
        None => (&decoy, 0, None),
    };
    let (codes, known) = (key.codes(), Choice::from(u8::from(enrolled.is_some())));
    let (mut found, mut matched) = (Choice::from(0), 0);
    for ahead in 0..=LOOK_AHEAD {
        let counter = next.saturating_add(ahead);
        let right = codes.of_step(counter).ct_eq(code.padded()) & is_counter(counter);
        // If two counters have the same code, the later one: otherwise the code would be right once more.
        matched.conditional_assign(&counter, right);
        found |= right;
    }
    let last = codes.of_step(repeatable.unwrap_or(0));
    let repeats = last.ct_eq(code.padded()) & Choice::from(u8::from(repeatable.is_some())) & known;
    let matched = u64::conditional_select(&matched, &repeatable.unwrap_or(0), repeats);
    Verified { spends: Spends::Counter(matched), is_new: found & known & !repeats, repeats }
}

/// Looks for two codes in a row. What they resynchronise to is spent with the second one.
pub(super) fn verify_pair([first, second]: &[Code; 2], enrolled: Option<&Hotp>) -> Verified {
    let decoy = HotpKey::decoy();
    let (key, next) = enrolled.map_or((&decoy, 0), |hotp| (&hotp.key, hotp.next));
    let codes = key.codes();
    let (mut found, mut matched) = (Choice::from(0), 0);
    let mut was_first = codes.of_step(next).ct_eq(first.padded());
    for ahead in 1..=RESYNC_AHEAD {
        let counter = next.saturating_add(ahead);
        let expected = codes.of_step(counter);
        let right = was_first & expected.ct_eq(second.padded()) & is_counter(counter);
        matched.conditional_assign(&counter, right);
        found |= right;
        was_first = expected.ct_eq(first.padded());
    }
    let known = Choice::from(u8::from(enrolled.is_some()));
    Verified { spends: Spends::Counter(matched), is_new: found & known, repeats: Choice::from(0) }
}

/// The greatest number is no counter: nothing could be spent after it.
fn is_counter(counter: u64) -> Choice {
    !counter.ct_eq(&u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Binding = [7; 32];
    const AGAINST: Against<'_> =
        Against { binding: Some(&DIGEST), released_at: None, restored: None, now: 1_000 };

    fn hotp(next: u64) -> Hotp {
        Hotp { next, ..Hotp::new(HotpKey::new(b"12345678901234567890")) }
    }

    fn code(counter: u64) -> Code {
        Code::parse(&*hotp(0).key.codes().of_step(counter)).expect("digits")
    }

    /// The counter that a code spends, if it is right and new.
    fn spends(code: &Code, hotp: Option<&Hotp>) -> Option<u64> {
        let Verified { spends: Spends::Counter(counter), is_new, repeats } = verify(code, hotp, &AGAINST)
        else {
            panic!("another kind")
        };
        assert!(!bool::from(repeats));
        bool::from(is_new).then_some(counter)
    }

    fn resynchronises(first: u64, second: u64, hotp: Option<&Hotp>) -> Option<u64> {
        let Verified { spends: Spends::Counter(counter), is_new, .. } =
            verify_pair(&[code(first), code(second)], hotp)
        else {
            panic!("another kind")
        };
        bool::from(is_new).then_some(counter)
    }

    #[test]
    fn rfc4226_section_7_4_eleven_counters_are_live_and_the_matching_one_is_spent() {
        let at = hotp(5);
        for live in 5..=15 {
            assert_eq!(spends(&code(live), Some(&at)), Some(live));
        }
        for dead in [3, 4, 16, 17] {
            assert_eq!(spends(&code(dead), Some(&at)), None, "counter {dead}");
        }
        assert_eq!(spends(&code(5), None), None, "of nobody");
    }

    #[test]
    fn otp_replay_the_counter_only_moves_forward() {
        let spent = hotp(0).spend(7, None);
        for past in 0..=7 {
            assert_eq!(spends(&code(past), Some(&spent)), None, "counter {past}");
        }
        assert_eq!(spends(&code(8), Some(&spent)), Some(8));
        assert_eq!(spent.spend(3, None).next, 8, "never back");
    }

    #[test]
    fn two_codes_in_a_row_resynchronise_and_no_others() {
        let at = hotp(2);
        for (first, second) in [(2, 3), (40, 41), (1_001, 1_002)] {
            assert_eq!(resynchronises(first, second, Some(&at)), Some(second));
        }
        for (first, second) in [(1, 2), (0, 1), (40, 40), (41, 40), (40, 42), (1_002, 1_003)] {
            assert_eq!(resynchronises(first, second, Some(&at)), None, "{first}, {second}");
        }
        assert_eq!(resynchronises(0, 1, None), None, "of nobody");
    }

    #[test]
    fn the_last_counter_repeats_on_its_own_digest_for_two_minutes() {
        let spent = hotp(0).spend(3, Some(SpentOn::new(DIGEST, 1_000, [9; 32])));
        let answers = |binding: &Binding, counter, now| {
            let against = Against { binding: Some(binding), now, ..AGAINST };
            let Verified { is_new, repeats, .. } = verify(&code(counter), Some(&spent), &against);
            (bool::from(is_new), bool::from(repeats))
        };
        assert_eq!(answers(&DIGEST, 3, 1_119), (false, true));
        assert_eq!(answers(&DIGEST, 3, 1_120), (false, false), "two minutes are over");
        assert_eq!(answers(&[8; 32], 3, 1_001), (false, false), "another transaction");
        assert_eq!(answers(&DIGEST, 2, 1_001), (false, false), "an earlier counter");
        assert_eq!(answers(&DIGEST, 4, 1_001), (true, false));
    }

    #[test]
    fn state_rollback_after_a_restoration_no_code_counts_until_the_user_is_enrolled_anew() {
        assert!(!hotp(0).is_barred(None));
        assert!(hotp(0).is_barred(Some(77)));
        let anew = hotp(0).enrolled_in(77);
        assert!(!anew.is_barred(Some(77)) && anew.is_barred(Some(78)), "restored once more");
    }

    #[test]
    fn the_end_of_all_counters_is_never_right() {
        for next in [u64::MAX - 1, u64::MAX] {
            let _ = resynchronises(u64::MAX - 1, u64::MAX, Some(&hotp(next)));
            assert_eq!(spends(&code(u64::MAX), Some(&hotp(next))), None);
        }
    }
}
