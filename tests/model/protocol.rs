//! The rules: what is decided, in which order a batch is committed, which store opens; and how each can be got wrong.

use super::state::{Anchor, Code, Engine, Kind, Phase, Records, Request, Slots, State, Step, Store};

/// Threads that call the module.
pub(crate) const CALLERS: usize = 2;
/// Entries that a leader takes at most.
pub(crate) const BATCH: usize = 2;
/// Different transactions that are asked for.
pub(crate) const DIGESTS: u8 = 2;
/// Time steps that have a code, from 1.
pub(crate) const STEPS: Step = 2;
/// The last moment, in steps; the first is 1.
pub(crate) const END: Step = 3;
/// Tries charged and not given back that lock the user.
pub(crate) const BUDGET: u8 = 2;
/// Steps after which the same request is no retry any more.
pub(crate) const RETRY_WINDOW: Step = 1;

/// One step of the leader, after it wrote the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Syncs the store.
    Sync,
    /// Creates the new anchor in the token and reads it back.
    CreateAnchor,
    /// Destroys the other anchors.
    DestroyOld,
}

/// A plausible mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    /// The code is compared as soon as its charge is in the queue.
    ComparesBeforeCharge,
    /// Callers are woken when the batch is written, not synced.
    AnswersBeforeSync,
    /// Callers are woken when the batch is synced, not anchored.
    AnswersBeforeAnchor,
    /// A commit wakes whoever waits, not only its own batch.
    WakesTheQueue,
    /// The anchor moves before the store is synced.
    AnchorsBeforeStore,
    /// The old anchor is destroyed before the new one is created.
    AnchorsInPlace,
    /// A slot that cannot be read keeps the module closed.
    TornSlotCloses,
    /// A store behind its anchor opens.
    OpensOlder,
    /// A store ahead of its anchor opens, whatever its chain goes through.
    RollsForwardBySequence,
    /// A store whose anchor is not found is made anew.
    MissingAnchorIsFirstRun,
    /// A store that is not found, while its anchor is, is made anew.
    MissingStoreIsFirstRun,
    /// After a failed sync only the batch is lost: the queue goes on.
    GoesOnAfterFailedSync,
    /// A failed sync is taken for a sync.
    IgnoresFailedSync,
    /// A right code gives all tries back, not only its own.
    SuccessResetsBudget,
    /// A spent step is retried with whatever digest.
    RetryOfAnyDigest,
    /// A retry is answered from memory, without an entry that waits for what it repeats.
    RetryWithoutEntry,
    /// A retry spends the amount again.
    RetrySpendsAgain,
    /// Entries are queued whatever was written since they were decided.
    NoCompareAndSet,
    /// What was spent is kept in memory only.
    LimitInMemory,
}

/// The protocol, with bounds that make it finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// `None`: the protocol as it is meant.
    pub(crate) flaw: Option<Flaw>,
    /// Amount that may be spent.
    pub(crate) limit: u8,
    /// No request is taken once the chain has so many links.
    pub(crate) links: u8,
    /// How often the module is killed.
    pub(crate) crashes: u8,
    /// Whether the attacker can copy, put back and remove the store.
    pub(crate) attacker: bool,
}

impl Protocol {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// What the leader does with a written batch, in this order.
    pub(crate) fn plan(&self) -> &'static [Commit] {
        use Commit::{CreateAnchor, DestroyOld, Sync};
        match self.flaw {
            Some(Flaw::AnchorsBeforeStore) => &[CreateAnchor, DestroyOld, Sync],
            Some(Flaw::AnchorsInPlace) => &[Sync, DestroyOld, CreateAnchor],
            _ => &[Sync, CreateAnchor, DestroyOld],
        }
    }

    /// How many steps of the plan are done when the callers are woken.
    pub(crate) fn wakes_after(&self) -> u8 {
        match self.flaw {
            Some(Flaw::AnswersBeforeSync) => 0,
            Some(Flaw::AnswersBeforeAnchor) => 1,
            _ => self.plan().len() as u8,
        }
    }

    /// Charges one try, unless the user is locked.
    pub(crate) fn charge(&self, records: Records) -> Option<Records> {
        (records.tries < BUDGET).then_some(Records { tries: records.tries + 1, ..records })
    }

    /// Whether the code of `step` is right at `now`.
    pub(crate) fn is_live(&self, step: Step, now: Step) -> bool {
        step == now || step == now + 1
    }

    /// Whether `request` repeats the one that spent `step`.
    pub(crate) fn is_retry(&self, records: Records, request: Request, now: Step) -> bool {
        request.code == Code::Of(records.last_step)
            && now <= records.spent_at + RETRY_WINDOW
            && records
                .digest
                .is_some_and(|spent_on| spent_on == request.digest || self.has(Flaw::RetryOfAnyDigest))
    }

    /// What to write for a code that was right. `None`: the step was spent on something else.
    pub(crate) fn decide(&self, records: Records, request: Request, now: Step) -> Option<(Kind, Records)> {
        let Code::Of(step) = request.code else { return None };
        let tries = if self.has(Flaw::SuccessResetsBudget) { 0 } else { records.tries.saturating_sub(1) };
        let given_back = Records { tries, ..records };
        if step > records.last_step {
            let spent = Records { last_step: step, digest: None, spent_at: now, ..given_back };
            return Some(if records.spent + 1 > self.limit {
                (Kind::Refuse, spent)
            } else {
                let spent_amount = records.spent + 1;
                (Kind::Consume, Records { digest: Some(request.digest), spent: spent_amount, ..spent })
            });
        }
        let again = u8::from(self.has(Flaw::RetrySpendsAgain));
        let retried = Records { spent: given_back.spent + again, ..given_back };
        self.is_retry(records, request, now).then_some((Kind::Retry, retried))
    }

    /// Holds the store against the anchors. `None`: the module stays closed. Otherwise whether it rolls forward.
    pub(crate) fn judge(&self, store: Option<&Store>, slots: &Slots) -> Option<bool> {
        let (store, anchor) = (store?, slots.newest()?.head);
        if !store.whole || slots.torn && self.has(Flaw::TornSlotCloses) {
            return None;
        }
        if store.head == anchor || store.head.sequence < anchor.sequence && self.has(Flaw::OpensOlder) {
            return Some(false);
        }
        let ahead = store.head.sequence > anchor.sequence;
        let follows = store.previous == Some(anchor) || self.has(Flaw::RollsForwardBySequence);
        (ahead && follows).then_some(true)
    }

    /// Whether the module would open now.
    pub(crate) fn would_open(&self, state: &State) -> bool {
        self.judge(state.disk.store.as_ref(), &state.slots).is_some()
    }

    /// Opens the module, if store and anchors allow it. A token that is away shows no objects, and no error either.
    pub(crate) fn open(&self, state: &mut State, token_away: bool) {
        let slots = if token_away { Slots { anchors: Vec::new(), torn: false } } else { state.slots.clone() };
        let is_first_run = slots.newest().is_none() && self.has(Flaw::MissingAnchorIsFirstRun)
            || state.disk.store.is_none() && self.has(Flaw::MissingStoreIsFirstRun);
        let (store, rolled_forward) = if is_first_run {
            (Store::new(state.openings), false)
        } else {
            let Some(rolled_forward) = self.judge(state.disk.store.as_ref(), &slots) else { return };
            (state.disk.store.expect("only a store that is there is accepted"), rolled_forward)
        };
        let mut newest = store.records;
        if self.has(Flaw::LimitInMemory) {
            newest.spent = 0;
        }
        let synced = self.plan().iter().take_while(|commit| **commit == Commit::Sync).count();
        state.disk.store = Some(store);
        state.slots = slots;
        state.openings += 1;
        state.engine = Some(Engine {
            phase: Phase::Opening { rolled_forward },
            leading: Some(synced as u8),
            newest,
            sequence: store.head.sequence,
            written: Anchor::of(&store),
        });
    }
}
