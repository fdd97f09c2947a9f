//! Devices with screens of their own: who registers and removes them.

use countersign::admin::{Act, NewDevice, UserId};
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::act::class::Class;
use countersign::kernel::act::{Deed, Document};
use countersign::kernel::network::Network;
use countersign::kernel::proposal::ProposalError;
use harness::engine::Bench;

use super::scene::{DELAY, Scene, refused};

const ADDRESSES: [&str; 2] =
    ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"];
/// The key of the first one as P2PKH.
const SAME_KEY: &str = "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH";

fn bench() -> Bench {
    let bench = Bench::new();
    ["alice", "bob"].into_iter().for_each(|name| drop(bench.user(name)));
    bench
}

fn user(bench: &Bench, name: &str) -> UserId {
    UserId { name: name.into(), key: bench.key_id(name) }
}

fn adding(user: &UserId, name: &str, address: &str) -> Act {
    let (user, name, address) = (user.clone(), name.into(), address.into());
    Act::AddDevice(NewDevice { user, name, network: Network::Mainnet, address })
}

fn add(bench: &Bench, user: &UserId, name: &str, address: &str) -> Result<(), EngineError> {
    bench.perform(adding(user, name, address)).map(|_changed| ())
}

fn remove(bench: &Bench, user: &UserId, name: &str) -> Result<(), EngineError> {
    bench.perform(Act::RemoveDevice(user.clone(), name.into())).map(|_changed| ())
}

/// The deed of the newest act, and how many devices are in force since then.
fn newest(bench: &Bench) -> (Deed, usize) {
    let events = bench.ledger.state().events.clone();
    let act = events.iter().rev().find_map(|event| event.act()).expect("an act");
    let devices = match &act.document {
        Some(Document::Credentials(document)) => document.credentials.len(),
        Some(other) => panic!("{other:?}"),
        None => 0,
    };
    (act.deed, devices)
}

fn parameter(result: Result<(), EngineError>) -> String {
    match result {
        Err(EngineError::Parameter(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_administrator_registers_and_removes_the_devices_of_users() {
    let bench = bench();
    let alice = user(&bench, "alice");
    add(&bench, &alice, "ledger", ADDRESSES[0]).expect("the first one");
    assert_eq!(newest(&bench), (Deed::DeviceAdded, 1));
    add(&bench, &alice, "coldcard", ADDRESSES[1]).expect("another one");
    assert_eq!(newest(&bench), (Deed::DeviceAdded, 2));
    assert!(parameter(add(&bench, &alice, "ledger", SAME_KEY)).contains("\"ledger\""));
    let bench = bench.restarted();
    remove(&bench, &alice, "ledger").expect("it is there");
    assert_eq!(newest(&bench), (Deed::DeviceRemoved, 1));
    assert!(parameter(remove(&bench, &alice, "ledger")).contains("no device"));
    remove(&bench, &alice, "coldcard").expect("it is there");
    assert_eq!(newest(&bench), (Deed::DeviceRemoved, 0));
}

#[test]
fn consent_device_of_another_user_is_refused_until_that_user_is_removed() {
    let bench = bench();
    let (alice, bob) = (user(&bench, "alice"), user(&bench, "bob"));
    add(&bench, &bob, "ledger", ADDRESSES[0]).expect("the first one");
    for address in [ADDRESSES[0], SAME_KEY] {
        assert!(parameter(add(&bench, &alice, "ledger", address)).contains("another user"));
    }
    bench.remove_user("bob", &bob.key).expect("no wallet lists bob");
    add(&bench, &alice, "ledger", ADDRESSES[0]).expect("nobody has it");
}

#[test]
fn consent_device_of_an_earlier_enrolment_is_nobodys() {
    let bench = bench();
    let bob = user(&bench, "bob");
    add(&bench, &bob, "ledger", ADDRESSES[0]).expect("the first one");
    bench.remove_user("bob", &bob.key).expect("no wallet lists bob");
    bench.user("bob");
    let again = user(&bench, "bob");
    assert!(parameter(remove(&bench, &again, "ledger")).contains("no device"));
    assert!(matches!(add(&bench, &bob, "ledger", ADDRESSES[0]), Err(EngineError::NoSuchUser(_))));
    add(&bench, &again, "ledger", ADDRESSES[0]).expect("it is free");
}

#[test]
fn with_officers_an_administrator_removes_a_device_alone_and_registers_none() {
    let scene = Scene::new();
    let bob = user(&scene.bench, "bob");
    let needs = add(&scene.bench, &bob, "ledger", ADDRESSES[0]);
    assert!(matches!(needs, Err(EngineError::NeedsOfficers(Class::Loosens))), "{needs:?}");
    let text = scene.draft(&adding(&bob, "ledger", ADDRESSES[0]));
    assert!(text.contains(&format!("device \"ledger\" mainnet {}", ADDRESSES[0])), "{text}");
    let act = scene.signed(2, &text);
    let view = scene.view(&act);
    assert_eq!((view.class, view.vetoers), (Class::Loosens, vec!["bob".to_owned()]));
    assert!(view.heading.starts_with("device-add \"bob\" "), "{}", view.heading);
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    assert_eq!(newest(&scene.bench), (Deed::DeviceAdded, 1));
    remove(&scene.bench, &bob, "ledger").expect("it may have been stolen");
    assert_eq!(newest(&scene.bench), (Deed::DeviceRemoved, 0));
    let nobody = scene.bench.engine.draft(&Act::RemoveDevice(bob, "ledger".into()));
    assert_eq!(refused(nobody), ProposalError::NeedsNobody);
}

#[test]
fn act_void_a_device_is_not_registered_beside_others_than_the_officers_saw() {
    let scene = Scene::new();
    let bob = user(&scene.bench, "bob");
    let [first, second] = [("ledger", ADDRESSES[0]), ("coldcard", ADDRESSES[1])]
        .map(|(name, address)| adding(&bob, name, address));
    let (first, second) = (scene.draft(&first), scene.draft(&second));
    let [first, second] = [first, second].map(|text| scene.signed(2, &text));
    scene.wait(DELAY);
    scene.carry_out(&first).expect("it is due");
    assert!(scene.carry_out(&second).is_err(), "bob has a device now");
    assert!(matches!(scene.standing(&second), ProposalStanding::Void(..)), "{:?}", scene.standing(&second));
    assert_eq!(newest(&scene.bench), (Deed::DeviceAdded, 1));
}

#[test]
fn act_vetoed_the_user_of_the_device_ends_its_registration() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.draft(&adding(&user(&scene.bench, "bob"), "ledger", ADDRESSES[0])));
    let code = scene.bench.code(&scene.bob);
    scene.bench.engine.veto_by_user(&act, "bob", code.as_bytes()).expect("the user");
    scene.wait(DELAY);
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
}
