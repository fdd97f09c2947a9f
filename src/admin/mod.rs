//! The acts of administration: PINs, users, wallets, keys that sign digests. The caller has checked the role; the PINs are checked here.

mod digest_key;

use std::sync::{MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::engine::{Engine, EngineError, PinEra, WalletId};
use crate::kernel::act::Deed;
use crate::kernel::approval::{MAX_USER_LEN, is_user_name, is_visible};
use crate::kernel::audit::Role;
use crate::kernel::otp::{OtpHash, OtpKey, OtpKeyId, SECRET_LEN};
use crate::kernel::pin::{self, PinRecord};
use crate::kernel::policy::Policy;
use crate::kernel::receipt::{Change, Receipt};
use crate::kernel::state::{
    self, CodeState, OfficerPin, Peer, PinClosed, PinMatched, Reach, Recorded, TokenRecord, UserRecord,
    Versioned,
};
use crate::kernel::wallet::{
    Network, SEED_LEN, Wallet, WalletError, WalletParts, WalletRecord, registration,
};
use crate::ports::LedgerError;

pub use digest_key::{DigestKeyChange, NewDigestKey};

/// Most users of one wallet or key: as many as one approval can name.
pub const MAX_WALLET_USERS: usize = crate::kernel::approval::MAX_RECORDS;
/// Longest label of a wallet, issuer of a user, `CKA_ID`, in bytes.
pub const MAX_LABEL_LEN: usize = 128;
/// Longest policy document in bytes.
pub const MAX_POLICY_LEN: usize = 32 * 1_024;
/// Longest token label in bytes (`CK_TOKEN_INFO.label`).
pub const MAX_TOKEN_LABEL_LEN: usize = 32;

/// A user to be enrolled.
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The issuer shown in the authenticator.
    pub service: String,
    /// The hash of HMAC.
    pub hash: OtpHash,
    /// Digits of a code, 6 to 8.
    pub digits: u8,
    /// Seconds of a time step, 15 to 120.
    pub period: u64,
}

/// A user who was just enrolled.
pub struct Enrolment {
    /// Names the OTP key.
    pub key_id: OtpKeyId,
    /// The `otpauth://` URI: the only copy of the secret outside the seal.
    pub uri: Zeroizing<String>,
}

/// A wallet to be created.
pub struct NewWallet {
    /// Its label, unique in the token.
    pub label: String,
    /// `CKA_ID`; the wallet's own id where it is empty.
    pub cka_id: Vec<u8>,
    /// Its network.
    pub network: Network,
    /// Names of the users whose code signs.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// Which script its coins are in.
    pub script: NewScript,
}

/// The script of a wallet to be created.
#[derive(Default)]
pub struct NewScript {
    /// What is registered (see [`registration`]): P2WPKH where it is `None`; where it is empty, the wallet is registered
    /// later, once the cosigners have our key.
    pub registration: Option<String>,
    /// The account's path, as in `m/48'/0'/0'/2'`; the standard one for the script where it is `None`.
    pub path: Option<String>,
}

/// What to change of a wallet; `None` leaves it as it is.
#[derive(Default)]
pub struct WalletChange {
    /// Another label.
    pub label: Option<String>,
    /// Other users.
    pub users: Option<Vec<String>>,
    /// Another policy.
    pub policy: Option<String>,
    /// The registration of a wallet that has none yet.
    pub registration: Option<String>,
    /// How far its addresses are to count as used, at the least: what is further already stays.
    pub reach: Option<Reach>,
}

impl Engine {
    /// Initialises the token: once. What is there already is never replaced.
    pub fn initialise(&self, so_pin: &[u8], label: &str) -> Result<(), EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::Initialised.tag());
        if self.is_initialised() {
            return Err(EngineError::AlreadyInitialised);
        }
        if label.len() > MAX_TOKEN_LABEL_LEN {
            return Err(EngineError::Name(format!("a token label has at most {MAX_TOKEN_LABEL_LEN} bytes")));
        }
        let mut serial = [0; 8];
        self.random(&mut serial)?;
        let token = TokenRecord {
            label: label.into(),
            serial,
            so: OfficerPin::new(self.new_pin(&self.turn_at_pins(Role::So), so_pin)?),
            user: None,
        };
        let mut made = None;
        let _ = Receipt::issue(state::initialise(&token, self.clocks()), |batch| {
            made = Some(self.vault().create(batch)?);
            self.tell(&batch.event);
            Ok::<_, LedgerError>(())
        })
        .map_err(|(error, _)| match error {
            LedgerError::Exists(_) => EngineError::AlreadyInitialised,
            error => error.into(),
        })?;
        made.map_or(Err(EngineError::NotInitialised), |ledger| self.adopt(ledger))?;
        attempt.done();
        Ok(())
    }

    /// Checks the PIN of `role` in a process that has loaded the module itself: see [`Engine::login_of`].
    pub fn login(&self, role: Role, pin: &[u8]) -> Result<PinEra, EngineError> {
        self.login_of(None, role, pin)
    }

    /// Checks the PIN of `role` for `peer`. The try is charged before the comparison. The login lasts as long as its era does.
    pub fn login_of(&self, peer: Peer<'_>, role: Role, pin: &[u8]) -> Result<PinEra, EngineError> {
        let attempt = (role == Role::So).then(|| self.attempt("so-login"));
        let turn = self.turn_at_pins(role);
        // Before the PIN is found right: one that is set meanwhile begins another.
        let era = self.pin_era(role);
        let matched = self.match_pin(&turn, peer, role, pin)?;
        self.record(self.login_time(role)?, |now, token| {
            state::accept_pin(&matched, token, None, now).ok_or(EngineError::Pin)
        })?;
        if let Some(attempt) = attempt {
            attempt.done();
            tracing::info!("administration: the security officer logged in");
        }
        Ok(era)
    }

    /// Sets the backends' PIN: once, and then only one that is locked or was declared lost. For the security officer, who came
    /// in as `peer`. Every login by the old PIN ends.
    pub fn set_user_pin(&self, peer: Peer<'_>, pin: &[u8]) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::PinSet(Role::User).tag());
        let pin = self.new_pin(&self.turn_at_pins(Role::So), pin)?;
        self.record(self.now()?, |now, token| {
            state::set_user_pin(token, pin.clone(), peer, now).map_err(|_| EngineError::PinStands)
        })?;
        self.begin_pin_era(Role::User);
        attempt.done();
        Ok(())
    }

    /// Declares the backends' PIN lost: it opens nothing any more, every login by it ends, and another one may be set. For the
    /// security officer.
    pub fn lose_user_pin(&self) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::PinLost.tag());
        self.record(self.now()?, |now, token| state::lose_user_pin(token, now).map_err(closed_pin))?;
        self.begin_pin_era(Role::User);
        attempt.done();
        Ok(())
    }

    /// Gives every peer its tries at the backends' PIN back. For the security officer.
    pub fn unlock_user_pin(&self) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::PinUnlocked.tag());
        self.record(self.now()?, |now, token| state::unlock_user_pin(token, now).map_err(closed_pin))?;
        attempt.done();
        Ok(())
    }

    /// Changes the PIN of `role` for `peer`, who knows the old one. Every login by the old PIN ends; whoever changed it goes on
    /// in the new era.
    pub fn change_pin(
        &self,
        peer: Peer<'_>,
        role: Role,
        old: &[u8],
        new: &[u8],
    ) -> Result<PinEra, EngineError> {
        let attempt = self.attempt(Deed::PinChanged(role).tag());
        if !pin::has_a_length(new) {
            return Err(EngineError::PinLength);
        }
        // Neither of them is looked at: a change to the same would be a link of the audit each time.
        if old == new {
            return Err(EngineError::PinIsTheSame);
        }
        // The new one is stretched for who knows the old one.
        let turn = self.turn_at_pins(role);
        let matched = self.match_pin(&turn, peer, role, old)?;
        let new = self.new_pin(&turn, new)?;
        self.record(self.login_time(role)?, |now, token| {
            state::accept_pin(&matched, token, Some(new.clone()), now).ok_or(EngineError::Pin)
        })?;
        let era = self.begin_pin_era(role);
        attempt.done();
        Ok(era)
    }

    /// Enrols a user of a secret made inside, and gives it, this once.
    pub fn add_user(&self, new: NewUser) -> Result<Enrolment, EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::UserAdded.tag());
        if !is_user_name(&new.name) {
            return Err(EngineError::Name(format!(
                "a user name has 1 to {MAX_USER_LEN} bytes of UTF-8, no colon, no control character, no blank at its ends"
            )));
        }
        check_label("an issuer", &new.service)?;
        if new.service.contains(':') {
            return Err(EngineError::Name("an issuer cannot have a colon".into()));
        }
        if self.user_record(&new.name)?.is_some() {
            return Err(EngineError::Name(format!("there is already a user {:?}", new.name)));
        }
        let mut secret = Zeroizing::new(vec![0; SECRET_LEN]);
        self.random(&mut secret)?;
        let otp = OtpKey::new(secret, new.hash, new.digits, new.period).ok_or_else(|| {
            EngineError::Parameter("a code has 6 to 8 digits and a time step of 15 to 120 seconds".into())
        })?;
        let enrolment = Enrolment { key_id: otp.id(), uri: otp.uri(&new.service, &new.name) };
        let user = UserRecord {
            name: new.name,
            service: new.service,
            otp,
            confirmed: false,
            codes: CodeState::default(),
        };
        self.write(state::add_user(&user, self.now()?))?;
        attempt.done();
        Ok(enrolment)
    }

    /// Removes a user whom no wallet and no key lists, if the OTP key is still this one.
    pub fn remove_user(&self, name: &str, key: &OtpKeyId) -> Result<(), EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::UserRemoved.tag());
        if let Some((_, wallet)) = self.wallets().iter().find(|(_, wallet)| lists(wallet.users(), name)) {
            return Err(EngineError::UserInUse { user: name.into(), signs_for: wallet.label().into() });
        }
        if let Some((_, key)) = self.digest_keys().iter().find(|(_, key)| lists(key.users(), name)) {
            return Err(EngineError::UserInUse { user: name.into(), signs_for: key.label().into() });
        }
        let of_closed = self.of_closed(|closed| lists(&closed.users, name).then(|| closed.label.clone()));
        if let Some(signs_for) = of_closed.into_iter().flatten().next() {
            return Err(EngineError::UserInUse { user: name.into(), signs_for });
        }
        self.record_user(name, key, state::remove_user)?;
        attempt.done();
        Ok(())
    }

    /// Ends a user's row of failures and the wait, if the OTP key is still this one; the 30-day budget stays.
    pub fn unlock_user(&self, name: &str, key: &OtpKeyId) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::UserUnlocked.tag());
        self.record_user(name, key, state::unlock_user)?;
        attempt.done();
        Ok(())
    }

    /// Creates a wallet of a seed made inside.
    pub fn add_wallet(&self, new: NewWallet) -> Result<WalletId, EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::WalletCreated.tag());
        self.check_key_label(&new.label)?;
        self.check_users(&new.users)?;
        check_policy(&new.policy, new.network)?;
        if new.cka_id.len() > MAX_LABEL_LEN {
            return Err(EngineError::Parameter(format!("CKA_ID has at most {MAX_LABEL_LEN} bytes")));
        }
        let mut id = [0; 16];
        self.random(&mut id)?;
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        self.random(&mut seed[..])?;
        let cka_id = if new.cka_id.is_empty() { id.to_vec() } else { new.cka_id };
        let NewScript { registration, path } = new.script;
        let registration = registration.unwrap_or_else(|| registration::DEFAULT_POLICY.into());
        let path = match path {
            Some(path) => registration::parse_path(&path, new.network),
            None => registration::standard_path(&registration, new.network),
        };
        let parts = WalletParts {
            label: new.label,
            cka_id,
            network: new.network,
            users: new.users,
            policy: new.policy,
            path: path.map_err(WalletError::from)?,
        };
        let mut wallet = WalletRecord::new(parts, &seed, &self.secp)?;
        if !registration.trim().is_empty() {
            wallet.descriptor = Some(wallet.descriptor_for(&registration, &self.secp)?);
        }
        // What cannot be opened is not written.
        let opened = Wallet::open(&wallet, &self.secp)?;
        opened.check_new()?;
        self.write(state::add_wallet(id, &wallet, &opened, self.now()?))?;
        self.publish(id, &self.wallet_record(&id)?)?;
        attempt.done();
        Ok(id)
    }

    /// Changes label, users or policy of a wallet, raises its reach, or registers one that was not yet.
    pub fn change_wallet(&self, id: &WalletId, change: WalletChange) -> Result<(), EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::WalletUpdated.tag());
        // It may sign meanwhile.
        self.commit_anew(|| {
            let old = self.wallet_record(id)?;
            let (new, opened) = self.changed(&old.value, &change)?;
            let before = Wallet::open(&old.value, &self.secp)?;
            let state = self.wallet_state(id)?;
            let raised = (&state, change.reach.unwrap_or_default());
            Ok(state::change_wallet(&old, &new, (&before, &opened), raised, self.now()?))
        })
        .map(|_recorded| ())?;
        self.publish(*id, &self.wallet_record(id)?)?;
        attempt.done();
        Ok(())
    }

    /// The wallet as it is to be, as a record and opened.
    fn changed(
        &self,
        old: &WalletRecord,
        change: &WalletChange,
    ) -> Result<(WalletRecord, Wallet), EngineError> {
        if change.reach.is_some_and(|reach| reach.numbers().iter().any(|next| *next > Reach::MOST)) {
            return Err(EngineError::Parameter(format!("a reach is at most {}", Reach::MOST)));
        }
        let mut new = old.clone();
        if let Some(label) = change.label.as_ref().filter(|label| **label != new.label) {
            self.check_key_label(label)?;
            new.label.clone_from(label);
        }
        if let Some(users) = &change.users {
            self.check_users(users)?;
            new.users.clone_from(users);
        }
        if let Some(policy) = &change.policy {
            check_policy(policy, new.network)?;
            new.policy.clone_from(policy);
        }
        if let Some(registration) = &change.registration {
            if new.descriptor.is_some() {
                return Err(EngineError::AlreadyRegistered(new.label));
            }
            new.descriptor = Some(new.descriptor_for(registration, &self.secp)?);
        }
        // What cannot be opened is not written.
        let opened = Wallet::open(&new, &self.secp)?;
        opened.check_new()?;
        Ok((new, opened))
    }

    /// Charges, then compares. In one turn with what clears the charge: right PINs that come at once are no row of wrong ones.
    fn match_pin(
        &self,
        _turn: &PinTurn<'_>,
        peer: Peer<'_>,
        role: Role,
        pin: &[u8],
    ) -> Result<PinMatched, EngineError> {
        let (now, clocks) = (self.login_time(role)?, self.clocks());
        let charged = self.commit_anew(|| {
            state::charge_pin(&self.token_record()?, role, peer, clocks, now).map_err(closed_pin)
        })?;
        state::verify_pin(charged, pin).ok_or(EngineError::Pin)
    }

    fn turn_at_pins(&self, role: Role) -> PinTurn<'_> {
        let of_role = match role {
            Role::So => &self.pins[0],
            Role::User => &self.pins[1],
        };
        PinTurn(crate::cores::lock(of_role).unwrap_or_else(PoisonError::into_inner))
    }

    /// The security officer logs in under any clock: to have it taken as it is.
    fn login_time(&self, role: Role) -> Result<u64, EngineError> {
        match role {
            Role::So => self.now_or_newest(),
            Role::User => self.now(),
        }
    }

    fn new_pin(&self, _turn: &PinTurn<'_>, pin: &[u8]) -> Result<PinRecord, EngineError> {
        let mut salt = [0; 16];
        self.random(&mut salt)?;
        PinRecord::new(pin, salt).ok_or(EngineError::PinLength)
    }

    /// Records a change of the token's record, decided anew as often as another commit comes first.
    fn record(
        &self,
        now: u64,
        transition: impl Fn(u64, &Versioned<TokenRecord>) -> Result<Change<Recorded>, EngineError>,
    ) -> Result<(), EngineError> {
        self.commit_anew(|| transition(now, &self.token_record()?)).map(|_recorded| ())
    }

    /// Records a change of a user's record, decided anew as often as another commit comes first. Who was enrolled anew since
    /// `key` was looked at is another user.
    fn record_user(
        &self,
        name: &str,
        key: &OtpKeyId,
        transition: impl Fn(&Versioned<UserRecord>, u64) -> Change<Recorded>,
    ) -> Result<(), EngineError> {
        let decide = || {
            let user = self.user_record(name)?.filter(|user| user.value.otp.id() == *key);
            let user = user.ok_or_else(|| EngineError::NoSuchUser(name.into()))?;
            Ok(transition(&user, self.now()?))
        };
        self.commit_anew(decide).map(|_recorded| ())
    }

    fn write(&self, change: Change<Recorded>) -> Result<(), EngineError> {
        match Receipt::issue(change, |batch| self.commit_batch(batch)) {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    /// A label names one wallet or one key that signs digests: whoever approves knows what signs.
    fn check_key_label(&self, label: &str) -> Result<(), EngineError> {
        check_label("a label", label)?;
        let is_taken = self.of_closed(|closed| closed.label == label).contains(&true)
            || self.wallets().iter().any(|(_, wallet)| wallet.label() == label)
            || self.digest_keys().iter().any(|(_, key)| key.label() == label);
        if is_taken {
            return Err(EngineError::Name(format!("there is already a wallet or key {label:?}")));
        }
        Ok(())
    }

    fn check_users(&self, users: &[String]) -> Result<(), EngineError> {
        if users.is_empty() || users.len() > MAX_WALLET_USERS {
            return Err(EngineError::Parameter(format!("there are 1 to {MAX_WALLET_USERS} users")));
        }
        for (index, user) in users.iter().enumerate() {
            if lists(&users[..index], user) {
                return Err(EngineError::Parameter(format!("user {user:?} is named twice")));
            }
            if self.user_record(user)?.is_none() {
                return Err(EngineError::NoSuchUser(user.clone()));
            }
        }
        Ok(())
    }
}

fn closed_pin(closed: PinClosed) -> EngineError {
    match closed {
        PinClosed::Locked => EngineError::PinLocked,
        PinClosed::Waiting { seconds } => EngineError::PinWaits(seconds),
        PinClosed::NotSet => EngineError::PinNotSet,
    }
}

/// The turn at the PIN of a role: one is charged, stretched and cleared at a time.
struct PinTurn<'a>(#[allow(dead_code, reason = "it is held, not looked at")] MutexGuard<'a, ()>);

fn lists(users: &[String], name: &str) -> bool {
    users.iter().any(|user| user == name)
}

fn check_label(what: &str, label: &str) -> Result<(), EngineError> {
    if (1..=MAX_LABEL_LEN).contains(&label.len()) && is_visible(label) {
        return Ok(());
    }
    Err(EngineError::Name(format!("{what} has 1 to {MAX_LABEL_LEN} bytes and no control character")))
}

fn check_policy(document: &str, network: Network) -> Result<(), EngineError> {
    check_policy_len(document)?;
    Policy::parse(document, network)?;
    Ok(())
}

fn check_policy_len(document: &str) -> Result<(), EngineError> {
    if document.len() > MAX_POLICY_LEN {
        return Err(EngineError::Parameter(format!("a policy has at most {MAX_POLICY_LEN} bytes")));
    }
    Ok(())
}
