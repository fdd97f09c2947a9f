//! A model of one act on its way from the first signature to the commit that carries it out, searched to its last state:
//! every order of signatures, vetoes, ticks, kills, jumps of the clock and old copies put back, within the bounds below.
//!
//! The model moves the kernel's own proposals: whether officers have signed, how much delay was credited, whether the act is due or
//! void, is what `kernel::proposal` says. What the model adds is the world around it: commits that compare and set, a store that is
//! anchored after it is written, an engine that is killed and opened, two clocks, an attacker at the store, and officers who accept a
//! restored one.
//!
//! | action | code |
//! |---|---|
//! | `Sign` | `Engine::sign_proposal`, at once in one commit |
//! | `Decide`, `Commit` | `Engine::commit`: a veto or the act itself is decided, and written if nothing else was meanwhile |
//! | `CommitAndDie` | the batch is written, and the process is killed before the anchor moves |
//! | `Pass` | five minutes pass; an open engine credits them (`Engine::tick`) |
//! | `Jump` | somebody sets the wall clock five minutes ahead |
//! | `Die`, `Open` | the process is killed; `SealedLedger::open` with `anchor::judge` |
//! | `Copy`, `PutBack` | an attacker at the store, who cannot reach the token |
//! | `Accept` | `administration::restore`: officers accept the store that is there, which begins an epoch |
//!
//! Invariants:
//! - A1. Nothing that loosens takes effect before as many officers as the threshold have signed.
//! - A2. Nor before the engine ran for the whole delay after that, by a clock that nobody sets.
//! - A3. Nor after a veto was answered.
//! - A4. Nor twice.
//!
//! An effect counts once it is anchored. Each [`Flaw`] shows that the invariants are not empty.

mod protocol;
mod stage;

use protocol::{DELAYED, Flaw, NOT_VETOED, ONCE, Protocol, SIGNED};

use super::search::{Flawed, found, holds};

/// Kills, jumps of the clock, and a veto.
const HONEST: Protocol = Protocol { flaw: None, deaths: 1, jumps: 1, attacker: false };
/// The first tick after the last signature credits nothing, so one kill or jump too many is never enough to be early.
const KILLED: Protocol = Protocol { flaw: None, deaths: 2, jumps: 0, attacker: false };
const SET_AHEAD: Protocol = Protocol { flaw: None, deaths: 0, jumps: 2, attacker: false };
/// Somebody at the store, besides.
const ATTACKED: Protocol = Protocol { flaw: None, deaths: 2, jumps: 0, attacker: true };

impl Flawed for Protocol {
    type Flaw = Flaw;

    const NAME: &'static str = "model of acts";

    fn with(self, flaw: Flaw) -> Protocol {
        Protocol { flaw: Some(flaw), ..self }
    }
}

#[test]
fn an_act_takes_effect_after_signatures_and_delay_unless_vetoed_and_once() {
    holds(HONEST);
}

#[test]
fn an_act_takes_effect_once_against_old_copies_of_the_store() {
    holds(ATTACKED);
}

found! {
    an_officer_fewer_than_the_threshold_is_found: LowerThreshold breaks SIGNED in HONEST;
    an_act_that_does_not_wait_is_found: IgnoresDelay breaks DELAYED in HONEST;
    delay_that_goes_on_over_a_kill_is_found: OneRunForAll breaks DELAYED in KILLED;
    delay_by_a_clock_that_somebody_sets_is_found: CreditsTheWallClock breaks DELAYED in SET_AHEAD;
    an_act_that_is_written_over_a_veto_is_found: NoCompareAndSet breaks NOT_VETOED in HONEST;
    a_veto_kept_in_memory_is_found: VetoInMemory breaks NOT_VETOED in HONEST;
    an_act_without_its_own_record_is_found: LeavesNoRecord breaks ONCE in HONEST;
    an_older_store_that_opens_is_found: OpensOlder breaks ONCE in ATTACKED;
    a_restoration_that_begins_no_epoch_is_found: NoEpoch breaks ONCE in ATTACKED;
}
