//! A lost SO PIN: officers declare the loss and agree on a secret, and only that secret sets the next one.

use countersign::admin::{Act, NewFactor, NewUser};
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::act::Deed;
use countersign::kernel::act::class::Class;
use countersign::kernel::audit::Event;
use countersign::kernel::motion::Motion;
use countersign::kernel::otp::OtpHash;
use countersign::kernel::pin::{Heir, Role};
use countersign::kernel::proposal::ProposalError;

use super::scene::{DELAY, HOUR, Scene, nonce, refused};

pub(super) const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
pub(super) const ANOTHER: &[u8] = b"BBCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn heir(scene: &Scene, secret: &[u8]) -> Heir {
    let token = scene.bench.engine.token(None).expect("readable").expect("there");
    Heir::of(&token.serial, secret).expect("long enough")
}

/// Two officers declare the loss, and the delay passes.
fn lose(scene: &Scene, secret: &[u8]) {
    let act = scene.signed(2, &scene.draft(&Act::LoseSoPin(heir(scene, secret))));
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
}

#[test]
fn after_officers_lost_the_so_pin_nobody_administers_until_another_one_is_set() {
    let scene = Scene::new();
    let engine = &scene.bench.engine;
    let losing = || Act::LoseSoPin(heir(&scene, SECRET));
    assert!(matches!(scene.bench.perform(losing()), Err(EngineError::NeedsOfficers(Class::Loosens))));
    assert!(matches!(engine.initialise(SECRET, "test"), Err(EngineError::AlreadyInitialised)));
    let act = scene.signed(2, &scene.draft(&losing()));
    scene.wait(DELAY);
    let login = engine.login(Role::So, b"so-pin").expect("it is still the PIN");
    assert!(engine.administrator(&login).is_ok());
    let before = scene.bench.engine.token(None).expect("readable").expect("there");
    assert!(!before.so_is_lost);
    scene.carry_out(&act).expect("it is due");
    assert!(engine.token(None).expect("readable").expect("there").so_is_lost);
    let again = scene.bench.enrol(NewUser {
        name: "mallory".into(),
        service: "t".into(),
        factor: NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 },
    });
    assert!(matches!(again, Err(EngineError::NotAdministrator)), "the approval is over");
    assert!(engine.administrator(&login).is_err(), "the login is over");
    let text = scene.adding_bob();
    assert!(matches!(scene.propose(&text, None), Err(EngineError::NotAdministrator)));
    let withdrawn = engine.withdraw(scene.bench.administrator(), &nonce(&text));
    assert!(matches!(withdrawn, Err(EngineError::NotAdministrator)));
    // The secret sets a PIN, and is none until then.
    for pin in [&b"so-pin"[..], SECRET] {
        assert!(matches!(engine.login(Role::So, pin), Err(EngineError::Pin)), "{pin:?}");
    }
    assert!(matches!(engine.initialise(SECRET, "other"), Err(EngineError::AlreadyInitialised)));
    scene.bench.clock.advance(HOUR);
    engine.initialise(SECRET, "test").expect("the token's own label");
    assert!(matches!(engine.initialise(SECRET, "test"), Err(EngineError::AlreadyInitialised)));
    let scene = scene.restarted();
    scene.bench.engine.login(Role::So, SECRET).expect("the new PIN");
    let after = scene.bench.engine.token(None).expect("readable").expect("there");
    assert_eq!((after.label, after.serial, after.so_is_lost), (before.label, before.serial, false));
    assert_eq!(scene.users(), ["alice"]);
    let deeds: Vec<Deed> = scene.events().iter().filter_map(Event::act).map(|act| act.deed).collect();
    assert!(deeds.ends_with(&[Deed::SoPinLost, Deed::PinSet(Role::So)]), "{deeds:?}");
}

#[test]
fn act_heir_only_the_secret_on_which_officers_agreed_sets_the_so_pin_and_wrong_ones_must_wait() {
    let scene = Scene::new();
    lose(&scene, SECRET);
    let Scene { bench, .. } = &scene;
    let set = |peer, secret: &[u8]| bench.engine.initialise_for(Some(peer), secret, "test");
    let heir = heir(&scene, SECRET).0;
    for wrong in [ANOTHER, &SECRET[1..], &heir, b""] {
        let refused = set("rogue", wrong);
        assert!(matches!(refused, Err(EngineError::Pin | EngineError::PinWaits(_))), "{refused:?}");
    }
    let refused = set("rogue", ANOTHER);
    assert!(matches!(refused, Err(EngineError::PinWaits(_))), "{refused:?}");
    assert!(matches!(set("rogue", SECRET), Err(EngineError::PinWaits(_))), "nothing is compared meanwhile");
    // The tries are charged before the comparison, so no restart gives them back.
    let scene = scene.restarted();
    let set = |peer, secret: &[u8]| scene.bench.engine.initialise_for(Some(peer), secret, "test");
    assert!(matches!(set("rogue", ANOTHER), Err(EngineError::PinWaits(_))));
    set("heir", SECRET).expect("who guesses locks only themselves out");
    scene.bench.engine.login(Role::So, SECRET).expect("the new PIN");
}

#[test]
fn act_heir_officers_name_another_heir_if_the_secret_is_lost_as_well() {
    let scene = Scene::new();
    lose(&scene, SECRET);
    let again = scene.bench.engine.draft(&Act::LoseSoPin(heir(&scene, ANOTHER))).expect("it is another one");
    scene.bring(0, &again).expect("an officer's");
    scene.sign(1, &again).expect("an officer's");
    assert_eq!(scene.standing(&nonce(&again)), ProposalStanding::Waiting(DELAY));
    scene.wait(DELAY);
    scene.carry_out(&nonce(&again)).expect("it is due");
    let set = |secret| scene.bench.engine.initialise(secret, "test");
    assert!(matches!(set(SECRET), Err(EngineError::Pin)));
    set(ANOTHER).expect("the newest heir");
    scene.bench.engine.login(Role::So, ANOTHER).expect("the new PIN");
    // What officers signed about the lost PIN says nothing about this one.
    assert!(matches!(refused(scene.carry_out(&nonce(&again))), ProposalError::Over(_)));
}

#[test]
fn the_draft_of_a_loss_names_the_heir() {
    let scene = Scene::new();
    let text = scene.draft(&Act::LoseSoPin(heir(&scene, SECRET)));
    let act = countersign::kernel::motion::ActText::parse(&text).expect("an act");
    let Motion::SoPinLost { heir: named, .. } = act.motion else { panic!("{text}") };
    assert_eq!(named, heir(&scene, SECRET));
    assert!(!text.contains(std::str::from_utf8(SECRET).expect("ASCII")));
}
