//! Signatures a second by concurrent callers, and how much of that rate their shared commits leave.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use countersign::kernel::approval::Approval;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use totp_rs::Totp;

use countersign::engine::{Engine, WalletId};
use countersign::ports::{Random, Vault};
use countersign::shell::backing::Backing;
use countersign::shell::config::EngineConfig;
use countersign::shell::random::MixedRandom;
use countersign::shell::sqlite::SqliteSite;
use countersign::shell::vault::SealedVault;

use super::latency::{self, Steps};
use super::measure::{Ratio, cpu};
use super::middle;
use harness::engine::ledgers::{AnchorInMemory, NoCommit};
use harness::engine::scripts::good_psbt;
use harness::engine::{Bench, ManualClock, MemoryLedger, SystemRandom, watch};

const CALLERS: [usize; 3] = [1, 8, 32];
/// Users of one wallet, so that callers meet in the same wallet.
const USERS: usize = 16;
const WALLETS: usize = 40;
/// Codes of one user that are valid while the clock stands still.
const CODES: u64 = 2;
const ROUNDS: usize = 5;

pub(crate) fn print() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = Load::new(Box::<NoCommit>::default(), Box::new(SystemRandom));
    let vault = AnchorInMemory::new(folder.path().join("store.db"));
    let sqlite = Load::new(Box::new(vault), Box::new(SystemRandom));
    let softhsm = SoftHsm::new(&folder.path().join("boundary"));
    let steps = Arc::new(Steps::of(Arc::clone(&softhsm.backing)));
    let site = SqliteSite::new(softhsm.config.store.path.clone()).expect("its folder is there");
    let random = Arc::new(MixedRandom::new(Arc::clone(&softhsm.backing)));
    let (sealer, anchor) = (Arc::clone(&softhsm.backing), Arc::clone(&steps));
    let vault = SealedVault::new(Box::new(site), sealer, anchor, random);
    let random = Box::new(MixedRandom::new(Arc::clone(&softhsm.backing)));
    let anchored = Load::new(Box::new(vault), random);

    println!(
        "\nSignatures a second: one P2WPKH input and its change, {USERS} users to a wallet, {ROUNDS} rounds"
    );
    println!(
        "{:>8} {:>12} {:>18} {:>24} {:>18} {:>16} {:>24}",
        "callers", "no commit", "anchor in memory", "ratio", "anchor in SoftHSM2", "SoftHSM2 ECDSA", "ratio"
    );
    for callers in CALLERS {
        let mut rates = [const { Vec::new() }; 4];
        // CPU time in µs of each signature, and signatures of each step of the anchor.
        let (mut used, mut shared) = ([const { Vec::new() }; 3], Vec::new());
        for _ in 0..ROUNDS {
            // Interleaved, so that all sides run under the same load.
            for (number, load) in [&memory, &sqlite, &anchored].into_iter().enumerate() {
                let (mut rate, before) = (0.0, steps.taken().0);
                let taken = cpu(|| rate = load.rate(callers));
                rates[number].push(rate);
                used[number].push(taken / 1000.0 / load.signatures() as f64);
                let steps = steps.taken().0 - before;
                if steps > 0 {
                    shared.push(load.signatures() as f64 / f64::from(steps));
                }
            }
            rates[3].push(softhsm.ecdsa_rate(callers));
        }
        let [in_memory, to_ecdsa] = [Ratio::of(&rates[1], &rates[0]), Ratio::of(&rates[2], &rates[3])];
        let [memory, sqlite, anchored, ecdsa] = rates.map(middle);
        println!(
            "{callers:>8} {memory:>12.0} {sqlite:>18.0} {in_memory:>24} {anchored:>18.0} {ecdsa:>16.0} {to_ecdsa:>24}"
        );
        let [memory, sqlite, anchored] = used.map(middle);
        println!(
            "{:>8} {memory:>9.0} µs {sqlite:>15.0} µs {:>24} {anchored:>15.0} µs of CPU time each; {:.1} share a step",
            "",
            "",
            middle(shared)
        );
    }
    latency::print(&anchored, &steps, folder.path());
}

/// An engine with many users in many wallets, each with a transaction to sign.
pub(crate) struct Load {
    bench: Bench,
    users: Vec<User>,
}

struct User {
    name: String,
    totp: Totp,
    wallet: WalletId,
    psbt: Arc<Vec<u8>>,
}

impl Load {
    fn new(vault: Box<dyn Vault>, random: Box<dyn Random>) -> Load {
        let clock = ManualClock::default();
        let engine = Engine::open(vault, Box::new(clock.clone()), random).expect("opens");
        engine.initialise(b"so-pin", "bench").expect("initialises");
        let bench = Bench::of(engine, clock, MemoryLedger::default());
        let mut users = Vec::new();
        for wallet in 0..WALLETS {
            let names: Vec<String> = (0..USERS).map(|user| format!("user-{wallet}-{user}")).collect();
            let totps: Vec<Totp> = names.iter().map(|name| bench.unconfirmed(name)).collect();
            for (name, totp) in names.iter().zip(&totps) {
                bench.confirm(name, &bench.code(totp)).expect("confirms");
            }
            let of: Vec<&str> = names.iter().map(String::as_str).collect();
            let id = bench.wallet(&format!("w{wallet}"), &of, "unlimited = true");
            let psbt = good_psbt(watch(&bench.engine.wallet(&id).expect("there")), 1).serialize();
            let psbt = Arc::new(psbt);
            users.extend(names.into_iter().zip(totps).map(|(name, totp)| User {
                name,
                totp,
                wallet: id,
                psbt: Arc::clone(&psbt),
            }));
        }
        Load { bench, users }
    }

    /// The signatures of [`Self::rate`].
    fn signatures(&self) -> usize {
        self.users.len() * CODES as usize
    }

    /// So many signatures by one caller, each by another user with a code that is valid now.
    pub(crate) fn sign_in_turn(&self, count: usize) {
        self.bench.clock.advance(60);
        for user in self.users.iter().step_by(USERS + 1).take(count) {
            self.sign(user, &user.totp.generate(self.bench.clock.now()).to_string());
        }
    }

    /// Signatures a second: each user signs with each valid code.
    fn rate(&self, callers: usize) -> f64 {
        self.bench.clock.advance(30 * (CODES + 2));
        let now = self.bench.clock.now();
        let begin = Barrier::new(callers);
        let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..callers)
                .map(|caller| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        let start = Instant::now();
                        for step in 0..CODES {
                            // Neighbours in a wallet sign at the same time.
                            for user in self.users.iter().skip(caller).step_by(callers) {
                                let code = user.totp.generate(now + 30 * step).to_string();
                                self.sign(user, &code);
                            }
                        }
                        (start, Instant::now())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("all sign")).collect()
        });
        let first = times.iter().map(|(start, _)| *start).min().expect("there are callers");
        let last = times.iter().map(|(_, end)| *end).max().expect("there are callers");
        self.signatures() as f64 / (last - first).as_secs_f64()
    }

    fn sign(&self, user: &User, code: &str) {
        let approval = Approval::parse_pin_of(user.name.as_bytes(), code.as_bytes()).expect("well formed");
        let psbt = user.psbt.to_vec();
        self.bench.engine.countersign(&user.wallet, vec![approval], psbt).expect("signs");
    }
}

/// A SoftHSM2 token, as Countersign's backing token and as a signer without a gate.
struct SoftHsm {
    config: EngineConfig,
    backing: Arc<Backing>,
}

impl SoftHsm {
    fn new(folder: &Path) -> SoftHsm {
        let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/softhsm/setup.sh");
        let made = Command::new("bash").arg(setup).arg(folder).output().expect("bash is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let conf = folder.join("softhsm2.conf");
        // SAFETY: no other thread runs yet.
        #[allow(unsafe_code, reason = "SoftHSM2 reads its configuration from the environment")]
        unsafe {
            std::env::set_var("SOFTHSM2_CONF", conf);
        }
        let config = EngineConfig::load(&folder.join("countersign.toml")).expect("setup.sh wrote it");
        let backing = Backing::open(&config.backing).expect("the token opens");
        SoftHsm { config, backing }
    }

    /// Signatures a second by `CKM_ECDSA` on secp256k1, in so many sessions, each in a thread.
    fn ecdsa_rate(&self, sessions: usize) -> f64 {
        let pkcs11 = cryptoki::context::Pkcs11::new(&self.config.backing.module).expect("it is loaded");
        // The backing has initialised it already, in this process.
        let _ = pkcs11.initialize(cryptoki::context::CInitializeArgs::new(
            cryptoki::context::CInitializeFlags::OS_LOCKING_OK,
        ));
        let slot = pkcs11.get_slots_with_initialized_token().expect("slots")[0];
        let first = pkcs11.open_rw_session(slot).expect("a session");
        let pin = self.config.backing.pin.read().expect("setup.sh wrote it");
        let _ = first.login(UserType::User, Some(&AuthPin::new(pin.as_str().into())));
        // The named curve of SEC 2, 1.3.132.0.10, in DER.
        let curve = vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
        let public = [Attribute::EcParams(curve), Attribute::Verify(true)];
        let private = [Attribute::Token(false), Attribute::Sign(true)];
        let (_, key) =
            first.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).expect("a key pair");
        let opened: Vec<_> =
            (0..sessions).map(|_| pkcs11.open_rw_session(slot).expect("a session")).collect();
        let begin = Barrier::new(sessions);
        let period = Duration::from_secs(1);
        let signed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = opened
                .into_iter()
                .map(|session| {
                    let begin = &begin;
                    scope.spawn(move || {
                        begin.wait();
                        let (start, mut signed) = (Instant::now(), 0);
                        while start.elapsed() < period {
                            session.sign(&Mechanism::Ecdsa, key, &[7; 32]).expect("it signs");
                            signed += 1;
                        }
                        signed
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("all sign")).sum()
        });
        signed as f64 / period.as_secs_f64()
    }
}
