//! Object management (PKCS#11 v3.2 section 5.7).

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Raw, call};
use harness::module::{
    LIMITS, Stage, assert_rv, create_wallet, enrol, enrol_confirmed, initialised_token, read_ulong,
    this_test, ulong,
};

use super::in_boundary;

/// Reads one attribute into a buffer of `room` bytes: the answer, and the length that was written.
fn read_into(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
    room: usize,
) -> (CK_RV, CK_ULONG) {
    let mut buffer = vec![0u8; room];
    let mut one =
        CK_ATTRIBUTE { type_: kind, pValue: buffer.as_mut_ptr().cast(), ulValueLen: room as CK_ULONG };
    let rv = call!(raw, C_GetAttributeValue(session, object, &mut one, 1));
    (rv, one.ulValueLen)
}

#[test]
fn objects_are_found_by_what_is_visible() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        for user in ["alice", "bob"] {
            enrol_confirmed(&raw, so, user);
        }
        for wallet in ["hot", "cold"] {
            create_wallet(&raw, so, wallet, &["alice"], LIMITS);
        }
        let count = |session, template: &[_]| raw.find(session, template).expect("it finds").len();
        let class = |class| (CKA_CLASS, ulong(class));
        let label = |label: &str| (CKA_LABEL, label.as_bytes().to_vec());
        let check_private = |session| {
            assert_eq!(count(session, &[]), 7, "and the profile");
            assert_eq!(count(session, &[class(CKO_OTP_KEY)]), 2);
            assert_eq!(count(session, &[class(CKO_PRIVATE_KEY)]), 2);
            assert_eq!(count(session, &[label("hot")]), 2);
            assert_eq!(count(session, &[class(CKO_OTP_KEY), label("alice")]), 1);
            assert_eq!(count(session, &[class(CKO_OTP_KEY), label("hot")]), 0);
            assert_eq!(count(session, &[(CKA_COUNTERSIGN_CONFIRMED, vec![CK_TRUE])]), 2);
            assert_eq!(count(session, &[label("nobody")]), 0);
            assert_eq!(count(session, &[(CKA_VALUE, vec![])]), 0, "what is sensitive matches nothing");
            let id = raw.attribute(session, raw.wallet_key(session, "hot"), CKA_ID).expect("it has one");
            assert_eq!(count(session, &[(CKA_ID, id)]), 2, "both sides of one wallet");
        };
        check_private(so);
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.read_only();
        assert_eq!(count(session, &[]), 3, "without login the public sides and the profile only");
        assert_eq!(count(session, &[class(CKO_PUBLIC_KEY)]), 2);
        assert_eq!(count(session, &[class(CKO_OTP_KEY)]), 0);
        assert_eq!(count(session, &[label("alice")]), 0);
        assert_rv!(raw.close_all(), CKR_OK);
        check_private(raw.user());
    });
}

#[test]
fn finding_is_begun_once_and_ended_once() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let (mut found, mut count) = ([0; 8], 0);
        let find = |most, found: *mut CK_OBJECT_HANDLE, count| {
            call!(raw, C_FindObjects(session, found, most, count))
        };
        assert_rv!(find(8, found.as_mut_ptr(), &mut count), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 1)), CKR_ARGUMENTS_BAD);
        assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0)), CKR_OK);
        assert_rv!(call!(raw, C_FindObjectsInit(session, ptr::null_mut(), 0)), CKR_OPERATION_ACTIVE);
        assert_rv!(find(8, ptr::null_mut(), &mut count), CKR_ARGUMENTS_BAD);
        assert_rv!(find(8, found.as_mut_ptr(), ptr::null_mut()), CKR_ARGUMENTS_BAD);
        let mut all = Vec::new();
        // Five objects, three at a time. A further call returns none.
        for expected in [3, 2, 0] {
            assert_rv!(find(3, found.as_mut_ptr(), &mut count), CKR_OK);
            assert_eq!(count, expected);
            all.extend_from_slice(&found[..count as usize]);
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5, "each once");
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OK);
        assert_rv!(call!(raw, C_FindObjectsFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(raw.find(session, &[]).expect("it finds"), all, "an object keeps its handle");
    });
}

#[test]
fn attributes_are_answered_one_by_one_and_the_answer_is_the_first_that_fails() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let alice = raw.user_key(session, "alice");
        for object in [key, alice] {
            assert_eq!(
                read_into(raw, session, object, CKA_VALUE, 64),
                (CKR_ATTRIBUTE_SENSITIVE, CK_UNAVAILABLE_INFORMATION)
            );
            assert_eq!(raw.attribute(session, object, CKA_EXTRACTABLE), Ok(vec![CK_FALSE]));
            for kind in [CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL] {
                assert_eq!(raw.attribute(session, object, kind), Ok(vec![CK_TRUE]), "{kind:#x}");
            }
        }
        assert_eq!(
            read_into(raw, session, key, CKA_LABEL, 7),
            (CKR_BUFFER_TOO_SMALL, CK_UNAVAILABLE_INFORMATION)
        );
        assert_eq!(read_into(raw, session, key, CKA_LABEL, 100), (CKR_OK, 8));
        assert_eq!(
            read_into(raw, session, key, 0x8000_0001, 8),
            (CKR_ATTRIBUTE_TYPE_INVALID, CK_UNAVAILABLE_INFORMATION)
        );
        assert_eq!(raw.attribute(session, key, CKA_ALWAYS_AUTHENTICATE), Ok(vec![CK_TRUE]));
        assert_eq!(raw.attribute(session, key, CKA_KEY_TYPE), Ok(ulong(CKK_EC)));

        let (mut label, mut class) = ([0u8; 8], [0u8; 8]);
        let slot = |kind, buffer: &mut [u8]| CK_ATTRIBUTE {
            type_: kind,
            pValue: buffer.as_mut_ptr().cast(),
            ulValueLen: buffer.len() as CK_ULONG,
        };
        let mut template =
            [slot(CKA_LABEL, &mut label), slot(CKA_VALUE, &mut [0; 8]), slot(CKA_CLASS, &mut class)];
        assert_rv!(
            call!(raw, C_GetAttributeValue(session, key, template.as_mut_ptr(), 3)),
            CKR_ATTRIBUTE_SENSITIVE
        );
        assert_eq!(template[1].ulValueLen, CK_UNAVAILABLE_INFORMATION);
        assert_eq!((&label, &class[..]), (b"treasury", &ulong(CKO_PRIVATE_KEY)[..]), "the others came");
        assert_rv!(call!(raw, C_GetAttributeValue(session, key, ptr::null_mut(), 1)), CKR_ARGUMENTS_BAD);
        assert_eq!(raw.attribute(session, 9_999, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    });
}

#[test]
fn the_enrolment_is_shown_once_to_the_session_that_made_it() {
    in_boundary(this_test!(), |boundary| {
        const URI: CK_ATTRIBUTE_TYPE = CKA_COUNTERSIGN_OTPAUTH_URI;
        if boundary.role() == "later" {
            let raw = Raw::load();
            assert_rv!(raw.initialize(), CKR_OK);
            let so = raw.so();
            let bob = raw.user_key(so, "bob");
            assert_eq!(raw.attribute(so, bob, URI), Err(CKR_ATTRIBUTE_SENSITIVE), "never read, and gone");
            return;
        }
        let raw = initialised_token();
        let so = raw.so();
        let other = raw.read_write();
        let make = |name: &str| {
            raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, name.into())]).expect("made")
        };
        let alice = make("alice");
        assert_eq!(raw.attribute(other, alice, URI), Err(CKR_ATTRIBUTE_SENSITIVE), "another session");
        for _ in 0..3 {
            let mut query = CK_ATTRIBUTE { type_: URI, pValue: ptr::null_mut(), ulValueLen: 0 };
            assert_rv!(call!(raw, C_GetAttributeValue(so, alice, &mut query, 1)), CKR_OK);
            assert!(query.ulValueLen > 60, "a length query does not consume it");
            assert_eq!(read_into(&raw, so, alice, URI, 20).0, CKR_BUFFER_TOO_SMALL, "nor too small a buffer");
        }
        let uri = raw.attribute(so, alice, URI).expect("the first reading");
        assert!(uri.starts_with(b"otpauth://totp/Countersign:alice?secret="));
        assert_eq!(raw.attribute(so, alice, URI), Err(CKR_ATTRIBUTE_SENSITIVE), "the second reading");
        assert_eq!(raw.attribute(so, alice, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        make("bob");
        assert_rv!(raw.finalize(), CKR_OK);
        boundary.run("later");
    });
}

#[test]
fn the_security_officer_unlocks_a_user_and_the_budget_stays() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        for _ in 0..3 {
            let refused = stage.sign("alice", &stage.users[0].wrong_code(), &stage.psbt());
            assert_eq!(refused, Err(CKR_PIN_INCORRECT));
        }
        let alice = stage.raw.user_key(stage.session, "alice");
        let unlock = [(CKA_COUNTERSIGN_LOCKED, vec![CK_FALSE])];
        assert_rv!(
            stage.raw.set_attributes(stage.session, alice, &unlock),
            CKR_USER_NOT_LOGGED_IN,
            "not the backend"
        );
        assert_eq!(stage.sign("alice", &stage.users[0].code_away(1), &stage.psbt()), Err(CKR_PIN_LOCKED));
        stage.as_so(|raw, so| {
            let alice = raw.user_key(so, "alice");
            assert_eq!(raw.attribute(so, alice, CKA_COUNTERSIGN_LOCKED), Ok(vec![CK_TRUE]));
            for (kind, value, wanted) in [
                (CKA_COUNTERSIGN_LOCKED, vec![CK_TRUE], CKR_ATTRIBUTE_VALUE_INVALID),
                (CKA_COUNTERSIGN_LOCKED, vec![2], CKR_ATTRIBUTE_VALUE_INVALID),
                (CKA_COUNTERSIGN_CONFIRMED, vec![CK_TRUE], CKR_ATTRIBUTE_READ_ONLY),
                (CKA_COUNTERSIGN_FAILURES, ulong(0), CKR_ATTRIBUTE_READ_ONLY),
                (CKA_LABEL, b"mallory".to_vec(), CKR_ATTRIBUTE_READ_ONLY),
                (CKA_VALUE, vec![0; 20], CKR_ATTRIBUTE_READ_ONLY),
                (0x8000_0001, vec![], CKR_ATTRIBUTE_TYPE_INVALID),
            ] {
                assert_rv!(raw.set_attributes(so, alice, &[(kind, value)]), wanted, "{kind:#x}");
            }
            assert_rv!(raw.set_attributes(so, alice, &unlock), CKR_OK);
            assert_eq!(raw.attribute(so, alice, CKA_COUNTERSIGN_LOCKED), Ok(vec![CK_FALSE]));
            assert_eq!(read_ulong(raw, so, alice, CKA_COUNTERSIGN_FAILURES), 3, "the budget stays");
        });
        assert!(stage.sign("alice", &stage.users[0].code(), &stage.psbt()).is_ok());
        assert_eq!(stage.failures("alice"), 3, "success does not lower it either");
    });
}

#[test]
fn a_wallet_is_changed_as_a_whole_or_not_at_all() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let tighter = b"max_transaction_sat = 10\nmax_fee_sat = 10".to_vec();
        let policy = |policy: &[u8]| (CKA_COUNTERSIGN_POLICY, policy.to_vec());
        assert_rv!(
            stage.raw.set_attributes(stage.session, stage.key, &[policy(b"unlimited = true")]),
            CKR_USER_NOT_LOGGED_IN,
            "not the backend"
        );
        stage.as_so(|raw, so| {
            enrol(raw, so, "bob");
            let key = raw.wallet_key(so, "treasury");
            let before = [CKA_LABEL, CKA_COUNTERSIGN_POLICY, CKA_COUNTERSIGN_USERS]
                .map(|kind| raw.attribute(so, key, kind));
            for (template, wanted) in [
                (
                    vec![policy(&tighter), (CKA_COUNTERSIGN_USERS, b"nobody".to_vec())],
                    CKR_ATTRIBUTE_VALUE_INVALID,
                ),
                (vec![policy(b"max_fee = 1")], CKR_ATTRIBUTE_VALUE_INVALID),
                (
                    vec![(CKA_LABEL, b"other".to_vec()), (CKA_COUNTERSIGN_NETWORK, b"signet".to_vec())],
                    CKR_ATTRIBUTE_READ_ONLY,
                ),
                (vec![(CKA_COUNTERSIGN_DESCRIPTOR, vec![])], CKR_ATTRIBUTE_READ_ONLY),
                (vec![(0x8000_0001, vec![])], CKR_ATTRIBUTE_TYPE_INVALID),
            ] {
                assert_rv!(raw.set_attributes(so, key, &template), wanted, "{template:?}");
            }
            let after = [CKA_LABEL, CKA_COUNTERSIGN_POLICY, CKA_COUNTERSIGN_USERS]
                .map(|kind| raw.attribute(so, key, kind));
            assert_eq!(before, after);
            assert_rv!(raw.set_attributes(so, key, &[policy(&tighter)]), CKR_OK);
            assert_eq!(raw.attribute(so, key, CKA_COUNTERSIGN_POLICY), Ok(tighter.clone()));
        });
        let refused = stage.sign("alice", &stage.users[0].code(), &stage.psbt());
        assert_eq!(refused, Err(CKR_COUNTERSIGN_POLICY), "the new policy judges at once");
    });
}

#[test]
fn the_reach_of_a_wallet_is_raised_by_the_so_alone_and_never_lowered() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let reach = |external, internal| (CKA_COUNTERSIGN_REACH, [ulong(external), ulong(internal)].concat());
        assert_rv!(
            stage.raw.set_attributes(stage.session, stage.key, &[reach(5_000, 5_000)]),
            CKR_USER_NOT_LOGGED_IN,
            "not the backend: it would hold change to ransom"
        );
        stage.as_so(|raw, so| {
            let key = raw.wallet_key(so, "treasury");
            let before = raw.attribute(so, key, CKA_COUNTERSIGN_REACH);
            for value in [
                vec![],
                ulong(5_000),
                [ulong(5_000), ulong(5_000), ulong(5_000)].concat(),
                reach(0x8000_0000, 0).1,
                reach(0, 0x1_0000_0005).1,
            ] {
                let template = [(CKA_COUNTERSIGN_REACH, value)];
                assert_rv!(
                    raw.set_attributes(so, key, &template),
                    CKR_ATTRIBUTE_VALUE_INVALID,
                    "{template:?}"
                );
            }
            let with_nobody = [reach(5_000, 5_000), (CKA_COUNTERSIGN_USERS, b"nobody".to_vec())];
            assert_rv!(raw.set_attributes(so, key, &with_nobody), CKR_ATTRIBUTE_VALUE_INVALID);
            assert_eq!(raw.attribute(so, key, CKA_COUNTERSIGN_REACH), before, "all or nothing");
            for (asked, found) in [
                ((5_000, 0), (5_000, 0)),
                ((4_000, 70), (5_000, 70)),
                ((0, 0), (5_000, 70)),
                ((0x7fff_ffff, 71), (0x7fff_ffff, 71)),
            ] {
                assert_rv!(raw.set_attributes(so, key, &[reach(asked.0, asked.1)]), CKR_OK);
                assert_eq!(
                    raw.attribute(so, key, CKA_COUNTERSIGN_REACH),
                    Ok(reach(found.0, found.1).1),
                    "{asked:?}"
                );
            }
        });
    });
}

#[test]
fn only_users_whom_no_wallet_lists_can_be_removed_and_wallets_never() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        let alice = stage.raw.user_key(stage.session, "alice");
        assert_rv!(stage.raw.destroy(stage.session, alice), CKR_USER_NOT_LOGGED_IN, "not the backend");
        stage.as_so(|raw, so| {
            enrol(raw, so, "bob");
            let bob = raw.user_key(so, "bob");
            for object in
                [raw.user_key(so, "alice"), raw.wallet_key(so, "treasury"), raw.wallet_public(so, "treasury")]
            {
                assert_rv!(raw.destroy(so, object), CKR_ACTION_PROHIBITED);
            }
            assert_rv!(raw.destroy(so, bob), CKR_OK);
            assert_rv!(raw.destroy(so, bob), CKR_OBJECT_HANDLE_INVALID);
            assert_eq!(raw.attribute(so, bob, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(raw.find(so, &[(CKA_LABEL, b"bob".to_vec())]), Ok(vec![]));
            assert_rv!(raw.destroy(so, 9_999), CKR_OBJECT_HANDLE_INVALID);
        });
    });
}
