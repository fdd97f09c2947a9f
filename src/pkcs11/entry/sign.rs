//! The entry functions of signing and verifying (PKCS#11 v3.2 sections 5.13 to 5.15). See the head of
//! [`super`].

use cryptoki_sys::*;

use super::enter;
use crate::kernel::psbt::MAX_PSBT_LEN;
use crate::pkcs11::instance::{Instance, current};
use crate::pkcs11::raw::{self, Output};
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::{MAX_PIN_LEN, Request};
use crate::pkcs11::rv::{Answer, Rv};

/// The place for the answer. A call without one fails, and so ends its operation ([`Request::refused`]).
fn or_end(instance: &Instance, session: CK_SESSION_HANDLE, out: Answer<Output>) -> Answer<Output> {
    out.map_err(|rv| match instance.perform(Request::SignUpdate { session, part: Err(rv) }) {
        Ok(()) | Err(Rv(CKR_OPERATION_NOT_INITIALIZED)) => rv,
        Err(refused) => refused,
    })
}

entries! {
    // 5.13 Signing

    fn c_sign_init(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE) {
        let instance = current()?;
        instance.perform(Request::SignInit { session, mechanism: raw::mechanism(mechanism)?, key })
    }

    fn c_sign(
        session: CK_SESSION_HANDLE,
        data: CK_BYTE_PTR,
        data_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG_PTR,
    ) {
        let instance = current()?;
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        let out = or_end(&instance, session, Output::new(signature, signature_len))?;
        let reply = instance.answer(Request::Sign { session, data, room: out.room() })?;
        out.write(&expect!(reply, Reply::Signed(signed) => signed))
    }

    fn c_sign_update(session: CK_SESSION_HANDLE, part: CK_BYTE_PTR, part_len: CK_ULONG) {
        let instance = current()?;
        let part = raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        instance.perform(Request::SignUpdate { session, part })
    }

    fn c_sign_final(session: CK_SESSION_HANDLE, signature: CK_BYTE_PTR, signature_len: CK_ULONG_PTR) {
        let instance = current()?;
        let out = or_end(&instance, session, Output::new(signature, signature_len))?;
        let reply = instance.answer(Request::SignFinal { session, room: out.room() })?;
        out.write(&expect!(reply, Reply::Signed(signed) => signed))
    }

    // 5.14 Message-based signing

    fn c_message_sign_init(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE) {
        let instance = current()?;
        instance.perform(Request::MessageSignInit { session, mechanism: raw::mechanism(mechanism)?, key })
    }

    fn c_sign_message(
        session: CK_SESSION_HANDLE,
        parameter: CK_VOID_PTR,
        parameter_len: CK_ULONG,
        data: CK_BYTE_PTR,
        data_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG_PTR,
    ) {
        let instance = current()?;
        let parameter = raw::parameter(parameter, parameter_len);
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        let out = Output::new(signature, signature_len)?;
        let reply = instance.answer(Request::SignMessage { session, parameter, data, room: out.room() })?;
        out.write(&expect!(reply, Reply::Signed(signed) => signed))
    }

    fn c_sign_message_begin(session: CK_SESSION_HANDLE, parameter: CK_VOID_PTR, parameter_len: CK_ULONG) {
        let instance = current()?;
        let parameter = raw::parameter(parameter, parameter_len);
        instance.perform(Request::SignMessageBegin { session, parameter })
    }

    fn c_sign_message_next(
        session: CK_SESSION_HANDLE,
        parameter: CK_VOID_PTR,
        parameter_len: CK_ULONG,
        part: CK_BYTE_PTR,
        part_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG_PTR,
    ) {
        let instance = current()?;
        let parameter = raw::parameter(parameter, parameter_len);
        let part = raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        if signature_len.is_null() {
            // Further parts follow.
            return instance.perform(Request::SignMessageNext { session, parameter, part, room: None });
        }
        let out = Output::new(signature, signature_len)?;
        let room = Some(out.room());
        let reply = instance.answer(Request::SignMessageNext { session, parameter, part, room })?;
        out.write(&expect!(reply, Reply::Signed(signed) => signed))
    }

    fn c_message_sign_final(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::MessageSignFinal { session })
    }

    // 5.15 Verifying

    fn c_verify_init(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE) {
        let instance = current()?;
        instance.perform(Request::VerifyInit { session, mechanism: raw::mechanism(mechanism)?, key })
    }

    fn c_verify(
        session: CK_SESSION_HANDLE,
        data: CK_BYTE_PTR,
        data_len: CK_ULONG,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG,
    ) {
        let instance = current()?;
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        let signature = raw::bytes(signature, signature_len, MAX_PIN_LEN, CKR_SIGNATURE_LEN_RANGE);
        instance.perform(Request::Verify { session, data, signature })
    }

    fn c_verify_update(session: CK_SESSION_HANDLE, part: CK_BYTE_PTR, part_len: CK_ULONG) {
        let instance = current()?;
        let part = raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        instance.perform(Request::VerifyUpdate { session, part })
    }

    fn c_verify_final(session: CK_SESSION_HANDLE, signature: CK_BYTE_PTR, signature_len: CK_ULONG) {
        let instance = current()?;
        let signature = raw::bytes(signature, signature_len, MAX_PIN_LEN, CKR_SIGNATURE_LEN_RANGE);
        instance.perform(Request::VerifyFinal { session, signature })
    }

    fn c_verify_signature_init(
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_PTR,
        key: CK_OBJECT_HANDLE,
        signature: CK_BYTE_PTR,
        signature_len: CK_ULONG,
    ) {
        let instance = current()?;
        let mechanism = raw::mechanism(mechanism)?;
        let signature = raw::bytes(signature, signature_len, MAX_PIN_LEN, CKR_SIGNATURE_LEN_RANGE);
        instance.perform(Request::VerifySignatureInit { session, mechanism, key, signature })
    }

    fn c_verify_signature(session: CK_SESSION_HANDLE, data: CK_BYTE_PTR, data_len: CK_ULONG) {
        let instance = current()?;
        let data = raw::bytes(data, data_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        instance.perform(Request::VerifySignature { session, data })
    }

    fn c_verify_signature_update(session: CK_SESSION_HANDLE, part: CK_BYTE_PTR, part_len: CK_ULONG) {
        let instance = current()?;
        let part = raw::bytes(part, part_len, MAX_PSBT_LEN, CKR_DATA_LEN_RANGE);
        instance.perform(Request::VerifySignatureUpdate { session, part })
    }

    fn c_verify_signature_final(session: CK_SESSION_HANDLE) {
        current()?.perform(Request::VerifySignatureFinal { session })
    }
}
