//! What the desk may call: the process at which users read what the boundary wrote, and approve it.
//!
//! The desk serves pages to the public, so it must be of little use to whoever takes it over. It logs in as nobody, and the boundary takes
//! nothing from it but users' words on proposed transactions, each with a code.

use cryptoki_sys::*;

use super::application::Application;
use super::ration;
use super::request::Request;
use super::rv::{Answer, Rv};

impl Application {
    /// Refuses everything of the desk that it does not need. Every call starts with this.
    pub(super) fn check_desk(&self, request: &Request) -> Answer {
        if self.is_desk() && !is_for_the_desk(request) { Err(refused()) } else { Ok(()) }
    }
}

/// The answer to a call that the desk has no need of.
pub(super) fn refused() -> Rv {
    ration::refused(|| {
        "refused a call of the desk: it only reads proposed transactions, and brings what users say to them"
            .into()
    });
    Rv(CKR_ACTION_PROHIBITED)
}

/// Whether the desk needs such a call. Which objects it sees is another question ([`Application::sees`]).
fn is_for_the_desk(request: &Request) -> bool {
    match request {
        // What a client of PKCS#11 asks before it opens a session.
        Request::SlotList | Request::SlotInfo { .. } | Request::TokenInfo { .. } => true,
        Request::OpenSession { .. }
        | Request::CloseSession { .. }
        | Request::CloseAllSessions { .. }
        | Request::SessionInfo { .. }
        | Request::SessionInfoAndRule { .. } => true,
        Request::FindObjectsInit { .. } | Request::FindObjects { .. } | Request::FindObjectsFinal { .. } => {
            true
        }
        Request::GetAttributeValue { .. } | Request::SetAttributeValue { .. } => true,
        Request::MechanismList { .. }
        | Request::MechanismInfo { .. }
        | Request::InitToken { .. }
        | Request::InitPin { .. }
        | Request::SetPin { .. }
        | Request::Login { .. }
        | Request::Logout { .. }
        | Request::SessionCancel { .. }
        | Request::OperationState { .. }
        | Request::CreateObject { .. }
        | Request::CopyObject { .. }
        | Request::DestroyObject { .. }
        | Request::GetObjectSize { .. }
        | Request::SignInit { .. }
        | Request::Sign { .. }
        | Request::SignUpdate { .. }
        | Request::SignFinal { .. }
        | Request::MessageSignInit { .. }
        | Request::SignMessage { .. }
        | Request::SignMessageBegin { .. }
        | Request::SignMessageNext { .. }
        | Request::MessageSignFinal { .. }
        | Request::VerifyInit { .. }
        | Request::Verify { .. }
        | Request::VerifyUpdate { .. }
        | Request::VerifyFinal { .. }
        | Request::VerifySignatureInit { .. }
        | Request::VerifySignature { .. }
        | Request::VerifySignatureUpdate { .. }
        | Request::VerifySignatureFinal { .. }
        | Request::GenerateKey { .. }
        | Request::GenerateKeyPair { .. }
        | Request::GenerateRandom { .. } => false,
    }
}
