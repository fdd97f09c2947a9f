//! The one way to say "end this operation".
//!
//! In PKCS#11 a call that fails ends its operation, except after a length query and `CKR_BUFFER_TOO_SMALL`
//! (v3.2 section 5.2, and each function of sections 5.13 to 5.15). A call can fail before it reaches the
//! application that holds the operation: a pointer cannot be read, or there is no room to carry or answer the
//! call. The application must learn of it all the same.
//!
//! It gets the call itself, with `Err(rv)` in the place of the data. The function ends its operation by its
//! own rules and answers `rv`. For a call without data, the "Update" call of its operation is used instead.
//!
//! `C_SignInit`, `C_VerifyInit` and `C_MessageSignInit` without a mechanism, and `C_SessionCancel`, come only
//! from callers. The module never makes them by itself.

use super::{Bytes, Request, bare};
use crate::pkcs11::rv::Rv;

impl Request {
    /// The request that ends, with `rv`, the operation that this request would have ended by failing. `None`
    /// if it would not have ended any.
    pub(in crate::pkcs11) fn refused(&self, rv: Rv) -> Option<Request> {
        match *self {
            Request::Sign { session, .. }
            | Request::SignUpdate { session, .. }
            | Request::SignFinal { session, .. } => Some(Request::SignUpdate { session, part: Err(rv) }),
            // Only the message ends. Its operation goes on until `C_MessageSignFinal` (section 5.14).
            Request::SignMessageNext { session, .. } => Some(Request::SignMessageNext {
                session,
                parameter: Ok(Bytes::default()),
                part: Err(rv),
                room: None,
            }),
            Request::Verify { session, .. }
            | Request::VerifyUpdate { session, .. }
            | Request::VerifyFinal { session, .. } => Some(Request::VerifyUpdate { session, part: Err(rv) }),
            Request::VerifySignature { session, .. }
            | Request::VerifySignatureUpdate { session, .. }
            | Request::VerifySignatureFinal { session } => {
                Some(Request::VerifySignatureUpdate { session, part: Err(rv) })
            }
            bare!()
            | Request::InitToken { .. }
            | Request::InitPin { .. }
            | Request::SetPin { .. }
            | Request::Login { .. }
            | Request::GetAttributeValue { .. }
            | Request::SetAttributeValue { .. }
            | Request::FindObjectsInit { .. }
            | Request::FindObjects { .. }
            | Request::SignInit { .. }
            | Request::MessageSignInit { .. }
            | Request::SignMessage { .. }
            | Request::SignMessageBegin { .. }
            | Request::VerifyInit { .. }
            | Request::VerifySignatureInit { .. }
            | Request::GenerateKey { .. }
            | Request::GenerateKeyPair { .. }
            | Request::GenerateRandom { .. }
            | Request::CreateObject { .. }
            | Request::CopyObject { .. } => None,
        }
    }
}
