//! The cost of each step of the way of one signature, and its ratio to what no signer can do without.
//!
//! `cargo bench --bench way` prints criterion's figures for the whole, then a table of the steps with their ratio to raw
//! `sighash + low-R ECDSA sign`, all measured in the same run: quote the ratios, not the microseconds. The ledger is in
//! memory, so that the table shows the computing; what a durable commit costs stands in its last lines.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bitcoin::absolute::LockTime;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, transaction};
use criterion::{BatchSize, Criterion};
use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

use countersign::admin::{NewUser, NewWallet};
use countersign::engine::{Engine, WalletId};
use countersign::kernel::approval::Approval;
use countersign::kernel::clock::Reading;
use countersign::kernel::otp::{self, OtpHash};
use countersign::kernel::policy::{Approved, Verdict};
use countersign::kernel::psbt::{CheckedPsbt, Surroundings};
use countersign::kernel::receipt::{Batch, Content, Receipt};
use countersign::kernel::seal::{DataKey, Kind, RecordKey};
use countersign::kernel::signer::{self, Authorization};
use countersign::kernel::state::{self, Claim, Purpose, Reach, Subject, UserRecord, Versioned, WalletState};
use countersign::kernel::wallet::{Chain, Location, Network, Wallet, WalletRecord, script_pubkey};
use countersign::ports::{
    AnchorSlots, BackingError, Clock, Ledger, LedgerError, Plain, Random, RandomError, Vault,
};
use countersign::shell::ledger::{self, SealedLedger};
use countersign::shell::lock::StoreLock;
use countersign::shell::sqlite::{Header, Sqlite};

const START: u64 = 1_800_000_000;
const ROUNDS: usize = 300;

fn main() {
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    for inputs in [1, 100] {
        let bench = Bench::new(Box::new(MemoryVault), inputs);
        criterion.bench_function(&format!("whole way, {inputs} input(s), ledger in memory"), |bencher| {
            bencher.iter_batched(
                || bench.approval(),
                |approval| bench.sign(approval),
                BatchSize::PerIteration,
            );
        });
    }
    criterion.final_summary();
    for inputs in [1, 100] {
        print_table(inputs);
    }
    print_commits();
}

/// Prints the steps for a transaction of so many inputs.
fn print_table(inputs: usize) {
    let bench = Bench::new(Box::new(MemoryVault), inputs);
    let rounds = ROUNDS / if inputs > 1 { 10 } else { 1 };
    let raw = median(rounds, || (), |()| bench.raw(false));
    let raw_verified = median(rounds, || (), |()| bench.raw(true));
    println!("\nOne transaction of {inputs} input(s), medians of {rounds} rounds");
    println!("{:44} {:>10} {:>8}", "step", "µs", "ratio");
    let row = |step: &str, ns: f64| println!("{step:44} {:>10.1} {:>8.3}", ns / 1000.0, ns / raw);
    row("raw: sighash + low-R sign", raw);
    row("raw: sighash + low-R sign + verify", raw_verified);
    row("Approval::parse", median(rounds, || bench.parameter(), |parameter| Approval::parse(&parameter)));
    row("CheckedPsbt::parse", median(rounds, || (), |()| bench.checked()));
    row("charge, ledger not counted", median(rounds, || bench.claims(), |claims| bench.charge(claims)));
    row(
        "otp::verify",
        median(rounds, || bench.charge(bench.claims()), |charged| otp::verify(charged, bench.clock.now())),
    );
    row(
        "policy.judge",
        median(
            rounds,
            || (bench.checked(), bench.matched()),
            |(psbt, matched)| bench.wallet.policy().judge(psbt, matched),
        ),
    );
    row(
        "commit, ledger not counted",
        median(rounds, || bench.approved(), |approved| bench.consume(approved)),
    );
    row(
        "Authorization::new (sighashes)",
        median(rounds, || bench.consume(bench.approved()), Authorization::new),
    );
    row(
        "signer::sign (low-R, verified, serialised)",
        median(
            rounds,
            || Authorization::new(bench.consume(bench.approved())).expect("an authorization"),
            |authorization| signer::sign(authorization, &bench.wallet, &bench.secp),
        ),
    );
    row("whole way, ledger in memory", median(rounds, || bench.approval(), |approval| bench.sign(approval)));
}

/// Prints what durable commits add to a transaction of one input.
fn print_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let memory = Bench::new(Box::new(MemoryVault), 1);
    let sqlite = Bench::new(Box::new(SqliteVault(path)), 1);
    let whole = |bench: &Bench| median(ROUNDS / 3, || bench.approval(), |approval| bench.sign(approval));
    let (in_memory, on_disk) = (whole(&memory), whole(&sqlite));
    println!("\nThe whole way of one input, with its two commits");
    println!("{:44} {:>10} {:>8}", "ledger", "µs", "ratio");
    println!("{:44} {:>10.1} {:>8.3}", "in memory", in_memory / 1000.0, 1.0);
    println!(
        "{:44} {:>10.1} {:>8.3}",
        "SQLite, sealed and synced, anchor in memory",
        on_disk / 1000.0,
        on_disk / in_memory
    );
}

/// The median of `rounds` timings in nanoseconds, after a tenth of them as warm-up.
fn median<I, O>(rounds: usize, mut prepare: impl FnMut() -> I, mut run: impl FnMut(I) -> O) -> f64 {
    let mut timings: Vec<u128> = (0..rounds + rounds / 10)
        .map(|_| {
            let input = prepare();
            let start = Instant::now();
            let output = black_box(run(black_box(input)));
            let taken = start.elapsed().as_nanos();
            drop(output);
            taken
        })
        .skip(rounds / 10)
        .collect();
    timings.sort_unstable();
    timings[timings.len() / 2] as f64
}

/// An engine with one user and one wallet, and the same things taken apart.
struct Bench {
    engine: Engine,
    id: WalletId,
    clock: ManualClock,
    totp: Totp,
    secp: Secp256k1<All>,
    wallet: Wallet,
    psbt: Vec<u8>,
    own_psbt: Vec<u8>,
    user: UserRecord,
    secrets: Vec<(SecretKey, PublicKey, ScriptBuf)>,
    transaction: Transaction,
}

impl Bench {
    fn new(vault: Box<dyn Vault>, inputs: usize) -> Bench {
        let clock = ManualClock::default();
        let engine = Engine::open(vault, Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
        engine.initialise(b"so-pin", "bench").expect("initialises");
        let new = || NewUser {
            name: "alice".into(),
            service: "bench".into(),
            hash: OtpHash::Sha1,
            digits: 6,
            period: 30,
        };
        let uri = engine.add_user(new()).expect("a user");
        let totp = authenticator(&uri);
        let users = vec!["alice".to_owned()];
        let policy = "max_transaction_sat = 2100000000000000\nmax_fee_sat = 100000000".to_owned();
        let id = engine
            .add_wallet(NewWallet {
                label: "w".into(),
                cka_id: vec![],
                network: Network::Regtest,
                users: users.clone(),
                policy: policy.clone(),
            })
            .expect("a wallet");
        let secp = Secp256k1::new();
        let seed = Zeroizing::new([7; 64]);
        let record = WalletRecord::new("w".into(), vec![], Network::Regtest, users, policy, seed);
        let wallet = Wallet::open(&record, &secp).expect("a wallet");
        let (own_psbt, transaction) = make_psbt(&wallet, inputs, &secp);
        let (psbt, _) = make_psbt(&engine.wallet(&id).expect("there"), inputs, &secp);
        let secrets = (0..inputs)
            .map(|index| {
                let secret = SecretKey::from_slice(&[index as u8 + 1; 32]).expect("a key");
                let public = secret.public_key(&secp);
                (secret, public, script_pubkey(&public))
            })
            .collect();
        let user = UserRecord {
            name: "alice".into(),
            service: "bench".into(),
            otp: otp::OtpKey::new(Zeroizing::new(totp.secret().as_ref().to_vec()), OtpHash::Sha1, 6, 30)
                .expect("a key"),
            confirmed: true,
            codes: state::CodeState::default(),
        };
        let bench =
            Bench { engine, id, clock, totp, secp, wallet, psbt, own_psbt, user, secrets, transaction };
        bench.clock.advance();
        bench.engine.confirm("alice", bench.code().as_bytes()).expect("confirms");
        bench
    }

    fn code(&self) -> String {
        self.totp.generate(self.clock.now()).to_string()
    }

    fn parameter(&self) -> Vec<u8> {
        let mut record = vec![0; 128];
        let code = self.code();
        record[..4].copy_from_slice(&[1, 1, 5, code.len() as u8]);
        record[4..9].copy_from_slice(b"alice");
        record[64..64 + code.len()].copy_from_slice(code.as_bytes());
        record
    }

    /// The approval of a step that was not used yet.
    fn approval(&self) -> Vec<Approval> {
        self.clock.advance();
        Approval::parse(&self.parameter()).expect("well formed")
    }

    fn sign(&self, approval: Vec<Approval>) -> Vec<u8> {
        self.engine.countersign(&self.id, approval, &self.psbt).expect("signs")
    }

    fn checked(&self) -> CheckedPsbt {
        let around = Surroundings { reach: Reach::default(), is_sibling: &|_| false, secp: &self.secp };
        CheckedPsbt::parse(&self.own_psbt, &self.wallet, &around).expect("nothing to refuse")
    }

    fn user(&self) -> Versioned<UserRecord> {
        Versioned { place: RecordKey::user("alice"), version: 1, value: self.user.clone() }
    }

    fn claims(&self) -> Vec<Claim> {
        let approval = Approval::parse(&self.parameter()).expect("well formed").remove(0);
        vec![Claim { approval, subject: Subject::User(self.user()) }]
    }

    fn charge(&self, claims: Vec<Claim>) -> Receipt<state::Charged> {
        issue(state::charge(claims, Purpose::Sign, self.clock.now()).expect("not locked"))
    }

    fn matched(&self) -> otp::Matched {
        otp::verify(self.charge(self.claims()), self.clock.now()).expect("right")
    }

    fn approved(&self) -> Approved {
        match self.wallet.policy().judge(self.checked(), self.matched()) {
            Verdict::Approved(approved) => approved,
            Verdict::Refused(refused) => panic!("refused: {}", refused.rule()),
        }
    }

    fn consume(&self, approved: Approved) -> Receipt<state::Consumed> {
        let place = RecordKey { kind: Kind::WalletState, id: self.id };
        let state = Versioned { place, version: 1, value: WalletState::default() };
        issue(state::consume(approved, &[self.user()], &state, self.clock.now()).expect("unspent"))
    }

    /// What no signer can do without: a sighash and a low-R signature for each input, and its verification if asked.
    fn raw(&self, verify: bool) {
        let mut cache = SighashCache::new(&self.transaction);
        for (index, (secret, public, script)) in self.secrets.iter().enumerate() {
            let hash = cache
                .p2wpkh_signature_hash(index, script, Amount::from_sat(100_000), EcdsaSighashType::All)
                .expect("an input");
            let message = Message::from(hash);
            let signature = black_box(self.secp.sign_ecdsa_low_r(&message, secret));
            if verify {
                self.secp.verify_ecdsa(&message, &signature, public).expect("verifies");
            }
        }
    }
}

/// A receipt whose write costs nothing.
fn issue<E>(change: countersign::kernel::receipt::Change<E>) -> Receipt<E> {
    Receipt::issue(change, |batch| {
        black_box(batch);
        Ok::<_, ()>(())
    })
    .ok()
    .expect("nothing to fail")
}

fn authenticator(uri: &str) -> Totp {
    let secret = uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).expect("a secret");
    let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
    Builder::new().with_secret(secret).with_skew(0).build().expect("a key")
}

/// A PSBT of `inputs` inputs of the wallet, one payment and one change output.
fn make_psbt(wallet: &Wallet, inputs: usize, secp: &Secp256k1<All>) -> (Vec<u8>, Transaction) {
    let source = |location: Location| {
        let key = wallet.public_key(location, secp).expect("a key");
        let path = format!("84'/1'/0'/{}/{}", location.chain as u32, location.index).parse().expect("a path");
        (key, (wallet.master_fingerprint(), path))
    };
    let spent: Vec<_> =
        (0..inputs).map(|index| source(Location { chain: Chain::External, index: index as u32 })).collect();
    let previous: Vec<Transaction> = spent
        .iter()
        .enumerate()
        .map(|(index, (key, _))| Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::from_consensus(index as u32),
            input: vec![TxIn {
                previous_output: OutPoint::new(index_txid(), index as u32),
                ..TxIn::default()
            }],
            output: vec![TxOut { value: Amount::from_sat(100_000), script_pubkey: script_pubkey(key) }],
        })
        .collect();
    let (change_key, change_source) = source(Location { chain: Chain::Internal, index: 0 });
    let total = 100_000 * inputs as u64;
    let stranger = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(
        bitcoin::hashes::Hash::from_byte_array([9; 20]),
    ));
    let transaction = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: previous
            .iter()
            .map(|previous| TxIn {
                previous_output: OutPoint::new(previous.compute_txid(), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::new(),
            })
            .collect(),
        output: vec![
            TxOut { value: Amount::from_sat(total / 2), script_pubkey: stranger },
            TxOut { value: Amount::from_sat(total / 2 - 10_000), script_pubkey: script_pubkey(&change_key) },
        ],
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction.clone()).expect("unsigned");
    for (input, (previous, (key, source))) in psbt.inputs.iter_mut().zip(previous.into_iter().zip(spent)) {
        input.witness_utxo = Some(previous.output[0].clone());
        input.non_witness_utxo = Some(previous);
        input.bip32_derivation.insert(key, source);
    }
    psbt.outputs[1].bip32_derivation.insert(change_key, change_source);
    (psbt.serialize(), transaction)
}

fn index_txid() -> bitcoin::Txid {
    bitcoin::hashes::Hash::from_byte_array([5; 32])
}

/// A clock that goes on when it is told to.
#[derive(Clone)]
struct ManualClock(Arc<AtomicU64>);

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock(Arc::new(AtomicU64::new(START)))
    }
}

impl ManualClock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance(&self) {
        self.0.fetch_add(30, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn read(&self) -> Reading {
        Reading { wall: self.now(), boot: self.now() - START }
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|error| RandomError(error.to_string()))
    }
}

/// A ledger that forgets.
#[derive(Default)]
struct MemoryLedger(Mutex<(u64, HashMap<RecordKey, Plain>)>);

impl Ledger for MemoryLedger {
    fn read(&self, place: &RecordKey) -> Result<Option<Plain>, LedgerError> {
        Ok(self.0.lock().expect("not poisoned").1.get(place).cloned())
    }

    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError> {
        let ledger = self.0.lock().expect("not poisoned");
        Ok(ledger.1.keys().filter(|place| place.kind == kind).copied().collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), LedgerError> {
        let mut ledger = self.0.lock().expect("not poisoned");
        if batch
            .writes
            .iter()
            .any(|write| ledger.1.get(&write.place).map(|(version, _)| *version) != write.expected)
        {
            return Err(LedgerError::Conflict);
        }
        ledger.0 += 1;
        let version = ledger.0;
        for write in &batch.writes {
            match &write.content {
                Content::Put(plaintext) => ledger.1.insert(write.place, (version, plaintext.clone())),
                Content::Remove => ledger.1.remove(&write.place),
            };
        }
        Ok(())
    }

    fn high_water(&self) -> u64 {
        0
    }
}

struct MemoryVault;

impl Vault for MemoryVault {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        Ok(None)
    }

    fn create(&self, first: &Batch) -> Result<Box<dyn Ledger>, LedgerError> {
        let ledger = MemoryLedger::default();
        ledger.commit(first)?;
        Ok(Box::new(ledger))
    }
}

/// The real ledger, its anchor in memory.
struct SqliteVault(std::path::PathBuf);

impl Vault for SqliteVault {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        Ok(None)
    }

    fn create(&self, first: &Batch) -> Result<Box<dyn Ledger>, LedgerError> {
        let key = DataKey::new([1; 16], Zeroizing::new([2; 32]));
        let lock = StoreLock::take(&self.0)?;
        let sqlite = Sqlite::create(&self.0, &Header { store: [1; 16], wrapped_key: vec![] })?;
        let slots = MemorySlots(Mutex::new(ledger::begin(&sqlite, &key, first)?));
        Ok(Box::new(SealedLedger::open(sqlite, lock, key, slots)?))
    }
}

struct MemorySlots(Mutex<Vec<u8>>);

impl AnchorSlots for MemorySlots {
    fn values(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        Ok(vec![self.0.lock().expect("not poisoned").clone()])
    }

    fn replace(&self, value: &[u8]) -> Result<(), BackingError> {
        *self.0.lock().expect("not poisoned") = value.to_vec();
        Ok(())
    }
}
