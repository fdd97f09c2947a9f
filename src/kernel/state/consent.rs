//! The transitions of a pending record ([`crate::consent`]): it is proposed, approved or refused by users with codes, and withdrawn.
//! The commit of its signature spends it ([`super::way::decide`]).

mod device;
mod passkey;

use super::administration::Recorded;
use super::codes::{Codes, Thawed};
use super::pins::Peer;
use super::records::{Epoch, UserRecord};
use super::signable::Signable as _;
use super::way::{Claim, Moment, Outcome, Subject, Untried};
use crate::audit::{Answer, Asked, ConsentFacts, ConsentStep, Event, PendingStep};
use crate::consent::{self, ConsentError, Draft, Pending, Statement, Typed};
use crate::factor::{SpentOn, TicketId};
use crate::name::{KeyId, UserId};
use crate::psbt::CheckedPsbt;
use crate::receipt::{Batch, Content, Decision, Write};
use crate::record::{Stored as _, Versioned};
use crate::seal::{Kind, RecordKey, StoreId};
use crate::wallet::Wallet;

pub use crate::consent::Word;
pub use device::{DeviceError, SignedWord, consent_by_device};
pub use passkey::{AssertedWord, PasskeyWordError, consent_by_passkey};

/// A transaction that users shall approve.
pub struct Proposed<'a> {
    /// The store.
    pub store: StoreId,
    /// Since when it is as it is.
    pub epoch: Epoch,
    /// Random, from inside.
    pub ticket: TicketId,
    /// The wallet's id.
    pub id: KeyId,
    /// The wallet.
    pub wallet: &'a Wallet,
    /// The transaction, checked for it.
    pub transaction: &'a CheckedPsbt,
    /// Who is asked, by their present records.
    pub asked: &'a [Versioned<UserRecord>],
    /// The peer that proposes it.
    pub peer: Peer<'a>,
}

/// Records a proposal beside the `present` ones, and removes those of them that are past. It is open for as long as the wallet's policy says.
pub fn propose(
    proposed: &Proposed<'_>,
    present: &[&Versioned<Pending>],
    now: u64,
) -> Result<Decision<Recorded>, ConsentError> {
    let &Proposed { store, epoch, ticket, id, wallet, transaction, asked, peer } = proposed;
    assert!(transaction.is_of(wallet), "a proposal was checked for the wallet that is to sign it");
    if let Some(rule) = wallet.policy().refusing_rule(transaction) {
        return Err(ConsentError::Policy(rule));
    }
    let mut users = Vec::with_capacity(asked.len());
    for UserRecord { name, factor, confirmed, .. } in asked.iter().map(|user| &user.value) {
        if !confirmed || !wallet.users().contains(name) {
            return Err(ConsentError::Stranger(name.clone()));
        }
        users.push(UserId { name: name.clone(), key: factor.key_id() });
    }
    let needed = wallet.policy().required_approvals(transaction.leaves()).max(1);
    let first = users.first().ok_or(ConsentError::Asked { asked: 0, needed })?;
    let subject = consent::Subject {
        label: wallet.label(),
        wallet: id,
        network: wallet.network(),
        nonce: ticket,
        expires: now.saturating_add(60 * wallet.policy().proposal_minutes()),
    };
    let statement = Statement::of(transaction, &subject, first.clone());
    let (binding, maker) = (transaction.binding(), peer.map(str::to_owned));
    let asks = wallet.policy().consent_by(transaction.leaves()).map(<[_]>::to_vec);
    let draft = Draft { store, epoch: epoch.name(), binding, maker, statement, asked: users, needed, asks };
    record(Pending::new(draft, now)?, present, asked, now)
}

/// Records a new proposal, as long as nobody changes the records of those asked.
fn record(
    new: Pending,
    present: &[&Versioned<Pending>],
    asked: &[Versioned<UserRecord>],
    now: u64,
) -> Result<Decision<Recorded>, ConsentError> {
    let going = consent::make_room(present, &new, now)?;
    let first = Write {
        place: RecordKey::pending(new.ticket()),
        expected: None,
        content: Content::Put(new.encode()),
    };
    let writes = [first].into_iter().chain(going.into_iter().map(Versioned::remove)).collect();
    let statement = new.statement_for(&new.asked()[0])?.print()?;
    let users = new.asked().iter().map(|user| (user.name.clone(), user.key)).collect();
    let step = PendingStep::Proposed { statement, users, peer: new.maker().map(str::to_owned) };
    let batch = Batch::new(writes, told(&new, step), now);
    let batch = asked.iter().fold(batch, |batch, user| batch.while_unchanged(user.unchanged()));
    Ok(Decision::new(batch, Recorded))
}

/// Ends a proposal on the word of the peer that made it.
pub fn withdraw(
    old: &Versioned<Pending>,
    peer: Peer<'_>,
    now: u64,
) -> Result<Decision<Recorded>, ConsentError> {
    let next = old.value.withdraw(peer, now)?;
    let batch = Batch::new(vec![old.put(&next)], told(&next, PendingStep::Withdrawn), now);
    Ok(Decision::new(batch, Recorded).in_store_of(old.authority))
}

fn told(pending: &Pending, step: PendingStep) -> Event {
    let (ticket, wallet) = (*pending.ticket(), pending.label().to_owned());
    Event::Consent(Box::new(ConsentStep { ticket, wallet, step }))
}

/// The request to record a user's word.
pub struct Consent {
    /// The user, by enrolment.
    pub user: UserId,
    /// The word.
    pub word: Word,
    /// Where the code was typed.
    pub typed: Typed,
}

/// Decides whether the code with which a user approves or refuses a proposal is right, and records the word in the same commit.
///
/// `wallet` is the place of the wallet's state. A freeze stops approvals, and nobody's refusal. Whatever the code is, the records of the
/// user and of the proposal are written, each of the same length.
pub fn consent<E: From<Untried> + From<ConsentError>>(
    asked: Consent,
    pending: &Versioned<Pending>,
    claim: Claim,
    is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    moment: Moment<'_>,
) -> Result<Decision<Outcome<Consent>>, E> {
    let (Consent { user, word, typed }, now) = (&asked, moment.now);
    let (authority, old) = (claim.authority(), &pending.value);
    assert!(
        authority == pending.authority,
        "codes are compared with the records of the store that has the proposal"
    );
    let is_theirs = match &claim.subject {
        Subject::User(found) => found.value.name == user.name && found.value.factor.key_id() == user.key,
        Subject::Nobody(_) => true,
        Subject::Ticket(_) => false,
    };
    if !is_theirs {
        return Err(ConsentError::NotAsked(user.name.clone()).into());
    }
    let digest = old.digest_for(user)?;
    let factor = match &claim.subject {
        Subject::User(user) => Some(&user.value.factor),
        Subject::Nobody(_) | Subject::Ticket(_) => None,
    };
    let kind = claim.approval.proof().kind_for(factor);
    // Before any code is looked at: whether it is still open depends on none.
    let binding = digest.binding(*word);
    let next = match word {
        Word::Approve => old.approve(user, typed.means(kind), now)?,
        Word::Refuse => old.refuse(user, now)?,
    };
    let claims = vec![claim];
    let thawed = match word {
        Word::Approve => {
            let state = RecordKey { kind: Kind::WalletState, id: *old.wallet() };
            Thawed::look(Some(state), &claims, is_frozen)?
        }
        Word::Refuse => Thawed::regardless(),
    };
    let codes = Codes::compare(claims, thawed, Some(&binding), None, moment).map_err(Untried::from)?;
    let repeated = codes.repeated(&binding, now);
    let answer = match (bool::from(codes.all_new()), &repeated) {
        (true, _) => Answer::Signed,
        (false, Some(_)) => Answer::Repeated,
        (false, None) => Answer::WrongCode,
    };
    let signed = SpentOn::new(binding, now, **moment.entropy);
    let mut writes = codes.writes(answer, Some(&signed), now);
    writes.push(pending.put(if matches!(answer, Answer::Signed) { &next } else { old }));
    let facts = ConsentFacts {
        ticket: *old.ticket(),
        wallet: old.label().into(),
        digest: digest.0,
        refuses: *word == Word::Refuse,
    };
    let facts = match typed {
        Typed::BeforeBackend => Asked::Consent(facts),
        Typed::AtDesk => Asked::ConsentAtDesk(facts),
    };
    let entropy = moment.entropy.clone();
    Ok(codes.outcome(asked, facts, writes, answer, entropy, now).in_store_of(authority))
}

#[cfg(test)]
mod tests;
