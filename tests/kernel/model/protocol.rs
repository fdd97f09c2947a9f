//! The rules: what is decided, in which order a batch is committed, which store opens. Each has its possible
//! mistakes.

use super::state::{Anchor, Code, Engine, Kind, Length, Phase, Records, Request, Slots, State, Step, Store};

/// Threads that call the module.
pub(crate) const CALLERS: usize = 2;
/// The most entries that a leader takes.
pub(crate) const BATCH: usize = 2;
/// Different transactions that callers ask for.
pub(crate) const DIGESTS: u8 = 2;
/// Time steps that have a code, from 1.
pub(crate) const STEPS: Step = 2;
/// The last moment, in steps; the first is 1.
pub(crate) const END: Step = 3;
/// Wrong tries that lock the user.
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
    /// A decision is revealed before it is written.
    TellsDecisions,
    /// Whoever sees the writes can tell right codes from wrong ones.
    ShapeTells,
    /// Records are padded to the longest outcome of their own request, by what is in the pending records before them.
    PadsByWhatIsPending,
    /// The answer that the user is locked leaves before the entry that locked them is anchored.
    TellsLocksEarly,
    /// A wrong code is answered without an entry.
    WrongIsNotWritten,
    /// Callers are woken when the batch is written but not synced.
    AnswersBeforeSync,
    /// Callers are woken when the batch is synced but not anchored.
    AnswersBeforeAnchor,
    /// A commit wakes every waiting caller, not only those of its own batch.
    WakesTheQueue,
    /// The anchor moves before the store is synced.
    AnchorsBeforeStore,
    /// The old anchor is destroyed before the new one is created.
    AnchorsInPlace,
    /// An unreadable slot keeps the module closed.
    TornSlotCloses,
    /// A store behind its anchor opens.
    OpensOlder,
    /// A store ahead of its anchor opens, whether or not its chain contains the anchored head.
    RollsForwardBySequence,
    /// A store whose anchor is missing is made again.
    MissingAnchorIsFirstRun,
    /// A missing store is made again, although its anchor is there.
    MissingStoreIsFirstRun,
    /// After a failed sync only the batch is lost, and the queue goes on.
    GoesOnAfterFailedSync,
    /// A failed sync counts as a sync.
    IgnoresFailedSync,
    /// A right code gives wrong tries back.
    SuccessResetsBudget,
    /// A spent step is answered again for any digest.
    RetryOfAnyDigest,
    /// A retry is answered from memory, without an entry that waits for the one it repeats.
    RetryWithoutEntry,
    /// A retry spends the amount again.
    RetrySpendsAgain,
    /// Entries are queued although others were written since they were decided.
    NoCompareAndSet,
    /// The spent amount is kept in memory only.
    LimitInMemory,
    /// Whether something is frozen is asked when a request is decided, and not when it is queued.
    IgnoresFreezesAtCommit,
    /// What is frozen is forgotten when the module is opened.
    FreezesInMemory,
}

/// The protocol, with bounds that make it finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// `None` for the protocol as intended.
    pub(crate) flaw: Option<Flaw>,
    /// The amount that may be spent.
    pub(crate) limit: u8,
    /// No request is accepted once the chain has so many links.
    pub(crate) links: u8,
    /// How often the module is killed.
    pub(crate) crashes: u8,
    /// Whether the attacker can copy, put back and remove the store.
    pub(crate) attacker: bool,
    /// Whether an administrator freezes the wallet, or the user, once.
    pub(crate) freezes: bool,
}

impl Protocol {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The leader's steps for a written batch, in this order.
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

    /// Whether the user is locked.
    pub(crate) fn is_locked(&self, records: Records) -> bool {
        records.tries >= BUDGET
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

    /// The outcome of a request, whatever its code is. The user is not locked.
    pub(crate) fn decide(&self, records: Records, request: Request, now: Step) -> (Kind, Records) {
        if let Code::Of(step) = request.code {
            if step > records.last_step && self.is_live(step, now) {
                let tries = if self.has(Flaw::SuccessResetsBudget) { 0 } else { records.tries };
                let spent = Records { last_step: step, digest: None, spent_at: now, tries, ..records };
                if records.spent + 1 > self.limit {
                    return (Kind::Refuse, spent);
                }
                let spent_amount = records.spent + 1;
                return (
                    Kind::Consume,
                    Records { digest: Some(request.digest), spent: spent_amount, ..spent },
                );
            }
            if self.is_retry(records, request, now) {
                let again = u8::from(self.has(Flaw::RetrySpendsAgain));
                return (Kind::Retry, Records { spent: records.spent + again, ..records });
            }
        }
        (Kind::Wrong, Records { tries: records.tries + 1, ..records })
    }

    /// The length to which the records of the next entry are padded, whatever its outcome is.
    pub(crate) fn padded(&self, shown: Length, content: Length) -> Length {
        if self.has(Flaw::PadsByWhatIsPending) { content.with_charge() } else { shown.with_charge() }
    }

    /// Compares the store with the anchors. `None`: the module stays closed. Otherwise, whether it rolls
    /// forward.
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
        if self.has(Flaw::FreezesInMemory) {
            newest.frozen = false;
        }
        let synced = self.plan().iter().take_while(|commit| **commit == Commit::Sync).count();
        state.disk.store = Some(store);
        state.slots = slots;
        state.openings += 1;
        state.engine = Some(Engine {
            phase: Phase::Opening { rolled_forward },
            leading: Some(synced as u8),
            newest,
            version: store.head.sequence,
            shown: Length::known(store.audit.count()),
            sequence: store.head.sequence,
            written: Anchor::of(&store),
        });
    }
}
