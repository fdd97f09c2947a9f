//! Administration: what anybody may ask for, who may approve it, and what happens.
//!
//! ```text
//! Act → Approved<Act> → check → Approved<Plan> → decide → Decision → commit → Receipt<Approved<Plan>> → open → Done
//! ```
//!
//! An [`Act`] is a value that anybody may make and nobody can do. Evidence approves it ([`Approved`]).
//! [`check`] checks everything that does not depend on the records, and makes the secrets from given
//! randomness. [`decide()`] checks the rest against the present records. Only a receipt opens its decision.
//!
//! Invariants:
//! - M1. Users, wallets, keys, PINs, and a clock that an administrator accepts, change only by an act: the
//!   transitions that write them are private to the kernel, and only [`decide()`] and [`restore`] lead to them.
//! - M2. No act without evidence: the makers of [`Approved`] are in one file, and each takes evidence. An
//!   administrator's approval is valid at the token whose PIN it was given with, and as long as that is the
//!   PIN.
//! - M3. A user is named by enrolment: an act on a user who was enrolled again since then finds nobody.
//! - M4. Once there are officers, an administrator alone does nothing that loosens. The class of what is recorded decides, and
//!   without officers the commit expects that there still are none.
//! - M5. A decision depends on records that are unchanged at the commit; otherwise it is made again.
//!
//! ```compile_fail,E0451
//! // An approval cannot be put together.
//! use countersign_kernel::administration::{Act, Approved};
//! fn forge(act: Act, other: Approved<Act>) -> Approved<Act> { Approved { act, ..other } }
//! ```
//!
//! ```compile_fail,E0451
//! // Nor can a login.
//! use countersign_kernel::{administration::{Login, PinEra}, pin::Role};
//! fn forge(era: PinEra) -> Login { Login { role: Role::So, peer: None, pin: [0; 8], era } }
//! ```
//!
//! ```compile_fail,E0308
//! // An approval is for one use: it is not `Clone`.
//! use countersign_kernel::administration::{Act, Approved};
//! fn twice(approved: &Approved<Act>) -> Approved<Act> { approved.clone() }
//! ```
//!
//! ```compile_fail,E0308
//! // Nothing is decided without an approval.
//! use countersign_kernel::administration::{Act, check};
//! fn unasked(act: Act, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = check(act, Default::default(), secp);
//! }
//! ```
//!
//! ```compile_fail,E0603
//! // No transition of these records can be reached without an act.
//! use countersign_kernel::state::add_key;
//! ```
//!
//! ```compile_fail,E0599
//! // A decision reveals nothing before it is durable.
//! use countersign_kernel::{administration::{Approved, Plan}, receipt::Decision};
//! fn early(decided: Decision<Approved<Plan>>) { decided.open(); }
//! ```

mod approved;
mod clock;
mod council;
mod decide;
mod devices;
mod digest_keys;
mod draft;
mod freezes;
mod keys;
mod naming;
mod officers;
mod plan;
mod refused;
mod restoration;
mod token;
mod users;
mod wallets;

use zeroize::Zeroizing;

use crate::act::Deed;
use crate::digest_key::DigestMechanisms;
use crate::key::{KeyChange, KeyTerms};
use crate::network::Network;
use crate::officer::Council;
use crate::otp::{OtpHash, OtpKeyId};
use crate::pin::{Heir, PinRecord, Role};
use crate::state::{HeirFound, PinMatched};
use crate::wallet::Reach;

pub use crate::name::{KeyId, MAX_LABEL_LEN, MAX_POLICY_LEN, MAX_SIGNERS, MAX_TOKEN_LABEL_LEN, UserId};
pub use approved::{Administrator, Approved, Login, PinEra};
pub use clock::Moment;
pub use decide::{Done, Present, decide};
pub use draft::draft;
pub use officers::{in_force, vetoers};
pub use plan::{Fresh, Plan, check};
pub use refused::Refused;
pub use restoration::{Agreed, Deciders, DisagreedError, MAX_RESTORE_WINDOW, Restoration, Unfit, restore};

/// An act of administration, with everything that it needs.
pub enum Act {
    /// Initialise the token.
    Initialise(NewToken),
    /// Set the backends' PIN: once, and later only if it is locked or was declared lost.
    SetUserPin(Zeroizing<Vec<u8>>),
    /// Change a PIN. Making this value takes the evidence that the old PIN was right.
    ChangePin {
        /// The old PIN, found right.
        old: PinMatched,
        /// The new PIN.
        new: PinRecord,
    },
    /// Declare the backends' PIN lost: from here on nobody can log in with it, and another one may be set.
    LoseUserPin,
    /// Give every peer its tries at the backends' PIN back.
    UnlockUserPin,
    /// Enrol a user, with a secret made inside.
    Enrol(NewUser),
    /// Remove a user whom no wallet and no key lists.
    RemoveUser(UserId),
    /// End a user's row of wrong tries and the wait; the 30-day budget stays.
    UnlockUser(UserId),
    /// Create a wallet, from a seed made inside.
    MakeWallet(NewWallet),
    /// Change a wallet, or register it.
    ChangeWallet(KeyId, WalletChange),
    /// Create a key that signs digests, from a secret made inside.
    MakeDigestKey(NewDigestKey),
    /// Change a key that signs digests.
    ChangeDigestKey(KeyId, KeyChange),
    /// Accept the wall clock: this is the time, Unix seconds.
    TakeClock(u64),
    /// Freeze a thing: nothing is signed with it, or for it, until it is thawed.
    Freeze(Target),
    /// End a freeze.
    Thaw(Target),
    /// Set the officers of the store: the first ones, or others.
    SetOfficers(Box<Council>),
    /// Declare the security officer's PIN lost: from here on nobody can log in with it, and the heir may set another one.
    LoseSoPin(Heir),
    /// Set the security officer's PIN after it was lost. Making this value takes the evidence that the secret was right.
    InheritSoPin {
        /// The secret, found right.
        found: HeirFound,
        /// The new PIN.
        new: PinRecord,
    },
    /// Accept the wall clock if it says a time of this window, Unix seconds. Only officers can leave it so much room.
    TakeClockWithin(Window),
    /// Register a device with a screen of its own for a user.
    AddDevice(NewDevice),
    /// Remove the device of this name from a user's.
    RemoveDevice(UserId, String),
}

/// A device to register.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// The user, by enrolment.
    pub user: UserId,
    /// Its name among the user's.
    pub name: String,
    /// The network of the wallets for which it approves.
    pub network: Network,
    /// The address whose key it signs with.
    pub address: String,
}

/// A window of time, with both of its ends. Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first second.
    pub from: u64,
    /// Its last second.
    pub until: u64,
}

impl Act {
    /// The deed, as the audit names it.
    pub fn deed(&self) -> Deed {
        match self {
            Act::Initialise(_) => Deed::Initialised,
            Act::SetUserPin(_) => Deed::PinSet(Role::User),
            Act::ChangePin { old, .. } => Deed::PinChanged(old.role()),
            Act::LoseUserPin => Deed::PinLost,
            Act::UnlockUserPin => Deed::PinUnlocked,
            Act::Enrol(_) => Deed::UserAdded,
            Act::RemoveUser(_) => Deed::UserRemoved,
            Act::UnlockUser(_) => Deed::UserUnlocked,
            Act::MakeWallet(_) => Deed::WalletCreated,
            Act::ChangeWallet(..) => Deed::WalletUpdated,
            Act::MakeDigestKey(_) => Deed::KeyCreated,
            Act::ChangeDigestKey(..) => Deed::KeyUpdated,
            Act::TakeClock(_) | Act::TakeClockWithin(_) => Deed::ClockTaken,
            Act::Freeze(target) => Deed::Frozen(target.what()),
            Act::Thaw(target) => Deed::Thawed(target.what()),
            Act::SetOfficers(_) => Deed::OfficersSet,
            Act::LoseSoPin(_) => Deed::SoPinLost,
            Act::InheritSoPin { .. } => Deed::PinSet(Role::So),
            Act::AddDevice(_) => Deed::DeviceAdded,
            Act::RemoveDevice(..) => Deed::DeviceRemoved,
        }
    }

    /// The time by which it is done.
    pub fn timing(&self) -> Timing {
        match self {
            Act::Initialise(_) | Act::TakeClock(_) | Act::TakeClockWithin(_) => Timing::Clock,
            // The security officer can log in under any clock, and change the PIN under any.
            Act::ChangePin { old, .. } if old.role() == Role::So => Timing::OrNewest,
            Act::InheritSoPin { .. } => Timing::OrNewest,
            // No clock stands in the way of an emergency.
            Act::Freeze(_) => Timing::OrNewest,
            _ => Timing::Believed,
        }
    }

    /// Whether it depends on more than the records that it writes: on the names in use, and on who signs for
    /// what. Such acts are done one after the other.
    pub fn rests_on_others(&self) -> bool {
        match self {
            Act::Initialise(_)
            | Act::Enrol(_)
            | Act::RemoveUser(_)
            | Act::MakeWallet(_)
            | Act::ChangeWallet(..)
            | Act::MakeDigestKey(_)
            | Act::ChangeDigestKey(..)
            | Act::TakeClock(_)
            | Act::Freeze(_)
            | Act::Thaw(_)
            | Act::SetOfficers(_)
            | Act::LoseSoPin(_)
            | Act::TakeClockWithin(_)
            | Act::AddDevice(_)
            | Act::RemoveDevice(..) => true,
            Act::SetUserPin(_)
            | Act::ChangePin { .. }
            | Act::InheritSoPin { .. }
            | Act::LoseUserPin
            | Act::UnlockUserPin
            | Act::UnlockUser(_) => false,
        }
    }

    /// Whether it needs a PIN to be stretched.
    pub fn stretches_a_pin(&self) -> bool {
        matches!(self, Act::Initialise(_) | Act::SetUserPin(_))
    }
}

/// The time by which an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// By a trusted clock; without one the act is refused.
    Believed,
    /// By a trusted clock, or else by the newest record.
    OrNewest,
    /// By the present readings: the act makes them trusted.
    Clock,
}

/// A token to initialise.
pub struct NewToken {
    /// Its label.
    pub label: String,
    /// The security officer's PIN.
    pub so_pin: Zeroizing<Vec<u8>>,
}

/// The thing to freeze or thaw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything.
    Everything,
    /// A wallet.
    Wallet(KeyId),
    /// A key that signs digests.
    DigestKey(KeyId),
    /// A user.
    User(UserId),
}

/// A user to enrol.
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The issuer shown in the authenticator.
    pub service: String,
    /// The factor.
    pub factor: NewFactor,
}

/// A factor to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewFactor {
    /// Codes of time steps.
    Totp {
        /// The hash of HMAC.
        hash: OtpHash,
        /// Digits of a code, 6 to 8.
        digits: u8,
        /// Seconds of a time step, 15 to 120.
        period: u64,
    },
    /// Codes of counters.
    Hotp,
}

/// A user who was just enrolled.
pub struct Enrolment {
    /// The id of the OTP key.
    pub key_id: OtpKeyId,
    /// The `otpauth://` URI: the only copy of the secret outside the seal.
    pub uri: Zeroizing<String>,
}

/// A wallet to create.
pub struct NewWallet {
    /// Its terms.
    pub terms: KeyTerms,
    /// Its network.
    pub network: Network,
    /// The script of its coins.
    pub script: NewScript,
}

/// The script of a wallet to create.
#[derive(Default)]
pub struct NewScript {
    /// The registration (see [`registration`](crate::wallet::registration)). `None` means P2WPKH. If it is
    /// empty, the wallet is registered later, once the cosigners have our key.
    pub registration: Option<String>,
    /// The account's path, for example `m/48'/0'/0'/2'`. `None` means the standard one for the script.
    pub path: Option<String>,
}

/// Changes to a wallet; `None` leaves a field as it is.
#[derive(Default)]
pub struct WalletChange {
    /// Changes to its terms.
    pub terms: KeyChange,
    /// The registration of a wallet that has none yet.
    pub registration: Option<String>,
    /// How far its addresses must count as used at least. A greater reach stays.
    pub reach: Option<Reach>,
}

impl From<KeyChange> for WalletChange {
    fn from(terms: KeyChange) -> WalletChange {
        WalletChange { terms, ..WalletChange::default() }
    }
}

/// A key that signs digests, to create.
pub struct NewDigestKey {
    /// Its terms.
    pub terms: KeyTerms,
    /// The mechanisms that it is made for: at least one.
    pub mechanisms: DigestMechanisms,
}

#[cfg(test)]
mod tests;
