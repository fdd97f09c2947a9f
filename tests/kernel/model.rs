//! A model of one signature on its way through queue, store and token, searched to its last state: every interleaving
//! of two callers, every kill, every failed sync and every old copy put back, within the bounds below.
//!
//! ```text
//! Ask: decide ─► Enqueue ─► committed ─► Answer: open the receipt
//!
//! commit of a batch: Lead writes it ─► Sync ─► CreateAnchor ─► DestroyOld ─► its callers are woken
//! ```
//!
//! Each action of the model stands for code:
//!
//! | action | code |
//! |---|---|
//! | `Ask` | `Engine::commit` in `gate.rs` with `state::decide`: decides everything that the answer depends on, from the newest records, including pending ones |
//! | `Enqueue` | `Ledger::commit`: compare and set on the record's version; `LedgerError::Conflict` decides anew. `Versioned::put` pads the record |
//! | `Lead` | a caller finds no leader in `shell/ledger` and writes up to `BATCH` entries in one transaction |
//! | `Advance` | the sync of `Store::commit`, then `Anchor::step`: create the new anchor, destroy the others |
//! | `Fail` | one of these fails: the store is closed, and everybody in the queue gets an error |
//! | `Answer` | the caller opens its `Receipt<Outcome>`, and the signature or the refusal leaves |
//! | `TellLocked` | `Engine::settled`: the answer that a user is locked, or frozen, waits until the entry that did it is anchored |
//! | `Freeze` | `administration::freezes`: an entry that writes its own record, and changes the version of no other |
//! | `Crash` | the process is killed, or finalized; memory is lost, an unsynced batch may be lost or kept |
//! | `Open` | `SealedLedger::open` with `anchor::judge`; a token that is away answers without an error and shows nothing |
//! | `Copy`, `Restore`, `Remove` | an attacker, or an administrator with a backup, who can reach the store but not the token |
//!
//! Invariants, each an "always" in `model/properties.rs`:
//! - M1. No step yields signatures of two digests.
//! - M2. The signed amount never exceeds the limit, counted by step and digest.
//! - M3. An observer learns of no more wrong codes than the budget allows, whatever is killed in between, and even if
//!   the observer sees all writes. Nobody learns anything about an outcome that is not anchored.
//! - M4. A signature that left is in the durable store and under its newest anchor.
//! - M5. A store and a token that nobody changed open after every kill, without repair by hand.
//! - M6. A store that lacks anything that was ever anchored never opens.
//! - M7. Each signature is spent once: repeating a request spends nothing, and no spend is lost.
//! - M8. No code is looked at and nothing is signed behind a freeze, whenever it was decided; and a freeze that was answered stays.
//!
//! The "sometimes" properties show that the model is not empty: a signature leaves, a lost one leaves again, a store
//! rolls forward, and so on. Each [`Flaw`] shows that the invariants are not empty: the same search, with one mistake
//! in the protocol, finds how that mistake breaks the invariant.
//!
//! A digest here is what a spent code is bound to: a PSBT of a wallet, or a digest of a key that signs digests
//! (`kernel/signable.rs`). Both take this way, and each signature of a digest key also counts 1.
//!
//! An observer sees every write when it is written, with its length. A charge makes the records longer by 1.
//!
//! The model is simpler than the code. There are one user and one wallet, whose records are one. A transaction
//! amounts to 1. The budget never expires. A call reads the clock when it decides, and again when it decides again. A
//! failure while opening is a kill. The attacker puts the store back or removes it once, with a copy of any time, and
//! never reaches the token: no anchor can detect somebody who puts both back together.

mod actions;
mod properties;
mod protocol;
mod state;

use properties::{DURABLE, FRESH, FROZEN, GUESSES, LIMIT, ONCE, ONE_DIGEST, OPENS};
use protocol::{Flaw, Protocol};

use super::search::{Flawed, found, holds};

/// Kills and failures.
const HONEST: Protocol =
    Protocol { flaw: None, limit: 1, links: 4, crashes: 2, attacker: false, freezes: false };
/// Room for two signatures.
const ROOMY: Protocol =
    Protocol { flaw: None, limit: 2, links: 4, crashes: 1, attacker: false, freezes: false };
/// An administrator who freezes.
const FREEZING: Protocol =
    Protocol { flaw: None, limit: 1, links: 4, crashes: 1, attacker: false, freezes: true };
/// Kills, failures, and somebody at the store.
const ATTACKED: Protocol =
    Protocol { flaw: None, limit: 1, links: 2, crashes: 2, attacker: true, freezes: false };

impl Flawed for Protocol {
    type Flaw = Flaw;

    const NAME: &'static str = "model";

    fn with(self, flaw: Flaw) -> Protocol {
        Protocol { flaw: Some(flaw), ..self }
    }
}

#[test]
fn the_protocol_holds_through_kills_and_failures() {
    holds(HONEST);
}

#[test]
fn the_protocol_holds_with_room_for_two_signatures() {
    holds(ROOMY);
}

#[test]
fn the_protocol_holds_with_an_administrator_who_freezes() {
    holds(FREEZING);
}

#[test]
fn the_protocol_holds_against_old_copies_of_the_store() {
    holds(ATTACKED);
}

found! {
    an_outcome_told_when_it_is_decided_is_found: TellsDecisions breaks GUESSES in HONEST;
    a_shape_that_tells_right_from_wrong_is_found: ShapeTells breaks GUESSES in HONEST;
    a_shape_that_tells_is_found_by_who_puts_the_store_back: ShapeTells breaks GUESSES in ATTACKED;
    a_length_that_counts_what_is_pending_is_found: PadsByWhatIsPending breaks GUESSES in HONEST;
    a_lock_that_is_told_early_is_found: TellsLocksEarly breaks GUESSES in HONEST;
    a_wrong_code_that_is_not_written_is_found: WrongIsNotWritten breaks GUESSES in HONEST;
    a_budget_reset_by_success_is_found: SuccessResetsBudget breaks GUESSES in ROOMY;
    an_answer_before_the_sync_is_found: AnswersBeforeSync breaks DURABLE in HONEST;
    an_answer_before_the_anchor_is_found: AnswersBeforeAnchor breaks DURABLE in HONEST;
    a_commit_that_wakes_the_whole_queue_is_found: WakesTheQueue breaks DURABLE in HONEST;
    a_failed_sync_that_is_ignored_is_found: IgnoresFailedSync breaks DURABLE in HONEST;
    a_retry_that_does_not_wait_for_what_it_repeats_is_found: RetryWithoutEntry breaks DURABLE in HONEST;
    a_retry_of_any_digest_is_found: RetryOfAnyDigest breaks ONE_DIGEST in HONEST;
    a_retry_that_spends_again_is_found: RetrySpendsAgain breaks ONCE in ROOMY;
    a_limit_judged_by_a_version_that_is_gone_is_found: NoCompareAndSet breaks LIMIT in HONEST;
    a_limit_kept_in_memory_is_found: LimitInMemory breaks LIMIT in HONEST;
    a_signature_decided_before_a_freeze_and_committed_after_it_is_found: IgnoresFreezesAtCommit breaks FROZEN in FREEZING;
    a_freeze_that_is_answered_before_it_is_durable_is_found: AnswersBeforeSync breaks FROZEN in FREEZING;
    a_freeze_kept_in_memory_is_found: FreezesInMemory breaks FROZEN in FREEZING;
    an_anchor_that_moves_before_the_store_is_found: AnchorsBeforeStore breaks OPENS in HONEST;
    an_anchor_changed_in_place_is_found: AnchorsInPlace breaks OPENS in HONEST;
    a_torn_anchor_that_closes_the_module_is_found: TornSlotCloses breaks OPENS in HONEST;
    a_store_that_goes_on_after_a_failed_sync_is_found: GoesOnAfterFailedSync breaks OPENS in HONEST;
    an_older_store_that_opens_is_found: OpensOlder breaks FRESH in ATTACKED;
    an_older_store_that_opens_lets_a_step_sign_twice: OpensOlder breaks ONE_DIGEST in ATTACKED;
    a_roll_forward_by_sequence_alone_is_found: RollsForwardBySequence breaks FRESH in ATTACKED;
    a_missing_anchor_taken_for_a_first_run_is_found: MissingAnchorIsFirstRun breaks ONE_DIGEST in HONEST;
    a_missing_store_taken_for_a_first_run_is_found: MissingStoreIsFirstRun breaks ONE_DIGEST in ATTACKED;
}
