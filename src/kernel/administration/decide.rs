//! Decides an act against the present records.

use bitcoin::secp256k1::{All, Secp256k1};

use super::plan::Planned;
use super::{
    Approved, Enrolment, KeyId, Login, Moment, PinEra, Plan, Refused, Target, UserId, clock, council,
    devices, digest_keys, freezes, keys, token, users, wallets,
};
use crate::credential::Credentials;
use crate::freeze::Freeze;
use crate::officer::Council;
use crate::pin::Role;
use crate::receipt::{Decision, Receipt};
use crate::record::Versioned;
use crate::seal::RecordKey;
use crate::state::{
    ClockRecord, Epoch, FormerUsers, KeyRecord, PinKnown, TokenRecord, UserRecord, WalletState,
};

/// The present records, and the names that are in use.
pub trait Present {
    /// The reason why they cannot be read.
    type Error: From<Refused>;

    /// Whether there is a token.
    fn is_initialised(&self) -> bool;

    /// How often the store was restored, and when last.
    fn epoch(&self) -> Epoch;

    /// The token's record.
    fn token(&self) -> Result<Versioned<TokenRecord>, Self::Error>;

    /// The record of the user of this name, if there is one.
    fn user(&self, name: &str) -> Result<Option<Versioned<UserRecord>>, Self::Error>;

    /// The record of a wallet or of a key that signs digests, and its state.
    fn key<K: KeyRecord>(&self, id: &KeyId) -> Result<(Versioned<K>, Versioned<WalletState>), Self::Error>;

    /// The readings that the wall clock is compared with, if it was ever trusted.
    fn clock(&self) -> Result<Option<Versioned<ClockRecord>>, Self::Error>;

    /// The officers, once there are any.
    fn council(&self) -> Result<Option<Versioned<Council>>, Self::Error>;

    /// The record of a freeze, while there is one.
    fn freeze(&self, place: &RecordKey) -> Result<Option<Versioned<Freeze>>, Self::Error>;

    /// The former users of a wallet or key, once there are any.
    fn former_users(&self, id: &KeyId) -> Result<Option<Versioned<FormerUsers>>, Self::Error>;

    /// What the user of this name approves with besides the OTP key, once there is anything.
    fn credentials(&self, name: &str) -> Result<Option<Versioned<Credentials>>, Self::Error>;

    /// The same of all users.
    fn all_credentials(&self) -> Result<Vec<Credentials>, Self::Error>;

    /// Whether a wallet or key has this label, including closed ones.
    fn has_label(&self, label: &str) -> bool;

    /// Whether nobody may use this label again.
    fn is_retired(&self, label: &str) -> Result<bool, Self::Error>;

    /// Whether a proposed act that may still be carried out needs this enrolment: the user may veto it, or joins by it. Or the user was
    /// taken off a wallet or key so recently that an act on it, proposed now, could still be vetoed.
    fn acts_need(&self, user: &UserId) -> Result<bool, Self::Error>;

    /// The label of a wallet or key that lists this user, if there is one, including closed ones.
    fn signs_for(&self, user: &str) -> Option<String>;
}

/// Decides what was approved, against the present records.
pub fn decide<P: Present>(
    approved: Approved<Plan>,
    moment: &Moment,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Decision<Approved<Plan>>, P::Error> {
    if approved.is_by_administrator() && !approved.holds_by(&present.token()?.value) {
        return Err(Refused::NotAdministrator.into());
    }
    let batch = match &approved.act().0 {
        Planned::Initialise(token) => token::initialise(token, moment, present)?,
        Planned::SetUserPin(pin) => token::set_user_pin(pin, approved.peer(), moment, present)?,
        Planned::ChangePin { old, new } => token::change_pin(old, new, moment, present)?,
        Planned::LoseUserPin => token::lose_user_pin(moment, present)?,
        Planned::UnlockUserPin => token::unlock_user_pin(moment, present)?,
        Planned::Enrol(user, _) => users::enrol(user, moment, present)?,
        Planned::RemoveUser(user) => users::remove(user, moment, present)?,
        Planned::UnlockUser(user) => users::unlock(user, moment, present)?,
        Planned::MakeWallet(id, record, wallet) => keys::make(id, (&**record, &**wallet), moment, present)?,
        Planned::ChangeWallet(id, change) => wallets::change(id, change, moment, present, secp)?,
        Planned::MakeDigestKey(id, record, key) => keys::make(id, (&**record, &**key), moment, present)?,
        Planned::ChangeDigestKey(id, change) => digest_keys::change(id, change, moment, present, secp)?,
        Planned::TakeClock(said) => clock::take(*said, moment, present)?,
        Planned::Freeze(target) => freezes::freeze(target, approved.freezer(), moment, present)?,
        Planned::Thaw(target) => freezes::thaw(target, moment, present)?,
        Planned::SetOfficers(new) => council::set(new, moment, present)?,
        Planned::LoseSoPin(heir) => token::lose_so_pin(*heir, moment, present)?,
        Planned::InheritSoPin { found, new } => token::inherit_so_pin(found, new, moment, present)?,
        Planned::TakeClockWithin(window) => clock::take_within(*window, moment, present)?,
        Planned::AddDevice(user, name, device) => devices::add(user, name, device, moment, present)?,
        Planned::RemoveDevice(user, name) => devices::remove(user, name, moment, present)?,
    };
    let batch = match approved.ruling() {
        Some(ruling) => ruling.carry_out(batch, present, secp)?,
        None if approved.is_by_administrator() => council::permit(batch, approved.act(), present)?,
        None => batch,
    };
    Ok(Decision::new(batch, approved))
}

/// What was done. The records have the details; this says which of them to read again.
#[must_use = "what was done is to be put in force"]
pub enum Done {
    /// The token was initialised.
    Initialised,
    /// The security officer's PIN was set after it was lost.
    SoPinInherited,
    /// The security officer set the backends' PIN, or declared it lost.
    UserPinReplaced,
    /// The owner of a PIN changed it.
    PinChanged(NewPin),
    /// The tries at the backends' PIN were cleared.
    UserPinUnlocked,
    /// A user was enrolled.
    Enrolled(Enrolment),
    /// A user was unlocked.
    UserUnlocked,
    /// The user of this name was removed, and a freeze with it.
    UserRemoved(String),
    /// A wallet was created or changed.
    Wallet(KeyId),
    /// A key that signs digests was created or changed.
    DigestKey(KeyId),
    /// The clock was accepted.
    ClockTaken,
    /// It was frozen.
    Frozen(Target),
    /// It was thawed.
    Thawed(Target),
    /// The officers were set.
    OfficersSet,
    /// The security officer's PIN was declared lost.
    SoPinLost,
    /// A user's device was registered or removed.
    DevicesChanged,
}

/// Evidence: the caller knows the new PIN.
pub struct NewPin(PinKnown);

impl NewPin {
    /// The role of the PIN.
    pub fn role(&self) -> Role {
        self.0.role()
    }

    /// The login of the peer that changed it, in the era that this began.
    pub fn login(self, era: PinEra) -> Login {
        Login::of(self.0, era)
    }
}

impl Receipt<Approved<Plan>> {
    /// What was done.
    pub fn open(self) -> Done {
        match self.into_evidence().into_act().0 {
            Planned::Initialise(_) => Done::Initialised,
            Planned::SetUserPin(_) | Planned::LoseUserPin => Done::UserPinReplaced,
            Planned::ChangePin { old, new } => Done::PinChanged(NewPin(old.changed_to(&new))),
            Planned::UnlockUserPin => Done::UserPinUnlocked,
            Planned::Enrol(_, enrolment) => Done::Enrolled(enrolment),
            Planned::RemoveUser(user) => Done::UserRemoved(user.name),
            Planned::UnlockUser(_) => Done::UserUnlocked,
            Planned::MakeWallet(id, ..) | Planned::ChangeWallet(id, _) => Done::Wallet(id),
            Planned::MakeDigestKey(id, ..) | Planned::ChangeDigestKey(id, _) => Done::DigestKey(id),
            Planned::TakeClock(_) | Planned::TakeClockWithin(_) => Done::ClockTaken,
            Planned::Freeze(target) => Done::Frozen(target),
            Planned::Thaw(target) => Done::Thawed(target),
            Planned::SetOfficers(_) => Done::OfficersSet,
            Planned::LoseSoPin(_) => Done::SoPinLost,
            Planned::InheritSoPin { .. } => Done::SoPinInherited,
            Planned::AddDevice(..) | Planned::RemoveDevice(..) => Done::DevicesChanged,
        }
    }
}
