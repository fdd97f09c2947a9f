//! Logs and counts acts of administration, and counts what becomes of proposed transactions.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use data_encoding::HEXLOWER;

use super::{Engine, EngineError};
use crate::kernel::act::{ActCount, Deed, Outcome};
use crate::kernel::audit::{Answer, Asked, Event, PendingStep};
use crate::kernel::factor::TicketId;
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

/// What became of a proposed transaction. A wrong code says nothing about it.
enum ConsentEvent<'a> {
    Asked,
    Given,
    Refused { user: &'a str, wallet: &'a str, ticket: &'a TicketId },
    Withdrawn,
}

impl<'a> ConsentEvent<'a> {
    const TAGS: [&'static str; 4] =
        ["consent-asked", "consent-given", "consent-refused", "consent-withdrawn"];

    fn of(event: &'a Event) -> Option<ConsentEvent<'a>> {
        match event {
            Event::Consent(step) => Some(match &step.step {
                PendingStep::Proposed { .. } => ConsentEvent::Asked,
                PendingStep::Withdrawn => ConsentEvent::Withdrawn,
                PendingStep::SaidByDevice(word) if word.refuses => {
                    ConsentEvent::Refused { user: &word.user, wallet: &step.wallet, ticket: &step.ticket }
                }
                PendingStep::SaidByPasskey(word) if word.refuses => {
                    ConsentEvent::Refused { user: &word.user, wallet: &step.wallet, ticket: &step.ticket }
                }
                PendingStep::SaidByDevice(_) | PendingStep::SaidByPasskey(_) => ConsentEvent::Given,
            }),
            Event::Tried { codes, asked: Asked::Consent(facts), answer: Answer::Signed } => {
                let user = codes.first().and_then(|code| code.user.as_deref()).unwrap_or_default();
                Some(match facts.refuses {
                    true => ConsentEvent::Refused { user, wallet: &facts.wallet, ticket: &facts.ticket },
                    false => ConsentEvent::Given,
                })
            }
            _ => None,
        }
    }

    fn tag(&self) -> &'static str {
        match self {
            ConsentEvent::Asked => Self::TAGS[0],
            ConsentEvent::Given => Self::TAGS[1],
            ConsentEvent::Refused { .. } => Self::TAGS[2],
            ConsentEvent::Withdrawn => Self::TAGS[3],
        }
    }
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
        if let Some(word) = ConsentEvent::of(event) {
            return self.tell_of_consent(&word);
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

    /// A user who says no was asked for something that they do not want, so somebody should look.
    fn tell_of_consent(&self, event: &ConsentEvent<'_>) {
        if let ConsentEvent::Refused { user, wallet, ticket } = event {
            tracing::warn!(
                "user {user:?} refused a proposed transaction of wallet {wallet:?}, ticket {}",
                HEXLOWER.encode(*ticket)
            );
        }
        let mut counts = self.consent_events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(event.tag()).or_default();
        *count = count.saturating_add(1);
    }

    /// What has become of proposed transactions since the engine was opened, by the audit's name for it.
    pub fn consent_events(&self) -> Vec<(&'static str, u64)> {
        let counts = self.consent_events.lock().unwrap_or_else(PoisonError::into_inner);
        ConsentEvent::TAGS.iter().map(|tag| (*tag, counts.get(tag).copied().unwrap_or(0))).collect()
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
