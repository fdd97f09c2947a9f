//! Passkeys: what the boundary verifies as a relying party of WebAuthn (W3C Web Authentication level 2, and level 3 where it says more).
//!
//! A passkey signs that its user, whom it verified, wants what a challenge names, on a page of one origin. The boundary makes the challenge,
//! so an assertion is for one thing. What the user saw is the page's doing: a passkey has no screen for it.
//!
//! Invariants:
//! - P1. An assertion is right only for its challenge, its origin, its relying party, and the key that was registered. Nothing that is not
//!   signed decides anything.
//! - P2. The user was present, and the authenticator verified the user. A page that was framed by another site is refused.
//! - P3. The counter rises. If it is zero, which it always is for a passkey that is kept on several devices, it stays zero.
//! - P4. Nothing here parses CBOR. What an assertion signs has a fixed form without extensions, and extensions are for others to read. The
//!   key of a registration is written as CBOR and compared.
//!
//! Sections: 5.8.1 (client data), 6.1 (authenticator data), 6.1.1 (counter), 7.1 and 7.2 (registration and assertion).

mod authenticator_data;
mod client_data;
mod json;
mod party;
mod public_key;

use core::fmt;

use sha2::{Digest as _, Sha256};

use authenticator_data::AuthenticatorData;
use client_data::Ceremony;
pub use party::{NotAnOrigin, RelyingParty};
pub use public_key::PublicKey;

/// The longest client data, in bytes.
pub const MAX_CLIENT_DATA_LEN: usize = 4 * 1_024;
/// The longest authenticator data, in bytes: those of a registration have the longest credential id and the key.
pub const MAX_AUTHENTICATOR_DATA_LEN: usize = 2 * 1_024;
/// The longest credential id, in bytes (section 4, "Credential ID").
pub const MAX_CREDENTIAL_ID_LEN: usize = 1_023;
/// The shortest one.
pub const MIN_CREDENTIAL_ID_LEN: usize = 16;

/// The number by which an authenticator finds a passkey. It is no secret, and proves nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CredentialId(Vec<u8>);

/// A passkey as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// Its id.
    pub id: CredentialId,
    /// Its key.
    pub key: PublicKey,
    /// The counter of the last assertion.
    pub counter: u32,
    /// Whether it may be kept on several devices. That never changes.
    pub is_shared: bool,
}

/// What an authenticator answered that was asked for an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// Which passkey is said to have signed.
    pub id: CredentialId,
    /// The client data, as JSON.
    pub client_data: Vec<u8>,
    /// The authenticator data.
    pub authenticator_data: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
}

/// What an authenticator answered that was asked to make a passkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its id.
    pub id: CredentialId,
    /// Its key as `getPublicKey()` gives it: a SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// The client data, as JSON.
    pub client_data: Vec<u8>,
    /// The authenticator data.
    pub authenticator_data: Vec<u8>,
}

/// A passkey that just signed what it was asked, with its new counter.
#[derive(Debug, PartialEq, Eq)]
pub struct Asserted(Passkey);

impl Asserted {
    /// The passkey as it is to be kept from now on.
    pub fn into_passkey(self) -> Passkey {
        self.0
    }
}

impl CredentialId {
    /// An id of an allowed length.
    pub fn new(bytes: Vec<u8>) -> Result<CredentialId, PasskeyError> {
        match bytes.len() {
            MIN_CREDENTIAL_ID_LEN..=MAX_CREDENTIAL_ID_LEN => Ok(CredentialId(bytes)),
            _ => Err(PasskeyError::CredentialId),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In base64url, as in JSON.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Passkey {
    /// The passkey of a registration that was asked for with this challenge. No attestation is asked for, so whoever brings it chooses
    /// the key: who that is must be known by other means.
    pub fn register(
        registration: &Registration,
        challenge: &[u8; 32],
        party: &RelyingParty,
    ) -> Result<Passkey, PasskeyError> {
        let Registration { id, public_key, client_data, authenticator_data } = registration;
        client_data::check(client_data, Ceremony::Registration, challenge, party)?;
        let key = PublicKey::from_spki(public_key)?;
        let AuthenticatorData { is_shared, counter } =
            authenticator_data::check_registration(authenticator_data, party, id, &key)?;
        Ok(Passkey { id: id.clone(), key, counter, is_shared })
    }

    /// Verifies an assertion over this challenge.
    pub fn verify(
        &self,
        assertion: &Assertion,
        challenge: &[u8; 32],
        party: &RelyingParty,
    ) -> Result<Asserted, PasskeyError> {
        let Assertion { id, client_data, authenticator_data, signature } = assertion;
        if *id != self.id {
            return Err(PasskeyError::Another);
        }
        client_data::check(client_data, Ceremony::Assertion, challenge, party)?;
        let AuthenticatorData { is_shared, counter } =
            authenticator_data::check_assertion(authenticator_data, party)?;
        let signed = [&authenticator_data[..], &Sha256::digest(client_data)].concat();
        if !self.key.has_signed(&signed, signature) {
            return Err(PasskeyError::Signature);
        }
        // Only of what was signed: a page could claim anything else.
        if is_shared != self.is_shared {
            return Err(PasskeyError::Shared);
        }
        if counter <= self.counter && (counter, self.counter) != (0, 0) {
            return Err(PasskeyError::Counter { before: self.counter, now: counter });
        }
        Ok(Asserted(Passkey { counter, ..self.clone() }))
    }
}

/// Why an assertion or a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// It is not what `PublicKeyCredential.toJSON()` gives.
    #[error(
        "not a passkey's answer: give the text that PublicKeyCredential.toJSON() makes, at most {} bytes",
        json::MAX_JSON_LEN
    )]
    Json,
    /// The credential id is too short or too long.
    #[error("a credential id has {MIN_CREDENTIAL_ID_LEN} to {MAX_CREDENTIAL_ID_LEN} bytes")]
    CredentialId,
    /// The key is of another algorithm, or not a key.
    #[error(
        "not a key that is supported: the algorithms are ES256 (-7, on P-256) and EdDSA (-8, on Ed25519); bring what getPublicKey() gives"
    )]
    PublicKey,
    /// The client data is not what a browser writes.
    #[error(
        "the client data is not a JSON object of at most {MAX_CLIENT_DATA_LEN} bytes that has each key once"
    )]
    ClientData,
    /// It answers another request.
    #[error("the passkey was asked for something else than {}", .0.asked())]
    Type(Ceremony),
    /// It is for another challenge.
    #[error(
        "the passkey answered another challenge: of another proposal, another user, the other word, or another store; ask it again for what is shown now"
    )]
    Challenge,
    /// Another page asked.
    #[error("another page asked the passkey: only {0} counts")]
    Origin(String),
    /// The page was framed by another site's.
    #[error("the page that asked the passkey was framed by another site: open {0} in a window of its own")]
    Framed(String),
    /// Token binding, which nobody could compare.
    #[error("the client data is bound to a TLS connection, which the boundary does not see")]
    TokenBinding,
    /// The authenticator data has another form.
    #[error(
        "the authenticator data is not in the form of the specification, or belongs to the other kind of answer"
    )]
    AuthenticatorData,
    /// It is for another relying party.
    #[error("the passkey answered for another relying party than {0}")]
    RelyingParty(String),
    /// Nobody was there.
    #[error("the authenticator did not ask for its user's presence")]
    Absent,
    /// Nobody knows who was there.
    #[error(
        "the authenticator did not verify its user: ask with userVerification \"required\", and set a PIN or a fingerprint"
    )]
    Unverified,
    /// The bits about backups contradict each other.
    #[error("the authenticator says that the passkey is kept elsewhere, and that it cannot be")]
    Backup,
    /// Whether it may be kept elsewhere has changed.
    #[error(
        "whether this passkey may be kept on several devices has changed, which it never does: remove it and register it again"
    )]
    Shared,
    /// Another passkey.
    #[error("another passkey answered")]
    Another,
    /// The signature is not by the key, or not over this.
    #[error("the signature is not by the registered key, or over something else")]
    Signature,
    /// The counter did not rise.
    #[error(
        "the passkey's counter is {now} after {before}: it was copied, or the answer was given before; remove this passkey if its user has not used it elsewhere"
    )]
    Counter {
        /// As it was registered or used last.
        before: u32,
        /// As it is in this answer.
        now: u32,
    },
}

#[cfg(test)]
pub(crate) mod tests;
