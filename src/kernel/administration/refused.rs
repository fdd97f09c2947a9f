//! Why an act is not done.

use crate::clock::ClockError;
use crate::digest_key::DigestKeyError;
use crate::policy::PolicyError;
use crate::wallet::WalletError;

/// Why an act is not done. Nothing was written.
#[derive(Debug)]
pub enum Refused {
    /// A token is initialised once.
    AlreadyInitialised,
    /// The SO PIN is another one since the act was approved.
    NotAdministrator,
    /// The clock cannot be believed.
    Clock(ClockError),
    /// The wall clock says another time than the administrator.
    ClockDiffers {
        /// What the clock says, Unix seconds.
        clock: u64,
        /// What the administrator said.
        said: u64,
    },
    /// Fewer random bytes came than the act takes.
    Randomness,
    /// Another PIN was set since this one was found right, or it was declared lost.
    Pin,
    /// The backends' PIN is set, and neither locked nor lost.
    PinStands,
    /// The backends' PIN was never set.
    PinNotSet,
    /// A PIN of a length that is not allowed.
    PinLength,
    /// A name that is taken or cannot be one.
    Name(String),
    /// Something that is out of range.
    Parameter(String),
    /// No such user, of this enrolment.
    NoSuchUser(String),
    /// A user who cannot be removed.
    UserInUse {
        /// The user.
        user: String,
        /// Label of a wallet, or of a key that signs digests, that lists the user.
        signs_for: String,
    },
    /// A wallet is registered once.
    AlreadyRegistered(String),
    /// A wallet that cannot be made.
    Wallet(WalletError),
    /// A key that signs digests that cannot be made.
    DigestKey(DigestKeyError),
    /// A policy that is none.
    Policy(PolicyError),
}

impl From<WalletError> for Refused {
    fn from(error: WalletError) -> Refused {
        Refused::Wallet(error)
    }
}

impl From<DigestKeyError> for Refused {
    fn from(error: DigestKeyError) -> Refused {
        Refused::DigestKey(error)
    }
}

impl From<PolicyError> for Refused {
    fn from(error: PolicyError) -> Refused {
        Refused::Policy(error)
    }
}

impl From<ClockError> for Refused {
    fn from(error: ClockError) -> Refused {
        Refused::Clock(error)
    }
}
