//! Finding objects by any template (PKCS#11 v3.2 section 5.7, `C_FindObjectsInit` to `C_FindObjectsFinal`).

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Template, call};
use harness::module::{
    LIMITS, Stage, USER_PIN, assert_rv, create_wallet, enrol_confirmed, initialised_token, this_test, ulong,
};

use super::digest_key;
use super::in_boundary;

fn data(label: &str) -> Vec<Attribute> {
    vec![(CKA_CLASS, ulong(CKO_DATA)), (CKA_LABEL, label.as_bytes().to_vec())]
}

#[test]
fn a_search_takes_any_template_and_finds_what_matches_all_of_it() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        for user in ["alice", "bob"] {
            enrol_confirmed(&raw, so, user);
        }
        create_wallet(&raw, so, "hot", &["alice", "bob"], LIMITS);
        digest_key::make(&raw, so, "sidechain", "bob", "max_period_transactions = 9");
        // A session object with a user's name, and one without a name.
        raw.create(so, &data("alice")).expect("it is made");
        raw.create(so, &[(CKA_CLASS, ulong(CKO_DATA)), (CKA_VALUE, vec![7; 20])]).expect("it is made");
        let class = |class| (CKA_CLASS, ulong(class));
        let label = |label: &[u8]| (CKA_LABEL, label.to_vec());
        let (yes, no) = (vec![CK_TRUE], vec![CK_FALSE]);
        for (template, wanted) in [
            (vec![], 9),
            // Booleans, false ones as well.
            (vec![(CKA_TOKEN, yes.clone())], 7),
            (vec![(CKA_TOKEN, no.clone())], 2),
            (vec![(CKA_PRIVATE, no.clone()), (CKA_TOKEN, yes.clone())], 3),
            (vec![(CKA_COPYABLE, no.clone())], 7),
            (vec![(CKA_EXTRACTABLE, no.clone())], 4),
            (vec![(CKA_EXTRACTABLE, yes.clone())], 0),
            (vec![(CKA_SIGN, yes.clone()), class(CKO_PRIVATE_KEY)], 2),
            (vec![(CKA_VERIFY, yes.clone()), class(CKO_PUBLIC_KEY)], 1),
            (vec![(CKA_TOKEN, vec![2])], 0),
            (vec![(CKA_TOKEN, ulong(1))], 0),
            // Labels: all objects with that name, and the empty name.
            (vec![label(b"alice")], 2),
            (vec![label(b"alice"), class(CKO_OTP_KEY)], 1),
            (vec![class(CKO_DATA), label(b"alice")], 1),
            (vec![label(b"")], 2),
            (vec![label(b"alice\0")], 0),
            (vec![label(b"alic")], 0),
            (vec![label(&[0xff, 0xfe])], 0),
            (vec![label(&[b'a'; 65_536])], 0),
            (vec![(CKA_ID, vec![])], 0),
            (vec![(CKA_ID, vec![1; 60_000])], 0),
            (vec![(CKA_START_DATE, vec![])], 6),
            // The same attribute twice: with the same value, and with two.
            (vec![label(b"bob"), label(b"bob")], 1),
            (vec![label(b"bob"), label(b"alice")], 0),
            (vec![label(b"bob"), (CKA_OTP_USER_IDENTIFIER, b"bob".to_vec())], 1),
            (vec![label(b"bob"), (CKA_OTP_USER_IDENTIFIER, b"alice".to_vec())], 0),
            (vec![class(CKO_OTP_KEY), class(CKO_DATA)], 0),
            // Classes without objects, and values that are no class.
            (vec![class(CKO_SECRET_KEY)], 0),
            (vec![class(CKO_CERTIFICATE)], 0),
            (vec![class(CK_ULONG::MAX)], 0),
            (vec![(CKA_CLASS, vec![])], 0),
            (vec![(CKA_CLASS, vec![8])], 0),
            (vec![class(CKO_HW_FEATURE), label(b"alice")], 0),
            (vec![class(CKO_HW_FEATURE), (CKA_HW_FEATURE_TYPE, ulong(CKH_USER_INTERFACE))], 0),
            // Attributes of other kinds of object, and unknown ones.
            (vec![(CKA_MODULUS, vec![1])], 0),
            (vec![(CKA_MODULUS, vec![])], 0),
            (vec![(0x8000_0001, vec![])], 0),
            (vec![(CK_ULONG::MAX, vec![])], 0),
            (vec![(CKA_WRAP_TEMPLATE, vec![])], 4),
            (vec![(CKA_WRAP_TEMPLATE, vec![0; 24])], 0),
            // Vendor attributes.
            (vec![(CKA_COUNTERSIGN_USERS, b"alice\nbob".to_vec())], 2),
            (vec![(CKA_COUNTERSIGN_USERS, b"bob".to_vec())], 2),
            // The mechanisms for which, and by which, wallets and digest keys were made.
            (vec![(CKA_ALLOWED_MECHANISMS, ulong(CKM_COUNTERSIGN_PSBT))], 1),
            (vec![(CKA_ALLOWED_MECHANISMS, [ulong(CKM_COUNTERSIGN_DIGEST), ulong(CKM_ECDSA)].concat())], 2),
            (vec![(CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA))], 0),
            (vec![(CKA_KEY_GEN_MECHANISM, ulong(CKM_EC_KEY_PAIR_GEN))], 2),
            (
                vec![
                    (CKA_KEY_TYPE, ulong(CKK_EC)),
                    (CKA_KEY_GEN_MECHANISM, ulong(CKM_EC_KEY_PAIR_GEN)),
                    class(CKO_PRIVATE_KEY),
                ],
                1,
            ),
            (vec![(CKA_COUNTERSIGN_REACH, [ulong(0), ulong(0)].concat())], 2),
            (vec![(CKA_COUNTERSIGN_LOCKED, no.clone()), (CKA_COUNTERSIGN_CONFIRMED, yes.clone())], 2),
            // By value, if the value is no secret. A secret one is never found.
            (vec![(CKA_VALUE, vec![7; 20])], 1),
            (vec![(CKA_VALUE, vec![]), class(CKO_DATA)], 1),
            (vec![(CKA_VALUE, vec![]), class(CKO_OTP_KEY)], 0),
        ] {
            assert_eq!(raw.find(so, &template).map(|found| found.len()), Ok(wanted), "{template:x?}");
        }
        let longer_than_any = vec![label(&[b'a'; 65_537])];
        assert_eq!(raw.find(so, &longer_than_any), Err(CKR_ATTRIBUTE_VALUE_INVALID));
        let most: Vec<Attribute> = (0..256).map(|_| label(b"bob")).collect();
        assert_eq!(raw.find(so, &most).map(|found| found.len()), Ok(1));
        let mut too_many = Template::of(&[most, vec![label(b"bob")]].concat());
        assert_rv!(call!(raw, C_FindObjectsInit(so, too_many.pointer(), 257)), CKR_ARGUMENTS_BAD);
    });
}

#[test]
fn a_secret_is_found_by_no_value_not_even_by_its_own() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let alice = enrol_confirmed(&raw, so, "alice");
        let (_, rest) = alice.uri().split_once("secret=").expect("it has one");
        let secret = rest.split('&').next().expect("a first part");
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).expect("base 32");
        assert_eq!(raw.find(so, &[(CKA_VALUE, secret)]), Ok(vec![]));
        let uri = alice.uri().as_bytes().to_vec();
        assert_eq!(raw.find(so, &[(CKA_COUNTERSIGN_OTPAUTH_URI, uri)]), Ok(vec![]));
    });
}

#[test]
fn hundreds_of_objects_come_one_at_a_time_and_each_once() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let session = raw.read_only();
        let mut made: Vec<CK_OBJECT_HANDLE> = (0..500)
            .map(|number| raw.create(session, &data(&format!("{number}"))).expect("it is made"))
            .collect();
        let mut template = Template::of(&[(CKA_CLASS, ulong(CKO_DATA))]);
        assert_rv!(call!(raw, C_FindObjectsInit(session, template.pointer(), 1)), CKR_OK);
        let (mut found, mut handle, mut count) = (vec![], 0, 9);
        assert_rv!(call!(raw, C_FindObjects(session, &mut handle, 0, &mut count)), CKR_OK);
        assert_eq!((handle, count), (0, 0), "none, where none is asked for");
        loop {
            assert_rv!(call!(raw, C_FindObjects(session, &mut handle, 1, &mut count)), CKR_OK);
            match count {
                0 => break,
                1 => found.push(handle),
                more => panic!("{more} where one was asked for"),
            }
            let again = call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0));
            assert_rv!(again, CKR_OPERATION_ACTIVE, "and the search goes on");
        }
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OK);
        found.sort_unstable();
        made.sort_unstable();
        assert_eq!(found, made);
    });
}

#[test]
fn a_private_object_that_was_found_is_refused_after_logout() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let all = raw.find(session, &[]).expect("it finds");
        let public = raw.wallet_public(session, "treasury");
        let profile = raw.find(session, &[(CKA_CLASS, ulong(CKO_PROFILE))]).expect("it finds")[0];
        let check = |when: &str| {
            for object in &all {
                let wanted = [public, profile].contains(object);
                let read = raw.attribute(session, *object, CKA_CLASS);
                assert!(wanted == read.is_ok(), "{object} {when}: {read:x?}");
                if !wanted {
                    let label = [(CKA_LABEL, b"x".to_vec())];
                    assert_eq!(read, Err(CKR_OBJECT_HANDLE_INVALID));
                    assert_eq!(raw.object_size(session, *object), Err(CKR_OBJECT_HANDLE_INVALID));
                    assert_eq!(raw.copy(session, *object, &[]), Err(CKR_OBJECT_HANDLE_INVALID));
                    assert_rv!(raw.set_attributes(session, *object, &label), CKR_OBJECT_HANDLE_INVALID);
                    assert_rv!(raw.destroy(session, *object), CKR_OBJECT_HANDLE_INVALID);
                }
            }
        };
        assert_eq!(all.len(), 4);
        assert_rv!(raw.logout(session), CKR_OK);
        check("after logout");
        let private = [(CKA_PRIVATE, vec![CK_TRUE])];
        assert_eq!(raw.find(session, &private), Ok(vec![]), "even by who asks for private ones");
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
        check("after another login");
        assert_eq!(raw.find(session, &private).map(|found| found.len()), Ok(2));
    });
}

#[test]
fn a_handle_is_invalid_once_another_session_destroyed_its_object() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let (so, other) = (raw.so(), raw.read_write());
        enrol_confirmed(&raw, so, "bob");
        let bob = raw.user_key(other, "bob");
        let note = raw.create(so, &data("note")).expect("it is made");
        assert_eq!(raw.attribute(other, note, CKA_LABEL), Ok(b"note".to_vec()), "every session sees it");
        let mut template = Template::of(&data("note"));
        assert_rv!(call!(raw, C_FindObjectsInit(other, template.pointer(), 2)), CKR_OK);
        for object in [bob, note] {
            assert_rv!(raw.destroy(so, object), CKR_OK);
            let read = |session| raw.attribute(session, object, CKA_LABEL);
            assert_eq!(
                (read(so), read(other)),
                (Err(CKR_OBJECT_HANDLE_INVALID), Err(CKR_OBJECT_HANDLE_INVALID))
            );
            assert_rv!(raw.destroy(other, object), CKR_OBJECT_HANDLE_INVALID);
            assert_rv!(raw.verify_init(other, object), CKR_KEY_HANDLE_INVALID);
        }
        // The object was found before it was destroyed.
        let (mut handle, mut count) = (0, 0);
        assert_rv!(call!(raw, C_FindObjects(other, &mut handle, 1, &mut count)), CKR_OK);
        assert_eq!((handle, count), (note, 1));
        assert_rv!(call!(raw, C_FindObjectsFinal(other)), CKR_OK);
        assert_eq!(raw.attribute(other, handle, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
        // Made again, both have other handles.
        enrol_confirmed(&raw, so, "bob");
        assert_ne!(raw.user_key(other, "bob"), bob);
        assert_ne!(raw.create(so, &data("note")).expect("it is made"), note);
    });
}
