//! Fuzzes the bytes that come over a connection: frames, greetings, and requests to the module behind them.
//!
//! The first byte of the input says who sends the requests (an administrator, a backend, a user who is logged
//! in). The rest is what the peer sends. Whatever it sends, nothing panics (inside the module,
//! `CKR_GENERAL_ERROR` would answer a panic), every request has an answer, and no session or login outlives
//! its application.

#![no_main]

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use countersign::kernel::pin::Role;
use countersign::kernel::seal::RecordKey;
use countersign::kernel::state::{PEER_TRIES, PIN_BUDGET};
use countersign::pkcs11;
use countersign::remote::budget::Budget;
use countersign::remote::frame::{FrameReader, Received};
use countersign::remote::hello::{Hello, Response, Welcome};
use countersign::remote::interface::LoadedModule;
use countersign::remote::{Boundary, PeerRole};
use harness::engine::{Bench, MemoryLedger, Plain};
use libfuzzer_sys::fuzz_target;

/// The largest frame here, larger than any that the fuzzer tries.
const MAXIMUM: u32 = 1 << 20;
/// `Err(CKR_GENERAL_ERROR)`, encoded as an answer.
const PANICKED: [u8; 2] = [1, 5];
/// An answer to `C_OpenSession`. Its session is the one that the seeds name.
const OPENED: [u8; 3] = [0, 6, 1];
/// An answer to `C_Login`.
const DONE: [u8; 2] = [0, 0];
/// An answer to `C_GetSessionInfo`: the user, in a read-write session.
const LOGGED_IN: [u8; 4] = [0, 5, 3, 6];

fuzz_target!(
    // Before the first input, because the time of an input is limited and the PINs take long.
    init: {
        STAGE.get_or_init(Stage::new);
    },
    |data: &[u8]| {
        if let Some((who, sent)) = data.split_first() {
            STAGE.get_or_init(Stage::new).run(*who, sent);
        }
    }
);

static STAGE: OnceLock<Stage> = OnceLock::new();

/// A token with a user and a wallet.
struct Stage {
    module: LoadedModule,
    ledger: MemoryLedger,
    begin: Records,
    /// The same with both PINs locked for every peer, so that no login takes the time of Argon2.
    locked: Records,
    /// An application that has logged in, in session 1. It is used again for as long as it stays logged in.
    logged_in: Mutex<Option<u64>>,
    /// Logins so far.
    logins: AtomicU64,
}

/// The peer of the frames before anybody has logged in.
const PEER: &str = "user 7";

type Records = HashMap<RecordKey, Plain>;

impl Stage {
    fn new() -> Stage {
        let bench = Bench::new();
        bench.set_user_pin(b"user-pin").expect("a good PIN");
        bench.user("alice");
        bench.wallet("w", &["alice"], "unlimited = true");
        let begin = bench.ledger.state().records.clone();
        (0..5).for_each(|_| drop(bench.engine.login_of(Some(PEER), Role::So, b"wrong")));
        for peer in 0..PIN_BUDGET / PEER_TRIES as usize {
            let peer = format!("guesser {peer}");
            (0..PEER_TRIES).for_each(|_| drop(bench.engine.login_of(Some(&peer), Role::User, b"wrong")));
        }
        let locked = bench.ledger.state().records.clone();
        let Bench { engine, ledger, .. } = bench;
        let module = pkcs11::host(engine).expect("the only one");
        Stage { module, ledger, begin, locked, logged_in: Mutex::new(None), logins: AtomicU64::new(0) }
    }

    fn run(&self, who: u8, sent: &[u8]) {
        if who & 2 == 0 {
            let role = if who & 1 == 0 { PeerRole::Administrator } else { PeerRole::Backend };
            let application = self.module.open(1, role, PEER).expect("there is room");
            self.play(application, sent);
            self.end(application);
        } else {
            let mut logged_in = self.logged_in.lock().expect("one thread");
            let application = *logged_in.get_or_insert_with(|| self.log_in());
            self.call(application, b"\x00\x0e\x01\xff\xff\xff\x7f");
            self.play(application, sent);
            if self.call(application, b"\x00\x0b\x01") != LOGGED_IN {
                self.end(application);
                *logged_in = None;
            }
        }
    }

    fn log_in(&self) -> u64 {
        self.reset(&self.begin);
        // Another peer each time, because each peer has a ration of logins.
        let peer = format!("backend {}", self.logins.fetch_add(1, Ordering::Relaxed));
        let application = self.module.open(1, PeerRole::Backend, &peer).expect("there is room");
        assert_eq!(self.call(application, b"\x00\x08\x00\x06"), OPENED);
        assert_eq!(self.call(application, b"\x00\x0c\x01\x01\x00\x08user-pin"), DONE);
        application
    }

    /// All that a peer sends on one connection.
    fn play(&self, application: u64, sent: &[u8]) {
        self.reset(&self.locked);
        let (mut source, mut reader) = (Cursor::new(sent), FrameReader::default());
        let budget = Budget::new(1 << 16);
        while let Ok(received) = reader.read(&mut source, MAXIMUM, &budget) {
            match received {
                Received::Frame(frame) => {
                    let _ = (Hello::decode(&frame.payload), Welcome::decode(&frame.payload));
                    let _ = Response::decode(&frame.payload);
                    self.call(application, &frame.payload);
                }
                Received::NoRoom => {}
                Received::End => break,
            }
        }
        assert_eq!(budget.used(), 0);
    }

    fn end(&self, application: u64) {
        self.module.close(application);
        assert!(self.module.answer(application, b"\x00\x00").is_err(), "it is over");
    }

    fn reset(&self, records: &Records) {
        let mut state = self.ledger.state();
        state.records.clone_from(records);
        state.events.clear();
    }

    fn call(&self, application: u64, request: &[u8]) -> Vec<u8> {
        let answer = self.module.answer(application, request).expect("the application is there");
        assert_ne!(answer[..], PANICKED, "a panic");
        answer.to_vec()
    }
}
