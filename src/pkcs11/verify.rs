//! Verifying (PKCS#11 v2.40 section 5.12; v3.0 section 5.15): a user's code, which confirms an enrolment and is spent.

use cryptoki_sys::*;

use super::call::{Bytes, Mechanism};
use super::module::{Module, Object};
use super::rv::{Answer, Rv};
use super::vendor::CKM_COUNTERSIGN_TOTP;
use crate::engine::EngineError;
use crate::kernel::approval::Code;
use crate::kernel::audit::Role;

impl Module {
    /// `C_VerifyInit`; without a mechanism it ends the operation.
    pub(super) fn verify_init(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: Option<Mechanism>,
        key: CK_OBJECT_HANDLE,
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
            match self.object_of(key).map_err(|_| Rv(CKR_KEY_HANDLE_INVALID))? {
                Object::User { name, .. } => session.verifying = Some(name),
                Object::WalletPublic(_)
                | Object::WalletPrivate(_)
                | Object::Clock
                | Object::Profile
                | Object::Session { .. } => return Err(Rv(CKR_KEY_TYPE_INCONSISTENT)),
            }
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
            let user = session.verifying.take().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            require_empty(data)?;
            self.judge_code(&user, &signature?)
        })
    }

    /// `C_VerifyUpdate`: there is nothing to add to an empty text.
    pub(super) fn verify_update(&self, session: CK_SESSION_HANDLE, part: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            if session.verifying.is_none() {
                return Err(Rv(CKR_OPERATION_NOT_INITIALIZED));
            }
            require_empty(part).inspect_err(|_| session.verifying = None)
        })
    }

    /// `C_VerifyFinal`. Ends the operation, whatever the answer.
    pub(super) fn verify_final(&self, session: CK_SESSION_HANDLE, signature: Answer<Bytes>) -> Answer {
        self.with_session(session, |session| {
            let user = session.verifying.take().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            self.judge_code(&user, &signature?)
        })
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

fn require_empty(data: Answer<Bytes>) -> Answer {
    if data?.is_empty() { Ok(()) } else { Err(Rv(CKR_DATA_LEN_RANGE)) }
}
