//! The pending record: a transaction that waits for its users' approvals.
//!
//! ```text
//!              approve (as many users as the policy requires)      spend (the signature's commit)
//! propose ──► open ───────────────────────────────► approved ─────────────────► spent
//!     │          └────────────────┬─────────────────────┘
//!     └─► withdrawn               └─► refused, expired
//! ```
//!
//! Every transition takes the present record and returns the next one, which the caller commits. Two transitions from the same version
//! cannot both be written, so one of two that race wins.
//!
//! Invariants:
//! - C1. A record is about one transaction of one wallet, by its binding, and about nothing else. It is spent once.
//! - C2. An approval is a user's, by enrolment, of that user's own statement ([`ConsentDigest`]). The commit that records it spends the
//!   code by which it was given ([`consent`](crate::state::consent)).
//! - C3. Each user counts once, and only users who were asked count. Who was asked is fixed when it is proposed.
//! - C4. What was refused, withdrawn, spent or has expired stays so. A restoration of the store voids every record from before, since
//!   it may have been spent after the copy was made.
//! - C5. The length of a record does not depend on who approved it, or on whether it was spent.

use serde::{Deserialize, Serialize};

use super::Word;
use super::device::{DeviceText, DeviceTextError};
use super::digest::ConsentDigest;
use super::means::Means;
use super::statement::{Statement, StatementError};
use crate::binding::Binding;
use crate::factor::{RETRY_PERIOD, Shown, SpentOn, TicketId};
use crate::name::{KeyId, MAX_SIGNERS, UserId};
use crate::network::Network;
use crate::otp::OtpKeyId;
use crate::policy::{DEFAULT_PROPOSAL_MINUTES, MAX_PROPOSAL_MINUTES};
use crate::record::{Stored, Versioned, decode_padded, serialized_len};
use crate::rule::Rule;
use crate::seal::StoreId;

/// Seconds for which a proposal is open if the wallet's policy does not say.
pub const DEFAULT_LIFETIME: u64 = 60 * DEFAULT_PROPOSAL_MINUTES;
/// The most seconds for which a proposal may be open: a week.
pub const MAX_LIFETIME: u64 = 60 * MAX_PROPOSAL_MINUTES;
/// The most proposals of one wallet that have a record.
pub const MAX_OF_WALLET: usize = 32;
/// The most proposals of one peer that have a record.
pub const MAX_OF_PEER: usize = 1_024;

/// A transaction that waits for its users' approvals. It has no `Debug`: once spent, it holds the randomness of signatures.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Pending {
    store: StoreId,
    epoch: u64,
    binding: Binding,
    /// The peer that proposed it, as its door identified it.
    maker: Option<String>,
    /// As the first of those asked sees it.
    statement: Statement,
    asked: Vec<UserId>,
    needed: usize,
    /// By which means alone they may approve, if the policy asked for any when it was proposed.
    asks: Option<Vec<Shown>>,
    approvals: Vec<Given>,
    state: State,
}

/// An approval that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    /// The place of the user among those asked.
    by: u8,
    means: Means,
    /// Unix time in seconds.
    at: u64,
}

/// How it ended, if it did.
#[derive(Clone, Serialize, Deserialize)]
enum State {
    Open,
    Refused { by: u8, at: u64 },
    Withdrawn,
    Spent(SpentOn),
}

/// What a record is made of.
pub(crate) struct Draft {
    pub(crate) store: StoreId,
    /// The name of its epoch: when it was last restored.
    pub(crate) epoch: u64,
    pub(crate) binding: Binding,
    pub(crate) maker: Option<String>,
    /// As the first of those asked sees it.
    pub(crate) statement: Statement,
    pub(crate) asked: Vec<UserId>,
    /// How many users must approve.
    pub(crate) needed: usize,
    /// By which means alone they may approve, if the policy asks for any.
    pub(crate) asks: Option<Vec<Shown>>,
}

/// Where a proposal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gathers approvals.
    Open {
        /// How many users have approved.
        approved: usize,
        /// How many must.
        needed: usize,
    },
    /// Enough users have approved, and its ticket signs.
    Approved,
    /// A user refused it.
    Refused(UserId),
    /// Its maker withdrew it.
    Withdrawn,
    /// Its transaction was signed.
    Spent,
    /// Its time is over.
    Expired,
}

/// An approval as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved<'a> {
    /// The user.
    pub user: &'a UserId,
    /// By what means.
    pub means: Means,
    /// Unix time in seconds.
    pub at: u64,
}

impl Pending {
    /// A proposal made at `now`, Unix seconds.
    pub(crate) fn new(draft: Draft, now: u64) -> Result<Pending, ConsentError> {
        let Draft { store, epoch, binding, maker, statement, asked, needed, asks } = draft;
        let is_once = |at: usize, user: &UserId| asked[..at].iter().all(|other| other.name != user.name);
        let are_users = (1..=MAX_SIGNERS).contains(&asked.len())
            && asked.iter().enumerate().all(|(at, user)| is_once(at, user))
            && asked.first() == Some(&statement.user);
        if !are_users || asked.len() < needed || needed == 0 {
            return Err(ConsentError::Asked { asked: asked.len(), needed });
        }
        if !(1..=MAX_LIFETIME).contains(&statement.expires.saturating_sub(now)) {
            return Err(ConsentError::Lifetime);
        }
        // Each of them must be able to read it.
        for user in &asked {
            Statement { user: user.clone(), ..statement.clone() }.print()?;
        }
        let (approvals, state) = (vec![], State::Open);
        Ok(Pending { store, epoch, binding, maker, statement, asked, needed, asks, approvals, state })
    }

    /// Its ticket.
    pub fn ticket(&self) -> &TicketId {
        &self.statement.nonce
    }

    /// Its wallet.
    pub fn wallet(&self) -> &KeyId {
        &self.statement.wallet
    }

    /// The wallet's label when it was proposed.
    pub fn label(&self) -> &str {
        &self.statement.label
    }

    /// Its wallet's network.
    pub fn network(&self) -> Network {
        self.statement.network
    }

    /// Unix time in seconds, after which it is void.
    pub fn expires(&self) -> u64 {
        self.statement.expires
    }

    /// The peer that proposed it, as its door identified it.
    pub fn maker(&self) -> Option<&str> {
        self.maker.as_deref()
    }

    /// Who is asked.
    pub fn asked(&self) -> &[UserId] {
        &self.asked
    }

    /// How many of them must approve.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// By which means alone they may approve, if not by any.
    pub fn asks(&self) -> Option<&[Shown]> {
        self.asks.as_deref()
    }

    /// How many payees its statement has.
    pub fn payees(&self) -> usize {
        self.statement.payouts.len()
    }

    /// What this user is asked to approve.
    pub fn statement_for(&self, user: &UserId) -> Result<Statement, ConsentError> {
        self.place_of(user)?;
        Ok(Statement { user: user.clone(), ..self.statement.clone() })
    }

    /// Names what this user is asked to approve.
    pub fn digest_for(&self, user: &UserId) -> Result<ConsentDigest, ConsentError> {
        Ok(ConsentDigest::of(self.store, self.binding, &self.statement_for(user)?)?)
    }

    /// What a device shows this user, and signs if the user gives this word.
    pub fn device_text_for(&self, user: &UserId, word: Word) -> Result<DeviceText, DeviceTextError> {
        DeviceText::new(word, &self.statement_for(user)?, self.digest_for(user)?)
    }

    /// Who has approved, in that order.
    pub fn approvals(&self) -> impl Iterator<Item = Approved<'_>> {
        self.approvals.iter().filter_map(|given| {
            Some(Approved { user: self.asked.get(usize::from(given.by))?, means: given.means, at: given.at })
        })
    }

    /// By what means this user has approved, if they have.
    pub fn means_of(&self, user: &UserId) -> Option<Means> {
        self.approvals().find(|approved| approved.user == user).map(|approved| approved.means)
    }

    /// Whether this user has approved.
    pub fn is_approved_by(&self, user: &UserId) -> bool {
        self.approvals().any(|approved| approved.user == user)
    }

    /// Where it stands at `now`, Unix seconds.
    pub fn standing(&self, now: u64) -> Standing {
        match &self.state {
            State::Refused { by, .. } => Standing::Refused(self.asked[usize::from(*by)].clone()),
            State::Withdrawn => Standing::Withdrawn,
            State::Spent(_) => Standing::Spent,
            State::Open if now > self.statement.expires => Standing::Expired,
            State::Open if self.approvals.len() >= self.needed => Standing::Approved,
            State::Open => Standing::Open { approved: self.approvals.len(), needed: self.needed },
        }
    }

    /// Whether it was proposed in the epoch of this name. What is from before a restoration is void.
    pub fn is_of_epoch(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }

    /// Whether its ticket could sign this: a transaction of this wallet by its binding, in the epoch of this name.
    pub(crate) fn is_about(&self, wallet: &KeyId, binding: &Binding, epoch: u64) -> bool {
        self.statement.wallet == *wallet && self.binding == *binding && self.epoch == epoch
    }

    /// Adds a user's approval. Of several of the same user, the last one by a signature counts, else the first one at the desk, else the
    /// first one. No code takes the place of a signature, which shows more.
    pub(crate) fn approve(&self, user: &UserId, means: Means, now: u64) -> Result<Pending, ConsentError> {
        let by = self.check_takes_word_of(user, now)?;
        if let Some(asks) = &self.asks
            && means.shown().is_none_or(|shown| !asks.contains(&shown))
        {
            return Err(ConsentError::Means(asks.clone()));
        }
        let mut next = self.clone();
        match next.approvals.iter_mut().find(|given| given.by == by) {
            None => next.approvals.push(Given { by, means, at: now }),
            Some(given)
                if means != given.means
                    && (means.is_signature() || given.means.shown().is_none() && means.shown().is_some()) =>
            {
                *given = Given { by, means, at: now };
            }
            Some(_) => {}
        }
        Ok(next)
    }

    /// Ends it on a user's word.
    pub(crate) fn refuse(&self, user: &UserId, now: u64) -> Result<Pending, ConsentError> {
        let by = self.check_takes_word_of(user, now)?;
        Ok(Pending { state: State::Refused { by, at: now }, ..self.clone() })
    }

    /// Ends it on the word of the peer that made it.
    pub(crate) fn withdraw(&self, peer: Option<&str>, now: u64) -> Result<Pending, ConsentError> {
        if self.maker.as_deref() != peer {
            return Err(ConsentError::NotTheMaker);
        }
        self.check_open(now)?;
        Ok(Pending { state: State::Withdrawn, ..self.clone() })
    }

    /// Spends it on a signature.
    pub(crate) fn spend(&self, on: SpentOn) -> Pending {
        Pending { state: State::Spent(on), ..self.clone() }
    }

    /// The randomness of the signatures for `binding`, while they may be requested again.
    pub(crate) fn repeated(&self, binding: &Binding, released_at: Option<u64>, now: u64) -> Option<[u8; 32]> {
        match &self.state {
            State::Spent(on) => on.repeated(binding, released_at, now),
            _ => None,
        }
    }

    /// Whether this user may still approve or refuse it. Gives the user's place among those asked.
    pub(crate) fn check_takes_word_of(&self, user: &UserId, now: u64) -> Result<u8, ConsentError> {
        self.check_open(now)?;
        self.place_of(user)
    }

    fn check_open(&self, now: u64) -> Result<(), ConsentError> {
        match self.standing(now) {
            Standing::Open { .. } | Standing::Approved => Ok(()),
            over => Err(ConsentError::Over(over)),
        }
    }

    fn place_of(&self, user: &UserId) -> Result<u8, ConsentError> {
        let place = self.asked.iter().position(|asked| asked == user);
        let place = place.and_then(|place| u8::try_from(place).ok());
        place.ok_or_else(|| ConsentError::NotAsked(user.name.clone()))
    }

    /// Whether its record may go: nothing can come of it any more, not even the same signatures once more.
    fn is_past(&self, now: u64) -> bool {
        now > self.statement.expires && self.is_over(now)
    }

    /// Whether its record may go before it expires, if there is no room otherwise.
    fn is_over(&self, now: u64) -> bool {
        match &self.state {
            // The two minutes run from when the answer left, which may be a little later.
            State::Spent(on) => now > on.at().saturating_add(2 * RETRY_PERIOD),
            _ => self.check_open(now).is_err(),
        }
    }
}

/// Those of the present records that make room for `new`: all that are past and, if that is not enough, those of the same wallet or
/// peer that are over.
pub(crate) fn make_room<'a>(
    present: &[&'a Versioned<Pending>],
    new: &Pending,
    now: u64,
) -> Result<Vec<&'a Versioned<Pending>>, ConsentError> {
    let (mut going, mut staying): (Vec<_>, Vec<_>) =
        present.iter().copied().partition(|record| record.value.is_past(now));
    if !has_room(&staying, new) {
        let is_like = |old: &Pending| old.wallet() == new.wallet() || old.maker == new.maker;
        let (over, open): (Vec<_>, Vec<_>) =
            staying.into_iter().partition(|record| is_like(&record.value) && record.value.is_over(now));
        going.extend(over);
        staying = open;
    }
    if has_room(&staying, new) { Ok(going) } else { Err(ConsentError::Room) }
}

fn has_room(present: &[&Versioned<Pending>], new: &Pending) -> bool {
    let count =
        |is_like: &dyn Fn(&Pending) -> bool| present.iter().filter(|record| is_like(&record.value)).count();
    count(&|old| old.wallet() == new.wallet()) < MAX_OF_WALLET
        && count(&|old| old.maker == new.maker) < MAX_OF_PEER
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Written {
    store: StoreId,
    epoch: u64,
    binding: Binding,
    maker: Option<String>,
    statement: String,
    asked: Vec<(String, OtpKeyId)>,
    needed: u8,
    asks: Option<Vec<String>>,
    approvals: Vec<Given>,
    state: State,
}

impl From<Pending> for Written {
    fn from(pending: Pending) -> Written {
        let Pending { store, epoch, binding, maker, statement, asked, needed, asks, approvals, state } =
            pending;
        let asks = asks.map(|asks| asks.into_iter().map(|shown| shown.name().to_owned()).collect());
        let statement = statement.print().expect("a record is made only of a statement that has a text");
        let asked = asked.into_iter().map(|UserId { name, key }| (name, key)).collect();
        let needed = u8::try_from(needed).expect("at most as many as are asked");
        Written { store, epoch, binding, maker, statement, asked, needed, asks, approvals, state }
    }
}

impl TryFrom<Written> for Pending {
    type Error = StatementError;

    fn try_from(written: Written) -> Result<Pending, StatementError> {
        let Written { store, epoch, binding, maker, statement, asked, needed, asks, approvals, state } =
            written;
        let asks = asks.map(|asks| asks.iter().map(|name| name.parse()).collect::<Result<Vec<Shown>, _>>());
        let asks = asks
            .transpose()
            .map_err(|_| StatementError::Says("a means of approval that this version does not know"))?;
        let statement = Statement::parse(&statement)?;
        let asked: Vec<UserId> = asked.into_iter().map(|(name, key)| UserId { name, key }).collect();
        let mut places = approvals.iter().map(|given| given.by).chain(match &state {
            State::Refused { by, .. } => Some(*by),
            _ => None,
        });
        if places.any(|place| usize::from(place) >= asked.len()) {
            return Err(StatementError::Says("that somebody approved who was not asked"));
        }
        let needed = usize::from(needed);
        Ok(Pending { store, epoch, binding, maker, statement, asked, needed, asks, approvals, state })
    }
}

impl Stored for Pending {
    /// The length of the same record, approved by everybody and spent.
    fn padded_len(&self, len: usize, _earlier: usize) -> usize {
        let given = vec![Given { by: u8::MAX, means: Means::Device, at: u64::MAX }; self.asked.len()];
        let most = (&given, &State::Spent(SpentOn::longest()));
        len - serialized_len(&(&self.approvals, &self.state)) + serialized_len(&most)
    }

    fn decode(bytes: &[u8]) -> Option<Pending> {
        match bytes.split_first()? {
            (&Self::FORMAT, body) => decode_padded(body),
            _ => None,
        }
    }
}

/// Why a transition is refused. No code was looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// The transaction has no statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A rule of the policy refuses the transaction, whoever approves it.
    #[error("the policy refuses: {0}; nobody was asked to approve")]
    Policy(Rule),
    /// The wrong number of users.
    #[error(
        "{asked} users are asked, and the policy requires {needed}: name at least as many of the wallet's confirmed users, each once, and at most {MAX_SIGNERS}"
    )]
    Asked {
        /// How many are asked.
        asked: usize,
        /// How many must approve.
        needed: usize,
    },
    /// Somebody whose approval could not count.
    #[error("user {0:?} is asked to approve, but does not sign for this wallet, or is not confirmed")]
    Stranger(String),
    /// It would be open for too long.
    #[error("a proposal is open for 1 to {MAX_LIFETIME} s")]
    Lifetime,
    /// Too many proposals.
    #[error(
        "too many proposals are open: {MAX_OF_WALLET} of this wallet, or {MAX_OF_PEER} of this peer; withdraw some, or wait until some expire"
    )]
    Room,
    /// There is none.
    #[error("no such proposal: its time was over, or the ticket is not complete")]
    Unknown,
    /// An approval by a means that the wallet does not count for this much.
    #[error("the wallet asks for an approval by {}, for so much: nothing was looked at, charged or recorded", names(.0))]
    Means(Vec<Shown>),
    /// This user was not asked.
    #[error("user {0:?} was not asked to approve this proposal, or was enrolled again since")]
    NotAsked(String),
    /// Somebody else made it.
    #[error("another peer made this proposal: only its maker withdraws it")]
    NotTheMaker,
    /// It is over.
    #[error("the proposal is closed: {}; propose the transaction again", match .0 {
        Standing::Refused(user) => format!("user {:?} refused it", user.name),
        Standing::Withdrawn => "its maker withdrew it".into(),
        Standing::Spent => "its transaction was signed".into(),
        Standing::Expired => "its time is over".into(),
        Standing::Open { .. } | Standing::Approved => "it is still open".into(),
    })]
    Over(Standing),
}

fn names(means: &[Shown]) -> String {
    means.iter().map(|means| means.name()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
