//! An act that was void once stays void, and an administrator voids no act without changing its subject.

use countersign::admin::Act;
use countersign::engine::ProposalStanding;
use countersign::kernel::audit::{Event, Step};
use countersign::kernel::pin::Role;
use countersign::kernel::proposal::{ProposalError, Void};
use harness::engine::Bench;

use super::lost::{ANOTHER, SECRET, heir};
use super::scene::{DELAY, HOUR, LIMITS, Scene, policy, refused};

/// The links that say of an act that it is void, and why.
fn told(scene: &Scene) -> Vec<Void> {
    let of = |event: &Event| match event {
        Event::Proposal(step) => match step.step {
            Step::Voided(void) => Some(void),
            _ => None,
        },
        _ => None,
    };
    scene.events().iter().filter_map(of).collect()
}

/// The administrator rewords the policy, which allows no more and no less.
fn reword(scene: &Scene, document: &str) {
    scene.bench.change_wallet(&scene.wallet, policy(document)).expect("it loosens nothing");
}

/// The administrator changes the subject right after a tick, and puts it back before the next one.
#[test]
fn act_void_a_subject_that_is_put_back_makes_no_void_act_valid() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(2, &text);
    scene.wait(HOUR);
    let changed = scene.bench.clock.now();
    reword(&scene, &format!("# reworded\n{LIMITS}"));
    scene.bench.clock.advance(10);
    let void = ProposalStanding::Void(Void::Subject, Some(changed));
    assert_eq!(scene.standing(&act), void, "as a fact, with the time");
    reword(&scene, LIMITS);
    scene.wait(2 * DELAY);
    let scene = scene.restarted();
    assert_eq!(scene.standing(&act), void);
    for again in [scene.carry_out(&act), scene.sign(2, &text), scene.veto(1, &text)] {
        assert_eq!(refused(again), ProposalError::Void(Void::Subject));
    }
    assert_eq!(told(&scene), [Void::Subject], "the audit says it once");
    scene.assert_untouched();
}

/// The engine is killed between the change and the record that the act is void.
#[test]
fn act_void_a_kill_between_does_not_help_and_whoever_may_veto_still_can() {
    for is_vetoed in [false, true] {
        let scene = Scene::new();
        let text = scene.adding_bob();
        let act = scene.signed(2, &text);
        scene.wait(DELAY);
        scene.bench.ledger.state().fail_at = Some(1);
        reword(&scene, &format!("# reworded\n{LIMITS}"));
        let scene = scene.restarted();
        assert_eq!(scene.standing(&act), ProposalStanding::Void(Void::Subject, None));
        if is_vetoed {
            let code = scene.bench.code(&scene.alice);
            scene.bench.engine.veto_by_user(&act, "alice", code.as_bytes()).expect("it is open");
        }
        reword(&scene, LIMITS);
        scene.wait(DELAY);
        let standing = scene.standing(&act);
        if is_vetoed {
            assert_eq!(standing, ProposalStanding::Vetoed("alice".into()));
        } else {
            assert!(matches!(standing, ProposalStanding::Void(Void::Subject, Some(_))), "{standing:?}");
        }
        assert!(scene.carry_out(&act).is_err());
        scene.assert_untouched();
    }
}

#[test]
fn act_void_no_stricter_setting_and_no_other_pin_of_the_administrator_voids_an_act() {
    let scene = Scene::new();
    let council = scene.signers.council_of(0..3, 3, 2, None, 100);
    let bob = scene.signed(2, &scene.adding_bob());
    let officers = scene.signed(2, &scene.draft(&Act::SetOfficers(Box::new(council))));
    let lost = scene.signed(2, &scene.draft(&Act::LoseSoPin(heir(&scene, SECRET))));
    let mut stricter = scene.signers.council(2, 2);
    for failures_per_hour in [99, 98] {
        stricter = scene.signers.council_of(0..3, 2, 2, stricter.emergency(), failures_per_hour);
        scene.bench.set_officers(&stricter).expect("it tightens");
    }
    scene.bench.engine.change_pin(None, Role::So, b"so-pin", b"another-pin").expect("it is the PIN");
    scene.wait(DELAY);
    for act in [bob, lost, officers] {
        assert_eq!(scene.standing(&act), ProposalStanding::Due);
        scene.carry_out(&act).expect("it is due");
    }
    assert_eq!(scene.users(), ["alice", "bob"]);
    // What was tightened meanwhile stays so, since officers left it alone.
    let kept = scene.signers.council_of(0..3, 3, 2, None, 98);
    assert_eq!(scene.bench.engine.council().expect("readable"), Some(kept));
    assert_eq!(told(&scene), []);
}

/// Of two acts that declare the PIN lost, the second would take the next PIN from whoever set it.
#[test]
fn act_void_one_lost_pin_is_lost_once() {
    let scene = Scene::new();
    let first = scene.signed(2, &scene.draft(&Act::LoseSoPin(heir(&scene, SECRET))));
    let second = scene.signed(2, &scene.draft(&Act::LoseSoPin(heir(&scene, ANOTHER))));
    scene.wait(DELAY);
    scene.carry_out(&first).expect("it is due");
    let void = |scene: &Scene| {
        assert!(matches!(scene.standing(&second), ProposalStanding::Void(Void::Subject, Some(_))));
    };
    void(&scene);
    scene.bench.engine.initialise(SECRET, "test").expect("the heir's");
    void(&scene);
    assert_eq!(refused(scene.carry_out(&second)), ProposalError::Void(Void::Subject));
}

/// Other officers, and the former ones again.
#[test]
fn act_void_officers_who_return_do_not_find_their_acts_again() {
    let scene = Scene::new();
    let before = scene.signers.council(2, 2);
    let bob = scene.signed(2, &scene.adding_bob());
    for council in [scene.signers.council_of(0..3, 2, 3, None, 100), before] {
        let act = scene.signed(2, &scene.draft(&Act::SetOfficers(Box::new(council))));
        scene.wait(3 * HOUR);
        scene.carry_out(&act).expect("it is due");
    }
    assert!(matches!(scene.standing(&bob), ProposalStanding::Void(Void::Officers, Some(_))));
    assert_eq!(refused(scene.carry_out(&bob)), ProposalError::Void(Void::Officers));
    scene.assert_untouched();
}

/// An act that is void for a moment does not stop the time of the others.
#[test]
fn act_void_the_delay_of_others_goes_on_and_what_cannot_be_read_is_not_counted() {
    let scene = Scene::new();
    let thaw = {
        scene.bench.freeze(&scene.bench.target_user("bob")).expect("he is not frozen");
        scene.signed(2, &scene.draft(&Act::Thaw(scene.bench.target_user("bob"))))
    };
    scene.signed(2, &scene.adding_bob());
    reword(&scene, &format!("# reworded\n{LIMITS}"));
    scene.wait(DELAY);
    assert_eq!(scene.standing(&thaw), ProposalStanding::Due);
    let counts = |bench: &Bench| bench.engine.proposal_counts();
    assert!(counts(&scene.bench).expect("readable").contains(&("void", 1)));
    scene.bench.ledger.state().closed = Some("the test".into());
    assert!(counts(&scene.bench).is_err(), "not zeros");
}
