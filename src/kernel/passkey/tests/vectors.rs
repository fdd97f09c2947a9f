//! The test vectors of W3C Web Authentication level 3 that have a key of ours. Most of them are not what the boundary accepts, because their
//! users were not verified or their pages were framed. Their signatures are right.

use std::collections::BTreeMap;

use super::super::*;

/// What the boundary says to the registration and the assertion.
type Expected = (Result<(), PasskeyError>, Result<(), PasskeyError>);

fn vectors() -> Vec<(&'static str, &'static str, Expected)> {
    let framed = || Err(PasskeyError::Framed("https://example.org".into()));
    let unverified = || Err(PasskeyError::Unverified);
    macro_rules! vector {
        ($name:literal, $registration:expr, $assertion:expr) => {
            (
                $name,
                include_str!(concat!("../../../../tests/vectors/webauthn/", $name, ".txt")),
                ($registration, $assertion),
            )
        };
    }
    vec![
        vector!("none-es256", unverified(), unverified()),
        vector!("packed-self-es256", Ok(()), unverified()),
        vector!("none-es256-crossOrigin", framed(), framed()),
        vector!("none-es256-topOrigin", framed(), framed()),
        vector!("none-es256-long-credential-id", unverified(), Ok(())),
        vector!("packed-es256", Ok(()), Ok(())),
        vector!("packed-eddsa", unverified(), unverified()),
        vector!("tpm-es256", Ok(()), Ok(())),
        vector!("android-key-es256", Ok(()), unverified()),
        vector!("apple-es256", unverified(), unverified()),
        vector!("fido-u2f-es256", unverified(), unverified()),
    ]
}

#[test]
fn the_published_vectors_are_right_or_refused_for_what_they_say() {
    let party = RelyingParty::of_origin("https://example.org").expect("an origin");
    for (name, text, (registered, asserted)) in vectors() {
        let fields: BTreeMap<&str, Vec<u8>> = (text.lines().filter(|line| !line.starts_with('#')))
            .map(|line| line.split_once(' ').expect("a name and a value"))
            .map(|(name, value)| (name, hex::decode(value).expect("hex")))
            .collect();
        let field = |name: &str| fields[name].clone();
        let challenge = |name: &str| <[u8; 32]>::try_from(field(name)).expect("32 bytes");
        let id = CredentialId::new(field("credential-id")).expect("an id");
        let registration = Registration {
            id: id.clone(),
            public_key: field("public-key"),
            client_data: field("registration-client-data"),
            authenticator_data: field("registration-authenticator-data"),
        };
        let passkey = Passkey::register(&registration, &challenge("registration-challenge"), &party);
        assert_eq!(passkey.map(|_| ()), registered, "{name}");
        let key = PublicKey::from_spki(&registration.public_key).expect("a key");
        let assertion = Assertion {
            id: id.clone(),
            client_data: field("client-data"),
            authenticator_data: field("authenticator-data"),
            signature: field("signature"),
        };
        let is_shared = registration.authenticator_data[32] & 0b1000 != 0;
        let passkey = Passkey { id, key, counter: 0, is_shared };
        let verified = passkey.verify(&assertion, &challenge("challenge"), &party);
        assert_eq!(verified.map(|_| ()), asserted, "{name}");
        let mut signed = assertion.authenticator_data.clone();
        signed.extend_from_slice(&Sha256::digest(&assertion.client_data));
        assert!(passkey.key.has_signed(&signed, &assertion.signature), "{name}");
        signed[0] ^= 1;
        assert!(!passkey.key.has_signed(&signed, &assertion.signature), "{name}");
    }
}
