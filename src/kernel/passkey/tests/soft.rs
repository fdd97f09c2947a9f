//! An authenticator and a browser for tests: they answer what they are told, also what no real one answers.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256};

use super::super::{Assertion, CredentialId, Passkey, PublicKey, Registration, RelyingParty};

/// The algorithm of a passkey.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SoftKey {
    Es256,
    EdDsa,
}

#[derive(Clone)]
enum Secret {
    Es256(p256::ecdsa::SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
}

/// A passkey with its secret, and what its next answers say.
#[derive(Clone)]
pub(crate) struct SoftPasskey {
    pub(crate) id: CredentialId,
    secret: Secret,
    pub(crate) counter: u32,
    pub(crate) flags: u8,
    /// What follows the fixed part.
    pub(crate) more: Vec<u8>,
    /// Instead of that of the relying party.
    pub(crate) id_hash: Option<[u8; 32]>,
    /// Instead of the right one.
    pub(crate) client_data: Option<String>,
}

impl SoftPasskey {
    /// Alice's.
    pub(crate) fn new(kind: SoftKey, counter: u32) -> SoftPasskey {
        SoftPasskey::of("alice", kind, counter)
    }

    /// This user's.
    pub(crate) fn of(name: &str, kind: SoftKey, counter: u32) -> SoftPasskey {
        let seed: [u8; 32] = Sha256::digest(name).into();
        let secret = match kind {
            SoftKey::Es256 => Secret::Es256(p256::ecdsa::SigningKey::from_slice(&seed).expect("a key")),
            SoftKey::EdDsa => Secret::EdDsa(ed25519_dalek::SigningKey::from_bytes(&seed)),
        };
        let id = [&seed[..20], &[kind as u8]].concat();
        let id = CredentialId::new(id).expect("an id");
        SoftPasskey { id, secret, counter, flags: 0b101, more: vec![], id_hash: None, client_data: None }
    }

    /// The same under another id.
    pub(crate) fn with_id(self, id: CredentialId) -> SoftPasskey {
        SoftPasskey { id, ..self }
    }

    fn key(&self) -> PublicKey {
        match &self.secret {
            Secret::Es256(key) => PublicKey::Es256(*key.verifying_key()),
            Secret::EdDsa(key) => PublicKey::EdDsa(key.verifying_key()),
        }
    }

    /// As it is registered.
    pub(crate) fn passkey(&self) -> Passkey {
        let is_shared = self.flags & 0b1000 != 0;
        Passkey { id: self.id.clone(), key: self.key(), counter: self.counter, is_shared }
    }

    /// Answers after counting on.
    pub(crate) fn assert(&mut self, challenge: &[u8; 32], party: &RelyingParty) -> Assertion {
        self.counter = self.counter.saturating_add(1);
        self.answer(challenge, party)
    }

    /// Answers with the present counter.
    pub(crate) fn answer(&self, challenge: &[u8; 32], party: &RelyingParty) -> Assertion {
        let right = SoftPasskey::client_data("webauthn.get", challenge, party);
        let client_data = self.client_data.clone().unwrap_or(right).into_bytes();
        let authenticator_data = [self.fixed(party, self.flags), self.more.clone()].concat();
        let mut assertion =
            Assertion { id: self.id.clone(), client_data, authenticator_data, signature: vec![] };
        self.sign(&mut assertion);
        assertion
    }

    /// Signs whatever an assertion says.
    pub(crate) fn sign(&self, assertion: &mut Assertion) {
        let hash = Sha256::digest(&assertion.client_data);
        let message = [&assertion.authenticator_data[..], &hash].concat();
        assertion.signature = match &self.secret {
            Secret::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(&message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::EdDsa(key) => key.sign(&message).to_bytes().to_vec(),
        };
    }

    /// The answer to the registration of this passkey.
    pub(crate) fn registration(&self, challenge: &[u8; 32], party: &RelyingParty) -> Registration {
        let (key, id) = (self.key(), self.id.as_bytes());
        let attested =
            [&[0xaa; 16][..], &[0, u8::try_from(id.len()).expect("it is short")], id, &key.to_cose()];
        Registration {
            id: self.id.clone(),
            public_key: key.to_spki(),
            client_data: SoftPasskey::client_data("webauthn.create", challenge, party).into_bytes(),
            authenticator_data: [self.fixed(party, self.flags | 0x40), attested.concat()].concat(),
        }
    }

    fn fixed(&self, party: &RelyingParty, flags: u8) -> Vec<u8> {
        let id_hash = self.id_hash.unwrap_or(Sha256::digest(party.id()).into());
        [&id_hash[..], &[flags], &self.counter.to_be_bytes()].concat()
    }

    /// What a browser says.
    pub(crate) fn client_data(kind: &str, challenge: &[u8; 32], party: &RelyingParty) -> String {
        let (challenge, origin) = (BASE64URL_NOPAD.encode(challenge), party.origin());
        format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}","crossOrigin":false}}"#)
    }
}

/// An assertion as a page sends it.
pub(crate) fn json(assertion: &Assertion) -> String {
    let Assertion { id, client_data, authenticator_data, signature } = assertion;
    let [client_data, authenticator_data, signature] =
        [client_data, authenticator_data, signature].map(|bytes| BASE64URL_NOPAD.encode(bytes));
    format!(
        r#"{{"id":"{id}","rawId":"{id}","response":{{"authenticatorData":"{authenticator_data}","clientDataJSON":"{client_data}","signature":"{signature}","userHandle":null}},"authenticatorAttachment":"platform","clientExtensionResults":{{}},"type":"public-key"}}"#
    )
}
