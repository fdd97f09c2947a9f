//! Attributes of every kind of object, compared with the tables of the specification (PKCS#11 v3.2 sections 4
//! and 6).

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use core::ptr;
use std::collections::BTreeSet;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Raw, call};
use harness::module::{
    LIMITS, assert_rv, create_wallet, enrol_confirmed, initialised_token, this_test, ulong,
};

use super::digest_key;
use super::in_boundary;

/// The expected value of an attribute.
#[derive(Clone, Copy, Debug)]
enum Is {
    True,
    False,
    Ulong(CK_ULONG),
    Ulongs(&'static [CK_ULONG]),
    /// An empty value.
    Empty,
    /// So many bytes.
    Len(usize),
    /// A value of any length above 0.
    Some,
    /// A value that is never shown.
    Sensitive,
}
use Is::{Empty, False, Len, Sensitive, Some as Any, True, Ulong, Ulongs};

type Table = &'static [(CK_ATTRIBUTE_TYPE, Is)];

/// "Common storage object attributes" of a token object.
const STORAGE: Table = &[(CKA_TOKEN, True), (CKA_UNIQUE_ID, Any)];

/// "Common key attributes" of a key made inside.
const KEY_MADE_INSIDE: Table = &[
    (CKA_ID, Len(16)),
    (CKA_START_DATE, Empty),
    (CKA_END_DATE, Empty),
    (CKA_DERIVE, False),
    (CKA_LOCAL, True),
    (CKA_OBJECT_VALIDATION_FLAGS, Ulong(0)),
];

/// "Common secret key attributes" and "Common OTP key attributes", of a user.
const USER: Table = &[
    (CKA_CLASS, Ulong(CKO_OTP_KEY)),
    (CKA_PRIVATE, True),
    (CKA_MODIFIABLE, True),
    (CKA_LABEL, Len(5)),
    (CKA_COPYABLE, False),
    (CKA_DESTROYABLE, True),
    (CKA_KEY_TYPE, Ulong(CKK_HOTP)),
    (CKA_KEY_GEN_MECHANISM, Ulong(CKM_COUNTERSIGN_TOTP_KEY_GEN)),
    (CKA_ALLOWED_MECHANISMS, Ulong(CKM_COUNTERSIGN_TOTP)),
    (CKA_SENSITIVE, True),
    (CKA_ENCRYPT, False),
    (CKA_DECRYPT, False),
    (CKA_SIGN, False),
    (CKA_VERIFY, True),
    (CKA_WRAP, False),
    (CKA_UNWRAP, False),
    (CKA_EXTRACTABLE, False),
    (CKA_ALWAYS_SENSITIVE, True),
    (CKA_NEVER_EXTRACTABLE, True),
    (CKA_CHECK_VALUE, Empty),
    (CKA_WRAP_WITH_TRUSTED, False),
    (CKA_TRUSTED, False),
    (CKA_WRAP_TEMPLATE, Empty),
    (CKA_UNWRAP_TEMPLATE, Empty),
    (CKA_DERIVE_TEMPLATE, Empty),
    (CKA_OTP_FORMAT, Ulong(CK_OTP_FORMAT_DECIMAL)),
    (CKA_OTP_LENGTH, Ulong(8)),
    (CKA_OTP_TIME_INTERVAL, Ulong(120)),
    (CKA_OTP_USER_FRIENDLY_MODE, False),
    (CKA_OTP_CHALLENGE_REQUIREMENT, Ulong(CK_OTP_PARAM_IGNORED)),
    (CKA_OTP_TIME_REQUIREMENT, Ulong(CK_OTP_PARAM_IGNORED)),
    (CKA_OTP_COUNTER_REQUIREMENT, Ulong(CK_OTP_PARAM_IGNORED)),
    (CKA_OTP_PIN_REQUIREMENT, Ulong(CK_OTP_PARAM_IGNORED)),
    (CKA_OTP_COUNTER, Empty),
    (CKA_OTP_TIME, Empty),
    (CKA_OTP_USER_IDENTIFIER, Len(5)),
    (CKA_OTP_SERVICE_IDENTIFIER, Any),
    (CKA_OTP_SERVICE_LOGO, Empty),
    (CKA_OTP_SERVICE_LOGO_TYPE, Empty),
    (CKA_VALUE, Sensitive),
    (CKA_VALUE_LEN, Ulong(20)),
    (CKA_COUNTERSIGN_OTPAUTH_URI, Sensitive),
    (CKA_COUNTERSIGN_CONFIRMED, True),
    (CKA_COUNTERSIGN_OTP_HASH, Ulong(CKM_SHA_1)),
    (CKA_COUNTERSIGN_LOCKED, False),
    (CKA_COUNTERSIGN_FAILURES, Ulong(0)),
    (CKA_COUNTERSIGN_STOPPED, False),
    (CKA_COUNTERSIGN_FROZEN, False),
    (CKA_COUNTERSIGN_FACTOR, Ulong(1)),
];

/// The attributes of both sides of an EC key pair that was made inside.
const EC_PAIR: Table = &[
    (CKA_MODIFIABLE, True),
    (CKA_COPYABLE, False),
    (CKA_DESTROYABLE, False),
    (CKA_KEY_TYPE, Ulong(CKK_EC)),
    (CKA_SUBJECT, Empty),
    (CKA_PUBLIC_KEY_INFO, Len(88)),
    (CKA_EC_PARAMS, Len(7)),
    (CKA_COUNTERSIGN_USERS, Len(5)),
    (CKA_COUNTERSIGN_POLICY, Any),
    (CKA_COUNTERSIGN_FROZEN, False),
];

/// "Common public key attributes" and "Elliptic curve public key object attributes".
const EC_PUBLIC: Table = &[
    (CKA_CLASS, Ulong(CKO_PUBLIC_KEY)),
    (CKA_PRIVATE, False),
    (CKA_ENCRYPT, False),
    (CKA_VERIFY_RECOVER, False),
    (CKA_WRAP, False),
    (CKA_ENCAPSULATE, False),
    (CKA_TRUSTED, False),
    (CKA_WRAP_TEMPLATE, Empty),
    (CKA_ENCAPSULATE_TEMPLATE, Empty),
    (CKA_EC_POINT, Len(67)),
];

/// "Common private key attributes" and "Elliptic curve private key object attributes".
const EC_PRIVATE: Table = &[
    (CKA_CLASS, Ulong(CKO_PRIVATE_KEY)),
    (CKA_PRIVATE, True),
    (CKA_SENSITIVE, True),
    (CKA_DECRYPT, False),
    (CKA_SIGN, True),
    (CKA_SIGN_RECOVER, False),
    (CKA_UNWRAP, False),
    (CKA_DECAPSULATE, False),
    (CKA_EXTRACTABLE, False),
    (CKA_ALWAYS_SENSITIVE, True),
    (CKA_NEVER_EXTRACTABLE, True),
    (CKA_WRAP_WITH_TRUSTED, False),
    (CKA_UNWRAP_TEMPLATE, Empty),
    (CKA_DECAPSULATE_TEMPLATE, Empty),
    (CKA_DERIVE_TEMPLATE, Empty),
    (CKA_ALWAYS_AUTHENTICATE, True),
    (CKA_VALUE, Sensitive),
];

/// The attributes of both sides of a wallet.
const WALLET: Table = &[
    (CKA_LABEL, Len(8)),
    (CKA_KEY_GEN_MECHANISM, Ulong(CKM_COUNTERSIGN_WALLET_KEY_GEN)),
    (CKA_COUNTERSIGN_NETWORK, Len(7)),
    (CKA_COUNTERSIGN_DESCRIPTOR, Any),
    (CKA_COUNTERSIGN_XPUB, Any),
    (CKA_COUNTERSIGN_FINGERPRINT, Len(4)),
    (CKA_COUNTERSIGN_PATH, Any),
    (CKA_COUNTERSIGN_WALLET_POLICY, Any),
    (CKA_COUNTERSIGN_WALLET_ID, Len(32)),
    (CKA_COUNTERSIGN_REACH, Len(16)),
];
const WALLET_PUBLIC: Table = &[(CKA_VERIFY, False), (CKA_ALLOWED_MECHANISMS, Empty)];
const WALLET_PRIVATE: Table = &[(CKA_ALLOWED_MECHANISMS, Ulong(CKM_COUNTERSIGN_PSBT))];

/// The attributes of both sides of a key that signs digests.
const DIGEST_KEY: Table = &[
    (CKA_LABEL, Len(9)),
    (CKA_KEY_GEN_MECHANISM, Ulong(CKM_EC_KEY_PAIR_GEN)),
    (CKA_ALLOWED_MECHANISMS, Ulongs(&[CKM_COUNTERSIGN_DIGEST, CKM_ECDSA])),
];
const DIGEST_PUBLIC: Table = &[(CKA_VERIFY, True)];

/// "Profile object attributes".
const PROFILE: Table = &[
    (CKA_CLASS, Ulong(CKO_PROFILE)),
    (CKA_PRIVATE, False),
    (CKA_MODIFIABLE, False),
    (CKA_LABEL, Empty),
    (CKA_COPYABLE, False),
    (CKA_DESTROYABLE, False),
    (CKA_PROFILE_ID, Ulong(CKP_BASELINE_PROVIDER)),
];

/// "Hardware feature common attributes" and "Clock object attributes".
const CLOCK: Table = &[
    (CKA_CLASS, Ulong(CKO_HW_FEATURE)),
    (CKA_HW_FEATURE_TYPE, Ulong(CKH_CLOCK)),
    (CKA_VALUE, Len(16)),
    (CKA_COUNTERSIGN_CLOCK_REFUSAL, Empty),
];

/// "Hardware feature common attributes", and ours: the freeze of everything.
const FREEZE: Table = &[
    (CKA_CLASS, Ulong(CKO_HW_FEATURE)),
    (CKA_HW_FEATURE_TYPE, Ulong(CKH_COUNTERSIGN_FREEZE)),
    (CKA_COUNTERSIGN_FROZEN, False),
];

/// "Common storage object attributes" if the template does not give them.
const STORAGE_OF_SESSION: Table = &[
    (CKA_TOKEN, False),
    (CKA_PRIVATE, False),
    (CKA_MODIFIABLE, True),
    (CKA_LABEL, Empty),
    (CKA_COPYABLE, True),
    (CKA_DESTROYABLE, True),
    (CKA_UNIQUE_ID, Len(32)),
];

/// "Data object attributes" if none is given.
const DATA: Table =
    &[(CKA_CLASS, Ulong(CKO_DATA)), (CKA_APPLICATION, Empty), (CKA_OBJECT_ID, Empty), (CKA_VALUE, Empty)];

/// A public key of which only the key itself was given.
const PUBLIC_KEY: Table = &[
    (CKA_CLASS, Ulong(CKO_PUBLIC_KEY)),
    (CKA_KEY_TYPE, Ulong(CKK_EC)),
    (CKA_ID, Empty),
    (CKA_START_DATE, Empty),
    (CKA_END_DATE, Empty),
    (CKA_DERIVE, False),
    (CKA_LOCAL, False),
    (CKA_KEY_GEN_MECHANISM, Ulong(CK_UNAVAILABLE_INFORMATION)),
    (CKA_ALLOWED_MECHANISMS, Empty),
    (CKA_OBJECT_VALIDATION_FLAGS, Ulong(0)),
    (CKA_SUBJECT, Empty),
    (CKA_ENCRYPT, False),
    (CKA_VERIFY, True),
    (CKA_VERIFY_RECOVER, False),
    (CKA_WRAP, False),
    (CKA_ENCAPSULATE, False),
    (CKA_TRUSTED, False),
    (CKA_WRAP_TEMPLATE, Empty),
    (CKA_ENCAPSULATE_TEMPLATE, Empty),
    (CKA_PUBLIC_KEY_INFO, Len(88)),
    (CKA_EC_PARAMS, Len(7)),
    (CKA_EC_POINT, Len(35)),
];

/// Attributes of kinds of object that the module does not have.
const OF_NONE: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_MODULUS,
    CKA_PRIME,
    CKA_CERTIFICATE_TYPE,
    CKA_MECHANISM_TYPE,
    CKA_PUBLIC_CRC64_VALUE,
    CKA_SEED,
    CKA_TRUST_SERVER_AUTH,
    CKA_VALIDATION_TYPE,
    CKA_VENDOR_DEFINED,
    0xC353_0FFF,
    0x7FFF_FFFF,
    CK_ULONG::MAX,
];

/// Reads every attribute of every table in one call, and compares those of `tables` with the expected values.
/// The object must not have any other. Then compares the object's size with the sum of the visible values.
fn check(raw: &Raw, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, tables: &[Table]) {
    let wanted: Vec<(CK_ATTRIBUTE_TYPE, Is)> = tables.concat();
    let everything: BTreeSet<CK_ATTRIBUTE_TYPE> = [
        STORAGE,
        KEY_MADE_INSIDE,
        USER,
        EC_PAIR,
        EC_PUBLIC,
        EC_PRIVATE,
        WALLET,
        WALLET_PUBLIC,
        WALLET_PRIVATE,
        DIGEST_KEY,
        DIGEST_PUBLIC,
        PROFILE,
        CLOCK,
        STORAGE_OF_SESSION,
        DATA,
        PUBLIC_KEY,
    ]
    .concat()
    .iter()
    .map(|(kind, _)| *kind)
    .chain(OF_NONE.iter().copied())
    .collect();

    let mut buffers: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)> =
        everything.iter().map(|kind| (*kind, vec![0xa5; 1_024])).collect();
    let mut template: Vec<CK_ATTRIBUTE> = buffers
        .iter_mut()
        .map(|(kind, buffer)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: buffer.as_mut_ptr().cast(),
            ulValueLen: buffer.len() as CK_ULONG,
        })
        .collect();
    let count = template.len() as CK_ULONG;
    let rv = call!(raw, C_GetAttributeValue(session, object, template.as_mut_ptr(), count));
    assert!([CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE].contains(&rv), "{rv:#x}");

    let mut size = 0;
    for (CK_ATTRIBUTE { type_: kind, ulValueLen: len, .. }, (_, buffer)) in template.into_iter().zip(&buffers)
    {
        let wanted = wanted.iter().find(|(one, _)| *one == kind).map(|(_, is)| *is);
        if len == CK_UNAVAILABLE_INFORMATION {
            assert!(buffer.iter().all(|byte| *byte == 0xa5), "{kind:#x} was written");
            let rv = if wanted.is_some() { CKR_ATTRIBUTE_SENSITIVE } else { CKR_ATTRIBUTE_TYPE_INVALID };
            assert!(matches!(wanted, None | Some(Sensitive)), "{kind:#x} is {wanted:?}");
            assert_eq!(raw.attribute(session, object, kind), Err(rv), "{kind:#x}");
            continue;
        }
        let value = &buffer[..len as usize];
        let is_right = match wanted {
            Some(True) => value == [CK_TRUE],
            Some(False) => value == [CK_FALSE],
            Some(Ulong(number)) => value == ulong(number),
            Some(Ulongs(numbers)) => {
                value == numbers.iter().flat_map(|number| ulong(*number)).collect::<Vec<u8>>()
            }
            Some(Empty) => value.is_empty(),
            Some(Len(len)) => value.len() == len,
            Some(Any) => !value.is_empty(),
            Some(Sensitive) | None => false,
        };
        assert!(is_right, "{kind:#x} is {value:?}, not {wanted:?}");
        size += len;
        // Visible values can be searched for, except the time, which goes on.
        if kind != CKA_VALUE {
            let found = raw.find(session, &[(CKA_CLASS, class_of(tables)), (kind, value.to_vec())]);
            assert!(found.expect("it finds").contains(&object), "by {kind:#x}");
        }
    }
    assert_eq!(raw.object_size(session, object), Ok(size));
}

fn class_of(tables: &[Table]) -> Vec<u8> {
    let class = tables.concat().into_iter().find_map(|(kind, is)| match is {
        Ulong(class) if kind == CKA_CLASS => Some(ulong(class)),
        _ => None,
    });
    class.expect("every object has a class")
}

#[test]
fn every_object_has_the_attributes_of_its_class_and_no_other() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol_confirmed(&raw, so, "alice");
        create_wallet(&raw, so, "treasury", &["alice"], LIMITS);
        digest_key::make(&raw, so, "sidechain", "alice", "max_period_transactions = 9");
        check(&raw, so, raw.user_key(so, "alice"), &[STORAGE, KEY_MADE_INSIDE, USER]);
        let private = raw.wallet_key(so, "treasury");
        check(&raw, so, private, &[STORAGE, KEY_MADE_INSIDE, EC_PAIR, EC_PRIVATE, WALLET, WALLET_PRIVATE]);
        let private = raw.wallet_key(so, "sidechain");
        check(&raw, so, private, &[STORAGE, KEY_MADE_INSIDE, EC_PAIR, EC_PRIVATE, DIGEST_KEY]);
        assert_rv!(raw.close_all(), CKR_OK);

        let session = raw.read_only();
        let public = raw.wallet_public(session, "treasury");
        check(&raw, session, public, &[STORAGE, KEY_MADE_INSIDE, EC_PAIR, EC_PUBLIC, WALLET, WALLET_PUBLIC]);
        let public = raw.wallet_public(session, "sidechain");
        check(
            &raw,
            session,
            public,
            &[STORAGE, KEY_MADE_INSIDE, EC_PAIR, EC_PUBLIC, DIGEST_KEY, DIGEST_PUBLIC],
        );
        let one = |class| raw.find(session, &[(CKA_CLASS, ulong(class))]).expect("it finds")[0];
        check(&raw, session, one(CKO_PROFILE), &[STORAGE, PROFILE]);
        let features = raw.find(session, &[(CKA_CLASS, ulong(CKO_HW_FEATURE))]).expect("it finds");
        let [clock, freeze] = features[..] else { panic!("{features:?}") };
        check(&raw, session, clock, &[CLOCK]);
        check(&raw, session, freeze, &[FREEZE]);
        let data = raw.create(session, &[(CKA_CLASS, ulong(CKO_DATA))]).expect("it is made");
        check(&raw, session, data, &[STORAGE_OF_SESSION, DATA]);
        let point = [&[0x04, 33][..], &generator()].concat();
        let params = raw.attribute(session, public, CKA_EC_PARAMS).expect("it has them");
        let key = [
            (CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
            (CKA_KEY_TYPE, ulong(CKK_EC)),
            (CKA_EC_PARAMS, params),
            (CKA_EC_POINT, point),
        ];
        let key = raw.create(session, &key).expect("it is made");
        check(&raw, session, key, &[STORAGE_OF_SESSION, PUBLIC_KEY]);
    });
}

/// The generator of secp256k1, compressed.
fn generator() -> Vec<u8> {
    const G: &[u8] = b"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    data_encoding::HEXLOWER.decode(G).expect("hex")
}

#[test]
fn no_two_objects_share_a_unique_id_and_each_is_found_by_its_own() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        for user in ["alice", "bob"] {
            enrol_confirmed(&raw, so, user);
        }
        for wallet in ["hot", "cold"] {
            create_wallet(&raw, so, wallet, &["alice"], LIMITS);
        }
        for key in ["sidechain", "federation"] {
            digest_key::make(&raw, so, key, "alice", "max_period_transactions = 9");
        }
        let data = raw.create(so, &[(CKA_CLASS, ulong(CKO_DATA))]).expect("it is made");
        raw.copy(so, data, &[]).expect("it is copied");
        let all = raw.find(so, &[]).expect("it finds");
        assert_eq!(all.len(), 2 + 2 * 2 + 2 * 2 + 1 + 2);
        for object in all {
            let id = raw.attribute(so, object, CKA_UNIQUE_ID).expect("it has one");
            assert!(id.is_ascii(), "an RFC 2279 string");
            assert_eq!(raw.find(so, &[(CKA_UNIQUE_ID, id)]), Ok(vec![object]));
        }
        // After a restart the token's ids are the same. Another enrolment under the same name has another id.
        let id =
            |raw: &Raw, so| raw.attribute(so, raw.user_key(so, "bob"), CKA_UNIQUE_ID).expect("it has one");
        let first = id(&raw, so);
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(raw.initialize(), CKR_OK);
        let so = raw.so();
        assert_eq!(id(&raw, so), first);
        let bob = raw.user_key(so, "bob");
        assert_rv!(raw.destroy(so, bob), CKR_OK);
        enrol_confirmed(&raw, so, "bob");
        assert_ne!(id(&raw, so), first);
        assert_eq!(raw.attribute(so, bob, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID), "the old handle");
    });
}

#[test]
fn a_template_is_answered_to_its_end_whatever_fails_first() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol_confirmed(&raw, so, "alice");
        let alice = raw.user_key(so, "alice");
        let (mut label, mut small, mut class) = ([0u8; 64], [0u8; 3], [0u8; 8]);
        let one = |kind, buffer: &mut [u8]| CK_ATTRIBUTE {
            type_: kind,
            pValue: buffer.as_mut_ptr().cast(),
            ulValueLen: buffer.len() as CK_ULONG,
        };
        let read = |template: &mut [CK_ATTRIBUTE]| {
            let count = template.len() as CK_ULONG;
            call!(raw, C_GetAttributeValue(so, alice, template.as_mut_ptr(), count))
        };
        for (kind, mut wrong, wanted) in [
            (CKA_VALUE, vec![0; 64], CKR_ATTRIBUTE_SENSITIVE),
            (CKA_MODULUS, vec![0; 64], CKR_ATTRIBUTE_TYPE_INVALID),
            (CKA_LABEL, vec![0; 4], CKR_BUFFER_TOO_SMALL),
        ] {
            let mut template = [
                one(kind, &mut wrong),
                CK_ATTRIBUTE { type_: CKA_ID, pValue: ptr::null_mut(), ulValueLen: 0 },
                one(CKA_LABEL, &mut label),
                one(CKA_WRAP_TEMPLATE, &mut small),
                one(CKA_CLASS, &mut class),
            ];
            assert_rv!(read(&mut template), wanted);
            let lengths: Vec<CK_ULONG> = template.iter().map(|attribute| attribute.ulValueLen).collect();
            assert_eq!(lengths, [CK_UNAVAILABLE_INFORMATION, 16, 5, 0, 8]);
            assert!(wrong.iter().all(|byte| *byte == 0), "nothing is written where nothing is shown");
            assert_eq!((&label[..5], &class[..]), (&b"alice"[..], &ulong(CKO_OTP_KEY)[..]));
            (label, class) = ([0; 64], [0; 8]);
        }
    });
}

#[test]
fn the_profile_is_seen_without_login_and_nothing_changes_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let profile = |session| {
            let by_class = raw.find(session, &[(CKA_CLASS, ulong(CKO_PROFILE))]).expect("it finds");
            let by_id = raw.find(session, &[(CKA_PROFILE_ID, ulong(CKP_BASELINE_PROVIDER))]);
            assert_eq!((by_class.len(), Ok(&by_class)), (1, by_id.as_ref()));
            assert!(
                raw.find(session, &[]).expect("it finds").contains(&by_class[0]),
                "by whoever asks for all"
            );
            assert_eq!(raw.find(session, &[(CKA_PROFILE_ID, ulong(CKP_COMPLETE_PROVIDER))]), Ok(vec![]));
            by_class[0]
        };
        let session = raw.read_only();
        let seen = profile(session);
        assert_rv!(raw.destroy(session, seen), CKR_ACTION_PROHIBITED);
        assert_eq!(raw.copy(session, seen, &[]), Err(CKR_ACTION_PROHIBITED));
        assert_rv!(raw.close_all(), CKR_OK);
        profile(raw.user());
        assert_rv!(raw.close_all(), CKR_OK);
        let so = raw.so();
        let seen = profile(so);
        let label = [(CKA_LABEL, b"ours".to_vec())];
        assert_rv!(raw.set_attributes(so, seen, &label), CKR_ACTION_PROHIBITED);
        assert_rv!(raw.set_attributes(so, seen, &[]), CKR_ACTION_PROHIBITED);
        assert_rv!(raw.destroy(so, seen), CKR_ACTION_PROHIBITED);
        assert_rv!(raw.sign_init(raw.read_write(), CKM_COUNTERSIGN_PSBT, &[], seen), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.verify_init(so, seen), CKR_KEY_TYPE_INCONSISTENT);
    });
}
