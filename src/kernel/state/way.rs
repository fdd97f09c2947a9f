//! The transitions on the way of a signature: the outcome of the codes of one request, decided in memory and written
//! once.
//!
//! [`decide`] and [`confirm`] check everything that the answer depends on: the codes, the policy, the limits, the
//! locks. Nobody can learn anything from their result before it is durable, because only a receipt opens it
//! ([`Receipt::open`]). Somebody who stops the machine in between has tried nothing, and has learned nothing.
//!
//! Whatever the outcome, the same records are written, each of the same length, with one link of the same length:
//! - the record of each user whose code was tried, and that of nobody, in the order of the codes, or that of the ticket;
//! - the state of the wallet or key, for a signature.
//!
//! A record that the outcome does not change is sealed again all the same. Records are padded
//! ([`Stored::padded_len`](crate::record::Stored::padded_len)): a user's to the longest that it can be, and the state of
//! a wallet to what the earlier one shows, and room for one charge. The link has no field whose length depends on the
//! outcome.

use zeroize::Zeroizing;

use super::administration::act_of_user;
use super::budget::Locked;
use super::codes::{Codes, Thawed};
use super::records::{Epoch, NobodyRecord, UserRecord, WalletState};
use super::signable::Signable;
use super::ticket::Ticket;
use crate::act::Deed;
use crate::approval::Approval;
use crate::audit::{Answer, Asked};
use crate::binding::Binding;
use crate::factor::{Approvers, Shown, SpentOn};
use crate::freeze::Frozen;
use crate::name::UserId;
use crate::policy::Verdict;
use crate::receipt::{Decision, Receipt};
use crate::record::Versioned;
use crate::rule::Rule;
use crate::seal::{Authority, RecordKey};

/// One approval with the record against which it is tried.
pub struct Claim {
    /// The approval.
    pub approval: Approval,
    /// The possible owner of the code.
    pub subject: Subject,
    /// When the answer left, Unix seconds, if this user's code was spent on the same before and the time is
    /// still known.
    pub released_at: Option<u64>,
}

/// The possible owner of a code.
pub enum Subject {
    /// A user whose code may sign here.
    User(Box<Versioned<UserRecord>>),
    /// Nobody known. The try is recorded all the same, and takes as long.
    Nobody(Versioned<NobodyRecord>),
    /// No user, but a transaction that users approved before.
    Ticket(Box<Ticket>),
}

impl Subject {
    /// Whose approvals it is, if it is right, by the means of each.
    fn approvals(&self) -> Vec<Option<Shown>> {
        match self {
            Subject::User(_) | Subject::Nobody(_) => vec![None],
            Subject::Ticket(ticket) => ticket.means(),
        }
    }

    /// Whether it is the ticket for just this, and still gathers approvals.
    fn waits_for(&self, wallet: &RecordKey, binding: &Binding, moment: Moment<'_>) -> bool {
        match self {
            Subject::Ticket(ticket) => ticket.waits_for(wallet, binding, moment.epoch, moment.now),
            Subject::User(_) | Subject::Nobody(_) => false,
        }
    }

    /// The users who approve by it, each with the present record. Not those who approved a ticket and do not count any more.
    pub(super) fn users(&self) -> Vec<&Versioned<UserRecord>> {
        match self {
            Subject::User(user) => vec![user],
            Subject::Ticket(ticket) => ticket.approvers().collect(),
            Subject::Nobody(_) => vec![],
        }
    }
}

impl Claim {
    pub(super) fn place(&self) -> RecordKey {
        match &self.subject {
            Subject::User(user) => user.place,
            Subject::Nobody(nobody) => nobody.place,
            Subject::Ticket(ticket) => ticket.pending.place,
        }
    }

    pub(super) fn authority(&self) -> Authority {
        match &self.subject {
            Subject::User(user) => user.authority,
            Subject::Nobody(nobody) => nobody.authority,
            Subject::Ticket(ticket) => ticket.pending.authority,
        }
    }
}

/// What a decision depends on besides the records.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Unix time in seconds.
    pub now: u64,
    /// How often the store was restored, and when last. What may have been spent before counts as spent.
    pub epoch: Epoch,
    /// Fresh randomness from inside, for the signatures.
    pub entropy: &'a Zeroizing<[u8; 32]>,
}

/// The decision about the codes of one request. It has no `Debug`, cannot be compared, and only its receipt
/// opens it.
///
/// ```compile_fail,E0616
/// // Looking into a decision that is not durable.
/// use countersign_kernel::{psbt::CheckedPsbt, receipt::Decision, state::Outcome};
/// fn peek(decided: &Decision<Outcome<CheckedPsbt>>) -> bool { decided.0.evidence.answer.is_right() }
/// ```
///
/// ```compile_fail,E0277
/// // Printing it.
/// use countersign_kernel::{psbt::CheckedPsbt, receipt::Decision, state::Outcome};
/// fn print(decided: &Decision<Outcome<CheckedPsbt>>) { println!("{decided:?}"); }
/// ```
///
/// ```compile_fail,E0599
/// // Opening it without a receipt.
/// use countersign_kernel::{psbt::CheckedPsbt, receipt::Decision, state::Outcome};
/// fn open(decided: Decision<Outcome<CheckedPsbt>>) { decided.open(); }
/// ```
pub struct Outcome<S> {
    asked: S,
    claims: Vec<Claim>,
    answer: Answer,
    /// The number of wrong codes.
    wrong: u32,
    entropy: Zeroizing<[u8; 32]>,
}

impl<S> Outcome<S> {
    pub(super) fn new(
        (asked, claims): (S, Vec<Claim>),
        (answer, wrong): (Answer, u32),
        entropy: Zeroizing<[u8; 32]>,
    ) -> Outcome<S> {
        Outcome { asked, claims, answer, wrong, entropy }
    }
}

/// An outcome that is durable.
#[must_use = "an outcome that nobody looks at was paid for in vain"]
pub struct Opened<S> {
    /// The number of wrong codes.
    pub wrong: u32,
    /// The records of the users whose codes were tried.
    pub tried: Vec<RecordKey>,
    /// The codes were spent on it now. A repetition was paid for before.
    pub is_new: bool,
    /// The right to what was requested, or why there is none.
    pub answer: Result<Receipt<Consumed<S>>, Declined>,
}

/// Why there is no right to what was requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// A code is wrong, replayed or stale, or its user unknown or not confirmed. Nobody learns which of these
    /// it is.
    Code,
    /// The codes are right and spent, and a rule of the policy refuses.
    Policy(Rule),
}

/// Why no code was looked at: nothing was charged, spent or learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untried {
    /// A user is locked or must wait.
    Locked,
    /// Something is frozen.
    Frozen(Frozen),
    /// The ticket is for what is asked, and too few users have approved it so far.
    Pending,
}

impl From<Locked> for Untried {
    fn from(_: Locked) -> Untried {
        Untried::Locked
    }
}

/// Evidence: the codes and the amounts of what was approved are recorded.
pub struct Consumed<S> {
    asked: S,
    entropy: Zeroizing<[u8; 32]>,
}

impl<S> Consumed<S> {
    /// What to sign, and the randomness of its signatures.
    pub(crate) fn into_parts(self) -> (S, Zeroizing<[u8; 32]>) {
        (self.asked, self.entropy)
    }

    pub(crate) fn asked(&self) -> &S {
        &self.asked
    }
}

impl<S> Decision<Outcome<S>> {
    /// The request and its approvals, from a decision that was not written, to decide it again.
    pub fn withdraw(self) -> (S, Vec<Approval>) {
        let Outcome { asked, claims, .. } = self.into_unwritten();
        (asked, claims.into_iter().map(|claim| claim.approval).collect())
    }
}

impl<S> Receipt<Outcome<S>> {
    /// The outcome.
    pub fn open(self) -> Opened<S> {
        let &Outcome { answer, wrong, ref claims, .. } = self.evidence();
        let tried = claims.iter().map(Claim::place).collect();
        let is_new = matches!(answer, Answer::Signed | Answer::Confirmed);
        let answer = match answer {
            Answer::Signed | Answer::Repeated | Answer::Confirmed => {
                Ok(self.map(|Outcome { asked, entropy, .. }| Consumed { asked, entropy }))
            }
            Answer::Refused(rule) => Err(Declined::Policy(rule)),
            Answer::WrongCode => Err(Declined::Code),
        };
        Opened { wrong, tried, is_new, answer }
    }
}

/// Decides a request to `key`: by the key's policy, against the records of the users who approve and the state of the
/// wallet or key.
///
/// `wallet` was read just now: if another transaction were charged in between, the decision could not be written. As
/// long as the last restoration is within the period, every limit of a period counts as spent. `is_frozen` says whether a record exists at
/// the place of a freeze.
pub fn decide<S: Signable, E: From<Untried>>(
    (key, asked): (&S::Key, S),
    claims: Vec<Claim>,
    wallet: &Versioned<WalletState>,
    is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    moment: Moment<'_>,
) -> Result<Decision<Outcome<S>>, E> {
    assert!(asked.is_of(key), "what is asked for was checked for the key that is to sign it");
    let approvers = Approvers::new(claims.iter().flat_map(|claim| claim.subject.approvals()));
    let Verdict { rule, period } = asked.judged_by(key, &approvers, moment.now);
    let is_of_store = claims.iter().all(|claim| claim.authority() == wallet.authority);
    assert!(is_of_store, "codes are compared with the records of the store that has the wallet");
    let thawed = Thawed::look(Some(wallet.place), &claims, is_frozen)?;
    let binding = asked.binding();
    if claims.iter().any(|claim| claim.subject.waits_for(&wallet.place, &binding, moment)) {
        return Err(Untried::Pending.into());
    }
    let codes =
        Codes::compare(claims, thawed, Some(&binding), Some(&wallet.place), moment).map_err(Untried::from)?;
    // Whatever the codes are: what would leave is charged, and compared with the limits.
    let charged = asked.charged_to(&wallet.value, &codes.marks, moment.now);
    let period_rule = period.refusing_rule(&charged.history, moment.epoch.restored(), moment.now);
    let repeated = codes.repeated(&binding, moment.now);
    // What was signed before is not charged again, and so not compared with the limits again.
    let answer = match (bool::from(codes.all_new()), &repeated, rule, period_rule) {
        (true, _, Some(rule), _) | (true, _, None, Some(rule)) | (false, Some(_), Some(rule), _) => {
            Answer::Refused(rule)
        }
        (true, _, None, None) => Answer::Signed,
        (false, Some(_), None, _) => Answer::Repeated,
        (false, None, _, _) => Answer::WrongCode,
    };
    let signed = SpentOn::new(binding, moment.now, **moment.entropy);
    let mut writes = codes.writes(answer, Some(&signed), moment.now);
    writes.push(wallet.put(if matches!(answer, Answer::Signed) { &charged } else { &wallet.value }));
    let entropy = match (answer, repeated) {
        (Answer::Repeated, Some(entropy)) => entropy,
        _ => moment.entropy.clone(),
    };
    let facts = asked.facts();
    Ok(codes.outcome(asked, facts, writes, answer, entropy, moment.now).in_store_of(wallet.authority))
}

/// The request to check a code without a signature: to confirm its user.
pub struct Enrolment;

/// Decides whether a code that was given only to be checked is right, and confirms its user.
pub fn confirm<E: From<Untried>>(
    claim: Claim,
    is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    moment: Moment<'_>,
) -> Result<Decision<Outcome<Enrolment>>, E> {
    let (authority, claims) = (claim.authority(), vec![claim]);
    let thawed = Thawed::look(None, &claims, is_frozen)?;
    let codes = Codes::compare(claims, thawed, None, None, moment).map_err(Untried::from)?;
    let answer = if codes.all_new().into() { Answer::Confirmed } else { Answer::WrongCode };
    // Also for a wrong first code, so that the link has the same length.
    let act = match &codes.claims[0].subject {
        Subject::User(user) if !user.value.confirmed => {
            let confirmed = UserRecord { confirmed: true, ..user.value.clone() };
            Some(Box::new(act_of_user(Deed::UserConfirmed, Some(&user.value), Some(&confirmed))))
        }
        _ => None,
    };
    let writes = codes.writes(answer, None, moment.now);
    let entropy = moment.entropy.clone();
    let asked = Asked::Enrolment(act);
    Ok(codes.outcome(Enrolment, asked, writes, answer, entropy, moment.now).in_store_of(authority))
}

/// The request to end a proposed act, by a user who may.
pub struct Veto {
    /// The nonce of the act.
    pub nonce: [u8; 16],
    /// The user, by enrolment.
    pub user: UserId,
}

/// Decides whether a code that was given to veto an act is right. `binding` names that veto. A freeze stops nobody from vetoing.
pub fn veto(
    asked: Veto,
    claim: Claim,
    binding: &Binding,
    moment: Moment<'_>,
) -> Result<Decision<Outcome<Veto>>, Untried> {
    let (authority, claims) = (claim.authority(), vec![claim]);
    let codes = Codes::compare(claims, Thawed::regardless(), Some(binding), None, moment)?;
    let repeated = codes.repeated(binding, moment.now);
    let answer = match (bool::from(codes.all_new()), &repeated) {
        (true, _) => Answer::Signed,
        (false, Some(_)) => Answer::Repeated,
        (false, None) => Answer::WrongCode,
    };
    let signed = SpentOn::new(*binding, moment.now, **moment.entropy);
    let writes = codes.writes(answer, Some(&signed), moment.now);
    let (facts, entropy) = (Asked::Veto(asked.nonce), moment.entropy.clone());
    Ok(codes.outcome(asked, facts, writes, answer, entropy, moment.now).in_store_of(authority))
}
