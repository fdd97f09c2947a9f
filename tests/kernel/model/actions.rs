//! What can happen, one atomic step at a time.

use stateright::{Model, Property};

use super::properties;
use super::protocol::{BATCH, Commit, DIGESTS, END, Flaw, Protocol, STEPS};
use super::state::{
    Anchor, Caller, Code, Engine, Entry, Head, Kind, Length, Phase, Records, Request, State, Store,
};

/// An action. Its number is that of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A caller asks for a signature, and the outcome is decided.
    Ask(Request),
    /// The decision is queued, or made again.
    Enqueue(usize),
    /// The answer leaves.
    Answer(usize),
    /// The answer that the user is locked leaves.
    TellLocked(usize),
    /// The administrator, who is a caller, too, freezes: it is queued.
    Freeze,
    /// A caller finds no leader, leads, and writes a batch.
    Lead,
    /// The leader, or the opening, does the next step of the plan.
    Advance,
    /// That step fails. If it was to create an anchor, it may leave an unreadable one.
    Fail { torn: bool },
    /// The module is killed; an unsynced batch is kept or lost, an anchor may be torn.
    Crash { kept: bool, torn: bool },
    /// The module is opened.
    Open { token_away: bool },
    /// Time passes.
    Tick,
    /// The attacker copies the store, including what is not synced.
    Copy,
    /// The attacker puts the copy back.
    Restore,
    /// The attacker removes the store.
    Remove,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < END {
            actions.push(Action::Tick);
        }
        match &state.engine {
            Some(engine) => self.actions_of_engine(state, engine, actions),
            None => {
                actions.extend([false, true].map(|token_away| Action::Open { token_away }));
                if self.attacker && !state.tampered {
                    actions.push(Action::Remove);
                    if state.copy.is_some() {
                        actions.push(Action::Restore);
                    }
                }
            }
        }
        if self.attacker && !state.tampered && state.copy.is_none() {
            actions.push(Action::Copy);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Ask(request) => self.ask(&mut state, request)?,
            Action::Enqueue(caller) => self.enqueue(&mut state, caller)?,
            Action::Answer(caller) => answer(&mut state, caller),
            Action::TellLocked(caller) => state.callers[caller] = Caller::Idle,
            Action::Freeze => freeze(&mut state)?,
            Action::Lead => self.lead(&mut state)?,
            Action::Advance => self.advance(&mut state)?,
            Action::Fail { torn } => self.fail(&mut state, torn)?,
            Action::Crash { kept, torn } => crash(&mut state, kept, torn),
            Action::Open { token_away } => self.open(&mut state, token_away),
            Action::Tick => state.now += 1,
            Action::Copy => state.copy = state.disk.unsynced.or(state.disk.store),
            Action::Restore => {
                // Putting back what is there already is no attack.
                let copy = state.copy.take().filter(|copy| last.disk.store != Some(*copy))?;
                state.disk.store = Some(copy);
                state.tampered = true;
            }
            Action::Remove => {
                (state.disk.store, state.copy) = (None, None);
                state.tampered = true;
            }
        }
        // Callers are alike, so one order of them stands for all.
        state.callers.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties::all(self)
    }
}

impl Protocol {
    fn actions_of_engine(&self, state: &State, engine: &Engine, actions: &mut Vec<Action>) {
        let creates = self.next_step(engine) == Some(Commit::CreateAnchor);
        if state.crashes < self.crashes {
            for kept in [false, true] {
                for torn in [false, true] {
                    if (!kept || state.disk.unsynced.is_some()) && (!torn || creates) {
                        actions.push(Action::Crash { kept, torn });
                    }
                }
            }
        }
        if engine.leading.is_some() {
            actions.push(Action::Advance);
            if engine.phase == Phase::Serving {
                actions.push(Action::Fail { torn: false });
                if creates {
                    actions.push(Action::Fail { torn: true });
                }
            }
        } else if engine.phase == Phase::Serving && state.queued().next().is_some() {
            actions.push(Action::Lead);
        }
        for (number, caller) in state.callers.iter().enumerate() {
            match caller {
                Caller::Woken { .. } => actions.push(Action::Answer(number)),
                Caller::Decided { .. } => actions.push(Action::Enqueue(number)),
                Caller::Settling { sequence } if *sequence <= state.anchored.sequence => {
                    actions.push(Action::TellLocked(number));
                }
                Caller::Idle | Caller::Waiting { .. } | Caller::Settling { .. } => {}
            }
        }
        let takes = engine.phase == Phase::Serving && engine.sequence < self.links;
        if takes && state.callers.contains(&Caller::Idle) {
            if self.freezes && !engine.newest.frozen {
                actions.push(Action::Freeze);
            }
            actions.push(Action::Ask(Request { code: Code::Wrong, digest: 0 }));
            for step in 1..=STEPS {
                let asks = |digest| Action::Ask(Request { code: Code::Of(step), digest });
                actions.extend((0..digests(state, engine)).map(asks));
            }
        }
    }

    fn next_step(&self, engine: &Engine) -> Option<Commit> {
        self.plan().get(usize::from(engine.leading?)).copied()
    }

    fn ask(&self, state: &mut State, request: Request) -> Option<()> {
        let engine = state.engine?;
        let caller = state.callers.iter().position(|caller| *caller == Caller::Idle)?;
        // A user who is locked or frozen by anchored entries is refused, and nothing changes.
        let is_refused = self.is_locked(engine.newest) || engine.newest.frozen;
        if is_refused && engine.sequence <= state.anchored.sequence {
            return None;
        }
        state.callers[caller] = self.decided(state, &engine, request, false);
        Some(())
    }

    /// The caller's next state, judged by the newest records.
    fn decided(&self, state: &mut State, engine: &Engine, request: Request, known: bool) -> Caller {
        if self.is_locked(engine.newest) {
            if self.has(Flaw::TellsLocksEarly) {
                learn(state, |caller| matches!(caller, Caller::Waiting { .. }));
                return Caller::Idle;
            }
            return Caller::Settling { sequence: engine.sequence };
        }
        if engine.newest.frozen {
            return Caller::Settling { sequence: engine.sequence };
        }
        let (kind, after) = self.decide(engine.newest, request, state.now);
        if kind == Kind::Retry && self.has(Flaw::RetryWithoutEntry)
            || kind == Kind::Wrong && self.has(Flaw::WrongIsNotWritten)
        {
            return Caller::Woken { request, kind, known: false };
        }
        let tells = self.has(Flaw::TellsDecisions);
        state.wrong += u8::from(tells && !known && kind == Kind::Wrong);
        Caller::Decided { request, kind, after, version: engine.version, known: known || tells }
    }

    fn enqueue(&self, state: &mut State, caller: usize) -> Option<()> {
        let content = state.content();
        let engine = state.engine.as_mut()?;
        let Caller::Decided { request, kind, after, version, known } = state.callers[caller] else {
            return None;
        };
        state.callers[caller] = if engine.phase == Phase::Closed {
            Caller::Idle
        } else if version == engine.version
            && (!engine.newest.frozen || self.has(Flaw::IgnoresFreezesAtCommit))
            || self.has(Flaw::NoCompareAndSet)
        {
            let padded = self.padded(engine.shown, content);
            queue(engine, request, (kind, after, padded), known)
        } else {
            let engine = *engine;
            self.decided(state, &engine, request, known)
        };
        Some(())
    }

    fn lead(&self, state: &mut State) -> Option<()> {
        let mut queued: Vec<u8> = state.queued().collect();
        queued.sort_unstable();
        queued.truncate(BATCH);
        let newest = *queued.last()?;
        for caller in &mut state.callers {
            if let Caller::Waiting { entry, in_batch, .. } = caller {
                *in_batch = entry.sequence <= newest;
            }
        }
        let (before, opening) = (state.disk.store?, state.openings);
        let mut audit = before.audit;
        for (request, entry) in state.batch() {
            if let (Code::Of(step), Kind::Consume) = (request.code, entry.kind) {
                audit.add(step, request.digest);
            }
        }
        let records = state.batch().max_by_key(|(_, entry)| entry.sequence)?.1.after;
        let engine = state.engine.as_mut()?;
        let head = Head { sequence: newest, opening };
        let whole = before.whole && before.head == engine.written.head;
        let previous = Some(engine.written.head);
        let written = Store { head, previous, whole, records, audit };
        state.disk.unsynced = Some(written);
        (engine.written, engine.leading) = (Anchor::of(&written), Some(0));
        if self.has(Flaw::ShapeTells) {
            learn(state, |caller| matches!(caller, Caller::Waiting { in_batch: true, .. }));
        }
        // Of several versions of a record the batch has only the newest one. Its length may depend on the outcomes before
        // its own.
        let of_records = |(_, entry): &(Request, Entry)| entry.kind != Kind::Freeze;
        if let Some((_, last)) = state.batch().filter(of_records).max_by_key(|(_, entry)| entry.sequence)
            && last.padded.tells()
        {
            learn(state, |caller| match caller {
                Caller::Waiting { entry, in_batch, .. } => *in_batch && entry.sequence < last.sequence,
                _ => false,
            });
        }
        if self.wakes_after() == 0 {
            self.wake(state);
        }
        Some(())
    }

    fn advance(&self, state: &mut State) -> Option<()> {
        let engine = state.engine.as_mut()?;
        let step = self.next_step(engine)?;
        let done = engine.leading? + 1;
        engine.leading = (usize::from(done) < self.plan().len()).then_some(done);
        if engine.leading.is_none() {
            engine.phase = Phase::Serving;
        }
        let anchor = engine.written;
        match step {
            Commit::Sync => state.disk.store = state.disk.unsynced.take().or(state.disk.store),
            Commit::CreateAnchor => {
                state.slots.create(anchor);
                state.anchored = anchor.head;
                if engine.version <= anchor.head.sequence {
                    engine.shown = Length::known(anchor.audit.count());
                }
                // From now on, the lengths of later writes may tell.
                learn(state, |caller| matches!(caller, Caller::Waiting { in_batch: true, .. }));
            }
            Commit::DestroyOld => state.slots.destroy_all_but(anchor),
        }
        if done == self.wakes_after() {
            self.wake(state);
        }
        Some(())
    }

    fn wake(&self, state: &mut State) {
        for caller in &mut state.callers {
            if let Caller::Waiting { request, entry, in_batch, known } = *caller
                && (in_batch || self.has(Flaw::WakesTheQueue))
            {
                *caller = Caller::Woken { request, kind: entry.kind, known };
            }
        }
    }

    fn fail(&self, state: &mut State, torn: bool) -> Option<()> {
        let engine = state.engine.as_mut()?;
        let syncs = self.next_step(engine) == Some(Commit::Sync);
        if syncs && self.has(Flaw::IgnoresFailedSync) {
            // The kernel has dropped the pages, so trying the sync again finds nothing to do.
            (state.disk.unsynced, engine.leading) = (None, Some(engine.leading? + 1));
            return Some(());
        }
        let goes_on = syncs && self.has(Flaw::GoesOnAfterFailedSync);
        for caller in &mut state.callers {
            if let Caller::Waiting { in_batch, .. } = caller
                && (*in_batch || !goes_on)
            {
                *caller = Caller::Idle;
            }
        }
        engine.leading = None;
        if goes_on {
            state.disk.unsynced = None;
        } else {
            engine.phase = Phase::Closed;
            state.slots.torn |= torn;
        }
        Some(())
    }
}

/// How many digests there are to choose from. The first one that anybody sees may as well be number 0.
fn digests(state: &State, engine: &Engine) -> u8 {
    let is_idle = state.callers.iter().all(|caller| *caller == Caller::Idle);
    let is_unspent = engine.newest.last_step == 0 && state.signed.count() == 0;
    let is_first = is_idle && is_unspent && state.copy.is_none_or(|copy| copy.audit.count() == 0);
    if is_first { 1 } else { DIGESTS }
}

/// Gives an entry the next place in the chain. From here on, others read its change.
fn queue(
    engine: &mut Engine,
    request: Request,
    (kind, after, padded): (Kind, Records, Length),
    known: bool,
) -> Caller {
    engine.sequence += 1;
    if kind == Kind::Freeze {
        engine.newest.frozen = true;
    } else {
        // The freeze has a record of its own: no other entry writes it.
        (engine.newest, engine.version, engine.shown) =
            (Records { frozen: engine.newest.frozen, ..after }, engine.sequence, padded);
    }
    let after = engine.newest;
    let entry = Entry { sequence: engine.sequence, kind, after, padded };
    Caller::Waiting { request, entry, in_batch: false, known }
}

/// The batch expects that there is no record of the freeze yet, and no version of any other record.
fn freeze(state: &mut State) -> Option<()> {
    let caller = state.callers.iter().position(|caller| *caller == Caller::Idle)?;
    let engine = state.engine.as_mut()?;
    let nothing = Request { code: Code::Wrong, digest: 0 };
    let write = (Kind::Freeze, engine.newest, engine.shown);
    state.callers[caller] = queue(engine, nothing, write, true);
    Some(())
}

/// An observer learns the outcome of these callers' requests.
fn learn(state: &mut State, of: impl Fn(&Caller) -> bool) {
    for caller in &mut state.callers {
        if of(caller)
            && let Caller::Waiting { entry, known, .. } = caller
        {
            state.wrong += u8::from(entry.kind == Kind::Wrong && !*known);
            *known = true;
        }
    }
}

fn answer(state: &mut State, caller: usize) {
    if let Caller::Woken { request, kind, known } = state.callers[caller] {
        state.wrong += u8::from(kind == Kind::Wrong && !known);
        state.frozen |= kind == Kind::Freeze;
        if let (Code::Of(step), Kind::Consume | Kind::Retry) = (request.code, kind) {
            state.signed.add(step, request.digest);
        }
    }
    state.callers[caller] = Caller::Idle;
}

fn crash(state: &mut State, kept: bool, torn: bool) {
    state.engine = None;
    state.callers.fill(Caller::Idle);
    let unsynced = state.disk.unsynced.take();
    if kept {
        state.disk.store = unsynced.or(state.disk.store);
    }
    state.slots.torn |= torn;
    state.crashes += 1;
}
