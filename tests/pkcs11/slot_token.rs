//! Slot and token management (PKCS#11 v2.40 section 5.5), and Countersign's own PINs.

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::kernel::utc::from_digits;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use crate::boundary::raw::{Raw, call};
use crate::boundary::{SO_PIN, USER_PIN, assert_rv, in_boundary, initialised_token, now, this_test};

const WRONG: &[u8] = b"none of these";

fn initialised_again() -> Raw {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    raw
}

#[test]
fn there_is_one_slot() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        for present in [CK_TRUE, CK_FALSE] {
            let mut count = 0;
            assert_rv!(call!(raw, C_GetSlotList(present, ptr::null_mut(), &mut count)), CKR_OK);
            assert_eq!(count, 1);
            let mut slots = [77; 3];
            count = 0;
            assert_rv!(
                call!(raw, C_GetSlotList(present, slots.as_mut_ptr(), &mut count)),
                CKR_BUFFER_TOO_SMALL
            );
            assert_eq!((count, slots), (1, [77; 3]));
            count = 3;
            assert_rv!(call!(raw, C_GetSlotList(present, slots.as_mut_ptr(), &mut count)), CKR_OK);
            assert_eq!((count, slots), (1, [0, 77, 77]));
        }
        assert_rv!(call!(raw, C_GetSlotList(CK_TRUE, ptr::null_mut(), ptr::null_mut())), CKR_ARGUMENTS_BAD);
        let mut info = CK_SLOT_INFO::default();
        assert_rv!(call!(raw, C_GetSlotInfo(1, &mut info)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetSlotInfo(0, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetSlotInfo(0, &mut info)), CKR_OK);
        assert_eq!(info.flags, CKF_TOKEN_PRESENT);
    });
}

#[test]
fn the_mechanisms_are_listed() {
    const CURVE: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        let mut count = 0;
        assert_rv!(call!(raw, C_GetMechanismList(0, ptr::null_mut(), &mut count)), CKR_OK);
        let mut list = vec![0; count as usize];
        let mut few = count - 1;
        assert_rv!(call!(raw, C_GetMechanismList(0, list.as_mut_ptr(), &mut few)), CKR_BUFFER_TOO_SMALL);
        assert_rv!(call!(raw, C_GetMechanismList(0, list.as_mut_ptr(), &mut count)), CKR_OK);
        for (mechanism, flags) in [
            (CKM_COUNTERSIGN_PSBT, CKF_SIGN | CKF_MESSAGE_SIGN),
            (CKM_COUNTERSIGN_DIGEST, CKF_SIGN | CKF_MESSAGE_SIGN | CKF_VERIFY | CURVE),
            (CKM_ECDSA, CKF_SIGN | CKF_VERIFY | CURVE),
            (CKM_EC_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR | CURVE),
            (CKM_COUNTERSIGN_TOTP_KEY_GEN, CKF_GENERATE),
            (CKM_COUNTERSIGN_TOTP, CKF_VERIFY),
            (CKM_COUNTERSIGN_WALLET_KEY_GEN, CKF_GENERATE_KEY_PAIR),
        ] {
            assert!(list.contains(&mechanism), "{mechanism:#x}");
            let mut info = CK_MECHANISM_INFO::default();
            assert_rv!(call!(raw, C_GetMechanismInfo(0, mechanism, &mut info)), CKR_OK);
            assert_eq!(info.flags, flags, "{mechanism:#x}");
        }
        let mut info = CK_MECHANISM_INFO::default();
        assert_rv!(call!(raw, C_GetMechanismInfo(0, CKM_ECDSA_SHA256, &mut info)), CKR_MECHANISM_INVALID);
        assert_rv!(call!(raw, C_GetMechanismInfo(1, list[0], &mut info)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetMechanismInfo(0, list[0], ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetMechanismList(1, ptr::null_mut(), &mut count)), CKR_SLOT_ID_INVALID);
        assert_rv!(call!(raw, C_GetMechanismList(0, ptr::null_mut(), ptr::null_mut())), CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn the_token_has_a_clock_that_shows_the_time_before_there_is_anything_else() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        let shown = || {
            let before = now();
            let info = raw.token_info();
            assert_eq!(info.flags & CKF_CLOCK_ON_TOKEN, CKF_CLOCK_ON_TOKEN);
            let time = from_digits(&info.utcTime).expect("sixteen digits");
            assert!((before..=now()).contains(&time), "{time} is not in {before}..={}", now());
        };
        shown();
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        shown();
    });
}

#[test]
fn a_token_is_initialised_once_and_never_wiped() {
    in_boundary(this_test!(), |boundary| {
        let raw = initialised_again();
        let pin = SO_PIN.as_bytes();
        if boundary.role() == "later" {
            assert_rv!(raw.init_token(0, pin, "again"), CKR_TOKEN_WRITE_PROTECTED);
            assert_eq!(&raw.token_info().label, b"first                           ");
            raw.so();
            return;
        }
        let info = raw.token_info();
        assert_eq!(info.flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), 0);
        assert_rv!(call!(raw, C_GetTokenInfo(0, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_GetTokenInfo(1, &mut CK_TOKEN_INFO::default())), CKR_SLOT_ID_INVALID);

        assert_rv!(raw.init_token(1, pin, "first"), CKR_SLOT_ID_INVALID);
        assert_rv!(raw.init_token(0, b"123", "first"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.init_token(0, &[b'1'; 256], "first"), CKR_PIN_LEN_RANGE);
        let (mut some_pin, mut label) = (pin.to_vec(), [b' '; 32]);
        let len = pin.len() as CK_ULONG;
        assert_rv!(call!(raw, C_InitToken(0, ptr::null_mut(), len, label.as_mut_ptr())), CKR_ARGUMENTS_BAD);
        assert_rv!(
            call!(raw, C_InitToken(0, some_pin.as_mut_ptr(), len, ptr::null_mut())),
            CKR_ARGUMENTS_BAD
        );
        label[0] = 0xff;
        assert_rv!(
            call!(raw, C_InitToken(0, some_pin.as_mut_ptr(), len, label.as_mut_ptr())),
            CKR_ARGUMENTS_BAD,
            "a label that is not UTF-8"
        );
        assert!(!boundary.store().exists(), "none of these made a store");

        assert_rv!(raw.init_token(0, pin, "first"), CKR_OK);
        let info = raw.token_info();
        assert_eq!(&info.label, b"first                           ");
        assert_eq!(info.flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), CKF_TOKEN_INITIALIZED);
        assert_rv!(raw.init_token(0, pin, "again"), CKR_TOKEN_WRITE_PROTECTED);
        assert_rv!(raw.init_token(0, b"another pin", "again"), CKR_TOKEN_WRITE_PROTECTED);
        let session = raw.read_write();
        assert_rv!(raw.init_token(0, pin, "again"), CKR_SESSION_EXISTS);
        assert_rv!(raw.close(session), CKR_OK);
        raw.so();
        assert_rv!(raw.finalize(), CKR_OK);
        boundary.run("later");
    });
}

#[test]
fn the_user_pin_is_the_security_officers_to_set() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_again();
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        let session = raw.read_write();
        let pin = USER_PIN.as_bytes();
        assert_rv!(raw.login(session, CKU_USER, pin), CKR_USER_PIN_NOT_INITIALIZED);
        assert_rv!(raw.init_pin(session, pin), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_OK);
        assert_rv!(raw.init_pin(session, b"123"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.init_pin(session, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
        assert_rv!(call!(raw, C_InitPIN(session, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.token_info().flags & CKF_USER_PIN_INITIALIZED, 0);
        assert_rv!(raw.init_pin(session, pin), CKR_OK);
        assert_ne!(raw.token_info().flags & CKF_USER_PIN_INITIALIZED, 0);
        assert_rv!(raw.logout(session), CKR_OK);
        assert_rv!(raw.login(session, CKU_USER, pin), CKR_OK);
        assert_rv!(raw.init_pin(session, b"1234"), CKR_USER_NOT_LOGGED_IN, "not the backend's");
    });
}

const USER_FLAGS: CK_FLAGS = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;
const SO_FLAGS: CK_FLAGS = CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY | CKF_SO_PIN_LOCKED;

#[test]
fn wrong_user_pins_are_counted_over_restarts_and_the_tenth_locks() {
    in_boundary(this_test!(), |boundary| {
        let flags = |raw: &Raw| raw.token_info().flags & USER_FLAGS;
        let wrong = |raw: &Raw, session| assert_rv!(raw.login(session, CKU_USER, WRONG), CKR_PIN_INCORRECT);
        match boundary.role() {
            "wrong four times" => {
                let raw = initialised_again();
                let session = raw.read_only();
                (0..4).for_each(|_| wrong(&raw, session));
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW);
                // No C_Finalize: what is counted is counted.
                std::process::abort();
            }
            "the rest" => {
                let raw = initialised_again();
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW, "four were counted before the restart");
                let session = raw.read_write();
                (5..=9).for_each(|_| wrong(&raw, session));
                assert_eq!(flags(&raw), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
                wrong(&raw, session);
                assert_eq!(flags(&raw), CKF_USER_PIN_LOCKED);
                assert_rv!(raw.login(session, CKU_USER, WRONG), CKR_PIN_LOCKED);
            }
            "locked" => {
                let raw = initialised_again();
                assert_eq!(flags(&raw), CKF_USER_PIN_LOCKED);
                let session = raw.read_write();
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_LOCKED);
                assert_rv!(raw.set_pin(session, USER_PIN.as_bytes(), b"another"), CKR_PIN_LOCKED);
                // The security officer sets a new one, which unlocks.
                assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_OK);
                assert_rv!(raw.init_pin(session, b"another"), CKR_OK);
                assert_eq!(flags(&raw), 0);
                assert_rv!(raw.logout(session), CKR_OK);
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_INCORRECT);
                assert_rv!(raw.login(session, CKU_USER, b"another"), CKR_OK);
                assert_eq!(flags(&raw), 0, "a right PIN ends the count");
            }
            _ => {
                let raw = initialised_token();
                assert_eq!(flags(&raw), 0);
                let session = raw.read_only();
                (1..=9).for_each(|_| wrong(&raw, session));
                assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK, "the tenth, right");
                assert_eq!(flags(&raw), 0, "a right PIN ends the count");
                assert_rv!(raw.finalize(), CKR_OK);
                let aborted = crate::boundary::Finished::of(&mut boundary.command("wrong four times"));
                assert!(aborted.status.code().is_none(), "{}{}", aborted.stdout, aborted.stderr);
                boundary.run("the rest");
                boundary.run("locked");
            }
        }
    });
}

#[test]
fn the_tenth_wrong_so_pin_locks() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_write();
        let flags = || raw.token_info().flags & SO_FLAGS;
        for tried in 1..=10 {
            assert_rv!(raw.login(session, CKU_SO, WRONG), CKR_PIN_INCORRECT);
            let expected = match tried {
                ..9 => CKF_SO_PIN_COUNT_LOW,
                9 => CKF_SO_PIN_COUNT_LOW | CKF_SO_PIN_FINAL_TRY,
                _ => CKF_SO_PIN_LOCKED,
            };
            assert_eq!(flags(), expected, "after {tried}");
        }
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_PIN_LOCKED);
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK, "each PIN for itself");
    });
}

#[test]
fn a_pin_is_changed_by_whoever_knows_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (old, new) = (USER_PIN.as_bytes(), b"new user pin".as_slice());
        let read_only = raw.read_only();
        assert_rv!(raw.set_pin(read_only, old, new), CKR_SESSION_READ_ONLY);
        assert_rv!(raw.close(read_only), CKR_OK);

        let session = raw.read_write();
        assert_rv!(raw.set_pin(session, old, b"123"), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.set_pin(session, old, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
        let mut pin = old.to_vec();
        let (pin, len) = (pin.as_mut_ptr(), old.len() as CK_ULONG);
        assert_rv!(call!(raw, C_SetPIN(session, ptr::null_mut(), 8, pin, len)), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_SetPIN(session, pin, len, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.token_info().flags & USER_FLAGS, 0, "none of these was a try");
        assert_rv!(raw.set_pin(session, WRONG, new), CKR_PIN_INCORRECT);
        assert_eq!(raw.token_info().flags & USER_FLAGS, CKF_USER_PIN_COUNT_LOW, "this was");
        assert_rv!(raw.set_pin(session, old, new), CKR_OK, "the user's, where nobody is logged in");
        assert_eq!(raw.token_info().flags & USER_FLAGS, 0);
        assert_rv!(raw.login(session, CKU_USER, old), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_USER, new), CKR_OK);
        assert_rv!(raw.set_pin(session, new, old), CKR_OK, "the user's, by the user");
        assert_rv!(raw.logout(session), CKR_OK);

        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_OK);
        assert_rv!(raw.set_pin(session, SO_PIN.as_bytes(), b"new officer pin"), CKR_OK);
        assert_rv!(raw.logout(session), CKR_OK);
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_SO, b"new officer pin"), CKR_OK);
        assert_rv!(raw.logout(session), CKR_OK);
        assert_rv!(raw.login(session, CKU_USER, old), CKR_OK);
    });
}
