//! Attempts to get a key, or another use of an existing one: by conflicting attributes, wrapping, copying,
//! deriving.

use harness::module::this_test;

use super::super::in_boundary;
use super::*;

#[test]
fn wrap_then_decrypt_no_key_wraps_and_none_decrypts_whatever_is_asked_for() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            let both = [(CKA_WRAP, vec![CK_TRUE]), (CKA_DECRYPT, vec![CK_TRUE])];
            let keys = Keys::seen_by(raw, so);
            for key in keys.all() {
                assert_rv!(raw.set_attributes(so, key, &both), refusal_to_set(raw, so, key, CKA_WRAP));
                assert_rv!(wrap(raw, so, CKM_AES_KEY_WRAP, key, keys.user), CKR_FUNCTION_NOT_SUPPORTED);
                for (name, rv) in no_such_operations(raw, so, key) {
                    assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "{name}");
                }
            }
            let template = [&[(CKA_LABEL, MADE.into())][..], &both].concat();
            assert_eq!(
                raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template),
                Err(CKR_TEMPLATE_INCONSISTENT)
            );
        });
        // These attributes were the reason for the refusal: without them the key is made.
        assert!(raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, MADE.into())]).is_ok());
    });
}

#[test]
fn wrapping_a_sensitive_key_is_refused_by_every_mechanism_under_every_key() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        gaining_nothing(raw, session, || {
            for mechanism in [
                CKM_RSA_PKCS,
                CKM_RSA_PKCS_OAEP,
                CKM_DES3_ECB,
                CKM_AES_ECB,
                CKM_AES_CBC_PAD,
                CKM_AES_KEY_WRAP,
                CKM_AES_KEY_WRAP_PAD,
                CKM_AES_GCM,
                CKM_COUNTERSIGN_PSBT,
            ] {
                let keys = Keys::seen_by(raw, session);
                for by in keys.all().into_iter().chain([0]) {
                    for key in keys.all() {
                        assert_rv!(
                            wrap(raw, session, mechanism, by, key),
                            CKR_FUNCTION_NOT_SUPPORTED,
                            "{mechanism:#x}"
                        );
                    }
                }
            }
        });
        let keys = Keys::seen_by(raw, session);
        for key in [keys.wallet, keys.user, keys.digest] {
            let extractable = raw.attribute(session, key, CKA_EXTRACTABLE);
            assert_eq!(extractable, Ok(vec![CK_FALSE]), "and would be if there were such a mechanism");
        }
    });
}

#[test]
fn key_separation_no_attribute_of_a_key_that_is_there_is_weakened() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, _| {
            for key in Keys::seen_by(raw, session).all() {
                for attribute in weakened() {
                    let (kind, rv) = (attribute.0, raw.set_attributes(session, key, &[attribute]));
                    assert_rv!(rv, refusal_to_set(raw, session, key, kind), "{kind:#x}");
                }
            }
        });
        // All or nothing: an allowed change is not made together with a forbidden one.
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            let label = (CKA_LABEL, b"renamed".to_vec());
            let template = [label, (CKA_EXTRACTABLE, vec![CK_TRUE])];
            let keys = Keys::seen_by(raw, so);
            for key in [keys.wallet, keys.digest] {
                assert_rv!(raw.set_attributes(so, key, &template), CKR_ATTRIBUTE_READ_ONLY);
            }
        });
    });
}

#[test]
fn copying_makes_no_key_with_weaker_attributes() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, _| {
            for key in Keys::seen_by(raw, session).all() {
                assert_eq!(raw.copy(session, key, &[]), Err(CKR_ACTION_PROHIBITED));
                for attribute in weakened() {
                    let copied = raw.copy(session, key, &[attribute]);
                    assert_eq!(copied, Err(CKR_ACTION_PROHIBITED), "not for the session, either");
                }
                assert_eq!(raw.copy(session, key, &weakened()), Err(CKR_ACTION_PROHIBITED));
            }
        });
    });
}

#[test]
fn always_authenticate_is_not_switched_off() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = stage(&["alice"]);
        let raw = stage.raw;
        let off = [(CKA_ALWAYS_AUTHENTICATE, vec![CK_FALSE])];
        stage.as_so(|raw, so| {
            gaining_nothing(raw, so, || {
                let keys = Keys::seen_by(raw, so);
                for key in [keys.wallet, keys.digest] {
                    assert_rv!(raw.set_attributes(so, key, &off), CKR_ATTRIBUTE_READ_ONLY);
                }
                let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &off);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT));
                let [public, private] = digest_key(MADE, "alice");
                let private = [&private[..], &off].concat();
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT));
            });
        });
        let (keys, session) = (Keys::seen_by(&raw, stage.session), stage.session);
        for key in [keys.wallet, keys.digest] {
            assert_rv!(raw.set_attributes(session, key, &off), CKR_USER_NOT_LOGGED_IN);
            assert_rv!(raw.set_attributes(raw.read_only(), key, &off), CKR_SESSION_READ_ONLY);
        }
        for (mechanism, key, data) in [
            (CKM_COUNTERSIGN_PSBT, keys.wallet, stage.psbt()),
            (CKM_COUNTERSIGN_DIGEST, keys.digest, vec![7; 32]),
            (CKM_ECDSA, keys.digest, vec![7; 32]),
        ] {
            assert_rv!(raw.sign_init(session, mechanism, &[], key), CKR_OK);
            assert_eq!(raw.sign(session, &data), Err(CKR_USER_NOT_LOGGED_IN), "no code for {mechanism:#x}");
        }
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &stage.users[0].code());
    });
}

#[test]
fn allowed_mechanisms_are_not_widened() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        let both = [CKM_COUNTERSIGN_PSBT, CKM_COUNTERSIGN_DIGEST, CKM_ECDSA].map(ulong).concat();
        let wide = (CKA_ALLOWED_MECHANISMS, both);
        gaining_nothing(raw, so, || {
            for key in Keys::seen_by(raw, so).all() {
                let rv = raw.set_attributes(so, key, std::slice::from_ref(&wide));
                assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY);
            }
            let more = std::slice::from_ref(&wide);
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), more);
            assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY), "a wallet that signs digests");
            let user = [(CKA_LABEL, MADE.into()), wide.clone()];
            let made = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user);
            assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY));
            let [public, private] = digest_key(MADE, "alice");
            let narrow = (CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA));
            for (in_public, in_private) in [
                (None, wide.clone()),
                (Some(&wide), narrow.clone()),
                (None, (CKA_ALLOWED_MECHANISMS, ulong(CKM_COUNTERSIGN_PSBT))),
            ] {
                let public: Vec<_> = public.iter().chain(in_public).cloned().collect();
                let private = [&private[..3], &[in_private]].concat();
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT), "a key for digests that signs PSBTs");
            }
        });
        // A key that was made for one of the two cannot be widened to the other.
        let [public, private] = digest_key(MADE, "alice");
        let private = [&private[..3], &[(CKA_ALLOWED_MECHANISMS, ulong(CKM_ECDSA))]].concat();
        let (_, key) = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private).expect("made");
        let wide = [(CKA_ALLOWED_MECHANISMS, [CKM_COUNTERSIGN_DIGEST, CKM_ECDSA].map(ulong).concat())];
        assert_rv!(raw.set_attributes(so, key, &wide), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.user();
        let key = raw.wallet_key(session, MADE);
        let rv = raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, &[], key);
        assert_rv!(rv, CKR_KEY_FUNCTION_NOT_PERMITTED);
        assert_rv!(raw.sign_init(session, CKM_ECDSA, &[], key), CKR_OK, "what it was made for");
    });
}

#[test]
fn trusted_is_set_by_nobody() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, so_is_in| {
            let refused = if so_is_in { CKR_TEMPLATE_INCONSISTENT } else { CKR_USER_NOT_LOGGED_IN };
            for kind in [CKA_TRUSTED, CKA_WRAP_WITH_TRUSTED] {
                let yes = [(kind, vec![CK_TRUE])];
                for key in Keys::seen_by(raw, session).all() {
                    let rv = raw.set_attributes(session, key, &yes);
                    assert_rv!(rv, refusal_to_set(raw, session, key, kind), "{kind:#x}");
                }
                let user = [&[(CKA_LABEL, MADE.into())][..], &yes].concat();
                let made = raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user);
                assert_eq!(made, Err(refused), "{kind:#x}");
                for (mechanism, [public, private]) in [
                    (CKM_COUNTERSIGN_WALLET_KEY_GEN, [wallet(MADE), vec![]]),
                    (CKM_EC_KEY_PAIR_GEN, digest_key(MADE, "alice")),
                ] {
                    for (public, private) in [
                        ([&public[..], &yes].concat(), private.clone()),
                        (public.clone(), [&private[..], &yes].concat()),
                    ] {
                        let made = raw.generate_key_pair(session, mechanism, &public, &private);
                        assert_eq!(made, Err(refused), "{kind:#x} by {mechanism:#x}");
                    }
                }
            }
        });
    });
}

#[test]
fn related_keys_and_parallel_search_no_key_is_derived_from_another() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, _| {
            for mechanism in [
                CKM_CONCATENATE_BASE_AND_KEY,
                CKM_CONCATENATE_BASE_AND_DATA,
                CKM_CONCATENATE_DATA_AND_BASE,
                CKM_XOR_BASE_AND_DATA,
                CKM_EXTRACT_KEY_FROM_KEY,
                CKM_ECDH1_DERIVE,
                CKM_SHA256_KEY_DERIVATION,
                CKM_AES_ECB_ENCRYPT_DATA,
                CKM_COUNTERSIGN_WALLET_KEY_GEN,
            ] {
                for base in Keys::seen_by(raw, session).all() {
                    let rv = derive(raw, session, mechanism, &8u64.to_ne_bytes(), base);
                    assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "{mechanism:#x}");
                }
            }
        });
    });
}

#[test]
fn relabelling_passes_no_wallet_off_as_another() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        let (other, _) = raw
            .generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet("other"), &[])
            .expect("another wallet");
        gaining_nothing(raw, so, || {
            let treasury = raw.wallet_public(so, "treasury");
            let label = (CKA_LABEL, b"treasury".to_vec());
            assert_rv!(raw.set_attributes(so, other, &[label]), CKR_ATTRIBUTE_VALUE_INVALID, "it is taken");
            let digests = raw.wallet_key(so, SIDECHAIN);
            let label = (CKA_LABEL, b"treasury".to_vec());
            assert_rv!(raw.set_attributes(so, digests, &[label]), CKR_ATTRIBUTE_VALUE_INVALID, "by a wallet");
            for label in ["treasury", SIDECHAIN] {
                let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(label), &[]);
                assert_eq!(made, Err(CKR_ATTRIBUTE_VALUE_INVALID), "it is taken");
                let [public, private] = digest_key(label, "alice");
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(CKR_ATTRIBUTE_VALUE_INVALID), "it is taken");
            }
            let user = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, b"alice".to_vec())]);
            assert_eq!(user, Err(CKR_ATTRIBUTE_VALUE_INVALID), "and so is a user's");
            for (key, kind) in [
                (other, CKA_ID),
                (treasury, CKA_ID),
                (other, CKA_COUNTERSIGN_DESCRIPTOR),
                (other, CKA_CLASS),
                (digests, CKA_ID),
            ] {
                let rv = raw.set_attributes(so, key, &[(kind, b"1".to_vec())]);
                assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
            }
            let user = raw.user_key(so, "alice");
            for kind in [CKA_LABEL, CKA_ID, CKA_OTP_USER_IDENTIFIER] {
                let rv = raw.set_attributes(so, user, &[(kind, b"other".to_vec())]);
                assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
            }
        });
        // A label that nobody has is accepted, so labels as such were not the reason for the refusal.
        assert_rv!(raw.set_attributes(so, other, &[(CKA_LABEL, b"savings".to_vec())]), CKR_OK);
    });
}
