//! Templates (PKCS#11 v3.2 section 4.1): each mistake has its own answer.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Raw};
use harness::module::{
    LIMITS, USER_PIN, assert_rv, create_wallet, enrol_confirmed, initialised_token, this_test, ulong,
};

use super::in_boundary;

const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// One more attribute, and the answer to a template that would be right without it.
type Case = (CK_ATTRIBUTE_TYPE, Vec<u8>, CK_RV);

fn yes() -> Vec<u8> {
    vec![CK_TRUE]
}

fn no() -> Vec<u8> {
    vec![CK_FALSE]
}

/// Attributes that only the token sets, and attributes that no object has: the same for every object that is
/// made.
fn for_every_key() -> Vec<Case> {
    vec![
        (CKA_LOCAL, yes(), CKR_ATTRIBUTE_READ_ONLY),
        (CKA_KEY_GEN_MECHANISM, ulong(CKM_AES_KEY_GEN), CKR_ATTRIBUTE_READ_ONLY),
        (CKA_UNIQUE_ID, b"mine".to_vec(), CKR_ATTRIBUTE_READ_ONLY),
        (CKA_OBJECT_VALIDATION_FLAGS, ulong(1), CKR_ATTRIBUTE_READ_ONLY),
        (CKA_MODULUS, vec![1], CKR_TEMPLATE_INCONSISTENT),
        (CKA_APPLICATION, vec![], CKR_TEMPLATE_INCONSISTENT),
        (CKA_PROFILE_ID, ulong(1), CKR_TEMPLATE_INCONSISTENT),
        (CKA_HW_FEATURE_TYPE, ulong(CKH_CLOCK), CKR_TEMPLATE_INCONSISTENT),
        (CKA_COUNTERSIGN_CLOCK_REFUSAL, vec![], CKR_TEMPLATE_INCONSISTENT),
        (CKA_VENDOR_DEFINED, vec![], CKR_ATTRIBUTE_TYPE_INVALID),
        (0xC353_0FFF, vec![], CKR_ATTRIBUTE_TYPE_INVALID),
        (CKA_TOKEN, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_TOKEN, vec![], CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_MODIFIABLE, ulong(1), CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_LABEL, vec![0xc3, 0x28], CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_KEY_TYPE, vec![3], CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_START_DATE, b"2026-11-".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_END_DATE, b"2026".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
        (CKA_DERIVE, yes(), CKR_TEMPLATE_INCONSISTENT),
    ]
}

/// `good` with one more attribute, which replaces one of the same type.
fn with(good: &[Attribute], kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Vec<Attribute> {
    let kept = good.iter().filter(|(other, _)| *other != kind).cloned();
    kept.chain([(kind, value.to_vec())]).collect()
}

fn without(good: &[Attribute], kind: CK_ATTRIBUTE_TYPE) -> Vec<Attribute> {
    good.iter().filter(|(other, _)| *other != kind).cloned().collect()
}

#[test]
fn each_mistake_in_the_template_of_a_user_has_its_own_answer() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let good = [(CKA_LABEL, b"alice".to_vec())];
        let make = |template: &[Attribute]| {
            raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, template).err().unwrap_or(CKR_OK)
        };
        let cases = [
            (CKA_ALWAYS_SENSITIVE, yes(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_NEVER_EXTRACTABLE, yes(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_COUNTERSIGN_LOCKED, no(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EC_PARAMS, SECP256K1.to_vec(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_SENSITIVE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EXTRACTABLE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_PRIVATE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_COPYABLE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_WRAP_WITH_TRUSTED, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_TRUSTED, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_VALUE, vec![0; 20], CKR_TEMPLATE_INCONSISTENT),
            (CKA_VALUE_LEN, ulong(32), CKR_TEMPLATE_INCONSISTENT),
            (CKA_VALUE_LEN, vec![20], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_START_DATE, b"20261121".to_vec(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_UNWRAP_TEMPLATE, vec![0; 24], CKR_TEMPLATE_INCONSISTENT),
            (CKA_UNWRAP_TEMPLATE, vec![0; 23], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_OTP_PIN_REQUIREMENT, ulong(CK_OTP_PARAM_MANDATORY), CKR_TEMPLATE_INCONSISTENT),
            (CKA_OTP_FORMAT, ulong(CK_OTP_FORMAT_BINARY), CKR_TEMPLATE_INCONSISTENT),
            (CKA_OTP_USER_IDENTIFIER, vec![0xff], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_OTP_USER_IDENTIFIER, b"bob".to_vec(), CKR_TEMPLATE_INCONSISTENT),
        ];
        for (kind, value, wanted) in cases.into_iter().chain(for_every_key()) {
            assert_rv!(make(&with(&good, kind, &value)), wanted, "{kind:#x} {value:x?}");
        }
        assert_rv!(make(&[]), CKR_TEMPLATE_INCOMPLETE);
        assert_rv!(make(&[good[0].clone(), (CKA_LABEL, b"bob".to_vec())]), CKR_TEMPLATE_INCONSISTENT);
        assert_eq!(raw.find(so, &[(CKA_LOCAL, yes())]), Ok(vec![]), "nothing was made");

        // A template may give the values that the module decides, even twice.
        let repeated = [
            (CKA_LABEL, b"alice".to_vec()),
            (CKA_LABEL, b"alice".to_vec()),
            (CKA_OTP_USER_IDENTIFIER, b"alice".to_vec()),
            (CKA_VALUE_LEN, ulong(20)),
            (CKA_TOKEN, yes()),
            (CKA_TOKEN, yes()),
            (CKA_WRAP_TEMPLATE, vec![]),
            (CKA_START_DATE, vec![]),
            (CKA_OTP_TIME_REQUIREMENT, ulong(CK_OTP_PARAM_IGNORED)),
        ];
        assert_rv!(make(&repeated), CKR_OK);
    });
}

#[test]
fn each_mistake_in_the_templates_of_a_wallet_has_its_own_answer() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol_confirmed(&raw, so, "alice");
        let good: Vec<Attribute> = vec![
            (CKA_LABEL, b"w".to_vec()),
            (CKA_COUNTERSIGN_NETWORK, b"signet".to_vec()),
            (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
            (CKA_COUNTERSIGN_POLICY, LIMITS.as_bytes().to_vec()),
        ];
        let make = |public: &[Attribute], private: &[Attribute]| {
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, public, private);
            made.err().unwrap_or(CKR_OK)
        };
        let on_both_sides = [
            (CKA_COUNTERSIGN_DESCRIPTOR, vec![], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_PUBLIC_KEY_INFO, vec![], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_COUNTERSIGN_CONFIRMED, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_OTP_LENGTH, ulong(6), CKR_TEMPLATE_INCONSISTENT),
            (CKA_CLASS, ulong(CKO_DATA), CKR_TEMPLATE_INCONSISTENT),
            (CKA_KEY_TYPE, ulong(CKK_RSA), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EC_PARAMS, P256.to_vec(), CKR_CURVE_NOT_SUPPORTED),
            (CKA_EC_PARAMS, b"secp256k1".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_EC_PARAMS, vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_DESTROYABLE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_SUBJECT, vec![0x30, 0], CKR_TEMPLATE_INCONSISTENT),
        ];
        let of_public = [
            (CKA_SIGN, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_SENSITIVE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EC_POINT, vec![], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_ENCRYPT, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_TRUSTED, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_VERIFY, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_PRIVATE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_WRAP_TEMPLATE, vec![0; 48], CKR_TEMPLATE_INCONSISTENT),
            (CKA_UNWRAP_TEMPLATE, vec![], CKR_TEMPLATE_INCONSISTENT),
        ];
        let of_private = [
            (CKA_ALWAYS_SENSITIVE, yes(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_NEVER_EXTRACTABLE, yes(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_VALUE, vec![1; 32], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_VERIFY, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EC_POINT, vec![], CKR_TEMPLATE_INCONSISTENT),
            (CKA_SENSITIVE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EXTRACTABLE, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_ALWAYS_AUTHENTICATE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_PRIVATE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_DERIVE_TEMPLATE, vec![0; 24], CKR_TEMPLATE_INCONSISTENT),
            (CKA_LABEL, b"other".to_vec(), CKR_TEMPLATE_INCONSISTENT),
        ];
        for (kind, value, wanted) in of_public.into_iter().chain(on_both_sides.clone()).chain(for_every_key())
        {
            let answer = make(&with(&good, kind, &value), &[]);
            assert_rv!(answer, wanted, "public {kind:#x} {value:x?}");
        }
        for (kind, value, wanted) in of_private.into_iter().chain(on_both_sides).chain(for_every_key()) {
            assert_rv!(make(&good, &[(kind, value.clone())]), wanted, "private {kind:#x} {value:x?}");
        }
        for (kind, _) in &good {
            assert_rv!(make(&without(&good, *kind), &[]), CKR_TEMPLATE_INCOMPLETE, "{kind:#x}");
        }
        assert_eq!(raw.find(so, &[(CKA_CLASS, ulong(CKO_PRIVATE_KEY))]), Ok(vec![]), "nothing was made");
        assert_rv!(
            make(&good, &[good[0].clone(), good[0].clone(), (CKA_EC_PARAMS, SECP256K1.to_vec())]),
            CKR_OK
        );
    });
}

#[test]
fn each_mistake_in_the_template_of_a_session_object_has_its_own_answer() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_write();
        let hex = |text: String| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
        let data = [(CKA_CLASS, ulong(CKO_DATA))];
        let key = [
            (CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
            (CKA_KEY_TYPE, ulong(CKK_EC)),
            (CKA_EC_PARAMS, SECP256K1.to_vec()),
            (CKA_EC_POINT, hex(format!("042102{X}"))),
        ];
        let make = |template: &[Attribute]| raw.create(session, template).err().unwrap_or(CKR_OK);
        for (kind, value, wanted) in [
            (CKA_CLASS, vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_CLASS, vec![0], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_CLASS, ulong(99), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_CLASS, ulong(CKO_VENDOR_DEFINED | 1), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_UNIQUE_ID, b"mine".to_vec(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_KEY_TYPE, ulong(CKK_EC), CKR_TEMPLATE_INCONSISTENT),
            (CKA_COUNTERSIGN_POLICY, vec![], CKR_TEMPLATE_INCONSISTENT),
            (0x8000_0001, vec![], CKR_ATTRIBUTE_TYPE_INVALID),
            (CKA_PRIVATE, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_COPYABLE, vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_LABEL, vec![0xff], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_APPLICATION, vec![0xff], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_OBJECT_ID, b"1.3.132.0.10".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_OBJECT_ID, vec![6, 2, 42], CKR_ATTRIBUTE_VALUE_INVALID),
        ] {
            assert_rv!(make(&with(&data, kind, &value)), wanted, "data {kind:#x} {value:x?}");
        }
        let cases = [
            (CKA_EC_PARAMS, P256.to_vec(), CKR_CURVE_NOT_SUPPORTED),
            (CKA_EC_PARAMS, vec![5, 0], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_EC_POINT, hex(format!("02{X}")), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_EC_POINT, hex(format!("042102{}", "ff".repeat(32))), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_EC_POINT, vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_PUBLIC_KEY_INFO, vec![0x30, 0], CKR_TEMPLATE_INCONSISTENT),
            (CKA_KEY_TYPE, ulong(CKK_RSA), CKR_TEMPLATE_INCONSISTENT),
            (CKA_SIGN, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_VALUE, vec![1; 32], CKR_TEMPLATE_INCONSISTENT),
            (CKA_WRAP, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_TRUSTED, yes(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_VERIFY, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_ALLOWED_MECHANISMS, vec![1], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_WRAP_TEMPLATE, vec![0; 24], CKR_TEMPLATE_INCONSISTENT),
            (CKA_ENCAPSULATE_TEMPLATE, vec![0; 7], CKR_ATTRIBUTE_VALUE_INVALID),
        ];
        for (kind, value, wanted) in cases.into_iter().chain(for_every_key()) {
            assert_rv!(make(&with(&key, kind, &value)), wanted, "key {kind:#x} {value:x?}");
        }
        for (kind, _) in &key {
            assert_rv!(make(&without(&key, *kind)), CKR_TEMPLATE_INCOMPLETE, "{kind:#x}");
        }
        let contradictory = [key.to_vec(), vec![(CKA_ID, vec![1]), (CKA_ID, vec![2])]].concat();
        assert_rv!(make(&contradictory), CKR_TEMPLATE_INCONSISTENT);
        assert_rv!(make(&[]), CKR_TEMPLATE_INCOMPLETE);
        assert_eq!(raw.find(session, &[(CKA_TOKEN, no())]), Ok(vec![]), "nothing was made");
        let repeated = [key.to_vec(), key.to_vec()].concat();
        assert_rv!(make(&repeated), CKR_OK, "the same twice is the same");
    });
}

/// Attributes that nobody can change on any object.
const FIXED: [CK_ATTRIBUTE_TYPE; 4] = [CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_UNIQUE_ID];

/// Sets each alone, and together with a change that would be right. Nothing of it may be done.
fn refuse_changes(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    right: &Attribute,
    cases: &[Case],
) {
    let before = raw.attribute(session, object, right.0);
    for (kind, value, wanted) in cases {
        let wrong = (*kind, value.clone());
        assert_rv!(
            raw.set_attributes(session, object, core::slice::from_ref(&wrong)),
            *wanted,
            "{kind:#x} {value:x?}"
        );
        for template in [[right.clone(), wrong.clone()], [wrong.clone(), right.clone()]] {
            assert_rv!(raw.set_attributes(session, object, &template), *wanted, "{kind:#x} beside another");
        }
        assert_eq!(raw.attribute(session, object, right.0), before, "all or nothing");
    }
}

#[test]
fn a_change_is_done_as_a_whole_or_refused_by_its_own_answer() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol_confirmed(&raw, so, "alice");
        create_wallet(&raw, so, "hot", &["alice"], LIMITS);
        let label = (CKA_LABEL, b"other".to_vec());
        let never = |values: [Vec<u8>; 4]| -> Vec<Case> {
            FIXED
                .into_iter()
                .zip(values)
                .map(|(kind, value)| (kind, value, CKR_ATTRIBUTE_READ_ONLY))
                .collect()
        };
        let common = |class| never([ulong(class), yes(), no(), b"mine".to_vec()]);
        let of_no_object = vec![
            (CKA_MODULUS, vec![1], CKR_TEMPLATE_INCONSISTENT),
            (0x8000_0001, vec![], CKR_ATTRIBUTE_TYPE_INVALID),
        ];
        let sensitive = vec![
            (CKA_SENSITIVE, no(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_EXTRACTABLE, yes(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_ALWAYS_SENSITIVE, no(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_VALUE, vec![0; 20], CKR_ATTRIBUTE_READ_ONLY),
        ];

        let of_wallet = vec![
            (CKA_COUNTERSIGN_NETWORK, b"mainnet".to_vec(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_COUNTERSIGN_LOCKED, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_COUNTERSIGN_POLICY, b"nonsense".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_COUNTERSIGN_USERS, vec![0xff], CKR_ATTRIBUTE_VALUE_INVALID),
        ];
        let hot = raw.wallet_key(so, "hot");
        let cases = [common(CKO_PRIVATE_KEY), of_no_object.clone(), sensitive.clone(), of_wallet].concat();
        refuse_changes(&raw, so, hot, &label, &cases);
        let both = [label.clone(), (CKA_LABEL, b"another".to_vec())];
        assert_rv!(raw.set_attributes(so, hot, &both), CKR_TEMPLATE_INCONSISTENT);
        assert_eq!(raw.attribute(so, hot, CKA_LABEL), Ok(b"hot".to_vec()));
        assert_rv!(raw.set_attributes(so, hot, &[label.clone(), label.clone()]), CKR_OK, "the same twice");
        assert_eq!(raw.attribute(so, hot, CKA_LABEL), Ok(b"other".to_vec()));
        let of_public = [
            (CKA_SENSITIVE, no(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_EC_POINT, vec![], CKR_ATTRIBUTE_READ_ONLY),
        ];
        let public = raw.wallet_public(so, "other");
        let cold = (CKA_LABEL, b"cold".to_vec());
        refuse_changes(&raw, so, public, &cold, &[common(CKO_PUBLIC_KEY), of_public.to_vec()].concat());

        let of_user = vec![
            (CKA_COUNTERSIGN_LOCKED, yes(), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_COUNTERSIGN_LOCKED, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
        ];
        let alice = raw.user_key(so, "alice");
        for (kind, value, wanted) in [common(CKO_OTP_KEY), of_no_object.clone(), sensitive, of_user].concat()
        {
            assert_rv!(raw.set_attributes(so, alice, &[(kind, value)]), wanted, "{kind:#x}");
        }

        let note = [(CKA_CLASS, ulong(CKO_DATA)), (CKA_LABEL, b"note".to_vec())];
        let note = raw.create(so, &note).expect("it is made");
        let of_data = vec![
            (CKA_VALUE, vec![1], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_APPLICATION, vec![], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_OBJECT_ID, vec![], CKR_ATTRIBUTE_READ_ONLY),
            (CKA_MODIFIABLE, no(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_DESTROYABLE, no(), CKR_ATTRIBUTE_READ_ONLY),
            (CKA_COPYABLE, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_ID, vec![], CKR_TEMPLATE_INCONSISTENT),
        ];
        refuse_changes(&raw, so, note, &label, &[common(CKO_DATA), of_no_object, of_data].concat());
        for wrong in [(CKA_CLASS, ulong(CKO_DATA)), (CKA_VALUE, vec![]), (CKA_UNIQUE_ID, vec![])] {
            assert_eq!(raw.copy(so, note, &[wrong]), Err(CKR_ATTRIBUTE_READ_ONLY));
        }
        assert_eq!(raw.copy(so, note, &[(0x8000_0001, vec![])]), Err(CKR_ATTRIBUTE_TYPE_INVALID));
        assert_eq!(raw.copy(so, note, &[(CKA_PRIVATE, vec![2])]), Err(CKR_ATTRIBUTE_VALUE_INVALID));
        assert_eq!(raw.find(so, &[(CKA_TOKEN, no())]), Ok(vec![note]), "no copy was made");
    });
}

#[test]
fn a_read_only_session_changes_nothing_of_the_token_and_the_backend_nothing_at_all() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol_confirmed(&raw, so, "alice");
        create_wallet(&raw, so, "hot", &["alice"], LIMITS);
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_backend();
        let (read_only, read_write) = (raw.read_only(), raw.read_write());
        let check = |session, wanted: CK_RV| {
            let object = |class| raw.find(session, &[(CKA_CLASS, ulong(class))]).expect("it finds");
            let user = [(CKA_LABEL, b"mallory".to_vec())];
            let made = raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user);
            assert_eq!(made, Err(wanted));
            let made = raw.generate_key_pair(session, CKM_COUNTERSIGN_WALLET_KEY_GEN, &user, &[]);
            assert_eq!(made.err(), Some(wanted));
            for class in [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, CKO_OTP_KEY, CKO_HW_FEATURE] {
                for object in object(class) {
                    assert_rv!(raw.set_attributes(session, object, &user), wanted, "class {class}");
                    assert_rv!(raw.set_attributes(session, object, &[]), wanted, "class {class}");
                }
            }
            for alice in object(CKO_OTP_KEY) {
                assert_rv!(raw.destroy(session, alice), wanted);
            }
        };
        for who in ["nobody", "the backend"] {
            check(read_only, CKR_SESSION_READ_ONLY);
            check(read_write, CKR_USER_NOT_LOGGED_IN);
            if who == "nobody" {
                assert_rv!(raw.login(read_only, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
            }
        }
        assert_eq!(raw.find(read_only, &[(CKA_TOKEN, yes())]).map(|found| found.len()), Ok(4), "as it was");
    });
}
