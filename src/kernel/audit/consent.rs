//! What the audit says of transactions that wait for their users' approvals.

use serde::{Deserialize, Serialize};

use crate::otp::OtpKeyId;

/// The audit's facts about a user's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentFacts {
    /// The ticket.
    pub ticket: [u8; 16],
    /// Label of the wallet when it was proposed.
    pub wallet: String,
    /// What exactly was approved or refused.
    pub digest: [u8; 32],
    /// Whether it was refused.
    pub refuses: bool,
}

/// What happened to a transaction that waits for its users' approvals, besides what users said with a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentStep {
    /// The ticket.
    pub ticket: [u8; 16],
    /// Label of the wallet when it was proposed.
    pub wallet: String,
    /// What happened.
    pub step: PendingStep,
}

/// What can happen to a transaction that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PendingStep {
    /// It was proposed.
    Proposed {
        /// What the first of those asked is to approve.
        statement: String,
        /// Who is asked, by name and enrolment.
        users: Vec<(String, OtpKeyId)>,
        /// The peer that proposed it.
        peer: Option<String>,
    },
    /// The peer that proposed it withdrew it.
    Withdrawn,
    /// A user approved or refused it by a device with a screen of its own.
    SaidByDevice(Box<DeviceWord>),
    /// A user approved or refused it by a passkey.
    SaidByPasskey(Box<PasskeyWord>),
}

/// A user's word by a passkey, with all that anybody needs to verify the assertion again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyWord {
    /// The user.
    pub user: String,
    /// The enrolment.
    pub enrolment: OtpKeyId,
    /// What exactly was approved or refused.
    pub digest: [u8; 32],
    /// Whether it was refused.
    pub refuses: bool,
    /// The passkey's name among the user's.
    pub passkey: String,
    /// The key that signed: a SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// The client data, as JSON. It names the page.
    pub client_data: Vec<u8>,
    /// The authenticator data.
    pub authenticator_data: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
}

/// A user's word by a device, with all that anybody needs to verify the signature again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWord {
    /// The user.
    pub user: String,
    /// The enrolment.
    pub enrolment: OtpKeyId,
    /// What exactly was approved or refused.
    pub digest: [u8; 32],
    /// Whether it was refused.
    pub refuses: bool,
    /// The device's name among the user's.
    pub device: String,
    /// The address whose key signed.
    pub address: String,
    /// What the device showed.
    pub text: String,
    /// The signature over the text.
    pub signature: String,
}

impl PendingStep {
    /// Its name, in the audit and the metrics.
    pub const fn tag(&self) -> &'static str {
        match self {
            PendingStep::Proposed { .. } => "consent-asked",
            PendingStep::Withdrawn => "consent-withdrawn",
            PendingStep::SaidByDevice(word) if word.refuses => "consent-refused",
            PendingStep::SaidByDevice(_) => "consent-given",
            PendingStep::SaidByPasskey(word) if word.refuses => "consent-refused",
            PendingStep::SaidByPasskey(_) => "consent-given",
        }
    }
}
