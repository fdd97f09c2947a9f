//! Verifying (PKCS#11 v3.2 section 5.15): a user's code, which confirms an enrolment and is spent.

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use bitcoin::NetworkKind;
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Mechanism, call, call_v3_2};
use harness::module::{
    SO_PIN, Stage, assert_rv, enrol, enrol_confirmed, initialised_token, read_ulong, this_test,
};

use super::in_boundary;

#[test]
fn a_right_code_confirms_and_is_spent_by_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol(&raw, so, "alice");
        let key = raw.user_key(so, "alice");
        let confirmed = || raw.attribute(so, key, CKA_COUNTERSIGN_CONFIRMED);
        assert_eq!(confirmed(), Ok(vec![CK_FALSE]));
        assert_rv!(raw.verify(so, key, &alice.wrong_code()), CKR_PIN_INCORRECT);
        assert_eq!(confirmed(), Ok(vec![CK_FALSE]));
        let code = alice.code();
        assert_rv!(raw.verify(so, key, &code), CKR_OK);
        assert_eq!(confirmed(), Ok(vec![CK_TRUE]));
        assert_rv!(raw.verify(so, key, &code), CKR_PIN_INCORRECT, "otp-replay");
        assert_eq!(read_ulong(&raw, so, key, CKA_COUNTERSIGN_FAILURES), 2);
        assert_eq!(confirmed(), Ok(vec![CK_TRUE]), "a wrong code takes nothing back");
    });
}

#[test]
fn a_verification_begun_with_a_removed_key_does_not_reach_the_users_next_one() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol(&raw, so, "alice");
        let old = raw.user_key(so, "alice");
        assert_rv!(raw.verify_init(so, old), CKR_OK);
        assert_rv!(raw.destroy(so, old), CKR_OK);
        let alice = enrol(&raw, so, "alice");
        let new = raw.user_key(so, "alice");
        let code = alice.code();
        assert_rv!(raw.verify_code(so, &[], code.as_bytes()), CKR_PIN_INCORRECT);
        assert_eq!(raw.attribute(so, new, CKA_COUNTERSIGN_CONFIRMED), Ok(vec![CK_FALSE]));
        assert_eq!(read_ulong(&raw, so, new, CKA_COUNTERSIGN_FAILURES), 0);
        assert_rv!(raw.verify(so, new, &code), CKR_OK, "it is the new key's");
    });
}

#[test]
fn a_code_is_checked_for_the_backend_too() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.user_key(session, "alice");
        let code = stage.users[0].code();
        assert_rv!(raw.verify(session, key, &code), CKR_OK);
        assert_eq!(stage.sign("alice", &code, &stage.psbt()), Err(CKR_PIN_INCORRECT), "it is spent");
    });
}

/// In a wallet whose cosigner must sign first, a backend cannot try codes. It must not be able to try them
/// here instead.
#[test]
fn otp_guess_codes_of_a_user_with_a_cosigner_are_not_checked_for_the_backend() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let path: DerivationPath = "48'/1'/0'/2'".parse().expect("a path");
        let (secp, cosigner) = (Secp256k1::new(), Xpriv::new_master(NetworkKind::Test, &[7; 64]));
        let cosigner = cosigner.expect("a master");
        let fingerprint = cosigner.fingerprint(&secp);
        let xpub = Xpub::from_priv(&secp, &cosigner.derive_priv(&secp, &path).expect("derives"));
        let script = format!("wsh(sortedmulti(2,@0/**,@1/**))\nours\n[{fingerprint}/{path}]{xpub}");
        let policy = format!("unlimited = true\nrequire_cosigner = \"{fingerprint}\"");
        stage.as_so(|raw, so| {
            let template = [
                (CKA_LABEL, b"shared".to_vec()),
                (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
                (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
                (CKA_COUNTERSIGN_POLICY, policy.into_bytes()),
                (CKA_COUNTERSIGN_WALLET_POLICY, script.into_bytes()),
                (CKA_COUNTERSIGN_PATH, format!("m/{path}").into_bytes()),
            ];
            raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[]).expect("made");
        });
        let (raw, session) = (stage.raw, stage.session);
        let [alice, bob] = &stage.users[..] else { panic!("two users") };
        let code = alice.code();
        for tried in [&alice.wrong_code(), &code] {
            let refused = raw.verify(session, raw.user_key(session, "alice"), tried);
            assert_rv!(refused, CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        assert_eq!(stage.failures("alice"), 0);
        assert_rv!(raw.verify(session, raw.user_key(session, "bob"), &bob.code()), CKR_OK, "he has none");
        stage.as_so(|raw, so| {
            assert_rv!(raw.verify(so, raw.user_key(so, "alice"), &code), CKR_OK, "the officer may");
        });
    });
}

#[test]
fn update_and_final_bring_nothing_and_judge_once() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol(&raw, so, "alice");
        let key = raw.user_key(so, "alice");
        let mut code = alice.code().into_bytes();
        let (code, len) = (code.as_mut_ptr(), code.len() as CK_ULONG);
        assert_rv!(raw.verify_init(so, key), CKR_OK);
        assert_rv!(call!(raw, C_VerifyUpdate(so, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(call!(raw, C_VerifyFinal(so, code, len)), CKR_OK);
        assert_rv!(call!(raw, C_VerifyFinal(so, code, len)), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(raw.verify_init(so, key), CKR_OK);
        assert_rv!(call!(raw, C_VerifyUpdate(so, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(raw.verify_code(so, &[], b"12345678"), CKR_OPERATION_ACTIVE, "it was begun in parts");
        assert_rv!(call!(raw, C_VerifyUpdate(so, code, 1)), CKR_DATA_LEN_RANGE);
        assert_rv!(call!(raw, C_VerifyUpdate(so, code, 0)), CKR_OPERATION_NOT_INITIALIZED, "it ended");
    });
}

#[test]
fn a_code_that_comes_first_is_spent_by_the_call_that_answers() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol(&raw, so, "alice");
        let key = raw.user_key(so, "alice");
        let failures = || read_ulong(&raw, so, key, CKA_COUNTERSIGN_FAILURES);
        let answer = || call_v3_2!(raw, C_VerifySignature(so, ptr::null_mut(), 0));
        let update = || call_v3_2!(raw, C_VerifySignatureUpdate(so, ptr::null_mut(), 0));
        let finish = || call_v3_2!(raw, C_VerifySignatureFinal(so));

        assert_rv!(raw.verify_signature_init(so, key, &alice.wrong_code()), CKR_OK, "kept");
        assert_eq!(failures(), 0, "and not looked at");
        assert_rv!(answer(), CKR_PIN_INCORRECT);
        assert_eq!(failures(), 1);
        assert_rv!(answer(), CKR_OPERATION_NOT_INITIALIZED, "it ended");

        let code = alice.code();
        assert_rv!(raw.verify_signature_init(so, key, &code), CKR_OK);
        assert_rv!(raw.logout(so), CKR_OK);
        assert_rv!(raw.login(so, CKU_SO, SO_PIN.as_bytes()), CKR_OK);
        assert_rv!(answer(), CKR_OPERATION_NOT_INITIALIZED, "the logout ended it");
        let key = raw.user_key(so, "alice");
        assert_rv!(raw.verify_signature_init(so, key, &code), CKR_OK);
        assert_rv!(update(), CKR_OK);
        assert_rv!(answer(), CKR_OPERATION_ACTIVE, "it was begun in parts");
        assert_rv!(finish(), CKR_OK, "the right one, which nothing had spent");
        assert_rv!(finish(), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(raw.attribute(so, key, CKA_COUNTERSIGN_CONFIRMED), Ok(vec![CK_TRUE]));
        assert_rv!(raw.verify_signature_init(so, key, &code), CKR_OK);
        assert_rv!(answer(), CKR_PIN_INCORRECT, "otp-replay");
    });
}

#[test]
fn a_verification_is_ended_by_the_functions_that_it_was_begun_for() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let alice = raw.user_key(session, "alice");
        let code = stage.users[0].code();
        let (none, mut byte) = (ptr::null_mut::<u8>(), 0u8);
        assert_rv!(raw.verify_signature_init(session, alice, &code), CKR_OK);
        assert_rv!(raw.verify_signature_init(session, alice, &code), CKR_OPERATION_ACTIVE);
        assert_rv!(raw.verify_init(session, alice), CKR_OPERATION_ACTIVE, "one verification at a time");
        assert_rv!(raw.verify_code(session, &[], code.as_bytes()), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_VerifyUpdate(session, none, 0)), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_VerifyFinal(session, none, 0)), CKR_OPERATION_NOT_INITIALIZED);
        let refused = call_v3_2!(raw, C_VerifySignatureUpdate(session, &mut byte, 1));
        assert_rv!(refused, CKR_DATA_LEN_RANGE, "it was still there");
        assert_rv!(call_v3_2!(raw, C_VerifySignatureFinal(session)), CKR_OPERATION_NOT_INITIALIZED, "ended");

        assert_rv!(raw.verify_init(session, alice), CKR_OK);
        for _ in 0..2 {
            let answers = [
                call_v3_2!(raw, C_VerifySignature(session, none, 0)),
                call_v3_2!(raw, C_VerifySignatureUpdate(session, none, 0)),
                call_v3_2!(raw, C_VerifySignatureFinal(session)),
            ];
            assert_eq!(answers, [CKR_OPERATION_NOT_INITIALIZED; 3]);
        }
        assert_rv!(call!(raw, C_VerifyUpdate(session, none, 0)), CKR_OK, "it was still there");
        let null = ptr::null_mut();
        assert_rv!(call_v3_2!(raw, C_VerifySignatureInit(session, null, 0, none, 0)), CKR_OK, "ends it");
        assert_rv!(raw.verify_code(session, &[], code.as_bytes()), CKR_OPERATION_NOT_INITIALIZED);

        // A malformed code is not a wrong one, and ends the operation.
        for (text, refusal) in [
            ("1234567 ", CKR_SIGNATURE_INVALID),
            ("12345", CKR_SIGNATURE_LEN_RANGE),
            ("", CKR_SIGNATURE_LEN_RANGE),
        ] {
            assert_rv!(raw.verify_signature_init(session, alice, text), CKR_OK);
            assert_rv!(call_v3_2!(raw, C_VerifySignature(session, none, 0)), refusal, "{text:?}");
        }
        assert_rv!(raw.verify_signature_init(session, alice, &"1".repeat(300)), CKR_SIGNATURE_LEN_RANGE);
        let mut mechanism = Mechanism::new(CKM_COUNTERSIGN_TOTP, &[]);
        let rv = call_v3_2!(raw, C_VerifySignatureInit(session, mechanism.pointer(), alice, none, 8));
        assert_rv!(rv, CKR_ARGUMENTS_BAD);
        assert_rv!(raw.verify_signature_init(session, stage.key, &code), CKR_KEY_TYPE_INCONSISTENT);
        assert_rv!(call_v3_2!(raw, C_VerifySignatureFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(stage.failures("alice"), 0);
        assert_rv!(raw.verify_signature_init(session, alice, &code), CKR_OK);
        assert_rv!(call_v3_2!(raw, C_VerifySignatureFinal(session)), CKR_OK, "for the backend too");
    });
}

#[test]
fn otp_blank_text_that_is_no_code_is_malformed_and_not_charged() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol(&raw, so, "alice");
        let key = raw.user_key(so, "alice");
        let code = alice.code();
        for (text, wanted) in [
            (format!(" {}", &code[1..]), CKR_SIGNATURE_INVALID),
            (format!("{} ", &code[..7]), CKR_SIGNATURE_INVALID),
            (format!("+{}", &code[1..]), CKR_SIGNATURE_INVALID),
            (format!("{}\n", &code[..7]), CKR_SIGNATURE_INVALID),
            ("٣٣٣٣".into(), CKR_SIGNATURE_INVALID),
            ("12345".into(), CKR_SIGNATURE_LEN_RANGE),
            (format!("{code}0"), CKR_SIGNATURE_LEN_RANGE),
            (format!(" {code}"), CKR_SIGNATURE_LEN_RANGE),
            (String::new(), CKR_SIGNATURE_LEN_RANGE),
            ("1".repeat(300), CKR_SIGNATURE_LEN_RANGE),
        ] {
            assert_rv!(raw.verify(so, key, &text), wanted, "{text:?}");
            // A code that is too long is refused before the operation is considered. End the operation, if it
            // is still active.
            assert_rv!(call!(raw, C_VerifyInit(so, ptr::null_mut(), key)), CKR_OK);
        }
        assert_rv!(raw.verify_init(so, key), CKR_OK);
        assert_rv!(raw.verify_code(so, b"data", code.as_bytes()), CKR_DATA_LEN_RANGE);
        assert_eq!(read_ulong(&raw, so, key, CKA_COUNTERSIGN_FAILURES), 0);
        assert_rv!(raw.verify(so, key, &code), CKR_OK, "nothing of it was spent");
    });
}

#[test]
fn the_order_and_the_arguments_are_checked() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let alice = raw.user_key(session, "alice");
        let init = |mechanism, parameter: &[u8], key| {
            call!(raw, C_VerifyInit(session, Mechanism::new(mechanism, parameter).pointer(), key))
        };
        assert_rv!(raw.verify_code(session, &[], b"123456"), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(init(CKM_COUNTERSIGN_PSBT, &[], alice), CKR_MECHANISM_INVALID);
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[1], alice), CKR_MECHANISM_PARAM_INVALID);
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], 9_999), CKR_KEY_HANDLE_INVALID);
        let public = raw.wallet_public(session, "treasury");
        for key in [stage.key, public] {
            assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], key), CKR_KEY_TYPE_INCONSISTENT);
        }
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_OK);
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_OPERATION_ACTIVE);
        assert_rv!(call!(raw, C_VerifyInit(session, ptr::null_mut(), 0)), CKR_OK, "it ends the operation");
        assert_rv!(raw.verify_code(session, &[], b"123456"), CKR_OPERATION_NOT_INITIALIZED);

        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_OK);
        let mut code = *b"123456";
        assert_rv!(
            call!(raw, C_Verify(session, ptr::null_mut(), 4, code.as_mut_ptr(), 6)),
            CKR_ARGUMENTS_BAD
        );
        assert_rv!(raw.verify_code(session, &[], b"123456"), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_OK);
        assert_rv!(call!(raw, C_Verify(session, ptr::null_mut(), 0, ptr::null_mut(), 6)), CKR_ARGUMENTS_BAD);
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_OK, "it ended");
        assert_rv!(
            call!(raw, C_Verify(session, ptr::null_mut(), 0, code.as_mut_ptr(), 256)),
            CKR_SIGNATURE_LEN_RANGE
        );
        assert_rv!(raw.verify_code(session, &[], b"123456"), CKR_OPERATION_NOT_INITIALIZED, "it ended");
        assert_eq!(stage.failures("alice"), 0);
        assert_rv!(raw.logout(session), CKR_OK);
        assert_rv!(init(CKM_COUNTERSIGN_TOTP, &[], alice), CKR_USER_NOT_LOGGED_IN);
    });
}

#[test]
fn otp_guess_a_user_in_back_off_is_no_oracle() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol(&raw, so, "alice");
        let bob = enrol_confirmed(&raw, so, "bob");
        let key = raw.user_key(so, "alice");
        for _ in 0..3 {
            assert_rv!(raw.verify(so, key, &alice.wrong_code()), CKR_PIN_INCORRECT);
        }
        assert_eq!(raw.attribute(so, key, CKA_COUNTERSIGN_LOCKED), Ok(vec![CK_TRUE]));
        assert_rv!(raw.verify(so, key, &alice.wrong_code()), CKR_PIN_LOCKED);
        assert_rv!(raw.verify(so, key, &alice.code()), CKR_PIN_LOCKED, "right or wrong");
        assert_eq!(read_ulong(&raw, so, key, CKA_COUNTERSIGN_FAILURES), 3, "neither was looked at");
        assert_rv!(raw.verify(so, raw.user_key(so, "bob"), &bob.code()), CKR_OK, "each user alone");
    });
}
