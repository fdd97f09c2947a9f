//! The properties that always hold, and those that can happen.

use stateright::Property;

use super::protocol::{BUDGET, Protocol, STEPS};
use super::state::{Caller, Code, Kind, Phase, State, Store};

pub(crate) const ONE_DIGEST: &str = "M1: one step signs one digest";
pub(crate) const LIMIT: &str = "M2: the limit holds";
pub(crate) const GUESSES: &str = "M3: no more is learned of wrong codes than the budget allows";
pub(crate) const DURABLE: &str = "M4: what was signed is durable and anchored";
pub(crate) const OPENS: &str = "M5: after a crash the module opens";
pub(crate) const FRESH: &str = "M6: an older store never opens";
pub(crate) const ONCE: &str = "M7: a signature is spent once";
pub(crate) const FROZEN: &str = "M8: nothing comes of a request behind a freeze, and a freeze stays";

/// All properties that can show within the bounds of `protocol`.
pub(crate) fn all(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always(ONE_DIGEST, |_, state: &State| !state.signed.is_doubled()),
        Property::always(LIMIT, |protocol: &Protocol, state: &State| state.signed.count() <= protocol.limit),
        Property::always(GUESSES, |_, state: &State| state.wrong <= BUDGET),
        Property::always(DURABLE, is_durable),
        Property::always(OPENS, opens),
        Property::always(FRESH, is_fresh),
        Property::always(ONCE, is_spent_once),
        Property::always(FROZEN, is_frozen),
        Property::sometimes("a signature leaves", |_, state: &State| state.signed.count() > 0),
        Property::sometimes("the same signature leaves again", |_, state: &State| {
            woken(state, Kind::Retry, |step, digest| {
                let mut again = state.signed;
                again.add(step, digest);
                again == state.signed
            })
        }),
        Property::sometimes("a signature whose answer was lost leaves", |_, state: &State| {
            let alone = state.callers.contains(&Caller::Idle);
            alone && state.signed.count() == 0 && woken(state, Kind::Retry, |_, _| true)
        }),
        Property::sometimes("the user is locked", |_, state: &State| {
            let idle = state.callers.iter().all(|caller| *caller == Caller::Idle);
            idle && state.engine.is_some_and(|engine| engine.newest.tries == BUDGET)
        }),
        Property::sometimes("a lock waits for what locked the user", |_, state: &State| {
            state.callers.iter().any(|caller| matches!(caller, Caller::Settling { .. }))
        }),
        Property::sometimes("two entries commit as one batch", |_, state: &State| state.batch().count() == 2),
        Property::sometimes("a decision meets a newer version", |_, state: &State| {
            state.callers.iter().any(|caller| match *caller {
                Caller::Decided { version, .. } => {
                    state.engine.is_some_and(|engine| version != engine.version)
                }
                _ => false,
            })
        }),
        Property::sometimes("a store rolls forward", |_, state: &State| {
            state.engine.is_some_and(|engine| engine.phase == Phase::Opening { rolled_forward: true })
        }),
        Property::sometimes("a torn anchor is beside a readable one", |_, state: &State| {
            state.engine.is_none() && state.slots.torn && state.slots.newest().is_some()
        }),
        Property::sometimes("a failed commit closes the module", |_, state: &State| {
            state.engine.is_some_and(|engine| engine.phase == Phase::Closed)
        }),
    ];
    if protocol.limit < STEPS {
        all.push(Property::sometimes("the limit refuses", |_, state: &State| {
            woken(state, Kind::Refuse, |_, _| true)
        }));
    } else {
        all.push(Property::sometimes("two transactions are signed", |_, state: &State| {
            state.signed.count() == STEPS
        }));
    }
    if protocol.freezes {
        all.push(Property::sometimes("a decision meets a freeze", |_, state: &State| {
            let is_decided = |caller: &Caller| matches!(caller, Caller::Decided { .. });
            state.engine.is_some_and(|engine| engine.newest.frozen) && state.callers.iter().any(is_decided)
        }));
        all.push(Property::sometimes("what is frozen opens", |_, state: &State| {
            state
                .engine
                .is_some_and(|engine| matches!(engine.phase, Phase::Opening { .. }) && engine.newest.frozen)
        }));
    }
    if protocol.attacker {
        all.push(Property::sometimes("an old copy keeps the module closed", |protocol, state: &State| {
            state.engine.is_none() && state.disk.store.is_some() && !protocol.would_open(state)
        }));
        all.push(Property::sometimes("a copy of a batch that was lost opens", |_, state: &State| {
            state.engine.is_some() && state.tampered
        }));
    }
    all
}

/// Whether a caller was woken with such an entry for such a step and digest.
fn woken(state: &State, wanted: Kind, is: impl Fn(u8, u8) -> bool) -> bool {
    state.callers.iter().any(|caller| match caller {
        Caller::Woken { request, kind, .. } if *kind == wanted => match request.code {
            Code::Of(step) => is(step, request.digest),
            Code::Wrong => false,
        },
        _ => false,
    })
}

fn is_durable(_: &Protocol, state: &State) -> bool {
    let stored = |store: Store| state.signed.within(store.audit);
    (state.tampered || state.disk.store.is_some_and(stored))
        && state.slots.newest().is_some_and(|anchor| state.signed.within(anchor.audit))
}

fn opens(protocol: &Protocol, state: &State) -> bool {
    state.engine.is_some() || state.tampered || protocol.would_open(state)
}

fn is_fresh(_: &Protocol, state: &State) -> bool {
    match (state.engine, state.disk.store) {
        (Some(engine), Some(store)) if matches!(engine.phase, Phase::Opening { .. }) => {
            store.head == state.anchored || store.previous == Some(state.anchored)
        }
        _ => true,
    }
}

/// Of what is queued or committed behind a freeze nothing is a request; and the module that tells that it is frozen opens as frozen.
fn is_frozen(_: &Protocol, state: &State) -> bool {
    let is_behind = |caller: &Caller| match caller {
        Caller::Waiting { entry, .. } => entry.after.frozen && entry.kind != Kind::Freeze,
        _ => false,
    };
    let stays = !state.frozen
        || state.tampered
        || state.disk.store.is_some_and(|store| store.records.frozen)
            && state.engine.is_none_or(|engine| engine.newest.frozen);
    !state.callers.iter().any(is_behind) && stays
}

fn is_spent_once(_: &Protocol, state: &State) -> bool {
    state.disk.store.is_none_or(|store| store.records.spent == store.audit.count())
}
