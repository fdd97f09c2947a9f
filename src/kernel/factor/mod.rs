//! Factors: the means by which a user approves. A user has one, TOTP or HOTP. A ticket stands for approvals that were given before.
//!
//! A kind of factor appears in three places: the [`Proof`] in an approval, the [`Factor`] in the user's
//! record, with its secret and its spent state, and the [`Mark`] of what one proof spends. The file of a kind
//! knows all three. The enums here are closed: when somebody adds a kind, the compiler shows every place that
//! must handle it. Other files have what all kinds share: the budget of guesses is the user's
//! ([`Budget`](super::state::Budget)), and the breaker is for all users
//! ([`Failures`](super::failures::Failures)).
//!
//! Invariants:
//! - F1. A proof is verified against the binding of what is approved, in [`super::state::decide`] and
//!   [`super::state::confirm`]. Nobody can look into their result before it is durable.
//! - F2. Verifying computes the same for every proof of a kind, whoever the user is. So the time says nothing
//!   about how close a proof was, or whether the user exists or has such a factor.
//! - F3. What a proof spends is spent once. It is right again only for exactly what it was spent on, for
//!   [`RETRY_PERIOD`]: a caller that lost the answer gets it once more, and nothing else.
//! - F4. A proof is checked against the factor in the record that its outcome replaces. A proof of a factor
//!   that was replaced meanwhile neither confirms nor spends anything of the new enrolment.

pub mod hotp;
mod shown;
pub mod ticket;
pub mod totp;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::Choice;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::binding::Binding;
use crate::otp::{HotpKey, OtpHash, OtpKey, OtpKeyId};
use hotp::Hotp;
pub use shown::{Approvers, NotShown, Shown};
use ticket::NotATicket;
pub use ticket::TicketId;
use totp::{Code, NotACode, Totp};

/// Seconds in which a proof may be given again for what it was spent on, for a caller that lost the answer.
pub const RETRY_PERIOD: u64 = 120;

/// The kinds, with their numbers in approval records (`include/countersign.h`). A number is never used again
/// for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorKind {
    /// RFC 6238.
    Totp = 1,
    /// A transaction that users approved before.
    Ticket = 2,
    /// RFC 4226.
    Hotp = 3,
}

impl FactorKind {
    /// Its name, as it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            FactorKind::Totp => "totp",
            FactorKind::Ticket => "ticket",
            FactorKind::Hotp => "hotp",
        }
    }

    /// The kind with this number.
    pub fn of_number(number: u8) -> Option<FactorKind> {
        match number {
            1 => Some(FactorKind::Totp),
            2 => Some(FactorKind::Ticket),
            3 => Some(FactorKind::Hotp),
            _ => None,
        }
    }
}

/// The proof in an approval. Nothing about it was verified.
pub enum Proof {
    /// A code of a time step.
    Totp(Code),
    /// A code of a counter.
    Hotp(Code),
    /// A code of either, whichever the user has.
    Digits(Code),
    /// Two codes of counters in a row, which sign nothing and resynchronise.
    Pair([Code; 2]),
    /// The number of a transaction that users approved before.
    Ticket(TicketId),
}

impl Proof {
    /// Parses the code field of a record of this kind.
    pub(crate) fn parse<E: From<NotACode> + From<NotATicket>>(
        kind: FactorKind,
        field: &[u8],
    ) -> Result<Proof, E> {
        match kind {
            FactorKind::Totp => Ok(Proof::Totp(Code::parse(field)?)),
            FactorKind::Hotp => Ok(Proof::Hotp(Code::parse(field)?)),
            FactorKind::Ticket => Ok(Proof::Ticket(ticket::parse(field)?)),
        }
    }

    /// Parses a code whose form tells what it is.
    pub(crate) fn of_form(code: &[u8]) -> Result<Proof, NotACode> {
        Ok(Proof::Digits(Code::parse(code)?))
    }

    /// The same, or two codes in a row without anything between them.
    pub(crate) fn of_form_or_pair(codes: &[u8]) -> Result<Proof, NotACode> {
        let half = usize::from(HotpKey::DIGITS);
        match codes.len() == 2 * half {
            true => Ok(Proof::Pair([Code::parse(&codes[..half])?, Code::parse(&codes[half..])?])),
            false => Self::of_form(codes),
        }
    }

    /// Its kind, as a proof of this factor.
    pub(crate) fn kind_for(&self, factor: Option<&Factor>) -> FactorKind {
        match self {
            Proof::Totp(_) => FactorKind::Totp,
            Proof::Hotp(_) | Proof::Pair(_) => FactorKind::Hotp,
            Proof::Digits(_) => factor.map_or(FactorKind::Totp, Factor::kind),
            Proof::Ticket(_) => FactorKind::Ticket,
        }
    }
}

/// A factor as a user enrolled it, and its spent state.
#[derive(Clone, Serialize, Deserialize)]
pub enum Factor {
    /// A shared secret for codes of time steps.
    Totp(Totp),
    /// A shared secret for codes of counters.
    Hotp(Hotp),
}

/// What everybody may know of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The number of its kind in approvals.
    pub kind: FactorKind,
    /// Characters of a code.
    pub digits: u8,
    /// Seconds of a time step, if it has any.
    pub period: Option<u64>,
    /// The hash of HMAC.
    pub hash: OtpHash,
}

impl Factor {
    /// A TOTP key of which nothing is spent.
    pub fn totp(key: OtpKey) -> Factor {
        Factor::Totp(Totp::new(key))
    }

    /// An HOTP key of which nothing is spent.
    pub fn hotp(key: HotpKey) -> Factor {
        Factor::Hotp(Hotp::new(key))
    }

    /// The same, enrolled in the epoch of this name.
    pub(crate) fn enrolled_in(self, epoch: u64) -> Factor {
        match self {
            // Its codes have a time of their own.
            Factor::Totp(_) => self,
            Factor::Hotp(hotp) => Factor::Hotp(hotp.enrolled_in(epoch)),
        }
    }

    /// The same with the longest spent state.
    pub(crate) fn longest(&self) -> Factor {
        match self {
            Factor::Totp(totp) => Factor::Totp(totp.longest()),
            Factor::Hotp(hotp) => Factor::Hotp(hotp.longest()),
        }
    }

    /// The id of its key. The next enrolment of the same user has another one.
    pub fn key_id(&self) -> OtpKeyId {
        match self {
            Factor::Totp(totp) => totp.key().id(),
            Factor::Hotp(hotp) => hotp.key().id(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> FactorKind {
        self.form().kind
    }

    /// What everybody may know of it.
    pub fn form(&self) -> Form {
        match self {
            Factor::Totp(totp) => {
                let (key, kind) = (totp.key(), FactorKind::Totp);
                Form { kind, digits: key.digits(), period: Some(key.period()), hash: key.hash() }
            }
            Factor::Hotp(_) => {
                let (kind, digits) = (FactorKind::Hotp, HotpKey::DIGITS);
                Form { kind, digits, period: None, hash: OtpHash::Sha1 }
            }
        }
    }

    /// Whether no proof can be right after the store was restored: not yet, or never again.
    pub(crate) fn is_barred(&self, restored: Option<u64>, now: u64) -> bool {
        match self {
            Factor::Totp(totp) => totp.is_barred(restored, now),
            Factor::Hotp(hotp) => hotp.is_barred(restored),
        }
    }

    /// Whether the store was restored since the enrolment, and no proof will ever be right again.
    pub fn is_ended(&self, restored: Option<u64>) -> bool {
        match self {
            Factor::Totp(_) => false,
            Factor::Hotp(hotp) => hotp.is_barred(restored),
        }
    }

    fn as_totp(&self) -> Option<&Totp> {
        match self {
            Factor::Totp(totp) => Some(totp),
            Factor::Hotp(_) => None,
        }
    }

    fn as_hotp(&self) -> Option<&Hotp> {
        match self {
            Factor::Hotp(hotp) => Some(hotp),
            Factor::Totp(_) => None,
        }
    }

    /// The factor after one of its proofs was spent, on a signature or on something else.
    pub(crate) fn spend(&self, spends: Spends, on: Option<SpentOn>) -> Factor {
        match (self, spends) {
            (Factor::Totp(totp), Spends::Step(step)) => Factor::Totp(totp.spend(step, on)),
            (Factor::Hotp(hotp), Spends::Counter(counter)) => Factor::Hotp(hotp.spend(counter, on)),
            // A ticket is spent in its own record, and no proof of another kind is right.
            (Factor::Totp(_), Spends::Counter(_) | Spends::Ticket(_))
            | (Factor::Hotp(_), Spends::Step(_) | Spends::Ticket(_)) => self.clone(),
        }
    }

    /// The randomness of the signatures for `binding`, while they may be requested again.
    pub(crate) fn repeated(&self, binding: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        match self {
            Factor::Totp(totp) => totp.repeated(binding, released_at, now),
            Factor::Hotp(hotp) => hotp.repeated(binding, released_at, now),
        }
    }
}

/// What a proof is verified against, besides the factor.
#[derive(Clone, Copy)]
pub(crate) struct Against<'a> {
    /// What is approved, or none if the proof is given only to be checked.
    pub(crate) binding: Option<&'a Binding>,
    /// When the answer left, Unix seconds, if a proof of this user was spent on the same before and the time
    /// is still known.
    pub(crate) released_at: Option<u64>,
    /// When the store was last restored. What may have been spent before counts as spent.
    pub(crate) restored: Option<u64>,
    /// Unix time in seconds.
    pub(crate) now: u64,
}

/// The result of comparing one proof. Nothing outside of the kernel sees it before the outcome is durable.
pub(crate) struct Verified {
    /// What it spends. Without meaning if the proof is wrong.
    pub(crate) spends: Spends,
    /// It is right and not spent.
    pub(crate) is_new: Choice,
    /// It is right, and was spent on what is approved now.
    pub(crate) repeats: Choice,
}

/// Verifies a proof. `None`: it is wrong, whatever it is.
pub(crate) fn verify(proof: &Proof, factor: Option<&Factor>, against: &Against<'_>) -> Verified {
    let (totp, hotp) = (factor.and_then(Factor::as_totp), factor.and_then(Factor::as_hotp));
    match proof {
        Proof::Totp(code) => totp::verify(code, totp, against),
        Proof::Hotp(code) => hotp::verify(code, hotp, against),
        Proof::Digits(code) => {
            // Both, so that the time does not say which one the user has.
            let by_time = totp::verify(code, totp, against);
            let by_count = hotp::verify(code, hotp, against);
            Verified {
                spends: if hotp.is_some() { by_count.spends } else { by_time.spends },
                is_new: by_time.is_new | by_count.is_new,
                repeats: by_time.repeats | by_count.repeats,
            }
        }
        Proof::Pair(codes) => hotp::verify_pair(codes, hotp),
        // It is compared with its own record, in `state::Ticket`. No user's factor makes it right.
        Proof::Ticket(id) => {
            Verified { spends: Spends::Ticket(*id), is_new: Choice::from(0), repeats: Choice::from(0) }
        }
    }
}

/// What one proof spends of its factor.
#[derive(Clone, Copy)]
pub(crate) enum Spends {
    /// A time step of RFC 6238, and all steps before it.
    Step(u64),
    /// A counter of RFC 4226, and all counters before it.
    Counter(u64),
    /// A pending record.
    Ticket(TicketId),
}

/// What was spent, and by whom: it identifies one consent. Without meaning if the proof was wrong.
pub struct Mark {
    pub(crate) user: String,
    pub(crate) spends: Spends,
}

impl Mark {
    /// Adds what distinguishes it from every other mark. A time step's mark has no kind, because it came
    /// first.
    pub(crate) fn add_to(&self, hasher: &mut Sha256) {
        hasher.update((self.user.len() as u64).to_le_bytes());
        hasher.update(&self.user);
        match self.spends {
            Spends::Step(step) => hasher.update(step.to_le_bytes()),
            Spends::Counter(counter) => hasher.update([&b"hotp/1"[..], &counter.to_le_bytes()].concat()),
            Spends::Ticket(id) => hasher.update([b"ticket/1", &id[..]].concat()),
        }
    }
}

/// The signature that a proof was spent on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SpentOn {
    /// What was signed.
    digest: Binding,
    /// Unix time at which it was spent.
    at: u64,
    /// The randomness of its signatures. The same randomness gives the same signatures.
    entropy: [u8; 32],
}

impl SpentOn {
    /// The record of a signature.
    pub(crate) fn new(digest: Binding, at: u64, entropy: [u8; 32]) -> SpentOn {
        SpentOn { digest, at, entropy }
    }

    /// Unix time at which it was spent.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The longest possible one.
    pub(crate) fn longest() -> SpentOn {
        SpentOn::new([0; 32], u64::MAX, [0; 32])
    }

    /// The randomness of its signatures, while they may be requested again. The time runs from when the
    /// answer left, if that is known, and otherwise from the decision.
    pub(crate) fn repeated(&self, digest: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        let since = self.at.max(released_at.unwrap_or(0));
        (self.digest == *digest && now < since.saturating_add(RETRY_PERIOD)).then_some(self.entropy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otp::COMPUTED;

    fn computed(proof: &Proof, factor: Option<&Factor>) -> u32 {
        COMPUTED.set(0);
        let against =
            Against { binding: Some(&[7; 32]), released_at: None, restored: None, now: 1_700_000_000 };
        let _ = verify(proof, factor, &against);
        COMPUTED.get()
    }

    #[test]
    fn outcome_leak_verifying_computes_the_same_whoever_the_user_is_and_whatever_they_have() {
        let secret = [5; 20];
        let otp = OtpKey::new(zeroize::Zeroizing::new(secret.to_vec()), OtpHash::Sha1, 8, 30).expect("a key");
        let (totp, hotp) = (Factor::totp(otp), Factor::hotp(HotpKey::new(&secret)));
        let on = || Some(SpentOn::new([7; 32], 1_700_000_000, [1; 32]));
        let spent =
            [totp.spend(Spends::Step(1_700_000_000 / 30), on()), hotp.spend(Spends::Counter(3), on())];
        let factors = [None, Some(&totp), Some(&hotp), Some(&spent[0]), Some(&spent[1])];
        let code = |digits: &[u8]| Code::parse(digits).expect("digits");
        let right = HotpKey::new(&secret).codes().of_step(4);
        for (digits, wrong) in [(&*right, false), (b"00000000", true)] {
            for (proof, all) in [
                (Proof::Totp(code(digits)), 4),
                (Proof::Hotp(code(digits)), 12),
                (Proof::Digits(code(digits)), 16),
                (Proof::Pair([code(digits), code(digits)]), 1 + hotp::RESYNC_AHEAD as u32),
            ] {
                let counts = factors.map(|factor| computed(&proof, factor));
                assert_eq!(counts, [all; 5], "wrong: {wrong}");
            }
        }
    }

    #[test]
    fn otp_kind_a_code_of_one_kind_is_never_right_as_another() {
        let (secret, now) = ([5; 20], 1_700_000_010);
        let otp = OtpKey::new(zeroize::Zeroizing::new(secret.to_vec()), OtpHash::Sha1, 8, 30).expect("a key");
        let by_time = otp.codes().of_step(now / 30);
        let by_count = HotpKey::new(&secret).codes().of_step(0);
        let (totp, hotp) = (Factor::totp(otp), Factor::hotp(HotpKey::new(&secret)));
        let code = |digits: &[u8; 8]| Code::parse(digits).expect("digits");
        let is_right = |proof: Proof, factor: &Factor| {
            let against = Against { binding: None, released_at: None, restored: None, now };
            bool::from(verify(&proof, Some(factor), &against).is_new)
        };
        assert!(
            is_right(Proof::Totp(code(&by_time)), &totp) && is_right(Proof::Digits(code(&by_time)), &totp)
        );
        assert!(
            is_right(Proof::Hotp(code(&by_count)), &hotp) && is_right(Proof::Digits(code(&by_count)), &hotp)
        );
        assert!(!is_right(Proof::Hotp(code(&by_time)), &totp), "the user has no counter");
        assert!(!is_right(Proof::Hotp(code(&by_count)), &totp), "nor with the same secret");
        assert!(!is_right(Proof::Totp(code(&by_count)), &hotp));
        assert!(!is_right(Proof::Totp(code(&by_time)), &hotp));
    }
}
