//! Random number generation (PKCS#11 v3.2 section 5.19).

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use cryptoki_sys::*;

use harness::module::raw::call;
use harness::module::{assert_rv, initialised_token, this_test};

use super::in_boundary;

#[test]
fn random_bytes_differ_and_fill_the_buffer() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let one = raw.random(session, 64).expect("without login too");
        let other = raw.random(session, 64).expect("again");
        assert_ne!(one, other);
        for bytes in [&one, &other] {
            assert!(bytes.chunks(16).all(|chunk| chunk != [0; 16]), "a part was not filled");
        }
        assert_eq!(raw.random(session, 1 << 20).expect("a mebibyte").len(), 1 << 20);
    });
}

#[test]
fn random_arguments_are_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        assert_rv!(call!(raw, C_GenerateRandom(session, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        let mut byte = 0;
        for len in [(1 << 20) + 1, CK_ULONG::MAX] {
            assert_rv!(call!(raw, C_GenerateRandom(session, &mut byte, len)), CKR_ARGUMENTS_BAD);
        }
        assert_eq!(byte, 0, "nothing is written");
    });
}
