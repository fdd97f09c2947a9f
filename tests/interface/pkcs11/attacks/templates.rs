//! Attempts to get a known or weak key: by importing, by unwrapping, by the templates of new keys.

use harness::module::this_test;

use super::super::in_boundary;
use super::*;

#[test]
fn a_known_key_is_not_brought_in_with_any_attributes() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        in_either_role(&stage, |session, so_is_in| {
            let known = (CKA_VALUE, vec![0x11; 32]);
            let point = (CKA_EC_POINT, [&[0x04, 0x41, 0x04][..], &[0x11; 64]].concat());
            let by = raw.wallet_public(session, "treasury");
            // Whatever it claims to be, of the session or of the token.
            let classes = (CKO_DATA..=CKO_TRUST).filter(|class| ![CKO_DATA, CKO_PUBLIC_KEY].contains(class));
            let types = [CKK_EC, CKK_HOTP, CKK_AES, CKK_GENERIC_SECRET, CKK_RSA];
            for (class, key_type) in classes.flat_map(|class| types.map(|key_type| (class, key_type))) {
                for of_token in [CK_FALSE, CK_TRUE] {
                    let template = [
                        of_number(CKA_CLASS, class),
                        of_number(CKA_KEY_TYPE, key_type),
                        (CKA_EC_PARAMS, SECP256K1.to_vec()),
                        known.clone(),
                        (CKA_LABEL, MADE.into()),
                        (CKA_TOKEN, vec![of_token]),
                    ];
                    let made = raw.create(session, &template);
                    assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT), "class {class}, type {key_type:#x}");
                    let rv = unwrap(raw, session, CKM_AES_KEY_WRAP, by, &template);
                    assert_rv!(rv, CKR_FUNCTION_NOT_SUPPORTED, "class {class}, type {key_type:#x}");
                }
            }
            // The least possible template: its class and the known value.
            for class in [CKO_PRIVATE_KEY, CKO_SECRET_KEY, CKO_OTP_KEY] {
                let template = [of_number(CKA_CLASS, class), known.clone()];
                assert_eq!(raw.create(session, &template), Err(CKR_TEMPLATE_INCONSISTENT), "class {class}");
                let public = [(CKA_EC_PARAMS, SECP256K1.to_vec()), point.clone()];
                let key_type = of_number(CKA_KEY_TYPE, CKK_EC);
                let template = [&[of_number(CKA_CLASS, class), key_type][..], &public].concat();
                assert_eq!(raw.create(session, &template), Err(CKR_TEMPLATE_INCONSISTENT), "class {class}");
            }
            // No key can be made with it either. The token decides the attributes that a key has, and
            // refuses those that it does not have.
            let refused = |rv| if so_is_in { rv } else { CKR_USER_NOT_LOGGED_IN };
            let user = [(CKA_LABEL, MADE.into()), known.clone()];
            assert_eq!(
                raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                Err(refused(CKR_TEMPLATE_INCONSISTENT)),
                "a user whose secret is known"
            );
            let [digest_public, digest_private] = digest_key(MADE, "alice");
            for (mechanism, public, private) in [
                (CKM_COUNTERSIGN_WALLET_KEY_GEN, wallet(MADE), vec![]),
                (CKM_EC_KEY_PAIR_GEN, digest_public, digest_private),
            ] {
                for (in_public, in_private, rv) in [
                    (Some(&known), None, CKR_TEMPLATE_INCONSISTENT),
                    (Some(&point), None, CKR_ATTRIBUTE_READ_ONLY),
                    (None, Some(&known), CKR_ATTRIBUTE_READ_ONLY),
                    (None, Some(&point), CKR_TEMPLATE_INCONSISTENT),
                ] {
                    let with = |template: &[Attribute], more: Option<&Attribute>| {
                        template.iter().chain(more).cloned().collect::<Vec<_>>()
                    };
                    let (public, private) = (with(&public, in_public), with(&private, in_private));
                    let made = raw.generate_key_pair(session, mechanism, &public, &private);
                    assert_eq!(made, Err(refused(rv)), "a key that is known, by {mechanism:#x}");
                }
            }
        });
    });
}

#[test]
fn key_separation_no_key_is_made_weaker_by_its_template() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
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
                let [public, mut private] = digest_key(MADE, "alice");
                private.push(attribute.clone());
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT), "a key that signs digests with {kind:#x}");
                let made =
                    raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &[attribute]);
                assert_eq!(made, Err(CKR_TEMPLATE_INCONSISTENT), "a wallet with {kind:#x}");
            }
        });
        assert!(raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet(MADE), &[]).is_ok());
        let [public, private] = digest_key("another", "alice");
        assert!(raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private).is_ok());
    });
}

#[test]
fn weakened_keys_shorter_secrets_codes_and_curves_are_not_made() {
    in_boundary(this_test!(), |_| {
        let stage = stage(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        gaining_nothing(raw, so, || {
            for (attribute, wanted) in [
                (of_number(CKA_OTP_LENGTH, 4), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_LENGTH, 5), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_LENGTH, 256 + 6), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_OTP_TIME_INTERVAL, 3_600), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_COUNTERSIGN_OTP_HASH, CKM_MD5), CKR_ATTRIBUTE_VALUE_INVALID),
                (of_number(CKA_VALUE_LEN, 5), CKR_TEMPLATE_INCONSISTENT),
            ] {
                let kind = attribute.0;
                let user = [(CKA_LABEL, MADE.into()), attribute];
                let made = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user);
                assert_eq!(made, Err(wanted), "{kind:#x}");
            }
            // secp112r1, prime256v1, and a curve of the attacker's own.
            for (curve, wanted) in [
                (&[6, 5, 0x2b, 0x81, 4, 0, 6][..], CKR_CURVE_NOT_SUPPORTED),
                (&[6, 8, 42, 134, 72, 206, 61, 3, 1, 7], CKR_CURVE_NOT_SUPPORTED),
                (&[0x30, 3, 2, 1, 1], CKR_CURVE_NOT_SUPPORTED),
                (&[0x30, 0], CKR_ATTRIBUTE_VALUE_INVALID),
            ] {
                let curve = (CKA_EC_PARAMS, curve.to_vec());
                let template = [wallet(MADE), vec![curve.clone()]].concat();
                let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[]);
                assert_eq!(made, Err(wanted), "{curve:x?}");
                let [public, mut private] = digest_key(MADE, "alice");
                let made =
                    raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, std::slice::from_ref(&curve), &private);
                assert_eq!(made, Err(wanted), "{curve:x?}");
                private.push(curve);
                let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
                assert_eq!(made, Err(wanted), "the private key on another curve");
            }
            for mechanism in [
                CKM_DES_KEY_GEN,
                CKM_GENERIC_SECRET_KEY_GEN,
                CKM_AES_KEY_GEN,
                CKM_HOTP_KEY_GEN,
                CKM_EC_KEY_PAIR_GEN,
            ] {
                let made = raw.generate_key(so, mechanism, &[(CKA_LABEL, MADE.into())]);
                assert_eq!(made, Err(CKR_MECHANISM_INVALID), "{mechanism:#x}");
            }
        });
    });
}
