//! Answers: how each error looks to the caller.

use cryptoki_sys::*;

use super::attributes::class_number;
use super::ration;
use super::vendor::*;
use crate::engine::EngineError;
use crate::kernel::consent::ConsentError;
use crate::kernel::proposal::ProposalError;
use crate::kernel::psbt::PsbtError;
use crate::kernel::state::DeviceError;
use crate::open::OpenError;
use crate::ports::LedgerError;

/// A `CK_RV` other than `CKR_OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Rv(pub(super) CK_RV);

/// The result of every call.
pub(super) type Answer<T = ()> = Result<T, Rv>;

/// The reason why nothing was signed or changed: the answer, and the number of what refused, if it has one.
pub(super) struct Refusal {
    rv: Rv,
    number: CK_ULONG,
}

impl Refusal {
    /// Whether officers have to sign what was asked for.
    pub(super) fn needs_officers(&self) -> bool {
        self.rv == Rv(CKR_COUNTERSIGN_ACT)
    }

    /// The answer. Records the number for `C_GetSessionInfo`.
    pub(super) fn note(self, device_error: &mut CK_ULONG) -> Rv {
        *device_error = self.number;
        self.rv
    }
}

impl From<Rv> for Refusal {
    fn from(rv: Rv) -> Refusal {
        Refusal { rv, number: 0 }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Refusal {
        Refusal { number: number_of(&error), rv: error.into() }
    }
}

/// `ulDeviceError`: the number of the rule, of the class of an act, or of the reason why an act is not accepted. No other failure has
/// one, not even a refused code.
fn number_of(error: &EngineError) -> CK_ULONG {
    match error {
        EngineError::NeedsOfficers(class) => class_number(*class),
        EngineError::Proposal(error) => reason_number(error),
        EngineError::Consent(error) => consent_number(error),
        EngineError::Device(error) => device_number(error),
        error => error.rule().map_or(0, |rule| rule.number().into()),
    }
}

/// Why an act, a signature or a veto is not accepted.
fn reason_number(error: &ProposalError) -> CK_ULONG {
    match error {
        ProposalError::Text(_) => CS_ACT_REFUSED_TEXT,
        ProposalError::Void(_) => CS_ACT_REFUSED_VOID,
        ProposalError::Expired => CS_ACT_REFUSED_EXPIRED,
        ProposalError::ExpiresLate => CS_ACT_REFUSED_EXPIRES_LATE,
        ProposalError::NeedsNobody => CS_ACT_REFUSED_NEEDS_NOBODY,
        ProposalError::Known => CS_ACT_REFUSED_KNOWN,
        ProposalError::Room => CS_ACT_REFUSED_ROOM,
        ProposalError::SignatureLength | ProposalError::Signature(_) => CS_ACT_REFUSED_SIGNATURE,
        ProposalError::Again(_) => CS_ACT_REFUSED_AGAIN,
        ProposalError::NothingToVeto => CS_ACT_REFUSED_NOTHING_TO_VETO,
        ProposalError::NoVetoer(_) => CS_ACT_REFUSED_NO_VETOER,
        ProposalError::Over(_) => CS_ACT_REFUSED_OVER,
        ProposalError::NotDue(_) => CS_ACT_REFUSED_NOT_DUE,
        ProposalError::NoOfficers => CS_ACT_REFUSED_NO_OFFICERS,
        ProposalError::Unknown => CS_ACT_REFUSED_UNKNOWN,
        ProposalError::Signed => CS_ACT_REFUSED_SIGNED,
        ProposalError::OwnRemoval => CS_ACT_REFUSED_OWN_REMOVAL,
    }
}

/// Why a proposed transaction, or what a user says to it, is not accepted.
fn consent_number(error: &ConsentError) -> CK_ULONG {
    match error {
        ConsentError::Policy(rule) => rule.number().into(),
        ConsentError::Statement(_) => CS_CONSENT_REFUSED_STATEMENT,
        ConsentError::Asked { .. } => CS_CONSENT_REFUSED_ASKED,
        ConsentError::Stranger(_) => CS_CONSENT_REFUSED_STRANGER,
        ConsentError::Lifetime => CS_CONSENT_REFUSED_LIFETIME,
        ConsentError::Room => CS_CONSENT_REFUSED_ROOM,
        ConsentError::Unknown => CS_CONSENT_REFUSED_UNKNOWN,
        ConsentError::NotAsked(_) => CS_CONSENT_REFUSED_NOT_ASKED,
        ConsentError::Means(_) => CS_CONSENT_REFUSED_MEANS,
        ConsentError::NotTheMaker => CS_CONSENT_REFUSED_NOT_MAKER,
        ConsentError::Over(_) => CS_CONSENT_REFUSED_OVER,
    }
}

/// Why a word by device is not accepted.
fn device_number(error: &DeviceError) -> CK_ULONG {
    match error {
        DeviceError::Consent(error) => consent_number(error),
        DeviceError::Text(_) => CS_CONSENT_REFUSED_STATEMENT,
        DeviceError::None { .. } => CS_CONSENT_REFUSED_NO_DEVICE,
        DeviceError::Signature(_) => CS_CONSENT_REFUSED_SIGNATURE,
        DeviceError::Given(_) => CS_CONSENT_REFUSED_GIVEN,
    }
}

impl From<EngineError> for Rv {
    /// The table of docs/from-a-program.md. The log has what the caller may not know.
    fn from(error: EngineError) -> Rv {
        let rv = match &error {
            EngineError::Code => CKR_PIN_INCORRECT,
            EngineError::Locked => CKR_PIN_LOCKED,
            EngineError::Stopped => CKR_PIN_LOCKED,
            EngineError::Policy(_) => CKR_COUNTERSIGN_POLICY,
            EngineError::Frozen(_) => CKR_COUNTERSIGN_POLICY,
            EngineError::Consent(ConsentError::Policy(_)) => CKR_COUNTERSIGN_POLICY,
            EngineError::Consent(_) => CKR_COUNTERSIGN_ACT_REFUSED,
            EngineError::Device(_) => CKR_COUNTERSIGN_ACT_REFUSED,
            EngineError::Pending => CKR_COUNTERSIGN_PENDING,
            // Whoever asks for it has it: `administration` says so.
            EngineError::StandsAlready => CKR_FUNCTION_FAILED,
            EngineError::NeedsOfficers(_) => CKR_COUNTERSIGN_ACT,
            EngineError::Clock(_) => CKR_COUNTERSIGN_CLOCK,
            EngineError::Approval(_) => CKR_MECHANISM_PARAM_INVALID,
            EngineError::Psbt(psbt) => psbt_rv(psbt),
            EngineError::Ledger(ledger) => ledger_rv(ledger),
            EngineError::Random(_) => CKR_DEVICE_ERROR,
            EngineError::Signer(_) => CKR_DEVICE_ERROR,
            EngineError::Pin => CKR_PIN_INCORRECT,
            EngineError::PinLocked => CKR_PIN_LOCKED,
            EngineError::PinWaits(_) => CKR_PIN_LOCKED,
            EngineError::PinStands => CKR_ACTION_PROHIBITED,
            EngineError::PinNotSet => CKR_USER_PIN_NOT_INITIALIZED,
            EngineError::PinLength => CKR_PIN_LEN_RANGE,
            EngineError::PinIsTheSame => CKR_PIN_INVALID,
            EngineError::NotAdministrator => CKR_USER_NOT_LOGGED_IN,
            EngineError::NotInitialised => CKR_TOKEN_NOT_RECOGNIZED,
            EngineError::AlreadyInitialised => CKR_TOKEN_WRITE_PROTECTED,
            EngineError::NoSuchWallet => CKR_OBJECT_HANDLE_INVALID,
            EngineError::NotRegistered(_) => CKR_KEY_FUNCTION_NOT_PERMITTED,
            EngineError::Guarded(_) => CKR_KEY_FUNCTION_NOT_PERMITTED,
            EngineError::ChangedMeanwhile(_) => CKR_FUNCTION_FAILED,
            EngineError::NoSuchDigestKey => CKR_OBJECT_HANDLE_INVALID,
            EngineError::DigestLength => CKR_DATA_LEN_RANGE,
            EngineError::DigestKey(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            EngineError::DigestKeyUnreadable { .. } => CKR_COUNTERSIGN_STATE,
            EngineError::WalletUnreadable { .. } => CKR_COUNTERSIGN_STATE,
            EngineError::AlreadyRegistered(_) => CKR_ATTRIBUTE_READ_ONLY,
            EngineError::NoSuchUser(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            EngineError::Name(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            EngineError::Parameter(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            EngineError::UserInUse { .. } => CKR_ACTION_PROHIBITED,
            EngineError::ActsNeed(_) => CKR_ACTION_PROHIBITED,
            EngineError::Proposal(_) => CKR_COUNTERSIGN_ACT_REFUSED,
            EngineError::Wallet(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            EngineError::PolicyDocument(_) => CKR_ATTRIBUTE_VALUE_INVALID,
        };
        log(&error, rv);
        Rv(rv)
    }
}

impl From<OpenError> for Rv {
    fn from(error: OpenError) -> Rv {
        let rv = match error {
            OpenError::Config(error) => {
                tracing::error!("{error}");
                CKR_FUNCTION_FAILED
            }
            OpenError::Backing(error) => {
                tracing::error!("{error}");
                CKR_DEVICE_ERROR
            }
            OpenError::Engine(error) => return error.into(),
        };
        Rv(rv)
    }
}

fn psbt_rv(error: &PsbtError) -> CK_RV {
    match error {
        PsbtError::NotPsbt(_) | PsbtError::DuplicateKey(_) | PsbtError::TrailingBytes(_) => CKR_DATA_INVALID,
        PsbtError::Oversize(_) => CKR_DATA_LEN_RANGE,
        PsbtError::Refused { .. } => CKR_COUNTERSIGN_PSBT_REFUSED,
    }
}

fn ledger_rv(error: &LedgerError) -> CK_RV {
    match error {
        LedgerError::State(_) => CKR_COUNTERSIGN_STATE,
        LedgerError::InUse { .. } => CKR_CANT_LOCK,
        LedgerError::Conflict => CKR_FUNCTION_FAILED,
        LedgerError::NewerFormat { .. } => CKR_DEVICE_ERROR,
        LedgerError::Exists(_) => CKR_TOKEN_WRITE_PROTECTED,
        LedgerError::Io { .. } => CKR_DEVICE_ERROR,
        LedgerError::Displaced { .. } => CKR_DEVICE_ERROR,
        LedgerError::Moved { .. } => CKR_DEVICE_ERROR,
        LedgerError::Backing(_) => CKR_DEVICE_ERROR,
        LedgerError::Random(_) => CKR_DEVICE_ERROR,
        LedgerError::Closed(_) => CKR_DEVICE_ERROR,
    }
}

/// Writes one line for the operator. A failure of the module is an error, a refusal a warning. A peer can
/// repeat what costs it nothing without end, so those lines are rationed.
fn log(error: &EngineError, rv: CK_RV) {
    match (error, rv) {
        (EngineError::Code | EngineError::Pin | EngineError::Policy(_), _) => {
            tracing::warn!("refused: {error}");
        }
        (_, CKR_DEVICE_ERROR | CKR_COUNTERSIGN_STATE | CKR_CANT_LOCK) => ration::failed(|| error.to_string()),
        _ => ration::refused(|| format!("refused: {error}")),
    }
}
