//! The transitions on the way of a signature: the outcome of the codes of one request, decided in memory and written
//! once.
//!
//! [`decide`] and [`confirm`] check everything that the answer depends on: the codes, the policy, the limits, the
//! locks. Nobody can learn anything from their result before it is durable, because only a receipt opens it
//! ([`Receipt::open`]). Somebody who stops the machine in between has tried nothing, and has learned nothing.
//!
//! Whatever the outcome, the same records are written, each of the same length, with one link of the same length:
//! - the record of each user whose code was tried, and that of nobody, in the order of the codes;
//! - the state of the wallet or key, for a signature.
//!
//! A record that the outcome does not change is sealed again all the same. Records are padded
//! ([`Stored::padded_len`](crate::record::Stored::padded_len)): a user's to the longest that it can be, and the state of
//! a wallet to what the earlier one shows, and room for one charge. The link has no field whose length depends on the
//! outcome.

use subtle::Choice;
use zeroize::Zeroizing;

use super::administration::act_of_user;
use super::budget::Locked;
use super::records::{Epoch, NobodyRecord, UserRecord, WalletState};
use super::signable::Signable;
use crate::act::Deed;
use crate::approval::Approval;
use crate::audit::{Answer, Asked, Event, Fate, TriedCode};
use crate::binding::Binding;
use crate::factor::{self, Against, Mark, Spends, SpentOn, Verified};
use crate::freeze::{self, Frozen};
use crate::name::UserId;
use crate::policy::Verdict;
use crate::receipt::{Batch, Decision, Receipt, Write};
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
}

impl Claim {
    fn place(&self) -> RecordKey {
        match &self.subject {
            Subject::User(user) => user.place,
            Subject::Nobody(nobody) => nobody.place,
        }
    }

    fn authority(&self) -> Authority {
        match &self.subject {
            Subject::User(user) => user.authority,
            Subject::Nobody(nobody) => nobody.authority,
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
    let Verdict { rule, period } = asked.judged_by(key, claims.len(), moment.now);
    let is_of_store = claims.iter().all(|claim| claim.authority() == wallet.authority);
    assert!(is_of_store, "codes are compared with the records of the store that has the wallet");
    let thawed = Thawed::look(Some(wallet.place), &claims, is_frozen)?;
    let binding = asked.binding();
    let codes = Codes::compare(claims, thawed, Some(&binding), moment).map_err(Untried::from)?;
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
    let codes = Codes::compare(claims, thawed, None, moment).map_err(Untried::from)?;
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
    let codes = Codes::compare(claims, Thawed(vec![]), Some(binding), moment)?;
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

/// Evidence: none of the things that a request needs is frozen, as far as was looked up. The commit makes sure that this still holds:
/// the batch is only taken while no freeze exists at any of these places.
struct Thawed(Vec<RecordKey>);

impl Thawed {
    /// Looks up the freezes of everything, of the wallet or key whose state is at `key`, and of each user. A code of a frozen user
    /// refuses the whole request, whoever else approves it.
    fn look<E: From<Untried>>(
        key: Option<RecordKey>,
        claims: &[Claim],
        is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    ) -> Result<Thawed, E> {
        let of_key = key.map(|key| (freeze::place_of(&key), Frozen::Key));
        let of_users = claims.iter().filter_map(|claim| match &claim.subject {
            Subject::User(user) => {
                Some((freeze::place_of(&user.place), Frozen::User(user.value.name.clone())))
            }
            Subject::Nobody(_) => None,
        });
        let stops = [(freeze::EVERYTHING, Frozen::Everything)].into_iter().chain(of_key).chain(of_users);
        let mut places = Vec::with_capacity(claims.len() + 2);
        for (place, frozen) in stops {
            if is_frozen(&place)? {
                return Err(Untried::Frozen(frozen).into());
            }
            places.push(place);
        }
        Ok(Thawed(places))
    }
}

/// The compared codes of one request.
struct Codes {
    claims: Vec<Claim>,
    thawed: Thawed,
    /// What each of them spends.
    marks: Vec<Mark>,
    /// Whether each is right and not spent.
    new: Vec<Choice>,
    /// Whether each is right and was spent on what is requested again.
    repeats: Vec<Choice>,
}

impl Codes {
    /// Compares all codes, or none if a user is locked: then no code can be right, none is tried, and nobody
    /// is charged.
    fn compare(
        claims: Vec<Claim>,
        thawed: Thawed,
        binding: Option<&Binding>,
        Moment { now, epoch, .. }: Moment<'_>,
    ) -> Result<Codes, Locked> {
        let is_closed = |claim: &Claim| match &claim.subject {
            Subject::User(user) => {
                let UserRecord { factor, budget, .. } = &user.value;
                factor.is_barred(epoch.restored(), now) || budget.is_locked(now)
            }
            Subject::Nobody(_) => false,
        };
        if claims.iter().any(is_closed) {
            return Err(Locked);
        }
        let (mut marks, mut new, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
        for (index, claim) in claims.iter().enumerate() {
            // A second code of the same user is never right.
            let is_first = claims[..index].iter().all(|earlier| earlier.place() != claim.place());
            let user = match &claim.subject {
                Subject::User(user) if is_first && may_be_right(&user.value, binding) => Some(&user.value),
                _ => None,
            };
            let against =
                Against { binding, released_at: claim.released_at, restored: epoch.restored(), now };
            let factor = user.map(|user| &user.factor);
            let Verified { spends, is_new, repeats: again } =
                factor::verify(claim.approval.proof(), factor, &against);
            marks.push(Mark { user: user.map_or_else(String::new, |user| user.name.clone()), spends });
            new.push(is_new);
            repeats.push(again);
        }
        Ok(Codes { claims, thawed, marks, new, repeats })
    }

    fn all_new(&self) -> Choice {
        all(&self.new)
    }

    /// The randomness of the signatures that all of these codes were spent on, if they were spent on the
    /// same.
    fn repeated(&self, binding: &Binding, now: u64) -> Option<Zeroizing<[u8; 32]>> {
        let mut of_users = self.claims.iter().map(|claim| match &claim.subject {
            Subject::User(user) => {
                user.value.factor.repeated(binding, claim.released_at, now).map(Zeroizing::new)
            }
            Subject::Nobody(_) => None,
        });
        let first = of_users.next().flatten()?;
        let are_same = of_users.all(|other| other.as_ref() == Some(&first));
        (bool::from(all(&self.repeats)) && are_same).then_some(first)
    }

    fn is_right(&self, index: usize) -> bool {
        (self.new[index] | self.repeats[index]).into()
    }

    /// The outcome of code `index`.
    fn fate(&self, index: usize, answer: Answer) -> Fate {
        match answer {
            Answer::Signed | Answer::Confirmed => Fate::Spent,
            Answer::Refused(_) if self.new[index].into() => Fate::Spent,
            Answer::Repeated | Answer::Refused(_) => Fate::Repeated,
            Answer::WrongCode if self.is_right(index) => Fate::Kept,
            Answer::WrongCode => Fate::Wrong,
        }
    }

    /// The outcome for the record of code `index`, which is the first code of that record: a second one is
    /// wrong.
    fn fate_of_record(&self, index: usize, answer: Answer) -> Fate {
        let place = self.claims[index].place();
        let of_record = |other: &usize| self.claims[*other].place() == place;
        let fates = (index..self.claims.len()).filter(of_record).map(|other| self.fate(other, answer));
        fates.into_iter().find(|fate| *fate == Fate::Wrong).unwrap_or(self.fate(index, answer))
    }

    /// The records of users and of nobody, each once, whatever the outcome of their codes.
    fn writes(&self, answer: Answer, signed: Option<&SpentOn>, now: u64) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::with_capacity(self.claims.len() + 1);
        for (index, claim) in self.claims.iter().enumerate() {
            if writes.iter().any(|write| write.place == claim.place()) {
                continue;
            }
            let fate = self.fate_of_record(index, answer);
            writes.push(match &claim.subject {
                Subject::User(user) => {
                    let signed = signed.filter(|_| matches!(answer, Answer::Signed)).cloned();
                    user.put(&after(&user.value, fate, self.marks[index].spends, signed, now))
                }
                Subject::Nobody(nobody) => {
                    nobody.put(&NobodyRecord { tries: nobody.value.tries.saturating_add(1) })
                }
            });
        }
        writes
    }

    fn outcome<S>(
        self,
        asked: S,
        facts: Asked,
        writes: Vec<Write>,
        answer: Answer,
        entropy: Zeroizing<[u8; 32]>,
        now: u64,
    ) -> Decision<Outcome<S>> {
        let codes: Vec<TriedCode> = (0..self.claims.len())
            .map(|index| TriedCode { user: self.name(index), fate: self.fate(index, answer) })
            .collect();
        let wrong = codes.iter().filter(|code| code.fate == Fate::Wrong).count();
        let wrong = u32::try_from(wrong).unwrap_or(u32::MAX);
        let Codes { claims, thawed: Thawed(absent), .. } = self;
        let event = Event::Tried { codes, asked: facts, answer };
        let batch = Batch::new(writes, event, now).while_absent(absent);
        Decision::new(batch, Outcome { asked, claims, answer, wrong, entropy })
    }

    fn name(&self, index: usize) -> Option<String> {
        match &self.claims[index].subject {
            Subject::User(user) => Some(user.value.name.clone()),
            Subject::Nobody(_) => None,
        }
    }
}

fn all(choices: &[Choice]) -> Choice {
    let some = Choice::from(u8::from(!choices.is_empty()));
    choices.iter().fold(some, |all, choice| all & *choice)
}

/// Whether a code of `user` can be right: only a confirmed user signs.
fn may_be_right(user: &UserRecord, binding: Option<&Binding>) -> bool {
    user.confirmed || binding.is_none()
}

/// A user's record after the outcome. A right code that is spent confirms its user. (A user who signs is
/// confirmed already.)
fn after(user: &UserRecord, fate: Fate, spends: Spends, on: Option<SpentOn>, now: u64) -> UserRecord {
    let (factor, budget) = match fate {
        Fate::Spent => (user.factor.spend(spends, on), user.budget.row_ended()),
        Fate::Wrong => (user.factor.clone(), user.budget.charge(now)),
        Fate::Repeated | Fate::Kept => (user.factor.clone(), user.budget.clone()),
    };
    UserRecord { factor, budget, confirmed: user.confirmed || fate == Fate::Spent, ..user.clone() }
}
