//! Session objects (PKCS#11 v3.2 sections 4.4, 4.5, 4.8 and 5.7).

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use countersign::pkcs11::vendor::CKM_COUNTERSIGN_DIGEST;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Mechanism, Raw, Template, call};
use harness::module::{SO_PIN, USER_PIN, assert_rv, initialised_token, this_test, ulong};

use super::{in_boundary, where_there_is_one_door};

/// The generator of secp256k1 (SEC 2 section 2.4.1).
const X: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const Y: &str = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex")
}

fn yes(kind: CK_ATTRIBUTE_TYPE) -> Attribute {
    (kind, vec![CK_TRUE])
}

fn no(kind: CK_ATTRIBUTE_TYPE) -> Attribute {
    (kind, vec![CK_FALSE])
}

fn data(more: &[Attribute]) -> Vec<Attribute> {
    [&[(CKA_CLASS, ulong(CKO_DATA))], more].concat()
}

fn key(point: &str, more: &[Attribute]) -> Vec<Attribute> {
    let key = [
        (CKA_CLASS, ulong(CKO_PUBLIC_KEY)),
        (CKA_KEY_TYPE, ulong(CKK_EC)),
        (CKA_EC_PARAMS, SECP256K1.to_vec()),
        (CKA_EC_POINT, hex(point)),
    ];
    [&key, more].concat()
}

fn count(raw: &Raw, session: CK_SESSION_HANDLE) -> usize {
    raw.find(session, &[no(CKA_TOKEN)]).expect("it finds").len()
}

fn is_gone(raw: &Raw, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> bool {
    raw.attribute(session, object, CKA_CLASS) == Err(CKR_OBJECT_HANDLE_INVALID)
}

#[test]
fn data_and_public_keys_are_as_they_were_made() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let compressed = format!("042102{X}");
        let uncompressed = format!("044104{X}{Y}");
        let described = [
            (CKA_LABEL, "Ångström".as_bytes().to_vec()),
            (CKA_ID, vec![0, 1, 2]),
            (CKA_SUBJECT, vec![0x30, 0]),
            (CKA_START_DATE, b"20261121".to_vec()),
            (CKA_END_DATE, b"20271121".to_vec()),
            (CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA)),
            no(CKA_VERIFY),
            no(CKA_TOKEN),
            no(CKA_WRAP),
            no(CKA_TRUSTED),
            (CKA_WRAP_TEMPLATE, vec![]),
            no(CKA_MODIFIABLE),
            no(CKA_COPYABLE),
            no(CKA_DESTROYABLE),
        ];
        for template in [
            data(&[
                (CKA_LABEL, b"a note".to_vec()),
                (CKA_APPLICATION, b"backend".to_vec()),
                (CKA_OBJECT_ID, SECP256K1.to_vec()),
                (CKA_VALUE, vec![0; 65_536]),
            ]),
            key(&compressed, &described),
            key(&uncompressed, &described),
        ] {
            let object = raw.create(session, &template).expect("it is made");
            for (kind, value) in &template {
                assert_eq!(raw.attribute(session, object, *kind).as_ref(), Ok(value), "{kind:#x}");
            }
        }
        // Two encodings of one point are one key.
        let info = |point: &str| {
            let object = raw.create(session, &key(point, &[])).expect("it is made");
            raw.attribute(session, object, CKA_PUBLIC_KEY_INFO).expect("it has it")
        };
        assert_eq!(info(&compressed), info(&uncompressed));
        let info = (CKA_PUBLIC_KEY_INFO, info(&compressed));
        assert!(raw.create(session, &key(&uncompressed, &[info])).is_ok(), "its own may be repeated");
    });
}

#[test]
fn nothing_from_outside_becomes_a_secret_or_an_object_of_the_token() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let of_class = |class: CK_OBJECT_CLASS, more: &[Attribute]| {
            [&[(CKA_CLASS, ulong(class)), (CKA_VALUE, vec![1; 32])], more].concat()
        };
        let ec = [(CKA_KEY_TYPE, ulong(CKK_EC)), (CKA_EC_PARAMS, SECP256K1.to_vec()), yes(CKA_SIGN)];
        let refuse = |session, wanted_of_token: CK_RV| {
            for template in [
                of_class(CKO_PRIVATE_KEY, &ec),
                of_class(CKO_PRIVATE_KEY, &[]),
                of_class(CKO_PRIVATE_KEY, &[yes(CKA_PRIVATE), yes(CKA_SENSITIVE), (0x8000_0001, vec![])]),
                of_class(CKO_SECRET_KEY, &[(CKA_KEY_TYPE, ulong(CKK_AES))]),
                of_class(CKO_SECRET_KEY, &[(CKA_KEY_TYPE, ulong(CKK_GENERIC_SECRET)), no(CKA_SENSITIVE)]),
                of_class(CKO_OTP_KEY, &[(CKA_KEY_TYPE, ulong(CKK_HOTP))]),
                of_class(CKO_CERTIFICATE, &[]),
                of_class(CKO_PROFILE, &[]),
                of_class(CKO_HW_FEATURE, &[]),
                of_class(CKO_TRUST, &[]),
            ] {
                assert_eq!(raw.create(session, &template), Err(CKR_TEMPLATE_INCONSISTENT), "{template:x?}");
            }
            for template in [
                data(&[yes(CKA_TOKEN)]),
                key(&format!("042102{X}"), &[yes(CKA_TOKEN)]),
                of_class(CKO_PRIVATE_KEY, &[yes(CKA_TOKEN)]),
            ] {
                assert_eq!(raw.create(session, &template), Err(wanted_of_token), "{template:x?}");
            }
            let note = raw.create(session, &data(&[])).expect("it is made");
            assert_eq!(raw.copy(session, note, &[yes(CKA_TOKEN)]), Err(wanted_of_token));
            assert_eq!(count(&raw, session), 1, "nothing else was made");
            assert_rv!(raw.destroy(session, note), CKR_OK);
        };
        refuse(raw.read_only(), CKR_SESSION_READ_ONLY);
        assert_rv!(raw.close_all(), CKR_OK);
        refuse(raw.user(), CKR_TEMPLATE_INCONSISTENT);
        assert_rv!(raw.close_all(), CKR_OK);
        refuse(raw.so(), CKR_TEMPLATE_INCONSISTENT);
    });
}

#[test]
fn a_session_object_is_seen_by_all_sessions_and_gone_with_its_own() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (one, other) = (raw.read_only(), raw.read_write());
        let of_one = raw.create(one, &data(&[])).expect("it is made");
        let of_other = raw.create(other, &data(&[])).expect("it is made");
        let copy = raw.copy(other, of_one, &[]).expect("it is copied");
        for session in [one, other] {
            assert_eq!(count(&raw, session), 3);
        }
        assert_rv!(raw.close(one), CKR_OK);
        assert!(is_gone(&raw, other, of_one));
        assert!(!is_gone(&raw, other, of_other), "it has another owner");
        assert!(!is_gone(&raw, other, copy), "a copy belongs to who copied");
        assert_eq!(count(&raw, other), 2);
        // A session may destroy another session's objects like its own. An object that may not be destroyed
        // goes only with its session.
        let third = raw.read_only();
        assert_rv!(raw.destroy(third, copy), CKR_OK);
        let kept = raw.create(third, &data(&[no(CKA_DESTROYABLE)])).expect("it is made");
        for session in [third, other] {
            assert_rv!(raw.destroy(session, kept), CKR_ACTION_PROHIBITED);
        }
        assert_rv!(raw.close(third), CKR_OK);
        assert!(is_gone(&raw, other, kept));
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.read_only();
        assert!(is_gone(&raw, session, of_other));
        assert_eq!(count(&raw, session), 0);
        // No trace of it is kept anywhere.
        raw.create(session, &data(&[])).expect("it is made");
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(raw.initialize(), CKR_OK);
        assert_eq!(count(&raw, raw.read_only()), 0);
    });
}

#[test]
fn a_private_session_object_is_the_users_and_ends_with_the_login() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        raw.as_backend();
        let session = raw.read_write();
        let private = data(&[yes(CKA_PRIVATE)]);
        let refused = |when: &str| {
            assert_eq!(raw.create(session, &private), Err(CKR_USER_NOT_LOGGED_IN), "{when}");
            let public = raw.create(session, &data(&[])).expect("public ones are for everybody");
            let copied = raw.copy(session, public, &[yes(CKA_PRIVATE)]);
            assert_eq!(copied, Err(CKR_USER_NOT_LOGGED_IN), "{when}");
            assert_rv!(raw.destroy(session, public), CKR_OK);
        };
        refused("nobody");
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        let public = raw.create(session, &data(&[])).expect("it is made");
        let secret = raw.create(session, &private).expect("it is made");
        let copy = raw.copy(session, public, &[yes(CKA_PRIVATE)]).expect("it is copied");
        assert_eq!(raw.attribute(session, copy, CKA_PRIVATE), Ok(vec![CK_TRUE]));
        let made_public = raw.copy(session, copy, &[no(CKA_PRIVATE)]);
        assert_eq!(made_public, Err(CKR_TEMPLATE_INCONSISTENT), "never the other way");
        assert_eq!(count(&raw, session), 3);
        assert_rv!(raw.logout(session), CKR_OK);
        let check = |when: &str| {
            assert!(is_gone(&raw, session, secret) && is_gone(&raw, session, copy), "{when}");
            assert!(!is_gone(&raw, session, public), "{when}");
            assert_eq!(count(&raw, session), 1, "{when}");
        };
        check("after logout");
        let so = raw.login(session, CKU_SO, SO_PIN.as_bytes());
        assert_rv!(so, where_there_is_one_door(CKR_OK));
        if so == CKR_OK {
            check("for the security officer");
            refused("the security officer");
            assert_rv!(raw.logout(session), CKR_OK);
        }
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        check("after another login");
    });
}

#[test]
fn an_object_gives_up_being_modifiable_or_copyable_for_good() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let label = |label: &str| (CKA_LABEL, label.as_bytes().to_vec());
        let make = |more: &[Attribute]| raw.create(session, &data(more)).expect("it is made");
        let read = |object, kind| raw.attribute(session, object, kind);

        let fixed = make(&[no(CKA_MODIFIABLE), label("fixed")]);
        assert_rv!(raw.set_attributes(session, fixed, &[label("x")]), CKR_ACTION_PROHIBITED);
        assert_eq!(read(fixed, CKA_LABEL), Ok(b"fixed".to_vec()));
        assert_eq!(raw.copy(session, fixed, &[yes(CKA_MODIFIABLE)]), Err(CKR_TEMPLATE_INCONSISTENT));
        let copy = raw.copy(session, fixed, &[label("copy"), no(CKA_DESTROYABLE)]).expect("it is copied");
        assert_eq!(read(copy, CKA_LABEL), Ok(b"copy".to_vec()));
        for kind in [CKA_MODIFIABLE, CKA_DESTROYABLE] {
            assert_eq!(read(copy, kind), Ok(vec![CK_FALSE]), "{kind:#x}");
        }
        assert_eq!(raw.copy(session, copy, &[yes(CKA_DESTROYABLE)]), Err(CKR_TEMPLATE_INCONSISTENT));

        let single = make(&[no(CKA_COPYABLE)]);
        assert_eq!(raw.copy(session, single, &[]), Err(CKR_ACTION_PROHIBITED));
        let original = make(&[(CKA_VALUE, vec![7; 9])]);
        let copy = raw.copy(session, original, &[no(CKA_COPYABLE)]).expect("it is copied");
        assert_eq!(read(copy, CKA_VALUE), Ok(vec![7; 9]));
        assert_eq!(raw.copy(session, copy, &[]), Err(CKR_ACTION_PROHIBITED));
        assert_rv!(raw.set_attributes(session, copy, &[yes(CKA_COPYABLE)]), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(raw.set_attributes(session, original, &[no(CKA_COPYABLE)]), CKR_OK);
        assert_eq!(raw.copy(session, original, &[]), Err(CKR_ACTION_PROHIBITED));
        assert_eq!(count(&raw, session), 5, "what was refused was not made");
    });
}

#[test]
fn a_public_key_verifies_by_what_its_object_allows() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let (secp, digest) = (Secp256k1::new(), [0x5a; 32]);
        // The secret 1, whose point is the generator.
        let secret = SecretKey::from_slice(&hex(&format!("{:064x}", 1))).expect("a key");
        let signature = secp.sign_ecdsa(&Message::from_digest(digest), &secret).serialize_compact();
        let verify = |key, mechanism, digest: &[u8]| {
            let begun = call!(raw, C_VerifyInit(session, Mechanism::new(mechanism, &[]).pointer(), key));
            if begun == CKR_OK { raw.verify_code(session, digest, &signature) } else { begun }
        };
        let make =
            |more: &[Attribute]| raw.create(session, &key(&format!("042102{X}"), more)).expect("it is made");
        let both = [CKM_ECDSA, CKM_COUNTERSIGN_DIGEST];
        let any = make(&[]);
        for mechanism in both {
            assert_rv!(verify(any, mechanism, &digest), CKR_OK);
            assert_rv!(verify(any, mechanism, &[1; 32]), CKR_SIGNATURE_INVALID);
        }
        let ecdsa = make(&[(CKA_ALLOWED_MECHANISMS, [CKM_SHA256, CKM_ECDSA].map(ulong).concat())]);
        assert_rv!(verify(ecdsa, CKM_ECDSA, &digest), CKR_OK);
        assert_rv!(verify(ecdsa, CKM_COUNTERSIGN_DIGEST, &digest), CKR_KEY_FUNCTION_NOT_PERMITTED);
        let made = make(&[no(CKA_VERIFY)]);
        assert_rv!(raw.set_attributes(session, any, &[no(CKA_VERIFY)]), CKR_OK);
        for (given, mechanism) in [(made, both[0]), (made, both[1]), (any, both[0]), (any, both[1])] {
            assert_rv!(verify(given, mechanism, &digest), CKR_KEY_FUNCTION_NOT_PERMITTED);
        }
        for fixed in key(&format!("042102{X}"), &[(CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA))]) {
            let answer = raw.set_attributes(session, ecdsa, std::slice::from_ref(&fixed));
            assert_rv!(answer, CKR_ATTRIBUTE_READ_ONLY, "{:#x}", fixed.0);
        }
    });
}

#[test]
fn the_objects_of_the_token_are_not_copied() {
    in_boundary(this_test!(), |_| {
        let stage = harness::module::Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let public = raw.wallet_public(session, "treasury");
        let clock = raw.find(session, &[(CKA_CLASS, ulong(CKO_HW_FEATURE))]).expect("it finds")[0];
        for object in [raw.user_key(session, "alice"), stage.key, public, clock] {
            assert_eq!(raw.copy(session, object, &[]), Err(CKR_ACTION_PROHIBITED));
            assert_eq!(raw.copy(session, object, &[no(CKA_TOKEN)]), Err(CKR_ACTION_PROHIBITED));
        }
        assert_eq!(count(raw, session), 0);
    });
}

#[test]
fn session_objects_and_their_values_are_bounded() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (session, other) = (raw.read_only(), raw.read_only());
        let many: Vec<_> =
            (0..1_024).map(|_| raw.create(session, &data(&[])).expect("there is room")).collect();
        for session in [session, other] {
            assert_eq!(raw.create(session, &data(&[])), Err(CKR_DEVICE_MEMORY));
        }
        assert_eq!(raw.copy(other, many[0], &[]), Err(CKR_DEVICE_MEMORY));
        assert_rv!(raw.destroy(other, many[0]), CKR_OK);
        raw.create(other, &data(&[])).expect("one was destroyed");
        assert_rv!(raw.close(session), CKR_OK);
        assert_eq!(count(&raw, other), 1);

        // A mebibyte of values, one of which is a label.
        let large = data(&[(CKA_VALUE, vec![0; 65_536])]);
        let full: Vec<_> = (0..16).map(|_| raw.create(other, &large).expect("there is room")).collect();
        let over = data(&[(CKA_VALUE, vec![0; 65_537])]);
        assert_eq!(raw.create(other, &over), Err(CKR_ATTRIBUTE_VALUE_INVALID), "only an act may be longer");
        let label = |len| [(CKA_LABEL, vec![b'a'; len])];
        assert_eq!(raw.create(other, &data(&label(1))), Err(CKR_DEVICE_MEMORY));
        assert_rv!(raw.set_attributes(other, full[0], &label(1)), CKR_DEVICE_MEMORY);
        assert_eq!(raw.attribute(other, full[0], CKA_LABEL), Ok(vec![]), "as it was");
        assert_rv!(raw.destroy(other, full[1]), CKR_OK);
        assert_rv!(raw.set_attributes(other, full[0], &label(65_536)), CKR_OK);
        assert_eq!(raw.create(other, &data(&label(1))), Err(CKR_DEVICE_MEMORY));
        assert_rv!(raw.set_attributes(other, full[0], &label(65_535)), CKR_OK);
        assert_rv!(raw.set_attributes(other, full[0], &label(65_536)), CKR_OK, "what it has, it may keep");
        assert_rv!(raw.set_attributes(other, full[0], &label(0)), CKR_OK);
        raw.create(other, &large).expect("the room was given back");
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.read_only();
        for _ in 0..16 {
            raw.create(session, &large).expect("the room was given back");
        }
    });
}

#[test]
fn objects_made_by_many_threads_are_all_there_and_all_gone_with_their_sessions() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let watching = raw.read_only();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let session = raw.read_only();
                        let made: Vec<_> =
                            (0..5).map(|_| raw.create(session, &data(&[])).expect("there is room")).collect();
                        assert!(made.iter().all(|object| !is_gone(&raw, watching, *object)));
                        assert_rv!(raw.close(session), CKR_OK);
                        assert!(made.iter().all(|object| is_gone(&raw, watching, *object)));
                    }
                });
            }
        });
        assert_eq!(count(&raw, watching), 0);
        for _ in 0..1_024 {
            raw.create(watching, &data(&[])).expect("all room was given back");
        }
    });
}

#[test]
fn an_object_made_while_its_session_is_closed_is_gone_as_well() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let watching = raw.read_only();
        for _ in 0..100 {
            let session = raw.read_only();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| while raw.create(session, &data(&[])).is_ok() {});
                }
                while count(&raw, watching) == 0 {}
                assert_rv!(raw.close(session), CKR_OK);
            });
            assert_eq!(count(&raw, watching), 0);
        }
    });
}

#[test]
fn pointers_and_handles_are_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let (none, mut made) = (ptr::null_mut(), 0);
        let mut template = Template::of(&data(&[]));
        let create = |template, count, made| call!(raw, C_CreateObject(session, template, count, made));
        assert_rv!(create(template.pointer(), 1, ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_rv!(create(none, 1, &mut made), CKR_ARGUMENTS_BAD);
        assert_rv!(create(template.pointer(), CK_ULONG::MAX, &mut made), CKR_ARGUMENTS_BAD);
        assert_rv!(create(none, 0, &mut made), CKR_TEMPLATE_INCOMPLETE);
        let mut value = CK_ATTRIBUTE { type_: CKA_VALUE, pValue: ptr::null_mut(), ulValueLen: 5 };
        assert_rv!(create(&mut value, 1, &mut made), CKR_ARGUMENTS_BAD);
        value.ulValueLen = 16 * 1024 * 1024 + 1;
        assert_rv!(create(&mut value, 1, &mut made), CKR_ATTRIBUTE_VALUE_INVALID);

        let note = raw.create(session, &data(&[])).expect("it is made");
        let copy =
            |object, template, count, made| call!(raw, C_CopyObject(session, object, template, count, made));
        assert_rv!(copy(note, none, 0, ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_rv!(copy(note, none, 1, &mut made), CKR_ARGUMENTS_BAD);
        let size = |object, size| call!(raw, C_GetObjectSize(session, object, size));
        assert_rv!(size(note, ptr::null_mut()), CKR_ARGUMENTS_BAD);
        for object in [CK_INVALID_HANDLE, note + 1, CK_ULONG::MAX] {
            assert_rv!(copy(object, none, 0, &mut made), CKR_OBJECT_HANDLE_INVALID);
            assert_rv!(size(object, &mut made), CKR_OBJECT_HANDLE_INVALID);
        }
        assert_eq!((made, count(&raw, session)), (0, 1), "nothing was made, and nothing is written");
    });
}
