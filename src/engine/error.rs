//! The reasons why the engine does not do something.

use crate::kernel::act::class::Class;
use crate::kernel::approval::ApprovalError;
use crate::kernel::clock::ClockError;
use crate::kernel::consent::ConsentError;
use crate::kernel::digest_key::DigestKeyError;
use crate::kernel::freeze::Frozen;
use crate::kernel::motion::TextError;
use crate::kernel::policy::PolicyError;
use crate::kernel::proposal::ProposalError;
use crate::kernel::psbt::PsbtError;
use crate::kernel::rule::Rule;
use crate::kernel::signer::SignerError;
use crate::kernel::state::{Declined, DeviceError, Untried};
use crate::kernel::wallet::WalletError;
use crate::ports::{LedgerError, RandomError};

/// The reason why the engine does not do something.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no token yet.
    #[error("the token is not initialised: run countersign init")]
    NotInitialised,
    /// A token is initialised once.
    #[error("the token is already initialised, and that happens only once")]
    AlreadyInitialised,
    /// A malformed approval.
    #[error("malformed approval: {0}")]
    Approval(#[from] ApprovalError),
    /// Not a PSBT, or one that a rule refuses.
    #[error(transparent)]
    Psbt(#[from] PsbtError),
    /// A rule of the policy refuses.
    #[error("the policy refuses: {0}")]
    Policy(Rule),
    /// A code that is wrong, replayed or stale, or of somebody who may not sign.
    #[error("the code is not right")]
    Code,
    /// The user is locked or must wait.
    #[error("the user is locked or must wait: the code was not checked")]
    Locked,
    /// Too many codes of all users were wrong.
    #[error("too many codes of all users were wrong within an hour: the code was not checked")]
    Stopped,
    /// A thing that the request needs is frozen.
    #[error("{0}: no code was checked, and nothing was signed")]
    Frozen(Frozen),
    /// The thing to freeze is frozen already, or the thing to thaw is not frozen.
    #[error("nothing was changed: it has this value already")]
    StandsAlready,
    /// Officers must sign what is of this class.
    #[error("an administrator alone cannot do this, because it {}: officers must sign it", match .0 {
        Class::Vouchless => "settles what everything else is measured by",
        Class::Loosens | Class::Neutral | Class::Tightens => "loosens",
    })]
    NeedsOfficers(Class),
    /// A transaction that waits for its users' approvals, or what somebody says to it, is not accepted.
    #[error(transparent)]
    Consent(#[from] ConsentError),
    /// A word by device that is not accepted.
    #[error(transparent)]
    Device(DeviceError),
    /// A ticket for just this transaction, which lacks approvals.
    #[error(
        "too few users have approved this transaction so far: nothing was signed, and the ticket stays as it is"
    )]
    Pending,
    /// The clock is not trusted.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A fault while signing.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A wrong PIN.
    #[error("the PIN is not right")]
    Pin,
    /// A PIN that is locked, for this peer or for all.
    #[error(
        "the PIN is locked, or was declared lost, so it was not checked. An administrator clears the tries (countersign pin unlock) or sets a new user PIN (countersign pin set)"
    )]
    PinLocked,
    /// A PIN that cannot be tried again yet.
    #[error("too many wrong SO PINs: wait {0} s; this PIN was not checked")]
    PinWaits(u64),
    /// The backends' PIN, which cannot be replaced while it is valid.
    #[error(
        "the user PIN is set, and neither locked nor lost: it stays. Whoever knows it changes it (C_SetPIN); if nobody does, declare it lost first (countersign pin lost)"
    )]
    PinStands,
    /// A PIN that was never set.
    #[error("the PIN was never set: the security officer sets it")]
    PinNotSet,
    /// A PIN of a length that is not allowed.
    #[error("a PIN has {min} to {max} bytes", min = crate::kernel::pin::MIN_LEN, max = crate::kernel::pin::MAX_LEN)]
    PinLength,
    /// A PIN that should be changed to itself.
    #[error("the new PIN is the same as the old one: nothing was checked or changed; choose another PIN")]
    PinIsTheSame,
    /// An act of administration by a login other than the security officer's, or by one that is over.
    #[error("only the security officer administers: log in as SO")]
    NotAdministrator,
    /// No such wallet.
    #[error("no such wallet")]
    NoSuchWallet,
    /// A wallet that waits for its cosigners' keys.
    #[error("wallet {0:?} is not registered yet: give it its wallet policy first")]
    NotRegistered(String),
    /// A wallet is registered once.
    #[error("wallet {0:?} is already registered, and that happens only once: create another wallet")]
    AlreadyRegistered(String),
    /// A code of a user whose wallets all require a cosigner's signature first.
    #[error(
        "a wallet of user {0:?} has require_cosigner: outside of a signature only the security officer can check a code"
    )]
    Guarded(String),
    /// A wallet or key that changed while a signature with it was under way.
    #[error("somebody changed {0:?} meanwhile: nothing was signed and no code was checked; sign again")]
    ChangedMeanwhile(String),
    /// No such key.
    #[error("no such key")]
    NoSuchDigestKey,
    /// A digest of another length.
    #[error("a digest has {len} bytes", len = crate::kernel::digest_key::DIGEST_LEN)]
    DigestLength,
    /// A key that signs digests and cannot be made.
    #[error(transparent)]
    DigestKey(#[from] DigestKeyError),
    /// A sealed key that this version does not accept.
    #[error("key {key:?} stays closed: this version does not accept what another version sealed: {error}")]
    DigestKeyUnreadable {
        /// Its label.
        key: String,
        /// This version's objection.
        error: DigestKeyError,
    },
    /// A sealed wallet that this version does not accept.
    #[error(
        "wallet {wallet:?} stays closed: this version does not accept what another version sealed: {error}"
    )]
    WalletUnreadable {
        /// Its label.
        wallet: String,
        /// This version's objection.
        error: WalletError,
    },
    /// No such user.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// A name that is in use or not allowed.
    #[error("{0}")]
    Name(String),
    /// A user who cannot be removed.
    #[error("user {user:?} signs for {signs_for:?}: first give that wallet or key another user")]
    UserInUse {
        /// The user.
        user: String,
        /// Label of a wallet or digest key that lists the user.
        signs_for: String,
    },
    /// A user whom a proposed act needs, or one that could be proposed.
    #[error(
        "user {0:?} may still veto an act or joins a wallet by one, and cannot be removed yet: an officer can veto the act, or it expires; whoever was taken off a wallet stays enrolled for the officers' delay, and signs nothing"
    )]
    ActsNeed(String),
    /// A proposed act, a signature or a veto that is not accepted.
    #[error(transparent)]
    Proposal(#[from] ProposalError),
    /// A parameter of a user or wallet that is out of range.
    #[error("{0}")]
    Parameter(String),
    /// A wallet that cannot be made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// An invalid policy.
    #[error("the policy is not valid: {0}")]
    PolicyDocument(#[from] PolicyError),
}

impl EngineError {
    /// The rule that refused a transaction. No other failure has one, not even a refused code.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            EngineError::Policy(rule) | EngineError::Consent(ConsentError::Policy(rule)) => Some(*rule),
            EngineError::Frozen(_) => Some(Rule::Frozen),
            EngineError::Psbt(error) => Some(error.rule()),
            _ => None,
        }
    }
}

impl From<TextError> for EngineError {
    fn from(error: TextError) -> EngineError {
        EngineError::Proposal(error.into())
    }
}

impl From<DeviceError> for EngineError {
    fn from(error: DeviceError) -> EngineError {
        match error {
            DeviceError::Consent(error) => EngineError::Consent(error),
            error => EngineError::Device(error),
        }
    }
}

impl From<Declined> for EngineError {
    fn from(declined: Declined) -> EngineError {
        match declined {
            Declined::Code => EngineError::Code,
            Declined::Policy(rule) => EngineError::Policy(rule),
        }
    }
}

impl From<Untried> for EngineError {
    fn from(untried: Untried) -> EngineError {
        match untried {
            Untried::Locked => EngineError::Locked,
            Untried::Frozen(frozen) => EngineError::Frozen(frozen),
            Untried::Pending => EngineError::Pending,
        }
    }
}
