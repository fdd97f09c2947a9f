//! One officer against the others: what a rogue officer cannot keep them from.

use countersign::admin::{Act, Target};
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::proposal::{MAX_OPEN_OF_OFFICER, MAX_TIGHTENING_OF_OFFICER, ProposalError};
use harness::engine::officers::Signers;

use super::scene::{DELAY, Scene, nonce, refused};

/// The officer who is against the others.
const ROGUE: usize = 2;

fn others(scene: &Scene) -> Act {
    Act::SetOfficers(Box::new(scene.signers.council_of([0, 1], 2, 2, None, 100)))
}

/// The rogue freezes everything and vetoes each way out. The others end that, after the delay.
#[test]
fn act_own_removal_no_officer_vetoes_the_act_that_removes_them() {
    let scene = Scene::new();
    let freeze = scene.draft(&Act::Freeze(Target::Everything));
    scene.bring(ROGUE, &freeze).expect("one officer is enough");
    let thaw = || scene.draft(&Act::Thaw(Target::Everything));
    let stopped = thaw();
    scene.signed(2, &stopped);
    scene.veto(ROGUE, &stopped).expect("an officer's");
    let removing = scene.draft(&others(&scene));
    let act = scene.signed(2, &removing);
    assert_eq!(refused(scene.veto(ROGUE, &removing)), ProposalError::OwnRemoval);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY));
    // Their veto counts against any other change of the officers, also one that makes it harder to be heard.
    let louder = scene.draft(&Act::SetOfficers(Box::new(scene.signers.council_of(0..3, 3, 2, None, 100))));
    scene.signed(2, &louder);
    scene.veto(ROGUE, &louder).expect("nobody is removed");
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    let thaw = thaw();
    assert!(matches!(refused(scene.bring(ROGUE, &thaw)), ProposalError::Signature(_)), "no officer any more");
    let act = scene.signed(2, &thaw);
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    scene.assert_untouched();
}

#[test]
fn act_own_removal_everybody_else_can_still_veto_it() {
    let scene = Scene::new();
    let removing = scene.draft(&others(&scene));
    let act = scene.signed(2, &removing);
    scene.veto(1, &removing).expect("who stays has a veto, and may have signed");
    scene.wait(DELAY);
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
    assert_eq!(scene.bench.engine.council().expect("readable"), Some(scene.signers.council(2, 2)));
}

/// Two of five must sign, and two rogues want to remove the other three.
#[test]
fn act_own_removal_the_few_who_can_sign_do_not_remove_the_many() {
    let scene = Scene { signers: Signers::new(5), ..Scene::new() };
    let council = scene.signers.council_of(0..5, 2, 2, None, 100);
    // The officers of the scene agree to these.
    let bench = harness::engine::Bench::new();
    bench.set_officers(&council).expect("there are none");
    let scene = Scene { bench, ..scene };
    let only = |stay: &[usize]| {
        let council = scene.signers.council_of(stay.iter().copied(), 2, 2, None, 100);
        scene.draft(&Act::SetOfficers(Box::new(council)))
    };
    let (many, two, one) = (only(&[0, 1]), only(&[0, 1, 2]), only(&[0, 1, 2, 3]));
    for act in [&many, &two, &one] {
        scene.signed(2, act);
    }
    scene.veto(4, &many).expect("one of three who are removed");
    scene.veto(4, &two).expect("one of two, as many as must sign");
    assert_eq!(refused(scene.veto(4, &one)), ProposalError::OwnRemoval);
    scene.veto(3, &one).expect("who stays");
}

#[test]
fn act_room_an_officer_who_fills_their_room_keeps_nobody_from_freezing() {
    let scene = Scene::new();
    let thawing = || scene.draft(&Act::Thaw(Target::Everything));
    let freezing = || scene.draft(&Act::Freeze(Target::Everything));
    for _ in 0..MAX_OPEN_OF_OFFICER {
        scene.bring(ROGUE, &scene.adding_bob()).expect("there is room");
    }
    assert_eq!(refused(scene.bring(ROGUE, &scene.adding_bob())), ProposalError::Room);
    // The rogue freezes, and the others thaw, until the rogue can freeze no more.
    for _ in 0..MAX_TIGHTENING_OF_OFFICER {
        scene.bring(ROGUE, &freezing()).expect("there is room");
        let act = scene.signed(2, &thawing());
        scene.wait(DELAY);
        scene.carry_out(&act).expect("it is due");
    }
    let freeze = freezing();
    assert_eq!(refused(scene.bring(ROGUE, &freeze)), ProposalError::Room);
    // Everybody else has the whole room.
    scene.bring(0, &scene.adding_bob()).expect("an officer's own room");
    scene.submit(&scene.adding_bob());
    scene.bring(1, &freeze).expect("an officer's own room");
    assert_eq!(scene.standing(&nonce(&freeze)), ProposalStanding::CarriedOut);
    // What expires gives its room back.
    scene.bench.clock.advance(8 * 24 * 3_600);
    let act = scene.signed(2, &thawing());
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    scene.bring(ROGUE, &freezing()).expect("there is room again");
}

/// A freeze that was carried out is not used again by whoever has its file.
#[test]
fn act_replay_a_freeze_is_carried_out_once_although_it_was_thawed() {
    let scene = Scene::new();
    let freeze = scene.draft(&Act::Freeze(Target::Everything));
    scene.bring(0, &freeze).expect("one officer is enough");
    let act = scene.signed(2, &scene.draft(&Act::Thaw(Target::Everything)));
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    assert_eq!(refused(scene.bring(0, &freeze)), ProposalError::Known);
    assert!(matches!(scene.carry_out(&nonce(&freeze)), Err(EngineError::Proposal(ProposalError::Over(_)))));
    scene.bench.clock.advance(8 * 24 * 3_600);
    assert_eq!(refused(scene.bring(0, &freeze)), ProposalError::Expired);
}
