//! The reasons why an act is not done.

use crate::act::class::Class;
use crate::clock::ClockError;
use crate::credential::CredentialError;
use crate::digest_key::DigestKeyError;
use crate::name::NotAllowed;
use crate::policy::PolicyError;
use crate::proposal::ProposalError;
use crate::wallet::WalletError;

/// The reason why an act is not done. Nothing was written.
#[derive(Debug)]
pub enum Refused {
    /// A token is initialised once.
    AlreadyInitialised,
    /// The SO PIN has changed since the act was approved.
    NotAdministrator,
    /// The clock is not trusted.
    Clock(ClockError),
    /// The wall clock and the administrator's time differ.
    ClockDiffers {
        /// The clock's time, Unix seconds.
        clock: u64,
        /// The administrator's time.
        said: u64,
    },
    /// There were fewer random bytes than the act needs.
    Randomness,
    /// The PIN was changed or declared lost since it was found right.
    Pin,
    /// The backends' PIN is set, and neither locked nor lost.
    PinStands,
    /// The backends' PIN was never set.
    PinNotSet,
    /// A PIN of a length that is not allowed.
    PinLength,
    /// A name that is in use or not allowed.
    Name(String),
    /// A value that is out of range.
    Parameter(String),
    /// No such user, or another enrolment.
    NoSuchUser(String),
    /// A user who cannot be removed.
    UserInUse {
        /// The user.
        user: String,
        /// Label of a wallet or digest key that lists the user.
        signs_for: String,
    },
    /// A user whom acts need: the right to veto belongs to the enrolment, and so does the place of whoever joins a wallet.
    ActsNeed(String),
    /// The proposed act cannot be carried out or drafted.
    Proposal(ProposalError),
    /// A wallet is registered once.
    AlreadyRegistered(String),
    /// A wallet that cannot be made.
    Wallet(WalletError),
    /// A key that signs digests and cannot be made.
    DigestKey(DigestKeyError),
    /// An invalid policy.
    Policy(PolicyError),
    /// The thing is frozen already, or not frozen at all, or these are the officers already.
    StandsAlready,
    /// An administrator alone cannot do what is of this class: officers must sign it.
    NeedsOfficers(Class),
    /// A device that cannot be registered, or is not there.
    Credential(CredentialError),
}

impl From<CredentialError> for Refused {
    fn from(error: CredentialError) -> Refused {
        Refused::Credential(error)
    }
}

impl From<NotAllowed> for Refused {
    fn from(NotAllowed(problem): NotAllowed) -> Refused {
        Refused::Name(problem)
    }
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

impl From<ProposalError> for Refused {
    fn from(error: ProposalError) -> Refused {
        Refused::Proposal(error)
    }
}

impl From<ClockError> for Refused {
    fn from(error: ClockError) -> Refused {
        Refused::Clock(error)
    }
}
