//! The other factors than time steps, through the C interface.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::counting::Counting;
use harness::module::raw::Raw;
use harness::module::wallet::verify_signed;
use harness::module::{
    LIMITS, Stage, approval_by, assert_rv, create_wallet, initialised_token, read_ulong, this_test, ulong,
};

use super::in_boundary;

const HOTP: u8 = 3;

/// Enrols a user of HOTP, who has not confirmed.
fn enrol(raw: &Raw, so: CK_SESSION_HANDLE, name: &str) -> Counting {
    let template = [(CKA_LABEL, name.as_bytes().to_vec()), (CKA_COUNTERSIGN_FACTOR, ulong(HOTP.into()))];
    let user = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template).expect("made");
    let uri = raw.attribute(so, user, CKA_COUNTERSIGN_OTPAUTH_URI).expect("shown once");
    assert_eq!(raw.attribute(so, user, CKA_COUNTERSIGN_OTPAUTH_URI), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(read_ulong(raw, so, user, CKA_COUNTERSIGN_FACTOR), CK_ULONG::from(HOTP));
    assert_eq!(read_ulong(raw, so, user, CKA_OTP_LENGTH), 8);
    assert_eq!(raw.attribute(so, user, CKA_OTP_TIME_INTERVAL), Ok(vec![]));
    Counting::scan(&String::from_utf8(uri).expect("ASCII"))
}

fn stage() -> (Stage, Counting) {
    let raw = initialised_token();
    let so = raw.so();
    let alice = enrol(&raw, so, "alice");
    assert_rv!(raw.verify(so, raw.user_key(so, "alice"), &alice.code(0)), CKR_OK);
    let descriptor = create_wallet(&raw, so, "treasury", &["alice"], LIMITS);
    assert_rv!(raw.close_all(), CKR_OK);
    let session = raw.user();
    let key = raw.wallet_key(session, "treasury");
    (Stage { raw, session, key, descriptor, users: vec![] }, alice)
}

#[test]
fn a_counters_code_signs_by_both_ways_to_attach_it_and_once() {
    in_boundary(this_test!(), |_| {
        let (stage, alice) = stage();
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let sign = |factor, code: &str, psbt: &[u8]| {
            raw.countersign(session, key, &approval_by(factor, "alice", code), psbt)
        };
        let psbt = stage.psbt();
        verify_signed(&psbt, &sign(HOTP, &alice.code(1), &psbt).expect("by the parameter"));
        assert_eq!(sign(HOTP, &alice.code(1), &stage.psbt()), Err(CKR_PIN_INCORRECT), "otp-replay");
        assert_eq!(sign(1, &alice.code(2), &stage.psbt()), Err(CKR_PIN_INCORRECT), "otp-kind");
        assert_eq!(stage.failures("alice"), 2);
        let psbt = stage.psbt();
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        let pin = format!("alice:{}", alice.code(2));
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, pin.as_bytes()), CKR_OK);
        verify_signed(&psbt, &raw.sign(session, &psbt).expect("by the login"));
    });
}

#[test]
fn two_codes_in_a_row_resynchronise_a_counter() {
    in_boundary(this_test!(), |_| {
        let (stage, alice) = stage();
        let (raw, session) = (&stage.raw, stage.session);
        let user = raw.user_key(session, "alice");
        let sign = |counter| {
            let record = approval_by(HOTP, "alice", &alice.code(counter));
            raw.countersign(session, stage.key, &record, &stage.psbt())
        };
        assert_eq!(sign(500), Err(CKR_PIN_INCORRECT), "too far ahead");
        assert_rv!(raw.verify(session, user, &alice.pair(500)), CKR_OK);
        assert_rv!(raw.verify(session, user, &alice.pair(500)), CKR_PIN_INCORRECT, "otp-replay");
        assert!(sign(502).is_ok());
        for malformed in ["123456789", "123456781234567", "1234567a12345678"] {
            let rv = raw.verify(session, user, malformed);
            assert!([CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID].contains(&rv), "{rv:#x}");
        }
        assert_eq!(stage.failures("alice"), 2, "what is malformed is no try");
    });
}

#[test]
fn a_factor_that_nobody_knows_and_a_counter_with_a_time_step_are_refused() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = |further: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]| {
            let template = [&[(CKA_LABEL, b"alice".to_vec())], further].concat();
            raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template)
        };
        let factor = |number| (CKA_COUNTERSIGN_FACTOR, ulong(number));
        for number in [0, 2, 6, 31, 256, 259] {
            assert_eq!(alice(&[factor(number)]), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{number}");
        }
        for other in [
            (CKA_OTP_TIME_INTERVAL, ulong(30)),
            (CKA_OTP_LENGTH, ulong(6)),
            (CKA_COUNTERSIGN_OTP_HASH, ulong(CKM_SHA256)),
        ] {
            assert_eq!(alice(&[factor(HOTP.into()), other]), Err(CKR_TEMPLATE_INCONSISTENT));
        }
        assert!(alice(&[factor(1)]).is_ok());
    });
}
