//! The officers of the store, and the acts that wait for them.
//!
//! The kernel decides every transition ([`crate::kernel::proposal`]). This file reads the records, the clocks and the randomness that it
//! goes by, and writes what it decides. Everything that writes has the turn of acts of administration.

mod read;
mod view;

use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::kept::Kept;
use super::{Engine, EngineError};
use crate::kernel::act::class::Class;
use crate::kernel::administration::{self, Act, Administrator, Approved};
use crate::kernel::binding::Binding;
use crate::kernel::clock::Reading;
use crate::kernel::motion::{ActText, MAX_CLOCK_WINDOW, Motion, Nonce, Seen};
use crate::kernel::name::UserId;
use crate::kernel::officer::Council;
use crate::kernel::proposal::{
    self, Circumstances, MOST_BETWEEN, Objectors, Proposal, ProposalError, RunId, Standing, Tick,
    longest_delay, veto_binding,
};
use crate::kernel::receipt::Decision;
use crate::kernel::record::Versioned;
use crate::kernel::seal::Kind;
use crate::kernel::state::Recorded;

pub use view::{ProposalStanding, ProposalView};

/// Seconds for which a drafted act may be carried out after its delay: 7 days.
const OPEN_FOR: u64 = 7 * 24 * 3_600;
/// Seconds between two ticks.
const BETWEEN_TICKS: u64 = 300;
/// Seconds that a try may take from its beginning until it is written.
const UNDER_WAY: u64 = 60;
const _: () = assert!(BETWEEN_TICKS * 2 <= MOST_BETWEEN, "a tick may be late");

/// What the engine remembers of officers and proposals. The ledger has everything that decides.
pub(super) struct Officers {
    /// Names this run, so that no time counts as delay over its end.
    run: RunId,
    /// The wrong codes of all users in an hour that the officers allow.
    most_failures: AtomicU32,
    /// Whether some act may be waiting for its delay.
    may_wait: AtomicBool,
    /// When the next tick is due, by the clock that nobody sets.
    next_tick: AtomicU64,
    /// Proposals that were read before.
    kept: Kept<Proposal>,
}

impl Officers {
    pub(super) fn new(run: RunId) -> Officers {
        Officers {
            run,
            most_failures: AtomicU32::new(u32::MAX),
            may_wait: AtomicBool::new(false),
            next_tick: AtomicU64::new(0),
            kept: read::kept(),
        }
    }

    pub(super) fn most_failures(&self) -> u32 {
        self.most_failures.load(Ordering::SeqCst)
    }
}

/// An act that somebody may propose: an administrator, or whoever brought an officer's signature of it.
struct Submission<'a> {
    act: ActText,
    by: Option<&'a Administrator>,
    signature: Option<&'a str>,
}

impl Engine {
    /// The officers, once there are any.
    pub fn council(&self) -> Result<Option<Council>, EngineError> {
        let Some(council) = self.council_record()? else { return Ok(None) };
        // One that is under way may still fail.
        self.ledger()?.settle(council.version())?;
        Ok(Some(council.into_value()))
    }

    /// The text of an act on the present records, for officers to sign: the boundary's own words.
    pub fn draft(&self, act: &Act) -> Result<String, EngineError> {
        let council = self.council()?.ok_or(ProposalError::NoOfficers)?;
        let motion = administration::draft(act, self, &self.secp)?;
        let expires = match &motion {
            Motion::ClockTake { from, .. } => from.saturating_add(MAX_CLOCK_WINDOW),
            motion if motion.class() == Class::Loosens => {
                self.now_or_newest()?.saturating_add(longest_delay(motion, &council)).saturating_add(OPEN_FOR)
            }
            _ => self.now_or_newest()?.saturating_add(OPEN_FOR),
        };
        let mut nonce = Nonce::default();
        self.random(&mut nonce)?;
        let (link, head) = self.ledger()?.newest();
        let (store, epoch) = (self.ledger()?.store(), self.epoch().name());
        let text = ActText { store, epoch, nonce, seen: Seen { head, link }, expires, motion };
        Ok(text.print()?)
    }

    /// Proposes the act of a text: for an administrator, or for whoever brings an officer's signature of it. If nothing else is
    /// missing, it is carried out at once.
    pub fn propose(
        &self,
        by: Option<&Administrator>,
        text: &str,
        signature: Option<&str>,
    ) -> Result<Nonce, EngineError> {
        let submission = self.settled(self.submission(by, text, signature))?;
        let nonce = submission.act.nonce;
        let _turn = self.change_proposals(|council| self.new_proposal(&submission, council))?;
        self.officers.may_wait.store(true, Ordering::SeqCst);
        self.carry_out_if_due(&nonce)?;
        Ok(nonce)
    }

    /// The signature is verified first, over the bytes as they are: nothing reads a text that no officer has signed and no administrator
    /// brings.
    fn submission<'a>(
        &self,
        by: Option<&'a Administrator>,
        text: &str,
        signature: Option<&'a str>,
    ) -> Result<Submission<'a>, EngineError> {
        self.check_may_propose(by, signature)?;
        let council = self.council_record()?.ok_or(ProposalError::NoOfficers)?;
        if let Some(signature) = signature {
            let officers = council.value().officers();
            let _signed = officers.verify(text.as_bytes(), signature).map_err(ProposalError::from)?;
        }
        Ok(Submission { act: ActText::parse(text)?, by, signature })
    }

    fn new_proposal(
        &self,
        Submission { act, by, signature }: &Submission<'_>,
        council: &Versioned<Council>,
    ) -> Result<Decision<Recorded>, EngineError> {
        self.check_may_propose(*by, *signature)?;
        let now = self.time_for(&act.motion)?;
        let found = self.circumstances(&act.motion, council, now)?;
        let since = now.saturating_sub(longest_delay(&act.motion, council.value()));
        let vetoers = administration::vetoers(&act.motion, since, self)?;
        let mut new = Proposal::of(act.clone(), &vetoers, &found)?;
        if let Some(signature) = signature {
            new = new.bring(signature, &found)?;
            new = new.credit(&self.tick_of(&new, now)?, &found)?;
        }
        let records = self.proposal_records()?;
        let (epoch, trusted) = (self.epoch().name(), self.now_or_newest()?);
        let present = records.iter().map(|record| record.value());
        proposal::check_room(present.filter(|record| !record.may_go(epoch, trusted)), &new)?;
        Ok(proposal::propose(&new, proposal::past(&records, epoch, trusted), council, trusted))
    }

    /// Adds an officer's signature. If nothing else is missing, the act is carried out at once.
    pub fn sign_proposal(&self, nonce: &Nonce, signature: &str) -> Result<(), EngineError> {
        let _turn = self.change_proposals(|council| {
            let old = self.proposal_record(nonce)?;
            let now = self.time_for(&old.value().act().motion)?;
            let found = self.circumstances(&old.value().act().motion, council, now)?;
            let next = old.value().sign(signature, &found)?;
            // Delay begins now, and not at the next tick.
            let next = next.credit(&self.tick_of(&next, now)?, &found)?;
            let change = proposal::record(&old, &next, None, council, self.now_or_newest()?);
            Ok(change.ok_or(ProposalError::Unknown)?)
        })?;
        self.officers.may_wait.store(true, Ordering::SeqCst);
        self.carry_out_if_due(nonce)
    }

    /// Ends a proposal by the veto of an officer: a signature of [`Proposal::veto_text`].
    pub fn veto_by_officer(&self, nonce: &Nonce, signature: &str) -> Result<(), EngineError> {
        self.change_proposals(|council| {
            let (old, now) = (self.proposal_record(nonce)?, self.now_or_newest()?);
            let found = self.circumstances(&old.value().act().motion, council, now)?;
            let next = old.value().veto_by_officer(signature, &found)?;
            let change = proposal::record(&old, &next, Some(signature), council, now);
            Ok(change.ok_or(ProposalError::Unknown)?)
        })
        .map(drop)
    }

    /// Ends a proposal by the veto of a user whom it concerned when it was proposed. The code is charged and spent like any other. A
    /// user who is frozen may veto, too.
    pub fn veto_by_user(&self, nonce: &Nonce, user: &str, code: &[u8]) -> Result<(), EngineError> {
        // What is refused without a look at the code never has the turn.
        self.settled(self.vetoer(nonce, user))?;
        // From here on nothing ends the act before the veto, so no code is spent on what is refused afterwards.
        let _turn = self.administration();
        let (user, binding) = self.vetoer(nonce, user)?;
        let paid = self.approve_veto(nonce, &user, &binding, code)?;
        self.write_proposals(|council| {
            let (old, now) = (self.proposal_record(nonce)?, self.now_or_newest()?);
            Ok(proposal::veto(&old, &paid, council, now)?)
        })
    }

    /// Who vetoes, and what the code is then bound to. Nothing here says anything about the code.
    fn vetoer(&self, nonce: &Nonce, user: &str) -> Result<(UserId, Binding), EngineError> {
        let old = self.proposal_record(nonce)?;
        let vetoer = old.value().vetoers().iter().find(|vetoer| vetoer.name == user);
        let vetoer = vetoer.ok_or_else(|| ProposalError::NoVetoer(user.into()))?;
        let user = UserId { name: vetoer.name.clone(), key: vetoer.enrolment };
        old.value().veto_by_user(&user, self.now_or_newest()?)?;
        Ok((user, veto_binding(old.value().act())?))
    }

    /// Takes back a proposal that no officer has signed.
    pub fn withdraw(&self, by: &Administrator, nonce: &Nonce) -> Result<(), EngineError> {
        self.change_proposals(|council| {
            self.check_may_propose(Some(by), None)?;
            let (old, now) = (self.proposal_record(nonce)?, self.now_or_newest()?);
            Ok(proposal::withdraw(&old, council, now)?)
        })
        .map(drop)
    }

    /// Carries out an act that is due, for anybody who asks.
    pub fn carry_out(&self, nonce: &Nonce) -> Result<(), EngineError> {
        drop(self.settled(self.decided(nonce))?);
        let _turn = self.administration();
        self.carry_out_now(nonce)
    }

    /// Counts the time since the last tick as delay of every act that waits, in one commit. At most once in five minutes; nothing is
    /// written where nothing waits.
    pub fn tick(&self) -> Result<(), EngineError> {
        if !self.officers.may_wait.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (boot, due) = (self.clocks().boot, self.officers.next_tick.load(Ordering::SeqCst));
        let next = boot.saturating_add(BETWEEN_TICKS);
        // A clock that went back is of another run of the machine.
        if (boot < due && due - boot <= BETWEEN_TICKS)
            || self
                .officers
                .next_tick
                .compare_exchange(due, next, Ordering::SeqCst, Ordering::SeqCst)
                .is_err()
        {
            return Ok(());
        }
        let _turn = self.administration();
        self.record_voids()?;
        // Time that no trusted clock measures does not count.
        let now = match self.now() {
            Err(EngineError::Clock(_)) => return Ok(()),
            now => now?,
        };
        let Some(council) = self.council_record()? else { return Ok(()) };
        let records = self.proposal_records()?;
        self.officers.may_wait.store(records.iter().any(|one| one.value().is_open(now)), Ordering::SeqCst);
        let mut credited = Vec::new();
        for old in &records {
            let Some(found) = self.circumstances_of(old.value(), &council, now)? else { continue };
            if matches!(old.value().standing(&found), Ok(Standing::Waiting(_))) {
                credited.push((old.as_ref(), old.value().credit(&self.tick_of(old.value(), now)?, &found)?));
            }
        }
        if credited.is_empty() {
            return Ok(());
        }
        match self.commit_once(proposal::credit(&credited, &council, now)) {
            // Somebody signed or vetoed meanwhile: the next tick counts it.
            Err(EngineError::Ledger(crate::ports::LedgerError::Conflict)) => Ok(()),
            done => done,
        }
    }

    /// Records which of the open acts are void, so that nothing makes them valid again. Whoever calls this has the turn of acts of
    /// administration, and calls it before something changes: what changed before may have voided an act, and the engine may have been
    /// killed before that was recorded.
    pub(crate) fn record_voids(&self) -> Result<(), EngineError> {
        let Some(council) = self.council_record()? else { return Ok(()) };
        let now = self.now_or_newest()?;
        loop {
            let mut void = None;
            for old in self.proposal_records()? {
                let Some(found) = self.circumstances_of(old.value(), &council, now)? else { continue };
                if let Some(next) = old.value().found_void(&found) {
                    void = proposal::void(&old, &next, &council, now);
                    break;
                }
            }
            let Some(void) = void else { return Ok(()) };
            match self.commit_once(void) {
                // Another commit came first: look again.
                Err(EngineError::Ledger(crate::ports::LedgerError::Conflict)) => {}
                done => done?,
            }
        }
    }

    /// The same after an act, so that everybody soon sees what it has voided. The act is done, whatever comes of this: the next act or
    /// tick looks again.
    pub(crate) fn record_voids_of_done(&self) {
        if let Err(error) = self.record_voids() {
            tracing::error!("whether this voids acts that wait is not recorded yet: {error}");
        }
    }

    /// Whether acts need this enrolment: the user may veto an act that can still be carried out, or joins by it. Or the user was taken
    /// off a wallet or key within the delay, and could veto an act on it that is proposed now.
    pub(crate) fn acts_need_user(&self, user: &UserId) -> Result<bool, EngineError> {
        let Some(council) = self.council_record()? else { return Ok(false) };
        let now = self.now_or_newest()?;
        if self.proposal_records()?.iter().any(|one| one.value().is_open(now) && one.value().needs(user)) {
            return Ok(true);
        }
        let since = now.saturating_sub(u64::from(council.value().delay_hours()) * 3_600);
        for place in self.ledger()?.places(Kind::FormerUsers)? {
            let former = self.former_users_at(place)?;
            if former.is_some_and(|former| former.value().since(since).any(|one| one == *user)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts the settings of the officers in force.
    pub(crate) fn adopt_council(&self) -> Result<(), EngineError> {
        let most =
            self.council_record()?.map_or(u32::MAX, |council| council.value().settings().failures_per_hour);
        self.officers.most_failures.store(most, Ordering::SeqCst);
        self.breaker.limited_to(self.most_failures(), self.clock_time());
        Ok(())
    }

    /// Looks whether some act may be waiting.
    pub(super) fn adopt_proposals(&self) -> Result<(), EngineError> {
        let has_any = !self.ledger()?.places(Kind::Proposal)?.is_empty();
        self.officers.may_wait.store(has_any, Ordering::SeqCst);
        Ok(())
    }

    fn carry_out_if_due(&self, nonce: &Nonce) -> Result<(), EngineError> {
        match self.carry_out_now(nonce) {
            Err(EngineError::Proposal(ProposalError::NotDue(_))) => Ok(()),
            done => done,
        }
    }

    fn carry_out_now(&self, nonce: &Nonce) -> Result<(), EngineError> {
        self.administer_decided(|| self.decided(nonce))
    }

    /// What officers decided by this proposal, if it is due.
    fn decided(&self, nonce: &Nonce) -> Result<Approved<Act>, EngineError> {
        let council = self.council_record()?.ok_or(ProposalError::NoOfficers)?;
        let proposal = self.proposal_record(nonce)?;
        let motion = &proposal.value().act().motion;
        let found = self.circumstances(motion, &council, self.time_for(motion)?)?;
        let (_, decided) = proposal.value().carry_out(&found)?;
        Ok(Approved::decided(decided, proposal, council)?)
    }

    /// Writes what `decide` decides for the present officers, again if another commit came first.
    fn write_proposals(
        &self,
        decide: impl Fn(&Versioned<Council>) -> Result<Decision<Recorded>, EngineError>,
    ) -> Result<(), EngineError> {
        let decide = || decide(&self.council_record()?.ok_or(ProposalError::NoOfficers)?);
        self.commit_anew(decide).map(|_recorded| ())
    }

    /// The same for who does not have the turn yet. Returns the turn, in which it was written. What is refused never has it, because it
    /// costs its caller nothing.
    fn change_proposals(
        &self,
        decide: impl Fn(&Versioned<Council>) -> Result<Decision<Recorded>, EngineError>,
    ) -> Result<MutexGuard<'_, ()>, EngineError> {
        let council = self.council_record()?.ok_or(ProposalError::NoOfficers)?;
        drop(self.settled(decide(&council))?);
        let turn = self.administration();
        self.write_proposals(decide).map(|()| turn)
    }

    fn check_may_propose(
        &self,
        by: Option<&Administrator>,
        signature: Option<&str>,
    ) -> Result<(), EngineError> {
        let may = match by {
            Some(administrator) => administrator.is_of(self.token_record()?.value()),
            None => signature.is_some(),
        };
        if may { Ok(()) } else { Err(EngineError::NotAdministrator) }
    }

    fn council_record(&self) -> Result<Option<Versioned<Council>>, EngineError> {
        self.if_there(Kind::Council)
    }

    /// The present store, as a proposal finds it, or none if its subject cannot be looked at: a wallet, for example, that this version does not open. Then
    /// nothing is known of that proposal, and the others go on.
    fn circumstances_of<'a>(
        &self,
        proposal: &Proposal,
        council: &'a Versioned<Council>,
        now: u64,
    ) -> Result<Option<Circumstances<'a>>, EngineError> {
        match self.circumstances(&proposal.act().motion, council, now) {
            Err(error @ EngineError::Ledger(_)) => Err(error),
            Err(error) => {
                tracing::error!("what an act is about cannot be looked at, so it does not go on: {error}");
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// The present store, as an act finds it at `now`.
    fn circumstances<'a>(
        &self,
        motion: &Motion,
        council: &'a Versioned<Council>,
        now: u64,
    ) -> Result<Circumstances<'a>, EngineError> {
        let (store, epoch) = (self.ledger()?.store(), self.epoch().name());
        let (in_force, subject) = administration::in_force(motion, self, &self.secp)?;
        Ok(Circumstances { store, epoch, council: council.value(), in_force, subject, now })
    }

    /// The time by which an act is judged. One that takes a clock goes by that clock, which must be within its window; one that
    /// tightens needs no trusted clock.
    fn time_for(&self, motion: &Motion) -> Result<u64, EngineError> {
        match motion {
            Motion::ClockTake { .. } => Ok(self.clock_time()),
            motion if motion.class() == Class::Tightens => self.now_or_newest(),
            _ => self.now(),
        }
    }

    /// A moment of this run, and who could object since the last tick.
    fn tick_of(&self, proposal: &Proposal, now: u64) -> Result<Tick, EngineError> {
        // A code is charged at the time at which its try began, which may not have been written at the last tick.
        let since = proposal.last_tick().unwrap_or(now).saturating_sub(UNDER_WAY);
        let clocks = self.clocks();
        let reading = Reading { wall: clocks.wall, boot: clocks.boot };
        Ok(Tick::new(self.officers.run, reading, self.awake(), self.objectors(proposal, since, now)?))
    }

    /// Who could veto now and ever since then: nobody who may is locked, was kept from it by wrong codes or by the breaker, or from
    /// logging in. Officers need no code and no PIN, so nothing of that stops an act that only they can veto. Otherwise an administrator
    /// could keep officers from ever replacing them, with wrong codes of anybody.
    fn objectors(&self, proposal: &Proposal, since: u64, now: u64) -> Result<Objectors, EngineError> {
        if proposal.vetoers().is_empty() {
            return Ok(Objectors { are_free: true, pin: None });
        }
        let mut are_free = !self.is_stopped() && !self.breaker.was_full_since(since);
        for vetoer in proposal.vetoers() {
            let user = self.user_record(&vetoer.name)?;
            let user = user.filter(|user| user.value().factor.key_id() == vetoer.enrolment);
            are_free &= user.is_some_and(|user| {
                let budget = &user.value().budget;
                !budget.is_locked(now) && !budget.was_charged_since(since)
            });
        }
        let pin = self.token_record()?.value().user.as_ref().and_then(|pin| pin.usable_since(since, now));
        Ok(Objectors { are_free: are_free && pin.is_some(), pin })
    }
}
