//! Administration: what may be asked for, by whom, and what comes of it.
//!
//! ```text
//! Act → Approved<Act> → check → Approved<Plan> → decide → Change → commit → Receipt<Approved<Plan>> → open → Done
//! ```
//!
//! An [`Act`] is a value that anybody may make and nobody can do. Evidence approves it ([`Approved`]). [`check`] looks at
//! everything that does not depend on the records, and makes the secrets of randomness that comes in. [`decide`] holds what is left
//! against the records as they are now. What it decided is opened by its receipt alone.
//!
//! Invariants:
//! - M1. Users, wallets, keys, PINs, and a clock that an administrator vouches for, change by an act alone: the transitions
//!   that write them are private to the kernel, and [`decide`] and [`restore`] are all that leads to them.
//! - M2. No act without evidence: the makers of [`Approved`] stand in one file, and each takes evidence. The word of an administrator
//!   holds at the token whose PIN it was given by, and as long as that is the PIN.
//! - M3. Who is administered is named by enrolment: an act on a user who was enrolled anew since finds nobody.
//! - M4. What is decided rests on records that the commit finds unchanged, or it is decided anew.
//!
//! ```compile_fail,E0451
//! // An approval cannot be put together.
//! use countersign_kernel::administration::{Act, Approved};
//! fn forge(act: Act, other: Approved<Act>) -> Approved<Act> { Approved { act, ..other } }
//! ```
//!
//! ```compile_fail,E0451
//! // Nor can a login be.
//! use countersign_kernel::{administration::{Login, PinEra}, pin::Role};
//! fn forge(era: PinEra) -> Login { Login { role: Role::So, peer: None, pin: [0; 8], era } }
//! ```
//!
//! ```compile_fail,E0308
//! // An approval is for one time: it is not `Clone`.
//! use countersign_kernel::administration::{Act, Approved};
//! fn twice(approved: &Approved<Act>) -> Approved<Act> { approved.clone() }
//! ```
//!
//! ```compile_fail,E0308
//! // What nobody approved is not decided.
//! use countersign_kernel::administration::{Act, check};
//! fn unasked(act: Act, secp: &bitcoin::secp256k1::Secp256k1<bitcoin::secp256k1::All>) {
//!     let _ = check(act, Default::default(), secp);
//! }
//! ```
//!
//! ```compile_fail,E0603
//! // No transition of these records is reached past the act.
//! use countersign_kernel::state::add_wallet;
//! ```
//!
//! ```compile_fail,E0599
//! // What was decided tells nothing before it is durable.
//! use countersign_kernel::{administration::{Approved, Plan}, receipt::Change};
//! fn early(decided: Change<Approved<Plan>>) { decided.open(); }
//! ```

mod approved;
mod clock;
mod decide;
mod digest_keys;
mod naming;
mod plan;
mod refused;
mod token;
mod users;
mod wallets;

use zeroize::Zeroizing;

use crate::act::Deed;
use crate::digest_key::DigestMechanisms;
use crate::network::Network;
use crate::otp::{OtpHash, OtpKeyId};
use crate::pin::{PinRecord, Role};
use crate::state::PinMatched;
use crate::wallet::Reach;

pub use approved::{Administrator, Approved, Login, PinEra};
pub use clock::{Moment, Restoration, restore};
pub use decide::{Done, Present, decide};
pub use naming::{MAX_LABEL_LEN, MAX_POLICY_LEN, MAX_SIGNERS, MAX_TOKEN_LABEL_LEN};
pub use plan::{Fresh, Plan, check};
pub use refused::Refused;

/// Names one wallet, or one key that signs digests; random, made at its creation.
pub type KeyId = [u8; 16];

/// What can be asked of administration, with all that it says.
pub enum Act {
    /// Initialise the token.
    Initialise(NewToken),
    /// Set the backends' PIN: once, and then only one that is locked or was declared lost.
    SetUserPin(Zeroizing<Vec<u8>>),
    /// Change a PIN. To say it takes the evidence that the old one was right.
    ChangePin {
        /// The old one, found right.
        old: PinMatched,
        /// The new one.
        new: PinRecord,
    },
    /// Declare the backends' PIN lost: from here on it opens nothing, and another one may be set.
    LoseUserPin,
    /// Give every peer its tries at the backends' PIN back.
    UnlockUserPin,
    /// Enrol a user, of a secret made inside.
    Enrol(NewUser),
    /// Remove a user whom no wallet and no key lists.
    RemoveUser(UserId),
    /// End a user's row of failures and the wait; the 30-day budget stays.
    UnlockUser(UserId),
    /// Create a wallet, of a seed made inside.
    MakeWallet(NewWallet),
    /// Change a wallet, or register it.
    ChangeWallet(KeyId, WalletChange),
    /// Create a key that signs digests, of a secret made inside.
    MakeDigestKey(NewDigestKey),
    /// Change a key that signs digests.
    ChangeDigestKey(KeyId, DigestKeyChange),
    /// Take the wall clock as it is: this is the time, Unix seconds.
    TakeClock(u64),
}

impl Act {
    /// What is done by it, as the audit names it.
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
            Act::TakeClock(_) => Deed::ClockTaken,
        }
    }

    /// By which time it is done.
    pub fn timing(&self) -> Timing {
        match self {
            Act::Initialise(_) | Act::TakeClock(_) => Timing::Clock,
            // The security officer comes in under any clock, and changes the PIN under any.
            Act::ChangePin { old, .. } if old.role() == Role::So => Timing::OrNewest,
            _ => Timing::Believed,
        }
    }

    /// Whether it rests on more than the records that it writes: on which names are taken, and who signs for what. Such acts are
    /// done one after the other.
    pub fn rests_on_others(&self) -> bool {
        match self {
            Act::Initialise(_)
            | Act::Enrol(_)
            | Act::RemoveUser(_)
            | Act::MakeWallet(_)
            | Act::ChangeWallet(..)
            | Act::MakeDigestKey(_)
            | Act::ChangeDigestKey(..)
            | Act::TakeClock(_) => true,
            Act::SetUserPin(_)
            | Act::ChangePin { .. }
            | Act::LoseUserPin
            | Act::UnlockUserPin
            | Act::UnlockUser(_) => false,
        }
    }

    /// Whether a PIN has to be stretched for it.
    pub fn stretches_a_pin(&self) -> bool {
        matches!(self, Act::Initialise(_) | Act::SetUserPin(_))
    }
}

/// By which time an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// By the clock that is believed; not at all where none is.
    Believed,
    /// The same, and by the newest record where no clock is believed.
    OrNewest,
    /// By the clocks as they are: the act makes them believed.
    Clock,
}

/// A token to be initialised.
pub struct NewToken {
    /// Its label.
    pub label: String,
    /// The security officer's PIN.
    pub so_pin: Zeroizing<Vec<u8>>,
}

/// Names one enrolment of a user: a user of the same name who is enrolled later is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserId {
    /// The name.
    pub name: String,
    /// The OTP key.
    pub key: OtpKeyId,
}

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
    /// What is registered (see [`registration`](crate::wallet::registration)): P2WPKH where it is `None`; where it is empty, the
    /// wallet is registered later, once the cosigners have our key.
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

/// A key that signs digests, to be created.
pub struct NewDigestKey {
    /// Its label, unique among the wallets and keys of the token.
    pub label: String,
    /// `CKA_ID`; the key's own id where it is empty.
    pub cka_id: Vec<u8>,
    /// Names of the users whose code signs.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// What it is made for: at least one.
    pub mechanisms: DigestMechanisms,
}

/// What to change of a key that signs digests; `None` leaves it as it is.
#[derive(Default)]
pub struct DigestKeyChange {
    /// Another label.
    pub label: Option<String>,
    /// Other users.
    pub users: Option<Vec<String>>,
    /// Another policy.
    pub policy: Option<String>,
}

#[cfg(test)]
mod tests;
