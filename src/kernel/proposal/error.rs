//! The reasons why a transition of a proposal is refused.

use super::{MAX_KEPT_SIGNATURE_LEN, Standing, State};
use crate::audit::Void;
use crate::motion::TextError;
use crate::officer::{OfficerKey, SignatureError};

/// Why a transition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// The text is no act.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Something has changed since the act was written.
    #[error("the act is void: {0}; propose a new one")]
    Void(Void),
    /// Too late.
    #[error("the act has expired; propose a new one")]
    Expired,
    /// Its record would stay too long.
    #[error(
        "the act expires more than 30 days after its delay, or 8 days after now if it tightens; propose one that expires earlier"
    )]
    ExpiresLate,
    /// The security officer does it alone.
    #[error("the act needs no officers: the security officer does it alone")]
    NeedsNobody,
    /// The same text was proposed before.
    #[error("this act was proposed before; an act is carried out once, so propose a new one")]
    Known,
    /// Too many proposals of one who brings acts.
    #[error(
        "whoever brings this act has too many proposals already; let another officer bring it, withdraw some, or wait until some expire"
    )]
    Room,
    /// The signature is too long.
    #[error("the signature has more than {MAX_KEPT_SIGNATURE_LEN} bytes; sign again with a shorter comment")]
    SignatureLength,
    /// It is not an officer's signature of this text.
    #[error("the signature {0}")]
    Signature(#[from] SignatureError),
    /// An administrator cannot withdraw it.
    #[error("officers have signed this act, so an administrator cannot withdraw it: an officer can veto it")]
    Signed,
    /// The store has no officers.
    #[error("the token has no officers, so nobody needs to sign an act: the security officer does it alone")]
    NoOfficers,
    /// No such proposal.
    #[error("there is no such proposal: it was withdrawn, has expired, or was never made")]
    Unknown,
    /// The officer has signed already.
    #[error("{0} has signed already, and counts once")]
    Again(Box<OfficerKey>),
    /// The act cannot be vetoed.
    #[error("this act cannot be vetoed: it allows nothing more than before, or it has no delay")]
    NothingToVeto,
    /// The officer is removed by it.
    #[error("the act removes this officer, whose veto therefore does not count: another officer can veto it")]
    OwnRemoval,
    /// This user may not veto.
    #[error("user {0:?} may not veto this act: it did not concern the user when it was proposed")]
    NoVetoer(String),
    /// It is over.
    #[error("the proposal is closed: {}", match .0 {
        State::CarriedOut => "it was carried out",
        State::VetoedByOfficer(_) => "an officer vetoed it",
        State::VetoedByUser(_) => "a user vetoed it",
        State::Void(..) => "it is void",
        State::Open => "it is still open",
    })]
    Over(State),
    /// Not yet.
    #[error("{}", match .0 {
        Standing::Unsigned { signed, needed } => format!("{signed} of {needed} officers have signed"),
        Standing::Waiting(seconds) => format!("the delay of the act ends in {seconds} s at the earliest"),
        Standing::Due => "the act is due".into(),
    })]
    NotDue(Standing),
}

impl ProposalError {
    /// What it is about has changed, or is gone.
    pub(crate) const CHANGED: ProposalError = ProposalError::Void(Void::Subject);
}
