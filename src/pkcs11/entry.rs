//! The entry functions: catch, convert, call. Each is what its section of PKCS#11 v2.40 section 5 says it is.
//!
//! Pointers go straight to [`super::raw`]. The SAFETY argument is the same for all of them: PKCS#11 obliges the caller to
//! give pointers that are null or valid for the length that comes with them, until the call returns.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use super::instance::{self, current};
use super::module::SLOT;
use super::raw::{self, Output};
use super::rv::{Answer, Rv};
use super::slot_token;
use crate::kernel::pin;
use crate::kernel::psbt::MAX_PSBT_LEN;

/// Longest code, PIN or user name that is looked at; the checks behind know the exact bounds.
const MAX_PIN_LEN: usize = pin::MAX_LEN;
/// Most random bytes in one call.
const MAX_RANDOM_LEN: usize = 1 << 20;

/// Runs one call. A panic is `CKR_GENERAL_ERROR`, and never crosses into the caller.
fn enter(call: impl FnOnce() -> Answer) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(rv))) => rv,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// Defines entry functions whose bodies may convert pointers, all under the one argument of this file.
macro_rules! entries {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {
        $(
            $(#[$doc])*
            #[allow(unused_unsafe)]
            pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                // SAFETY: the pointers are as PKCS#11 obliges the caller to give them (see the head of this file).
                enter(|| unsafe { $body })
            }
        )+
    };
}

entries! {
    // 5.4 General-purpose functions

    fn c_initialize(arguments: CK_VOID_PTR) {
        instance::initialize(&raw::initialize_arguments(arguments))
    }

    fn c_finalize(reserved: CK_VOID_PTR) {
        if !reserved.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance::finalize()
    }

    fn c_get_info(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info())
    }

    // 5.5 Slot and token management

    fn c_get_slot_list(_token_present: CK_BBOOL, list: CK_SLOT_ID_PTR, count: CK_ULONG_PTR) {
        current()?;
        raw::put_list(&[SLOT], list, count)
    }

    fn c_get_slot_info(slot: CK_SLOT_ID, info: CK_SLOT_INFO_PTR) {
        current()?;
        raw::put(info, slot_token::slot_info(slot)?)
    }

    fn c_get_token_info(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR) {
        raw::put(info, current()?.token_info(slot)?)
    }

    fn c_get_mechanism_list(slot: CK_SLOT_ID, list: CK_MECHANISM_TYPE_PTR, count: CK_ULONG_PTR) {
        current()?;
        slot_token::check_slot(slot)?;
        raw::put_list(&slot_token::MECHANISMS.map(|(mechanism, _)| mechanism), list, count)
    }

    fn c_get_mechanism_info(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: CK_MECHANISM_INFO_PTR) {
        current()?;
        raw::put(info, slot_token::mechanism_info(slot, mechanism)?)
    }

    fn c_init_token(slot: CK_SLOT_ID, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG, label: CK_UTF8CHAR_PTR) {
        let pin = raw::bytes(pin, pin_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        current()?.init_token(slot, &pin, &raw::label(label)?)
    }

    fn c_init_pin(session: CK_SESSION_HANDLE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let pin = raw::bytes(pin, pin_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        current()?.init_pin(session, &pin)
    }

    fn c_set_pin(
        session: CK_SESSION_HANDLE,
        old: CK_UTF8CHAR_PTR,
        old_len: CK_ULONG,
        new: CK_UTF8CHAR_PTR,
        new_len: CK_ULONG,
    ) {
        let old = raw::bytes(old, old_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        let new = raw::bytes(new, new_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        current()?.set_pin(session, &old, &new)
    }

    // 5.6 Session management

    fn c_open_session(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        _application: CK_VOID_PTR,
        _notify: CK_NOTIFY,
        session: CK_SESSION_HANDLE_PTR,
    ) {
        if session.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        raw::put(session, current()?.open(slot, flags)?)
    }

    fn c_close_session(session: CK_SESSION_HANDLE) {
        current()?.close_session(session)
    }

    fn c_close_all_sessions(slot: CK_SLOT_ID) {
        current()?.close_all(slot)
    }

    fn c_get_session_info(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR) {
        raw::put(info, current()?.session_info(session)?)
    }

    fn c_login(session: CK_SESSION_HANDLE, user_type: CK_USER_TYPE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let pin = raw::bytes(pin, pin_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        current()?.login(session, user_type, None, &pin)
    }

    fn c_login_user(
        session: CK_SESSION_HANDLE,
        user_type: CK_USER_TYPE,
        pin: CK_UTF8CHAR_PTR,
        pin_len: CK_ULONG,
        user: CK_UTF8CHAR_PTR,
        user_len: CK_ULONG,
    ) {
        let pin = raw::bytes(pin, pin_len, MAX_PIN_LEN, CKR_PIN_LEN_RANGE)?;
        let user = raw::bytes(user, user_len, MAX_PIN_LEN, CKR_ARGUMENTS_BAD)?;
        current()?.login(session, user_type, Some(&user), &pin)
    }

    fn c_logout(session: CK_SESSION_HANDLE) {
        current()?.log_out(session)
    }

    fn c_session_cancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        current()?.cancel(session, flags)
    }

    // 5.7 Object management

    fn c_destroy_object(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) {
        current()?.destroy_object(session, object)
    }

    fn c_get_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        current()?.get_attribute_value(session, object, &mut raw::slots(template, count)?)
    }

    fn c_set_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        current()?.set_attribute_value(session, object, &raw::template(template, count)?)
    }

    fn c_find_objects_init(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG) {
        current()?.find_objects_init(session, &raw::template(template, count)?)
    }

    fn c_find_objects(
        session: CK_SESSION_HANDLE,
        objects: CK_OBJECT_HANDLE_PTR,
        most: CK_ULONG,
        count: CK_ULONG_PTR,
    ) {
        if objects.is_null() || count.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let found = current()?.find_objects(session, usize::try_from(most).unwrap_or(usize::MAX))?;
        raw::put(count, most)?;
        raw::put_list(&found, objects, count)
    }

    fn c_find_objects_final(session: CK_SESSION_HANDLE) {
        current()?.find_objects_final(session)
    }

    // 5.13 Signing

    fn c_sign_init(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE) {
        current()?.sign_init(session, raw::mechanism(mechanism)?, key)
    }

    fn c_sign(
        session: CK_SESSION_HANDLE,
        data: CK_BYTE_PTR,
        data_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG_PTR,
    ) {
        let module = current()?;
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        module.sign(session, data, &mut Output::new(signature, signature_len)?)
    }

    fn c_sign_update(session: CK_SESSION_HANDLE, part: CK_BYTE_PTR, part_len: CK_ULONG) {
        let module = current()?;
        module.sign_update(session, raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE))
    }

    fn c_sign_final(session: CK_SESSION_HANDLE, signature: CK_BYTE_PTR, signature_len: CK_ULONG_PTR) {
        current()?.sign_final(session, &mut Output::new(signature, signature_len)?)
    }

    // 5.15 Verifying

    fn c_verify_init(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE) {
        current()?.verify_init(session, raw::mechanism(mechanism)?, key)
    }

    fn c_verify(
        session: CK_SESSION_HANDLE,
        data: CK_BYTE_PTR,
        data_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG,
    ) {
        let module = current()?;
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        let signature = raw::bytes(signature, signature_len, MAX_PIN_LEN, CKR_SIGNATURE_LEN_RANGE);
        module.verify(session, data, signature)
    }

    fn c_verify_update(session: CK_SESSION_HANDLE, part: CK_BYTE_PTR, part_len: CK_ULONG) {
        let module = current()?;
        module.verify_update(session, raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE))
    }

    fn c_verify_final(session: CK_SESSION_HANDLE, signature: CK_BYTE_PTR, signature_len: CK_ULONG) {
        let module = current()?;
        let signature = raw::bytes(signature, signature_len, MAX_PIN_LEN, CKR_SIGNATURE_LEN_RANGE);
        module.verify_final(session, signature)
    }

    // 5.18 Key management

    fn c_generate_key(
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_PTR,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        key: CK_OBJECT_HANDLE_PTR,
    ) {
        if key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let module = current()?;
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        raw::put(key, module.generate_key(session, &mechanism, &raw::template(template, count)?)?)
    }

    fn c_generate_key_pair(
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_PTR,
        public: CK_ATTRIBUTE_PTR,
        public_count: CK_ULONG,
        private: CK_ATTRIBUTE_PTR,
        private_count: CK_ULONG,
        public_key: CK_OBJECT_HANDLE_PTR,
        private_key: CK_OBJECT_HANDLE_PTR,
    ) {
        if public_key.is_null() || private_key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let module = current()?;
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let public = raw::template(public, public_count)?;
        let private = raw::template(private, private_count)?;
        let (made_public, made_private) = module.generate_key_pair(session, &mechanism, &public, &private)?;
        raw::put(public_key, made_public)?;
        raw::put(private_key, made_private)
    }

    // 5.19 Random number generation

    fn c_generate_random(session: CK_SESSION_HANDLE, random: CK_BYTE_PTR, len: CK_ULONG) {
        let module = current()?;
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_RANDOM_LEN).ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        if random.is_null() && len > 0 {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let bytes = module.generate_random(session, len)?;
        raw::put_list(&bytes, random, &mut (len as CK_ULONG))
    }
}
