//! Session management (PKCS#11 v3.2 section 5.6).

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Mechanism, Raw, call, call_v3, call_v3_2};
use harness::module::wallet::verify_signed;
use harness::module::{SO_PIN, Stage, USER_PIN, approval, assert_rv, initialised_token, this_test};

use super::in_boundary;

#[test]
fn opening_is_checked() {
    in_boundary(this_test!(), |_| {
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        assert_eq!(raw.open(CKF_SERIAL_SESSION), Err(CKR_TOKEN_NOT_RECOGNIZED), "not initialised yet");
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        assert_eq!(raw.open(0), Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        assert_eq!(raw.open(CKF_RW_SESSION), Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        assert_eq!(raw.open(CKF_SERIAL_SESSION | CKF_ASYNC_SESSION), Err(CKR_SESSION_ASYNC_NOT_SUPPORTED));
        let mut session = 0;
        assert_rv!(
            call!(raw, C_OpenSession(1, CKF_SERIAL_SESSION, ptr::null_mut(), None, &mut session)),
            CKR_SLOT_ID_INVALID
        );
        assert_rv!(
            call!(raw, C_OpenSession(0, CKF_SERIAL_SESSION, ptr::null_mut(), None, ptr::null_mut())),
            CKR_ARGUMENTS_BAD
        );
        assert_eq!(raw.token_info().ulSessionCount, 0, "none that nobody could close");
        assert_rv!(call!(raw, C_CloseAllSessions(1)), CKR_SLOT_ID_INVALID);
        assert_eq!(session, 0);
    });
}

#[test]
fn handles_are_not_used_again() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let first = raw.read_only();
        assert_rv!(raw.close(first), CKR_OK);
        assert_rv!(raw.close(first), CKR_SESSION_HANDLE_INVALID);
        let second = raw.read_only();
        assert_ne!(first, second);
        assert_rv!(raw.close_all(), CKR_OK);
        assert_eq!(raw.state(second), Err(CKR_SESSION_HANDLE_INVALID));
        assert_ne!(raw.read_only(), second);
    });
}

#[test]
fn the_number_of_sessions_is_bounded() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let most = raw.token_info().ulMaxSessionCount;
        for _ in 0..most {
            raw.read_only();
        }
        assert_eq!(raw.token_info().ulSessionCount, most);
        assert_eq!(raw.open(CKF_SERIAL_SESSION), Err(CKR_SESSION_COUNT));
        assert_rv!(raw.close_all(), CKR_OK);
        raw.read_only();
    });
}

#[test]
fn a_login_holds_for_every_session_of_the_application() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        raw.as_backend();
        let (read_only, read_write) = (raw.read_only(), raw.read_write());
        assert_rv!(call!(raw, C_GetSessionInfo(read_only, ptr::null_mut())), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.state(read_only), Ok(CKS_RO_PUBLIC_SESSION));
        assert_eq!(raw.state(read_write), Ok(CKS_RW_PUBLIC_SESSION));
        assert_rv!(raw.login(read_only, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        assert_eq!(raw.state(read_only), Ok(CKS_RO_USER_FUNCTIONS));
        assert_eq!(raw.state(read_write), Ok(CKS_RW_USER_FUNCTIONS));
        assert_eq!(raw.state(raw.read_only()), Ok(CKS_RO_USER_FUNCTIONS), "and for one opened later");

        assert_rv!(raw.login(read_write, CKU_USER, USER_PIN.as_bytes()), CKR_USER_ALREADY_LOGGED_IN);
        assert_rv!(raw.login(read_write, CKU_SO, SO_PIN.as_bytes()), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
        assert_rv!(raw.logout(read_write), CKR_OK);
        assert_eq!(raw.state(read_only), Ok(CKS_RO_PUBLIC_SESSION));
        assert_rv!(raw.logout(read_only), CKR_USER_NOT_LOGGED_IN);
    });
}

#[test]
fn the_security_officer_has_no_read_only_sessions() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (read_only, read_write) = (raw.read_only(), raw.read_write());
        let so_pin = SO_PIN.as_bytes();
        assert_rv!(raw.login(read_write, CKU_SO, so_pin), CKR_SESSION_READ_ONLY_EXISTS);
        assert_rv!(raw.login(read_only, CKU_SO, so_pin), CKR_SESSION_READ_ONLY_EXISTS);
        assert_rv!(raw.close(read_only), CKR_OK);
        assert_rv!(raw.login(read_write, CKU_SO, so_pin), CKR_OK);
        assert_eq!(raw.state(read_write), Ok(CKS_RW_SO_FUNCTIONS));
        assert_eq!(raw.open(CKF_SERIAL_SESSION), Err(CKR_SESSION_READ_WRITE_SO_EXISTS));
        assert_rv!(raw.login(read_write, CKU_USER, USER_PIN.as_bytes()), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    });
}

#[test]
fn the_last_session_takes_the_login_with_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.user();
        let other = raw.read_only();
        assert_rv!(raw.close(session), CKR_OK);
        assert_eq!(raw.state(other), Ok(CKS_RO_USER_FUNCTIONS), "one is left");
        assert_rv!(raw.close(other), CKR_OK);
        assert_eq!(raw.state(raw.read_only()), Ok(CKS_RO_PUBLIC_SESSION));

        raw.close_all();
        raw.user();
        raw.close_all();
        assert_eq!(raw.state(raw.read_only()), Ok(CKS_RO_PUBLIC_SESSION), "closing all logs out as well");
    });
}

#[test]
fn login_arguments_are_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        raw.as_backend();
        let session = raw.read_write();
        let pin = USER_PIN.as_bytes();
        assert_rv!(raw.login(session, 3, pin), CKR_USER_TYPE_INVALID);
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, b"123456"), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_Login(session, CKU_USER, ptr::null_mut(), 8)), CKR_ARGUMENTS_BAD);
        assert_rv!(raw.login(session, CKU_USER, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
        assert_rv!(raw.login_user(session, CKU_USER, pin, b"alice"), CKR_ARGUMENTS_BAD, "it has no name");
        assert_rv!(raw.login_user(session, CKU_USER, pin, &[b'a'; 256]), CKR_ARGUMENTS_BAD);
        assert_rv!(raw.login_user(session, CKU_SO, SO_PIN.as_bytes(), b"officer"), CKR_ARGUMENTS_BAD);
        assert_rv!(raw.login_user(session, 3, pin, b""), CKR_USER_TYPE_INVALID);
        assert_rv!(
            raw.login_user(session, CKU_CONTEXT_SPECIFIC, b"123456", b"alice"),
            CKR_OPERATION_NOT_INITIALIZED
        );
        assert_rv!(raw.login(999_999, 3, pin), CKR_SESSION_HANDLE_INVALID, "which counts before all else");
        let flags = raw.token_info().flags;
        assert_eq!(flags & CKF_USER_PIN_COUNT_LOW, 0, "none of these was a try at the PIN");
        assert_rv!(raw.login_user(session, CKU_USER, pin, b""), CKR_OK);
        assert_eq!(raw.state(session), Ok(CKS_RW_USER_FUNCTIONS));
    });
}

#[test]
fn a_context_specific_login_takes_a_user_by_name_or_by_no_name() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (code, psbt) = (stage.users[0].code(), stage.psbt());
        let code = code.as_bytes();
        let context = CKU_CONTEXT_SPECIFIC;
        let long = [b'a'; 61];
        for (name, pin, answer) in [
            (&b"alice"[..], &b"12345"[..], CKR_PIN_INVALID),
            (b"alice", b"alice:12345678", CKR_PIN_INVALID),
            (b"\xff", code, CKR_PIN_INVALID),
            (&long, code, CKR_PIN_INVALID),
            // No name: the wallet's only user.
            (b"", b"00000000", CKR_OK),
            (b"nobody", code, CKR_OK),
            (b"alice", code, CKR_OK),
        ] {
            if raw.sign_update(session, &[]) == CKR_OPERATION_NOT_INITIALIZED {
                assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
            }
            assert_rv!(raw.login_user(session, context, pin, name), answer, "{name:?}");
        }
        assert_eq!(stage.failures("alice"), 0, "judged when it signs, and the last one counts");
        assert_rv!(raw.sign_update(session, &psbt), CKR_OK);
        verify_signed(&psbt, &raw.sign_final(session).expect("signs"));
        assert_eq!(stage.failures("alice"), 0);
    });
}

#[test]
fn the_state_of_an_operation_never_leaves_its_session() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let alice = raw.user_key(session, "alice");
        let (mut state, mut len) = ([7u8; 64], 64);
        let bytes = state.as_mut_ptr();
        let mut get = |session, bytes| call!(raw, C_GetOperationState(session, bytes, &mut len));
        assert_rv!(get(session, bytes), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(get(session, bytes), CKR_OPERATION_NOT_INITIALIZED, "that is no cryptographic one");
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OK);

        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
        for bytes in [bytes, ptr::null_mut()] {
            assert_rv!(get(session, bytes), CKR_STATE_UNSAVEABLE, "signing");
        }
        assert_rv!(get(raw.read_only(), bytes), CKR_OPERATION_NOT_INITIALIZED, "of another session");
        let psbt = stage.psbt();
        verify_signed(&psbt, &raw.sign(session, &psbt).expect("it goes on"));
        assert_rv!(get(session, bytes), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(raw.verify_init(session, alice), CKR_OK);
        assert_rv!(get(session, bytes), CKR_STATE_UNSAVEABLE, "verifying");
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_VERIFY)), CKR_OK);
        let mut mechanism = Mechanism::new(CKM_COUNTERSIGN_PSBT, &[]);
        assert_rv!(call_v3!(raw, C_MessageSignInit(session, mechanism.pointer(), key)), CKR_OK);
        assert_rv!(get(session, bytes), CKR_STATE_UNSAVEABLE, "signing messages");
        assert_eq!((state, len), ([7; 64], 64), "nothing is written");

        let bytes = state.as_mut_ptr();
        for len in [0, 64] {
            let set = call!(raw, C_SetOperationState(session, bytes, len, 0, key));
            assert_rv!(set, CKR_SAVED_STATE_INVALID, "there was never one");
        }
        assert_rv!(call_v3!(raw, C_MessageSignFinal(session)), CKR_OK, "what was active stays so");
    });
}

#[test]
fn no_session_claims_to_have_been_validated() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        for kind in [CKS_LAST_VALIDATION_OK, 0, 2, CK_ULONG::MAX] {
            let mut flags = CK_FLAGS::MAX;
            assert_rv!(call_v3_2!(raw, C_GetSessionValidationFlags(session, kind, &mut flags)), CKR_OK);
            assert_eq!(flags, 0, "{kind}");
        }
    });
}

#[test]
fn logging_out_ends_operations_and_hides_private_objects() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let Stage { raw, session, key, .. } = &stage;
        let (session, key) = (*session, *key);
        let public = raw.wallet_public(session, "treasury");
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
        assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(raw.logout(session), CKR_OK);
        assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(raw.attribute(session, key, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
        assert_eq!(raw.attribute(session, public, CKA_LABEL), Ok(b"treasury".to_vec()));

        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        assert_rv!(
            raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key),
            CKR_KEY_HANDLE_INVALID,
            "an old handle stays invalid"
        );
        // The code was never tried, so it is still good.
        let (key, psbt) = (raw.wallet_key(session, "treasury"), stage.psbt());
        verify_signed(&psbt, &raw.countersign(session, key, &record, &psbt).expect("signs"));
    });
}

#[test]
fn closing_the_last_session_logs_out_and_handles_of_private_objects_stay_invalid() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, mut session, mut key) = (&stage.raw, stage.session, stage.key);
        for close_all in [false, true] {
            assert_rv!(if close_all { raw.close_all() } else { raw.close(session) }, CKR_OK);
            session = raw.user();
            assert_rv!(
                raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key),
                CKR_KEY_HANDLE_INVALID,
                "of the login before"
            );
            key = raw.wallet_key(session, "treasury");
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        }
    });
}

#[test]
fn session_cancel_ends_the_operations_that_it_names() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let Stage { raw, session, key, .. } = &stage;
        let (session, key) = (*session, *key);
        let alice = raw.user_key(session, "alice");
        let mut count = 0;
        let mut handles = [0; 4];
        let begin = || {
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
            assert_rv!(raw.verify_init(session, alice), CKR_OK);
            assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0)), CKR_OK);
        };
        begin();
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
        assert_rv!(raw.sign_update(session, b"x"), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_VerifyUpdate(session, ptr::null_mut(), 0)), CKR_OK, "goes on");
        assert_rv!(
            call!(raw, C_FindObjects(session, handles.as_mut_ptr(), 1, &mut count)),
            CKR_OK,
            "goes on"
        );
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_VERIFY | CKF_FIND_OBJECTS)), CKR_OK);
        begin();
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN | CKF_VERIFY | CKF_FIND_OBJECTS)), CKR_OK);
        begin();
        // No flag, flags of operations that the module does not have, and flags without a meaning.
        for flags in [0, CKF_ENCRYPT | CKF_DIGEST | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY, 1 << 40] {
            assert_rv!(call_v3!(raw, C_SessionCancel(session, flags)), CKR_OK);
            assert_rv!(raw.sign_update(session, &[]), CKR_OK, "goes on");
        }
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CK_FLAGS::MAX)), CKR_OK, "all of them");
        begin();
        // A cancelled operation has spent nothing: the code is still good.
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
        let (code, psbt) = (stage.users[0].code(), stage.psbt());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &approval("alice", &code), key), CKR_OK);
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
        verify_signed(&psbt, &stage.sign("alice", &code, &psbt).expect("signs"));
    });
}

#[test]
fn sessions_are_closed_while_others_sign() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, key) = (&stage.raw, stage.key);
        let record = approval("alice", &stage.users[0].wrong_code());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let psbt = stage.psbt();
                scope.spawn(move || {
                    for _ in 0..20 {
                        let session = raw.read_only();
                        let answer = raw.countersign(session, key, &record, &psbt);
                        assert!(matches!(answer, Err(CKR_PIN_INCORRECT | CKR_PIN_LOCKED)), "{answer:?}");
                        assert_rv!(raw.close(session), CKR_OK);
                    }
                });
            }
        });
        assert_eq!(stage.failures("alice"), 3, "charged one after the other, until the wait");
        assert_eq!(raw.token_info().ulSessionCount, 1);
    });
}
