//! Signatures a second by 32 clients, each with a synced commit: in this process, and through the boundary.

use std::sync::Barrier;
use std::time::Instant;

use countersign::engine::Engine;
use totp_rs::Totp;

use super::caller::{Module, parameter};
use super::measure::{Ratio, median};
use super::served::Served;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::scripts::good_psbt;
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, watch};

const CLIENTS: usize = 32;
/// Users of one wallet.
const USERS: usize = 16;
const WALLETS: usize = 40;
/// Codes of one user that are valid while the clock stands still.
const CODES: u64 = 2;
const ROUNDS: usize = 5;

pub(crate) fn print() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, here) = load(AnchorInMemory::new(folder.path().join("here.db")));
    countersign::pkcs11::install(engine);
    let module = Module::of_this_process();
    let (engine, there) = load(AnchorInMemory::new(folder.path().join("there.db")));
    let served = Served::start(engine);
    let client = Module::client(served.client());
    let logins = [module.open(), client.open()];
    logins.iter().for_each(|session| session.log_in());

    let (mut in_process, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Interleaved, so that both sides run under the same load.
        in_process.push(here.rate(module));
        through.push(there.rate(client));
    }
    let ratio = Ratio::of(&through, &in_process);
    let (here, there) = (median(&in_process), median(&through));
    println!("\n{CLIENTS} clients at once, one synced commit a signature, anchor in memory: {ROUNDS} rounds");
    println!("{:<52} {here:>8.0} /s", "in this process");
    println!("{:<52} {there:>8.0} /s", "through the boundary's Unix socket");
    println!("{:<52} {ratio}", "ratio, round by round: median (middle half)");
    drop(logins);
    client.finalize();
}

/// Users of an engine, each with a transaction to sign.
struct Load {
    clock: ManualClock,
    users: Vec<User>,
}

struct User {
    name: String,
    totp: Totp,
    label: String,
    psbt: Vec<u8>,
}

fn load(vault: AnchorInMemory) -> (Engine, Load) {
    let clock = ManualClock::default();
    let engine =
        Engine::open(Box::new(vault), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
    engine.initialise(b"so-pin", "bench").expect("initialises");
    let bench = Bench::of(engine, clock.clone(), MemoryLedger::default());
    bench.set_user_pin(b"user-pin").expect("set");
    let mut users = Vec::new();
    for wallet in 0..WALLETS {
        let names: Vec<String> = (0..USERS).map(|user| format!("user-{wallet}-{user}")).collect();
        let totps: Vec<Totp> = names.iter().map(|name| bench.unconfirmed(name)).collect();
        for (name, totp) in names.iter().zip(&totps) {
            bench.confirm(name, &bench.code(totp)).expect("confirms");
        }
        let (label, of) = (format!("w{wallet}"), names.iter().map(String::as_str).collect::<Vec<_>>());
        let id = bench.wallet(&label, &of, "unlimited = true");
        let psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1).serialize();
        users.extend(names.into_iter().zip(totps).map(|(name, totp)| User {
            name,
            totp,
            label: label.clone(),
            psbt: psbt.clone(),
        }));
    }
    (bench.engine, Load { clock, users })
}

impl Load {
    /// Signatures a second: each user signs with each valid code.
    fn rate(&self, module: Module) -> f64 {
        self.clock.advance(30 * (CODES + 2));
        let (now, begin) = (self.clock.now(), Barrier::new(CLIENTS));
        let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn({
                        let begin = &begin;
                        move || self.client(client, module, now, begin)
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("all sign")).collect()
        });
        let first = times.iter().map(|(start, _)| *start).min().expect("there are clients");
        let last = times.iter().map(|(_, end)| *end).max().expect("there are clients");
        (self.users.len() as u64 * CODES) as f64 / (last - first).as_secs_f64()
    }

    fn client(&self, client: usize, module: Module, now: u64, begin: &Barrier) -> (Instant, Instant) {
        let mut session = module.open();
        let mut work: Vec<_> = (0..CODES)
            .flat_map(|step| self.users.iter().skip(client).step_by(CLIENTS).map(move |user| (step, user)))
            .map(|(step, user)| {
                let code = user.totp.generate(now + 30 * step).to_string();
                (session.key(&user.label), parameter(&user.name, &code), user.psbt.clone())
            })
            .collect();
        begin.wait();
        let start = Instant::now();
        for (key, approval, psbt) in &mut work {
            session.sign(*key, approval, psbt);
        }
        (start, Instant::now())
    }
}
