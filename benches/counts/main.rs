//! Counts the instructions of one signature, for each script type and number of inputs, and of the work that
//! no signer can avoid.
//!
//! `bash benches/counts.sh` runs this under callgrind. Unlike a timing, an instruction count repeats: keys,
//! codes and nonces are the same in every run, the module sees every input for the first time, and the ledger
//! is in memory.
//!
//! There are two modes, because callgrind is some fifty times slower than the processor and should not make
//! the PSBTs: `make FOLDER` makes them, and `count FOLDER` signs each of them once and prints its name.
//! Callgrind counts only what happens in [`counted_section`].

mod raw;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bitcoin::hashes::{Hash, sha256};
use totp_rs::Totp;

use countersign::engine::{Engine, WalletId};
use countersign::kernel::approval::Approval;
use countersign::ports::{Random, RandomError};
use harness::engine::scripts::{SCRIPTS, Script, good_psbt};
use harness::engine::{Bench, ManualClock, MemoryLedger, watch};
use raw::Raw;

const INPUTS: [u32; 3] = [1, 100, 1000];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", folder] => make(Path::new(folder)),
        ["count", folder, names @ ..] => count(Path::new(folder), names),
        _ => eprintln!("counts make FOLDER | counts count FOLDER NAME…: see benches/counts.sh"),
    }
}

/// Callgrind counts what happens in here.
#[inline(never)]
fn counted_section(work: &mut dyn FnMut()) {
    work();
}

fn make(folder: &Path) {
    let token = Token::new();
    for (script, wallet) in SCRIPTS.iter().zip(&token.wallets) {
        for inputs in INPUTS {
            let wallet = token.bench.engine.wallet(wallet).expect("there");
            let psbt = good_psbt(watch(&wallet), inputs).serialize();
            std::fs::write(folder.join(name(script, inputs)), psbt).expect("the folder is there");
        }
    }
}

fn count(folder: &Path, names: &[&str]) {
    let token = Token::new();
    let is_asked = |name: &str| names.is_empty() || names.contains(&name);
    for inputs in INPUTS {
        for (kind, sign) in [("raw-ecdsa", Raw::ecdsa as fn(&Raw)), ("raw-schnorr", Raw::schnorr)] {
            let name = format!("{kind}-{inputs}");
            if is_asked(&name) {
                let raw = Raw::new(inputs);
                counted_section(&mut || sign(&raw));
                println!("{name}");
            }
        }
        for (script, wallet) in SCRIPTS.iter().zip(&token.wallets) {
            let name = name(script, inputs);
            if is_asked(&name) {
                let psbt = std::fs::read(folder.join(&name)).expect("`counts make` made it");
                token.sign(wallet, psbt);
                println!("{name}");
            }
        }
    }
}

fn name(script: &Script, inputs: u32) -> String {
    format!("{}-{inputs}", script.name)
}

/// A token with a wallet of each script type: the same in every run.
struct Token {
    bench: Bench,
    totp: Totp,
    wallets: Vec<WalletId>,
}

impl Token {
    fn new() -> Token {
        let (clock, ledger) = (ManualClock::default(), MemoryLedger::default());
        let random = Box::new(Fixed::default());
        let engine = Engine::open(Box::new(ledger.clone()), Box::new(clock.clone()), random).expect("opens");
        engine.initialise(b"so-pin", "counts").expect("initialises");
        let bench = Bench::of(engine, clock, ledger);
        let totp = bench.user("alice");
        let wallet = |script: &Script| {
            bench
                .add_wallet(script.name, &["alice"], "unlimited = true", script.to_be_made())
                .expect("a wallet")
        };
        let wallets = SCRIPTS.iter().map(wallet).collect();
        Token { bench, totp, wallets }
    }

    /// Signs with a code that is not used yet, for a wallet that has no address in its cache.
    fn sign(&self, wallet: &WalletId, psbt: Vec<u8>) {
        self.bench.clock.advance(30);
        let code = self.bench.code(&self.totp);
        watch(&self.bench.engine.wallet(wallet).expect("there")).forget_known();
        let mut given = Some((psbt, code));
        let mut signed = None;
        counted_section(&mut || {
            let Some((psbt, code)) = given.take() else { return };
            let approval = Approval::parse_pin_of(b"alice", code.as_bytes()).expect("well formed");
            signed = Some(self.bench.engine.countersign(wallet, vec![approval], psbt));
        });
        assert!(signed.expect("it was tried").is_ok(), "it signs");
    }
}

/// The same numbers in every run: SHA-256 of a counter.
#[derive(Default)]
struct Fixed(AtomicU64);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        for part in bytes.chunks_mut(32) {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let block = sha256::Hash::hash(&number.to_le_bytes()).to_byte_array();
            part.copy_from_slice(&block[..part.len()]);
        }
        Ok(())
    }
}
