//! Session management (PKCS#11 v3.2 section 5.6).

use cryptoki_sys::*;

use super::application::{Application, Session};
use super::reply::SessionInfo;
use super::rv::{Answer, Rv};
use super::slot_token::check_slot;
use crate::kernel::approval::Approval;
use crate::kernel::pin::Role;

impl Application {
    /// `C_OpenSession`.
    pub(super) fn open(&self, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Answer<CK_SESSION_HANDLE> {
        check_slot(slot)?;
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(Rv(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        }
        if flags & CKF_ASYNC_SESSION != 0 {
            return Err(Rv(CKR_SESSION_ASYNC_NOT_SUPPORTED));
        }
        if !self.engine.is_initialised() {
            return Err(Rv(CKR_TOKEN_NOT_RECOGNIZED));
        }
        self.open_session(flags & CKF_RW_SESSION != 0)
    }

    /// `C_CloseAllSessions`.
    pub(super) fn close_all(&self, slot: CK_SLOT_ID) -> Answer {
        check_slot(slot)?;
        self.close_all_sessions();
        Ok(())
    }

    /// `C_GetSessionInfo`.
    pub(super) fn session_info(&self, session: CK_SESSION_HANDLE) -> Answer<(SessionInfo, CK_ULONG)> {
        let (read_write, device_error) =
            self.with_session(session, |session| Ok((session.read_write, session.device_error)))?;
        let (state, flags) = match (read_write, self.role()) {
            (false, None | Some(Role::So)) => (CKS_RO_PUBLIC_SESSION, 0),
            (false, Some(Role::User)) => (CKS_RO_USER_FUNCTIONS, 0),
            (true, None) => (CKS_RW_PUBLIC_SESSION, CKF_RW_SESSION),
            (true, Some(Role::User)) => (CKS_RW_USER_FUNCTIONS, CKF_RW_SESSION),
            (true, Some(Role::So)) => (CKS_RW_SO_FUNCTIONS, CKF_RW_SESSION),
        };
        Ok((SessionInfo { state, flags: flags | CKF_SERIAL_SESSION }, device_error))
    }

    /// `C_Login`, and `C_LoginUser` if `user` is given.
    pub(super) fn login(
        &self,
        session: CK_SESSION_HANDLE,
        user_type: CK_USER_TYPE,
        user: Option<&[u8]>,
        pin: &[u8],
    ) -> Answer {
        self.with_session(session, |_| Ok(()))?;
        let role = match user_type {
            CKU_SO => Role::So,
            CKU_USER => Role::User,
            CKU_CONTEXT_SPECIFIC => return self.attach_code(session, user, pin),
            _ => return Err(Rv(CKR_USER_TYPE_INVALID)),
        };
        if user.is_some_and(|user| !user.is_empty()) {
            // There is one backend role and one security officer, and neither has a name.
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        // If many threads log in at once, the first one succeeds, and the others find that it has.
        let _turn = self.turn_to_log_in();
        // PKCS#11 has answers for what the state of the sessions rules out, for every caller. So this check
        // comes before the door's.
        self.check_login(role)?;
        match role {
            Role::So => self.check_administrator()?,
            Role::User => self.check_backend()?,
        }
        let login = self.engine.login_of(self.peer(), role, pin)?;
        self.set_login(session, login)
    }

    /// `C_Logout`.
    pub(super) fn log_out(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |_| Ok(()))?;
        // This must not end what a later login begins.
        let _turn = self.turn_to_log_in();
        self.logout()
    }

    /// `C_SessionCancel`: ends the operations that `flags` name. It ignores flags of operations that are not
    /// active or that this token does not have. All others can be cancelled. `C_SignInit` and the similar
    /// functions also come here if they have no mechanism.
    pub(super) fn cancel(&self, session: CK_SESSION_HANDLE, flags: CK_FLAGS) -> Answer {
        self.with_session(session, |session| {
            if flags & CKF_FIND_OBJECTS != 0 {
                session.finding = None;
            }
            if flags & CKF_SIGN != 0 {
                session.signing = None;
            }
            if flags & CKF_MESSAGE_SIGN != 0 {
                session.message_signing = None;
            }
            if flags & CKF_VERIFY != 0 {
                session.verifying = None;
            }
            Ok(())
        })
    }

    /// `C_GetOperationState`: always refused. An operation's state, which may include a code, never leaves
    /// its session.
    pub(super) fn operation_state(&self, session: CK_SESSION_HANDLE) -> Answer {
        self.with_session(session, |session| {
            let Session { signing, message_signing, verifying, .. } = session;
            let is_active = signing.is_some() || message_signing.is_some() || verifying.is_some();
            Err(Rv(if is_active { CKR_STATE_UNSAVEABLE } else { CKR_OPERATION_NOT_INITIALIZED }))
        })
    }

    /// The context-specific login: attaches the code to the pending operation, which checks it, once, when it
    /// signs.
    fn attach_code(&self, session: CK_SESSION_HANDLE, user: Option<&[u8]>, code: &[u8]) -> Answer {
        self.check_backend()?;
        self.with_session(session, |session| {
            let signing = session.signing.as_mut().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
            let approval = match user {
                Some(user) => Approval::parse_pin_of(user, code),
                None => Approval::parse_pin_or_ticket(code),
            };
            signing.attach(approval.map_err(|_| Rv(CKR_PIN_INVALID))?)
        })
    }
}
