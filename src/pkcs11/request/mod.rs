//! Calls as values: `entry` makes them from an application's pointers, and writes their results back.
//!
//! The client sends the same values to the boundary ([`super::connected`]), where [`mod@super::host`] answers
//! them. Their encoding ([`super::codec`]) is postcard, and its version is that of the greeting in
//! [`crate::remote`]. New variants go to the end of their type, and are a new version there. What an older
//! version has never changes.
//!
//! Requests are in this file, their results in `reply`, and their bounds in `bounds`.

mod bounds;
mod refused;

use core::ops::Deref;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::codec::bounded;
use super::rv::Answer;

pub(super) use bounds::*;

/// One call of PKCS#11 section 5, except those that concern the library and not its token. Version 2 of the
/// greeting has those up to `GetObjectSize`.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Request {
    SlotList,
    SlotInfo {
        slot: CK_SLOT_ID,
    },
    TokenInfo {
        slot: CK_SLOT_ID,
    },
    MechanismList {
        slot: CK_SLOT_ID,
    },
    MechanismInfo {
        slot: CK_SLOT_ID,
        mechanism: CK_MECHANISM_TYPE,
    },
    InitToken {
        slot: CK_SLOT_ID,
        pin: Bytes,
        label: [u8; 32],
    },
    InitPin {
        session: CK_SESSION_HANDLE,
        pin: Bytes,
    },
    SetPin {
        session: CK_SESSION_HANDLE,
        old: Bytes,
        new: Bytes,
    },
    OpenSession {
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
    },
    CloseSession {
        session: CK_SESSION_HANDLE,
    },
    CloseAllSessions {
        slot: CK_SLOT_ID,
    },
    SessionInfo {
        session: CK_SESSION_HANDLE,
    },
    Login {
        session: CK_SESSION_HANDLE,
        user_type: CK_USER_TYPE,
        user: Option<Bytes>,
        pin: Bytes,
    },
    Logout {
        session: CK_SESSION_HANDLE,
    },
    SessionCancel {
        session: CK_SESSION_HANDLE,
        flags: CK_FLAGS,
    },
    OperationState {
        session: CK_SESSION_HANDLE,
    },
    DestroyObject {
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    },
    GetAttributeValue {
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        #[serde(deserialize_with = "bounded")]
        wanted: Vec<Wanted>,
    },
    SetAttributeValue {
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        #[serde(deserialize_with = "bounded")]
        template: Vec<TemplateEntry>,
    },
    FindObjectsInit {
        session: CK_SESSION_HANDLE,
        #[serde(deserialize_with = "bounded")]
        template: Vec<TemplateEntry>,
    },
    FindObjects {
        session: CK_SESSION_HANDLE,
        most: CK_ULONG,
    },
    FindObjectsFinal {
        session: CK_SESSION_HANDLE,
    },
    SignInit {
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
    },
    Sign {
        session: CK_SESSION_HANDLE,
        data: Answer<Bytes>,
        room: Room,
    },
    SignUpdate {
        session: CK_SESSION_HANDLE,
        part: Answer<Bytes>,
    },
    SignFinal {
        session: CK_SESSION_HANDLE,
        room: Room,
    },
    MessageSignInit {
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
    },
    SignMessage {
        session: CK_SESSION_HANDLE,
        parameter: Answer<Bytes>,
        data: Answer<Bytes>,
        room: Room,
    },
    SignMessageBegin {
        session: CK_SESSION_HANDLE,
        parameter: Answer<Bytes>,
    },
    SignMessageNext {
        session: CK_SESSION_HANDLE,
        parameter: Answer<Bytes>,
        part: Answer<Bytes>,
        /// Given with the last part.
        room: Option<Room>,
    },
    MessageSignFinal {
        session: CK_SESSION_HANDLE,
    },
    VerifyInit {
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
    },
    Verify {
        session: CK_SESSION_HANDLE,
        data: Answer<Bytes>,
        signature: Answer<Bytes>,
    },
    VerifyUpdate {
        session: CK_SESSION_HANDLE,
        part: Answer<Bytes>,
    },
    VerifyFinal {
        session: CK_SESSION_HANDLE,
        signature: Answer<Bytes>,
    },
    VerifySignatureInit {
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
        signature: Answer<Bytes>,
    },
    VerifySignature {
        session: CK_SESSION_HANDLE,
        data: Answer<Bytes>,
    },
    VerifySignatureUpdate {
        session: CK_SESSION_HANDLE,
        part: Answer<Bytes>,
    },
    VerifySignatureFinal {
        session: CK_SESSION_HANDLE,
    },
    GenerateKey {
        session: CK_SESSION_HANDLE,
        mechanism: Mechanism,
        #[serde(deserialize_with = "bounded")]
        template: Vec<TemplateEntry>,
    },
    GenerateKeyPair {
        session: CK_SESSION_HANDLE,
        mechanism: Mechanism,
        #[serde(deserialize_with = "bounded")]
        public: Vec<TemplateEntry>,
        #[serde(deserialize_with = "bounded")]
        private: Vec<TemplateEntry>,
    },
    GenerateRandom {
        session: CK_SESSION_HANDLE,
        len: u64,
    },
    CreateObject {
        session: CK_SESSION_HANDLE,
        #[serde(deserialize_with = "bounded")]
        template: Vec<TemplateEntry>,
    },
    CopyObject {
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        #[serde(deserialize_with = "bounded")]
        template: Vec<TemplateEntry>,
    },
    GetObjectSize {
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    },
    /// `C_GetSessionInfo`, from version 3 on.
    SessionInfoAndRule {
        session: CK_SESSION_HANDLE,
    },
}

/// A pattern: the calls that carry only handles, numbers and flags, whose answers have a fixed length, and whose
/// failure ends no operation. Each match that uses it lists the others, so that nobody forgets a new call.
macro_rules! bare {
    () => {
        Request::SlotList
            | Request::SlotInfo { .. }
            | Request::TokenInfo { .. }
            | Request::MechanismList { .. }
            | Request::MechanismInfo { .. }
            | Request::OpenSession { .. }
            | Request::CloseSession { .. }
            | Request::CloseAllSessions { .. }
            | Request::SessionInfo { .. }
            | Request::SessionInfoAndRule { .. }
            | Request::Logout { .. }
            | Request::SessionCancel { .. }
            | Request::OperationState { .. }
            | Request::DestroyObject { .. }
            | Request::GetObjectSize { .. }
            | Request::FindObjectsFinal { .. }
            | Request::MessageSignFinal { .. }
    };
}
pub(super) use bare;

/// The content of one frame to the boundary: a request, and before it the `C_SignInit` that the client has
/// held back ([`super::connected`]).
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Envelope {
    pub(super) sign_init: Option<Request>,
    pub(super) request: Request,
}

/// Bytes of an application: a PIN, a code, a PSBT. Wiped when dropped.
#[derive(Clone, Default)]
pub(super) struct Bytes(pub(super) Zeroizing<Vec<u8>>);

/// Room for an answer of variable length (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Room {
    /// None: the caller only asks for the length.
    Query,
    /// So many bytes.
    Of(u64),
}

impl Room {
    /// Whether `needed` bytes fit.
    pub(super) fn fits(self, needed: usize) -> bool {
        matches!(self, Room::Of(room) if room >= needed as u64)
    }
}

/// An attribute that the caller wants to read.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Wanted {
    pub(super) kind: CK_ATTRIBUTE_TYPE,
    pub(super) room: Room,
}

/// One attribute of a template.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct TemplateEntry {
    pub(super) kind: CK_ATTRIBUTE_TYPE,
    pub(super) value: Bytes,
}

/// A mechanism as a caller names it.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Mechanism {
    pub(super) mechanism: CK_MECHANISM_TYPE,
    pub(super) parameter: Bytes,
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Request {
    /// The session of the call.
    pub(super) fn session(&self) -> Option<CK_SESSION_HANDLE> {
        match self {
            Request::SlotList
            | Request::SlotInfo { .. }
            | Request::TokenInfo { .. }
            | Request::MechanismList { .. }
            | Request::MechanismInfo { .. }
            | Request::InitToken { .. }
            | Request::OpenSession { .. }
            | Request::CloseAllSessions { .. } => None,
            Request::InitPin { session, .. }
            | Request::SetPin { session, .. }
            | Request::CloseSession { session }
            | Request::SessionInfo { session }
            | Request::Login { session, .. }
            | Request::Logout { session }
            | Request::SessionCancel { session, .. }
            | Request::OperationState { session }
            | Request::DestroyObject { session, .. }
            | Request::GetAttributeValue { session, .. }
            | Request::SetAttributeValue { session, .. }
            | Request::FindObjectsInit { session, .. }
            | Request::FindObjects { session, .. }
            | Request::FindObjectsFinal { session }
            | Request::SignInit { session, .. }
            | Request::Sign { session, .. }
            | Request::SignUpdate { session, .. }
            | Request::SignFinal { session, .. }
            | Request::MessageSignInit { session, .. }
            | Request::SignMessage { session, .. }
            | Request::SignMessageBegin { session, .. }
            | Request::SignMessageNext { session, .. }
            | Request::MessageSignFinal { session }
            | Request::VerifyInit { session, .. }
            | Request::Verify { session, .. }
            | Request::VerifyUpdate { session, .. }
            | Request::VerifyFinal { session, .. }
            | Request::VerifySignatureInit { session, .. }
            | Request::VerifySignature { session, .. }
            | Request::VerifySignatureUpdate { session, .. }
            | Request::VerifySignatureFinal { session }
            | Request::GenerateKey { session, .. }
            | Request::GenerateKeyPair { session, .. }
            | Request::GenerateRandom { session, .. }
            | Request::CreateObject { session, .. }
            | Request::CopyObject { session, .. }
            | Request::GetObjectSize { session, .. }
            | Request::SessionInfoAndRule { session } => Some(*session),
        }
    }
}
