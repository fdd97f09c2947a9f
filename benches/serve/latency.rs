//! One caller: a signature in this process, through the boundary, and an echo over the same kind of socket.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use bitcoin::Amount;
use countersign::engine::Engine;
use totp_rs::Totp;

use super::caller::{Module, Session, parameter};
use super::measure::{Ratio, median};
use super::served::Served;
use harness::engine::ledgers::NoCommit;
use harness::engine::scripts::good_psbt;
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, watch};

/// Signatures of each kind.
const COUNT: usize = 3_000;

pub(crate) fn print() {
    let (engine, mut here) = signer();
    countersign::pkcs11::install(engine);
    here.session = Some(log_in(Module::of_this_process()));
    let (engine, mut there) = signer();
    let served = Served::start(engine);
    let client = Module::client(served.client());
    there.session = Some(log_in(client));
    let mut echo = Echo::new();

    let mut times = [const { Vec::new() }; 3];
    for number in 0..COUNT {
        // Interleaved, so that all sides run under the same load.
        times[0].push(here.sign(number));
        times[1].push(there.sign(number));
        times[2].push(echo.once());
    }
    let added: Vec<f64> = times[1].iter().zip(&times[0]).map(|(through, here)| through - here).collect();
    let added = Ratio::of(&added, &times[2]);
    let [in_process, through, echo] = times.each_ref().map(|times| median(times));
    println!("\nOne caller, one P2WPKH input and its change, no commit: medians of {COUNT}");
    println!("{:<52} {in_process:>8.1} µs", "C_SignInit + C_Sign in this process");
    println!("{:<52} {through:>8.1} µs", "the same through the boundary's Unix socket");
    println!("{:<52} {echo:>8.1} µs", "64 bytes echoed over a Unix socket");
    println!("{:<52} {added}", "what the boundary adds, to one echo: median (middle half)");
    there.session = None;
    client.finalize();
}

fn log_in(module: Module) -> Session {
    let session = module.open();
    session.log_in();
    session
}

/// A user and a wallet of an engine that commits nothing.
struct Signer {
    clock: ManualClock,
    totp: Totp,
    wallet: std::sync::Arc<countersign::kernel::wallet::Wallet>,
    session: Option<Session>,
    key: Option<u64>,
}

fn signer() -> (Engine, Signer) {
    let clock = ManualClock::default();
    let engine = Engine::open(Box::<NoCommit>::default(), Box::new(clock.clone()), Box::new(SystemRandom));
    let engine = engine.expect("opens");
    engine.initialise(b"so-pin", "bench").expect("initialises");
    let bench = Bench::of(engine, clock.clone(), MemoryLedger::default());
    bench.set_user_pin(b"user-pin").expect("set");
    let totp = bench.user("alice");
    let id = bench.wallet("w", &["alice"], "unlimited = true");
    let wallet = bench.engine.wallet(&id).expect("there");
    (bench.engine, Signer { clock, totp, wallet, session: None, key: None })
}

impl Signer {
    /// The time of one signature, in microseconds.
    fn sign(&mut self, number: usize) -> f64 {
        self.clock.advance(30);
        let mut psbt = good_psbt(watch(&self.wallet), 1);
        let moved = Amount::from_sat(number as u64);
        psbt.unsigned_tx.output[0].value += moved;
        psbt.unsigned_tx.output[1].value -= moved;
        let mut psbt = psbt.serialize();
        let mut approval = parameter("alice", &self.totp.generate(self.clock.now()).to_string());
        let session = self.session.as_mut().expect("logged in");
        let key = *self.key.get_or_insert_with(|| session.key("w"));
        let start = Instant::now();
        session.sign(key, &mut approval, &mut psbt);
        start.elapsed().as_secs_f64() * 1e6
    }
}

/// A thread that echoes.
struct Echo(UnixStream);

impl Echo {
    fn new() -> Echo {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("echo")).expect("the folder is ours");
        let client = UnixStream::connect(folder.path().join("echo")).expect("it listens");
        let (mut server, _) = listener.accept().expect("it connected");
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while server.read_exact(&mut bytes).is_ok() {
                server.write_all(&bytes).expect("the other side reads");
            }
        });
        Echo(client)
    }

    /// The time of one echo, in microseconds.
    fn once(&mut self) -> f64 {
        let mut bytes = [7; 64];
        let start = Instant::now();
        self.0.write_all(&bytes).expect("the other side reads");
        self.0.read_exact(&mut bytes).expect("it is sent back");
        black_box(bytes);
        start.elapsed().as_secs_f64() * 1e6
    }
}
