//! Passkeys: the published vectors, another implementation's authenticator, and everything that an assertion may not say.

mod others;
pub(crate) mod soft;
mod vectors;

use proptest::prelude::*;
use soft::{SoftKey, SoftPasskey};

use super::*;

const CHALLENGE: [u8; 32] = [0xd1; 32];

fn party() -> RelyingParty {
    RelyingParty::of_origin("https://approve.example.org:8443").expect("an origin")
}

fn both() -> [SoftPasskey; 2] {
    [SoftKey::Es256, SoftKey::EdDsa].map(|kind| SoftPasskey::new(kind, 7))
}

/// What becomes of the answer of a passkey that was registered before the change.
fn refused(change: impl Fn(&mut SoftPasskey)) -> Option<PasskeyError> {
    let errors = both().map(|mut soft| {
        let passkey = soft.passkey();
        change(&mut soft);
        passkey.verify(&soft.assert(&CHALLENGE, &party()), &CHALLENGE, &party()).err()
    });
    assert_eq!(errors[0], errors[1], "both algorithms");
    errors[0].clone()
}

/// The same with other client data.
fn refused_with(client_data: &str) -> Option<PasskeyError> {
    refused(|soft| soft.client_data = Some(client_data.into()))
}

fn right_client_data() -> String {
    SoftPasskey::client_data("webauthn.get", &CHALLENGE, &party())
}

#[test]
fn an_assertion_is_right_and_counts_on() {
    for mut soft in both() {
        let passkey = soft.passkey();
        let asserted = passkey.verify(&soft.assert(&CHALLENGE, &party()), &CHALLENGE, &party());
        let next = asserted.expect("it is right").into_passkey();
        assert_eq!(next, Passkey { counter: 8, ..passkey });
    }
    assert_eq!(refused(|_| ()), None);
}

#[test]
fn every_bit_of_an_assertion_counts() {
    for mut soft in both() {
        let (passkey, right) = (soft.passkey(), soft.assert(&CHALLENGE, &party()));
        let parts: [fn(&mut Assertion) -> &mut Vec<u8>; 3] =
            [|one| &mut one.client_data, |one| &mut one.authenticator_data, |one| &mut one.signature];
        let verify = |assertion: &Assertion| passkey.verify(assertion, &CHALLENGE, &party());
        assert!(verify(&right).is_ok());
        for part in parts {
            for at in 0..part(&mut right.clone()).len() {
                for bit in 0..8 {
                    let mut other = right.clone();
                    part(&mut other)[at] ^= 1 << bit;
                    assert!(verify(&other).is_err(), "byte {at}, bit {bit} of {right:?}");
                }
                let mut shorter = right.clone();
                part(&mut shorter).truncate(at);
                assert!(verify(&shorter).is_err(), "{at} bytes of {right:?}");
            }
            let mut longer = right.clone();
            part(&mut longer).push(0);
            assert!(verify(&longer).is_err(), "one byte more than {right:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_are_an_answer_by_chance(
        client_data in proptest::collection::vec(any::<u8>(), 0..200),
        authenticator_data in proptest::collection::vec(any::<u8>(), 0..120),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let passkey = SoftPasskey::new(SoftKey::Es256, 0).passkey();
        let assertion = Assertion { id: passkey.id.clone(), client_data, authenticator_data, signature };
        prop_assert!(passkey.verify(&assertion, &CHALLENGE, &party()).is_err());
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,300}") {
        prop_assert!(Assertion::from_json(&text).is_err());
        prop_assert!(Registration::from_json(&text).is_err());
        prop_assert!(refused_with(&text).is_some());
    }
}

#[test]
fn consent_passkey_challenge_an_assertion_is_for_its_challenge_alone() {
    for mut soft in both() {
        let passkey = soft.passkey();
        let assertion = soft.assert(&[0xd2; 32], &party());
        let refused = passkey.verify(&assertion, &CHALLENGE, &party());
        assert_eq!(refused, Err(PasskeyError::Challenge));
        assert!(passkey.verify(&assertion, &[0xd2; 32], &party()).is_ok());
    }
    let text = data_encoding::BASE64URL_NOPAD.encode(&CHALLENGE);
    // Padded, longer, shorter, and with other bits behind the last byte.
    let others = [format!("{text}="), format!("{text}A"), text[..42].into(), format!("{}F", &text[..42])];
    for other in others.map(|other| right_client_data().replace(&text, &other)) {
        assert_ne!(other, right_client_data());
        assert_eq!(refused_with(&other), Some(PasskeyError::Challenge), "{other}");
    }
}

#[test]
fn consent_passkey_type_a_registration_is_no_assertion_and_the_reverse() {
    let create = SoftPasskey::client_data("webauthn.create", &CHALLENGE, &party());
    assert_eq!(refused_with(&create), Some(PasskeyError::Type(Ceremony::Assertion)));
    let payment = SoftPasskey::client_data("payment.get", &CHALLENGE, &party());
    assert_eq!(refused_with(&payment), Some(PasskeyError::Type(Ceremony::Assertion)));
    for soft in both() {
        let mut registration = soft.registration(&CHALLENGE, &party());
        registration.client_data = right_client_data().into_bytes();
        let refused = Passkey::register(&registration, &CHALLENGE, &party());
        assert_eq!(refused, Err(PasskeyError::Type(Ceremony::Registration)));
    }
}

#[test]
fn consent_passkey_origin_only_the_configured_page_counts() {
    let origin = party().origin().to_owned();
    for other in [
        "https://approve.example.org",
        "https://approve.example.org:8444",
        "http://approve.example.org:8443",
        "https://evil.example.org:8443",
        "https://approve.example.org:8443/",
        "https://approve.example.org:8443.evil.example",
        "https://APPROVE.example.org:8443",
        "",
        "null",
        "android:apk-key-hash:x",
    ] {
        let other = right_client_data().replace(&origin, other);
        assert_eq!(refused_with(&other), Some(PasskeyError::Origin(origin.clone())), "{other}");
    }
}

#[test]
fn consent_passkey_cross_origin_a_framed_page_is_refused() {
    let framed = Some(PasskeyError::Framed(party().origin().into()));
    let with = |more: &str| right_client_data().replace("\"crossOrigin\":false", more);
    assert_eq!(refused_with(&with("\"crossOrigin\":true")), framed);
    let top = "\"crossOrigin\":true,\"topOrigin\":\"https://evil.example\"";
    assert_eq!(refused_with(&with(top)), framed);
    assert_eq!(refused_with(&with("\"topOrigin\":\"https://approve.example.org:8443\"")), framed);
    assert_eq!(refused_with(&with("\"androidPackageName\":\"x\"")), None, "browsers may leave it out");
    for wrong in ["null", "\"true\"", "1", "[]"] {
        let wrong = with(&format!("\"crossOrigin\":{wrong}"));
        assert_eq!(refused_with(&wrong), Some(PasskeyError::ClientData), "{wrong}");
    }
}

#[test]
fn consent_passkey_token_binding_nobody_could_compare_is_refused() {
    let with = |more: &str| right_client_data().replacen('{', &format!("{{\"tokenBinding\":{{{more}}},"), 1);
    let present = "\"status\":\"present\",\"id\":\"AAAA\"";
    assert_eq!(refused_with(&with(present)), Some(PasskeyError::TokenBinding));
    assert_eq!(refused_with(&with("\"status\":\"\"")), Some(PasskeyError::TokenBinding));
    assert_eq!(refused_with(&with("\"status\":\"supported\"")), None);
    assert_eq!(refused_with(&with("")), Some(PasskeyError::ClientData));
}

#[test]
fn consent_passkey_client_data_is_one_object_with_each_key_once() {
    let right = right_client_data();
    let with = |more: &str| right.replacen('{', &format!("{{{more},"), 1);
    let ordered = right.replacen("\"type\":\"webauthn.get\",", "", 1);
    let ordered = ordered.replace('}', ", \"type\" : \"webauthn.get\" }");
    for allowed in [
        with("\"extraData\":{\"a\":[1,2,{\"b\":null}]}"),
        with("\"\":0"),
        right.replace("webauthn", "webauth\\u006e"),
        ordered,
        format!(" {right}\n"),
        with(&format!("\"long\":\"{}\"", "x".repeat(MAX_CLIENT_DATA_LEN - right.len() - 10))),
    ] {
        assert_eq!(refused_with(&allowed), None, "{allowed}");
    }
    for wrong in [
        String::new(),
        "{}".into(),
        "[]".into(),
        format!("[{right}]"),
        format!("{right}{right}"),
        format!("{right},"),
        format!("\u{feff}{right}"),
        with("\"type\":\"webauthn.get\""),
        with("\"typ\\u0065\":\"webauthn.get\""),
        with("\"type\":\"webauthn.create\""),
        with("\"origin\":\"https://evil.example\""),
        with("\"crossOrigin\":false"),
        with("\"extraData\":1,\"extraData\":1"),
        right.replacen("\"type\"", "\"typo\"", 1),
        right.replacen("\"challenge\"", "\"Challenge\"", 1),
        right.replacen("\"origin\"", "\"origin \"", 1),
        right.replace("\"webauthn.get\"", "[\"webauthn.get\"]"),
        right.replace('"', "'"),
        with(&format!("\"long\":\"{}\"", "x".repeat(MAX_CLIENT_DATA_LEN - right.len() - 9))),
        with(&format!("\"deep\":{}", "[".repeat(1_000))),
        "[\"webauthn.get\",\"0\",\"https://approve.example.org:8443\"]".into(),
    ] {
        assert_eq!(refused_with(&wrong), Some(PasskeyError::ClientData), "{wrong}");
    }
    // What is not UTF-8 is no JSON.
    let mut soft = SoftPasskey::new(SoftKey::Es256, 0);
    let passkey = soft.passkey();
    let mut assertion = soft.assert(&CHALLENGE, &party());
    assertion.client_data = [&b"{\"\xff\":0,"[..], &right.as_bytes()[1..]].concat();
    soft.sign(&mut assertion);
    assert_eq!(passkey.verify(&assertion, &CHALLENGE, &party()), Err(PasskeyError::ClientData));
}

#[test]
fn consent_passkey_rp_an_assertion_for_another_relying_party_is_refused() {
    let other = RelyingParty::of_origin("https://example.org").expect("an origin");
    let refused = refused(|soft| soft.id_hash = Some(other.id_hash()));
    assert_eq!(refused, Some(PasskeyError::RelyingParty("approve.example.org".into())));
}

#[test]
fn consent_passkey_unverified_the_user_must_be_present_and_verified() {
    let flags = |flags: u8| refused(move |soft| soft.flags = flags);
    assert_eq!(flags(0b0000_0101), None);
    assert_eq!(flags(0b0000_0100), Some(PasskeyError::Absent));
    assert_eq!(flags(0b0000_0001), Some(PasskeyError::Unverified));
    assert_eq!(flags(0), Some(PasskeyError::Absent));
    assert_eq!(flags(0b0010_0111), None, "the reserved flags say nothing");
    for soft in both() {
        let mut registration = soft.registration(&CHALLENGE, &party());
        registration.authenticator_data[32] &= !0b100;
        let refused = Passkey::register(&registration, &CHALLENGE, &party());
        assert_eq!(refused, Err(PasskeyError::Unverified));
    }
}

#[test]
fn consent_passkey_backup_flags_are_consistent_and_never_change() {
    assert_eq!(refused(|soft| soft.flags |= 0b1_0000), Some(PasskeyError::Backup));
    assert_eq!(refused(|soft| soft.flags |= 0b1000), Some(PasskeyError::Shared));
    assert_eq!(refused(|soft| soft.flags |= 0b1_1000), Some(PasskeyError::Shared));
    for mut soft in both() {
        soft.flags |= 0b1000;
        let passkey = soft.passkey();
        assert!(passkey.is_shared);
        // It is kept on another device now.
        soft.flags |= 0b1_0000;
        assert!(passkey.verify(&soft.assert(&CHALLENGE, &party()), &CHALLENGE, &party()).is_ok());
        soft.flags &= !0b1_1000;
        let refused = passkey.verify(&soft.assert(&CHALLENGE, &party()), &CHALLENGE, &party());
        assert_eq!(refused, Err(PasskeyError::Shared));
    }
}

#[test]
fn consent_passkey_counter_rises_unless_it_is_always_zero() {
    let verified = |before, now| {
        let mut soft = SoftPasskey::new(SoftKey::Es256, before);
        let passkey = soft.passkey();
        soft.counter = now;
        let assertion = soft.answer(&CHALLENGE, &party());
        passkey.verify(&assertion, &CHALLENGE, &party()).map(|asserted| asserted.into_passkey().counter)
    };
    for (before, now) in [(0, 0), (0, 1), (7, 8), (7, u32::MAX), (0, u32::MAX)] {
        assert_eq!(verified(before, now), Ok(now), "{before}");
    }
    for (before, now) in [(7, 7), (7, 6), (7, 0), (u32::MAX, u32::MAX), (u32::MAX, 0)] {
        assert_eq!(verified(before, now), Err(PasskeyError::Counter { before, now }));
    }
}

#[test]
fn consent_passkey_another_users_passkey_is_not_this_one() {
    let another = Some(PasskeyError::Another);
    assert_eq!(refused(|soft| soft.id = CredentialId::new(vec![9; 32]).expect("an id")), another);
    for kind in [SoftKey::Es256, SoftKey::EdDsa] {
        let refused = refused(|soft| *soft = SoftPasskey::of("bob", kind, 7).with_id(soft.id.clone()));
        assert_eq!(refused, Some(PasskeyError::Signature));
    }
}

#[test]
fn consent_passkey_extensions_are_signed_and_say_nothing() {
    assert_eq!(refused(|soft| (soft.flags, soft.more) = (0x85, vec![0xa0])), None);
    let form = Some(PasskeyError::AuthenticatorData);
    assert_eq!(refused(|soft| soft.flags = 0x85), form, "none follow");
    assert_eq!(refused(|soft| soft.more = vec![0xa0]), form, "nothing announces them");
    assert_eq!(refused(|soft| (soft.flags, soft.more) = (0x45, vec![0; 100])), form, "a credential");
    assert_eq!(refused(|soft| (soft.flags, soft.more) = (0xc5, vec![0; 100])), form);
    assert_eq!(refused(|soft| (soft.flags, soft.more) = (0x85, vec![0; MAX_AUTHENTICATOR_DATA_LEN])), form);
    for soft in both() {
        let mut registration = soft.registration(&CHALLENGE, &party());
        registration.authenticator_data.push(0xa0);
        let register = |registration: &Registration| Passkey::register(registration, &CHALLENGE, &party());
        assert_eq!(register(&registration).err(), form);
        registration.authenticator_data[32] |= 0x80;
        assert!(register(&registration).is_ok());
        registration.authenticator_data[32] &= !0x40;
        assert_eq!(register(&registration).err(), form);
    }
}

#[test]
fn consent_passkey_signature_of_ecdsa_is_in_strict_der() {
    let mut soft = SoftPasskey::new(SoftKey::Es256, 0);
    let (passkey, right) = (soft.passkey(), soft.assert(&CHALLENGE, &party()));
    let refused = |signature: &[u8]| {
        let assertion = Assertion { signature: signature.to_vec(), ..right.clone() };
        passkey.verify(&assertion, &CHALLENGE, &party()).err()
    };
    assert_eq!(refused(&right.signature), None);
    let signature = p256::ecdsa::Signature::from_der(&right.signature).expect("DER");
    let (r, s) = signature.split_scalars();
    // The other one of the pair is right as well (SEC 1), and approves nothing else.
    let other = p256::ecdsa::Signature::from_scalars(r, -s).expect("a signature");
    assert_eq!(refused(other.to_der().as_bytes()), None);
    let wrong = Some(PasskeyError::Signature);
    let der = &right.signature[..];
    assert_eq!(refused(&signature.to_bytes()), wrong, "64 bytes");
    assert_eq!(refused(&[&[0x30, 0x81, der[1]], &der[2..]].concat()), wrong, "a longer length");
    assert_eq!(refused(&[der, &[0]].concat()), wrong, "a byte more");
    assert_eq!(refused(&[&[0x30, der[1] + 1, 2, der[3] + 1, 0], &der[4..]].concat()), wrong, "a zero more");
    assert_eq!(refused(&[0x30, 6, 2, 1, 0, 2, 1, 0]), wrong);
    assert_eq!(refused(&[0x30, 6, 2, 1, 1, 2, 1, 1]), wrong);
    assert_eq!(refused(&[]), wrong);
}

#[test]
fn a_public_key_has_one_form_and_no_key_for_which_anybody_can_sign() {
    for soft in both() {
        let spki = soft.registration(&CHALLENGE, &party()).public_key;
        let key = PublicKey::from_spki(&spki).expect("a key");
        assert_eq!(key.to_spki(), spki);
        for at in 0..26.min(spki.len() - 32) {
            let mut other = spki.clone();
            other[at] ^= 1;
            assert_eq!(PublicKey::from_spki(&other), Err(PasskeyError::PublicKey), "byte {at}");
        }
        assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), Err(PasskeyError::PublicKey));
        assert_eq!(PublicKey::from_spki(&spki[..spki.len() - 1]), Err(PasskeyError::PublicKey));
    }
    let spki = both()[0].registration(&CHALLENGE, &party()).public_key;
    let mut off_curve = spki.clone();
    off_curve[90] ^= 1;
    assert_eq!(PublicKey::from_spki(&off_curve), Err(PasskeyError::PublicKey));
    let zero = [&spki[..27], &[0; 64]].concat();
    assert_eq!(PublicKey::from_spki(&zero), Err(PasskeyError::PublicKey));
    let compressed = [b"\x30\x39\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x22\x00\x02", &spki[27..59]].concat();
    assert_eq!(PublicKey::from_spki(&compressed), Err(PasskeyError::PublicKey));
    // Points of small order, and a second encoding of one.
    for y in ["00", "01"] {
        let mut key = [0; 32];
        key[0] = u8::from_str_radix(y, 16).expect("hex");
        let spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &key].concat();
        assert_eq!(PublicKey::from_spki(&spki), Err(PasskeyError::PublicKey), "{y}");
    }
    let mut twin = [0xff; 32];
    (twin[0], twin[31]) = (0xee, 0x7f);
    let twin = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &twin].concat();
    assert_eq!(PublicKey::from_spki(&twin), Err(PasskeyError::PublicKey));
}

#[test]
fn a_registration_is_of_the_id_and_the_key_that_its_authenticator_made() {
    for soft in both() {
        let right = soft.registration(&CHALLENGE, &party());
        let register = |registration: &Registration| Passkey::register(registration, &CHALLENGE, &party());
        assert_eq!(register(&right), Ok(soft.passkey()));
        assert_eq!(
            Passkey::register(&right, &[0xd2; 32], &party()),
            Err(PasskeyError::Challenge),
            "consent-passkey-challenge"
        );
        let other = SoftPasskey::of("bob", SoftKey::Es256, 7).registration(&CHALLENGE, &party());
        let form = Err(PasskeyError::AuthenticatorData);
        let mut id = right.id.as_bytes().to_vec();
        id[0] ^= 1;
        let id = CredentialId::new(id).expect("an id");
        assert_eq!(register(&Registration { id, ..right.clone() }), form);
        assert_eq!(register(&Registration { public_key: other.public_key, ..right.clone() }), form);
        for length in [0, 36, 37, 52, 54, 55, right.authenticator_data.len() - 1] {
            let authenticator_data = right.authenticator_data[..length].to_vec();
            assert_eq!(register(&Registration { authenticator_data, ..right.clone() }), form, "{length}");
        }
    }
}

#[test]
fn a_credential_id_has_an_allowed_length() {
    for (length, is_allowed) in [(0, false), (15, false), (16, true), (1_023, true), (1_024, false)] {
        let id = CredentialId::new(vec![7; length]);
        assert_eq!(id.is_ok(), is_allowed, "{length}");
    }
}

#[test]
fn answers_are_read_as_browsers_write_them() {
    for mut soft in both() {
        let assertion = soft.assert(&CHALLENGE, &party());
        let text = soft::json(&assertion);
        assert_eq!(Assertion::from_json(&text), Ok(assertion));
        for wrong in [
            String::new(),
            "{}".into(),
            text.replace("public-key", "password"),
            text.replace("\"signature\"", "\"sig\""),
            text.replacen("\"id\":\"", "\"id\":\"=", 1),
            text.replace("\"type\"", "\"type\":\"public-key\",\"type\""),
            format!("{text}x"),
            format!("{}{text}", " ".repeat(json::MAX_JSON_LEN)),
        ] {
            assert_eq!(Assertion::from_json(&wrong), Err(PasskeyError::Json), "{wrong}");
        }
        assert_eq!(Registration::from_json(&text), Err(PasskeyError::Json));
    }
}
