//! Factors: the means by which a user approves. A user has one, TOTP. A ticket stands for approvals that were given before.
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

mod shown;
pub mod ticket;
pub mod totp;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::Choice;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::binding::Binding;
use crate::otp::OtpKey;
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
}

impl FactorKind {
    /// Its name, as it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            FactorKind::Totp => "totp",
            FactorKind::Ticket => "ticket",
        }
    }

    /// The kind with this number.
    pub fn of_number(number: u8) -> Option<FactorKind> {
        match number {
            1 => Some(FactorKind::Totp),
            2 => Some(FactorKind::Ticket),
            _ => None,
        }
    }
}

/// The proof in an approval. Nothing about it was verified.
pub enum Proof {
    /// A one-time code.
    Totp(Code),
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
            FactorKind::Ticket => Ok(Proof::Ticket(ticket::parse(field)?)),
        }
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> FactorKind {
        match self {
            Proof::Totp(_) => FactorKind::Totp,
            Proof::Ticket(_) => FactorKind::Ticket,
        }
    }
}

/// A factor as a user enrolled it, and its spent state.
#[derive(Clone)]
pub enum Factor {
    /// A shared secret for one-time codes.
    Totp(Totp),
}

impl Factor {
    /// A TOTP key of which nothing is spent.
    pub fn totp(key: OtpKey) -> Factor {
        Factor::Totp(Totp::new(key))
    }

    /// The key of one-time codes.
    pub fn otp_key(&self) -> &OtpKey {
        let Factor::Totp(totp) = self;
        totp.key()
    }

    /// Whether no proof can be right yet after the store was restored.
    pub(crate) fn is_barred(&self, restored: Option<u64>, now: u64) -> bool {
        let Factor::Totp(totp) = self;
        totp.is_barred(restored, now)
    }

    /// The factor after one of its proofs was spent, on a signature or on something else.
    pub(crate) fn spend(&self, spends: Spends, on: Option<SpentOn>) -> Factor {
        match (self, spends) {
            (Factor::Totp(totp), Spends::Step(step)) => Factor::Totp(totp.spend(step, on)),
            // A ticket is spent in its own record.
            (Factor::Totp(_), Spends::Ticket(_)) => self.clone(),
        }
    }

    /// The randomness of the signatures for `binding`, while they may be requested again.
    pub(crate) fn repeated(&self, binding: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        let Factor::Totp(totp) = self;
        totp.repeated(binding, released_at, now)
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
    match proof {
        Proof::Totp(code) => {
            let totp = factor.map(|factor| {
                let Factor::Totp(totp) = factor;
                totp
            });
            totp::verify(code, totp, against)
        }
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
