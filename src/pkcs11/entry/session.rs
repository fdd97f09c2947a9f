//! The entry functions of session management (PKCS#11 v3.2 section 5.6).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::{self, current};
use crate::pkcs11::raw;
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::{MAX_PIN_LEN, Request};
use crate::pkcs11::rv::Rv;

entries! {
    fn c_open_session(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        _application: CK_VOID_PTR,
        _notify: CK_NOTIFY,
        session: CK_SESSION_HANDLE_PTR,
    ) {
        let instance = current()?;
        if session.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let opened = instance.answer(Request::OpenSession { slot, flags })?;
        raw::put(session, expect!(opened, Reply::Opened(opened) => opened))
    }

    fn c_close_session(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::CloseSession { session })
    }

    fn c_close_all_sessions(slot: CK_SLOT_ID) {
        current()?.perform(Request::CloseAllSessions { slot })
    }

    fn c_get_session_info(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR) {
        let (found, rule) = match current()?.answer(Request::SessionInfoAndRule { session })? {
            Reply::SessionAndRule { session, rule } => (session, rule),
            // A boundary of an older release does not send the rule.
            Reply::Session(session) => (session, 0),
            _ => return Err(Rv(CKR_DEVICE_ERROR)),
        };
        raw::put(info, instance::session_info(found, rule))
    }

    fn c_login(session: CK_SESSION_HANDLE, user_type: CK_USER_TYPE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let instance = current()?;
        let pin = raw::pin(pin, pin_len)?;
        instance.perform(Request::Login { session, user_type, user: None, pin })
    }

    fn c_login_user(
        session: CK_SESSION_HANDLE,
        user_type: CK_USER_TYPE,
        pin: CK_UTF8CHAR_PTR,
        pin_len: CK_ULONG,
        user: CK_UTF8CHAR_PTR,
        user_len: CK_ULONG,
    ) {
        let instance = current()?;
        let pin = raw::pin(pin, pin_len)?;
        let user = Some(raw::bytes(user, user_len, MAX_PIN_LEN, CKR_ARGUMENTS_BAD)?);
        instance.perform(Request::Login { session, user_type, user, pin })
    }

    fn c_logout(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::Logout { session })
    }

    fn c_session_cancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        current()?.perform(Request::SessionCancel { session, flags })
    }

    fn c_get_operation_state(session: CK_SESSION_HANDLE, _state: CK_BYTE_PTR, state_len: CK_ULONG_PTR) {
        let instance = current()?;
        if state_len.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance.perform(Request::OperationState { session })
    }

    fn c_set_operation_state(
        session: CK_SESSION_HANDLE,
        state: CK_BYTE_PTR,
        _state_len: CK_ULONG,
        _encryption_key: CK_OBJECT_HANDLE,
        _authentication_key: CK_OBJECT_HANDLE,
    ) {
        let instance = current()?;
        if state.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance.has_session(session)?;
        // `C_GetOperationState` never returned one.
        Err(Rv(CKR_SAVED_STATE_INVALID))
    }

    fn c_get_session_validation_flags(
        session: CK_SESSION_HANDLE,
        _type: CK_SESSION_VALIDATION_FLAGS_TYPE,
        flags: CK_FLAGS_PTR,
    ) {
        let instance = current()?;
        if flags.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance.has_session(session)?;
        // The token has no validation object (v3.2 section 4.15), so nobody has validated anything that it
        // did.
        raw::put(flags, 0)
    }
}
