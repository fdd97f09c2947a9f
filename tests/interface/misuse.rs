//! Misuse: calls of every function in any order, with any arguments. Nobody may gain anything by them.
//!
//! Whatever is called: the module does not crash or hang, leaks nothing, writes no byte where it may not, and signs
//! only what a right code paid for. At most as many transactions and digests come out as codes went in, and all of
//! them are in the audit.
//!
//! `COUNTERSIGN_MISUSE_CALLS` sets the number of calls, and `COUNTERSIGN_MISUSE_CALLS_SERVED` the number through a
//! boundary, if it differs. `COUNTERSIGN_MISUSE_SEED` chooses the calls. The test prints its seed. The calls that one
//! caller makes alone are the same for the same seed and number.
//!
//! ```text
//! calls                every function, and the names of its arguments
//! arguments            the values of each argument: numbers, handles, single things
//! lengths, templates   the values of arguments with a length
//! memory               the memory of arguments
//! ration               chance, and limits for what is costly
//! caller, payments     the caller: calls anything, and sometimes pays like a user
//! world                token, users, codes, and the account of payments
//! checks, measure      what must never happen, and what must not grow
//! ends                 when an operation is over
//! audit                compares the signatures with the module's audit
//! trail                which caller is in which call
//! ```

#![allow(unsafe_code, reason = "wrong calls of the function tables are what this is about")]

mod arguments;
mod audit;
mod caller;
mod calls;
mod checks;
mod ends;
mod handles;
mod lengths;
mod measure;
mod memory;
mod payments;
mod ration;
mod templates;
mod trail;
mod world;

use std::env;
use std::thread;

use cryptoki_sys::CKR_OK;
use harness::Way;
use harness::module::{Boundary, in_prepared_boundary, summarise, this_test};

use caller::{Caller, Phase};
use measure::Measure;
use trail::Watchdog;
use world::World;

/// Calls by default.
const CALLS: u64 = 20_000;
/// Calls of a module that is not initialised, before and after the others.
const CLOSED: u64 = 2_000;
/// Measurements during the calls that one caller makes alone.
const MEASURES: u64 = 8;

/// Callers at the same time.
const TOGETHER: u64 = 4;

#[test]
fn calls_at_random_gain_nothing_in_the_process_of_the_engine() {
    misuse(this_test!(), Way::Direct);
}

#[test]
fn calls_at_random_gain_nothing_through_a_served_boundary() {
    misuse(this_test!(), Way::Served);
}

fn misuse(test: &str, way: Way) {
    let prepare = |boundary: &Boundary| {
        boundary.log_failures_only();
        boundary.allow_many_failures();
    };
    in_prepared_boundary(test, None, way, prepare, |boundary| {
        let number = |name: &str| env::var(name).ok().map(|text| text.parse().expect("a number"));
        let seed = number("COUNTERSIGN_MISUSE_SEED").unwrap_or_else(harness::module::now);
        let served = (way == Way::Served).then(|| number("COUNTERSIGN_MISUSE_CALLS_SERVED")).flatten();
        let calls = served.or_else(|| number("COUNTERSIGN_MISUSE_CALLS")).unwrap_or(CALLS);
        // Standard error is shown if the test fails.
        eprintln!("again: COUNTERSIGN_MISUSE_SEED={seed} COUNTERSIGN_MISUSE_CALLS={calls}");
        run(boundary, seed, calls);
    });
}

fn run(boundary: &Boundary, seed: u64, calls: u64) {
    let watchdog = Watchdog::start(seed);
    let world = World::load();
    Caller::new(&world, Phase::Closed, seed, 0).call_at_random(CLOSED);
    let world = world.furnished();

    // Three fifths of the calls by one caller alone, which are the same for the same seed.
    let mut alone = Caller::new(&world, Phase::Alone, seed, 0);
    let mut measures = Vec::new();
    for _ in 0..MEASURES {
        alone.call_at_random(calls * 3 / 5 / MEASURES);
        alone.close_all();
        alone.pay_often(4);
        alone.close_all();
        measures.push(Measure::take(boundary, &world.raw));
        summarise(measures.last().expect("it was just taken"));
    }
    let alone_paid = world.balance();
    let alone_signed = alone_paid.transactions + alone_paid.digests;
    assert_eq!(alone_signed, alone_paid.drawn, "alone, every right code signs once");

    // The other calls by several callers at once.
    thread::scope(|scope| {
        let world = &world;
        let each = (calls - calls * 3 / 5) / TOGETHER;
        for number in 1..=TOGETHER as usize {
            scope.spawn(move || Caller::new(world, Phase::Among, seed, number).call_at_random(each));
        }
    });
    // Closes whatever they have left open.
    Caller::new(&world, Phase::Among, seed, 0).close_all();
    alone.pay_often(4);
    alone.close_all();
    measures.push(Measure::take(boundary, &world.raw));
    summarise(measures.last().expect("it was just taken"));
    let digest_keys = world.digest_keys();
    assert_eq!(world.raw.finalize(), CKR_OK);
    Caller::new(&world, Phase::Closed, seed, 0).call_at_random(CLOSED);
    drop(watchdog);

    let balance = world.balance();
    audit::check(boundary, &world, &digest_keys);
    Measure::check(&measures);
    summarise(format!(
        "seed {seed}: {} calls; {} right codes, {} transactions and {} digests signed, {} answers; alone: {}, {} and {}",
        trail::calls(),
        balance.drawn,
        balance.transactions,
        balance.digests,
        balance.answers,
        alone_paid.drawn,
        alone_paid.transactions,
        alone_paid.digests
    ));
    summarise(format!("succeeded, alone: {:?}", alone.succeeded()));
}
