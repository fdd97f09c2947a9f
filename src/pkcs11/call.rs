//! Calls as values: what `entry` makes of an application's pointers, and what it writes back through them.
//!
//! The same values are what the client side sends to the boundary ([`super::connected`]) and what the boundary answers
//! ([`super::hosted`]). Their encoding ([`super::codec`]) is postcard's; its version is that of the handshake in [`crate::remote`]. A change of
//! a type here is a new version there.

use core::ops::Deref;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::codec::bounded;
use super::rv::Answer;
use crate::kernel::pin;
use crate::kernel::psbt::MAX_PSBT_LEN;

/// Longest code, PIN or user name that is looked at; the checks behind know the exact bounds.
pub(super) const MAX_PIN_LEN: usize = pin::MAX_LEN;
/// Most random bytes in one call.
pub(super) const MAX_RANDOM_LEN: u64 = 1 << 20;
/// Most attributes in one template.
pub(super) const MAX_ATTRIBUTES: usize = 256;
/// Longest value of an attribute in a template, and longest mechanism parameter.
pub(super) const MAX_VALUE_LEN: usize = 64 * 1024;

/// One call of PKCS#11 section 5, but for those that are about the library and not about its token.
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
        /// Where it is the last part.
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
}

/// What a call gives where it is not refused.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Reply {
    Done,
    Slots(Vec<CK_SLOT_ID>),
    Mechanisms(Vec<CK_MECHANISM_TYPE>),
    Mechanism(MechanismInfo),
    Token(TokenInfo),
    Session(SessionInfo),
    /// The handle of a new session.
    Opened(CK_SESSION_HANDLE),
    Found(Vec<Found>),
    /// One for each that was wanted, in that order.
    Attributes(Vec<Answer<Shown>>),
    /// What a signing call gives: the exact answer, or how much room it may need.
    Signed(Filled),
    Key(CK_OBJECT_HANDLE),
    KeyPair {
        public: CK_OBJECT_HANDLE,
        private: CK_OBJECT_HANDLE,
    },
    Random(Bytes),
    /// The handle of a new object.
    Created(CK_OBJECT_HANDLE),
    Size(CK_ULONG),
}

/// Bytes of an application: a PIN, a code, a PSBT. Wiped when they are dropped.
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

/// An answer of variable length.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Filled {
    /// It was only asked for, or does not fit: so many bytes are enough.
    Length(u64),
    /// It fits.
    Bytes(Bytes),
}

/// An attribute that the caller wants to read.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Wanted {
    pub(super) kind: CK_ATTRIBUTE_TYPE,
    pub(super) room: Room,
}

/// A value of an attribute, or its length where that was asked for.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Shown {
    Length(u64),
    Value(Bytes),
}

/// An object that was found.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Found {
    pub(super) handle: CK_OBJECT_HANDLE,
    /// Whether it is a key that `CKM_COUNTERSIGN_PSBT` signs with.
    pub(super) signs: bool,
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

/// What `CK_MECHANISM_INFO` says.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct MechanismInfo {
    pub(super) min_key_size: CK_ULONG,
    pub(super) max_key_size: CK_ULONG,
    pub(super) flags: CK_FLAGS,
}

/// What of `CK_TOKEN_INFO` is not the same for every token of ours.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct TokenInfo {
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) flags: CK_FLAGS,
    pub(super) max_sessions: CK_ULONG,
    pub(super) sessions: CK_ULONG,
    pub(super) read_write_sessions: CK_ULONG,
    /// `YYYYMMDDhhmmss00`.
    pub(super) utc_time: String,
}

/// What of `CK_SESSION_INFO` is not the same for every session.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct SessionInfo {
    pub(super) state: CK_STATE,
    pub(super) flags: CK_FLAGS,
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Request {
    /// The session it is made in.
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
            | Request::GetObjectSize { session, .. } => Some(*session),
        }
    }

    /// Whether everything in it is as bounded as `entry` makes it: what comes over a connection was made by anybody.
    pub(super) fn is_bounded(&self) -> bool {
        let pin = |pin: &Bytes| pin.len() <= MAX_PIN_LEN;
        let template = |template: &[TemplateEntry]| {
            template.len() <= MAX_ATTRIBUTES
                && template.iter().all(|entry| entry.value.len() <= MAX_VALUE_LEN)
        };
        let mechanism = |mechanism: &Mechanism| mechanism.parameter.len() <= MAX_VALUE_LEN;
        let psbt = |psbt: &Answer<Bytes>| {
            psbt.as_ref().is_ok_and(|psbt| psbt.len() <= MAX_PSBT_LEN) || psbt.is_err()
        };
        let code = |code: &Answer<Bytes>| code.as_ref().is_ok_and(pin) || code.is_err();
        let approval = |parameter: &Answer<Bytes>| {
            parameter.as_ref().is_ok_and(|parameter| parameter.len() <= MAX_VALUE_LEN) || parameter.is_err()
        };
        match self {
            Request::InitToken { pin: so_pin, .. } | Request::InitPin { pin: so_pin, .. } => pin(so_pin),
            Request::SetPin { old, new, .. } => pin(old) && pin(new),
            Request::Login { user, pin: login, .. } => user.as_ref().is_none_or(pin) && pin(login),
            Request::GetAttributeValue { wanted, .. } => wanted.len() <= MAX_ATTRIBUTES,
            Request::CreateObject { template: entries, .. }
            | Request::CopyObject { template: entries, .. }
            | Request::SetAttributeValue { template: entries, .. }
            | Request::FindObjectsInit { template: entries, .. } => template(entries),
            Request::SignInit { mechanism: named, .. }
            | Request::MessageSignInit { mechanism: named, .. }
            | Request::VerifyInit { mechanism: named, .. } => named.as_ref().is_none_or(mechanism),
            Request::Sign { data: part, .. }
            | Request::SignUpdate { part, .. }
            | Request::VerifyUpdate { part, .. }
            | Request::VerifySignature { data: part, .. }
            | Request::VerifySignatureUpdate { part, .. } => psbt(part),
            Request::SignMessage { parameter, data: part, .. }
            | Request::SignMessageNext { parameter, part, .. } => approval(parameter) && psbt(part),
            Request::SignMessageBegin { parameter, .. } => approval(parameter),
            Request::Verify { data, signature, .. } => psbt(data) && code(signature),
            Request::VerifyFinal { signature, .. } => code(signature),
            Request::VerifySignatureInit { mechanism: named, signature, .. } => {
                named.as_ref().is_none_or(mechanism) && code(signature)
            }
            Request::GenerateKey { mechanism: named, template: entries, .. } => {
                mechanism(named) && template(entries)
            }
            Request::GenerateKeyPair { mechanism: named, public, private, .. } => {
                mechanism(named) && template(public) && template(private)
            }
            Request::GenerateRandom { len, .. } => *len <= MAX_RANDOM_LEN,
            Request::SlotList
            | Request::SlotInfo { .. }
            | Request::TokenInfo { .. }
            | Request::MechanismList { .. }
            | Request::MechanismInfo { .. }
            | Request::OpenSession { .. }
            | Request::CloseSession { .. }
            | Request::CloseAllSessions { .. }
            | Request::SessionInfo { .. }
            | Request::Logout { .. }
            | Request::SessionCancel { .. }
            | Request::OperationState { .. }
            | Request::DestroyObject { .. }
            | Request::GetObjectSize { .. }
            | Request::FindObjects { .. }
            | Request::FindObjectsFinal { .. }
            | Request::SignFinal { .. }
            | Request::MessageSignFinal { .. }
            | Request::VerifySignatureFinal { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pkcs11::codec::{decode, encode};
    use crate::pkcs11::rv::Rv;

    #[test]
    fn a_request_comes_back_as_it_was_and_nothing_may_follow_it() {
        let request =
            Request::Sign { session: 7, data: Ok(Bytes(Zeroizing::new(vec![1, 2, 3]))), room: Room::Of(9) };
        let mut bytes = encode(&request).expect("encodes").to_vec();
        let Some(Request::Sign { session: 7, data: Ok(data), room: Room::Of(9) }) = decode(&bytes) else {
            panic!("not what was encoded")
        };
        assert_eq!(&data[..], [1, 2, 3]);
        for len in 0..bytes.len() {
            assert!(decode::<Request>(&bytes[..len]).is_none(), "cut at {len}");
        }
        bytes.push(0);
        assert!(decode::<Request>(&bytes).is_none());
    }

    #[test]
    fn a_list_that_is_too_long_is_not_read_to_its_end() {
        let request = |count: usize| {
            let wanted = vec![Wanted { kind: CKA_LABEL, room: Room::Query }; count];
            encode(&Request::GetAttributeValue { session: 1, object: 1, wanted }).expect("encodes")
        };
        assert!(decode::<Request>(&request(MAX_ATTRIBUTES)).is_some());
        let longer = request(MAX_ATTRIBUTES + 1);
        assert!(decode::<Request>(&longer).is_none());
        // What is wrong behind the bound is not looked at.
        assert!(decode::<Request>(&longer[..longer.len() - 1]).is_none());
    }

    #[test]
    fn the_encoding_is_fixed() {
        let pin = |text: &[u8]| Bytes(Zeroizing::new(text.to_vec()));
        let golden = |request: Request| hex(&encode(&request).expect("encodes"));
        assert_eq!(golden(Request::SlotList), "00");
        assert_eq!(
            golden(Request::Login { session: 300, user_type: 1, user: None, pin: pin(b"1234") }),
            "0cac0201000431323334"
        );
        let mechanism = Some(Mechanism { mechanism: 0xC353_0001, parameter: pin(b"\x01\x02") });
        assert_eq!(
            golden(Request::SignInit { session: 1, mechanism, key: 2 }),
            "160101818 0cc9a0c02010202".replace(' ', "")
        );
        assert_eq!(
            golden(Request::Sign { session: 1, data: Err(Rv(0x21)), room: Room::Query }),
            "1701012100"
        );
        assert_eq!(
            golden(Request::SignMessageNext {
                session: 1,
                parameter: Ok(pin(b"\x03")),
                part: Ok(pin(b"\x04\x05")),
                room: Some(Room::Of(6)),
            }),
            "1d01000103000204050101 06".replace(' ', "")
        );
        assert_eq!(golden(Request::GenerateRandom { session: 1, len: 32 }), "290120");
        let template = || vec![TemplateEntry { kind: CKA_LABEL, value: pin(b"a") }];
        assert_eq!(golden(Request::CreateObject { session: 1, template: template() }), "2a0101030161");
        assert_eq!(
            golden(Request::CopyObject { session: 1, object: 2, template: template() }),
            "2b010201030161"
        );
        assert_eq!(golden(Request::GetObjectSize { session: 1, object: 2 }), "2c0102");
        assert_eq!(hex(&encode::<Answer<Reply>>(&Err(Rv(0xa0))).expect("encodes")), "01a001");
        assert_eq!(
            hex(&encode::<Answer<Reply>>(&Ok(Reply::Random(pin(&[9])))).expect("encodes")),
            "000c0109"
        );
    }

    #[test]
    fn what_is_larger_than_an_application_can_ask_for_is_not_bounded() {
        let of = |len: usize| Bytes(Zeroizing::new(vec![0; len]));
        let entries = |count: usize, len: usize| -> Vec<TemplateEntry> {
            (0..count).map(|_| TemplateEntry { kind: CKA_LABEL, value: of(len) }).collect()
        };
        let mechanism = |len| Mechanism { mechanism: 1, parameter: of(len) };
        let message = |parameter, data| Request::SignMessage {
            session: 1,
            parameter: Ok(of(parameter)),
            data: Ok(of(data)),
            room: Room::Query,
        };
        let next_part = |parameter, part| Request::SignMessageNext {
            session: 1,
            parameter: Ok(of(parameter)),
            part: Ok(of(part)),
            room: None,
        };
        let verify_signature_init = |parameter, signature| Request::VerifySignatureInit {
            session: 1,
            mechanism: Some(mechanism(parameter)),
            key: 1,
            signature: Ok(of(signature)),
        };
        let wanted = |count| vec![Wanted { kind: CKA_LABEL, room: Room::Query }; count];
        for (request, bounded) in [
            (Request::InitPin { session: 1, pin: of(MAX_PIN_LEN) }, true),
            (Request::InitPin { session: 1, pin: of(MAX_PIN_LEN + 1) }, false),
            (Request::InitToken { slot: 0, pin: of(MAX_PIN_LEN + 1), label: [0; 32] }, false),
            (Request::SetPin { session: 1, old: of(1), new: of(MAX_PIN_LEN + 1) }, false),
            (Request::SetPin { session: 1, old: of(MAX_PIN_LEN + 1), new: of(1) }, false),
            (Request::Login { session: 1, user_type: 1, user: Some(of(MAX_PIN_LEN + 1)), pin: of(1) }, false),
            (Request::Login { session: 1, user_type: 1, user: None, pin: of(MAX_PIN_LEN + 1) }, false),
            (Request::FindObjectsInit { session: 1, template: entries(MAX_ATTRIBUTES, 1) }, true),
            (Request::FindObjectsInit { session: 1, template: entries(MAX_ATTRIBUTES + 1, 1) }, false),
            (
                Request::SetAttributeValue { session: 1, object: 1, template: entries(1, MAX_VALUE_LEN + 1) },
                false,
            ),
            (Request::CreateObject { session: 1, template: entries(1, MAX_VALUE_LEN) }, true),
            (Request::CreateObject { session: 1, template: entries(1, MAX_VALUE_LEN + 1) }, false),
            (Request::CopyObject { session: 1, object: 1, template: entries(MAX_ATTRIBUTES + 1, 1) }, false),
            (Request::GetAttributeValue { session: 1, object: 1, wanted: wanted(MAX_ATTRIBUTES + 1) }, false),
            (Request::SignInit { session: 1, mechanism: Some(mechanism(MAX_VALUE_LEN + 1)), key: 1 }, false),
            (
                Request::VerifyInit { session: 1, mechanism: Some(mechanism(MAX_VALUE_LEN + 1)), key: 1 },
                false,
            ),
            (Request::Sign { session: 1, data: Ok(of(MAX_PSBT_LEN)), room: Room::Query }, true),
            (Request::Sign { session: 1, data: Ok(of(MAX_PSBT_LEN + 1)), room: Room::Query }, false),
            (Request::SignUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (
                Request::MessageSignInit {
                    session: 1,
                    mechanism: Some(mechanism(MAX_VALUE_LEN + 1)),
                    key: 1,
                },
                false,
            ),
            (Request::SignMessageBegin { session: 1, parameter: Ok(of(MAX_VALUE_LEN)) }, true),
            (Request::SignMessageBegin { session: 1, parameter: Ok(of(MAX_VALUE_LEN + 1)) }, false),
            (message(MAX_VALUE_LEN, MAX_PSBT_LEN), true),
            (message(MAX_VALUE_LEN + 1, 0), false),
            (message(0, MAX_PSBT_LEN + 1), false),
            (next_part(MAX_VALUE_LEN, MAX_PSBT_LEN), true),
            (next_part(MAX_VALUE_LEN + 1, 0), false),
            (next_part(0, MAX_PSBT_LEN + 1), false),
            (verify_signature_init(MAX_VALUE_LEN, MAX_PIN_LEN), true),
            (verify_signature_init(MAX_VALUE_LEN + 1, 0), false),
            (verify_signature_init(0, MAX_PIN_LEN + 1), false),
            (Request::VerifySignature { session: 1, data: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::VerifySignatureUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::VerifyUpdate { session: 1, part: Ok(of(MAX_PSBT_LEN + 1)) }, false),
            (Request::Verify { session: 1, data: Err(Rv(1)), signature: Ok(of(MAX_PIN_LEN + 1)) }, false),
            (Request::VerifyFinal { session: 1, signature: Ok(of(MAX_PIN_LEN + 1)) }, false),
            (
                Request::GenerateKey {
                    session: 1,
                    mechanism: mechanism(0),
                    template: entries(1, MAX_VALUE_LEN + 1),
                },
                false,
            ),
            (
                Request::GenerateKeyPair {
                    session: 1,
                    mechanism: mechanism(0),
                    public: vec![],
                    private: entries(MAX_ATTRIBUTES + 1, 0),
                },
                false,
            ),
            (Request::GenerateRandom { session: 1, len: MAX_RANDOM_LEN + 1 }, false),
        ] {
            assert_eq!(request.is_bounded(), bounded);
        }
    }

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }
}
