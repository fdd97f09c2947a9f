//! The way of one signature.
//!
//! ```text
//! C_Sign bytes → Approval::parse → CheckedPsbt::parse → charge → otp::verify → policy.judge
//!             → commit → Authorization → signer::sign → bytes
//! ```
//!
//! A digest goes the same way, from `DigestKey::request` to `signer::sign_digest`, with a key that was made for digests.
//! Each step eats what the step before it made, and none of the values between can be made otherwise. The codes are
//! charged, durably, before they are compared; code and spend are committed, durably, before a signature exists.

use std::collections::HashSet;

use zeroize::Zeroizing;

use crate::engine::{DigestKeyId, Engine, EngineError, Held, Tries, WalletId};
use crate::kernel::anchor::StateError;
use crate::kernel::approval::Approval;
use crate::kernel::digest_key::SIGNATURE_LEN;
use crate::kernel::otp::{self, Matched, OtpKeyId};
use crate::kernel::policy::{Approved, Refused, Verdict};
use crate::kernel::psbt::{CheckedPsbt, PsbtError, Surroundings};
use crate::kernel::receipt::{Change, Receipt};
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::signable::Signable;
use crate::kernel::signer::{self, Authorization, DigestAuthorization};
use crate::kernel::state::{
    self, Charged, Claim, Consumed, NotConsumed, Purpose, Subject, UserRecord, Versioned,
};
use crate::kernel::wallet::{Wallet, WatchOnly};
use crate::ports::LedgerError;

impl Engine {
    /// Countersigns `psbt` with the keys of the wallet `id`, for the users who approve it.
    ///
    /// Gives the PSBT with our signatures added. What each refusal spends: a malformed PSBT nothing, a code that is not
    /// right one try, a rule of the policy the code.
    pub fn countersign(
        &self,
        id: &WalletId,
        approvals: Vec<Approval>,
        psbt: Vec<u8>,
    ) -> Result<Vec<u8>, EngineError> {
        let Held { key: wallet, version } = self.held(id)?;
        let keys = wallet.keys().ok_or_else(|| EngineError::NotRegistered(wallet.label().into()))?;
        let (now, entropy) = (self.now()?, self.entropy()?);
        let psbt = self.check(id, &wallet, keys.watch(), psbt, now)?;
        let charged = self.charge(approvals, Eligible::all(wallet.users()), Purpose::Sign(&psbt), now)?;
        let matched = verify(charged, now)?;
        let approved = match wallet.policy().judge(psbt, matched, now) {
            Verdict::Approved(approved) => approved,
            Verdict::Refused(refused) => return Err(self.spend_on_refusal(&refused, now)),
        };
        let judged_by = JudgedBy::wallet(id, wallet.label(), version);
        let consumed = self.commit(&judged_by, approved, &entropy, now)?;
        let authorization = Authorization::new(consumed)?;
        Ok(signer::sign(authorization, keys, &self.secp)?)
    }

    /// Signs `digest` with the key `id`, which was made for digests, for the users who approve it.
    ///
    /// Gives r ‖ s. What each refusal spends is what it spends for a PSBT; a digest of another length than 32 spends nothing.
    pub fn countersign_digest(
        &self,
        id: &DigestKeyId,
        approvals: Vec<Approval>,
        digest: &[u8],
    ) -> Result<[u8; SIGNATURE_LEN], EngineError> {
        let Held { key, version } = self.held_digest_key(id)?;
        let (now, entropy) = (self.now()?, self.entropy()?);
        let requested = key.request(digest.try_into().map_err(|_| EngineError::DigestLength)?);
        let charged = self.charge(approvals, Eligible::all(key.users()), Purpose::Sign(&requested), now)?;
        let matched = verify(charged, now)?;
        let approved = match key.policy().judge(requested, matched, now) {
            Verdict::Approved(approved) => approved,
            Verdict::Refused(refused) => return Err(self.spend_on_refusal(&refused, now)),
        };
        let judged_by = JudgedBy::digest_key(id, key.label(), version);
        let consumed = self.commit(&judged_by, approved, &entropy, now)?;
        let authorization = DigestAuthorization::new(consumed);
        Ok(signer::sign_digest(authorization, &key, &self.secp)?)
    }

    /// Checks a code of `user`, of the OTP key `key`, for its own sake: confirms an enrolment, and spends the step like a
    /// signature does. Where the user has another key by now, it is a code of nobody.
    pub fn confirm(&self, user: &str, key: &OtpKeyId, code: &[u8]) -> Result<(), EngineError> {
        let now = self.now()?;
        let approval = Approval::parse_pin_of(user.as_bytes(), code)?;
        let eligible = Eligible { users: &[user.to_owned()], key: Some(key) };
        let charged = self.charge(vec![approval], eligible, Purpose::Confirm, now)?;
        let matched = verify(charged, now)?;
        self.spend(&matched, |users| state::confirm(&matched, users, now))
    }

    /// Checks a PSBT for `wallet`, among the other wallets of this token. One that a rule refuses is recorded.
    fn check(
        &self,
        id: &WalletId,
        wallet: &Wallet,
        watch: &WatchOnly,
        psbt: Vec<u8>,
        now: u64,
    ) -> Result<CheckedPsbt, EngineError> {
        let siblings: HashSet<_> = self
            .wallets()
            .iter()
            .filter(|(sibling, _)| sibling != id)
            .map(|(_, sibling)| sibling.master_fingerprint())
            .collect();
        let around = Surroundings {
            reach: self.wallet_state(id)?.value.reach,
            require_cosigner: wallet.policy().require_cosigner(),
            is_sibling: &|fingerprint| siblings.contains(fingerprint),
            secp: &self.secp,
        };
        CheckedPsbt::parse(psbt, watch, &around).map_err(|error| match error {
            PsbtError::Refused { rule, .. } => match self.decline(wallet.label(), rule, now) {
                Ok(()) => error.into(),
                Err(failure) => failure,
            },
            error => error.into(),
        })
    }

    /// Charges one try to whoever each approval names, if `eligible`, and to nobody otherwise.
    fn charge(
        &self,
        approvals: Vec<Approval>,
        eligible: Eligible<'_>,
        purpose: Purpose<'_>,
        now: u64,
    ) -> Result<(Tries<'_>, Receipt<Charged>), EngineError> {
        let tries = self.begin_tries(approvals.len(), now)?;
        match self.charge_users(approvals, eligible, purpose, now) {
            Err(EngineError::Locked) => {
                // Nothing was charged, and no code will be looked at.
                tries.were_not_wrong();
                Err(EngineError::Locked)
            }
            charged => Ok((tries, charged?)),
        }
    }

    fn charge_users(
        &self,
        mut approvals: Vec<Approval>,
        eligible: Eligible<'_>,
        purpose: Purpose<'_>,
        now: u64,
    ) -> Result<Receipt<Charged>, EngineError> {
        let ledger = self.ledger()?;
        loop {
            let claims = approvals
                .into_iter()
                .map(|approval| self.claim(approval, eligible))
                .collect::<Result<_, _>>()?;
            let change =
                state::charge(claims, purpose, self.epoch(), now).map_err(|_| EngineError::Locked)?;
            match Receipt::issue(change, |batch| ledger.commit(batch)) {
                Ok(receipt) => return Ok(receipt),
                // Another try of the same user was charged meanwhile: it counts for this one.
                Err((LedgerError::Conflict, change)) => approvals = change.withdraw(),
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// A user who is unknown, not eligible, or whose record is missing or damaged, is nobody: charged all the same.
    fn claim(&self, approval: Approval, eligible: Eligible<'_>) -> Result<Claim, EngineError> {
        let name = match (approval.user(), eligible.users) {
            (None, [only]) => Some(only.as_str()),
            (None, _) => None,
            (Some(name), users) => users.iter().map(String::as_str).find(|eligible| *eligible == name),
        };
        let user = match name.map(|name| self.user_record(name)).transpose() {
            Ok(user) => user.flatten().filter(|user| eligible.has(user)),
            Err(EngineError::Ledger(LedgerError::State(StateError::Sealed(_)))) => None,
            Err(error) => return Err(error),
        };
        let subject = match user {
            Some(user) => Subject::User(Box::new(user)),
            None => Subject::Nobody(self.single(Kind::Nobody)?),
        };
        Ok(Claim { approval, subject })
    }

    /// Spends the codes and charges what was approved, in one durable write, if the wallet or key is still the one whose users
    /// and policy it was judged by, and within the limits of the period.
    fn commit<S: Signable>(
        &self,
        judged_by: &JudgedBy<'_>,
        mut approved: Approved<S>,
        entropy: &Zeroizing<[u8; 32]>,
        now: u64,
    ) -> Result<Receipt<Consumed<S>>, EngineError> {
        let ledger = self.ledger()?;
        loop {
            let users = self.records_of(approved.matched())?;
            // Whatever changes the wallet writes its state, too: this one, once found unchanged, holds until the write.
            let state = self.state_at(judged_by.state)?;
            if self.version_at(judged_by.record)? != Some(judged_by.version) {
                return Err(EngineError::ChangedMeanwhile(judged_by.label.into()));
            }
            let restored = self.epoch().restored();
            let change = match state::consume(approved, &users, &state, entropy, restored, now) {
                Ok(change) => change,
                Err(NotConsumed::Spent) => return Err(EngineError::Code),
                Err(NotConsumed::Refused(refused)) => return Err(self.spend_on_refusal(&refused, now)),
            };
            match Receipt::issue(change, |batch| ledger.commit(batch)) {
                Ok(receipt) => return Ok(receipt),
                // The wallet signed for somebody else, or the user tried another code: whether the step is still
                // unspent is decided anew.
                Err((LedgerError::Conflict, change)) => approved = change.withdraw(),
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// The refusal of the policy, once the codes are spent; or what kept them from being spent.
    fn spend_on_refusal<S: Signable>(&self, refused: &Refused<S>, now: u64) -> EngineError {
        match self.spend(refused.matched(), |users| state::consume_refused(refused, users, now)) {
            Ok(()) => EngineError::Policy(refused.rule()),
            Err(error) => error,
        }
    }

    /// Spends codes on something that is not signed.
    fn spend<E>(
        &self,
        matched: &Matched,
        transition: impl Fn(&[Versioned<UserRecord>]) -> Result<Change<E>, state::Spent>,
    ) -> Result<(), EngineError> {
        loop {
            let change = transition(&self.records_of(matched)?).map_err(|_| EngineError::Code)?;
            match Receipt::issue(change, |batch| self.commit_batch(batch)) {
                Ok(_) => return Ok(()),
                Err((EngineError::Ledger(LedgerError::Conflict), _)) => {}
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn records_of(&self, matched: &Matched) -> Result<Vec<Versioned<UserRecord>>, EngineError> {
        matched.users().map(|name| self.user_record(name)?.ok_or(EngineError::Code)).collect()
    }
}

/// Whose codes may be right.
#[derive(Clone, Copy)]
struct Eligible<'a> {
    users: &'a [String],
    /// The one OTP key that a code may be of, where one was named.
    key: Option<&'a OtpKeyId>,
}

impl<'a> Eligible<'a> {
    fn all(users: &'a [String]) -> Eligible<'a> {
        Eligible { users, key: None }
    }

    fn has(&self, user: &Versioned<UserRecord>) -> bool {
        self.key.is_none_or(|key| *key == user.value.otp.id())
    }
}

/// The wallet or key whose users and policy judged, as it was then.
struct JudgedBy<'a> {
    label: &'a str,
    version: u64,
    record: RecordKey,
    state: RecordKey,
}

impl<'a> JudgedBy<'a> {
    fn wallet(id: &WalletId, label: &'a str, version: u64) -> JudgedBy<'a> {
        let at = |kind| RecordKey { kind, id: *id };
        JudgedBy { label, version, record: at(Kind::Wallet), state: at(Kind::WalletState) }
    }

    fn digest_key(id: &DigestKeyId, label: &'a str, version: u64) -> JudgedBy<'a> {
        let at = |kind| RecordKey { kind, id: *id };
        JudgedBy { label, version, record: at(Kind::DigestKey), state: at(Kind::DigestKeyState) }
    }
}

/// Compares the codes whose tries are charged.
fn verify((tries, charged): (Tries<'_>, Receipt<Charged>), now: u64) -> Result<Matched, EngineError> {
    let matched = otp::verify(charged, now).map_err(|_| EngineError::Code)?;
    tries.were_not_wrong();
    Ok(matched)
}
