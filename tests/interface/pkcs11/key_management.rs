//! Key management (PKCS#11 v3.2 section 5.18): the module makes users and wallets inside, from templates.

#![allow(unsafe_code, reason = "wrong pointers are what this is about")]

use core::ptr;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Mechanism, call};
use harness::module::{
    Authenticator, LIMITS, assert_rv, create_wallet, enrol, initialised_token, this_test, ulong,
};

use super::in_boundary;

#[test]
fn a_user_is_made_as_asked_for() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        for (number, (hash, digits, period, algorithm)) in
            [(CKM_SHA_1, 6, 15, "SHA1"), (CKM_SHA256, 7, 60, "SHA256"), (CKM_SHA512, 8, 120, "SHA512")]
                .into_iter()
                .enumerate()
        {
            let name = format!("Ångström {number} @ home");
            let template = [
                (CKA_CLASS, ulong(CKO_OTP_KEY)),
                (CKA_KEY_TYPE, ulong(CKK_HOTP)),
                (CKA_OTP_USER_IDENTIFIER, name.clone().into_bytes()),
                (CKA_OTP_SERVICE_IDENTIFIER, b"Acme & Co".to_vec()),
                (CKA_COUNTERSIGN_OTP_HASH, ulong(hash)),
                (CKA_OTP_LENGTH, ulong(digits)),
                (CKA_OTP_TIME_INTERVAL, ulong(period)),
                (CKA_TOKEN, vec![CK_TRUE]),
                (CKA_SENSITIVE, vec![CK_TRUE]),
                (CKA_EXTRACTABLE, vec![CK_FALSE]),
            ];
            let key = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template).expect("as asked for");
            for (kind, value) in &template {
                assert_eq!(raw.attribute(so, key, *kind).as_ref(), Ok(value), "{kind:#x}");
            }
            assert_eq!(raw.attribute(so, key, CKA_LABEL), Ok(name.clone().into_bytes()));
            let uri = raw.attribute(so, key, CKA_COUNTERSIGN_OTPAUTH_URI).expect("the first reading");
            let uri = String::from_utf8(uri).expect("ASCII");
            assert!(uri.contains(&format!("algorithm={algorithm}&digits={digits}&period={period}")), "{uri}");
            assert!(uri.contains("issuer=Acme%20%26%20Co"), "{uri}");
            assert_rv!(raw.verify(so, key, &Authenticator::scan(&name, &uri).code()), CKR_OK, "{algorithm}");
        }
    });
}

#[test]
fn every_user_has_another_secret() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let secret = |uri: &str| {
            let (_, rest) = uri.split_once("secret=").expect("it has one");
            rest.split('&').next().expect("a first part").to_owned()
        };
        let one = secret(enrol(&raw, so, "alice").uri());
        let other = secret(enrol(&raw, so, "bob").uri());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32, "160 bits in base 32 (RFC 4226 section 4, R6)");
    });
}

#[test]
fn the_template_of_a_user_is_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol(&raw, so, "taken");
        let label = |name: &str| (CKA_LABEL, name.as_bytes().to_vec());
        let with = |more: Attribute| vec![label("alice"), more];
        for (template, wanted) in [
            (vec![], CKR_TEMPLATE_INCOMPLETE),
            (vec![label("taken")], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label("")], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label(&"a".repeat(61))], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label("a:b")], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label("a\nb")], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label(" alice")], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![(CKA_LABEL, vec![0xff, 0xfe])], CKR_ATTRIBUTE_VALUE_INVALID),
            (vec![label("alice"), label("bob")], CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_OTP_USER_IDENTIFIER, b"bob".to_vec())), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_OTP_LENGTH, ulong(5))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_LENGTH, ulong(9))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_LENGTH, ulong(256 + 6))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_LENGTH, vec![6])), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_TIME_INTERVAL, ulong(14))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_TIME_INTERVAL, ulong(121))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_COUNTERSIGN_OTP_HASH, ulong(CKM_MD5))), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_SERVICE_IDENTIFIER, b"a:b".to_vec())), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_OTP_SERVICE_IDENTIFIER, vec![])), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_VALUE, vec![0; 20])), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_EXTRACTABLE, vec![CK_TRUE])), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_SENSITIVE, vec![CK_FALSE])), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_TOKEN, vec![CK_FALSE])), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_TOKEN, vec![2])), CKR_ATTRIBUTE_VALUE_INVALID),
            (with((CKA_CLASS, ulong(CKO_SECRET_KEY))), CKR_TEMPLATE_INCONSISTENT),
            (with((CKA_COUNTERSIGN_CONFIRMED, vec![CK_TRUE])), CKR_ATTRIBUTE_READ_ONLY),
            (with((0x8000_0001, vec![])), CKR_ATTRIBUTE_TYPE_INVALID),
        ] {
            let made = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &template);
            assert_rv!(made.err().unwrap_or(CKR_OK), wanted, "{template:?}");
        }
        let users = raw.find(so, &[(CKA_CLASS, ulong(CKO_OTP_KEY))]).expect("found");
        assert_eq!(users.len(), 1, "nothing was made");
    });
}

#[test]
fn the_template_of_a_wallet_is_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol(&raw, so, "alice");
        create_wallet(&raw, so, "taken", &["alice"], LIMITS);
        let good: Vec<Attribute> = vec![
            (CKA_LABEL, b"w".to_vec()),
            (CKA_COUNTERSIGN_NETWORK, b"signet".to_vec()),
            (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
            (CKA_COUNTERSIGN_POLICY, LIMITS.as_bytes().to_vec()),
        ];
        let without =
            |kind| good.iter().filter(|(other, _)| *other != kind).cloned().collect::<Vec<Attribute>>();
        let with = |kind: CK_ATTRIBUTE_TYPE, value: &[u8]| {
            let mut changed = without(kind);
            changed.push((kind, value.to_vec()));
            changed
        };
        let many = (0..17).map(|_| "alice").collect::<Vec<_>>().join("\n");
        for (public, private, wanted) in [
            (without(CKA_LABEL), vec![], CKR_TEMPLATE_INCOMPLETE),
            (without(CKA_COUNTERSIGN_NETWORK), vec![], CKR_TEMPLATE_INCOMPLETE),
            (without(CKA_COUNTERSIGN_USERS), vec![], CKR_TEMPLATE_INCOMPLETE),
            (without(CKA_COUNTERSIGN_POLICY), vec![], CKR_TEMPLATE_INCOMPLETE),
            (with(CKA_LABEL, b"taken"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_LABEL, b""), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_NETWORK, b"bitcoin"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_USERS, b""), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_USERS, b"nobody"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_USERS, b"alice\nalice"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_USERS, many.as_bytes()), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_POLICY, b""), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_POLICY, b"unlimited = false"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (with(CKA_COUNTERSIGN_POLICY, b"max_fee_sat = 1"), vec![], CKR_ATTRIBUTE_VALUE_INVALID),
            (
                with(CKA_COUNTERSIGN_POLICY, b"unlimited = true\nmax_fee_sat = 1"),
                vec![],
                CKR_ATTRIBUTE_VALUE_INVALID,
            ),
            (good.clone(), vec![(CKA_LABEL, b"other".to_vec())], CKR_TEMPLATE_INCONSISTENT),
            (good.clone(), vec![(CKA_EXTRACTABLE, vec![CK_TRUE])], CKR_TEMPLATE_INCONSISTENT),
            (good.clone(), vec![(CKA_ALWAYS_AUTHENTICATE, vec![CK_FALSE])], CKR_TEMPLATE_INCONSISTENT),
            (good.clone(), vec![(CKA_PRIVATE, vec![CK_FALSE])], CKR_TEMPLATE_INCONSISTENT),
            (good.clone(), vec![(CKA_VALUE, vec![1; 32])], CKR_ATTRIBUTE_READ_ONLY),
            (good.clone(), vec![(CKA_COUNTERSIGN_XPUB, b"xpub".to_vec())], CKR_ATTRIBUTE_READ_ONLY),
            (good.clone(), vec![(0x8000_0001, vec![])], CKR_ATTRIBUTE_TYPE_INVALID),
        ] {
            let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &public, &private);
            assert_rv!(made.err().unwrap_or(CKR_OK), wanted, "{public:?} {private:?}");
        }
        let wallets = raw.find(so, &[(CKA_CLASS, ulong(CKO_PRIVATE_KEY))]).expect("found");
        assert_eq!(wallets.len(), 1, "nothing was made");

        let (public, private) = good.split_at(2);
        let made = raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, public, private);
        let (public, private) = made.expect("either template may have them");
        for kind in [CKA_LABEL, CKA_ID, CKA_COUNTERSIGN_DESCRIPTOR, CKA_COUNTERSIGN_USERS] {
            let value = raw.attribute(so, public, kind).expect("both sides have it");
            assert_eq!(raw.attribute(so, private, kind), Ok(value), "{kind:#x}");
        }
    });
}

#[test]
fn only_the_security_officer_makes_anything() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        enrol(&raw, so, "alice");
        assert_rv!(raw.close_all(), CKR_OK);
        let user = [(CKA_LABEL, b"mallory".to_vec())];
        let wallet = [
            (CKA_LABEL, b"w".to_vec()),
            (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
            (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
            (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec()),
        ];
        let refused = |session| {
            assert_eq!(
                raw.generate_key(session, CKM_COUNTERSIGN_TOTP_KEY_GEN, &user),
                Err(CKR_USER_NOT_LOGGED_IN)
            );
            assert_eq!(
                raw.generate_key_pair(session, CKM_COUNTERSIGN_WALLET_KEY_GEN, &wallet, &[]),
                Err(CKR_USER_NOT_LOGGED_IN)
            );
        };
        refused(raw.read_write());
        refused(raw.user());
    });
}

#[test]
fn mechanisms_and_pointers_are_checked() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let so = raw.so();
        let mut made = 0;
        let mut mechanism = Mechanism::new(CKM_COUNTERSIGN_TOTP_KEY_GEN, &[]);
        assert_eq!(raw.generate_key(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &[]), Err(CKR_MECHANISM_INVALID));
        assert_eq!(raw.generate_key(so, CKM_AES_KEY_GEN, &[]), Err(CKR_MECHANISM_INVALID));
        assert_eq!(
            raw.generate_key_pair(so, CKM_RSA_PKCS_KEY_PAIR_GEN, &[], &[]).err(),
            Some(CKR_MECHANISM_INVALID)
        );
        let mut with_parameter = Mechanism::new(CKM_COUNTERSIGN_TOTP_KEY_GEN, b"x");
        let generate =
            |mechanism, template, count, key| call!(raw, C_GenerateKey(so, mechanism, template, count, key));
        let none = ptr::null_mut();
        assert_rv!(generate(with_parameter.pointer(), none, 0, &mut made), CKR_MECHANISM_PARAM_INVALID);
        assert_rv!(generate(ptr::null_mut(), none, 0, &mut made), CKR_ARGUMENTS_BAD);
        assert_rv!(generate(mechanism.pointer(), none, 0, ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_rv!(generate(mechanism.pointer(), none, 1, &mut made), CKR_ARGUMENTS_BAD);
        assert_rv!(generate(mechanism.pointer(), none, CK_ULONG::MAX, &mut made), CKR_ARGUMENTS_BAD);
        let mut label = CK_ATTRIBUTE { type_: CKA_LABEL, pValue: ptr::null_mut(), ulValueLen: 5 };
        assert_rv!(generate(mechanism.pointer(), &mut label, 1, &mut made), CKR_ARGUMENTS_BAD);
        label.ulValueLen = CK_ULONG::MAX;
        assert_rv!(generate(mechanism.pointer(), &mut label, 1, &mut made), CKR_ATTRIBUTE_VALUE_INVALID);

        let mut wallet = Mechanism::new(CKM_COUNTERSIGN_WALLET_KEY_GEN, &[]);
        let pair = |mechanism, public, private| {
            call!(raw, C_GenerateKeyPair(so, mechanism, none, 0, none, 0, public, private))
        };
        assert_rv!(pair(ptr::null_mut(), &mut made, &mut 0), CKR_ARGUMENTS_BAD);
        assert_rv!(pair(wallet.pointer(), ptr::null_mut(), &mut made), CKR_ARGUMENTS_BAD);
        assert_rv!(pair(wallet.pointer(), &mut made, ptr::null_mut()), CKR_ARGUMENTS_BAD);
        assert_eq!(made, 0);
        assert_eq!(raw.find(so, &[(CKA_LOCAL, vec![CK_TRUE])]), Ok(vec![]), "nothing was made");
    });
}
