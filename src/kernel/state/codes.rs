//! The codes of one request, compared with the records of those who gave them: what each of them spends, and what is written for it.

use subtle::Choice;
use zeroize::Zeroizing;

use super::budget::Locked;
use super::records::{NobodyRecord, UserRecord};
use super::ticket::Redeemed;
use super::way::{Claim, Moment, Outcome, Subject, Untried};
use crate::audit::{Answer, Asked, Event, Fate, TriedCode};
use crate::binding::Binding;
use crate::factor::{self, Against, Mark, Proof, Spends, SpentOn, Verified};
use crate::freeze::{self, Frozen};
use crate::receipt::{Batch, Decision, Write};
use crate::record::Versioned;
use crate::seal::RecordKey;

/// Evidence: none of the things that a request needs is frozen, as far as was looked up. The commit makes sure that this still holds:
/// the batch is only taken while no freeze exists at any of these places.
pub(super) struct Thawed(Vec<RecordKey>);

impl Thawed {
    /// Of a request that no freeze stops.
    pub(super) fn regardless() -> Thawed {
        Thawed(vec![])
    }

    /// Looks up the freezes of everything, of the wallet or key whose state is at `key`, and of each user. A code of a frozen user
    /// refuses the whole request, whoever else approves it.
    pub(super) fn look<E: From<Untried>>(
        key: Option<RecordKey>,
        claims: &[Claim],
        is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    ) -> Result<Thawed, E> {
        Thawed::look_for(key, claims.iter().flat_map(|claim| claim.subject.users()), is_frozen)
    }

    /// The same for users who give no codes.
    pub(super) fn look_for<'a, E: From<Untried>>(
        key: Option<RecordKey>,
        users: impl Iterator<Item = &'a Versioned<UserRecord>>,
        is_frozen: impl Fn(&RecordKey) -> Result<bool, E>,
    ) -> Result<Thawed, E> {
        let of_key = key.map(|key| (freeze::place_of(&key), Frozen::Key));
        let of_users = users.map(|user| {
            let name = user.value.name.clone();
            (freeze::place_of(&user.place), Frozen::User(name))
        });
        let stops = [(freeze::EVERYTHING, Frozen::Everything)].into_iter().chain(of_key).chain(of_users);
        let mut places = Vec::new();
        for (place, frozen) in stops {
            if is_frozen(&place)? {
                return Err(Untried::Frozen(frozen).into());
            }
            places.push(place);
        }
        Ok(Thawed(places))
    }

    /// The places where no freeze may be when the batch is taken.
    pub(super) fn into_places(self) -> Vec<RecordKey> {
        self.0
    }
}

/// The compared codes of one request.
pub(super) struct Codes {
    pub(super) claims: Vec<Claim>,
    thawed: Thawed,
    /// What each of them spends.
    pub(super) marks: Vec<Mark>,
    /// Whether each is right and not spent.
    new: Vec<Choice>,
    /// Whether each is right and was spent on what is requested again.
    repeats: Vec<Choice>,
}

impl Codes {
    /// Compares all codes, or none if a user is locked: then no code can be right, none is tried, and nobody
    /// is charged.
    pub(super) fn compare(
        claims: Vec<Claim>,
        thawed: Thawed,
        binding: Option<&Binding>,
        wallet: Option<&RecordKey>,
        Moment { now, epoch, .. }: Moment<'_>,
    ) -> Result<Codes, Locked> {
        let is_closed = |claim: &Claim| match &claim.subject {
            Subject::User(user) => {
                let UserRecord { factor, budget, .. } = &user.value;
                factor.is_barred(epoch.restored(), now) || budget.is_locked(now)
            }
            // Who approved a ticket did so before, and gives no code that could be guessed now.
            Subject::Nobody(_) | Subject::Ticket(_) => false,
        };
        if claims.iter().any(is_closed) {
            return Err(Locked);
        }
        let (mut marks, mut new, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
        // Nobody brings one beside anything else. If somebody did, its users would count twice.
        let is_alone = Choice::from(u8::from(claims.len() == 1));
        for (index, claim) in claims.iter().enumerate() {
            if let (Subject::Ticket(ticket), Proof::Ticket(id)) = (&claim.subject, claim.approval.proof()) {
                let Redeemed { is_new, repeats: again } =
                    ticket.redeem(id, wallet.zip(binding), claim.released_at, epoch, now);
                marks.push(Mark { user: String::new(), spends: Spends::Ticket(*id) });
                new.push(is_new & is_alone);
                repeats.push(again & is_alone);
                continue;
            }
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

    pub(super) fn all_new(&self) -> Choice {
        all(&self.new)
    }

    /// The randomness of the signatures that all of these codes were spent on, if they were spent on the
    /// same.
    pub(super) fn repeated(&self, binding: &Binding, now: u64) -> Option<Zeroizing<[u8; 32]>> {
        let mut of_users = self.claims.iter().map(|claim| match &claim.subject {
            Subject::User(user) => {
                user.value.factor.repeated(binding, claim.released_at, now).map(Zeroizing::new)
            }
            Subject::Ticket(ticket) => {
                ticket.pending.value.repeated(binding, claim.released_at, now).map(Zeroizing::new)
            }
            Subject::Nobody(_) => None,
        });
        let first = of_users.next().flatten()?;
        let are_same = of_users.all(|other| other.as_ref() == Some(&first));
        (bool::from(all(&self.repeats)) && are_same).then_some(first)
    }

    fn is_new_ticket(&self, index: usize) -> bool {
        matches!(self.claims[index].subject, Subject::Ticket(_)) && self.new[index].into()
    }

    fn is_right(&self, index: usize) -> bool {
        (self.new[index] | self.repeats[index]).into()
    }

    /// The outcome of code `index`.
    fn fate(&self, index: usize, answer: Answer) -> Fate {
        match answer {
            Answer::Signed | Answer::Confirmed => Fate::Spent,
            // It signs once the policy allows it.
            Answer::Refused(_) if self.is_new_ticket(index) => Fate::Kept,
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
    pub(super) fn writes(&self, answer: Answer, signed: Option<&SpentOn>, now: u64) -> Vec<Write> {
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
                Subject::Ticket(ticket) => {
                    let pending = &ticket.pending;
                    let spent = signed.filter(|_| fate == Fate::Spent);
                    match spent {
                        Some(on) => pending.put(&pending.value.spend(on.clone())),
                        None => pending.put(&pending.value),
                    }
                }
                Subject::Nobody(nobody) => {
                    nobody.put(&NobodyRecord { tries: nobody.value.tries.saturating_add(1) })
                }
            });
        }
        writes
    }

    pub(super) fn outcome<S>(
        self,
        asked: S,
        facts: Asked,
        writes: Vec<Write>,
        answer: Answer,
        entropy: Zeroizing<[u8; 32]>,
        now: u64,
    ) -> Decision<Outcome<S>> {
        let codes: Vec<TriedCode> =
            (0..self.claims.len()).flat_map(|index| self.tried(index, self.fate(index, answer))).collect();
        let wrong = codes.iter().filter(|code| code.fate == Fate::Wrong).count();
        let wrong = u32::try_from(wrong).unwrap_or(u32::MAX);
        let Codes { claims, thawed: Thawed(absent), .. } = self;
        let facts = match claims.first().map(|claim| &claim.subject) {
            Some(Subject::Ticket(ticket)) => {
                Asked::Ticket { ticket: *ticket.pending.value.ticket(), asked: Box::new(facts) }
            }
            _ => facts,
        };
        let event = Event::Tried { codes, asked: facts, answer };
        let batch = Batch::new(writes, event, now).while_absent(absent);
        // Whose approvals count is decided with these records. Those whose codes were tried are written.
        let approvers = claims.iter().filter_map(|claim| match &claim.subject {
            Subject::Ticket(ticket) => Some(ticket.approvers()),
            Subject::User(_) | Subject::Nobody(_) => None,
        });
        let batch = approvers.flatten().fold(batch, |batch, user| batch.while_unchanged(user.unchanged()));
        Decision::new(batch, Outcome::new((asked, claims), (answer, wrong), entropy))
    }

    /// What the audit says of code `index`: its user, or those who approved a ticket, of which only the first stands for a wrong one.
    fn tried(&self, index: usize, fate: Fate) -> Vec<TriedCode> {
        let subject = &self.claims[index].subject;
        let rest = if fate == Fate::Wrong { Fate::Kept } else { fate };
        let fates = [fate].into_iter().chain(core::iter::repeat(rest));
        let users: Vec<_> = subject.users().into_iter().map(|user| Some(user.value.name.clone())).collect();
        let users = if users.is_empty() { vec![None] } else { users };
        users.into_iter().zip(fates).map(|(user, fate)| TriedCode { user, fate }).collect()
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
