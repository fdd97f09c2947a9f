//! The entry functions of key management (PKCS#11 v3.2 section 5.18).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::current;
use crate::pkcs11::raw;
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::Request;
use crate::pkcs11::rv::Rv;

entries! {
    fn c_generate_key(
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_PTR,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        key: CK_OBJECT_HANDLE_PTR,
    ) {
        let instance = current()?;
        if key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let template = raw::template(template, count)?;
        let reply = instance.answer(Request::GenerateKey { session, mechanism, template })?;
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
        let instance = current()?;
        if public_key.is_null() || private_key.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let mechanism = raw::mechanism(mechanism)?.ok_or(Rv(CKR_ARGUMENTS_BAD))?;
        let public = raw::template(public, public_count)?;
        let private = raw::template(private, private_count)?;
        let reply = instance.answer(Request::GenerateKeyPair { session, mechanism, public, private })?;
        let (made_public, made_private) = expect!(reply, Reply::KeyPair { public, private } => (public, private));
        raw::put(public_key, made_public)?;
        raw::put(private_key, made_private)
    }
}
