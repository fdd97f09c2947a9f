//! The entry functions of slot and token management (PKCS#11 v3.2 section 5.5).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::{self, current};
use crate::pkcs11::raw;
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::Request;
use crate::pkcs11::rv::Rv;

entries! {
    fn c_get_slot_list(_token_present: CK_BBOOL, list: CK_SLOT_ID_PTR, count: CK_ULONG_PTR) {
        let slots = expect!(current()?.answer(Request::SlotList)?, Reply::Slots(slots) => slots);
        raw::put_list(&slots, list, count)
    }

    fn c_get_slot_info(slot: CK_SLOT_ID, info: CK_SLOT_INFO_PTR) {
        current()?.perform(Request::SlotInfo { slot })?;
        raw::put(info, instance::slot_info())
    }

    fn c_get_token_info(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR) {
        let token = expect!(current()?.answer(Request::TokenInfo { slot })?, Reply::Token(token) => token);
        raw::put(info, instance::token_info(&token))
    }

    fn c_get_mechanism_list(slot: CK_SLOT_ID, list: CK_MECHANISM_TYPE_PTR, count: CK_ULONG_PTR) {
        let mechanisms = current()?.answer(Request::MechanismList { slot })?;
        raw::put_list(&expect!(mechanisms, Reply::Mechanisms(mechanisms) => mechanisms), list, count)
    }

    fn c_get_mechanism_info(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: CK_MECHANISM_INFO_PTR) {
        let reply = current()?.answer(Request::MechanismInfo { slot, mechanism })?;
        raw::put(info, instance::mechanism_info(expect!(reply, Reply::Mechanism(found) => found)))
    }

    fn c_wait_for_slot_event(flags: CK_FLAGS, slot: CK_SLOT_ID_PTR, reserved: CK_VOID_PTR) {
        current()?;
        if slot.is_null() || !reserved.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        // The one token is never removed, so there is no event to find or to wait for.
        Err(Rv(if flags & CKF_DONT_BLOCK != 0 { CKR_NO_EVENT } else { CKR_FUNCTION_NOT_SUPPORTED }))
    }

    fn c_init_token(slot: CK_SLOT_ID, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG, label: CK_UTF8CHAR_PTR) {
        let instance = current()?;
        let pin = raw::pin(pin, pin_len)?;
        instance.perform(Request::InitToken { slot, pin, label: raw::label(label)? })
    }

    fn c_init_pin(session: CK_SESSION_HANDLE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let instance = current()?;
        let pin = raw::pin(pin, pin_len)?;
        instance.perform(Request::InitPin { session, pin })
    }

    fn c_set_pin(
        session: CK_SESSION_HANDLE,
        old: CK_UTF8CHAR_PTR,
        old_len: CK_ULONG,
        new: CK_UTF8CHAR_PTR,
        new_len: CK_ULONG,
    ) {
        let instance = current()?;
        let old = raw::pin(old, old_len)?;
        let new = raw::pin(new, new_len)?;
        instance.perform(Request::SetPin { session, old, new })
    }
}
