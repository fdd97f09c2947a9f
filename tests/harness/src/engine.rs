//! The basis of the engine's tests: ports in memory, a wallet, and a PSBT that no rule refuses.

pub mod administration;
pub mod configured;
pub mod consensus;
pub mod fakes;
pub mod ledgers;
pub mod maps;
pub mod officers;
pub mod scripts;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use bitcoin::absolute::LockTime;
use bitcoin::bip32::KeySource;
use bitcoin::hashes::Hash;
use bitcoin::psbt::Psbt;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, transaction};
use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

use countersign::admin::{KeyTerms, NewFactor, NewScript, NewUser, NewWallet};
use countersign::engine::{Engine, EngineError, WalletId};
use countersign::kernel::anchor::StateError;
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::{Answer, Event, Fate, Head, Link};
use countersign::kernel::clock::{BootId, Reading};
use countersign::kernel::failures::Failures;
use countersign::kernel::network::Network;
use countersign::kernel::otp::{OtpHash, OtpKeyId};
use countersign::kernel::psbt::{CheckedPsbt, Surroundings};
use countersign::kernel::receipt::{Batch, Committed, Content};
use countersign::kernel::record::{Stored, Versioned};
use countersign::kernel::seal::{DataKey, Kind, RecordKey, SetHash, StoreId, Unsealed};
use countersign::kernel::wallet::{Chain, Location, Reach, Wallet, WatchOnly};
use countersign::ports::{Clock, Ledger, LedgerError, Vault};
pub use countersign::shell::random::SystemRandom;

/// The time at which every test begins.
pub const START: u64 = 1_800_000_000;
/// The value of each input of the good PSBT.
pub const INPUT: u64 = 100_000;
/// The amount that the good PSBT pays to a stranger.
pub const PAID: u64 = 60_000;
/// The fee of the good PSBT with one input.
pub const FEE: u64 = 1_000;

/// An engine over ports in memory, and the ports, which the tests use directly.
pub struct Bench {
    pub engine: Engine,
    pub clock: ManualClock,
    pub ledger: MemoryLedger,
    pub secp: Secp256k1<bitcoin::secp256k1::All>,
    administrator: administration::LoggedIn,
}

impl Bench {
    /// An engine over this clock and, if it uses one, this ledger.
    pub fn of(engine: Engine, clock: ManualClock, ledger: MemoryLedger) -> Bench {
        Bench { engine, clock, ledger, secp: Secp256k1::new(), administrator: Default::default() }
    }

    /// An initialised token without users and wallets.
    #[expect(clippy::new_without_default, reason = "there is more in it than a default")]
    pub fn new() -> Bench {
        let (clock, ledger) = (ManualClock::default(), MemoryLedger::default());
        let bench = Bench::of(open(&clock, &ledger), clock, ledger);
        bench.engine.initialise(b"so-pin", "test").expect("an empty ledger initialises");
        bench
    }

    /// The same token, opened again. Everything that was only in memory is gone.
    pub fn restarted(self) -> Bench {
        let Bench { clock, ledger, .. } = self;
        ledger.state().fail_at = None;
        Bench::of(open(&clock, &ledger), clock, ledger)
    }

    /// A second engine over the same ledger, as another process would have.
    pub fn beside(&self) -> Bench {
        let (clock, ledger) = (self.clock.clone(), self.ledger.clone());
        Bench::of(open(&clock, &ledger), clock, ledger)
    }

    /// The same engine, whose breaker stops at this many wrong codes an hour.
    pub fn stopping_at(self, failures_per_hour: u32) -> Bench {
        Bench { engine: self.engine.stopping_at(failures_per_hour), ..self }
    }

    /// Enrols a user who has not confirmed.
    pub fn unconfirmed(&self, name: &str) -> Totp {
        let user = NewUser {
            name: name.into(),
            service: "test".into(),
            factor: NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 },
        };
        let uri = self.enrol(user).expect("a new name").uri;
        let secret = uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).expect("a secret");
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
        Builder::new().with_secret(secret).with_skew(0).build().expect("a key of RFC 6238")
    }

    /// Enrols a user who confirms, and lets the step pass.
    pub fn user(&self, name: &str) -> Totp {
        let totp = self.unconfirmed(name);
        self.confirm(name, &self.code(&totp)).expect("the right code confirms");
        self.clock.advance(30);
        totp
    }

    /// Checks a code of a user, with the user's present OTP key.
    pub fn confirm(&self, name: &str, code: &str) -> Result<(), EngineError> {
        self.engine.confirm(name, &self.key_id(name), code.as_bytes())
    }

    /// The user's present OTP key.
    pub fn key_id(&self, name: &str) -> OtpKeyId {
        self.engine.user(name).expect("readable").expect("there").key_id
    }

    /// Makes a wallet on regtest.
    pub fn wallet(&self, label: &str, users: &[&str], policy: &str) -> WalletId {
        self.add_wallet(label, users, policy, NewScript::default()).expect("a wallet")
    }

    /// Makes a wallet on regtest with this script.
    pub fn add_wallet(
        &self,
        label: &str,
        users: &[&str],
        policy: &str,
        script: NewScript,
    ) -> Result<WalletId, EngineError> {
        self.make_wallet(NewWallet {
            terms: KeyTerms {
                label: label.into(),
                cka_id: vec![],
                users: users.iter().map(|user| (*user).to_owned()).collect(),
                policy: policy.into(),
            },
            network: Network::Regtest,
            script,
        })
    }

    /// The code of the current step.
    pub fn code(&self, totp: &Totp) -> String {
        totp.generate(self.clock.now()).to_string()
    }

    /// Signs with one approval.
    pub fn sign(
        &self,
        wallet: &WalletId,
        user: &str,
        code: &str,
        psbt: &[u8],
    ) -> Result<Vec<u8>, EngineError> {
        let approval = Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed");
        self.engine.countersign(wallet, vec![approval], psbt.to_vec()).map(|given| given.signed)
    }

    /// Wrong tries of a user.
    pub fn failures(&self, user: &str) -> usize {
        self.engine.user(user).expect("readable").expect("there").failures
    }

    /// A PSBT of the wallet that no rule refuses: `inputs` inputs, a payment, change.
    pub fn psbt(&self, wallet: &WalletId, inputs: u32) -> Psbt {
        good_psbt(&self.engine.wallet(wallet).expect("there"), inputs)
    }
}

fn open(clock: &ManualClock, ledger: &MemoryLedger) -> Engine {
    Engine::open(Box::new(ledger.clone()), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens")
}

/// The outcome of a request, if this is the event of one.
pub fn answer(event: &Event) -> Option<Answer> {
    match event {
        Event::Tried { answer, .. } => Some(*answer),
        _ => None,
    }
}

/// How many requests had this outcome.
pub fn count(events: &[Event], wanted: Answer) -> usize {
    events.iter().filter(|event| answer(event) == Some(wanted)).count()
}

/// The codes of a request: the user that each was taken for, and its outcome.
pub fn fates(event: &Event) -> Vec<(Option<&str>, Fate)> {
    match event {
        Event::Tried { codes, .. } => codes.iter().map(|code| (code.user.as_deref(), code.fate)).collect(),
        _ => vec![],
    }
}

/// The size that a PSBT's feerate is computed from.
pub fn vsize_of(bench: &Bench, wallet: &WalletId, psbt: &[u8]) -> u64 {
    let wallet = bench.engine.wallet(wallet).expect("there");
    CheckedPsbt::parse(psbt.to_vec(), watch(&wallet), &alone(&bench.secp)).expect("good").vsize()
}

/// The public side of a registered wallet.
pub fn watch(wallet: &Wallet) -> &WatchOnly {
    wallet.keys().expect("registered").watch()
}

/// A fresh wallet, alone in its token.
pub fn alone(secp: &Secp256k1<bitcoin::secp256k1::All>) -> Surroundings<'_> {
    Surroundings { reach: Reach::default(), require_cosigner: None, is_sibling: &|_| false, secp }
}

/// The script that pays to `key`: P2WPKH (BIP 141, BIP 84).
pub fn script_pubkey(key: &PublicKey) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::CompressedPublicKey(*key).wpubkey_hash())
}

/// The key of an address of the wallet, with its origin.
pub fn key_at(wallet: &Wallet, chain: Chain, index: u32) -> (PublicKey, KeySource) {
    let key = watch(wallet).public_key(Location { chain, index }).expect("derives");
    let coin = wallet.network().coin_type();
    let path = format!("84'/{coin}'/0'/{}/{index}", chain as u32).parse().expect("a path");
    (key, (wallet.master_fingerprint(), path))
}

/// A stranger's script.
pub fn stranger() -> ScriptBuf {
    let secret = SecretKey::from_slice(&[0x51; 32]).expect("a key");
    script_pubkey(&secret.public_key(&Secp256k1::new()))
}

/// A transaction that pays `value` to `script`. It exists nowhere else.
pub fn funding(script: ScriptBuf, value: u64, salt: u32) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([7; 32]), salt),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::from_sat(value), script_pubkey: script }],
    }
}

/// `to_spend` of BIP 322 for the message "Hello World" and an address of this script.
pub fn to_spend(script: ScriptBuf) -> Transaction {
    let tag = bitcoin::hashes::sha256::Hash::hash(b"BIP0322-signed-message").to_byte_array();
    let hash = bitcoin::hashes::sha256::Hash::hash(&[&tag[..], &tag, b"Hello World"].concat());
    let script_sig = [&[0, 32][..], &hash.to_byte_array()].concat();
    Transaction {
        version: transaction::Version(0),
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::from_bytes(script_sig),
            sequence: Sequence::ZERO,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: script }],
    }
}

/// Replaces a good PSBT's outputs with one empty OP_RETURN.
pub fn pay_nobody(psbt: &mut Psbt) {
    let script_pubkey = ScriptBuf::from_bytes(vec![0x6a]);
    psbt.unsigned_tx.output = vec![TxOut { value: Amount::ZERO, script_pubkey }];
    psbt.outputs = vec![Default::default()];
}

/// Makes input 0 spend `previous` instead. The rest of the input stays.
pub fn respend(psbt: &mut Psbt, previous: Transaction) {
    psbt.unsigned_tx.input[0].previous_output = OutPoint::new(previous.compute_txid(), 0);
    psbt.inputs[0].witness_utxo.iter_mut().for_each(|utxo| *utxo = previous.output[0].clone());
    psbt.inputs[0].non_witness_utxo = Some(previous);
}

/// An output that everybody can spend, for a child that pays the fee (P2A).
pub fn anchor(value: u64) -> TxOut {
    let script_pubkey = ScriptBuf::from_bytes(vec![0x51, 0x02, 0x4e, 0x73]);
    TxOut { value: Amount::from_sat(value), script_pubkey }
}

/// A PSBT of `wallet` that no rule refuses: `inputs` inputs, a payment to a stranger, change.
pub fn good_psbt(wallet: &Wallet, inputs: u32) -> Psbt {
    let spent: Vec<_> = (0..inputs).map(|index| key_at(wallet, Chain::External, index)).collect();
    let previous: Vec<_> =
        spent.iter().zip(0..).map(|((key, _), salt)| funding(script_pubkey(key), INPUT, salt)).collect();
    let (change, origin) = key_at(wallet, Chain::Internal, 3);
    let output = |value, script_pubkey| TxOut { value: Amount::from_sat(value), script_pubkey };
    let transaction = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: previous
            .iter()
            .map(|previous| TxIn {
                previous_output: OutPoint::new(previous.compute_txid(), 0),
                ..TxIn::default()
            })
            .collect(),
        output: vec![
            output(PAID, stranger()),
            output(INPUT * u64::from(inputs) - PAID - FEE, script_pubkey(&change)),
        ],
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction).expect("nothing is signed");
    for ((input, previous), (key, origin)) in psbt.inputs.iter_mut().zip(previous).zip(spent) {
        input.witness_utxo = Some(previous.output[0].clone());
        input.non_witness_utxo = Some(previous);
        input.bip32_derivation.insert(key, origin);
    }
    psbt.outputs[1].bip32_derivation.insert(change, origin);
    psbt
}

/// A clock that a test moves by hand.
#[derive(Clone)]
pub struct ManualClock(Arc<Ticking>);

struct Ticking {
    wall: AtomicU64,
    boot: AtomicU64,
    /// Seconds since the boot in which the machine was suspended.
    suspended: AtomicU64,
    boots: AtomicU64,
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        let at = |value| AtomicU64::new(value);
        ManualClock(Arc::new(Ticking { wall: at(START), boot: at(1_000), suspended: at(0), boots: at(1) }))
    }
}

impl ManualClock {
    pub fn now(&self) -> u64 {
        self.0.wall.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: u64) {
        self.0.wall.fetch_add(seconds, Ordering::Relaxed);
        self.0.boot.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Lets time pass in which the machine is suspended.
    pub fn suspend(&self, seconds: u64) {
        self.advance(seconds);
        self.0.suspended.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Boots the machine again.
    pub fn boot(&self) {
        self.0.suspended.store(0, Ordering::Relaxed);
        self.0.boot.store(3, Ordering::Relaxed);
        self.0.boots.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the wall clock, as somebody with the right to do so would.
    pub fn set(&self, wall: u64) {
        self.0.wall.store(wall, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn read(&self) -> Reading {
        Reading { wall: self.now(), boot: self.0.boot.load(Ordering::Relaxed) }
    }

    fn awake(&self) -> u64 {
        self.0.boot.load(Ordering::Relaxed) - self.0.suspended.load(Ordering::Relaxed)
    }

    fn boot_id(&self) -> BootId {
        [self.0.boots.load(Ordering::Relaxed) as u8; 16]
    }
}

/// A record in memory: its version and plaintext.
pub type Plain = (u64, Zeroizing<Vec<u8>>);

/// The key of every store in memory.
pub static MEMORY_KEY: LazyLock<DataKey> = LazyLock::new(|| DataKey::new([3; 16], Zeroizing::new([4; 32])));

/// A record of a store in memory, as the ledger returns it. Nothing waits there to become durable.
pub fn unsealed(place: &RecordKey, record: &Plain) -> Unsealed {
    waiting(place, record).settled()
}

/// The same while it waits to become durable.
fn waiting(place: &RecordKey, (version, plaintext): &Plain) -> Unsealed {
    let sealed = MEMORY_KEY.seal(place, *version, [5; 12], plaintext);
    MEMORY_KEY.unseal(place, *version, &sealed).expect("it was just sealed")
}

/// The first version of a record of a store in memory.
pub fn recorded<T: Stored>(place: RecordKey, value: &T) -> Versioned<T> {
    Versioned::read(&unsealed(&place, &(1, value.encode()))).expect("it was just written")
}

/// A ledger in memory that records its events, fails on request, and can be damaged.
#[derive(Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<MemoryState>>);

#[derive(Default)]
pub struct MemoryState {
    pub records: HashMap<RecordKey, Plain>,
    pub damaged: HashSet<RecordKey>,
    /// The id that it says it has, if it is another store's.
    pub store: Option<StoreId>,
    /// Why it answers nothing any more.
    pub closed: Option<String>,
    pub events: Vec<Event>,
    /// How often each record was read.
    pub reads: HashMap<RecordKey, usize>,
    /// Whether what is read waits to become durable, and may still be replaced under its number.
    pub waits: bool,
    /// The versions that callers have waited for to be durable.
    pub settled: Vec<u64>,
    /// The shape of each commit: its places with the lengths of their records, and the length of its link.
    pub shapes: Vec<(Vec<(RecordKey, usize)>, usize)>,
    /// The commit that fails, counted from 0, the next one.
    pub fail_at: Option<usize>,
    /// Runs right before a commit, which is counted from 0, the next one.
    pub meanwhile: Option<(usize, Box<dyn FnOnce() + Send>)>,
    commits: u64,
    time: u64,
    failures: Failures,
}

impl MemoryState {
    fn check_open(&self) -> Result<(), LedgerError> {
        self.closed.as_ref().map_or(Ok(()), |reason| Err(LedgerError::Closed(reason.clone())))
    }
}

impl MemoryLedger {
    pub fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.0.lock().expect("no test panics under this lock")
    }

    /// The act that is due right before this commit.
    fn due(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = self.state();
        match state.meanwhile.take() {
            Some((0, act)) => Some(act),
            Some((left, act)) => {
                state.meanwhile = Some((left - 1, act));
                None
            }
            None => None,
        }
    }
}

fn shape(batch: &Batch) -> (Vec<(RecordKey, usize)>, usize) {
    let length = |content: &Content| match content {
        Content::Put(plaintext) => plaintext.len(),
        Content::Remove => 0,
    };
    let link = Link {
        sequence: 1,
        time: batch.time,
        event: batch.event.clone(),
        previous: Head::default(),
        set: SetHash::default(),
        batch: 1,
    };
    let records = batch.writes.iter().map(|write| (write.place, length(&write.content))).collect();
    (records, link.encode().len())
}

impl Ledger for MemoryLedger {
    fn read(&self, place: &RecordKey) -> Result<Option<Unsealed>, LedgerError> {
        let mut state = self.state();
        state.check_open()?;
        if state.damaged.contains(place) {
            let found = StateError::Sealed("damaged by the test".into());
            state.closed = Some(found.to_string());
            return Err(found.into());
        }
        *state.reads.entry(*place).or_default() += 1;
        let read = if state.waits { waiting } else { unsealed };
        Ok(state.records.get(place).map(|record| read(place, record)))
    }

    fn version(&self, place: &RecordKey) -> Result<Option<u64>, LedgerError> {
        Ok(self.state().records.get(place).map(|(version, _)| *version))
    }

    fn places(&self, kind: Kind) -> Result<Vec<RecordKey>, LedgerError> {
        Ok(self.state().records.keys().filter(|place| place.kind == kind).copied().collect())
    }

    fn settle(&self, version: u64) -> Result<(), LedgerError> {
        let mut state = self.state();
        state.settled.push(version);
        state.check_open()
    }

    fn commit<'b>(&self, batch: &'b Batch) -> Result<Committed<'b>, LedgerError> {
        // Not under the lock, because the act may commit, too.
        if let Some(act) = self.due() {
            act();
        }
        let mut state = self.state();
        state.check_open()?;
        if batch.is_overtaken(|place| state.records.get(place).map(|(version, _)| *version)) {
            return Err(LedgerError::Conflict);
        }
        match state.fail_at {
            Some(0) => return Err(LedgerError::Closed("the test pulled the plug".into())),
            Some(left) => state.fail_at = Some(left - 1),
            None => {}
        }
        state.commits += 1;
        let version = state.commits;
        let shape = shape(batch);
        state.shapes.push(shape);
        for write in &batch.writes {
            match &write.content {
                Content::Put(plaintext) => state.records.insert(write.place, (version, plaintext.clone())),
                Content::Remove => state.records.remove(&write.place),
            };
        }
        state.events.push(batch.event.clone());
        state.failures.replay(batch.time, &batch.event);
        state.time = state.time.max(batch.time);
        Ok(Committed::by(&MEMORY_KEY, batch))
    }

    fn store(&self) -> StoreId {
        self.state().store.unwrap_or(*MEMORY_KEY.store())
    }

    fn newest(&self) -> (u64, Head) {
        (self.state().commits, Head([6; 32]))
    }

    fn high_water(&self) -> u64 {
        self.state().time
    }

    fn failures(&self) -> Failures {
        self.state().failures.clone()
    }

    fn close(&self, found: &StateError) {
        self.state().closed = Some(found.to_string());
    }

    fn closed(&self) -> bool {
        let state = self.state();
        state.closed.is_some() || state.fail_at == Some(0)
    }
}

impl Vault for MemoryLedger {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        let empty = self.state().records.is_empty();
        Ok(if empty { None } else { Some(Box::new(self.clone())) })
    }

    fn create<'b>(&self, first: &'b Batch) -> Result<(Box<dyn Ledger>, Committed<'b>), LedgerError> {
        let committed = self.commit(first)?;
        Ok((Box::new(self.clone()), committed))
    }
}
