//! The way of one signature.
//!
//! ```text
//! C_Sign bytes → Approval::parse → CheckedPsbt::check → decide → commit → open → Authorization → signer::sign → bytes
//! ```
//!
//! A digest goes the same way, from `DigestKey::request` to `signer::sign_digest`, with a key that was made for digests: what
//! differs between the two stands in `gate/keys.rs`.
//! Each step eats what the step before it made, and none of the values between can be made otherwise. What comes of the codes is
//! decided in memory and written once; nobody can look into it before it is durable, and nothing that rests on what is not
//! durable is told.

mod keys;

use std::cell::Cell;

use crate::engine::{DigestKeyId, Engine, EngineError, Held, KeyId, WalletId};
use crate::kernel::approval::Approval;
use crate::kernel::binding::Binding;
use crate::kernel::digest_key::{DigestKey, SIGNATURE_LEN};
use crate::kernel::otp::OtpKeyId;
use crate::kernel::psbt::PsbtBytes;
use crate::kernel::receipt::Change;
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{self, Claim, Locked, Moment, Opened, Outcome, Signable, Subject};
use crate::kernel::wallet::Wallet;
use keys::{Countersigner, Paid};

/// What leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countersigned<T> {
    /// The PSBT with our signatures, or the signature of the digest.
    pub signed: T,
    /// The codes were spent on it now: it is not given once more.
    pub is_new: bool,
}

impl Countersigned<[u8; SIGNATURE_LEN]> {
    /// The same, as bytes of any number.
    pub(crate) fn into_bytes(self) -> Countersigned<Vec<u8>> {
        Countersigned { signed: self.signed.to_vec(), is_new: self.is_new }
    }
}

impl Engine {
    /// Countersigns `psbt` with the keys of the wallet `id`, for the users who approve it.
    ///
    /// Gives the PSBT with our signatures added. What each refusal spends: a malformed PSBT nothing, a code that is not
    /// right one try of its own user, a rule of the policy the codes.
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
    /// Gives r ‖ s. What each refusal spends is what it spends for a PSBT; a digest of another length than 32 spends nothing.
    pub fn countersign_digest(
        &self,
        id: &DigestKeyId,
        approvals: Vec<Approval>,
        digest: &[u8],
    ) -> Result<Countersigned<[u8; SIGNATURE_LEN]>, EngineError> {
        let digest = digest.try_into().map_err(|_| EngineError::DigestLength)?;
        self.sign_with::<DigestKey>(id, approvals, digest)
    }

    /// Signs what is `asked` with the key `id`, for the users who approve it: the one way, whatever is signed.
    pub(crate) fn sign_with<K: Countersigner>(
        &self,
        id: &KeyId,
        approvals: Vec<Approval>,
        asked: K::Asked,
    ) -> Result<Countersigned<K::Signed>, EngineError> {
        let held = K::held(self, id)?;
        let request = self.settled(held.key.request(self, id, asked))?;
        let (consumed, is_new) = self.approve(id, &held, request, approvals)?;
        Ok(Countersigned { signed: held.key.sign(consumed, self)?, is_new })
    }

    /// Checks a code of `user`, of the OTP key `key`, for its own sake: confirms an enrolment, and spends the step like a
    /// signature does. Where the user has another key by now, it is a code of nobody.
    pub fn confirm(&self, user: &str, key: &OtpKeyId, code: &[u8]) -> Result<(), EngineError> {
        let approvals = vec![Approval::parse_pin_of(user.as_bytes(), code)?];
        let eligible = Eligible { users: &[user.to_owned()], key: Some(key), binding: None };
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let decide = |(), approvals, now| {
            let claim = self.claims(approvals, eligible)?.remove(0);
            Ok(state::confirm(claim, Moment { now, epoch, entropy: &entropy }))
        };
        let withdraw = |decided: Change<Outcome<state::Enrolment>>| ((), decided.withdraw().1);
        let (opened, _) = self.commit_tries(1, ((), approvals), decide, withdraw)?;
        opened.answer.map(|_confirmed| ()).map_err(Into::into)
    }

    /// Has everything that its users' codes and its policy say of `request` decided, durably: the right to it, once; and
    /// whether the codes were spent on it now.
    fn approve<K: Countersigner>(
        &self,
        id: &KeyId,
        Held { key, version }: &Held<K>,
        request: K::Request,
        approvals: Vec<Approval>,
    ) -> Result<(Paid<K>, bool), EngineError> {
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let (codes, binding) = (approvals.len(), request.binding());
        let eligible = Eligible { users: key.users(), key: None, binding: Some(&binding) };
        let at = |kind| RecordKey { kind, id: *id };
        let decide = |request, approvals, now| {
            let claims = self.claims(approvals, eligible)?;
            // Whatever changes the key's record writes its state, too: this one, once found unchanged, holds until the write.
            let state = self.state_at(at(K::STATE))?;
            if self.version_at(at(K::RECORD))? != Some(*version) {
                return Err(EngineError::ChangedMeanwhile(key.label().into()));
            }
            let moment = Moment { now, epoch, entropy: &entropy };
            Ok(state::decide((&**key, request), claims, &state, moment))
        };
        let (opened, decided_at) =
            self.commit_tries(codes, (request, approvals), decide, Change::withdraw)?;
        let Opened { answer, tried, is_new, .. } = opened;
        let consumed = answer?;
        self.released(binding, &tried, decided_at);
        Ok((consumed, is_new))
    }

    /// Has what was decided of codes made durable, and opens it. The tries count as wrong until it is known what they were.
    /// Gives the time by which it was decided, too.
    fn commit_tries<A, S>(
        &self,
        codes: usize,
        asked: (A, Vec<Approval>),
        decide: impl Fn(A, Vec<Approval>, u64) -> Result<Result<Change<Outcome<S>>, Locked>, EngineError>,
        withdraw: impl Fn(Change<Outcome<S>>) -> (A, Vec<Approval>),
    ) -> Result<(Opened<S>, u64), EngineError> {
        let tries = self.begin_tries(codes)?;
        // Beginning them may have waited: a code that went stale meanwhile is stale.
        let now = tries.begun_at();
        let is_undecided = Cell::new(false);
        let decide = |(asked, approvals)| {
            let decided = decide(asked, approvals, now).and_then(|decided| decided.map_err(Into::into));
            self.settled(decided).inspect_err(|_| is_undecided.set(true))
        };
        // Decided anew where the wallet signed for somebody else meanwhile, or one of the users tried another code.
        match self.commit(asked, decide, withdraw) {
            Ok(receipt) => {
                let opened = receipt.open();
                tries.end(opened.wrong);
                Ok((opened, now))
            }
            Err(error) => {
                if is_undecided.get() {
                    // No code was looked at.
                    tries.end(0);
                }
                Err(error)
            }
        }
    }

    /// A refusal, once all that it may rest on is durable: a lock, a spent step or a used address of a commit that is under way
    /// would tell of a code that is not charged yet.
    pub(crate) fn settled<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        result.or_else(|error| {
            self.ledger()?.settle(u64::MAX)?;
            Err(error)
        })
    }

    /// The answer leaves: what it repeats does so for two minutes from now, not from when it was decided.
    /// Where both are the same second, as they nearly always are, nothing needs to be remembered.
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

    fn released_at(&self, binding: &Binding, user: &RecordKey) -> Option<u64> {
        self.answers().get(&(*binding, user.id))
    }

    fn claims(&self, approvals: Vec<Approval>, eligible: Eligible<'_>) -> Result<Vec<Claim>, EngineError> {
        approvals.into_iter().map(|approval| self.claim(approval, eligible)).collect()
    }

    /// A user who is unknown or not eligible is nobody: the code is tried all the same. Not so one whose record cannot be read:
    /// nobody knows who that is, and no code is looked at.
    fn claim(&self, approval: Approval, eligible: Eligible<'_>) -> Result<Claim, EngineError> {
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
        let released_at = eligible.binding.and_then(|binding| match &subject {
            Subject::User(user) => self.released_at(binding, &user.place()),
            Subject::Nobody(_) => None,
        });
        Ok(Claim { approval, subject, released_at })
    }
}

/// Whose codes may be right.
#[derive(Clone, Copy)]
struct Eligible<'a> {
    users: &'a [String],
    /// The one OTP key that a code may be of, where one was named.
    key: Option<&'a OtpKeyId>,
    /// What is to be signed, if anything is.
    binding: Option<&'a Binding>,
}

impl Eligible<'_> {
    fn has(&self, user: &Versioned<state::UserRecord>) -> bool {
        self.key.is_none_or(|key| *key == user.value().factor.otp_key().id())
    }
}
