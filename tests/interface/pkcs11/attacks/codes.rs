//! Attempts to get a signature that no code was given for: authorisations moved, kept, doubled, or given by
//! somebody else.

use harness::module::raw::{call_v3, call_v3_2};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{LIMITS, USER_PIN, approval, create_wallet, enrol_confirmed, this_test};

use super::super::in_boundary;
use super::*;

#[test]
fn operation_state_is_not_transplanted_with_its_authorisation() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (code, other) = (stage.users[0].code(), raw.read_write());
        let record = approval("alice", &code);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        let (mut state, mut len) = ([0x5a; 4_096], 4_096);
        let rv = call!(raw, C_GetOperationState(session, state.as_mut_ptr(), &mut len));
        assert_rv!(rv, CKR_STATE_UNSAVEABLE);
        assert_eq!((state, len), ([0x5a; 4_096], 4_096), "something was written");
        assert_rv!(
            call!(raw, C_GetOperationState(session, ptr::null_mut(), &mut len)),
            CKR_STATE_UNSAVEABLE,
            "its length alone"
        );
        // An invented authorisation does not work either: an empty one, or one that an attacker makes up.
        for key in [stage.key, 0] {
            for state in [&mut [0x5a; 4_096][..], &mut [0; 1], &mut record.clone()] {
                for to in [other, session] {
                    let (pointer, len) = (state.as_mut_ptr(), state.len() as CK_ULONG);
                    let rv = call!(raw, C_SetOperationState(to, pointer, len, 0, key));
                    assert_rv!(rv, CKR_SAVED_STATE_INVALID);
                }
            }
        }
        assert_eq!(raw.sign(other, &stage.psbt()), Err(CKR_OPERATION_NOT_INITIALIZED), "nothing arrived");
        assert!(countersigned(boundary).is_empty());
        // The operation is unchanged.
        let psbt = stage.psbt();
        verify_signed(&psbt, &raw.sign(session, &psbt).expect("signs"));
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
    });
}

#[test]
fn a_context_login_authorises_no_other_session() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (code, other) = (stage.users[0].code(), raw.read_write());
        for of in [session, other] {
            assert_rv!(raw.sign_init(of, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        }
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes()), CKR_OK);
        assert_eq!(raw.sign(other, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "no code came there");
        assert!(countersigned(boundary).is_empty());
        let psbt = stage.psbt();
        verify_signed(&psbt, &raw.sign(session, &psbt).expect("signs where it came"));
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
    });
}

#[test]
fn a_context_login_before_or_after_the_operation_authorises_nothing() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let code = stage.users[0].code();
        let login = || raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes());
        assert_rv!(login(), CKR_OPERATION_NOT_INITIALIZED, "before");
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "it was not kept");
        assert_rv!(login(), CKR_OPERATION_NOT_INITIALIZED, "after");
        // A code that was attached to a cancelled operation does not reach the next one.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_rv!(login(), CKR_OK);
        assert_rv!(call_v3!(raw, C_SessionCancel(session, CKF_SIGN)), CKR_OK);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "it was not carried on");
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &code);
    });
}

#[test]
fn data_that_is_swapped_after_the_authorisation_is_judged_as_it_is_signed() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let mut shown = stage.psbt();
        let greedy = Payment { pay: 200_000, ..Payment::default() }.psbt(&stage.descriptor);
        let alice = approval("alice", &stage.users[0].code());
        // The length is asked for with data that the policy allows. Then data that it does not allow is given
        // to sign.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &alice, stage.key), CKR_OK);
        let mut bound = 0;
        let (data, len) = (shown.as_mut_ptr(), shown.len() as CK_ULONG);
        assert_rv!(call!(raw, C_Sign(session, data, len, ptr::null_mut(), &mut bound)), CKR_OK);
        assert_eq!(raw.sign(session, &greedy), Err(CKR_COUNTERSIGN_POLICY));
        // The code is spent on that data. It does not sign the data that was shown.
        let refused = raw.countersign(session, stage.key, &alice, &shown);
        assert_eq!(refused, Err(CKR_PIN_INCORRECT));
        assert!(countersigned(boundary).is_empty());

        // Once data was given in parts, no other data can be given as a whole.
        let bob = approval("bob", &stage.users[1].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &bob, stage.key), CKR_OK);
        assert_rv!(raw.sign_update(session, &shown), CKR_OK);
        assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_OPERATION_ACTIVE));
        verify_signed(&shown, &raw.sign_final(session).expect("the parts"));
        assert_eq!(countersigned(boundary), [txid(&shown)]);
    });
}

#[test]
fn one_authorisation_is_not_two_operations() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (first, second) = (stage.psbt(), stage.psbt());
        // The same record in two sessions, before either is judged.
        let (record, other) = (approval("alice", &stage.users[0].code()), raw.read_write());
        for of in [session, other] {
            assert_rv!(raw.sign_init(of, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        }
        verify_signed(&first, &raw.sign(session, &first).expect("the first"));
        assert_eq!(raw.sign(session, &second), Err(CKR_OPERATION_NOT_INITIALIZED), "it ended with the first");
        assert_eq!(raw.sign(other, &second), Err(CKR_PIN_INCORRECT), "it is spent");
        // One context login, and a second signature without another login.
        let bob = stage.users[1].code();
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        let pin = format!("bob:{bob}");
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()), CKR_OK);
        verify_signed(&second, &raw.sign(session, &second).expect("the second"));
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "each time again");
        assert_eq!(countersigned(boundary), [txid(&first), txid(&second)]);
    });
}

#[test]
fn a_code_that_a_verification_holds_is_one_code_all_the_same() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let verify = || call_v3_2!(raw, C_VerifySignature(session, ptr::null_mut(), 0));
        // A code in use at the same time is spent when it is judged.
        let (psbt, code) = (stage.psbt(), stage.users[0].code());
        let alice = raw.user_key(session, "alice");
        assert_rv!(raw.verify_signature_init(session, alice, &code), CKR_OK);
        verify_signed(&psbt, &stage.sign("alice", &code, &psbt).expect("signs"));
        assert_rv!(verify(), CKR_PIN_INCORRECT);
        // After it is judged, it signs nothing more.
        let (other, code) = (stage.psbt(), stage.users[1].code());
        assert_rv!(raw.verify_signature_init(session, raw.user_key(session, "bob"), &code), CKR_OK);
        let rv = raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &approval("bob", &code), stage.key);
        assert_rv!(rv, CKR_OK);
        assert_rv!(verify(), CKR_OK);
        assert_eq!(raw.sign(session, &other), Err(CKR_PIN_INCORRECT));
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
    });
}

#[test]
fn logging_out_and_in_again_leaves_no_authorisation_behind() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let code = stage.users[0].code();
        for parameter in [approval("alice", &code).to_vec(), vec![]] {
            let key = raw.wallet_key(session, "treasury");
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &parameter, key), CKR_OK);
            if parameter.is_empty() {
                assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes()), CKR_OK);
            }
            assert_rv!(raw.logout(session), CKR_OK);
            assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_OPERATION_NOT_INITIALIZED), "logged out");
            assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
            assert_eq!(raw.sign(session, &stage.psbt()), Err(CKR_OPERATION_NOT_INITIALIZED), "and in again");
        }
        assert!(countersigned(boundary).is_empty());
        let psbt = stage.psbt();
        let key = raw.wallet_key(session, "treasury");
        let signed = raw.countersign(session, key, &approval("alice", &code), &psbt);
        verify_signed(&psbt, &signed.expect("the code is as good as before"));
    });
}

#[test]
fn the_code_of_a_user_of_another_wallet_authorises_nothing() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice"]);
        let mut mallory = None;
        stage.as_so(|raw, so| {
            mallory = Some(enrol_confirmed(raw, so, "mallory"));
            create_wallet(raw, so, "hers", &["mallory"], LIMITS);
        });
        let (raw, session, mallory) = (stage.raw, stage.session, mallory.expect("made"));
        let (code, psbt) = (mallory.code(), stage.psbt());
        assert_eq!(stage.sign("mallory", &code, &psbt), Err(CKR_PIN_INCORRECT), "by her name");
        assert_eq!(stage.sign("alice", &code, &psbt), Err(CKR_PIN_INCORRECT), "by another's");
        assert_eq!(stage.sign("", &code, &psbt), Err(CKR_PIN_INCORRECT), "by none");
        // The PSBT of one wallet with the key of another, whose user she is.
        let hers = raw.wallet_key(session, "hers");
        let refused = raw.countersign(session, hers, &approval("mallory", &code), &psbt);
        assert_eq!(refused, Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert!(countersigned(boundary).is_empty());
        stage.as_so(|raw, so| {
            let unlock = [(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])];
            assert_rv!(raw.set_attributes(so, raw.user_key(so, "alice"), &unlock), CKR_OK);
        });
        still_signs(boundary, &stage, "alice", &stage.users[0].code());
    });
}

#[test]
fn closing_while_it_signs_leaves_no_signature_that_was_not_paid_for() {
    in_boundary(this_test!(), |boundary| {
        let names = ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"];
        let stage = Stage::new(&names);
        let raw = stage.raw;
        let mut signed = Vec::new();
        for user in &stage.users {
            let session = raw.read_write();
            let record = approval(user.name(), &user.code());
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
            let psbt = stage.psbt();
            let start = std::sync::Barrier::new(2);
            let answer = std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    assert_rv!(raw.close(session), CKR_OK);
                });
                start.wait();
                raw.sign(session, &psbt)
            });
            match answer {
                Ok(bytes) => {
                    verify_signed(&psbt, &bytes);
                    signed.push(txid(&psbt));
                }
                // A client may have dropped the operation before the session is closed.
                Err(rv) => {
                    let gone = [CKR_SESSION_HANDLE_INVALID, CKR_OPERATION_NOT_INITIALIZED];
                    assert!(gone.contains(&rv), "answered {rv:#x}");
                }
            }
            assert_eq!(raw.sign(session, &psbt), Err(CKR_SESSION_HANDLE_INVALID), "and it is closed");
        }
        assert_eq!(
            countersigned(boundary),
            signed,
            "each that came out was paid for, and each paid for came out"
        );
    });
}
