//! A key gained, or another use of one: by conflicting attributes, wrapping, unwrapping, importing, copying, deriving.

use super::*;
use crate::boundary::{LIMITS, in_boundary, this_test};

/// The label of what an attacker makes.
const MADE: &str = "made";

#[test]
fn wrap_then_decrypt_no_key_wraps_and_none_decrypts_whatever_is_asked_for() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            let both = [(CKA_WRAP, vec![CK_TRUE]), (CKA_DECRYPT, vec![CK_TRUE])];
            let [private, public, user] = keys_of(&stage, so);
            for key in [private, public, user] {
                assert_rv!(raw.set_attributes(so, key, &both), CKR_ATTRIBUTE_READ_ONLY);
                assert_rv!(wrap(raw, so, CKM_AES_KEY_WRAP, key, user), CKR_FUNCTION_NOT_SUPPORTED);
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
        // What was refused is refused for these attributes: without them it is made.
        assert!(raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, MADE.into())]).is_ok());
    });
}

#[test]
fn wrapping_a_sensitive_key_is_refused_by_every_mechanism_under_every_key() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
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
                for by in [keys_of(&stage, session)[1], keys_of(&stage, session)[2], 0] {
                    for key in keys_of(&stage, session) {
                        assert_rv!(
                            wrap(raw, session, mechanism, by, key),
                            CKR_FUNCTION_NOT_SUPPORTED,
                            "{mechanism:#x}"
                        );
                    }
                }
            }
        });
        let modules = raw.attribute(session, stage.key, CKA_EXTRACTABLE);
        assert_eq!(modules, Ok(vec![CK_FALSE]), "and would be if there were such a mechanism");
    });
}

#[test]
fn a_known_key_is_not_brought_in_with_any_attributes() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            gaining_nothing(raw, session, || {
                let known = (CKA_VALUE, vec![0x11; 32]);
                let point = [&[0x04, 0x41, 0x04][..], &[0x11; 64]].concat();
                let secp256k1 = (CKA_EC_PARAMS, vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]);
                for (what, mut template) in [
                    (
                        "a signing key",
                        vec![
                            of_number(CKA_CLASS, CKO_PRIVATE_KEY),
                            of_number(CKA_KEY_TYPE, CKK_EC),
                            secp256k1,
                        ],
                    ),
                    (
                        "an OTP key",
                        vec![of_number(CKA_CLASS, CKO_OTP_KEY), of_number(CKA_KEY_TYPE, CKK_HOTP)],
                    ),
                    (
                        "a wrapping key",
                        vec![of_number(CKA_CLASS, CKO_SECRET_KEY), of_number(CKA_KEY_TYPE, CKK_AES)],
                    ),
                ] {
                    template.extend([known.clone(), (CKA_LABEL, MADE.into()), (CKA_TOKEN, vec![CK_TRUE])]);
                    assert_rv!(create(raw, session, &template), CKR_FUNCTION_NOT_SUPPORTED, "{what}");
                    let by = keys_of(&stage, session)[1];
                    assert_rv!(
                        unwrap(raw, session, CKM_AES_KEY_WRAP, by, &template),
                        CKR_FUNCTION_NOT_SUPPORTED,
                        "{what}"
                    );
                }
                let user = [(CKA_LABEL, MADE.into()), known.clone()];
                assert_eq!(
                    raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                    Err(CKR_TEMPLATE_INCONSISTENT),
                    "a user whose secret is known"
                );
                for public in [vec![known.clone()], vec![(CKA_EC_POINT, point)]] {
                    let template = [wallet(MADE), public].concat();
                    let made = raw.generate_key_pair(session, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[]);
                    assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY), "a wallet whose key is known");
                }
            });
        }
    });
}

#[test]
fn key_separation_no_attribute_of_a_key_that_is_there_is_weakened() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            gaining_nothing(raw, session, || {
                for key in keys_of(&stage, session) {
                    for attribute in weakened() {
                        let (kind, rv) = (attribute.0, raw.set_attributes(session, key, &[attribute]));
                        assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
                    }
                }
            });
        }
        // All or nothing: what may be set does not take with it what may not.
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            let label = (CKA_LABEL, b"renamed".to_vec());
            let template = [label, (CKA_EXTRACTABLE, vec![CK_TRUE])];
            let key = raw.wallet_key(so, "treasury");
            assert_rv!(raw.set_attributes(so, key, &template), CKR_ATTRIBUTE_READ_ONLY);
        });
    });
}

#[test]
fn key_separation_no_key_is_made_weaker_by_its_template() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            for attribute in weakened() {
                let kind = attribute.0;
                let user = [(CKA_LABEL, MADE.into()), attribute.clone()];
                assert_eq!(
                    raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                    Err(CKR_TEMPLATE_INCONSISTENT),
                    "a user with {kind:#x}"
                );
                let made =
                    raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &[attribute]);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT), "a wallet with {kind:#x}");
            }
        });
        assert!(raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &[]).is_ok());
    });
}

#[test]
fn copying_makes_no_key_with_weaker_attributes() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            gaining_nothing(raw, session, || {
                for key in keys_of(&stage, session) {
                    assert_rv!(copy(raw, session, key, &[]), CKR_FUNCTION_NOT_SUPPORTED);
                    for attribute in weakened() {
                        assert_rv!(copy(raw, session, key, &[attribute]), CKR_FUNCTION_NOT_SUPPORTED);
                    }
                }
            });
        }
    });
}

#[test]
fn always_authenticate_is_not_switched_off() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice"]);
        let raw = stage.raw;
        let off = [(CKA_ALWAYS_AUTHENTICATE, vec![CK_FALSE])];
        stage.as_so(|raw, so| {
            gaining_nothing(raw, so, || {
                let key = raw.wallet_key(so, "treasury");
                assert_rv!(raw.set_attributes(so, key, &off), CKR_ATTRIBUTE_READ_ONLY);
                let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &off);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT));
            });
        });
        assert_rv!(raw.set_attributes(stage.session, stage.key, &off), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(raw.sign_init(stage.session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(stage.session, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "no code");
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &stage.users[0].code());
    });
}

#[test]
fn allowed_mechanisms_are_not_widened() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        let wide = [(CKA_ALLOWED_MECHANISMS, [ulong(CKM_COUNTERSIGN_PSBT), ulong(CKM_ECDSA)].concat())];
        gaining_nothing(raw, so, || {
            for key in keys_of(&stage, so) {
                assert_rv!(raw.set_attributes(so, key, &wide), CKR_ATTRIBUTE_READ_ONLY);
            }
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &wide);
            assert_eq!(made, Err(CKR_ATTRIBUTE_READ_ONLY));
            let user = [&[(CKA_LABEL, MADE.into())][..], &wide].concat();
            assert_eq!(
                raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                Err(CKR_ATTRIBUTE_READ_ONLY)
            );
        });
    });
}

#[test]
fn trusted_is_set_by_nobody() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            gaining_nothing(raw, session, || {
                for kind in [CKA_TRUSTED, CKA_WRAP_WITH_TRUSTED] {
                    for key in keys_of(&stage, session) {
                        let rv = raw.set_attributes(session, key, &[(kind, vec![CK_TRUE])]);
                        assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
                    }
                    let user = [(CKA_LABEL, MADE.into()), (kind, vec![CK_TRUE])];
                    assert_eq!(
                        raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                        Err(CKR_ATTRIBUTE_READ_ONLY),
                        "{kind:#x}"
                    );
                }
            });
        }
    });
}

#[test]
fn weakened_keys_shorter_secrets_codes_and_curves_are_not_made() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            for (attribute, wanted) in [
                (of_number(CKA_OTP_LENGTH, 4), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_LENGTH, 5), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_LENGTH, 256 + 6), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_TIME_INTERVAL, 3_600), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_COUNTERSIGN_OTP_HASH, CKM_MD5), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_VALUE_LEN, 5), CKR_ATTRIBUTE_TYPE_INVALID),
            ] {
                let kind = attribute.0;
                let user = [(CKA_LABEL, MADE.into()), attribute];
                let made = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user);
                assert_eq!(made, Err(wanted), "{kind:#x}");
            }
            // secp112r1, prime256v1, and a curve of the attacker's own.
            for curve in
                [&[6, 5, 0x2b, 0x81, 4, 0, 6][..], &[6, 8, 42, 134, 72, 206, 61, 3, 1, 7], &[0x30, 0]]
            {
                let template = [wallet(MADE), vec![(CKA_EC_PARAMS, curve.to_vec())]].concat();
                let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[]);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT));
            }
            for mechanism in [CKM_DES_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN, CKM_AES_KEY_GEN, CKM_HOTP_KEY_GEN]
            {
                let made = raw.generate_key(so, mechanism, &[(CKA_LABEL, MADE.into())]);
                assert_eq!(made, Err(CKR_MECHANISM_INVALID), "{mechanism:#x}");
            }
        });
    });
}

#[test]
fn related_keys_and_parallel_search_no_key_is_derived_from_another() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        for so_is_in in [false, true] {
            let session = if so_is_in { as_officer(raw) } else { stage.session };
            gaining_nothing(raw, session, || {
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
                    for base in keys_of(&stage, session) {
                        let rv = derive(raw, session, mechanism, &8u64.to_ne_bytes(), base);
                        assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "{mechanism:#x}");
                    }
                }
            });
        }
    });
}

#[test]
fn relabelling_passes_no_wallet_off_as_another() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        let (other, _) = raw
            .generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet("other"), &[])
            .expect("another wallet");
        gaining_nothing(raw, so, || {
            let treasury = raw.wallet_public(so, "treasury");
            let label = (CKA_LABEL, b"treasury".to_vec());
            assert_rv!(raw.set_attributes(so, other, &[label]), CKR_ATTRIBUTE_VALUE_INVALID, "it is taken");
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet("treasury"), &[]);
            assert_eq!(made, Err(CKR_ATTRIBUTE_VALUE_INVALID), "it is taken");
            let user = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, b"alice".to_vec())]);
            assert_eq!(user, Err(CKR_ATTRIBUTE_VALUE_INVALID), "and so is a user's");
            for (key, kind) in
                [(other, CKA_ID), (treasury, CKA_ID), (other, CKA_COUNTERSIGN_DESCRIPTOR), (other, CKA_CLASS)]
            {
                let rv = raw.set_attributes(so, key, &[(kind, b"1".to_vec())]);
                assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
            }
            let user = raw.user_key(so, "alice");
            for kind in [CKA_LABEL, CKA_ID, CKA_OTP_USER_IDENTIFIER] {
                let rv = raw.set_attributes(so, user, &[(kind, b"other".to_vec())]);
                assert_rv!(rv, CKR_ATTRIBUTE_READ_ONLY, "{kind:#x}");
            }
        });
        // A label that is nobody's can be had: so it was not labels as such that were refused.
        assert_rv!(raw.set_attributes(so, other, &[(CKA_LABEL, b"savings".to_vec())]), CKR_OK);
    });
}

/// The template of a wallet for alice.
fn wallet(label: &str) -> Vec<Attribute> {
    vec![
        (CKA_LABEL, label.into()),
        (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
        (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
        (CKA_COUNTERSIGN_POLICY, LIMITS.into()),
    ]
}
