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
//! | `Change` | the administrator changes the subject, or puts it back, in one commit |
//! | `LosePin`, `SetPin` | the administrator declares the PIN lost by which users log in, and sets another one |
//!
//! The act may begin after the administrator has taken the user off the wallet: each time of that which makes a difference is a state
//! to begin with.
//!
//! Invariants:
//! - A1. Nothing that loosens takes effect before as many officers as the threshold have signed.
//! - A2. Nor before the engine ran for the whole delay after that, by a clock that nobody sets.
//! - A3. Nor after a veto was answered.
//! - A4. Nor twice.
//! - A5. Nor once its subject was changed, also if it was put back.
//! - A6. Whoever was a user of the wallet within the delay before the act was proposed may veto it, and nobody else.
//!
//! An effect counts once it is anchored. Each [`Flaw`] shows that the invariants are not empty.

mod protocol;
mod stage;

use protocol::{CONCERNED, DELAYED, Flaw, NOT_VETOED, ONCE, Protocol, SIGNED, VALID};

use super::search::{Flawed, found, holds};

const NOBODY: Protocol =
    Protocol { flaw: None, deaths: 0, jumps: 0, attacker: false, changes: 0, losses: 0, taken_off: false };
/// Kills, jumps of the clock, and a veto.
const HONEST: Protocol = Protocol { deaths: 1, jumps: 1, ..NOBODY };
/// The first tick after the last signature credits nothing, so one kill or jump too many is never enough to be early.
const KILLED: Protocol = Protocol { deaths: 2, ..NOBODY };
const SET_AHEAD: Protocol = Protocol { jumps: 2, ..NOBODY };
/// Somebody at the store, besides.
const ATTACKED: Protocol = Protocol { deaths: 2, attacker: true, ..NOBODY };

/// An administrator who changes the subject, and puts it back.
const CHANGED: Protocol = Protocol { deaths: 1, changes: 2, ..NOBODY };
/// An administrator who keeps the users from logging in.
const SHUT: Protocol = Protocol { losses: 2, ..NOBODY };
/// An administrator who took the user off the wallet first.
const TAKEN_OFF: Protocol = Protocol { taken_off: true, ..NOBODY };

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

#[test]
fn an_act_takes_effect_only_if_its_subject_was_never_changed() {
    holds(CHANGED);
}

#[test]
fn an_act_waits_while_users_cannot_log_in() {
    holds(SHUT);
}

#[test]
fn who_was_just_taken_off_the_wallet_may_veto() {
    holds(TAKEN_OFF);
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
    a_subject_that_is_put_back_is_found: ForgetsChanges breaks VALID in CHANGED;
    delay_without_a_pin_is_found: IgnoresThePin breaks DELAYED in SHUT;
    delay_over_a_lost_pin_is_found: ForgetsThePin breaks DELAYED in SHUT;
    a_user_who_was_taken_off_first_is_found: OnlyPresentUsers breaks CONCERNED in TAKEN_OFF;
}
