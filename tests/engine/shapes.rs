//! `outcome-leak`: the writes of one request have one shape, whatever comes of its codes: the same records and link, each of the
//! same length. Somebody who watches the disk can stop the machine before a try is charged.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use totp_rs::Totp;

use countersign::engine::{Engine, EngineError, WalletId};
use countersign::kernel::audit::Answer;
use countersign::kernel::seal::RecordKey;
use countersign::shell::vault::SealedVault;
use harness::engine::fakes::{FailingRandom, MemoryAnchor, MemorySealer, MemorySite};
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, answer, count};

use super::ledger_model::is_asleep;

const UNLIMITED: &str = "unlimited = true";

/// A request in a thread of its own.
type Waiting = JoinHandle<Result<(), EngineError>>;

fn wrong(right: &str) -> &'static str {
    if right == "000000" { "000001" } else { "000000" }
}

#[test]
fn outcome_leak_every_outcome_is_written_in_the_same_shape() {
    for limit in [UNLIMITED, "max_transaction_sat = 1000000\nmax_fee_sat = 1000000\nmax_period_sat = 70000"] {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = bench.wallet("w", &["alice"], limit);
        let psbt = |inputs: u32| bench.psbt(&id, inputs).serialize();
        // Each outcome begins with the same records. Then one is signed, and the history grows.
        for round in 1..=4 {
            bench.clock.advance(60);
            let now = bench.code(&alice);
            let before = alice.generate(bench.clock.now() - 60).to_string();
            let (first, second) = (psbt(2 * round), psbt(2 * round + 1));
            same_shapes(&bench, &id, &[(wrong(&now), &first), (&before, &first), (&now, &first)], limit);
            let _ = bench.sign(&id, "alice", &now, &first);
            let next = alice.generate(bench.clock.now() + 30).to_string();
            let requests =
                [(wrong(&now), &first), (&*now, &first), (&now, &second), (&next, &first), (&next, &second)];
            same_shapes(&bench, &id, &requests, limit);
        }
        let events = bench.ledger.state().events.clone();
        let answers = [Answer::Signed, Answer::Repeated, Answer::WrongCode];
        assert!(answers.iter().all(|answer| count(&events, *answer) > 0), "{limit}");
        let refused = events.iter().any(|event| matches!(answer(event), Some(Answer::Refused(_))));
        assert!(refused || limit == UNLIMITED);
    }
}

/// Tries these codes, each on the same records, which are put back afterwards.
fn same_shapes(bench: &Bench, id: &WalletId, requests: &[(&str, &Vec<u8>)], limit: &str) {
    let records = bench.ledger.state().records.clone();
    let mut shapes = Vec::new();
    for (code, psbt) in requests {
        let _ = bench.sign(id, "alice", code, psbt);
        shapes.push(bench.ledger.state().shapes.last().cloned().expect("it was written"));
        bench.ledger.state().records.clone_from(&records);
    }
    assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{limit}: {shapes:#?}");
}

#[test]
fn outcome_leak_a_first_code_is_written_in_the_same_shape_right_or_wrong() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let right = bench.code(&alice);
    let mut shapes = Vec::new();
    for code in [wrong(&right), &right] {
        let _ = bench.confirm("alice", code);
        shapes.push(bench.ledger.state().shapes.last().cloned());
    }
    assert!(bench.engine.user("alice").expect("readable").expect("there").confirmed);
    assert_eq!(shapes[0], shapes[1]);
}

/// The requests of one batch build on each other: the state of the wallet is written once, with what came of all of them. Its
/// length does not depend on that, nor on the request that is written but not anchored when they are decided.
#[test]
fn outcome_leak_no_length_in_a_batch_tells_how_many_of_its_codes_are_right() {
    const REQUESTS: usize = 4;
    let mut lengths = Vec::new();
    for outcomes in 0..1 << REQUESTS {
        let outcomes: Vec<bool> = (0..REQUESTS).map(|request| outcomes >> request & 1 == 1).collect();
        lengths.push((written(&outcomes), outcomes));
    }
    for (length, outcomes) in &lengths {
        assert_eq!(length, &lengths[0].0, "{outcomes:?} beside {:?}", lengths[0].1);
    }
}

/// The length of each row after requests with right and wrong codes: of the first one, which is written but not anchored, and of the
/// others, which wait behind it for the next batch.
fn written(outcomes: &[bool]) -> [BTreeMap<RecordKey, usize>; 2] {
    let (site, anchor) = (MemorySite::default(), MemoryAnchor::default());
    let vault = SealedVault::new(
        Box::new(site.clone()),
        Arc::new(MemorySealer::default()),
        Arc::new(anchor.clone()),
        Arc::new(FailingRandom::default()),
    );
    let clock = ManualClock::default();
    let engine =
        Engine::open(Box::new(vault), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
    engine.initialise(b"so-pin", "test").expect("initialises");
    let bench = Arc::new(Bench::of(engine, clock, MemoryLedger::default()));
    let names: Vec<String> = (0..outcomes.len()).map(|user| format!("user-{user}")).collect();
    let totps: Vec<Totp> = names.iter().map(|name| bench.user(name)).collect();
    let of: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = bench.wallet("w", &of, UNLIMITED);
    let rows = move |site: &MemorySite| -> BTreeMap<RecordKey, usize> {
        // Ids are random, but for those of users.
        let place = |place: &RecordKey| RecordKey {
            kind: place.kind,
            id: if names.iter().any(|name| RecordKey::user(name) == *place) { place.id } else { [0; 16] },
        };
        site.kept().rows.iter().map(|(at, row)| (place(at), row.sealed.len())).collect()
    };
    let requests: Vec<_> = outcomes
        .iter()
        .enumerate()
        .map(|(user, is_right)| {
            let right = bench.code(&totps[user]);
            let code = if *is_right { right } else { wrong(&right).to_owned() };
            // Other inputs for each, so that each is a charge of its own.
            let psbt = bench.psbt(&id, user as u32 + 1).serialize();
            let (bench, name) = (Arc::clone(&bench), format!("user-{user}"));
            move || bench.sign(&id, &name, &code, &psbt).map(drop)
        })
        .collect();
    let mut requests = requests.into_iter();
    let first = requests.next().expect("there is one");
    let waiting: Arc<Mutex<Vec<Waiting>>> = Arc::default();
    let (tells, told) = channel();
    let (threads, seen, store) = (Arc::clone(&waiting), rows.clone(), site.clone());
    anchor.state().meanwhile = Some(Box::new(move || {
        tells.send(seen(&store)).expect("somebody listens");
        for request in requests {
            // Each is decided once the one before it waits.
            let thread = asleep(request);
            threads.lock().expect("not poisoned").push(thread);
        }
    }));
    let mut answers = vec![first()];
    let threads = std::mem::take(&mut *waiting.lock().expect("not poisoned"));
    answers.extend(threads.into_iter().map(|thread| thread.join().expect("it does not panic")));
    let is_right = |answer: &Result<(), EngineError>| match answer {
        Ok(()) => true,
        Err(EngineError::Code) => false,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(answers.iter().map(is_right).collect::<Vec<_>>(), outcomes);
    [told.recv().expect("it was written"), rows(&site)]
}

/// Makes a request in a thread of its own, and returns once it waits.
fn asleep(request: impl FnOnce() -> Result<(), EngineError> + Send + 'static) -> Waiting {
    let (tells, told) = channel::<PathBuf>();
    let thread = std::thread::spawn(move || {
        tells.send(std::fs::read_link("/proc/thread-self").expect("Linux has it")).expect("somebody listens");
        request()
    });
    let of = told.recv().expect("it runs");
    while !is_asleep(&of) {
        assert!(!thread.is_finished(), "it was answered before it was anchored");
        std::thread::yield_now();
    }
    thread
}
