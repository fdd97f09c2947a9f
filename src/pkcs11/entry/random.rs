//! The entry functions of random number generation (PKCS#11 v3.2 section 5.19).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::current;
use crate::pkcs11::raw;
use crate::pkcs11::reply::Reply;
use crate::pkcs11::request::{MAX_RANDOM_LEN, Request};
use crate::pkcs11::rv::Rv;

entries! {
    fn c_seed_random(session: CK_SESSION_HANDLE, seed: CK_BYTE_PTR, seed_len: CK_ULONG) {
        let instance = current()?;
        if seed.is_null() && seed_len > 0 {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance.has_session(session)?;
        // Nobody outside may influence the randomness.
        Err(Rv(CKR_RANDOM_SEED_NOT_SUPPORTED))
    }

    fn c_generate_random(session: CK_SESSION_HANDLE, random: CK_BYTE_PTR, len: CK_ULONG) {
        let instance = current()?;
        if len > MAX_RANDOM_LEN || (random.is_null() && len > 0) {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        let reply = instance.answer(Request::GenerateRandom { session, len })?;
        // Exactly as many as were asked for: `put_list` writes no more, and fewer would be no answer.
        let bytes = expect!(reply, Reply::Random(bytes) if bytes.len() as CK_ULONG == len => bytes);
        raw::put_list(&bytes, random, &mut (len as CK_ULONG))
    }
}
