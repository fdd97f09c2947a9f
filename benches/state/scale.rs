//! A million users: what opening costs in time and memory, and what one signature costs, compared with ten
//! users.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use bitcoin::secp256k1::{All, Secp256k1};
use zeroize::Zeroizing;

use countersign::admin::{Act, Administrator, NewFactor, NewUser};
use countersign::engine::{Engine, WalletId};
use countersign::kernel::administration::{
    Approved, Fresh, KeyId, Moment, Plan, Present, Refused, UserId, check, decide,
};
use countersign::kernel::approval::Approval;
use countersign::kernel::clock::Believed;
use countersign::kernel::credential::Credentials;
use countersign::kernel::freeze::Freeze;
use countersign::kernel::officer::Council;
use countersign::kernel::otp::OtpHash;
use countersign::kernel::receipt::{Decision, Receipt};
use countersign::kernel::record::Versioned;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::state::{
    ClockRecord, Epoch, FormerUsers, KeyRecord, TokenRecord, UserRecord, WalletState,
};
use countersign::ports::{Anchor, Ledger};

use super::middle;
use harness::engine::administration::administrator_as;
use harness::engine::fakes::MemoryAnchor;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::scripts::good_psbt;
use harness::engine::{Bench, ManualClock, MemoryLedger, START, SystemRandom, watch};

const USERS: u64 = 1_000_000;
/// Threads that enrol the users and share their commits.
const ENROLLING: u64 = 64;
/// Users who sign, out of all.
const SIGNING: usize = 10;
const SIGNATURES: usize = 400;
/// Tells the process that only opens the store where the store is.
const STORE: &str = "COUNTERSIGN_BENCH_STORE";
const ANCHOR: &str = "COUNTERSIGN_BENCH_ANCHOR";

pub(crate) fn print() {
    if let (Some(store), Ok(anchor)) = (std::env::var_os(STORE), std::env::var(ANCHOR)) {
        return open(store.into(), &anchor);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (few, many) = (Store::new(&folder.path().join("few.db")), Store::new(&folder.path().join("many.db")));
    let start = Instant::now();
    many.enrol();
    println!(
        "\n{USERS} users in the store, each enrolled by a commit of its own ({:.0} s)",
        start.elapsed().as_secs_f64()
    );
    many.print_opening();
    // Interleaved, so that both sides run under the same load.
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    let (few, many) = (few.opened(), many.opened());
    for _ in 0..SIGNATURES {
        of_few.push(few.sign());
        of_many.push(many.sign());
    }
    let (of_few, of_many) = (middle(of_few), middle(of_many));
    println!("One signature with its commit, anchor in memory:");
    println!("{:>20} users {:>10.0} µs", SIGNING, of_few / 1000.0);
    println!("{:>20} users {:>10.0} µs   ratio {:.3}", USERS, of_many / 1000.0, of_many / of_few);
    let find = |opened: &Opened| middle((0..200).map(|_| opened.look_up()).collect());
    println!(
        "A user by name: {:.1} µs among {SIGNING}, {:.1} µs among {USERS}",
        find(&few) / 1000.0,
        find(&many) / 1000.0
    );
}

/// A store on disk with ten users who sign.
struct Store {
    path: PathBuf,
    anchor: MemoryAnchor,
    clock: ManualClock,
    wallet: WalletId,
    totps: Vec<totp_rs::Totp>,
    administrator: Administrator,
}

impl Store {
    fn new(path: &Path) -> Store {
        let vault = AnchorInMemory::new(path.into());
        let anchor = vault.anchor();
        let clock = ManualClock::default();
        let engine =
            Engine::open(Box::new(vault), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
        engine.initialise(b"so-pin", "bench").expect("initialises");
        let bench = Bench::of(engine, clock.clone(), MemoryLedger::default());
        let names: Vec<String> = (0..SIGNING).map(|number| format!("signer-{number}")).collect();
        let totps = names.iter().map(|name| bench.user(name)).collect();
        let of: Vec<&str> = names.iter().map(String::as_str).collect();
        let wallet = bench.wallet("w", &of, "unlimited = true");
        let administrator = administrator_as(&bench.engine, None, b"so-pin");
        Store { path: path.into(), anchor, clock, wallet, totps, administrator }
    }

    fn vault(&self) -> AnchorInMemory {
        AnchorInMemory::with(self.path.clone(), self.anchor.clone())
    }

    fn enrol(&self) {
        let ledger = self.vault().reopen().expect("it opens");
        std::thread::scope(|scope| {
            for first in 0..ENROLLING {
                let (ledger, administrator) = (&ledger, &self.administrator);
                scope.spawn(move || {
                    for number in (first..USERS - SIGNING as u64).step_by(ENROLLING as usize) {
                        let added = Receipt::issue(enrolled(administrator, ledger, number), |batch| {
                            ledger.commit(batch)
                        });
                        assert!(added.is_ok());
                    }
                });
            }
        });
    }

    /// Opens the store in a process of its own, so that the memory is the store's alone.
    fn print_opening(&self) {
        let anchor = hex::encode(&self.anchor.current().expect("in memory")[0]);
        let opened = Command::new(std::env::current_exe().expect("it runs"))
            .arg("scale")
            .env(STORE, &self.path)
            .env(ANCHOR, anchor)
            .output()
            .expect("it starts");
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        print!("{}", String::from_utf8_lossy(&opened.stdout));
    }

    fn opened(&self) -> Opened<'_> {
        let clock = Box::new(self.clock.clone());
        let engine = Engine::open(Box::new(self.vault()), clock, Box::new(SystemRandom)).expect("opens");
        let psbt = good_psbt(watch(&engine.wallet(&self.wallet).expect("there")), 1).serialize();
        Opened { store: self, engine, psbt, next: 0.into() }
    }
}

struct Opened<'a> {
    store: &'a Store,
    engine: Engine,
    psbt: Vec<u8>,
    next: std::cell::Cell<usize>,
}

impl Opened<'_> {
    fn next(&self) -> usize {
        let next = self.next.get();
        self.next.set((next + 1) % SIGNING);
        next
    }

    /// The time of one signature in nanoseconds.
    fn sign(&self) -> f64 {
        let signer = self.next();
        self.store.clock.advance(30);
        let code = self.store.totps[signer].generate(self.store.clock.now()).to_string();
        let name = format!("signer-{signer}");
        let approval = Approval::parse_pin_of(name.as_bytes(), code.as_bytes()).expect("well formed");
        let psbt = self.psbt.clone();
        let start = Instant::now();
        self.engine.countersign(&self.store.wallet, vec![approval], psbt).expect("signs");
        start.elapsed().as_nanos() as f64
    }

    fn look_up(&self) -> f64 {
        let name = format!("signer-{}", self.next());
        let start = Instant::now();
        assert!(self.engine.user(&name).expect("readable").is_some());
        start.elapsed().as_nanos() as f64
    }
}

fn open(store: PathBuf, anchor: &str) {
    let remembered = MemoryAnchor::default();
    remembered.step(None, &hex::decode(anchor).expect("hex")).expect("in memory");
    let start = Instant::now();
    let vault = Box::new(AnchorInMemory::with(store, remembered));
    let engine =
        Engine::open(vault, Box::new(ManualClock::default()), Box::new(SystemRandom)).expect("opens");
    println!("Opening: {:.2} s", start.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    for line in status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS")) {
        println!("Resident memory: {line}");
    }
    drop(engine);
}

/// Enrols a user without the engine, whose administration does one act at a time.
fn enrolled(administrator: &Administrator, ledger: &dyn Ledger, number: u64) -> Decision<Approved<Plan>> {
    let mut secret = vec![7; 20];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    let name = format!("user-{number}");
    let factor = NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 };
    let user = NewUser { name, service: "bench".into(), factor };
    let clocks = Believed { boot_id: [1; 16], wall: START, boot: 0 };
    let moment = Moment { now: Ok(START), clocks, believed: Some(clocks), newest: START };
    let secp = SECP.get_or_init(Secp256k1::new);
    let plan = check(administrator.approve(Act::Enrol(user)), Fresh::new(Zeroizing::new(secret)), secp);
    decide(plan.expect("a user"), &moment, &NobodyYet(ledger), secp).expect("of a new name")
}

static SECP: OnceLock<Secp256k1<All>> = OnceLock::new();

/// Answers that the name of the user to enrol is free.
struct NobodyYet<'a>(&'a dyn Ledger);

impl Present for NobodyYet<'_> {
    type Error = Refused;

    fn is_initialised(&self) -> bool {
        true
    }

    fn epoch(&self) -> Epoch {
        Epoch::default()
    }

    fn token(&self) -> Result<Versioned<TokenRecord>, Refused> {
        let place = RecordKey::single(Kind::Token);
        let record = self.0.read(&place).expect("readable").expect("there");
        Ok(Versioned::read(&record).expect("readable"))
    }

    fn user(&self, _name: &str) -> Result<Option<Versioned<UserRecord>>, Refused> {
        Ok(None)
    }

    fn key<K: KeyRecord>(&self, _id: &KeyId) -> Result<(Versioned<K>, Versioned<WalletState>), Refused> {
        unreachable!("a user is enrolled")
    }

    fn clock(&self) -> Result<Option<Versioned<ClockRecord>>, Refused> {
        unreachable!("a user is enrolled")
    }

    fn council(&self) -> Result<Option<Versioned<Council>>, Refused> {
        Ok(None)
    }

    fn freeze(&self, _place: &RecordKey) -> Result<Option<Versioned<Freeze>>, Refused> {
        unreachable!("a user is enrolled")
    }

    fn credentials(&self, _name: &str) -> Result<Option<Versioned<Credentials>>, Refused> {
        unreachable!("a user is enrolled")
    }

    fn all_credentials(&self) -> Result<Vec<Credentials>, Refused> {
        unreachable!("a user is enrolled")
    }

    fn is_retired(&self, _label: &str) -> Result<bool, Refused> {
        Ok(false)
    }

    fn former_users(&self, _id: &KeyId) -> Result<Option<Versioned<FormerUsers>>, Refused> {
        Ok(None)
    }

    fn acts_need(&self, _user: &UserId) -> Result<bool, Refused> {
        Ok(false)
    }

    fn has_label(&self, _label: &str) -> bool {
        false
    }

    fn signs_for(&self, _user: &str) -> Option<String> {
        None
    }
}
