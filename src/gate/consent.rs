//! Transactions that wait for their users' approvals: the way from a proposal to the ticket that signs it.
//!
//! ```text
//! PSBT bytes → CheckedPsbt::check → propose → commit → ticket
//! ticket, user and code → consent → commit → open → where it stands
//! ```
//!
//! A proposal is checked exactly as a signature is. The kernel decides every transition ([`crate::kernel::consent`]); this file reads the
//! records that it goes by. With its ticket, the transaction then takes the way of every signature ([`super`]).

use super::{Countersigner, Eligible, Engine, EngineError};
use crate::engine::{Held, PendingView, WalletId};
use crate::kernel::approval::Approval;
use crate::kernel::consent::{ConsentDigest, ConsentError, Pending, Standing, Typed};
use crate::kernel::factor::TicketId;
use crate::kernel::name::UserId;
use crate::kernel::psbt::PsbtBytes;
use crate::kernel::receipt::Decision;
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{
    self, Consent, Moment, Opened, Peer, Proposed, SignedWord, Ticket, UserRecord, Word,
};
use crate::kernel::wallet::{Wallet, WalletRecord};

impl Engine {
    /// Puts a transaction before users of the wallet `id`, for them to approve. Whoever is not named is not asked; with no name, all
    /// confirmed users of the wallet are. The ticket is the number under which it waits.
    pub fn propose_transaction(
        &self,
        id: &WalletId,
        psbt: PsbtBytes,
        names: &[String],
        peer: Peer<'_>,
    ) -> Result<TicketId, EngineError> {
        let held = self.held::<WalletRecord>(id)?;
        let transaction = self.settled(held.key.request(self, id, psbt))?;
        let mut ticket = TicketId::default();
        self.random(&mut ticket)?;
        // A proposal is judged beside all others, so that their number stays bounded.
        let _turn = self.proposing();
        let decide = || {
            let place = RecordKey { kind: Kind::Wallet, id: *id };
            let Held { key, version } = &held;
            if self.version_at(place)? != Some(*version) {
                return Err(EngineError::ChangedMeanwhile(key.label().into()));
            }
            let asked = self.asked(key, names)?;
            let (store, epoch) = (self.ledger()?.store(), self.epoch());
            let proposed = Proposed {
                store,
                epoch,
                ticket,
                id: *id,
                wallet: key,
                transaction: &transaction,
                asked: &asked,
                peer,
            };
            let present = self.pending_records()?;
            let present: Vec<&Versioned<Pending>> = present.iter().map(|record| &**record).collect();
            Ok(state::propose(&proposed, &present, self.now()?)?)
        };
        self.settled(self.commit_anew(decide)).map(|_recorded| ticket)
    }

    /// Records what a user says to a proposed transaction, with the code that shows who says so, and where it was typed. The code is
    /// charged and spent like any other. Returns where the proposal stands now.
    pub fn say(
        &self,
        ticket: &TicketId,
        word: Word,
        user: &str,
        (code, typed): (&[u8], Typed),
    ) -> Result<PendingView, EngineError> {
        let approvals = vec![Approval::parse_pin_of(user.as_bytes(), code)?];
        let (user, digest) = self.settled(self.addressee(ticket, user))?;
        let binding = match word {
            Word::Approve => digest.approval(),
            Word::Refuse => digest.refusal(),
        };
        let users = [user.name.clone()];
        let eligible = Eligible { users: &users, key: Some(&user.key), binding: Some(&binding) };
        let (entropy, epoch) = (self.entropy()?, self.epoch());
        let decide = |asked, approvals, now| {
            let pending = self.pending_record(ticket)?;
            let claim = self.claims(approvals, eligible)?.remove(0);
            let moment = Moment { now, epoch, entropy: &entropy };
            state::consent(asked, &pending, claim, |place| self.is_there(place), moment)
        };
        let asked = Consent { user: user.clone(), word, typed };
        let committed = self.commit_tries(1, (asked, approvals), decide, Decision::withdraw)?;
        let (Opened { answer, tried, is_new, .. }, decided_at) = committed;
        let _heard = answer?;
        if is_new {
            self.released(binding, &tried, decided_at);
        }
        self.pending(ticket)?.ok_or(ConsentError::Unknown.into())
    }

    /// Records what a user says to a proposed transaction, signed by a device of the user's. Whoever brings the signature chooses nothing, and
    /// nothing is charged or spent by it. Returns where the proposal stands now.
    pub fn say_by_device(
        &self,
        ticket: &TicketId,
        word: Word,
        user: &str,
        signature: &str,
    ) -> Result<PendingView, EngineError> {
        let decide = || {
            let (user, _) = self.addressee(ticket, user)?;
            let record = self.user_record(&user.name)?;
            let record = record.ok_or_else(|| ConsentError::NotAsked(user.name.clone()))?;
            let credentials = self.credentials_of(&user.name)?;
            let (pending, said) = (self.pending_record(ticket)?, SignedWord { user, word, signature });
            let is_frozen = |place: &RecordKey| self.is_there(place);
            let now = self.now()?;
            state::consent_by_device(
                &said,
                &pending,
                &record,
                credentials.as_ref(),
                is_frozen,
                now,
                &self.secp,
            )
        };
        let _recorded = self.settled(self.commit_anew(decide))?;
        self.pending(ticket)?.ok_or(ConsentError::Unknown.into())
    }

    /// Ends a proposal on the word of the peer that made it.
    pub fn withdraw_transaction(&self, ticket: &TicketId, peer: Peer<'_>) -> Result<(), EngineError> {
        let decide = || Ok(state::withdraw(&self.pending_record(ticket)?, peer, self.now()?)?);
        self.settled(self.commit_anew(decide)).map(|_recorded| ())
    }

    /// Who is meant by a name, and what that user is asked to approve.
    fn addressee(&self, ticket: &TicketId, name: &str) -> Result<(UserId, ConsentDigest), EngineError> {
        let pending = self.pending_record(ticket)?;
        // Its ticket signs nothing any more, so nobody shall spend a code on it.
        if !pending.value().is_of_epoch(self.epoch().name()) {
            return Err(ConsentError::Over(Standing::Expired).into());
        }
        let user = pending.value().asked().iter().find(|asked| asked.name == name);
        let user = user.ok_or_else(|| ConsentError::NotAsked(name.into()))?.clone();
        let digest = pending.value().digest_for(&user)?;
        Ok((user, digest))
    }

    /// The records of the users of a wallet who are asked to approve.
    fn asked(&self, wallet: &Wallet, names: &[String]) -> Result<Vec<Versioned<UserRecord>>, EngineError> {
        let mut asked = Vec::new();
        for name in if names.is_empty() { wallet.users() } else { names } {
            match self.user_record(name)?.filter(|user| user.value().confirmed) {
                Some(user) => asked.push(user),
                None if names.is_empty() => {}
                None => return Err(ConsentError::Stranger(name.clone()).into()),
            }
        }
        Ok(asked)
    }

    /// The record of a ticket, with the present users who may sign. None if there is no such record: the ticket counts as a code of
    /// nobody.
    pub(super) fn ticket(&self, ticket: &TicketId, users: &[String]) -> Result<Option<Ticket>, EngineError> {
        let Some(pending) = self.pending_at(RecordKey::pending(ticket))? else { return Ok(None) };
        let mut signers = Vec::with_capacity(users.len());
        for name in users {
            signers.extend(self.user_record(name)?);
        }
        Ok(Some(Ticket::new(pending, signers)))
    }

    fn pending_record(&self, ticket: &TicketId) -> Result<Versioned<Pending>, EngineError> {
        Ok(self.pending_at(RecordKey::pending(ticket))?.ok_or(ConsentError::Unknown)?)
    }
}
