//! The states, the actions, and the mistakes that somebody could make.

use stateright::{Model, Property};

use super::stage::{self, DELAY, Found, Move, Record, THRESHOLD};

pub(crate) const SIGNED: &str = "A1: nothing takes effect without enough officers";
pub(crate) const DELAYED: &str = "A2: nothing takes effect before its delay";
pub(crate) const NOT_VETOED: &str = "A3: nothing takes effect after a veto";
pub(crate) const ONCE: &str = "A4: nothing takes effect twice";
pub(crate) const VALID: &str = "A5: nothing takes effect once its subject was changed";
pub(crate) const CONCERNED: &str = "A6: who was a user within the delay before an act can veto it";

/// The last step of the machine's own clock.
const END: u8 = DELAY + 3;
/// The number of somebody who is no officer.
const STRANGER: usize = 2;
/// Who asks for what: one caller for the act, one for either.
const CALLERS: [&[Deed]; 2] = [&[Deed::CarryOut], &[Deed::Veto, Deed::CarryOut]];

/// A plausible mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// One officer is enough.
    LowerThreshold,
    /// Nobody asks how much delay was credited.
    IgnoresDelay,
    /// The run of the boundary has the same name after a kill.
    OneRunForAll,
    /// Delay is credited by the clock that somebody can set.
    CreditsTheWallClock,
    /// What was decided is written although something else was written meanwhile.
    NoCompareAndSet,
    /// A veto is answered before it is written.
    VetoInMemory,
    /// The commit that does the act neither closes the proposal nor compares what is in force.
    LeavesNoRecord,
    /// A store behind its anchor opens.
    OpensOlder,
    /// A restored store is in the epoch of its copy.
    NoEpoch,
    /// Nobody asks whether the subject was changed and put back.
    ForgetsChanges,
    /// Time counts although users cannot log in.
    IgnoresThePin,
    /// Time counts if users can log in at its ends, whatever was in between.
    ForgetsThePin,
    /// Only those who are users when the act is proposed may veto it.
    OnlyPresentUsers,
}

/// The protocol, with bounds that make it finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// `None` for the protocol as intended.
    pub(crate) flaw: Option<Flaw>,
    /// How often the process is killed.
    pub(crate) deaths: u8,
    /// How often the wall clock is set ahead.
    pub(crate) jumps: u8,
    /// Whether somebody copies the store and puts it back, once.
    pub(crate) attacker: bool,
    /// How often the administrator changes the subject, or puts it back.
    pub(crate) changes: u8,
    /// How often the administrator declares the users' PIN lost.
    pub(crate) losses: u8,
    /// Whether the administrator may have taken the user off the wallet before.
    pub(crate) taken_off: bool,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Store {
    /// Names the newest commit among all that were ever made, and the one before it.
    head: u8,
    previous: u8,
    record: Record,
    /// The commit that wrote the record.
    version: u8,
    /// Whether the newest commit did the act.
    does: bool,
    /// Whether the act's subject is as it was when the act was written.
    is_as_before: bool,
    /// The commit that wrote the subject.
    subject: u8,
    epoch: u8,
}

/// A decision that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Decision {
    by: Deed,
    record: Record,
    version: u8,
    /// The subject that the act replaces.
    subject: u8,
}

/// What a caller can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    Veto,
    CarryOut,
}

/// What really happened, which no engine sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    /// Steps in which the engine was open after enough officers had signed.
    waited: u8,
    is_vetoed: bool,
    times: u8,
    /// Users could not log in at some moment since the last tick.
    was_shut: bool,
    is_void: bool,
    /// Steps from when the user was taken off the wallet until the act was proposed; none if nobody was.
    taken_off: Option<u8>,
    was_unsigned: bool,
    was_early: bool,
    was_vetoed: bool,
    was_void: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    store: Store,
    /// The commit that the token remembers.
    anchored: u8,
    commits: u8,
    copy: Option<Store>,
    is_put_back: bool,
    /// The run of the engine, if it is open.
    run: Option<u8>,
    deaths: u8,
    /// Steps by the machine's own clock, and by how many the wall clock is ahead.
    at: u8,
    ahead: u8,
    /// A veto that was answered before it was written.
    veto_in_memory: bool,
    /// The number of the users' PIN, unless it is lost, and how often it was.
    pin: Option<u8>,
    losses: u8,
    changes: u8,
    decisions: [Option<Decision>; 2],
    truth: Truth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Sign(usize),
    Decide(usize, Deed),
    Commit(usize),
    CommitAndDie(usize),
    Pass,
    Jump,
    Die,
    Open,
    Copy,
    PutBack,
    Accept,
    Change,
    LosePin,
    SetPin,
}

impl Protocol {
    /// The act, just proposed.
    fn proposed(&self, taken_off: Option<u8>) -> State {
        let counted = if self.has(Flaw::OnlyPresentUsers) { taken_off.map(|_| u8::MAX) } else { taken_off };
        let store = Store {
            head: 0,
            previous: 0,
            record: stage::proposed(self.has(Flaw::LowerThreshold), counted),
            version: 0,
            does: false,
            is_as_before: true,
            subject: 0,
            epoch: 0,
        };
        State {
            store,
            anchored: 0,
            commits: 0,
            copy: None,
            is_put_back: false,
            run: Some(0),
            deaths: 0,
            at: 0,
            ahead: 0,
            veto_in_memory: false,
            pin: Some(0),
            losses: 0,
            changes: 0,
            decisions: [None, None],
            truth: Truth { taken_off, ..Truth::default() },
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn found(&self, state: &State) -> Found {
        Found {
            epoch: state.store.epoch,
            is_as_before: state.store.is_as_before || self.has(Flaw::LeavesNoRecord),
            subject: if self.has(Flaw::LeavesNoRecord) || self.has(Flaw::ForgetsChanges) {
                0
            } else {
                state.store.subject
            },
            now: state.at + state.ahead,
            lower_threshold: self.has(Flaw::LowerThreshold),
        }
    }

    /// The record after a veto or the act, if the kernel allows it.
    fn decided(&self, state: &State, by: Deed) -> Option<Record> {
        let (record, found) = (state.store.record, self.found(state));
        match by {
            Deed::Veto => stage::moved(record, found, Move::Veto),
            Deed::CarryOut if state.veto_in_memory => None,
            Deed::CarryOut if self.has(Flaw::IgnoresDelay) && stage::signed(record) >= THRESHOLD => {
                state.store.is_as_before.then_some(record)
            }
            Deed::CarryOut => stage::moved(record, found, Move::CarryOut),
        }
    }

    /// Writes a record, without moving the anchor.
    fn write(&self, state: &mut State, record: Record, does: bool) {
        state.commits += 1;
        let (head, previous) = (state.commits, state.store.head);
        let is_as_before = state.store.is_as_before && !does;
        let record = if does && self.has(Flaw::LeavesNoRecord) { state.store.record } else { record };
        let subject = if does { head } else { state.store.subject };
        let epoch = state.store.epoch;
        state.store = Store { head, previous, record, version: head, does, is_as_before, subject, epoch };
    }

    /// Writes a decision, if nothing else came first.
    fn commit(&self, state: &mut State, caller: usize) -> Option<Deed> {
        let Decision { by, record, version, subject } = state.decisions[caller].take()?;
        // The act writes its subject, and a veto does not.
        let is_overtaken =
            version != state.store.version || (by == Deed::CarryOut && subject != state.store.subject);
        if is_overtaken && !self.has(Flaw::NoCompareAndSet) {
            return None;
        }
        self.write(state, record, by == Deed::CarryOut);
        Some(by)
    }
}

impl State {
    /// The token remembers the newest commit: from here on it counts.
    fn anchor(&mut self) {
        if self.anchored == self.store.head {
            return;
        }
        self.anchored = self.store.head;
        if self.store.does {
            let Truth { waited, is_vetoed, is_void, .. } = self.truth;
            self.truth.times += 1;
            self.truth.was_unsigned |= stage::signed(self.store.record) < THRESHOLD;
            self.truth.was_early |= waited < DELAY;
            self.truth.was_vetoed |= is_vetoed;
            self.truth.was_void |= is_void;
        }
    }

    fn die(&mut self) {
        (self.run, self.decisions, self.veto_in_memory) = (None, [None, None], false);
        self.deaths += 1;
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        // The user was taken off the wallet so many steps before the act was proposed, or is one of its users still.
        let taken_off = [None, Some(0), Some(DELAY), Some(DELAY + 1)];
        let taken_off = if self.taken_off { &taken_off[..] } else { &taken_off[..1] };
        taken_off.iter().map(|taken_off| self.proposed(*taken_off)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // A decision may wait for one step, and not only behind another one.
        if state.at < END && state.decisions.iter().any(Option::is_none) {
            actions.push(Action::Pass);
        }
        if state.ahead < self.jumps {
            actions.push(Action::Jump);
        }
        if state.run.is_some() {
            // The first officer signs again, too, and a stranger. Which officer signs first makes no difference.
            actions.extend([0, STRANGER].map(Action::Sign));
            if stage::signed(state.store.record) > 0 {
                actions.push(Action::Sign(1));
            }
            for (caller, deeds) in CALLERS.into_iter().enumerate() {
                match &state.decisions[caller] {
                    None => actions.extend(deeds.iter().map(|deed| Action::Decide(caller, *deed))),
                    Some(_) => {
                        actions.push(Action::Commit(caller));
                        if state.deaths < self.deaths {
                            actions.push(Action::CommitAndDie(caller));
                        }
                    }
                }
            }
            if state.deaths < self.deaths {
                actions.push(Action::Die);
            }
            if state.changes < self.changes {
                actions.push(Action::Change);
            }
            match state.pin {
                Some(_) if state.losses < self.losses => actions.push(Action::LosePin),
                Some(_) => {}
                None => actions.push(Action::SetPin),
            }
        } else {
            actions.extend([Action::Open, Action::Accept]);
        }
        if self.attacker {
            actions.extend([Action::Copy, Action::PutBack]);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Sign(officer) => {
                let next = stage::moved(state.store.record, self.found(&state), Move::Sign(officer))?;
                self.write(&mut state, next, false);
                state.anchor();
            }
            Action::Decide(caller, by) => {
                let record = self.decided(&state, by)?;
                if by == Deed::Veto && self.has(Flaw::VetoInMemory) {
                    (state.veto_in_memory, state.truth.is_vetoed) = (true, true);
                }
                let Store { version, subject, .. } = state.store;
                state.decisions[caller] = Some(Decision { by, record, version, subject });
            }
            Action::Commit(caller) => {
                let by = self.commit(&mut state, caller);
                state.anchor();
                state.truth.is_vetoed |= by == Some(Deed::Veto);
            }
            Action::CommitAndDie(caller) => {
                self.commit(&mut state, caller)?;
                state.die();
            }
            Action::Pass => {
                let had_enough = stage::signed(state.store.record) >= THRESHOLD;
                state.at += 1;
                let run = state.run;
                if let Some(run) = run {
                    let is_shut = core::mem::replace(&mut state.truth.was_shut, state.pin.is_none());
                    state.truth.waited += u8::from(had_enough && !is_shut);
                    let wall = state.at + state.ahead;
                    let boot = if self.has(Flaw::CreditsTheWallClock) { wall } else { state.at };
                    let run = if self.has(Flaw::OneRunForAll) { 0 } else { run };
                    let pin = match state.pin {
                        _ if self.has(Flaw::IgnoresThePin) => Some(0),
                        Some(_) if self.has(Flaw::ForgetsThePin) => Some(0),
                        pin => pin,
                    };
                    let credit = Move::Credit { run, wall, boot, pin };
                    let credited = stage::moved(state.store.record, self.found(&state), credit);
                    if let Some(next) = credited.filter(|next| *next != state.store.record) {
                        self.write(&mut state, next, false);
                        state.anchor();
                    }
                }
            }
            Action::Jump => state.ahead += 1,
            Action::Change => {
                let is_as_before = !state.store.is_as_before;
                let record = state.store.record;
                self.write(&mut state, record, false);
                // The proposal's record is none of those that this writes.
                state.store.version = before.store.version;
                (state.store.is_as_before, state.store.subject) = (is_as_before, state.store.head);
                state.changes += 1;
                state.truth.is_void = true;
                state.anchor();
            }
            Action::LosePin => {
                (state.pin, state.truth.was_shut) = (None, true);
                state.losses += 1;
            }
            Action::SetPin => state.pin = Some(state.losses),
            Action::Die => state.die(),
            Action::Open => {
                let (head, previous) = (state.store.head, state.store.previous);
                if head != state.anchored && previous != state.anchored && !self.has(Flaw::OpensOlder) {
                    return None;
                }
                state.anchor();
                state.run = Some(state.deaths);
            }
            Action::Copy => {
                if state.copy.is_some() || state.is_put_back {
                    return None;
                }
                state.copy = Some(state.store.clone());
            }
            Action::PutBack => {
                if state.run.is_some() {
                    return None;
                }
                state.store = state.copy.take()?;
                state.is_put_back = true;
            }
            Action::Accept => {
                if state.store.head == state.anchored || state.store.previous == state.anchored {
                    return None;
                }
                let epoch = state.store.epoch + u8::from(!self.has(Flaw::NoEpoch));
                let record = state.store.record;
                self.write(&mut state, record, false);
                state.store.epoch = epoch;
                state.anchor();
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::always(SIGNED, |_, state: &State| !state.truth.was_unsigned),
            Property::always(DELAYED, |_, state: &State| !state.truth.was_early),
            Property::always(NOT_VETOED, |_, state: &State| !state.truth.was_vetoed),
            Property::always(ONCE, |_, state: &State| state.truth.times <= 1),
            Property::always(VALID, |_, state: &State| !state.truth.was_void),
            Property::always(CONCERNED, |_, state: &State| {
                let is_concerned = state.truth.taken_off.is_none_or(|steps| steps <= DELAY);
                stage::can_veto(state.store.record) == is_concerned
            }),
            Property::sometimes("an act takes effect", |_, state: &State| state.truth.times == 1),
            Property::sometimes("an act is vetoed", |_, state: &State| state.truth.is_vetoed),
            Property::sometimes("a kill costs delay", |protocol: &Protocol, state: &State| {
                protocol.attacker || protocol.deaths == 0 || (state.deaths > 0 && state.truth.times == 1)
            }),
        ]
    }
}
