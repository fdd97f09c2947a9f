//! Fuzzes what comes over a connection: frames, greetings, and requests to the module behind them.
//!
//! The first byte of the input says as whom the requests come, the rest is what the peer sends. Whatever it is: nothing
//! panics (inside the module a panic would be answered by `CKR_GENERAL_ERROR`), every request has an answer, and no session
//! or login outlives its application.

#![no_main]

#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::OnceLock;

use countersign::kernel::seal::RecordKey;
use countersign::pkcs11;
use countersign::ports::Plain;
use countersign::remote::budget::Budget;
use countersign::remote::frame::{FrameReader, Received};
use countersign::remote::hello::{Hello, Reply, Welcome};
use countersign::remote::interface::Hosted;
use countersign::remote::{Boundary, PeerRole};
use libfuzzer_sys::fuzz_target;
use support::{Bench, MemoryLedger};

/// The largest frame here: larger than anything that is tried.
const MAXIMUM: u32 = 1 << 20;
/// `Err(CKR_GENERAL_ERROR)` as an answer is encoded.
const PANICKED: [u8; 2] = [1, 5];
/// An answer to `C_OpenSession`, whose session is the one that the seeds name.
const OPENED: [u8; 3] = [0, 6, 1];

fuzz_target!(|data: &[u8]| {
    if let Some((who, sent)) = data.split_first() {
        STAGE.get_or_init(Stage::new).run(*who, sent);
    }
});

static STAGE: OnceLock<Stage> = OnceLock::new();

/// A hosted token with a user and a wallet.
struct Stage {
    hosted: Hosted,
    ledger: MemoryLedger,
    begin: HashMap<RecordKey, Plain>,
}

impl Stage {
    fn new() -> Stage {
        let bench = Bench::new();
        bench.engine.set_user_pin(b"user-pin").expect("a good PIN");
        bench.user("alice");
        bench.wallet("w", &["alice"], "unlimited = true");
        let begin = bench.ledger.state().records.clone();
        let Bench { engine, ledger, .. } = bench;
        Stage { hosted: pkcs11::host(engine).expect("the only one"), ledger, begin }
    }

    fn run(&self, who: u8, sent: &[u8]) {
        self.ledger.state().records.clone_from(&self.begin);
        self.ledger.state().events.clear();
        let role = if who & 1 == 0 { PeerRole::Administrator } else { PeerRole::Backend };
        let application = self.hosted.open(1, role).expect("there is room");
        // Few come logged in: that takes as long as a thousand others.
        if who & 0x0e == 0x0e {
            assert_eq!(self.call(application, b"\x00\x08\x00\x06"), OPENED);
            assert_eq!(self.call(application, b"\x00\x0c\x01\x01\x00\x08user-pin"), [0, 0]);
        }
        let (mut source, mut reader) = (Cursor::new(sent), FrameReader::default());
        let budget = Budget::new(1 << 16);
        while let Ok(received) = reader.read(&mut source, MAXIMUM, &budget) {
            match received {
                Received::Frame(frame) => {
                    let _ = (Hello::decode(&frame.payload), Welcome::decode(&frame.payload));
                    let _ = Reply::decode(&frame.payload);
                    self.call(application, &frame.payload);
                }
                Received::NoRoom => {}
                Received::End => break,
            }
        }
        assert_eq!(budget.used(), 0);
        self.hosted.close(application);
        assert!(self.hosted.call(application, b"\x00\x00").is_err(), "it is over");
    }

    fn call(&self, application: u64, request: &[u8]) -> Vec<u8> {
        let answer = self.hosted.call(application, request).expect("the application is there");
        assert_ne!(answer[..], PANICKED, "a panic");
        answer.to_vec()
    }
}
