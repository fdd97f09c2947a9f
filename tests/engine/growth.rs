//! Signing retains no memory, over a token that retains none: the real ledger over SQLite, its anchor in
//! memory.
//!
//! `COUNTERSIGN_GROWTH_SIGNATURES=100000 cargo test --test engine growth -- --show-output` makes that many
//! signatures and prints the memory in use after each tenth of them. What a SoftHSM2 token retains of each
//! destroyed object is not included.

use std::sync::Arc;

use bitcoin::{Amount, Psbt};
use countersign::engine::{Engine, WalletId};

use harness::alone::alone;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::scripts::{SCRIPTS, good_psbt};
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, watch};
use harness::this_test;

/// Signatures in the suite, after a third as many that fill everything that is bounded.
const SIGNATURES: usize = 400;
/// How much more memory may be in use than before. A signature that retained 160 bytes would exceed it.
const MAX_BYTES: i64 = 64 * 1024;

#[test]
fn signatures_of_varied_psbts_leave_nothing_in_memory() {
    alone(this_test!(), sign_and_measure);
}

fn sign_and_measure() {
    let asked = std::env::var("COUNTERSIGN_GROWTH_SIGNATURES").ok();
    let signatures = asked.map_or(SIGNATURES, |number| number.parse().expect("a number of signatures"));
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::default();
    let vault = AnchorInMemory::new(folder.path().join("growth.db"));
    let anchor = vault.anchor();
    let engine =
        Engine::open(Box::new(vault), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
    engine.initialise(b"so-pin", "test").expect("initialises");
    let bench = Bench::of(engine, clock, MemoryLedger::default());
    let alice = bench.user("alice");
    let payments = payments(&bench);
    let sign = |number: usize| {
        let (wallet, psbt) = &payments[number % payments.len()];
        let code = bench.code(&alice);
        bench.sign(wallet, "alice", &code, &varied(psbt, number)).expect("nothing refuses it");
        bench.clock.advance(30);
        // The tests' anchor remembers each step, which a token does not.
        anchor.state().past.drain(..1);
    };

    let first = signatures / 3;
    (0..first).for_each(sign);
    let before = in_use();
    println!("{first} signatures: {before} bytes in use, and {} kB resident", resident());
    for tenth in 0..10 {
        let from = first + tenth * signatures / 10;
        let to = first + (tenth + 1) * signatures / 10;
        (from..to).for_each(sign);
        println!("{to} signatures: {:+} bytes, and {} kB resident", in_use() - before, resident());
    }
    let grown = in_use() - before;
    assert!(grown < MAX_BYTES, "{signatures} signatures left {grown} bytes in use");
}

/// A PSBT for each script type, of one, two and three inputs.
fn payments(bench: &Bench) -> Vec<(WalletId, Psbt)> {
    let of_script = |script: &harness::engine::scripts::Script| {
        let id = bench.add_wallet(script.name, &["alice"], "unlimited = true", script.to_be_made());
        let id = id.expect(script.name);
        let wallet: Arc<_> = bench.engine.wallet(&id).expect("there");
        [1, 2, 3].map(|inputs| (id, good_psbt(watch(&wallet), inputs)))
    };
    SCRIPTS.iter().flat_map(of_script).collect()
}

/// The same payment of another amount: another transaction.
fn varied(psbt: &Psbt, number: usize) -> Vec<u8> {
    let mut psbt = psbt.clone();
    let moved = Amount::from_sat(number as u64 % 30_000);
    psbt.unsigned_tx.output[0].value -= moved;
    psbt.unsigned_tx.output[1].value += moved;
    psbt.serialize()
}

/// Bytes that were allocated and not freed, without SQLite's: its cache has its own bound, and fills slowly.
#[allow(unsafe_code, reason = "the C library's and SQLite's own figures")]
fn in_use() -> i64 {
    // SAFETY: neither has an argument.
    let (all, of_sqlite) = unsafe { (libc::mallinfo2(), rusqlite::ffi::sqlite3_memory_used()) };
    (all.uordblks + all.hblkhd) as i64 - of_sqlite
}

/// Kilobytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
