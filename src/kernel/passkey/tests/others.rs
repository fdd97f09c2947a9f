//! Another implementation's authenticator and browser, by 1Password: what they write is what is read here.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use passkey_authenticator::{Authenticator, MemoryStore, UiHint, UserCheck, UserValidationMethod};
use passkey_client::{Client, DefaultClientData};
use passkey_crypto::{AvailableBackend, iana};
use passkey_types::ctap2::{Aaguid, Ctap2Error};
use passkey_types::{Passkey as OtherPasskey, webauthn};
use url::Url;

use super::super::*;

const ORIGIN: &str = "https://approve.example.org:8443";

/// A user who is there and shows it, or is there at least.
struct User {
    is_verified: bool,
}

#[async_trait::async_trait]
impl UserValidationMethod for User {
    type PasskeyItem = OtherPasskey;

    async fn check_user<'a>(
        &self,
        _hint: UiHint<'a, OtherPasskey>,
        _presence: bool,
        _verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: self.is_verified })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// Nothing here waits for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn creation(challenge: [u8; 32], algorithm: iana::Algorithm) -> webauthn::CredentialCreationOptions {
    let public_key = webauthn::PublicKeyCredentialCreationOptions {
        rp: webauthn::PublicKeyCredentialRpEntity {
            id: Some("approve.example.org".into()),
            name: "countersign".into(),
        },
        user: webauthn::PublicKeyCredentialUserEntity {
            id: vec![0x16; 16].into(),
            display_name: "alice".into(),
            name: "alice".into(),
        },
        challenge: challenge.to_vec().into(),
        pub_key_cred_params: vec![webauthn::PublicKeyCredentialParameters {
            ty: webauthn::PublicKeyCredentialType::PublicKey,
            alg: algorithm,
        }],
        timeout: None,
        exclude_credentials: None,
        authenticator_selection: None,
        hints: None,
        attestation: Default::default(),
        attestation_formats: None,
        extensions: None,
    };
    webauthn::CredentialCreationOptions { public_key }
}

fn request(challenge: [u8; 32], id: &CredentialId) -> webauthn::CredentialRequestOptions {
    let public_key = webauthn::PublicKeyCredentialRequestOptions {
        challenge: challenge.to_vec().into(),
        timeout: None,
        rp_id: Some("approve.example.org".into()),
        allow_credentials: Some(vec![webauthn::PublicKeyCredentialDescriptor {
            ty: webauthn::PublicKeyCredentialType::PublicKey,
            id: id.as_bytes().to_vec().into(),
            transports: None,
        }]),
        user_verification: webauthn::UserVerificationRequirement::Required,
        hints: None,
        attestation: Default::default(),
        attestation_formats: None,
        extensions: None,
    };
    webauthn::CredentialRequestOptions { public_key }
}

#[test]
fn another_implementations_passkeys_register_and_approve() {
    let (party, page) =
        (RelyingParty::of_origin(ORIGIN).expect("an origin"), Url::parse(ORIGIN).expect("a URL"));
    for (algorithm, name) in [(iana::Algorithm::ES256, "ES256"), (iana::Algorithm::EdDSA, "EdDSA")] {
        for counts in [false, true] {
            let user = User { is_verified: true };
            let mut authenticator =
                Authenticator::new(Aaguid::new_empty(), MemoryStore::new(), user, AvailableBackend);
            authenticator.set_algorithms(&[algorithm]).expect("it has both");
            authenticator.set_make_credentials_with_signature_counter(counts);
            let mut client = Client::new(authenticator);
            let created = now(client.register(&page, creation([1; 32], algorithm), DefaultClientData));
            let text = serde_json::to_string(&created.expect("made")).expect("JSON");
            let registration = Registration::from_json(&text).expect("a registration");
            let mut passkey = Passkey::register(&registration, &[1; 32], &party).expect("it is right");
            assert_eq!(passkey.key.algorithm().1, name);
            for turn in 2..5 {
                let given =
                    now(client.authenticate(&page, request([turn; 32], &passkey.id), DefaultClientData));
                let text = serde_json::to_string(&given.expect("given")).expect("JSON");
                let assertion = Assertion::from_json(&text).expect("an assertion");
                let verify = |challenge| passkey.verify(&assertion, &[challenge; 32], &party);
                assert_eq!(verify(turn + 1), Err(PasskeyError::Challenge));
                let before = passkey.counter;
                passkey = verify(turn).expect("it is right").into_passkey();
                assert_eq!(passkey.counter > before, counts);
                let again = passkey.verify(&assertion, &[turn; 32], &party);
                assert_eq!(again.is_err(), counts, "its counter is that of the first time");
            }
        }
    }
}
