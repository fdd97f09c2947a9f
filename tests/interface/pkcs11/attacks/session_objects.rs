//! Attempts to gain trust with an object that only looks like a key.

use harness::module::{approval, this_test};

use super::super::digest_key::verify;
use super::super::in_boundary;
use super::*;

/// The generator (SEC 2 section 2.4.1), in an OCTET STRING: a point with a known secret.
fn generator() -> Vec<u8> {
    let one = bitcoin::secp256k1::SecretKey::from_slice(&[&[0; 31][..], &[1]].concat()).expect("a scalar");
    let point = one.public_key(&bitcoin::secp256k1::Secp256k1::new()).serialize_uncompressed();
    [&[0x04, 65][..], &point].concat()
}

/// A session's public key with the same attributes as a key of the token.
fn alike(raw: &Raw, session: CK_SESSION_HANDLE, of: CK_OBJECT_HANDLE, point: Vec<u8>) -> Vec<Attribute> {
    let said = [CKA_CLASS, CKA_KEY_TYPE, CKA_EC_PARAMS, CKA_LABEL, CKA_ID];
    let said = said.map(|kind| (kind, raw.attribute(session, of, kind).expect("shown")));
    [&said[..], &[(CKA_EC_POINT, point)]].concat()
}

/// The attributes that mark a key of the token, and the answers to a session key's template that has them.
fn marks(raw: &Raw, session: CK_SESSION_HANDLE, of: CK_OBJECT_HANDLE) -> Vec<(Attribute, CK_RV)> {
    let unique = raw.attribute(session, of, CKA_UNIQUE_ID).expect("shown");
    vec![
        ((CKA_TOKEN, vec![CK_TRUE]), CKR_TEMPLATE_INCONSISTENT),
        ((CKA_TRUSTED, vec![CK_TRUE]), CKR_TEMPLATE_INCONSISTENT),
        ((CKA_LOCAL, vec![CK_TRUE]), CKR_ATTRIBUTE_READ_ONLY),
        ((CKA_UNIQUE_ID, unique), CKR_ATTRIBUTE_READ_ONLY),
        (of_number(CKA_KEY_GEN_MECHANISM, CKM_EC_KEY_PAIR_GEN), CKR_ATTRIBUTE_READ_ONLY),
        (of_number(CKA_OBJECT_VALIDATION_FLAGS, 1), CKR_ATTRIBUTE_READ_ONLY),
        ((CKA_COUNTERSIGN_USERS, b"alice".to_vec()), CKR_TEMPLATE_INCONSISTENT),
        ((CKA_COUNTERSIGN_DESCRIPTOR, b"wpkh()".to_vec()), CKR_TEMPLATE_INCONSISTENT),
        ((CKA_SIGN, vec![CK_TRUE]), CKR_TEMPLATE_INCONSISTENT),
        ((CKA_ALWAYS_AUTHENTICATE, vec![CK_FALSE]), CKR_TEMPLATE_INCONSISTENT),
    ]
}

#[test]
fn a_sessions_key_of_the_same_id_and_label_passes_for_no_key_of_the_token() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let record = approval("alice", &stage.users[0].code());
        let key = raw.wallet_key(stage.session, SIDECHAIN);
        assert_rv!(raw.sign_init(stage.session, CKM_COUNTERSIGN_DIGEST, &record, key), CKR_OK);
        let signature = raw.sign(stage.session, &[7; 32]).expect("signs");
        in_either_role(&stage, |session, _| {
            let keys = Keys::seen_by(raw, session);
            for of in [keys.wallet_public, keys.digest_public] {
                let template = alike(raw, session, of, generator());
                for (mark, rv) in marks(raw, session, of) {
                    let marked = [&template[..], std::slice::from_ref(&mark)].concat();
                    assert_eq!(raw.create(session, &marked), Err(rv), "made with {:#x}", mark.0);
                }
                let made = raw.create(session, &template).expect("a key of the session");
                for (mark, _) in marks(raw, session, of) {
                    // An existing session key can be changed even less: it stays a session object, and no
                    // more trusted.
                    let is_had = raw.attribute(session, made, mark.0) != Err(CKR_ATTRIBUTE_TYPE_INVALID);
                    let rv = if is_had { CKR_ATTRIBUTE_READ_ONLY } else { CKR_TEMPLATE_INCONSISTENT };
                    let set = raw.set_attributes(session, made, std::slice::from_ref(&mark));
                    assert_rv!(set, rv, "set to {:#x}", mark.0);
                    let copied = raw.copy(session, made, std::slice::from_ref(&mark));
                    let rv = if mark.0 == CKA_TOKEN { CKR_TEMPLATE_INCONSISTENT } else { rv };
                    assert_eq!(copied, Err(rv), "copied with {:#x}", mark.0);
                }
                // A search for the token's keys finds only the token's.
                let wanted: Vec<_> =
                    template[..5].iter().cloned().chain([(CKA_TOKEN, vec![CK_TRUE])]).collect();
                assert_eq!(raw.find(session, &wanted), Ok(vec![of]));
                let local = [(CKA_LOCAL, vec![CK_TRUE]), template[3].clone(), template[0].clone()];
                assert_eq!(raw.find(session, &local), Ok(vec![of]));
                assert_ne!(
                    raw.attribute(session, made, CKA_UNIQUE_ID),
                    raw.attribute(session, of, CKA_UNIQUE_ID)
                );
                let judged = verify(raw, session, CKM_ECDSA, made, &[7; 32], &signature);
                assert_rv!(judged, CKR_SIGNATURE_INVALID, "what the token's signed");
                assert_rv!(raw.destroy(session, made), CKR_OK);
            }
            let judged = verify(raw, session, CKM_ECDSA, keys.digest_public, &[7; 32], &signature);
            assert_rv!(judged, CKR_OK);
        });
    });
}

#[test]
fn a_sessions_key_or_its_copy_signs_nothing_and_verifies_by_no_more_than_was_allowed() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let keys = Keys::seen_by(raw, session);
        let record = approval("alice", &stage.users[0].code());
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, &record, keys.digest), CKR_OK);
        let signature = raw.sign(session, &[7; 32]).expect("signs");
        gaining_nothing(raw, session, || {
            let point = raw.attribute(session, keys.digest_public, CKA_EC_POINT).expect("shown");
            let narrow = (CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA));
            let template = [alike(raw, session, keys.digest_public, point), vec![narrow]].concat();
            let made = raw.create(session, &template).expect("a key of the session");
            for attribute in [
                (CKA_ALLOWED_MECHANISMS, [CKM_ECDSA, CKM_COUNTERSIGN_DIGEST].map(ulong).concat()),
                (CKA_EC_POINT, generator()),
                of_number(CKA_CLASS, CKO_PRIVATE_KEY),
                of_number(CKA_KEY_TYPE, CKK_HOTP),
            ] {
                let attribute = std::slice::from_ref(&attribute);
                let (kind, copied) = (attribute[0].0, raw.copy(session, made, attribute));
                assert_eq!(copied, Err(CKR_ATTRIBUTE_READ_ONLY), "copied with {kind:#x}");
                assert_rv!(
                    raw.set_attributes(session, made, attribute),
                    CKR_ATTRIBUTE_READ_ONLY,
                    "{kind:#x}"
                );
            }
            let copied = raw.copy(session, made, &[(CKA_LABEL, b"copy".to_vec())]).expect("copied");
            for key in [made, copied] {
                for mechanism in [CKM_COUNTERSIGN_PSBT, CKM_COUNTERSIGN_DIGEST, CKM_ECDSA] {
                    let rv = raw.sign_init(session, mechanism, &[], key);
                    assert_rv!(rv, CKR_KEY_TYPE_INCONSISTENT, "{mechanism:#x}");
                }
                assert_rv!(raw.verify_init(session, key), CKR_KEY_TYPE_INCONSISTENT, "it has no codes");
                let judge = |mechanism| verify(raw, session, mechanism, key, &[7; 32], &signature);
                assert_rv!(judge(CKM_COUNTERSIGN_DIGEST), CKR_KEY_FUNCTION_NOT_PERMITTED);
                assert_rv!(judge(CKM_ECDSA), CKR_OK);
                assert_rv!(raw.destroy(session, key), CKR_OK);
            }
        });
    });
}
