//! The way of one signature.
//!
//! ```text
//! C_Sign bytes → Approval::parse → CheckedPsbt::check → decide → commit → open → Authorization → signer::sign → bytes
//! ```
//!
//! A digest takes the same way, from `DigestKey::request` to `signer::sign_digest`, with a key that was made
//! for digests. `gate/keys.rs` has the differences. Each step consumes the result of the step before it, and
//! none of these values can be made in another way. The outcome of the codes is decided in memory and written
//! once. Nobody can look into it before it is durable, and no answer leaves that depends on something that is
//! not durable.

mod consent;
mod keys;

use std::cell::Cell;

use crate::engine::{DigestKeyId, Engine, EngineError, Held, KeyId, WalletId};
use crate::kernel::approval::Approval;
use crate::kernel::binding::Binding;
use crate::kernel::digest_key::{DigestKey, SIGNATURE_LEN};
use crate::kernel::factor::TicketId;
use crate::kernel::motion::Nonce;
use crate::kernel::name::UserId;
use crate::kernel::otp::OtpKeyId;
use crate::kernel::psbt::PsbtBytes;
use crate::kernel::receipt::{Decision, Receipt};
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{
    self, Claim, Consumed, KeyRecord as _, Moment, Opened, Outcome, Signable, Subject, Veto,
};
use crate::kernel::wallet::Wallet;
use keys::{Countersigner, Paid};

/// What leaves the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countersigned<T> {
    /// The PSBT with our signatures, or the signature of the digest.
    pub signed: T,
    /// The codes were spent on it now, so it is no repetition.
    pub is_new: bool,
}

impl Countersigned<[u8; SIGNATURE_LEN]> {
    /// The same as a byte vector.
    pub(crate) fn into_bytes(self) -> Countersigned<Vec<u8>> {
        Countersigned { signed: self.signed.to_vec(), is_new: self.is_new }
    }
}

impl Engine {
    /// Countersigns `psbt` with the keys of the wallet `id`, for the users who approve it.
    ///
    /// Returns the PSBT with our signatures added. A malformed PSBT spends nothing, a wrong code one try of
    /// its own user, and a refusal by the policy the codes.
    pub fn countersign(
        &self,
        id: &WalletId,
        approvals: Vec<Approval>,
        psbt: Vec<u8>,
    ) -> Result<Countersigned<Vec<u8>>, EngineError> {
        self.sign_with::<Wallet>(id, approvals, PsbtBytes::read(psbt)?)
    }

    /// Signs `digest` with the key `id`, which was made for digests, for the users who approve it.
    ///
    /// Returns r ‖ s. Refusals spend the same as for a PSBT. A digest of a length other than 32 spends
    /// nothing.
    pub fn countersign_digest(
        &self,
        id: &DigestKeyId,
        approvals: Vec<Approval>,
        digest: &[u8],
    ) -> Result<Countersigned<[u8; SIGNATURE_LEN]>, EngineError> {
        let digest = digest.try_into().map_err(|_| EngineError::DigestLength)?;
        self.sign_with::<DigestKey>(id, approvals, digest)
    }

    /// Signs what is `asked` with the key `id`, for the users who approve it. Every kind of signature takes
    /// this way.
    pub(crate) fn sign_with<K: Countersigner>(
        &self,
        id: &KeyId,
        approvals: Vec<Approval>,
        asked: K::Asked,
    ) -> Result<Countersigned<K::Signed>, EngineError> {
        let held = self.held::<K::Record>(id)?;
        let request = self.settled(held.key.request(self, id, asked))?;
        let (consumed, is_new) = self.approve(id, &held, request, approvals)?;
        Ok(Countersigned { signed: held.key.sign(consumed, self)?, is_new })
    }

    /// Checks a code of `user` for the OTP key `key` without signing: confirms an enrolment, and spends the
    /// step or counter like a signature. Two codes in a row resynchronise a counter. If the user has another key by now, the code
    /// counts as nobody's.
    pub fn confirm(&self, user: &str, key: &OtpKeyId, code: &[u8]) -> Result<(), EngineError> {
        let approvals = vec![Approval::parse_check(user, code)?];
        let eligible = Eligible { users: &[user.to_owned()], key: Some(key), binding: None };
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let decide = |(), approvals, now| {
            let claim = self.claims(approvals, eligible)?.remove(0);
            state::confirm(claim, |place| self.is_there(place), Moment { now, epoch, entropy: &entropy })
        };
        let withdraw = |decided: Decision<Outcome<state::Enrolment>>| ((), decided.withdraw().1);
        let (opened, _) = self.commit_tries(1, ((), approvals), decide, withdraw)?;
        opened.answer.map(|_confirmed| ()).map_err(Into::into)
    }

    /// Checks the code of a user who vetoes the act with this nonce. The code is charged and spent like any other, and bound to
    /// `binding`. A freeze does not stop it.
    pub(crate) fn approve_veto(
        &self,
        nonce: &Nonce,
        user: &UserId,
        binding: &Binding,
        code: &[u8],
    ) -> Result<Receipt<Consumed<Veto>>, EngineError> {
        let approvals = vec![Approval::parse_pin_of(user.name.as_bytes(), code)?];
        let users = [user.name.clone()];
        let eligible = Eligible { users: &users, key: Some(&user.key), binding: Some(binding) };
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let decide = |asked, approvals, now| {
            let claim = self.claims(approvals, eligible)?.remove(0);
            Ok(state::veto(asked, claim, binding, Moment { now, epoch, entropy: &entropy })?)
        };
        let asked = Veto { nonce: *nonce, user: user.clone() };
        let committed = self.commit_tries(1, (asked, approvals), decide, Decision::withdraw)?;
        let (Opened { answer, tried, is_new, .. }, decided_at) = committed;
        let consumed = answer?;
        if is_new {
            self.released(*binding, &tried, decided_at);
        }
        Ok(consumed)
    }

    /// Decides `request` durably, by its users' codes and its policy. Returns the right to it, for one use,
    /// and whether the codes were spent on it now.
    fn approve<K: Countersigner>(
        &self,
        id: &KeyId,
        Held { key, version }: &Held<K>,
        request: K::Request,
        approvals: Vec<Approval>,
    ) -> Result<(Paid<K>, bool), EngineError> {
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let (codes, binding) = (approvals.len(), request.binding());
        let eligible = Eligible { users: &key.terms().users, key: None, binding: Some(&binding) };
        let decide = |request, approvals, now| {
            let claims = self.claims(approvals, eligible)?;
            // Every change of the key's record also writes its state. So if the state is unchanged at the
            // write, the key is, too.
            let state = self.key_state::<K::Record>(id)?;
            let place = RecordKey { kind: K::Record::RECORD, id: *id };
            if self.version_at(place)? != Some(*version) {
                return Err(EngineError::ChangedMeanwhile(key.terms().label.clone()));
            }
            let moment = Moment { now, epoch, entropy: &entropy };
            state::decide((&**key, request), claims, &state, |place| self.is_there(place), moment)
        };
        let committed = self.commit_tries(codes, (request, approvals), decide, Decision::withdraw);
        let (opened, decided_at) = committed.map_err(|error| key.untried(self, error))?;
        let Opened { answer, tried, is_new, .. } = opened;
        let consumed = answer?;
        if is_new {
            self.released(binding, &tried, decided_at);
        }
        Ok((consumed, is_new))
    }

    /// Makes the decision about codes durable, and opens it. The tries count as wrong until their outcome is
    /// known. Also returns the time of the decision.
    fn commit_tries<A, S>(
        &self,
        codes: usize,
        asked: (A, Vec<Approval>),
        decide: impl Fn(A, Vec<Approval>, u64) -> Result<Decision<Outcome<S>>, EngineError>,
        withdraw: impl Fn(Decision<Outcome<S>>) -> (A, Vec<Approval>),
    ) -> Result<(Opened<S>, u64), EngineError> {
        let tries = self.begin_tries(codes)?;
        // Beginning may have waited. A code that went stale meanwhile is stale.
        let now = tries.begun_at();
        let is_undecided = Cell::new(false);
        let decide = |(asked, approvals)| {
            self.settled(decide(asked, approvals, now)).inspect_err(|_| is_undecided.set(true))
        };
        // Decided again if the wallet signed for somebody else meanwhile, or one of the users tried another
        // code.
        match self.commit(asked, decide, withdraw) {
            Ok(receipt) => {
                let opened = receipt.open();
                tries.end(opened.wrong);
                Ok((opened, now))
            }
            Err(error) => {
                if is_undecided.get() {
                    // No code was checked.
                    tries.end(0);
                }
                Err(error)
            }
        }
    }

    /// Returns a refusal once everything that it may depend on is durable: a lock, a spent step or a used
    /// address of a commit under way would reveal something about a code that is not charged yet.
    pub(crate) fn settled<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        result.or_else(|error| {
            self.ledger()?.settle(u64::MAX)?;
            Err(error)
        })
    }

    /// The first answer leaves now. Its two minutes for a repetition run from now, not from the decision. If
    /// both are in the same second, as they nearly always are, nothing needs to be remembered. Repetitions
    /// begin no new minutes.
    fn released(&self, binding: Binding, users: &[RecordKey], decided_at: u64) {
        let now = self.clock_time();
        if now <= decided_at {
            return;
        }
        let mut released = self.answers();
        for user in users {
            if released.get(&(binding, user.id)).is_none() {
                released.put((binding, user.id), now);
            }
        }
    }

    /// Whether a record exists at this place. A decision that rests on its absence names the place in its batch.
    fn is_there(&self, place: &RecordKey) -> Result<bool, EngineError> {
        Ok(self.version_at(*place)?.is_some())
    }

    fn released_at(&self, binding: &Binding, user: &RecordKey) -> Option<u64> {
        self.answers().get(&(*binding, user.id))
    }

    fn claims(&self, approvals: Vec<Approval>, eligible: Eligible<'_>) -> Result<Vec<Claim>, EngineError> {
        approvals.into_iter().map(|approval| self.claim(approval, eligible)).collect()
    }

    /// A user who is unknown or not eligible counts as nobody: the code is tried all the same. If a user's record
    /// cannot be read, nobody knows whose code it is, so no code is checked.
    fn claim(&self, approval: Approval, eligible: Eligible<'_>) -> Result<Claim, EngineError> {
        if let Some(ticket) = approval.ticket() {
            return self.claim_by_ticket(*ticket, approval, eligible);
        }
        let name = match (approval.user(), eligible.users) {
            (None, [only]) => Some(only.as_str()),
            (None, _) => None,
            (Some(name), users) => users.iter().map(String::as_str).find(|eligible| *eligible == name),
        };
        let user = name.map(|name| self.user_record(name)).transpose()?.flatten();
        let user = user.filter(|user| eligible.has(user));
        let subject = match user {
            Some(user) => Subject::User(Box::new(user)),
            None => Subject::Nobody(self.single(Kind::Nobody)?),
        };
        Ok(self.claimed(approval, subject, eligible))
    }

    /// A ticket that nobody has counts as a code of nobody.
    fn claim_by_ticket(
        &self,
        ticket: TicketId,
        approval: Approval,
        eligible: Eligible<'_>,
    ) -> Result<Claim, EngineError> {
        let subject = match self.ticket(&ticket, eligible.users)? {
            Some(ticket) => Subject::Ticket(Box::new(ticket)),
            None => Subject::Nobody(self.single(Kind::Nobody)?),
        };
        Ok(self.claimed(approval, subject, eligible))
    }

    fn claimed(&self, approval: Approval, subject: Subject, eligible: Eligible<'_>) -> Claim {
        let released_at = eligible.binding.and_then(|binding| match &subject {
            Subject::User(user) => self.released_at(binding, &user.place()),
            Subject::Ticket(ticket) => self.released_at(binding, &ticket.place()),
            Subject::Nobody(_) => None,
        });
        Claim { approval, subject, released_at }
    }
}

/// The users whose codes may be right.
#[derive(Clone, Copy)]
struct Eligible<'a> {
    users: &'a [String],
    /// The only OTP key that a code may belong to, if one was named.
    key: Option<&'a OtpKeyId>,
    /// What is to be signed, if anything.
    binding: Option<&'a Binding>,
}

impl Eligible<'_> {
    fn has(&self, user: &Versioned<state::UserRecord>) -> bool {
        self.key.is_none_or(|key| *key == user.value().factor.key_id())
    }
}
