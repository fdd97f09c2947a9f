//! The entry functions: catch, convert, call. Each is what its section of PKCS#11 v3.2 section 5 says it is.
//!
//! Pointers go straight to [`super::raw`]. The SAFETY argument is the same for all of them: PKCS#11 obliges the caller to
//! give pointers that are null or valid for the length that comes with them, until the call returns.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use super::call::{MAX_PIN_LEN, MAX_RANDOM_LEN, Reply, Request};
use super::hosted;
use super::instance::{self, Application, current};
use super::raw;
use super::rv::{Answer, Rv};
use crate::remote::{PeerRole, interface};

/// Runs one call. A panic is `CKR_GENERAL_ERROR`, and never crosses into the caller.
fn enter(call: impl FnOnce() -> Answer) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(rv))) => rv,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// What is expected of a call: this reply, or none. Another one is no answer to it.
macro_rules! expect {
    ($reply:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $reply {
            $pattern $(if $guard)? => $value,
            _ => return Err(Rv(CKR_DEVICE_ERROR)),
        }
    };
}

impl Application {
    /// A call that gives nothing but its success.
    fn perform(&self, request: Request) -> Answer {
        expect!(self.answer(request)?, Reply::Done => Ok(()))
    }

    /// Refuses a handle that is no session's.
    fn has_session(&self, session: CK_SESSION_HANDLE) -> Answer {
        expect!(self.answer(Request::SessionInfo { session })?, Reply::Session(_) => Ok(()))
    }
}

/// Defines entry functions whose bodies may convert pointers, all under the one argument of this file.
macro_rules! entries {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {
        $(
            $(#[$doc])*
            #[allow(unused_unsafe)]
            pub(in crate::pkcs11) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                // SAFETY: the pointers are as PKCS#11 obliges the caller to give them (see the head of this file).
                enter(|| unsafe { $body })
            }
        )+
    };
}

// Behind the macros, which it has from here.
mod sign;
pub(super) use sign::*;

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

    fn c_get_info_2_40(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 2, minor: 40 }))
    }

    fn c_get_info_3_0(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 3, minor: 0 }))
    }

    fn c_get_info_3_2(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 3, minor: 2 }))
    }

    // 5.5 Slot and token management

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
        // The one token is never removed: there is no event to find, and none that is worth waiting for.
        Err(Rv(if flags & CKF_DONT_BLOCK != 0 { CKR_NO_EVENT } else { CKR_FUNCTION_NOT_SUPPORTED }))
    }

    fn c_init_token(slot: CK_SLOT_ID, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG, label: CK_UTF8CHAR_PTR) {
        let application = current()?;
        let pin = raw::pin(pin, pin_len)?;
        application.perform(Request::InitToken { slot, pin, label: raw::label(label)? })
    }

    fn c_init_pin(session: CK_SESSION_HANDLE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let application = current()?;
        let pin = raw::pin(pin, pin_len)?;
        application.perform(Request::InitPin { session, pin })
    }

    fn c_set_pin(
        session: CK_SESSION_HANDLE,
        old: CK_UTF8CHAR_PTR,
        old_len: CK_ULONG,
        new: CK_UTF8CHAR_PTR,
        new_len: CK_ULONG,
    ) {
        let application = current()?;
        let old = raw::pin(old, old_len)?;
        let new = raw::pin(new, new_len)?;
        application.perform(Request::SetPin { session, old, new })
    }

    // 5.6 Session management

    fn c_open_session(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        _application: CK_VOID_PTR,
        _notify: CK_NOTIFY,
        session: CK_SESSION_HANDLE_PTR,
    ) {
        let application = current()?;
        if session.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let opened = application.answer(Request::OpenSession { slot, flags })?;
        raw::put(session, expect!(opened, Reply::Opened(opened) => opened))
    }

    fn c_close_session(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::CloseSession { session })
    }

    fn c_close_all_sessions(slot: CK_SLOT_ID) {
        current()?.perform(Request::CloseAllSessions { slot })
    }

    fn c_get_session_info(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR) {
        let reply = current()?.answer(Request::SessionInfo { session })?;
        raw::put(info, instance::session_info(expect!(reply, Reply::Session(found) => found)))
    }

    fn c_login(session: CK_SESSION_HANDLE, user_type: CK_USER_TYPE, pin: CK_UTF8CHAR_PTR, pin_len: CK_ULONG) {
        let application = current()?;
        let pin = raw::pin(pin, pin_len)?;
        application.perform(Request::Login { session, user_type, user: None, pin })
    }

    fn c_login_user(
        session: CK_SESSION_HANDLE,
        user_type: CK_USER_TYPE,
        pin: CK_UTF8CHAR_PTR,
        pin_len: CK_ULONG,
        user: CK_UTF8CHAR_PTR,
        user_len: CK_ULONG,
    ) {
        let application = current()?;
        let pin = raw::pin(pin, pin_len)?;
        let user = Some(raw::bytes(user, user_len, MAX_PIN_LEN, CKR_ARGUMENTS_BAD)?);
        application.perform(Request::Login { session, user_type, user, pin })
    }

    fn c_logout(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::Logout { session })
    }

    fn c_session_cancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        current()?.perform(Request::SessionCancel { session, flags })
    }

    fn c_get_operation_state(session: CK_SESSION_HANDLE, _state: CK_BYTE_PTR, state_len: CK_ULONG_PTR) {
        let application = current()?;
        if state_len.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        application.perform(Request::OperationState { session })
    }

    fn c_set_operation_state(
        session: CK_SESSION_HANDLE,
        state: CK_BYTE_PTR,
        _state_len: CK_ULONG,
        _encryption_key: CK_OBJECT_HANDLE,
        _authentication_key: CK_OBJECT_HANDLE,
    ) {
        let application = current()?;
        if state.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        application.has_session(session)?;
        // `C_GetOperationState` never gave one.
        Err(Rv(CKR_SAVED_STATE_INVALID))
    }

    fn c_get_session_validation_flags(
        session: CK_SESSION_HANDLE,
        _type: CK_SESSION_VALIDATION_FLAGS_TYPE,
        flags: CK_FLAGS_PTR,
    ) {
        let application = current()?;
        if flags.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        application.has_session(session)?;
        // The token has no validation object (v3.2 section 4.15): nothing that was done here was validated by anybody.
        raw::put(flags, 0)
    }

    // 5.7 Object management

    fn c_create_object(
        session: CK_SESSION_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        object: CK_OBJECT_HANDLE_PTR,
    ) {
        let application = current()?;
        if object.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let template = raw::template(template, count)?;
        let reply = application.answer(Request::CreateObject { session, template })?;
        raw::put(object, expect!(reply, Reply::Created(made) => made))
    }

    fn c_copy_object(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        copy: CK_OBJECT_HANDLE_PTR,
    ) {
        let application = current()?;
        if copy.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let template = raw::template(template, count)?;
        let reply = application.answer(Request::CopyObject { session, object, template })?;
        raw::put(copy, expect!(reply, Reply::Created(made) => made))
    }

    fn c_get_object_size(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: CK_ULONG_PTR) {
        let application = current()?;
        if size.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = application.answer(Request::GetObjectSize { session, object })?;
        raw::put(size, expect!(reply, Reply::Size(bytes) => bytes))
    }

    fn c_destroy_object(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) {
        current()?.perform(Request::DestroyObject { session, object })
    }

    fn c_get_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        let application = current()?;
        let slots = raw::slots(template, count)?;
        let wanted = slots.iter().map(|slot| slot.wanted()).collect();
        let reply = application.answer(Request::GetAttributeValue { session, object, wanted })?;
        raw::fill(slots, expect!(reply, Reply::Attributes(shown) => shown))
    }

    fn c_set_attribute_value(
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
    ) {
        let application = current()?;
        let template = raw::template(template, count)?;
        application.perform(Request::SetAttributeValue { session, object, template })
    }

    fn c_find_objects_init(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG) {
        let application = current()?;
        application.perform(Request::FindObjectsInit { session, template: raw::template(template, count)? })
    }

    fn c_find_objects(
        session: CK_SESSION_HANDLE,
        objects: CK_OBJECT_HANDLE_PTR,
        most: CK_ULONG,
        count: CK_ULONG_PTR,
    ) {
        let application = current()?;
        if objects.is_null() || count.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = application.answer(Request::FindObjects { session, most })?;
        let found = expect!(reply, Reply::Found(found) => found);
        let handles: Vec<CK_OBJECT_HANDLE> = found.iter().map(|found| found.handle).collect();
        raw::put(count, most)?;
        raw::put_list(&handles, objects, count)
    }

    fn c_find_objects_final(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::FindObjectsFinal { session })
    }

    // 5.18 Key management

    fn c_generate_key(
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_PTR,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        key: CK_OBJECT_HANDLE_PTR,
    ) {
        let application = current()?;
        if key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let template = raw::template(template, count)?;
        let reply = application.answer(Request::GenerateKey { session, mechanism, template })?;
        raw::put(key, expect!(reply, Reply::Key(made) => made))
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
        let application = current()?;
        if public_key.is_null() || private_key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let public = raw::template(public, public_count)?;
        let private = raw::template(private, private_count)?;
        let reply = application.answer(Request::GenerateKeyPair { session, mechanism, public, private })?;
        let (made_public, made_private) = expect!(reply, Reply::KeyPair { public, private } => (public, private));
        raw::put(public_key, made_public)?;
        raw::put(private_key, made_private)
    }

    // 5.19 Random number generation

    fn c_seed_random(session: CK_SESSION_HANDLE, seed: CK_BYTE_PTR, seed_len: CK_ULONG) {
        let application = current()?;
        if seed.is_null() && seed_len > 0 {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        application.has_session(session)?;
        // Nobody outside has a say in what is random here.
        Err(Rv(CKR_RANDOM_SEED_NOT_SUPPORTED))
    }

    fn c_generate_random(session: CK_SESSION_HANDLE, random: CK_BYTE_PTR, len: CK_ULONG) {
        let application = current()?;
        if len > MAX_RANDOM_LEN || (random.is_null() && len > 0) {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = application.answer(Request::GenerateRandom { session, len })?;
        // As many as were asked for: `put_list` writes no more, and fewer are no answer.
        let bytes = expect!(reply, Reply::Random(bytes) if bytes.len() as CK_ULONG == len => bytes);
        raw::put_list(&bytes, random, &mut (len as CK_ULONG))
    }

    // 5.20 Parallel function management: what is left of it answers nothing else, whatever the session

    fn c_get_function_status(_session: CK_SESSION_HANDLE) {
        current()?;
        Err(Rv(CKR_FUNCTION_NOT_PARALLEL))
    }

    fn c_cancel_function(_session: CK_SESSION_HANDLE) {
        current()?;
        Err(Rv(CKR_FUNCTION_NOT_PARALLEL))
    }

    // The interface of `countersign serve`, see `crate::remote::interface`

    fn boundary_open() {
        hosted::open()
    }

    fn boundary_begin(first_handle: CK_ULONG, role: CK_ULONG, application: CK_ULONG_PTR) {
        let role = match role {
            interface::BACKEND => PeerRole::Backend,
            interface::ADMINISTRATOR => PeerRole::Administrator,
            _ => return Err(Rv(CKR_ARGUMENTS_BAD)),
        };
        raw::put(application, hosted::begin(first_handle, role)?)
    }

    fn boundary_call(
        application: CK_ULONG,
        request: *const u8,
        request_len: CK_ULONG,
        deliver: interface::Deliver,
        context: CK_VOID_PTR,
    ) {
        let answer = hosted::call(application, raw::borrowed(request, request_len)?)?;
        deliver(context, answer.as_ptr(), answer.len() as CK_ULONG);
        Ok(())
    }

    fn boundary_end(application: CK_ULONG) {
        hosted::end(application)
    }

    fn boundary_close() {
        hosted::close()
    }

    fn boundary_healthy() {
        hosted::healthy()
    }
}
