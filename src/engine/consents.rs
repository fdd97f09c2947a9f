//! The transactions that wait for their users' approvals, as they are read and shown. [`crate::gate`] has what changes them.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::kept::Kept;
use super::{Engine, EngineError, WalletId, read};
use crate::kernel::consent::{ConsentDigest, ConsentError, Means, Pending, Standing};
use crate::kernel::credential::Credentials;
use crate::kernel::factor::TicketId;
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{Peer, Word};

/// A transaction that waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingView {
    /// Its ticket.
    pub ticket: TicketId,
    /// Its wallet.
    pub wallet: WalletId,
    /// The wallet's label when it was proposed.
    pub label: String,
    /// Who is asked, with what each of them is asked to approve.
    pub asked: Vec<AskedUser>,
    /// How many of them must approve.
    pub needed: usize,
    /// Where it stands.
    pub standing: Standing,
    /// Who has approved, in that order.
    pub approvals: Vec<GivenApproval>,
    /// When it expires, Unix seconds.
    pub expires: u64,
}

/// A user who is asked to approve a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedUser {
    /// The name.
    pub name: String,
    /// The statement.
    pub statement: String,
    /// What an approval of it is bound to.
    pub digest: ConsentDigest,
    /// What a device of the user's shows and signs, to approve and to refuse. None if it says too much for a device.
    pub device_texts: Option<[String; 2]>,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenApproval {
    /// The user.
    pub user: String,
    /// By what means.
    pub means: Means,
    /// Unix time in seconds.
    pub at: u64,
}

/// The most payees of all statements that are kept: of as many proposals as one peer can have, of the longest.
const MOST_KEPT: usize = 400_000;

/// Records of transactions that wait, as they were read.
pub(super) fn kept() -> Kept<Pending> {
    Kept::new(|pending| pending.payees() + 1, MOST_KEPT)
}

impl Engine {
    /// One transaction that waits. What is over stays for a while.
    pub fn pending(&self, ticket: &TicketId) -> Result<Option<PendingView>, EngineError> {
        let record = self.read_kept(&self.pendings, RecordKey::pending(ticket))?;
        record.map(|record| self.pending_view(&record)).transpose()
    }

    /// The tickets of all transactions that have a record. `of`: only those that this peer proposed.
    pub fn tickets(&self, of: Option<Peer<'_>>) -> Result<Vec<TicketId>, EngineError> {
        let now = self.now_or_newest()?;
        let records = self.pending_records()?;
        let shown = records.iter().map(|record| record.value()).filter(|pending| is_shown(pending, of, now));
        Ok(shown.map(|pending| *pending.ticket()).collect())
    }

    /// How many transactions that have a record are in each state. What was withdrawn is not shown, and not counted.
    pub fn consent_counts(&self) -> Result<Vec<(&'static str, u64)>, EngineError> {
        let mut counts = ["open", "approved", "refused", "spent", "expired"].map(|name| (name, 0));
        let records = if self.is_initialised() { self.pending_records()? } else { vec![] };
        let now = if records.is_empty() { 0 } else { self.now_or_newest()? };
        for record in records {
            let name = state_name(&record.value().standing(now));
            counts.iter_mut().filter(|(state, _)| *state == name).for_each(|(_, count)| *count += 1);
        }
        Ok(counts.into())
    }

    /// Whether a transaction has a record that this peer proposed. `None`: anybody.
    pub fn has_ticket(&self, ticket: &TicketId, of: Option<Peer<'_>>) -> Result<bool, EngineError> {
        let now = self.now_or_newest()?;
        let record = self.read_kept(&self.pendings, RecordKey::pending(ticket))?;
        Ok(record.is_some_and(|record| is_shown(record.value(), of, now)))
    }

    /// What a user approves with besides codes.
    pub(crate) fn credentials_of(&self, name: &str) -> Result<Option<Versioned<Credentials>>, EngineError> {
        read(self.ledger()?, RecordKey::credentials(name))
    }

    /// The same of all users.
    pub(crate) fn credentials_of_all(&self) -> Result<Vec<Credentials>, EngineError> {
        let ledger = self.ledger()?;
        let mut all = Vec::new();
        for place in ledger.places(Kind::Credentials)? {
            all.extend(read::<Credentials>(ledger, place)?.map(Versioned::into_value));
        }
        Ok(all)
    }

    /// The turn of those who propose transactions.
    pub(crate) fn proposing(&self) -> MutexGuard<'_, ()> {
        crate::cores::lock(&self.proposing).unwrap_or_else(PoisonError::into_inner)
    }

    /// The record at a place as it is now, for what may change it.
    pub(crate) fn pending_at(&self, place: RecordKey) -> Result<Option<Versioned<Pending>>, EngineError> {
        read(self.ledger()?, place)
    }

    /// All records, to be looked at: read now or before.
    pub(crate) fn pending_records(&self) -> Result<Vec<Arc<Versioned<Pending>>>, EngineError> {
        let places = self.ledger()?.places(Kind::Pending)?;
        self.pendings.retain(&places);
        let mut records = Vec::with_capacity(places.len());
        for place in places {
            records.extend(self.read_kept(&self.pendings, place)?);
        }
        Ok(records)
    }

    fn pending_view(&self, record: &Versioned<Pending>) -> Result<PendingView, EngineError> {
        // A word or a signature that is under way may still fail.
        self.ledger()?.settle(record.version())?;
        let pending = record.value();
        let mut asked = Vec::with_capacity(pending.asked().len());
        for user in pending.asked() {
            let statement = pending.statement_for(user)?.print().map_err(ConsentError::from)?;
            let text = |word| pending.device_text_for(user, word).map(|text| text.as_str().to_owned()).ok();
            let device_texts = text(Word::Approve).zip(text(Word::Refuse)).map(<[String; 2]>::from);
            let (name, digest) = (user.name.clone(), pending.digest_for(user)?);
            asked.push(AskedUser { name, statement, digest, device_texts });
        }
        let given = pending.approvals();
        Ok(PendingView {
            ticket: *pending.ticket(),
            wallet: *pending.wallet(),
            label: pending.label().into(),
            asked,
            needed: pending.needed(),
            standing: match pending.is_of_epoch(self.epoch().name()) {
                true => pending.standing(self.now_or_newest()?),
                false => Standing::Expired,
            },
            approvals: given
                .map(|one| GivenApproval { user: one.user.name.clone(), means: one.means, at: one.at })
                .collect(),
            expires: pending.expires(),
        })
    }
}

fn state_name(standing: &Standing) -> &'static str {
    match standing {
        Standing::Open { .. } => "open",
        Standing::Approved => "approved",
        Standing::Refused(_) => "refused",
        Standing::Withdrawn => "withdrawn",
        Standing::Spent => "spent",
        Standing::Expired => "expired",
    }
}

/// Whoever withdraws one destroys its object, so nobody sees it any more.
fn is_shown(pending: &Pending, of: Option<Peer<'_>>, now: u64) -> bool {
    of.is_none_or(|peer| pending.maker() == peer) && pending.standing(now) != Standing::Withdrawn
}
