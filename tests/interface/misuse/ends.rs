//! When an operation is over, checked after each call of a caller that is alone.

use cryptoki_sys::*;

use harness::module::raw::{call, call_v3, call_v3_2};

use super::caller::Caller;
use super::checks::Watched;

impl Caller<'_> {
    /// An operation is over once it was answered, except after a length query, after `CKR_BUFFER_TOO_SMALL`
    /// (section 5.2), and after calls that never reached it. A signing call without a place for the length
    /// also ends it. In message-based signing, the message is over and the operation goes on.
    pub(crate) fn check_end(&self, name: &str, rv: CK_RV) {
        let raw = &self.world.raw;
        let is_query =
            self.watched.iter().any(|watched| matches!(watched, Watched::Answer { buffer: None, .. }));
        // Another part of a message in parts.
        let is_part = self.watched.iter().any(|watched| matches!(watched, Watched::Answer { len: None, .. }));
        let (session, nothing) = (self.last_session, core::ptr::null_mut::<u8>());
        let is_there = match (name, rv) {
            (
                _,
                CKR_SESSION_HANDLE_INVALID
                | CKR_CRYPTOKI_NOT_INITIALIZED
                | CKR_OPERATION_NOT_INITIALIZED
                | CKR_OPERATION_ACTIVE,
            ) => return,
            ("C_Sign" | "C_SignFinal" | "C_SignMessage" | "C_SignMessageNext", CKR_BUFFER_TOO_SMALL) => {
                return;
            }
            ("C_Sign" | "C_SignFinal" | "C_SignMessage" | "C_SignMessageNext", CKR_OK) if is_query => return,
            ("C_SignMessage", CKR_ARGUMENTS_BAD) => return,
            ("C_SignMessageNext", CKR_OK) if is_part => return,
            ("C_SignMessage" | "C_SignMessageNext", _) => {
                call_v3!(
                    raw,
                    C_SignMessageNext(session, nothing.cast(), 0, nothing, 0, nothing, nothing.cast())
                )
            }
            ("C_MessageSignFinal", _) => call_v3!(raw, C_MessageSignFinal(session)),
            ("C_Sign" | "C_SignFinal", _) => call!(raw, C_SignUpdate(session, nothing, 0)),
            ("C_Verify" | "C_VerifyFinal", _) => call!(raw, C_VerifyUpdate(session, nothing, 0)),
            ("C_VerifySignature" | "C_VerifySignatureFinal", _) => {
                call_v3_2!(raw, C_VerifySignatureUpdate(session, nothing, 0))
            }
            ("C_FindObjectsFinal", _) => call!(raw, C_FindObjectsFinal(session)),
            _ => return,
        };
        if is_there != CKR_OPERATION_NOT_INITIALIZED {
            self.fail(name, rv, &format!("the operation goes on: the next call answered {is_there:#x}"));
        }
    }
}
