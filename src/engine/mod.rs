//! The engine: one token with its users, its wallets and its keys that sign digests.
//!
//! It owns the ports and reads records through them. Two files have its work: [`crate::gate`], the way of one
//! signature, and [`crate::admin`], the acts of the security officer.

mod acts;
mod breaker;
mod clock;
mod commit;
mod consents;
mod declined;
mod error;
mod freezes;
mod kept;
mod keys;
mod proposals;
mod standing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bitcoin::secp256k1::{All, Secp256k1};
use zeroize::Zeroizing;

use crate::kernel::administration::PinEra;
use crate::kernel::anchor::StateError;
use crate::kernel::binding::Binding;
use crate::kernel::clock::Believed;
use crate::kernel::consent::Pending;
use crate::kernel::credential::{Credential, Credentials, NamedCredential};
use crate::kernel::digest_key::{DigestKey, DigestKeyRecord};
use crate::kernel::factor::Form;
use crate::kernel::freeze::{Freezable, place_of};
use crate::kernel::network::Network;
use crate::kernel::otp::OtpKeyId;
use crate::kernel::pin::Role;
use crate::kernel::proposal::RunId;
use crate::kernel::receipt::{Batch, Committed};
use crate::kernel::recent::Recent;
use crate::kernel::record::{Stored, Versioned};
use crate::kernel::seal::{Kind, RecordKey, Unsealed};
use crate::kernel::state::{ClockRecord, Epoch, Peer, PinStanding, TokenRecord, UserRecord};
use crate::kernel::wallet::{Reach, Wallet, WalletRecord};
use crate::ports::{Clock, Ledger, LedgerError, Random, Vault};

use breaker::Breaker;
pub use breaker::DEFAULT_FAILURES_PER_HOUR;
pub use consents::{AskedUser, GivenApproval, PendingView};
use declined::Declined;
pub use error::EngineError;
pub use keys::DigestKeyId;
use keys::{Closed, Register};
pub(crate) use keys::{Held, Registered};
pub use proposals::{ProposalStanding, ProposalView};
pub use standing::EngineStanding;

/// The id of a wallet or of a key that signs digests: random, made with it.
pub type KeyId = [u8; 16];

/// The id of a wallet.
pub type WalletId = KeyId;

/// The number of answers whose time of release is remembered: more than leave within two minutes.
const MAX_ANSWERS: usize = 8_192;

/// One token with its users and wallets.
pub struct Engine {
    vault: Box<dyn Vault>,
    clock: Box<dyn Clock>,
    random: Box<dyn Random>,
    /// The last request for randomness failed.
    lacks_randomness: AtomicBool,
    /// It failed because the backing token refuses its PIN.
    pin_is_refused: AtomicBool,
    pub(crate) secp: Secp256k1<All>,
    ledger: OnceLock<Box<dyn Ledger>>,
    /// The readings that the wall clock is compared with, once it was found right in this run of the machine.
    believed: Mutex<Option<Believed>>,
    epoch: OnceLock<Epoch>,
    breaker: Breaker,
    /// The wrong tries of all users that are allowed in an hour.
    most_failures: u32,
    /// PSBTs refused without a code. The first ones of each peer in an hour are recorded.
    declined: Declined,
    wallets: Register<Wallet>,
    digest_keys: Register<DigestKey>,
    closed: RwLock<Vec<Closed>>,
    /// The freezes by their places, to be counted. Only the ledger decides whether a thing is frozen.
    frozen: Mutex<BTreeMap<RecordKey, Freezable>>,
    administration: Mutex<()>,
    proposing: Mutex<()>,
    /// Transactions that wait, which were read before.
    pendings: kept::Kept<Pending>,
    /// The acts of administration since the engine was opened, done and refused.
    acts: Mutex<acts::Counts>,
    /// How often each thing happened to proposed transactions, by the audit's name for it.
    consent_events: Mutex<BTreeMap<&'static str, u64>>,
    /// When the answers of the last minutes left, by what was signed and whose code paid for it.
    answers: Mutex<Recent<(Binding, [u8; 16]), u64>>,
    officers: proposals::Officers,
    /// Allows one try at the PIN of each role at a time: right PINs at the same time must not look like a row
    /// of wrong ones, and each stretching takes 19 MiB. The security officer does not wait for backends.
    pub(crate) pins: [Mutex<()>; 2],
    /// The era of the PIN of each role in this process. No login outlasts it.
    pin_eras: [AtomicU64; 2],
}

impl Engine {
    /// Opens the token, or finds that none was initialised yet.
    pub fn open(
        vault: Box<dyn Vault>,
        clock: Box<dyn Clock>,
        random: Box<dyn Random>,
    ) -> Result<Engine, EngineError> {
        let mut secp = Secp256k1::new();
        let mut blinding = Zeroizing::new([0; 32]);
        random.fill(&mut blinding[..])?;
        let mut run = RunId::default();
        random.fill(&mut run)?;
        secp.seeded_randomize(&blinding);
        let engine = Engine {
            ledger: OnceLock::new(),
            lacks_randomness: AtomicBool::new(false),
            pin_is_refused: AtomicBool::new(false),
            believed: Mutex::default(),
            epoch: OnceLock::new(),
            breaker: Breaker::default(),
            most_failures: DEFAULT_FAILURES_PER_HOUR,
            declined: Declined::default(),
            wallets: Register::default(),
            digest_keys: Register::default(),
            closed: RwLock::default(),
            frozen: Mutex::default(),
            administration: Mutex::default(),
            proposing: Mutex::default(),
            pendings: consents::kept(),
            acts: Mutex::default(),
            consent_events: Mutex::default(),
            answers: Mutex::new(Recent::new(MAX_ANSWERS)),
            officers: proposals::Officers::new(run),
            pins: Default::default(),
            pin_eras: Default::default(),
            vault,
            clock,
            random,
            secp,
        };
        if let Some(ledger) = engine.vault.open()? {
            engine.adopt(ledger)?;
        }
        Ok(engine)
    }

    /// What `C_GetTokenInfo` shows to `peer`, or `None` if the token is not initialised.
    pub fn token(&self, peer: Peer<'_>) -> Result<Option<TokenView>, EngineError> {
        if !self.is_initialised() {
            return Ok(None);
        }
        let (token, now) = (self.token_record()?.into_value(), self.clock_time());
        Ok(Some(TokenView {
            label: token.label,
            serial: token.serial,
            so: token.so.standing(peer, self.clocks()),
            so_is_lost: token.so.is_lost(),
            user: token.user.map(|pin| pin.standing(peer, now)),
        }))
    }

    /// Whether there is a token.
    pub fn is_initialised(&self) -> bool {
        self.ledger.get().is_some()
    }

    /// The visible state of the backends' PIN, once it is set.
    pub fn user_pin(&self) -> Result<Option<UserPinView>, EngineError> {
        let now = self.clock_time();
        Ok(self.token_record()?.into_value().user.map(|pin| UserPinView {
            locked: pin.is_closed(now) || pin.has_locked_peers(),
            lost: pin.is_lost(),
            failures: pin.failures(now),
            peers: pin.peers().map(|(peer, count)| (peer.map(str::to_owned), count)).collect(),
        }))
    }

    /// The era of the PIN of `role`. A new one begins when the PIN is set again or declared lost, and ends
    /// the logins of the earlier one.
    pub fn pin_era(&self, role: Role) -> PinEra {
        PinEra::new(self.pin_eras[role as usize].load(Ordering::SeqCst))
    }

    /// Begins a new era, whose number nobody else gets.
    pub(crate) fn begin_pin_era(&self, role: Role) -> PinEra {
        PinEra::new(self.pin_eras[role as usize].fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// The names of all users, in any order.
    pub fn user_names(&self) -> Result<Vec<String>, EngineError> {
        let ledger = self.ledger()?;
        let mut names = Vec::new();
        for place in ledger.places(Kind::User)? {
            if let Some(user) = read::<UserRecord>(ledger, place)? {
                names.push(user.into_value().name);
            }
        }
        Ok(names)
    }

    /// The name of the user with this `CKA_ID`, if there is one. The id is that of the record's place.
    pub fn user_name_of(&self, cka_id: &[u8]) -> Result<Option<String>, EngineError> {
        let Ok(id) = cka_id.try_into() else { return Ok(None) };
        let user: Option<Versioned<UserRecord>> = read(self.ledger()?, RecordKey { kind: Kind::User, id })?;
        Ok(user.map(|user| user.into_value().name))
    }

    /// The visible state of a user.
    pub fn user(&self, name: &str) -> Result<Option<UserView>, EngineError> {
        let now = self.clock_time();
        let record = self.user_record(name)?;
        let freeze = self.version_at(place_of(&RecordKey::user(name)))?;
        // A commit under way may say something about a code that nobody may know yet.
        let version = record.as_ref().map_or(0, |record| record.version());
        let credentials = self.credentials_of(name)?;
        let version = version.max(credentials.as_ref().map_or(0, |credentials| credentials.version()));
        self.ledger()?.settle(version.max(freeze.unwrap_or(0)))?;
        Ok(record.map(|user| {
            let user = user.into_value();
            UserView {
                form: user.factor.form(),
                key_id: user.factor.key_id(),
                confirmed: user.confirmed,
                locked: user.budget.is_locked(now) || user.factor.is_ended(self.epoch().restored()),
                failures: user.budget.failures(now),
                stopped: self.is_stopped(),
                frozen: freeze.is_some(),
                devices: devices_of(credentials.as_ref(), &user.factor.key_id()),
                name: user.name,
                service: user.service,
            }
        }))
    }

    /// How far the addresses of a wallet were used.
    pub fn reach(&self, id: &WalletId) -> Result<Reach, EngineError> {
        let state = self.key_state::<WalletRecord>(id)?;
        self.ledger()?.settle(state.version())?;
        Ok(state.value().reach)
    }

    /// Whether a wallet of this user requires a cosigner's signature before a code is checked.
    pub fn is_guarded(&self, user: &str) -> bool {
        let guards = |wallet: &Wallet| {
            let is_guard = wallet.policy().require_cosigner().is_some();
            (is_guard && wallet.users().iter().any(|name| name == user)).then_some(())
        };
        self.wallets.find(guards).is_some()
    }

    /// Fills `bytes` with randomness from inside.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), EngineError> {
        Ok(self.fill(bytes)?)
    }

    /// How often the store was restored, and when last.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch.get().copied().unwrap_or_default()
    }

    /// Randomness from inside for the signatures of one transaction.
    pub(crate) fn entropy(&self) -> Result<Zeroizing<[u8; 32]>, EngineError> {
        let mut entropy = Zeroizing::new([0; 32]);
        self.fill(&mut entropy[..])?;
        Ok(entropy)
    }

    pub(crate) fn ledger(&self) -> Result<&dyn Ledger, EngineError> {
        self.ledger.get().map(Box::as_ref).ok_or(EngineError::NotInitialised)
    }

    /// Makes the ledger from its first batch.
    fn create<'b>(&self, first: &'b Batch) -> Result<Committed<'b>, EngineError> {
        let (made, committed) = self.vault.create(first).map_err(|error| match error {
            LedgerError::Exists(_) => EngineError::AlreadyInitialised,
            error => error.into(),
        })?;
        self.adopt(made)?;
        Ok(committed)
    }

    /// Adopts a ledger that was just opened or made, with its wallets.
    fn adopt(&self, ledger: Box<dyn Ledger>) -> Result<(), EngineError> {
        self.adopt_keys::<WalletRecord>(ledger.as_ref())?;
        self.adopt_keys::<DigestKeyRecord>(ledger.as_ref())?;
        self.adopt_freezes(ledger.as_ref())?;
        let clock: Option<Versioned<ClockRecord>> = read(ledger.as_ref(), RecordKey::single(Kind::Clock))?;
        *self.believed.lock().unwrap_or_else(PoisonError::into_inner) = clock
            .map(|clock| clock.value().believed)
            .filter(|believed| believed.holds_in(self.clock.boot_id()));
        let epoch: Option<Versioned<Epoch>> = read(ledger.as_ref(), RecordKey::single(Kind::Epoch))?;
        self.epoch.get_or_init(|| epoch.map_or(Epoch::default(), |epoch| epoch.into_value()));
        self.count_failures(ledger.failures());
        // Only initialisation and opening come here, each once.
        self.ledger.set(ledger).map_err(|_| EngineError::AlreadyInitialised)?;
        self.adopt_council()?;
        self.adopt_proposals()
    }

    pub(crate) fn answers(&self) -> MutexGuard<'_, Recent<(Binding, [u8; 16]), u64>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock that lets acts of administration run one after the other.
    pub(crate) fn administration(&self) -> MutexGuard<'_, ()> {
        crate::cores::lock(&self.administration).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn token_record(&self) -> Result<Versioned<TokenRecord>, EngineError> {
        self.single(Kind::Token)
    }

    pub(crate) fn user_record(&self, name: &str) -> Result<Option<Versioned<UserRecord>>, EngineError> {
        read(self.ledger()?, RecordKey::user(name))
    }

    /// The present version of a record.
    pub(crate) fn version_at(&self, place: RecordKey) -> Result<Option<u64>, EngineError> {
        Ok(self.ledger()?.version(&place)?)
    }

    /// The record of a kind that has at most one.
    pub(crate) fn if_there<T: Stored>(&self, kind: Kind) -> Result<Option<Versioned<T>>, EngineError> {
        read(self.ledger()?, RecordKey::single(kind))
    }

    /// The record of a kind that has exactly one.
    pub(crate) fn single<T: Stored>(&self, kind: Kind) -> Result<Versioned<T>, EngineError> {
        self.if_there(kind)?.ok_or_else(|| missing(RecordKey::single(kind)))
    }
}

/// The visible state of the token.
pub struct TokenView {
    /// Its label.
    pub label: String,
    /// Distinguishes it from other tokens.
    pub serial: [u8; 8],
    /// The security officer's PIN.
    pub so: PinStanding,
    /// Whether officers declared that PIN lost, so that its heir has to set the next one.
    pub so_is_lost: bool,
    /// The backends' PIN, once set.
    pub user: Option<PinStanding>,
}

/// The visible state of the backends' PIN.
pub struct UserPinView {
    /// Whether it is locked for some peer, or for all.
    pub locked: bool,
    /// Whether it was declared lost.
    pub lost: bool,
    /// Wrong tries of all peers in the last 30 days.
    pub failures: usize,
    /// The wrong tries in a row of each peer that has any. The entry without a name is for the rest.
    pub peers: Vec<(Option<String>, u32)>,
}

/// The visible state of a user.
pub struct UserView {
    /// The name.
    pub name: String,
    /// The issuer shown in the authenticator.
    pub service: String,
    /// The factor, as far as everybody may know it.
    pub form: Form,
    /// The id of this enrolment.
    pub key_id: OtpKeyId,
    /// Whether a first code was right.
    pub confirmed: bool,
    /// Whether the user is locked, so that no code is checked: by wrong tries, or because a restoration of the store ended the enrolment.
    pub locked: bool,
    /// Wrong tries in the last 30 days.
    pub failures: usize,
    /// Too many codes of all users were wrong, so this user's are not checked either.
    pub stopped: bool,
    /// An administrator has frozen this user.
    pub frozen: bool,
    /// The devices with which the user approves what they show.
    pub devices: Vec<DeviceView>,
}

/// A user's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    /// Its name among the user's.
    pub name: String,
    /// The network of the wallets for which it approves.
    pub network: Network,
    /// The address whose key it signs with.
    pub address: String,
}

/// The devices of this enrolment.
fn devices_of(credentials: Option<&Versioned<Credentials>>, enrolment: &OtpKeyId) -> Vec<DeviceView> {
    let theirs = credentials.map(Versioned::value).filter(|credentials| credentials.user().key == *enrolment);
    let all = theirs.into_iter().flat_map(Credentials::list);
    let device = |one: &NamedCredential| match &one.credential {
        Credential::Device(address) => {
            let (name, network) = (one.name.clone(), address.network());
            Some(DeviceView { name, network, address: address.to_string() })
        }
        Credential::Passkey(_) => None,
    };
    all.filter_map(device).collect()
}

/// Reads a record. If it opens and this version cannot read it, closes the ledger: nobody knows what the record says,
/// and nothing may be decided without it.
fn read<T: Stored>(ledger: &dyn Ledger, place: RecordKey) -> Result<Option<Versioned<T>>, EngineError> {
    ledger.read(&place)?.map(|record| opened(ledger, &record)).transpose()
}

/// The content of a record that was read.
fn opened<T: Stored>(ledger: &dyn Ledger, record: &Unsealed) -> Result<Versioned<T>, EngineError> {
    Versioned::read(record).ok_or_else(|| {
        let found = StateError::Sealed(format!(
            "a {:?} record has a format that this version does not read",
            record.place().kind
        ));
        ledger.close(&found);
        LedgerError::State(found).into()
    })
}

fn missing(place: RecordKey) -> EngineError {
    LedgerError::State(StateError::Sealed(format!("the {:?} record is missing", place.kind))).into()
}
