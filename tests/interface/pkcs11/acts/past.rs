//! Acts whose delay has begun before the module opens. No test waits for hours: an engine in this process makes the store, by a clock of
//! the test's own, which shows earlier times.

use std::time::{Duration, Instant};

use countersign::admin::{Act, KeyChange};
use countersign::engine::{Engine, ProposalStanding};
use countersign::kernel::motion::ActText;
use countersign::shell::backing::Backing;
use countersign::shell::config::EngineConfig;
use countersign::shell::random::SystemRandom;
use countersign::shell::sqlite::{SqliteSite, take_lock};
use countersign::shell::vault::SealedVault;
use harness::engine::{Bench, ManualClock, MemoryLedger};
use harness::module::{Boundary, in_prepared_boundary};

use super::super::{IS_CLIENT, WAY};
use super::*;

/// The role of the process that makes the store.
const PAST: &str = "past";
/// The notes that it leaves: the act, the seconds of delay that are left, and the number of commits so far.
const ACT: &str = "act";
const LEFT: &str = "left";
const COMMITS: &str = "commits";
const HOUR: u64 = 3_600;
/// How long a boundary may take until it ticks.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` over a store in which two of three officers signed that bob joins alice's wallet. Since then the boundary ran for `waited`
/// seconds of the delay of one hour.
fn after(waited: u64, test: &str, body: impl FnOnce(&Boundary)) {
    let prepare = |boundary: &Boundary| drop(boundary.run(PAST));
    in_prepared_boundary(test, None, WAY, prepare, |boundary| {
        if boundary.role() == PAST { make(boundary, waited) } else { body(boundary) }
    });
}

fn make(boundary: &Boundary, waited: u64) {
    let config = EngineConfig::load(&boundary.conf()).expect("setup.sh wrote it");
    let lock = take_lock(&config.store.path).expect("nobody else has it");
    let backing = Backing::begin(&config.backing).expect("setup.sh made it");
    let site = SqliteSite::new(config.store.path).expect("a folder of ours").locked_by(lock);
    let clock = ManualClock::default();
    clock.set(now() - 4 * HOUR);
    let vault = Box::new(SealedVault::over(site, &backing));
    let engine = Engine::open(vault, Box::new(clock.clone()), Box::new(SystemRandom)).expect("it opens");
    let bench = Bench::of(engine, clock, MemoryLedger::default());
    bench.engine.initialise(b"so-pin", "test").expect("there is none");
    for name in ["alice", "bob"] {
        bench.user(name);
    }
    // Without a PIN no user could veto, and no time would count.
    bench.set_user_pin(harness::module::USER_PIN.as_bytes()).expect("it is not set");
    let wallet = bench.wallet("treasury", &["alice"], harness::module::LIMITS);
    let signers = Signers::new(3);
    bench.set_officers(&signers.council(2, 1)).expect("there are none");
    let users = Some(vec!["alice".into(), "bob".into()]);
    let change = Act::ChangeWallet(wallet, KeyChange { users, ..KeyChange::default() }.into());
    let act = bench.engine.draft(&change).expect("officers may sign it");
    let nonce = bench.engine.propose(None, &act, Some(&signers.sign(0, &act))).expect("an officer's");
    bench.engine.sign_proposal(&nonce, &signers.sign(1, &act)).expect("an officer's");
    for _ in 0..waited / 300 {
        bench.clock.advance(300);
        bench.engine.tick().expect("it ticks");
    }
    let standing = bench.engine.proposal(&nonce).expect("readable").expect("it was proposed").standing;
    let left = if let ProposalStanding::Waiting(left) = standing { left } else { 0 };
    assert_eq!(left, HOUR.saturating_sub(waited));
    boundary.note(ACT, &act);
    boundary.note(LEFT, &left.to_string());
    boundary.note(COMMITS, &commits(boundary).to_string());
}

/// The module over that store.
fn opened() -> Raw {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    raw
}

/// The number of commits, while somebody else has the store open.
fn commits(boundary: &Boundary) -> i64 {
    let copy = tempfile::tempdir().expect("a temporary folder can be made");
    for file in boundary.store_files() {
        let _ = std::fs::copy(&file, copy.path().join(file.file_name().expect("it has a name")));
    }
    let store = copy.path().join(boundary.store().file_name().expect("it has a name"));
    let count = rusqlite::Connection::open(store)
        .and_then(|store| store.query_row("SELECT count(*) FROM link", [], |row| row.get(0)));
    // A copy of a moment in between may not open.
    count.unwrap_or(0)
}

#[test]
fn act_early_an_act_that_is_due_is_carried_out_once_by_anybody() {
    after(HOUR, this_test!(), |boundary| {
        let (raw, act) = (opened(), boundary.noted(ACT));
        let anybody = raw.read_write();
        let proposed = acts(&raw, anybody, true);
        let [proposed] = proposed[..] else { panic!("{proposed:?}") };
        assert_eq!(
            (act_text(&raw, anybody, proposed), state(&raw, anybody, proposed)),
            (act.clone(), CS_ACT_DUE)
        );
        let wallet = raw.wallet_public(anybody, "treasury");
        let users = || raw.attribute(anybody, wallet, CKA_COUNTERSIGN_USERS);
        assert_eq!(users(), Ok(b"alice".to_vec()), "being due changes nothing");
        let carry_out =
            || raw.set_attributes(anybody, proposed, &[(CKA_COUNTERSIGN_ACT_CARRY_OUT, vec![CK_TRUE])]);
        let readable = raw.read_only();
        let one = [(CKA_COUNTERSIGN_ACT_CARRY_OUT, vec![CK_TRUE])];
        assert_rv!(raw.set_attributes(readable, proposed, &one), CKR_SESSION_READ_ONLY);
        let before = commits(boundary);
        assert_rv!(carry_out(), CKR_OK);
        assert_eq!(
            (state(&raw, anybody, proposed), users()),
            (CS_ACT_CARRIED_OUT, Ok(b"alice\nbob".to_vec()))
        );
        for _ in 0..2 {
            refused(&raw, anybody, carry_out(), CS_ACT_REFUSED_OVER);
        }
        assert_eq!(commits(boundary), before + 1, "it was done once");
        let nonce = ActText::parse(&act).expect("an act").nonce.to_vec();
        assert_eq!(raw.attribute(anybody, proposed, CKA_ID), Ok(nonce));
    });
}

/// What passed while nobody served counts as no delay, and neither does what passes until the first tick.
#[test]
fn act_clock_the_boundary_ticks_by_itself_and_credits_no_time_in_which_it_did_not_run() {
    let waited = HOUR / 2;
    after(waited, this_test!(), |boundary| {
        let [left, before] =
            [LEFT, COMMITS].map(|name| boundary.noted(name).parse::<i64>().expect("a number"));
        if IS_CLIENT {
            // No client has called yet.
            let until = Instant::now() + PATIENCE;
            while commits(boundary) < before + 2 {
                assert!(Instant::now() < until, "the boundary does not tick");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let raw = opened();
        let anybody = raw.read_only();
        let proposed = acts(&raw, anybody, true)[0];
        assert_eq!(state(&raw, anybody, proposed), CS_ACT_WAITING);
        assert_eq!(read_ulong(&raw, anybody, proposed, CKA_COUNTERSIGN_ACT_DELAY), left.cast_unsigned());
        assert_eq!(commits(boundary), before + 2, "the clock is believed, and there was one tick");
    });
}
