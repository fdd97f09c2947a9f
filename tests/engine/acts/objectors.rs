//! Nobody who could object is put aside: not by taking a user off first, not by the PIN of the backends, and not for a moment between two
//! ticks.

use countersign::admin::Act;
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::proposal::ProposalError;
use harness::engine::administration::user_pin;

use super::scene::{DELAY, HOUR, LIMITS, Scene, nonce, policy, refused, users};

/// The administrator takes a user off a wallet, which tightens, and proposes something afterwards.
#[test]
fn act_vetoers_who_was_just_taken_off_a_wallet_may_veto_acts_on_it() {
    let scene = Scene::new();
    let both = scene.bench.wallet("both", &["alice", "bob"], LIMITS);
    scene.bench.change_wallet(&both, users(&["bob"])).expect("it tightens");
    let remove = || scene.bench.remove_user("alice", &scene.bench.key_id("alice"));
    scene.bench.change_wallet(&scene.wallet, users(&["bob"])).expect_err("it adds bob");
    let higher = || scene.draft(&Act::ChangeWallet(both, policy("unlimited = true")));
    let last_moment = scene.bench.clock.now() + DELAY;
    scene.bench.clock.advance(DELAY);
    let text = higher();
    let act = scene.signed(2, &text);
    assert_eq!(scene.view(&act).vetoers, ["bob", "alice"]);
    let code = scene.bench.code(&scene.alice);
    scene.bench.engine.veto_by_user(&act, "alice", code.as_bytes()).expect("she was a user until just now");
    // After the delay it concerns her no more. Until then, another wallet or not, her enrolment stays.
    assert!(matches!(remove(), Err(EngineError::UserInUse { .. })), "of the other wallet");
    assert!(scene.bench.clock.now() >= last_moment);
    scene.bench.clock.advance(1);
    let act = scene.signed(2, &higher());
    assert_eq!(scene.view(&act).vetoers, ["bob"]);
    assert_eq!(
        refused(scene.bench.engine.veto_by_user(&act, "alice", b"000000")),
        ProposalError::NoVetoer("alice".into())
    );
}

/// The administrator takes a user off, and removes the user altogether.
#[test]
fn act_vetoers_whoever_was_just_taken_off_stays_enrolled_for_the_delay() {
    let scene = Scene::new();
    let both = scene.bench.wallet("both", &["alice", "bob"], LIMITS);
    let remove = || scene.bench.remove_user("bob", &scene.bench.key_id("bob"));
    scene.bench.change_wallet(&both, users(&["alice"])).expect("it tightens");
    assert!(matches!(remove(), Err(EngineError::ActsNeed(user)) if user == "bob"));
    let scene = scene.restarted();
    let remove = || scene.bench.remove_user("bob", &scene.bench.key_id("bob"));
    scene.bench.clock.advance(DELAY);
    assert!(matches!(remove(), Err(EngineError::ActsNeed(user)) if user == "bob"));
    scene.bench.clock.advance(1);
    remove().expect("no act that is proposed now concerns him");
    // Whoever joins by an act that waits stays, too. So no administrator can end the act by removing the user.
    let scene = Scene::new();
    let text = scene.adding_bob();
    scene.signed(1, &text);
    let remove = || scene.bench.remove_user("bob", &scene.bench.key_id("bob"));
    assert!(matches!(remove(), Err(EngineError::ActsNeed(user)) if user == "bob"));
    scene.veto(0, &text).expect("an officer's");
    remove().expect("no act needs him");
    assert_eq!(scene.view(&nonce(&text)).needed, 2);
}

#[test]
fn no_delay_runs_while_users_cannot_log_in() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(HOUR);
    let is = |left| assert_eq!(scene.standing(&act), ProposalStanding::Waiting(left));
    is(DELAY - HOUR);
    scene.bench.lose_user_pin().expect("it is set");
    scene.wait(2 * DELAY);
    is(DELAY - HOUR);
    // Another one, and lost and set again between two ticks.
    let set = || scene.bench.perform(user_pin(b"another")).expect("it was lost");
    let _ = set();
    scene.wait(300);
    is(DELAY - HOUR);
    scene.wait(300);
    is(DELAY - HOUR - 300);
    scene.bench.clock.advance(100);
    scene.bench.lose_user_pin().expect("it is set");
    let _ = set();
    scene.wait(200);
    is(DELAY - HOUR - 300);
    // Officers need no PIN: an act that only they can veto goes on.
    let council = scene.signers.council_of(0..3, 3, 2, None, 100);
    let officers = scene.signed(2, &scene.draft(&Act::SetOfficers(Box::new(council))));
    scene.bench.lose_user_pin().expect("it is set");
    scene.wait(DELAY);
    assert_eq!(scene.standing(&officers), ProposalStanding::Due);
    is(DELAY - HOUR - 300);
}

/// The row of wrong tries that all applications of a process share is full, and cleared before the next tick.
#[test]
fn no_delay_runs_while_the_pin_is_locked_for_a_moment() {
    use countersign::kernel::pin::Role;
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(300);
    scene.bench.clock.advance(100);
    for _ in 0..5 {
        assert!(scene.bench.engine.login(Role::User, b"wrong").is_err());
    }
    scene.bench.unlock_user_pin().expect("it is set");
    scene.wait(200);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 300));
    scene.wait(600);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 600));
}

/// So many wrong codes that no code is checked, of which the first cease to count before the next tick.
#[test]
fn no_delay_runs_if_the_breaker_stopped_for_a_moment() {
    let scene = Scene::new();
    let scene = Scene { bench: scene.bench.stopping_at(3), ..scene };
    for _ in 0..2 {
        assert!(scene.bench.confirm("bob", "000000").is_err());
    }
    scene.bench.clock.advance(HOUR - 240);
    let act = scene.signed(2, &scene.adding_bob());
    scene.bench.engine.tick().expect("it ticks");
    scene.bench.clock.advance(60);
    assert!(scene.bench.confirm("bob", "000000").is_err());
    assert!(scene.bench.engine.is_stopped());
    scene.bench.clock.advance(240);
    assert!(!scene.bench.engine.is_stopped(), "the first two count no more");
    scene.bench.engine.tick().expect("it ticks");
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY));
    scene.wait(300);
    scene.wait(300);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 300));
}

/// Anybody who may try codes can make the codes of all users wrong for hours: an administrator with users made for it, or a backend.
#[test]
fn wrong_codes_hold_up_no_act_that_only_officers_can_veto() {
    let scene = Scene::new();
    let scene = Scene { bench: scene.bench.stopping_at(3), ..scene };
    let council = scene.signers.council_of([0, 1], 2, 2, None, 100);
    let officers = scene.signed(2, &scene.draft(&Act::SetOfficers(Box::new(council))));
    let bob = scene.signed(2, &scene.adding_bob());
    let key = scene.bench.key_id("bob");
    for _ in 0..DELAY / 300 {
        scene.bench.clock.advance(60);
        while !scene.bench.engine.is_stopped() {
            assert!(scene.bench.confirm("bob", "000000").is_err());
            scene.bench.unlock_user("bob", &key).expect("she may");
        }
        scene.bench.clock.advance(240);
        scene.bench.engine.tick().expect("it ticks");
    }
    assert_eq!(scene.standing(&officers), ProposalStanding::Due);
    assert_eq!(scene.standing(&bob), ProposalStanding::Waiting(DELAY), "alice could not veto");
}

#[test]
fn no_delay_runs_while_the_machine_is_suspended() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(300);
    for _ in 0..20 {
        scene.bench.clock.suspend(299);
        scene.bench.clock.advance(1);
        scene.bench.engine.tick().expect("it ticks");
    }
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 320));
}
