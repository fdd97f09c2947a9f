//! Why the engine does not do what it was asked.

use crate::kernel::approval::ApprovalError;
use crate::kernel::clock::ClockError;
use crate::kernel::digest_key::DigestKeyError;
use crate::kernel::policy::PolicyError;
use crate::kernel::psbt::PsbtError;
use crate::kernel::rule::Rule;
use crate::kernel::signer::SignerError;
use crate::kernel::state::{Declined, Locked};
use crate::kernel::wallet::WalletError;
use crate::ports::{LedgerError, RandomError};

/// Why the engine does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No token yet.
    #[error("the token is not initialised: run countersign init")]
    NotInitialised,
    /// A token is initialised once.
    #[error("the token is already initialised, and that happens only once")]
    AlreadyInitialised,
    /// A malformed approval.
    #[error("malformed approval: {0}")]
    Approval(#[from] ApprovalError),
    /// No PSBT, or one that a rule refuses.
    #[error(transparent)]
    Psbt(#[from] PsbtError),
    /// A rule of the policy refuses.
    #[error("the policy refuses: {0}")]
    Policy(Rule),
    /// A code that is wrong, replayed, stale, or of nobody who may sign.
    #[error("the code is not right")]
    Code,
    /// The user is locked or must wait.
    #[error("the user is locked or must wait: the code was not checked")]
    Locked,
    /// Too many codes of all users were wrong.
    #[error("too many codes of all users were wrong within an hour: the code was not checked")]
    Stopped,
    /// The clock cannot be believed.
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
    /// A PIN that is wrong.
    #[error("the PIN is not right")]
    Pin,
    /// A PIN that is locked, for this peer or for all.
    #[error(
        "the PIN is locked, or was declared lost, so it was not checked. An administrator clears the tries (countersign pin unlock) or sets a new user PIN (countersign pin set)"
    )]
    PinLocked,
    /// A PIN whose next try comes too early.
    #[error("too many wrong SO PINs: wait {0} s; this PIN was not checked")]
    PinWaits(u64),
    /// The backends' PIN, which is not replaced while it stands.
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
    /// A PIN that was to be changed to itself.
    #[error("the new PIN is the same as the old one: nothing was checked or changed; choose another PIN")]
    PinIsTheSame,
    /// An act of administration by somebody else than the security officer, or by a login that is over.
    #[error("only the security officer administers: log in as SO")]
    NotAdministrator,
    /// No such wallet.
    #[error("no such wallet")]
    NoSuchWallet,
    /// A wallet whose cosigners' keys are awaited.
    #[error("wallet {0:?} is not registered yet: give it its wallet policy first")]
    NotRegistered(String),
    /// A wallet is registered once.
    #[error("wallet {0:?} is already registered, and that happens only once: create another wallet")]
    AlreadyRegistered(String),
    /// A code of a user of whom nothing is tried without a cosigner's signature.
    #[error(
        "a wallet of user {0:?} has require_cosigner: outside of a signature only the security officer can check a code"
    )]
    Guarded(String),
    /// A wallet or key that was changed while a signature with it was under way.
    #[error("somebody changed {0:?} meanwhile: nothing was signed and no code was checked; sign again")]
    ChangedMeanwhile(String),
    /// No such key.
    #[error("no such key")]
    NoSuchDigestKey,
    /// A digest that is none.
    #[error("a digest has {len} bytes", len = crate::kernel::digest_key::DIGEST_LEN)]
    DigestLength,
    /// A key that signs digests that cannot be made.
    #[error(transparent)]
    DigestKey(#[from] DigestKeyError),
    /// A sealed key that this version does not take.
    #[error("key {key:?} stays closed: this version does not accept what another version sealed: {error}")]
    DigestKeyUnreadable {
        /// Its label.
        key: String,
        /// What this version has against it.
        error: DigestKeyError,
    },
    /// A sealed wallet that this version does not take.
    #[error(
        "wallet {wallet:?} stays closed: this version does not accept what another version sealed: {error}"
    )]
    WalletUnreadable {
        /// Its label.
        wallet: String,
        /// What this version has against it.
        error: WalletError,
    },
    /// No such user.
    #[error("there is no user {0:?}")]
    NoSuchUser(String),
    /// A name that is taken or cannot be one.
    #[error("{0}")]
    Name(String),
    /// A user who cannot be removed.
    #[error("user {user:?} signs for {signs_for:?}: first give that wallet or key another user")]
    UserInUse {
        /// The user.
        user: String,
        /// Label of a wallet, or of a key that signs digests, that lists the user.
        signs_for: String,
    },
    /// A parameter of a user or wallet that is out of range.
    #[error("{0}")]
    Parameter(String),
    /// A wallet that cannot be made.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A policy that is none.
    #[error("the policy is not valid: {0}")]
    PolicyDocument(#[from] PolicyError),
}

impl EngineError {
    /// The rule that refused a transaction. No other failure has one, a refused code least of all.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            EngineError::Policy(rule) => Some(*rule),
            EngineError::Psbt(error) => Some(error.rule()),
            _ => None,
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

impl From<Locked> for EngineError {
    fn from(_: Locked) -> EngineError {
        EngineError::Locked
    }
}
