//! Codes over time: repeated requests, the breaker over all users, the clock across restarts.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bitcoin::psbt::Psbt;
use totp_rs::Totp;

use countersign::admin::{Act, KeyChange, UserId};
use countersign::engine::{Engine, EngineError, WalletId};
use countersign::kernel::act::{Change, Deed};
use countersign::kernel::administration::{Deciders, Unfit, restore};
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::{Answer, ChainEnd, Event, Fate, Head, Link};
use countersign::kernel::clock::{BootId, ClockError, Reading};
use countersign::kernel::pin::Role;
use countersign::kernel::receipt::Receipt;
use countersign::kernel::record::Stored;
use countersign::kernel::seal::{Kind, RecordKey, SetHash};
use countersign::kernel::state::WalletState;
use countersign::ports::{Clock, Ledger};
use harness::engine::scripts::{SCRIPTS, Script, good_psbt, named};
use harness::engine::{Bench, ManualClock, SystemRandom, answer, count, fates, watch};

const UNLIMITED: &str = "unlimited = true";

struct Scene {
    bench: Bench,
    id: WalletId,
    alice: Totp,
}

impl Scene {
    fn new() -> Scene {
        Scene::of(named("wpkh"))
    }

    fn of(script: Script) -> Scene {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect("a wallet");
        Scene { bench, id, alice }
    }

    fn psbt(&self, inputs: u32) -> Psbt {
        good_psbt(watch(&self.bench.engine.wallet(&self.id).expect("there")), inputs)
    }

    fn sign(&self, code: &str, psbt: &[u8]) -> Result<Vec<u8>, EngineError> {
        self.bench.sign(&self.id, "alice", code, psbt)
    }

    fn events(&self) -> Vec<Event> {
        self.bench.ledger.state().events.clone()
    }
}

fn wrong(right: &str) -> &'static str {
    if right == "000000" { "000001" } else { "000000" }
}

fn is_wrong_code<T>(answer: &Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::Code))
}

// Repeated requests

#[test]
fn a_pin_changed_to_itself_is_refused_unchecked_and_writes_nothing() {
    let bench = Bench::new();
    bench.set_user_pin(b"user-pin").expect("set");
    let written = bench.ledger.state().events.len();
    for (role, pin) in [(Role::User, &b"user-pin"[..]), (Role::User, b"not-it"), (Role::So, b"so-pin")] {
        let answer = bench.engine.change_pin(None, role, pin, pin);
        assert!(matches!(answer, Err(EngineError::PinIsTheSame)), "{role:?}");
    }
    assert_eq!(bench.ledger.state().events.len(), written, "nothing is charged, and nothing changed");
    bench.engine.change_pin(None, Role::User, b"user-pin", b"another-pin").expect("another one is taken");
    assert!(bench.ledger.state().events.len() > written);
}

#[test]
fn a_lost_answer_is_given_again_for_every_script_type_and_charged_once() {
    for script in SCRIPTS {
        let scene = Scene::of(*script);
        let psbt = scene.psbt(3).serialize();
        let code = scene.bench.code(&scene.alice);
        let first = scene.sign(&code, &psbt).expect("signs");
        scene.bench.clock.advance(119);
        let again = scene.sign(&code, &psbt).expect("the answer was lost");
        assert!(first == again, "{}: the same signatures", script.name);
        assert_eq!(scene.bench.failures("alice"), 0);
        let events = scene.events();
        assert_eq!(count(&events, Answer::Signed), 1, "{}", script.name);
        assert_eq!(events.last().and_then(answer), Some(Answer::Repeated));
    }
}

#[test]
fn a_lost_answer_is_given_again_after_a_restart() {
    let scene = Scene::of(named("tr"));
    let psbt = scene.psbt(2).serialize();
    let code = scene.bench.code(&scene.alice);
    let first = scene.sign(&code, &psbt).expect("signs");
    let Scene { bench, id, .. } = scene;
    let bench = bench.restarted();
    assert!(bench.sign(&id, "alice", &code, &psbt).expect("what was spent is sealed") == first);
}

#[test]
fn otp_replay_two_minutes_after_it_was_spent_a_code_gives_nothing() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt).expect("signs");
    scene.bench.clock.advance(60);
    scene.sign(&code, &psbt).expect("again");
    scene.bench.clock.advance(60);
    assert!(is_wrong_code(&scene.sign(&code, &psbt)), "a repetition does not begin new minutes");
    assert_eq!(scene.bench.failures("alice"), 1);
}

/// The two minutes run from the release of the first answer, not of a later one that took a while.
#[test]
fn otp_replay_a_repetition_that_is_slow_to_leave_begins_no_new_minutes() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt).expect("signs");
    scene.bench.clock.advance(118);
    let clock = scene.bench.clock.clone();
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(move || clock.advance(1))));
    scene.sign(&code, &psbt).expect("again, and the second is over before the answer leaves");
    scene.bench.clock.advance(1);
    assert!(is_wrong_code(&scene.sign(&code, &psbt)));
}

#[test]
fn otp_replay_with_anything_other_than_what_it_was_spent_on() {
    let scene = Scene::new();
    let psbt = scene.psbt(2);
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt.serialize()).expect("signs");
    let mut more = psbt.clone();
    more.unsigned_tx.output[0].value += bitcoin::Amount::from_sat(1);
    let mut later = psbt.clone();
    later.unsigned_tx.lock_time = bitcoin::absolute::LockTime::from_consensus(1);
    let mut fewer = psbt.clone();
    fewer.unsigned_tx.input.pop();
    fewer.inputs.pop();
    fewer.unsigned_tx.output.pop();
    fewer.outputs.pop();
    for (what, other) in [("amount", more), ("lock time", later), ("inputs", fewer)] {
        let answer = scene.sign(&code, &other.serialize());
        assert!(is_wrong_code(&answer), "{what}: {answer:?}");
        scene.bench.clock.advance(30);
    }
}

/// BIP 341 signs amounts, so a taproot input may come without its previous transaction. Somebody who
/// understates the inputs gets worthless signatures. The right amounts must not be signed for the same
/// charge.
#[test]
fn otp_replay_with_other_amounts_of_the_same_transaction() {
    let scene = Scene::of(named("tr"));
    let mut understated = scene.psbt(1);
    understated.inputs[0].non_witness_utxo = None;
    let truth = understated.serialize();
    let spent = understated.inputs[0].witness_utxo.as_mut().expect("it has one");
    spent.value -= bitcoin::Amount::from_sat(500);
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &understated.serialize()).expect("signs what it is told, for nobody");
    assert!(is_wrong_code(&scene.sign(&code, &truth)));
}

#[test]
fn otp_guess_a_repetition_ends_no_row_of_failures_and_no_wait() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt).expect("signs");
    for _ in 0..2 {
        assert!(is_wrong_code(&scene.sign(wrong(&code), &psbt)));
    }
    scene.sign(&code, &psbt).expect("again");
    assert!(is_wrong_code(&scene.sign(wrong(&code), &psbt)));
    assert!(matches!(scene.sign(&code, &psbt), Err(EngineError::Locked)), "three wrong ones in a row");
    assert_eq!(scene.bench.failures("alice"), 3);
}

#[test]
fn several_codes_repeat_together_or_not_at_all() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    let approval = |user: &str, code: &str| {
        Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
    };
    let (a, b) = (bench.code(&alice), bench.code(&bob));
    let both = |b: &str| vec![approval("alice", &a), approval("bob", b)];
    let first = bench.engine.countersign(&id, both(&b), psbt.clone()).expect("both are right");
    let again = bench.engine.countersign(&id, both(&b), psbt.clone()).expect("again");
    assert!(again.signed == first.signed);
    assert!(first.is_new && !again.is_new, "what is given once more is not paid for");
    bench.clock.advance(30);
    let mixed = bench.engine.countersign(&id, both(&bench.code(&bob)), psbt.clone());
    assert!(is_wrong_code(&mixed), "one spent, one new");
    let events = bench.ledger.state().events.clone();
    let kept = [(Some("alice"), Fate::Kept), (Some("bob"), Fate::Kept)];
    assert_eq!(events.last().map(fates), Some(kept.to_vec()), "each is right, and both together are not");
    assert_eq!((bench.failures("alice"), bench.failures("bob")), (0, 0));
    bench.sign(&id, "bob", &bench.code(&bob), &psbt).expect("the new one was not spent");
}

#[test]
fn a_repetition_under_a_wallet_that_changed_meanwhile_gives_nothing() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt).expect("signs");
    let beside = scene.bench.beside();
    let id = scene.id;
    let act = move || {
        let policy = Some("max_transaction_sat = 1\nmax_fee_sat = 1".into());
        let change = KeyChange { policy, ..KeyChange::default() };
        beside.change_wallet(&id, change).expect("changed");
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(matches!(scene.sign(&code, &psbt), Err(EngineError::ChangedMeanwhile(_))));
}

/// The client has given up and asks again while its first call is still running.
#[test]
fn the_same_request_twice_at_once_is_answered_twice_and_charged_once() {
    let scene = Scene::of(named("tr"));
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    let beside = scene.bench.beside();
    let (id, answer) = (scene.id, std::sync::Arc::new(std::sync::Mutex::new(None)));
    let (theirs, their_code, their_psbt) = (std::sync::Arc::clone(&answer), code.clone(), psbt.clone());
    let act = move || {
        let signed = beside.sign(&id, "alice", &their_code, &their_psbt).expect("the faster one signs");
        *theirs.lock().expect("nobody panicked") = Some(signed);
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    let signed = scene.sign(&code, &psbt).expect("the slower one, too");
    assert!(answer.lock().expect("nobody panicked").take() == Some(signed), "the same signatures");
    assert_eq!(scene.bench.failures("alice"), 0);
    let events = scene.events();
    assert_eq!((count(&events, Answer::Signed), count(&events, Answer::Repeated)), (1, 1));
    let place = RecordKey { kind: Kind::WalletState, id: scene.id };
    let state = WalletState::decode(&scene.bench.ledger.state().records[&place].1).expect("reads");
    assert_eq!(state.signed, 1);
}

#[test]
fn a_repetition_that_the_policy_refuses_by_now_costs_no_try() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    scene.sign(&code, &psbt).expect("signs");
    let policy = Some("max_transaction_sat = 1\nmax_fee_sat = 1".into());
    let change = KeyChange { policy, ..KeyChange::default() };
    scene.bench.change_wallet(&scene.id, change).expect("changed");
    for _ in 0..3 {
        assert!(matches!(scene.sign(&code, &psbt), Err(EngineError::Policy(_))));
    }
    assert_eq!(scene.bench.failures("alice"), 0);
    let events = scene.events();
    assert!(matches!(events.last().and_then(answer), Some(Answer::Refused(_))));
    assert_eq!(events.last().map(fates), Some(vec![(Some("alice"), Fate::Repeated)]));
}

// The outcome of each code

#[test]
fn a_typo_is_charged_only_to_its_user_and_spends_no_code_of_another() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let policy = format!("{UNLIMITED}\nrequired_approvals = 2");
    let id = bench.wallet("w", &["alice", "bob"], &policy);
    let psbt = bench.psbt(&id, 1).serialize();
    let (a, b) = (bench.code(&alice), bench.code(&bob));
    let approve = |b: &str| {
        let of = |user: &str, code: &str| Approval::parse_pin_of(user.as_bytes(), code.as_bytes());
        let both = vec![of("alice", &a).expect("formed"), of("bob", b).expect("formed")];
        bench.engine.countersign(&id, both, psbt.clone())
    };
    for typos in 1..=2 {
        assert!(is_wrong_code(&approve(wrong(&b))), "typo {typos}");
        assert_eq!((bench.failures("alice"), bench.failures("bob")), (0, typos), "only bob's");
        let fates_of_last = bench.ledger.state().events.last().map(|event| fates(event).len());
        assert_eq!(fates_of_last, Some(2));
    }
    approve(&b).expect("alice's code was not spent beside a wrong one");
    assert_eq!((bench.failures("alice"), bench.failures("bob")), (0, 2));
}

#[test]
fn a_right_code_beside_a_wrong_one_ends_no_row_and_gives_nothing_back() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    let (a, b) = (bench.code(&alice), bench.code(&bob));
    for _ in 0..2 {
        assert!(is_wrong_code(&bench.sign(&id, "alice", wrong(&a), &psbt)));
    }
    let of = |user: &str, code: &str| {
        Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
    };
    let both = vec![of("alice", &a), of("bob", wrong(&b))];
    assert!(is_wrong_code(&bench.engine.countersign(&id, both, psbt.clone())));
    assert_eq!(bench.failures("alice"), 2);
    assert!(is_wrong_code(&bench.sign(&id, "alice", wrong(&a), &psbt)));
    let locked = bench.sign(&id, "alice", &a, &psbt);
    assert!(matches!(locked, Err(EngineError::Locked)), "the third wrong one in a row: {locked:?}");
}

#[test]
fn a_second_code_of_the_same_user_is_wrong_and_charged_once() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    let of = |code: &str| Approval::parse_pin_of(b"alice", code.as_bytes()).expect("well formed");
    let twice = scene.bench.engine.countersign(&scene.id, vec![of(&code), of(&code)], psbt.clone());
    assert!(is_wrong_code(&twice));
    assert_eq!(scene.bench.failures("alice"), 1);
    scene.sign(&code, &psbt).expect("it was not spent");
}

/// The commit that locked the user, spent the step or used the address may not be durable yet. Nobody is told
/// before it is.
#[test]
fn outcome_leak_no_refusal_leaves_before_what_it_depends_on_is_durable() {
    let scene = Scene::new();
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let code = bench.code(&scene.alice);
    let waited = || std::mem::take(&mut bench.ledger.state().settled);
    for _ in 0..3 {
        assert!(is_wrong_code(&scene.sign(wrong(&code), &psbt)));
    }
    waited();
    assert!(matches!(scene.sign(&code, &psbt), Err(EngineError::Locked)));
    assert_eq!(waited(), [u64::MAX], "a lock");
    bench.clock.advance(30);
    let _ = bench.confirm("alice", wrong(&code));
    waited();
    assert!(matches!(bench.confirm("alice", &code), Err(EngineError::Locked)));
    assert_eq!(waited().last(), Some(&u64::MAX), "a lock, where a code is checked");
    // More refused PSBTs than the audit records in an hour, so that the last ones write nothing.
    let mut out_of_reach = scene.psbt(1);
    out_of_reach.unsigned_tx.output.clear();
    out_of_reach.outputs.clear();
    for _ in 0..70 {
        waited();
        assert!(matches!(scene.sign(&code, &out_of_reach.serialize()), Err(EngineError::Psbt(_))));
        assert_eq!(waited(), [u64::MAX], "a PSBT that the state of the wallet refuses");
    }
    let version = bench.ledger.version(&RecordKey::user("alice")).expect("readable");
    bench.engine.user("alice").expect("readable");
    assert_eq!(waited(), [version.expect("there")], "what is shown of a user");
    let place = RecordKey { kind: Kind::WalletState, id: scene.id };
    let version = bench.ledger.version(&place).expect("readable");
    bench.engine.reach(&scene.id).expect("readable");
    assert_eq!(waited(), [version.expect("there")], "what is shown of a wallet");
}

/// 256 concurrent calls with one code for one transaction are one retry.
#[test]
fn many_calls_at_once_with_one_code_for_one_transaction_are_one_signature() {
    let scene = Scene::of(named("tr"));
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let sign = || scene.sign(&code, &psbt).expect("each is answered");
        let threads: Vec<_> = (0..256).map(|_| scope.spawn(sign)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the same signatures");
    let events = scene.events();
    assert_eq!((count(&events, Answer::Signed), count(&events, Answer::Repeated)), (1, 255));
    assert_eq!(scene.bench.failures("alice"), 0);
}

// The breaker over all users

#[test]
fn right_codes_never_trip_the_breaker_however_many_come_at_once() {
    let bench = Bench::new();
    let totps: Vec<(String, Totp)> =
        (0..16).map(|n| format!("user{n}")).map(|name| (name.clone(), bench.user(&name))).collect();
    let users: Vec<&str> = totps.iter().map(|(name, _)| name.as_str()).collect();
    let id = bench.wallet("w", &users, UNLIMITED);
    let bench = bench.stopping_at(2);
    let psbt = bench.psbt(&id, 1).serialize();
    std::thread::scope(|scope| {
        for (name, totp) in &totps {
            let code = bench.code(totp);
            let (bench, id, psbt) = (&bench, &id, &psbt);
            scope.spawn(move || bench.sign(id, name, &code, psbt).map(|_| ()).expect("it waits its turn"));
        }
    });
    assert!(!bench.ledger.state().events.iter().any(|event| matches!(event, Event::Stopped { .. })));
}

/// A clock that sends a message when it is read.
struct ToldClock(ManualClock, Sender<()>);

impl Clock for ToldClock {
    fn read(&self) -> Reading {
        let reading = self.0.read();
        // At the end nobody receives any more.
        let _ = self.1.send(());
        reading
    }

    fn awake(&self) -> u64 {
        self.0.awake()
    }

    fn boot_id(&self) -> BootId {
        self.0.boot_id()
    }
}

#[test]
fn a_code_that_goes_stale_while_it_waits_for_the_tries_of_others_is_wrong() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    let (read, is_read) = channel();
    let clock = ToldClock(bench.clock.clone(), read);
    let engine = Engine::open(Box::new(bench.ledger.clone()), Box::new(clock), Box::new(SystemRandom));
    let engine = Arc::new(engine.expect("opens").stopping_at(1));
    let sign = |user: &str, totp: &Totp| {
        let pin = format!("{user}:{}", bench.code(totp));
        let approval = Approval::parse_pin(pin.as_bytes()).expect("well formed");
        let (engine, psbt) = (Arc::clone(&engine), psbt.clone());
        move || engine.countersign(&id, vec![approval], psbt).map(|answer| answer.signed)
    };
    let (of_alice, of_bob) = (sign("alice", &alice), sign("bob", &bob));
    let (clock, (answers, answer)) = (bench.clock.clone(), channel());
    // While alice's try is under way, there is no room for another.
    let act = move || {
        while is_read.try_recv().is_ok() {}
        std::thread::spawn(move || answers.send(of_bob()));
        is_read.recv().expect("bob asks what time it is");
        clock.advance(120);
    };
    bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(of_alice().is_ok());
    assert!(is_wrong_code(&answer.recv().expect("bob is answered")));
}

#[test]
fn otp_guess_the_breaker_counts_all_users_and_unknown_ones() {
    let bench = Bench::new();
    let users: Vec<(String, Totp)> =
        (0..10).map(|n| format!("user{n}")).map(|name| (name.clone(), bench.user(&name))).collect();
    let names: Vec<&str> = users.iter().map(|(name, _)| name.as_str()).collect();
    let id = bench.wallet("w", &names, UNLIMITED);
    let bench = bench.stopping_at(8);
    let psbt = bench.psbt(&id, 1).serialize();
    for (name, totp) in &users[..6] {
        assert!(is_wrong_code(&bench.sign(&id, name, wrong(&bench.code(totp)), &psbt)), "{name}");
    }
    // A right code returns its own try.
    bench.sign(&id, "user6", &bench.code(&users[6].1), &psbt).expect("signs");
    for _ in 0..2 {
        assert!(is_wrong_code(&bench.sign(&id, "stranger", "123456", &psbt)));
    }
    let right = bench.code(&users[7].1);
    for _ in 0..3 {
        assert!(matches!(bench.sign(&id, "user7", &right, &psbt), Err(EngineError::Stopped)));
    }
    assert!(matches!(bench.confirm("user7", &right), Err(EngineError::Stopped)));
    assert_eq!(bench.failures("user7"), 0, "what is not looked at is not charged");
    let stopped = |bench: &Bench| {
        let events = &bench.ledger.state().events;
        events.iter().filter(|event| matches!(event, Event::Stopped { failures: 8 })).count()
    };
    assert_eq!(stopped(&bench), 1, "told once");

    // A restart forgets nothing.
    let bench = bench.restarted().stopping_at(8);
    assert!(matches!(bench.sign(&id, "user7", &right, &psbt), Err(EngineError::Stopped)));
    bench.clock.advance(3_660);
    bench.sign(&id, "user7", &bench.code(&users[7].1), &psbt).expect("an hour later");
}

#[test]
fn each_fault_that_keeps_the_engine_from_signing_is_in_its_standing_and_shown_for_its_users() {
    let bench = Bench::new();
    let totp = bench.user("alice");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    let bench = bench.stopping_at(2);
    let stopped = |bench: &Bench| {
        let user = bench.engine.user("alice").expect("readable").expect("there");
        (bench.engine.standing().is_stopped, user.stopped)
    };
    let psbt = bench.psbt(&id, 1).serialize();
    for _ in 0..2 {
        assert_eq!(stopped(&bench), (false, false));
        assert!(is_wrong_code(&bench.sign(&id, "stranger", "123456", &psbt)));
    }
    assert_eq!(stopped(&bench), (true, true));
    assert!(matches!(bench.sign(&id, "alice", &bench.code(&totp), &psbt), Err(EngineError::Stopped)));
    bench.clock.advance(3_660);
    assert_eq!(stopped(&bench), (false, false));

    // A peer of the boundary, which has a name and its own tries.
    for _ in 0..3 {
        assert!(!bench.engine.standing().officer_is_locked);
        assert!(bench.engine.login_of(Some("user 7"), Role::So, b"wrong").is_err());
    }
    assert!(bench.engine.standing().officer_is_locked);
    bench.clock.advance(30);
    assert!(!bench.engine.standing().officer_is_locked);

    assert!(!bench.engine.standing().clock_is_refused);
    let now = bench.clock.now();
    bench.clock.set(now - 3_600);
    assert!(bench.engine.standing().clock_is_refused);
    bench.clock.set(now);
    assert!(!bench.engine.standing().clock_is_refused);
}

#[test]
fn otp_guess_the_breaker_is_not_passed_by_many_at_once() {
    let bench = Bench::new();
    let totps: Vec<(String, Totp)> =
        (0..16).map(|n| format!("user{n}")).map(|name| (name.clone(), bench.user(&name))).collect();
    let users: Vec<&str> = totps.iter().map(|(name, _)| name.as_str()).collect();
    let id = bench.wallet("w", &users, UNLIMITED);
    let bench = bench.stopping_at(10);
    let psbt = bench.psbt(&id, 1).serialize();
    let tried: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = totps
            .iter()
            .map(|(name, totp)| {
                let code = wrong(&bench.code(totp));
                let (bench, id, psbt) = (&bench, &id, &psbt);
                scope.spawn(move || usize::from(is_wrong_code(&bench.sign(id, name, code, psbt))))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    });
    assert_eq!(tried, 10);
}

// The clock

fn clock_error(answer: &Result<Vec<u8>, EngineError>) -> Option<ClockError> {
    match answer {
        Err(EngineError::Clock(error)) => Some(*error),
        _ => None,
    }
}

#[test]
fn clock_jump_while_the_module_is_closed_is_noticed_as_long_as_the_machine_runs() {
    for ahead in [30, 3_600, 24 * 3_600] {
        let scene = Scene::new();
        let psbt = scene.psbt(1).serialize();
        let now = scene.bench.clock.now();
        scene.bench.clock.set(now + ahead);
        let Scene { bench, id, alice } = scene;
        let bench = bench.restarted();
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
        assert_eq!(clock_error(&answer), Some(ClockError::Jump(ahead)));
        bench.clock.set(now);
        bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect("set right, it goes on");
    }
}

#[test]
fn a_pin_set_meanwhile_is_neither_accepted_for_nor_replaced_by_a_peer_that_knew_the_old_one() {
    for change in [false, true] {
        let bench = Bench::new();
        bench.set_user_pin(b"old-pin").expect("set");
        let beside = bench.beside();
        // Between the comparison and the commit of its outcome.
        let act = move || {
            beside.lose_user_pin().expect("the officer's is durable");
            beside.set_user_pin(b"new-pin").expect("the officer's is durable");
        };
        bench.ledger.state().meanwhile = Some((1, Box::new(act)));
        let answer = if change {
            bench.engine.change_pin(None, Role::User, b"old-pin", b"stolen-pin")
        } else {
            bench.engine.login(Role::User, b"old-pin")
        };
        assert!(matches!(answer, Err(EngineError::Pin)), "{answer:?}");
        assert!(matches!(bench.engine.login(Role::User, b"stolen-pin"), Err(EngineError::Pin)));
        bench.engine.login(Role::User, b"new-pin").expect("the officer's PIN it is");
    }
}

#[test]
fn a_peers_wrong_pins_lock_nobody_else_and_are_sealed() {
    let bench = Bench::new();
    bench.set_user_pin(b"user-pin").expect("set");
    let (thief, owner) = (Some("user 1001"), Some("certificate backend.example"));
    for _ in 0..3 {
        assert!(matches!(bench.engine.login_of(thief, Role::User, b"wrong"), Err(EngineError::Pin)));
    }
    let bench = bench.restarted();
    for _ in 0..2 {
        assert!(matches!(bench.engine.login_of(thief, Role::User, b"wrong"), Err(EngineError::Pin)));
    }
    let events = bench.ledger.state().events.len();
    for pin in [&b"wrong"[..], b"user-pin"] {
        let login = bench.engine.login_of(thief, Role::User, pin);
        assert!(matches!(login, Err(EngineError::PinLocked)), "{}", String::from_utf8_lossy(pin));
    }
    assert_eq!(bench.ledger.state().events.len(), events, "nothing more is charged");
    for peer in [owner, None] {
        bench.engine.login_of(peer, Role::User, b"user-pin").expect("the PIN's owner goes on");
    }
}

#[test]
fn wrong_so_pins_make_the_next_try_wait_and_nothing_locks_for_good() {
    let bench = Bench::new();
    for wait in [0, 0, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600] {
        assert!(matches!(bench.engine.login(Role::So, b"wrong"), Err(EngineError::Pin)));
        if wait > 0 {
            let waits = bench.engine.login(Role::So, b"so-pin");
            assert!(matches!(waits, Err(EngineError::PinWaits(seconds)) if seconds == wait), "{wait}");
        }
        bench.clock.advance(wait);
    }
    bench.engine.login(Role::So, b"so-pin").expect("an hour later, at most");
}

#[test]
fn clock_jump_only_the_security_officer_has_it_accepted() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let (bench, now) = (&scene.bench, scene.bench.clock.now());
    bench.set_user_pin(b"user-pin").expect("set");
    bench.clock.set(now + 3_600);
    assert!(matches!(bench.engine.login(Role::User, b"user-pin"), Err(EngineError::Clock(_))));
    bench.engine.login(Role::So, b"so-pin").expect("the security officer comes in under any clock");
    assert!(matches!(bench.take_clock(now), Err(EngineError::Parameter(_))), "not what the clock says");
    assert!(matches!(scene.sign(&bench.code(&scene.alice), &psbt), Err(EngineError::Clock(_))));
    bench.take_clock(now + 3_590).expect("about what the clock says");
    let last = scene.events().pop();
    let Some(Event::Act(act)) = last else { panic!("{last:?}") };
    assert_eq!((act.deed, &act.changes[..]), (Deed::ClockTaken, &[Change::Clock(3_600)][..]));
    scene.sign(&bench.code(&scene.alice), &psbt).expect("it goes on");
}

#[test]
fn clock_jump_after_a_boot_in_another_year_only_the_security_officer_accepts_the_clock() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    let (now, year) = (scene.bench.clock.now(), 365 * 24 * 3_600);
    scene.bench.set_user_pin(b"user-pin").expect("set");
    scene.bench.clock.boot();
    let Scene { bench, id, alice } = scene;
    let bench = bench.restarted();
    bench.clock.set(now + year);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
    assert_eq!(clock_error(&answer), Some(ClockError::Ahead(year)));
    assert!(matches!(bench.engine.login(Role::User, b"user-pin"), Err(EngineError::Clock(_))));
    bench.engine.login(Role::So, b"so-pin").expect("under any clock");
    // The officer's login does not accept the clock, not even one that could be right.
    bench.clock.set(now + 3 * 24 * 3_600);
    bench.engine.login(Role::So, b"so-pin").expect("under any clock");
    // No login sealed the wrong time. Once the clock is right, everything works.
    bench.clock.set(now + 60);
    bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect("it goes on");

    let bench = bench.restarted();
    bench.clock.boot();
    bench.clock.set(now + year);
    let bench = bench.restarted();
    bench.take_clock(now + year).expect("the officer says so");
    bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect("a year later");
}

#[test]
fn clock_back_nobody_can_have_it_accepted() {
    let scene = Scene::new();
    let now = scene.bench.clock.now();
    scene.bench.clock.set(now - 3_600);
    let answer = scene.bench.take_clock(now - 3_600);
    assert!(matches!(answer, Err(EngineError::Clock(ClockError::Back(_)))));
}

#[test]
fn after_a_boot_the_clock_is_compared_only_with_the_newest_record() {
    let scene = Scene::new();
    let psbt = scene.psbt(1).serialize();
    scene.bench.clock.boot();
    let now = scene.bench.clock.now();
    let Scene { bench, id, alice } = scene;
    let bench = bench.restarted();
    bench.clock.set(now - 30);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
    assert_eq!(clock_error(&answer), Some(ClockError::Back(30)));
    bench.clock.set(now + 3_600);
    bench.sign(&id, "alice", &bench.code(&alice), &psbt).expect("nothing contradicts it");
    let taken = |event: &Event| matches!(event, Event::ClockTaken { moved: None });
    assert!(bench.ledger.state().events.iter().any(taken), "and the audit has it");
    bench.clock.set(now + 7_200);
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
    assert_eq!(clock_error(&answer), Some(ClockError::Jump(3_600)), "from then on it is held to it");
}

// Every outcome is in the audit

#[test]
fn a_refused_psbt_is_recorded_sixty_times_an_hour_and_charged_never() {
    let scene = Scene::new();
    let mut psbt = scene.psbt(1);
    psbt.unsigned_tx.output.clear();
    psbt.outputs.clear();
    let (psbt, before) = (psbt.serialize(), scene.events().len());
    for _ in 0..70 {
        let answer = scene.sign("123456", &psbt);
        assert!(matches!(answer, Err(EngineError::Psbt(_))), "{answer:?}");
    }
    let events = scene.events().split_off(before);
    assert_eq!(events.len(), 60);
    let expected = Event::PsbtRefused { wallet: "w".into(), rule: "no-outputs".into() };
    assert!(events.iter().all(|event| *event == expected));
    scene.bench.clock.advance(3_660);
    assert!(scene.sign("123456", &psbt).is_err());
    assert_eq!(scene.events().len(), before + 61, "and again an hour later");
    assert_eq!(scene.bench.failures("alice"), 0);
}

// The restored store

/// A store that was accepted a moment ago, and `steps` time steps since then.
fn restored(steps: u64) -> Scene {
    let scene = Scene::new();
    let (previous, set) = (Head::default(), SetHash::default());
    let newest = Link { sequence: 5, time: 0, event: Event::Initialised, previous, set, batch: 5 };
    let end = ChainEnd { head: newest.head(), newest, before_batch: previous, council: None };
    let found = Unfit { store: [0; 16], epoch: 0, end: &end, council: None, anchor: None };
    let alone = Deciders::find(&found, None, None).expect("there are no officers");
    let agreed = alone.agree(None, &[], scene.bench.clock.now()).expect("nobody else decides");
    let taken = scene.bench.administrator().approve(agreed);
    let taken = restore(taken, None, None, scene.bench.clock.now()).expect("no act that could expire");
    let written = Receipt::issue(taken, |batch| scene.bench.ledger.commit(batch));
    assert!(written.is_ok(), "an epoch is written once");
    let Scene { bench, id, alice } = scene;
    let bench = bench.restarted();
    bench.clock.advance(30 * steps);
    Scene { bench, id, alice }
}

#[test]
fn state_rollback_after_a_restoration_no_code_is_accepted_for_two_windows() {
    // Two windows of three steps: no code that may have been used before is accepted again, whichever way the
    // clock was off.
    for (steps, ahead, accepted) in [
        (0, 0, false),
        (0, 1, false),
        (1, 0, false),
        (3, 0, false),
        (5, 1, false),
        (6, 0, false),
        (6, 1, true),
        (7, 0, true),
    ] {
        let scene = restored(steps);
        let psbt = scene.psbt(1).serialize();
        let code = scene.alice.generate(scene.bench.clock.now() + 30 * ahead).to_string();
        let answer = scene.sign(&code, &psbt);
        let what = format!("{steps} steps later, the code {ahead} steps ahead");
        assert_eq!(answer.is_ok(), accepted, "{what}");
        let is_refused = is_wrong_code(&answer) || matches!(answer, Err(EngineError::Locked));
        assert_eq!(is_refused, !accepted, "{what}");
        // While no code can be right, none is charged.
        assert_eq!(scene.bench.failures("alice"), usize::from(!accepted && steps == 6), "{what}");
    }
}

#[test]
fn state_rollback_a_user_enrolled_after_a_restoration_waits_as_all_others() {
    let scene = restored(0);
    let bob = scene.bench.unconfirmed("bob");
    let confirm = || scene.bench.confirm("bob", &scene.bench.code(&bob));
    assert!(matches!(confirm(), Err(EngineError::Locked)));
    scene.bench.clock.advance(7 * 30);
    confirm().expect("two windows later");
}

#[test]
fn state_rollback_after_a_restoration_every_period_counts_as_spent_until_it_is_over() {
    let scene = restored(100);
    let change = |policy: &str| {
        let change = KeyChange { policy: Some(policy.into()), ..KeyChange::default() };
        scene.bench.change_wallet(&scene.id, change).expect("changed");
    };
    let sign = || {
        let answer = scene.sign(&scene.bench.code(&scene.alice), &scene.psbt(1).serialize());
        scene.bench.clock.advance(30);
        answer
    };
    for policy in [
        "max_fee_sat = 5000\nmax_period_sat = 2000000000000000",
        "max_fee_sat = 5000\nmax_transaction_sat = 100000\nmax_period_transactions = 1000",
    ] {
        change(policy);
        assert!(matches!(sign(), Err(EngineError::Policy(_))), "{policy}");
    }
    change("max_fee_sat = 5000\nmax_transaction_sat = 100000");
    sign().expect("what has no period has nothing to be spent");
    change("max_fee_sat = 5000\nmax_period_sat = 2000000000000000");
    assert!(matches!(sign(), Err(EngineError::Policy(_))), "no change of the policy resets it");
    scene.bench.clock.advance(25 * 3_600);
    sign().expect("the period is over");
}

// A user who is enrolled again

#[test]
fn an_act_on_a_user_who_was_enrolled_again_meanwhile_does_nothing_to_the_new_enrolment() {
    for removes in [true, false] {
        let bench = Bench::new();
        bench.unconfirmed("alice");
        let (administrator, key) = (bench.administrator(), bench.key_id("alice"));
        let user = UserId { name: "alice".into(), key };
        let act = if removes { Act::RemoveUser(user) } else { Act::UnlockUser(user) };
        // The outcome is decided. Before it is recorded, alice is enrolled again.
        let beside = bench.beside();
        beside.administrator();
        let anew = move || {
            beside.remove_user("alice", &key).expect("no wallet lists her");
            beside.unconfirmed("alice");
        };
        bench.ledger.state().meanwhile = Some((0, Box::new(anew)));
        let answer = bench.engine.perform(administrator.approve(act));
        assert!(matches!(answer, Err(EngineError::NoSuchUser(_))), "removes: {removes}");
        assert_ne!(bench.key_id("alice"), key, "she is there");
    }
}

#[test]
fn a_code_of_a_key_that_was_replaced_meanwhile_does_not_confirm_the_new_enrolment() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let (code, key) = (bench.code(&alice), bench.key_id("alice"));
    // The code is found right. Before that is recorded, alice is enrolled again.
    let beside = bench.beside();
    let act = move || {
        beside.remove_user("alice", &beside.key_id("alice")).expect("no wallet lists her");
        beside.unconfirmed("alice");
    };
    bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(matches!(bench.engine.confirm("alice", &key, code.as_bytes()), Err(EngineError::Code)));
    let user = bench.engine.user("alice").expect("readable").expect("there");
    assert_ne!(user.key_id, key);
    assert!(!user.confirmed && user.failures == 0, "nothing of the old key is the new one's");
    // A code of the new key does not count as one of the old key: it belongs to nobody, and no known user is
    // charged.
    assert!(matches!(bench.engine.confirm("alice", &key, code.as_bytes()), Err(EngineError::Code)));
    assert_eq!(bench.failures("alice"), 0);
    let events = bench.ledger.state().events.clone();
    assert_eq!(events.last().map(fates), Some(vec![(None, Fate::Wrong)]));
}

#[test]
fn a_code_of_a_key_that_was_replaced_meanwhile_spends_nothing_of_the_new_enrolment() {
    let scene = Scene::new();
    let policy = Some("max_transaction_sat = 1\nmax_fee_sat = 1".into());
    let change = KeyChange { policy, ..KeyChange::default() };
    scene.bench.change_wallet(&scene.id, change).expect("changed");
    scene.bench.user("bob");
    let psbt = scene.psbt(1).serialize();
    let code = scene.bench.code(&scene.alice);
    // The code is right, and the policy refuses. Before the code is spent, alice is enrolled again.
    let (beside, id) = (scene.bench.beside(), scene.id);
    let act = move || {
        let users = Some(vec!["bob".to_owned()]);
        beside.change_wallet(&id, KeyChange { users, ..KeyChange::default() }).expect("changed");
        beside.remove_user("alice", &beside.key_id("alice")).expect("no wallet lists her");
        beside.unconfirmed("alice");
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    // The wallet was changed together with her, so the old wallet decides nothing.
    assert!(matches!(scene.sign(&code, &psbt), Err(EngineError::ChangedMeanwhile(_))));
    let user = scene.bench.engine.user("alice").expect("readable").expect("there");
    assert!(!user.confirmed && user.failures == 0);
    let refused = |event: &Event| matches!(answer(event), Some(Answer::Refused(_)));
    assert!(!scene.events().iter().any(refused));
}

#[test]
fn an_act_on_a_user_who_was_enrolled_again_meanwhile_is_not_done() {
    let bench = Bench::new();
    bench.unconfirmed("alice");
    let old = bench.key_id("alice");
    bench.remove_user("alice", &old).expect("no wallet lists her");
    bench.unconfirmed("alice");
    assert!(matches!(bench.unlock_user("alice", &old), Err(EngineError::NoSuchUser(_))));
    assert!(matches!(bench.remove_user("alice", &old), Err(EngineError::NoSuchUser(_))));
    assert!(bench.engine.user("alice").expect("readable").is_some());
    bench.unlock_user("alice", &bench.key_id("alice")).expect("the one there is");
}
