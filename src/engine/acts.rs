//! Logs and counts acts of administration.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Engine, EngineError};
use crate::kernel::act::{ActCount, Deed, Outcome};
use crate::kernel::audit::Event;
use crate::kernel::receipt::{Batch, Committed};

/// An act of administration under way.
#[must_use = "an act that is dropped was refused"]
pub(crate) struct Attempt<'a> {
    engine: &'a Engine,
    act: &'static str,
    refused: bool,
}

impl Attempt<'_> {
    /// Records that it was done.
    pub(crate) fn done(mut self) {
        self.refused = false;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.refused {
            self.engine.count_act(self.act, Outcome::Refused);
        }
    }
}

fn initialises(event: &Event) -> bool {
    event.act().is_some_and(|act| act.deed == Deed::Initialised)
}

/// The counts by kind and outcome.
pub(super) type Counts = BTreeMap<(&'static str, Outcome), u64>;

impl Engine {
    /// Commits a batch. An act of administration is logged once it is durable. It is refused if the audit
    /// could not keep it whole.
    pub(crate) fn commit_batch<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, EngineError> {
        if batch.event.act().is_some_and(|act| !act.is_bounded()) {
            let most = crate::kernel::act::MAX_ACT_LEN;
            return Err(EngineError::Parameter(format!(
                "policy and descriptor together have more than the {most} bytes that one act may have in the audit: shorten the \
                 policy, or name fewer places for each key in the wallet policy"
            )));
        }
        let committed = match self.ledger.get() {
            Some(ledger) => ledger.commit(batch)?,
            None if initialises(&batch.event) => self.create(batch)?,
            None => return Err(EngineError::NotInitialised),
        };
        self.tell(&batch.event);
        Ok(committed)
    }

    /// Logs what was done, if it was an act of administration.
    fn tell(&self, event: &Event) {
        if let Event::Proposal(step) = event {
            tracing::warn!("administration: {step}");
            return self.count_act(step.step.tag(), Outcome::Tightened);
        }
        if let Event::Decided(decided) = event {
            tracing::warn!("administration: {} officers decided what follows", decided.officers.len());
        }
        let Some(act) = event.act() else { return };
        let outcome = if act.tightens() {
            tracing::info!("administration: {act}");
            Outcome::Tightened
        } else {
            tracing::warn!("administration: {act}");
            Outcome::Loosened
        };
        self.count_act(act.deed.tag(), outcome);
    }

    /// Begins an act of administration, which counts as refused unless it is marked as done. The caller that
    /// answers logs the reason.
    pub(crate) fn attempt(&self, act: &'static str) -> Attempt<'_> {
        Attempt { engine: self, act, refused: true }
    }

    /// Counts an administrator's call that came through the backends' door.
    pub(crate) fn refused_at_the_door(&self) {
        self.count_act("by-backend", Outcome::Refused);
    }

    fn count_act(&self, act: &'static str, outcome: Outcome) {
        let mut counts = self.acts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((act, outcome)).or_default();
        *count = count.saturating_add(1);
    }

    /// The acts of administration since the engine was opened, by kind and outcome, and all restorations of
    /// its store.
    pub fn act_counts(&self) -> Vec<ActCount> {
        let counts = self.acts.lock().unwrap_or_else(PoisonError::into_inner);
        let done = counts.iter().map(|((act, outcome), count)| ActCount {
            act: (*act).into(),
            outcome: *outcome,
            count: *count,
        });
        let restored = self.epoch().number.into();
        done.chain([ActCount { act: "restored".into(), outcome: Outcome::Loosened, count: restored }])
            .collect()
    }
}
