//! The results of calls.

use cryptoki_sys::*;

use super::request::Bytes;
use super::rv::Answer;

/// The result of a call that is not refused.
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
    /// One for each attribute asked for, in that order.
    Attributes(Vec<Answer<Shown>>),
    /// The result of a signing call: the exact answer, or the room that it may need.
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
    /// From version 3 on.
    SessionAndRule {
        session: SessionInfo,
        /// The number of the rule that refused the last transaction, or 0.
        rule: CK_ULONG,
    },
}

/// An answer of variable length.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Filled {
    /// The caller only asked, or the answer does not fit: so many bytes are enough.
    Length(u64),
    /// The answer fits.
    Bytes(Bytes),
}

/// A value of an attribute, or its length if only that was asked for.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Shown {
    Length(u64),
    Value(Bytes),
}

/// A found object.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Found {
    pub(super) handle: CK_OBJECT_HANDLE,
    /// Whether it is a key that `CKM_COUNTERSIGN_PSBT` signs with.
    pub(super) signs: bool,
}

/// The content of `CK_MECHANISM_INFO`.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct MechanismInfo {
    pub(super) min_key_size: CK_ULONG,
    pub(super) max_key_size: CK_ULONG,
    pub(super) flags: CK_FLAGS,
}

/// The part of `CK_TOKEN_INFO` that can change.
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

/// The part of `CK_SESSION_INFO` that can change.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct SessionInfo {
    pub(super) state: CK_STATE,
    pub(super) flags: CK_FLAGS,
}
