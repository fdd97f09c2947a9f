//! The cost of each step of one signature, of each script type, and of many inputs, in time and in memory.
//!
//! `cargo bench --bench way` prints tables of ratios, whose sides take turns ([`measure`]). Quote the ratios,
//! not the microseconds. Inputs that the module sees for the first time and a PSBT that is signed again have
//! rows of their own. The ledger is in memory, so the tables show the computing. The cost of a durable commit
//! has a table of its own.
//! commit costs stands in a table of its own.

#[path = "measure/mod.rs"]
mod measure;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{Keypair, Message, Secp256k1};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{Amount, ScriptBuf, TxOut};
use totp_rs::Totp;
use zeroize::Zeroizing;

use countersign::engine::{Engine, WalletId};
use countersign::kernel::approval::Approval;
use countersign::kernel::factor::Factor;
use countersign::kernel::network::Network;
use countersign::kernel::otp::{OtpHash, OtpKey};
use countersign::kernel::psbt::{CheckedPsbt, Surroundings};
use countersign::kernel::receipt::{Committed, Decision, Receipt};
use countersign::kernel::record::Versioned;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::signer::{self, Authorization};
use countersign::kernel::state::{self, Claim, Epoch, Moment, Subject, UserRecord, WalletState};
use countersign::kernel::wallet::{Chain, Location, Reach, Wallet};
use countersign::ports::Vault;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::scripts::{Cosigner, SCRIPTS, Script, good_psbt, named, of_seed};
use harness::engine::{Bench, MEMORY_KEY, ManualClock, MemoryLedger, SystemRandom, alone, recorded, watch};
use measure::{Ratio, Side, cpu, in_turn, median, wall};

const ROUNDS: usize = 300;
const UNLIMITED: &str = "unlimited = true";

#[global_allocator]
static ALLOCATOR: Counting = Counting { now: AtomicUsize::new(0), peak: AtomicUsize::new(0) };

fn main() {
    for inputs in [1, 100] {
        print_steps(inputs);
    }
    print_scripts();
    print_claims();
    print_memory();
    print_commits();
}

/// Prints the steps for a transaction with so many P2WPKH inputs.
fn print_steps(inputs: u32) {
    let (way, steps) = (Way::new(named("wpkh"), inputs), Steps::new(inputs));
    let rounds = ROUNDS / if inputs > 1 { 10 } else { 1 };
    let keys = || steps.wallet.keys().expect("registered");
    let authorized = || Authorization::new(steps.decided()).expect("an authorization");
    let sides: Vec<(&str, Side<'_>)> = vec![
        ("raw: sighash + low-R sign + verify", Box::new(|| cpu(|| steps.raw.ecdsa(true)))),
        ("raw: sighash + low-R sign", Box::new(|| cpu(|| steps.raw.ecdsa(false)))),
        ("Approval::parse", {
            let parameter = parameter("123456");
            Box::new(move || cpu(|| Approval::parse(&parameter)))
        }),
        (
            "CheckedPsbt::parse, every input met for the first time",
            Box::new(|| {
                let psbt = steps.psbt.clone();
                watch(&steps.wallet).forget_known();
                cpu(|| steps.checked(psbt))
            }),
        ),
        (
            "CheckedPsbt::parse, again",
            Box::new(|| {
                let psbt = steps.psbt.clone();
                cpu(|| steps.checked(psbt))
            }),
        ),
        (
            "policy.refusing_rule",
            Box::new(|| {
                let psbt = steps.checked(steps.psbt.clone());
                cpu(|| steps.wallet.policy().refusing_rule(&psbt))
            }),
        ),
        (
            "decide, commit and open, ledger not counted",
            Box::new(|| {
                let (psbt, claims) = (steps.checked(steps.psbt.clone()), steps.claims());
                cpu(|| steps.decide(psbt, claims))
            }),
        ),
        (
            "Authorization::new (sighashes)",
            Box::new(|| {
                let consumed = steps.decided();
                cpu(|| Authorization::new(consumed))
            }),
        ),
        (
            "signer::sign (low-R, verified, spliced in)",
            Box::new(|| {
                let authorization = authorized();
                cpu(|| signer::sign(authorization, keys(), &steps.bench.secp))
            }),
        ),
        ("whole way, every input met for the first time", Box::new(|| way.take(true))),
        ("whole way, the same PSBT again", Box::new(|| way.take(false))),
    ];
    let (names, sides): (Vec<&str>, Vec<Side<'_>>) = sides.into_iter().unzip();
    let taken = in_turn(rounds, sides);
    println!(
        "\nOne transaction of {inputs} P2WPKH input(s), in CPU time; {rounds} rounds, the sides in turn, ledger in memory"
    );
    println!("{:56} {:>10}  to raw with its verification: median (middle half)", "step", "µs");
    for (name, figures) in names.iter().zip(&taken) {
        println!("{name:56} {:>10.1}  {}", median(figures) / 1000.0, Ratio::of(figures, &taken[0]));
    }
}

/// Prints, for each script type, the cost of an input, and of ten times as many inputs.
fn print_scripts() {
    const FEW: u32 = 100;
    const MANY: u32 = 1000;
    const ROUNDS: usize = 7;
    let raw = Raw::new(FEW);
    println!(
        "\nThe whole way for each script type, in CPU time, to raw (sighash, sign, verify) of as many inputs; {ROUNDS} rounds, the"
    );
    println!("sides in turn. In parentheses: the middle half of the rounds.");
    println!(
        "{:24} {:>28} {:>28} {:>28}",
        "script type", "first time, to raw", "again, to raw", "1000 : 100 inputs, first"
    );
    for script in SCRIPTS {
        let (few, many) = (Way::new(*script, FEW), Way::new(*script, MANY));
        let is_taproot = script.is_taproot();
        let taken = in_turn(
            ROUNDS,
            vec![
                Box::new(|| cpu(|| if is_taproot { raw.schnorr() } else { raw.ecdsa(true) })),
                Box::new(|| few.take(true)),
                Box::new(|| few.take(false)),
                Box::new(|| many.take(true)),
            ],
        );
        let [raw, first, again, many] = &taken[..] else { return };
        let columns = [Ratio::of(first, raw), Ratio::of(again, raw), Ratio::of(many, first)];
        println!("{:24} {:>28} {:>28} {:>28}", script.name, columns[0], columns[1], columns[2]);
    }
}

/// Prints the cost of PSBTs that claim much and are charged to nobody, in a wallet of twenty keys.
fn print_claims() {
    let secp = Secp256k1::new();
    let names: Vec<String> = ('A'..='S').map(|name| Cosigner::named(&name.to_string()).key()).collect();
    let places: Vec<String> = (0..20).map(|place| format!("@{place}/**")).collect();
    let policy = format!("wsh(sortedmulti(2,{}))\nours\n{}", places.join(","), names.join("\n"));
    let wallet = of_seed([9; 64], &policy, Network::Regtest, &secp);
    let watch = watch(&wallet);
    let around = Surroundings { reach: Reach::at(5_000, 5_000), ..alone(&secp) };
    let mut claiming = good_psbt(watch, 1);
    claiming.unsigned_tx.output[1].value = Amount::from_sat(1_000);
    let claim = claiming.outputs[1].bip32_derivation.iter();
    let claim = claim.clone().find(|(_, (master, _))| *master == watch.master_fingerprint());
    let key = *claim.expect("ours").0;
    for index in 0..4_999 {
        let script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
        claiming.unsigned_tx.output.push(TxOut { value: Amount::from_sat(1), script_pubkey });
        let path = format!("48'/1'/0'/2'/{}/{}", index % 2, index / 2).parse().expect("a path");
        let bip32_derivation = [(key, (watch.master_fingerprint(), path))].into();
        claiming.outputs.push(bitcoin::psbt::Output { bip32_derivation, ..Default::default() });
    }
    println!("\nPSBTs that claim much, {} keys an address", watch.key_places());
    println!("{:44} {:>8} {:>8} {:>10}", "", "kB", "keys", "ms");
    let row = |what: &str, len: usize, rounds, work: &mut dyn FnMut()| {
        watch.forget_known();
        let before = watch.keys_derived();
        work();
        let keys = watch.keys_derived() - before;
        let taken = in_turn(
            rounds,
            vec![Box::new(|| {
                watch.forget_known();
                cpu(&mut *work)
            })],
        );
        let ns = median(&taken[0]);
        println!("{what:44} {:>8.0} {keys:>8} {:>10.2}", len as f64 / 1000.0, ns / 1e6);
    };
    let check = |psbt: &[u8]| CheckedPsbt::parse(psbt.to_vec(), watch, &around).is_ok();
    let bytes = claiming.serialize();
    row("4,999 claims of outputs: refused", bytes.len(), 11, &mut || assert!(!check(&bytes)));
    row("  were each of them derived", bytes.len(), 1, &mut || {
        for index in 0..4_999 {
            let chain = if index % 2 == 0 { Chain::External } else { Chain::Internal };
            black_box(watch.rebuild(Location { chain, index: index / 2 }).expect("rebuilds"));
        }
    });
    let most = good_psbt(watch, 499).serialize();
    row("499 inputs: the most that is derived", most.len(), 3, &mut || assert!(check(&most)));
}

/// Prints the most memory that one signature holds at a time, from the PSBT that comes in to the answer.
fn print_memory() {
    println!("\nPeak of memory during one signature, the PSBT that came in and the answer counted");
    println!(
        "{:24} {:>8} {:>10} {:>10} {:>10} {:>30}",
        "script type", "inputs", "PSBT, kB", "peak, kB", "times", "peak - 3 × PSBT, B an input"
    );
    for script in SCRIPTS {
        for inputs in [100, 1000] {
            let way = Way::new(*script, inputs);
            way.sign(way.approval());
            let approval = way.approval();
            let before = ALLOCATOR.restart();
            let answer = black_box(way.sign(approval));
            let peak = ALLOCATOR.peak() - before;
            drop(answer);
            let psbt = way.psbt.len();
            println!(
                "{:24} {inputs:>8} {:>10.1} {:>10.1} {:>10.2} {:>30.0}",
                script.name,
                psbt as f64 / 1000.0,
                peak as f64 / 1000.0,
                peak as f64 / psbt as f64,
                (peak as f64 - 3.0 * psbt as f64) / f64::from(inputs)
            );
        }
    }
}

/// Prints what durable commits add to a transaction with one input.
fn print_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = Way::new(named("wpkh"), 1);
    let sqlite = Way::over(Box::new(AnchorInMemory::new(folder.path().join("store.db"))), named("wpkh"), 1);
    let whole = |way: &Way| {
        let approval = way.approval();
        wall(|| way.sign(approval))
    };
    let taken = in_turn(ROUNDS / 3, vec![Box::new(|| whole(&memory)), Box::new(|| whole(&sqlite))]);
    println!("\nThe whole way of one input, with its commit, in wall time; the sides in turn");
    println!("{:44} {:>10}  ratio: median (middle half)", "ledger", "µs");
    for (name, figures) in ["in memory", "SQLite, sealed and synced, anchor in memory"].iter().zip(&taken) {
        println!("{name:44} {:>10.1}  {}", median(figures) / 1000.0, Ratio::of(figures, &taken[0]));
    }
}

/// An engine with a user and a wallet, and a PSBT that it signs.
struct Way {
    bench: Bench,
    id: WalletId,
    totp: Totp,
    psbt: Vec<u8>,
}

impl Way {
    fn new(script: Script, inputs: u32) -> Way {
        Way::over(Box::new(MemoryLedger::default()), script, inputs)
    }

    fn over(vault: Box<dyn Vault>, script: Script, inputs: u32) -> Way {
        let clock = ManualClock::default();
        let engine = Engine::open(vault, Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
        engine.initialise(b"so-pin", "bench").expect("initialises");
        let bench = Bench::of(engine, clock, MemoryLedger::default());
        let totp = bench.user("alice");
        let id = bench.add_wallet("w", &["alice"], UNLIMITED, script.to_be_made()).expect("a wallet");
        let wallet = bench.engine.wallet(&id).expect("there");
        let psbt = good_psbt(watch(&wallet), inputs).serialize();
        Way { bench, id, totp, psbt }
    }

    /// An approval with the code of an unused time step.
    fn approval(&self) -> Vec<Approval> {
        self.bench.clock.advance(30);
        Approval::parse(&parameter(&self.bench.code(&self.totp))).expect("well formed")
    }

    /// CPU time of one signature, with inputs that are new to the module or of a PSBT that was signed before.
    fn take(&self, for_the_first_time: bool) -> f64 {
        let approval = self.approval();
        if for_the_first_time {
            watch(&self.bench.engine.wallet(&self.id).expect("there")).forget_known();
        }
        cpu(|| self.sign(approval))
    }

    fn sign(&self, approval: Vec<Approval>) -> Vec<u8> {
        self.bench.engine.countersign(&self.id, approval, self.psbt.clone()).expect("signs").signed
    }
}

/// The same signature, taken apart into its steps.
struct Steps {
    bench: Bench,
    clock: ManualClock,
    wallet: Wallet,
    psbt: Vec<u8>,
    user: UserRecord,
    totp: Totp,
    raw: Raw,
}

impl Steps {
    fn new(inputs: u32) -> Steps {
        let bench = Bench::new();
        let totp = bench.unconfirmed("alice");
        let wallet = named("wpkh").wallet(&bench.secp);
        let secret = Zeroizing::new(totp.secret().as_ref().to_vec());
        let user = UserRecord {
            name: "alice".into(),
            service: "bench".into(),
            factor: Factor::totp(OtpKey::new(secret, OtpHash::Sha1, 6, 30).expect("a key")),
            confirmed: true,
            budget: state::Budget::default(),
        };
        let psbt = good_psbt(watch(&wallet), inputs).serialize();
        Steps { clock: bench.clock.clone(), bench, wallet, psbt, user, totp, raw: Raw::new(inputs) }
    }

    fn checked(&self, psbt: Vec<u8>) -> CheckedPsbt {
        CheckedPsbt::parse(psbt, watch(&self.wallet), &alone(&self.bench.secp)).expect("nothing to refuse")
    }

    fn user(&self) -> Versioned<UserRecord> {
        recorded(RecordKey::user("alice"), &self.user)
    }

    fn claims(&self) -> Vec<Claim> {
        let approval = Approval::parse(&parameter(&self.bench.code(&self.totp))).expect("formed").remove(0);
        vec![Claim { approval, subject: Subject::User(Box::new(self.user())), released_at: None }]
    }

    fn decided(&self) -> Receipt<state::Consumed<CheckedPsbt>> {
        self.decide(self.checked(self.psbt.clone()), self.claims())
    }

    fn decide(&self, psbt: CheckedPsbt, claims: Vec<Claim>) -> Receipt<state::Consumed<CheckedPsbt>> {
        let place = RecordKey { kind: Kind::WalletState, id: [0; 16] };
        let state = recorded(place, &WalletState::default());
        let entropy = Zeroizing::new([5; 32]);
        let moment = Moment { now: self.clock.now(), epoch: Epoch::default(), entropy: &entropy };
        let asked = (&self.wallet, psbt);
        let decided = state::decide::<_, state::Untried>(asked, claims, &state, |_| Ok(false), moment);
        let Ok(decided) = decided else { panic!("not locked, and not frozen") };
        let Ok(consumed) = issue(decided).open().answer else { panic!("right") };
        consumed
    }
}

/// A receipt whose write costs nothing.
fn issue<E>(decided: Decision<E>) -> Receipt<E> {
    Receipt::issue(decided, |batch| {
        black_box(batch);
        Ok::<_, ()>(Committed::by(&MEMORY_KEY, batch))
    })
    .ok()
    .expect("nothing to fail")
}

/// The work that no signer can avoid, on a transaction like the measured one.
struct Raw {
    secp: Secp256k1<bitcoin::secp256k1::All>,
    psbt: Psbt,
    keys: Vec<(Keypair, ScriptBuf)>,
    prevouts: Vec<TxOut>,
}

impl Raw {
    fn new(inputs: u32) -> Raw {
        let secp = Secp256k1::new();
        let psbt = good_psbt(watch(&named("wpkh").wallet(&secp)), inputs);
        let keys = (0..inputs)
            .map(|index| {
                let mut bytes = [1; 32];
                bytes[..4].copy_from_slice(&index.to_le_bytes());
                let pair = Keypair::from_seckey_slice(&secp, &bytes).expect("a key");
                (pair, harness::engine::script_pubkey(&pair.public_key()))
            })
            .collect();
        let prevouts = psbt.iter_funding_utxos().map(|prevout| prevout.expect("there").clone()).collect();
        Raw { secp, psbt, keys, prevouts }
    }

    /// A sighash (BIP 143) and a low-R signature for each input, and with `verify` its verification.
    fn ecdsa(&self, verify: bool) {
        let mut cache = SighashCache::new(&self.psbt.unsigned_tx);
        for (index, (pair, script)) in self.keys.iter().enumerate() {
            let value = self.prevouts[index].value;
            let hash = cache.p2wpkh_signature_hash(index, script, value, EcdsaSighashType::All);
            let message = Message::from(hash.expect("an input"));
            let signature = black_box(self.secp.sign_ecdsa_low_r(&message, &pair.secret_key()));
            if verify {
                self.secp.verify_ecdsa(&message, &signature, &pair.public_key()).expect("verifies");
            }
        }
    }

    /// A sighash (BIP 341), a signature and its verification (BIP 340) for each input.
    fn schnorr(&self) {
        let mut cache = SighashCache::new(&self.psbt.unsigned_tx);
        let all = Prevouts::All(&self.prevouts);
        for (index, (pair, _)) in self.keys.iter().enumerate() {
            let hash = cache.taproot_key_spend_signature_hash(index, &all, TapSighashType::Default);
            let message = Message::from(hash.expect("an input"));
            let signature = self.secp.sign_schnorr_with_aux_rand(&message, pair, &[3; 32]);
            self.secp.verify_schnorr(&signature, &message, &pair.x_only_public_key().0).expect("verifies");
        }
    }
}

/// One approval as the mechanism parameter has it.
fn parameter(code: &str) -> Vec<u8> {
    let mut record = vec![0; 128];
    record[..4].copy_from_slice(&[1, 1, 5, code.len() as u8]);
    record[4..9].copy_from_slice(b"alice");
    record[64..64 + code.len()].copy_from_slice(code.as_bytes());
    record
}

/// The system's allocator, counting the bytes in use and their peak.
struct Counting {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Counting {
    /// Begins a new peak, and returns the bytes in use now.
    fn restart(&self) -> usize {
        let now = self.now.load(Ordering::SeqCst);
        self.peak.store(now, Ordering::SeqCst);
        now
    }

    fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    fn add(&self, size: usize) {
        let now = self.now.fetch_add(size, Ordering::SeqCst) + size;
        self.peak.fetch_max(now, Ordering::SeqCst);
    }

    fn sub(&self, size: usize) {
        self.now.fetch_sub(size, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed to the system's allocator unchanged.
#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.add(layout.size());
        // SAFETY: the caller promises what the allocator requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.sub(layout.size());
        // SAFETY: the caller promises what the allocator requires.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Counts both blocks at once, as when a block has to move.
        self.add(size);
        self.sub(layout.size());
        // SAFETY: the caller promises what the allocator requires.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
