//! Verifying (PKCS#11 v2.40 section 5.12; v3.0 section 5.15): a user's code, which confirms an enrolment and is spent.
//!
//! The code is the signature of an empty text. It comes with the call that has it judged, or before the text, with
//! `C_VerifySignatureInit` (v3.2 section 5.15): then it is kept, and nothing is spent, until the call that answers.

use cryptoki_sys::*;

use super::call::{Bytes, Mechanism};
use super::module::{Module, Object, Session};
use super::rv::{Answer, Rv};
use super::vendor::CKM_COUNTERSIGN_TOTP;
use crate::engine::EngineError;
use crate::kernel::approval::Code;
use crate::kernel::audit::Role;

/// A verifying operation.
pub(super) struct Verifying {
    key: VerifyingKey,
    /// The signature, where it came first.
    signature: Option<Bytes>,
    /// Whether a part of the text has come.
    in_parts: bool,
}

/// What is verified with.
enum VerifyingKey {
    /// The OTP key of this user: the signature is a code.
    User(String),
}

/// Where the signature is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureComes {
    /// With the answering call: `C_VerifyInit`, `C_Verify`, `C_VerifyUpdate`, `C_VerifyFinal`.
    Last,
    /// It has come: `C_VerifySignatureInit`, `C_VerifySignature`, `C_VerifySignatureUpdate`, `C_VerifySignatureFinal`.
    First,
}

impl Module {
    /// `C_VerifyInit`; `C_VerifySignatureInit` where a signature comes with it. Without a mechanism it ends the operation.
    pub(super) fn verify_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
        signature: Option<Answer<Bytes>>,
    ) -> Answer {
        self.with_session(session, |session| {
            let Some(Mechanism { mechanism, parameter }) = mechanism else {
                session.verifying = None;
                return Ok(());
            };
            if session.verifying.is_some() {
                return Err(Rv(CKR_OPERATION_ACTIVE));
            }
            if self.role().is_none() {
                return Err(Rv(CKR_USER_NOT_LOGGED_IN));
            }
            if mechanism != CKM_COUNTERSIGN_TOTP {
                return Err(Rv(CKR_MECHANISM_INVALID));
            }
            if !parameter.is_empty() {
                return Err(Rv(CKR_MECHANISM_PARAM_INVALID));
            }
            let key = match self.object_of(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))? {
                // Another application may have destroyed it.
                Object::User(user) if matches!(self.engine.user(&user), Ok(None)) => {
                    return Err(Rv(CKR_KEY_HANDLE_INVALID));
                }
                Object::User(user) => VerifyingKey::User(user),
                Object::WalletPublic(_) | Object::WalletPrivate(_) | Object::Clock => {
                    return Err(Rv(CKR_KEY_TYPE_INCONSISTENT));
                }
            };
            let signature = signature.transpose()?;
            session.verifying = Some(Verifying { key, signature, in_parts: false });
            Ok(())
        })
    }

    /// `C_Verify`: `data` is empty, `signature` the code. Ends the operation, whatever the answer.
    pub(super) fn verify(
        &self,
        session: CK_SESSION_HANDLE,
        data: Answer<Bytes>,
        signature: Answer<Bytes>,
    ) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, .. } = end_in_one(session, SignatureComes::Last)?;
            require_empty(data)?;
            self.judge(&key, &signature?)
        })
    }

    /// `C_VerifySignature`: `data` is empty. Ends the operation, whatever the answer.
    pub(super) fn verify_signature(&self, session: CK_SESSION_HANDLE, data: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, signature, .. } = end_in_one(session, SignatureComes::First)?;
            require_empty(data)?;
            self.judge(&key, &signature.unwrap_or_default())
        })
    }

    /// `C_VerifyUpdate`, `C_VerifySignatureUpdate`: there is nothing to add to an empty text.
    pub(super) fn verify_update(
        &self,
        session: CK_SESSION_HANDLE,
        comes: SignatureComes,
        part: Answer<Bytes>,
    ) -> Answer {
        self.with_session(session, |session| {
            let mut verifying = end(session, comes)?;
            require_empty(part)?;
            verifying.in_parts = true;
            session.verifying = Some(verifying);
            Ok(())
        })
    }

    /// `C_VerifyFinal`. Ends the operation, whatever the answer.
    pub(super) fn verify_final(&self, session: CK_SESSION_HANDLE, signature: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, .. } = end(session, SignatureComes::Last)?;
            self.judge(&key, &signature?)
        })
    }

    /// `C_VerifySignatureFinal`. Ends the operation, whatever the answer.
    pub(super) fn verify_signature_final(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            let Verifying { key, signature, .. } = end(session, SignatureComes::First)?;
            self.judge(&key, &signature.unwrap_or_default())
        })
    }

    fn judge(&self, key: &VerifyingKey, signature: &[u8]) -> Answer {
        match key {
            VerifyingKey::User(user) => self.judge_code(user, signature),
        }
    }

    fn judge_code(&self, user: &str, code: &[u8]) -> Answer {
        if !(6..=8).contains(&code.len()) {
            return Err(Rv(CKR_SIGNATURE_LEN_RANGE));
        }
        // `require_cosigner` keeps a backend from guessing and from locking: here, too.
        if self.role() != Some(Role::So) && self.engine.is_guarded(user) {
            return Err(EngineError::Guarded(user.into()).into());
        }
        // Malformed is not wrong: nothing is charged.
        Code::parse(code).map_err(|_| Rv(CKR_SIGNATURE_INVALID))?;
        Ok(self.engine.confirm(user, code)?)
    }
}

/// Ends the operation, if its signature comes so.
fn end(session: &mut Session, comes: SignatureComes) -> Answer<Verifying> {
    let is_right =
        |verifying: &mut Verifying| (comes == SignatureComes::First) == verifying.signature.is_some();
    session.verifying.take_if(is_right).ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))
}

/// The same for a call that brings the whole text: one that comes in parts is not ended by it.
fn end_in_one(session: &mut Session, comes: SignatureComes) -> Answer<Verifying> {
    let verifying = end(session, comes)?;
    if verifying.in_parts {
        session.verifying = Some(verifying);
        return Err(Rv(CKR_OPERATION_ACTIVE));
    }
    Ok(verifying)
}

fn require_empty(data: Answer<Bytes>) -> Answer {
    if data?.is_empty() { Ok(()) } else { Err(Rv(CKR_DATA_LEN_RANGE)) }
}
