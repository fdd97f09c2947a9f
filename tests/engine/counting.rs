//! Codes of a counter (RFC 4226): what spends them, what resynchronises, what a restoration ends.

use std::sync::Arc;

use countersign::admin::{NewFactor, NewUser};
use countersign::engine::{EngineError, WalletId};
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::Answer;
use countersign::kernel::record::Stored;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::state::{BUDGET, Epoch};
use harness::counting::Counting;
use harness::engine::{Bench, answer, count};

const UNLIMITED: &str = "unlimited = true";

fn new(name: &str) -> NewUser {
    NewUser { name: name.into(), service: "test".into(), factor: NewFactor::Hotp }
}

/// Enrols a user who confirms with the first code.
fn enrol(bench: &Bench, name: &str) -> Counting {
    let app = Counting::scan(&bench.enrol(new(name)).expect("a new name").uri);
    bench.confirm(name, &app.code(0)).expect("the first code confirms");
    app
}

/// A record of the mechanism's parameter.
fn record(factor: u8, user: &str, code: &str) -> [u8; 128] {
    let mut record = [0; 128];
    record[..4].copy_from_slice(&[1, factor, user.len() as u8, code.len() as u8]);
    record[4..4 + user.len()].copy_from_slice(user.as_bytes());
    record[64..64 + code.len()].copy_from_slice(code.as_bytes());
    record
}

struct Scene {
    bench: Bench,
    id: WalletId,
    app: Counting,
}

impl Scene {
    fn new() -> Scene {
        let bench = Bench::new();
        let app = enrol(&bench, "alice");
        let id = bench.wallet("w", &["alice"], UNLIMITED);
        Scene { bench, id, app }
    }

    /// Another transaction for each number of inputs.
    fn psbt(&self, inputs: u32) -> Vec<u8> {
        self.bench.psbt(&self.id, inputs).serialize()
    }

    fn sign(&self, code: &str, inputs: u32) -> Result<Vec<u8>, EngineError> {
        self.bench.sign(&self.id, "alice", code, &self.psbt(inputs))
    }

    fn sign_by(&self, factor: u8, code: &str, inputs: u32) -> Result<Vec<u8>, EngineError> {
        let approvals = Approval::parse(&record(factor, "alice", code)).expect("well formed");
        self.bench.engine.countersign(&self.id, approvals, self.psbt(inputs)).map(|given| given.signed)
    }

    fn failures(&self) -> usize {
        self.bench.failures("alice")
    }
}

fn is_wrong_code<T>(answer: &Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::Code))
}

#[test]
fn a_counters_code_signs_by_its_own_factor_and_by_its_form() {
    let scene = Scene::new();
    scene.sign_by(3, &scene.app.code(1), 1).expect("factor 3");
    scene.sign(&scene.app.code(2), 2).expect("the form tells that it is digits");
    assert!(is_wrong_code(&scene.sign_by(1, &scene.app.code(3), 3)), "alice has no time steps");
    assert_eq!(scene.failures(), 1);
    scene.sign_by(3, &scene.app.code(3), 3).expect("the try spent nothing");
}

#[test]
fn otp_kind_a_time_steps_code_is_wrong_as_a_counters() {
    let bench = Bench::new();
    let bob = bench.user("bob");
    let id = bench.wallet("w", &["bob"], UNLIMITED);
    let approvals = |factor, code: &str| Approval::parse(&record(factor, "bob", code)).expect("well formed");
    let psbt = bench.psbt(&id, 1).serialize();
    let code = bench.code(&bob);
    assert!(is_wrong_code(&bench.engine.countersign(&id, approvals(3, &code), psbt.clone())));
    assert_eq!(bench.failures("bob"), 1);
    bench.engine.countersign(&id, approvals(1, &code), psbt).expect("as what it is");
}

#[test]
fn otp_replay_a_counters_code_signs_once_and_no_earlier_one_signs_after_it() {
    let scene = Scene::new();
    scene.sign(&scene.app.code(5), 1).expect("within the window");
    for (counter, inputs) in [(5, 2), (4, 2), (1, 3)] {
        assert!(is_wrong_code(&scene.sign(&scene.app.code(counter), inputs)), "counter {counter}");
        scene.bench.clock.advance(3_600);
    }
    scene.sign(&scene.app.code(6), 4).expect("the next one");
}

#[test]
fn otp_replay_a_counters_code_stays_spent_after_a_restart_and_in_another_process() {
    let scene = Scene::new();
    let code = scene.app.code(1);
    let signed = scene.sign(&code, 1).expect("signs");
    let Scene { bench, id, app } = scene;
    let beside = bench.beside();
    let other = bench.psbt(&id, 2).serialize();
    assert!(is_wrong_code(&beside.sign(&id, "alice", &code, &other)));
    let bench = bench.restarted();
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &other)));
    let psbt = bench.psbt(&id, 1).serialize();
    assert_eq!(bench.sign(&id, "alice", &code, &psbt).expect("the answer was lost"), signed);
    bench.clock.advance(120);
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &psbt)), "two minutes are over");
    bench.clock.advance(3_600);
    bench.sign(&id, "alice", &app.code(2), &psbt).expect("the next code");
}

#[test]
fn otp_replay_a_code_that_the_policy_refused_is_spent() {
    let bench = Bench::new();
    let app = enrol(&bench, "alice");
    let id = bench.wallet("w", &["alice"], "max_transaction_sat = 1000\nmax_fee_sat = 1000000");
    let psbt = bench.psbt(&id, 1).serialize();
    assert!(matches!(bench.sign(&id, "alice", &app.code(1), &psbt), Err(EngineError::Policy(_))));
    assert!(is_wrong_code(&bench.sign(&id, "alice", &app.code(1), &psbt)));
}

#[test]
fn otp_guess_a_code_of_a_counter_is_one_try_however_many_it_is_compared_with() {
    let scene = Scene::new();
    let wrong = scene.app.wrong();
    for failures in 1..=2 {
        assert!(is_wrong_code(&scene.sign(&wrong, 1)));
        assert_eq!(scene.failures(), failures);
    }
    assert!(is_wrong_code(&scene.sign(&scene.app.code(12), 1)), "beyond the look-ahead of ten");
    assert!(matches!(scene.sign(&scene.app.code(1), 1), Err(EngineError::Locked)), "three in a row");
    scene.bench.clock.advance(30);
    scene.sign(&scene.app.code(11), 1).expect("the last one of the look-ahead");
}

#[test]
fn otp_guess_pairs_and_codes_share_one_budget() {
    let scene = Scene::new();
    let wrong = scene.app.wrong();
    let mut tries = 0;
    while scene.failures() < BUDGET {
        let answer = match tries % 3 {
            0 => scene.sign(&wrong, 1).map(drop),
            1 => scene.bench.confirm("alice", &(wrong.clone() + &wrong)),
            _ => scene.sign_by(1, &wrong, 1).map(drop),
        };
        assert!(is_wrong_code(&answer), "try {tries}");
        tries += 1;
        assert_eq!(scene.failures(), tries);
        scene.bench.unlock_user("alice", &scene.bench.key_id("alice")).expect("the row ends");
    }
    let next = scene.app.pair(1);
    assert!(matches!(scene.bench.confirm("alice", &next), Err(EngineError::Locked)));
    assert!(matches!(scene.sign(&next[..8], 1), Err(EngineError::Locked)));
}

#[test]
fn two_codes_in_a_row_resynchronise_and_are_spent() {
    let scene = Scene::new();
    assert!(is_wrong_code(&scene.sign(&scene.app.code(40), 1)), "too far ahead");
    scene.bench.confirm("alice", &scene.app.pair(40)).expect("in a row");
    for spent in [39, 40, 41] {
        assert!(is_wrong_code(&scene.sign(&scene.app.code(spent), 2)), "counter {spent}");
        scene.bench.clock.advance(3_600);
    }
    assert!(is_wrong_code(&scene.bench.confirm("alice", &scene.app.pair(40))), "nor does the pair come back");
    scene.bench.clock.advance(3_600);
    scene.sign(&scene.app.code(42), 2).expect("the next one");
}

#[test]
fn otp_kind_no_pair_is_right_for_a_user_of_time_steps() {
    let bench = Bench::new();
    let bob = bench.user("bob");
    let code = bench.code(&bob) + "00";
    assert!(is_wrong_code(&bench.confirm("bob", &(code.clone() + &code))));
    assert_eq!(bench.failures("bob"), 1);
}

#[test]
fn otp_owner_a_counters_code_of_another_user_is_wrong() {
    let scene = Scene::new();
    let bob = enrol(&scene.bench, "bob");
    assert!(is_wrong_code(&scene.sign(&bob.code(1), 1)));
    let stranger = scene.bench.sign(&scene.id, "bob", &bob.code(1), &scene.psbt(1));
    assert!(is_wrong_code(&stranger), "bob does not sign for this wallet");
    assert_eq!((scene.failures(), scene.bench.failures("bob")), (1, 0));
}

#[test]
fn otp_replay_two_callers_with_one_code_get_one_signature() {
    let scene = Scene::new();
    let code = scene.app.code(1);
    let beside = scene.bench.beside();
    let (id, other, racing) = (scene.id, scene.psbt(2), code.clone());
    let answers: Arc<std::sync::Mutex<Vec<bool>>> = Arc::default();
    let told = Arc::clone(&answers);
    // The second caller comes between the first one's decision and its commit.
    scene.bench.ledger.state().meanwhile = Some((
        0,
        Box::new(move || {
            let is_signed = beside.sign(&id, "alice", &racing, &other).is_ok();
            told.lock().expect("not poisoned").push(is_signed);
        }),
    ));
    assert!(is_wrong_code(&scene.sign(&code, 1)), "it is decided again, and the code is spent by now");
    assert_eq!(*answers.lock().expect("not poisoned"), [true]);
    assert_eq!(count(&scene.bench.ledger.state().events, Answer::Signed), 1);
}

#[test]
fn state_rollback_a_user_of_a_counter_is_enrolled_anew_after_a_restoration() {
    let scene = Scene::new();
    let (code, pair) = (scene.app.code(1), scene.app.pair(1));
    let restored = Epoch { number: 1, at: scene.bench.clock.now() };
    let place = RecordKey::single(Kind::Epoch);
    scene.bench.ledger.state().records.insert(place, (u64::MAX, restored.encode()));
    let Scene { bench, id, .. } = scene;
    let bench = bench.restarted();
    bench.clock.advance(365 * 24 * 3_600);
    let psbt = bench.psbt(&id, 1).serialize();
    assert!(matches!(bench.sign(&id, "alice", &code, &psbt), Err(EngineError::Locked)));
    assert!(matches!(bench.confirm("alice", &pair), Err(EngineError::Locked)), "no pair helps");
    assert!(bench.engine.user("alice").expect("readable").expect("there").locked, "and it shows");
    bench.unlock_user("alice", &bench.key_id("alice")).expect("nothing to unlock");
    assert!(matches!(bench.sign(&id, "alice", &code, &psbt), Err(EngineError::Locked)));
    assert_eq!(bench.failures("alice"), 0, "no code was looked at");
    let bob = enrol(&bench, "bob");
    let of_bob = bench.wallet("w2", &["bob"], UNLIMITED);
    let psbt = bench.psbt(&of_bob, 1).serialize();
    bench.sign(&of_bob, "bob", &bob.code(1), &psbt).expect("enrolled after it");
}

#[test]
fn outcome_leak_a_counters_code_is_written_in_the_same_shape_right_or_wrong() {
    let scene = Scene::new();
    scene.sign(&scene.app.code(3), 1).expect("signs");
    let (wrong, spent, right) = (scene.app.wrong(), scene.app.code(3), scene.app.code(9));
    let records = scene.bench.ledger.state().records.clone();
    let mut shapes = Vec::new();
    for (code, inputs) in [(&wrong, 1), (&spent, 1), (&spent, 2), (&right, 1), (&right, 2)] {
        let _ = scene.sign(code, inputs);
        shapes.push(scene.bench.ledger.state().shapes.last().cloned().expect("it was written"));
        scene.bench.ledger.state().records.clone_from(&records);
    }
    assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:#?}");
    let events = scene.bench.ledger.state().events.clone();
    let wanted = [Some(Answer::WrongCode), Some(Answer::Repeated), Some(Answer::Signed)];
    assert!(wanted.iter().all(|wanted| events.iter().any(|event| answer(event) == *wanted)));
    // A pair as well.
    let mut shapes = Vec::new();
    for pair in [wrong.clone() + &wrong, scene.app.pair(30)] {
        let _ = scene.bench.confirm("alice", &pair);
        shapes.push(scene.bench.ledger.state().shapes.last().cloned());
        scene.bench.ledger.state().records.clone_from(&records);
    }
    assert_eq!(shapes[0], shapes[1]);
}
