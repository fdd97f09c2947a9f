//! Who can end an act that waits, until its delay is over.

use countersign::admin::{Act, Target};
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::audit::{Answer, Asked, Event, Fate};
use countersign::kernel::proposal::{ProposalError, State};

use super::scene::{DELAY, HOUR, Scene, policy, refused, users};
use harness::engine::fates;

#[test]
fn act_vetoed_any_officer_or_user_of_the_wallet_ends_it_until_it_is_carried_out() {
    for by_user in [false, true] {
        let scene = Scene::new();
        let text = scene.adding_bob();
        let act = scene.signed(2, &text);
        scene.wait(DELAY);
        assert_eq!(scene.standing(&act), ProposalStanding::Due);
        if by_user {
            let code = scene.bench.code(&scene.alice);
            scene.bench.engine.veto_by_user(&act, "alice", code.as_bytes()).expect("a user of the wallet");
            assert_eq!(scene.standing(&act), ProposalStanding::Vetoed("alice".into()));
        } else {
            scene.veto(1, &text).expect("an officer, who has signed it");
            assert!(matches!(scene.standing(&act), ProposalStanding::Vetoed(_)));
        }
        for again in [scene.carry_out(&act), scene.sign(2, &text), scene.veto(2, &text)] {
            let over = refused(again);
            assert!(
                matches!(&over, ProposalError::Over(State::VetoedByUser(_) | State::VetoedByOfficer(_))),
                "{over}"
            );
        }
        let scene = scene.restarted();
        assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
        assert_eq!(refused(scene.propose(&text, None)), ProposalError::Known);
        scene.assert_untouched();
    }
}

#[test]
fn a_code_that_vetoes_is_charged_and_spent_as_any_other_and_pays_for_nothing_else() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    let engine = &scene.bench.engine;
    assert!(matches!(engine.veto_by_user(&act, "alice", b"000000"), Err(EngineError::Code)));
    assert_eq!((scene.bench.failures("alice"), scene.bench.failures("bob")), (1, 0));
    let code = scene.bench.code(&scene.alice);
    scene.bench.engine.veto_by_user(&act, "alice", code.as_bytes()).expect("a user of the wallet");
    let events = scene.events();
    let tried: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Tried { asked: Asked::Veto(of), .. } if *of == act))
        .collect();
    assert_eq!(
        tried.iter().map(|event| fates(event)).collect::<Vec<_>>(),
        [[(Some("alice"), Fate::Wrong)], [(Some("alice"), Fate::Spent)],]
    );
    assert!(matches!(tried[1], Event::Tried { answer: Answer::Signed, .. }));
    // Neither a signature nor another veto.
    let psbt = scene.bench.psbt(&scene.wallet, 1).serialize();
    assert!(matches!(scene.bench.sign(&scene.wallet, "alice", &code, &psbt), Err(EngineError::Code)));
    let other = scene.signed(2, &scene.adding_bob());
    assert!(matches!(
        scene.bench.engine.veto_by_user(&other, "alice", code.as_bytes()),
        Err(EngineError::Code)
    ));
    assert_eq!(scene.bench.failures("alice"), 3);
}

/// Whether the code is right, each commit of a veto has the same shape until it is durable.
#[test]
fn outcome_leak_a_right_veto_is_written_first_as_a_wrong_one_is() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    let shape = |code: &str| {
        let before = scene.bench.ledger.state().shapes.len();
        let _ = scene.bench.engine.veto_by_user(&act, "alice", code.as_bytes());
        scene.bench.ledger.state().shapes[before].clone()
    };
    let wrong = shape("000000");
    assert_eq!(shape(&scene.bench.code(&scene.alice)), wrong);
}

#[test]
fn who_may_veto_is_fixed_when_the_act_is_proposed() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(2, &text);
    let engine = &scene.bench.engine;
    let code = scene.bench.code(&scene.bob);
    let none = refused(engine.veto_by_user(&act, "bob", code.as_bytes()));
    assert_eq!(none, ProposalError::NoVetoer("bob".into()));
    assert_eq!(
        refused(engine.veto_by_user(&act, "carol", b"000000")),
        ProposalError::NoVetoer("carol".into())
    );
    assert_eq!(scene.bench.failures("bob"), 0, "no code was looked at");
    // Freezing ends no veto.
    scene.bench.freeze(&Target::Everything).expect("it is not frozen");
    scene.bench.freeze(&scene.bench.target_user("alice")).expect("she is not frozen");
    let code = scene.bench.code(&scene.alice);
    engine.veto_by_user(&act, "alice", code.as_bytes()).expect("a user of the wallet, though frozen");
    scene.assert_untouched();
}

#[test]
fn a_user_who_may_veto_is_not_removed() {
    let scene = Scene::new();
    let both = scene.bench.wallet("both", &["alice", "bob"], "unlimited = true");
    let text = scene.draft(&Act::ChangeWallet(both, users(&["alice"])));
    assert!(scene.bring(0, &text).is_ok(), "it tightens, so one officer is enough");
    let thaw = {
        scene.bench.freeze(&scene.bench.target_user("bob")).expect("he is not frozen");
        scene.draft(&Act::Thaw(scene.bench.target_user("bob")))
    };
    let act = scene.signed(1, &thaw);
    assert_eq!(scene.view(&act).vetoers, ["bob"]);
    let remove = || scene.bench.remove_user("bob", &scene.bench.key_id("bob"));
    assert!(matches!(remove(), Err(EngineError::ActsNeed(user)) if user == "bob"));
    scene.veto(2, &thaw).expect("an officer's");
    // He was taken off a wallet just now. After the delay nothing is left to veto.
    assert!(matches!(remove(), Err(EngineError::ActsNeed(user)) if user == "bob"));
    scene.bench.clock.advance(DELAY + 1);
    remove().expect("nothing is left to veto");
}

#[test]
fn no_delay_runs_while_somebody_who_may_veto_is_kept_from_it() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(HOUR);
    let left = DELAY - HOUR;
    let is = |seconds| assert_eq!(scene.standing(&act), ProposalStanding::Waiting(seconds));
    is(left);
    // One wrong code: the time around it does not count.
    assert!(scene.bench.confirm("alice", "000000").is_err());
    scene.wait(300);
    is(left);
    scene.wait(600);
    let left = left - 300;
    is(left);
    // Ten lock her, for as long as nobody unlocks her.
    while !scene.bench.engine.user("alice").expect("readable").expect("there").locked {
        for _ in 0..20 {
            let _ = scene.bench.confirm("alice", "000000");
        }
        if scene.bench.failures("alice") < 10 {
            scene.bench.clock.advance(3_600);
        }
    }
    scene.wait(300);
    let ProposalStanding::Waiting(left) = scene.standing(&act) else { panic!("it waits") };
    scene.wait(HOUR);
    is(left);
    // Bob may not veto: his wrong codes stop nothing.
    scene.bench.unlock_user("alice", &scene.bench.key_id("alice")).expect("it is neutral");
    assert!(scene.bench.confirm("bob", "000000").is_err());
    scene.wait(300);
    is(left);
    scene.wait(300);
    is(left - 300);
    scene.wait(left - 300);
    scene.carry_out(&act).expect("it is due");
}

#[test]
fn no_delay_runs_while_no_code_of_anybody_is_checked() {
    let scene = Scene::new();
    let scene = Scene { bench: scene.bench.stopping_at(2), ..scene };
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(300);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 300));
    for _ in 0..2 {
        assert!(scene.bench.confirm("bob", "000000").is_err());
    }
    assert!(scene.bench.engine.is_stopped());
    scene.wait(1_800);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY - 300));
}

#[test]
fn what_tightens_or_takes_a_clock_has_nothing_to_veto() {
    let scene = Scene::new();
    let text =
        scene.draft(&Act::ChangeWallet(scene.wallet, policy("max_fee_sat = 1\nmax_transaction_sat = 1")));
    let act = scene.submit(&text);
    assert_eq!(refused(scene.veto(0, &text)), ProposalError::NothingToVeto);
    assert!(scene.view(&act).vetoers.is_empty());
    let clock = scene.draft(&Act::TakeClock(scene.bench.clock.now()));
    scene.submit(&clock);
    assert_eq!(refused(scene.veto(0, &clock)), ProposalError::NothingToVeto);
}
