//! Assertions and registrations as the text that `PublicKeyCredential.toJSON()` makes (W3C Web Authentication level 3, section 5.1).

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::{Assertion, CredentialId, PasskeyError, Registration};

/// The longest text, in bytes. Bytes that are encoded get a third longer; the signature and the keys' names need little.
pub(super) const MAX_JSON_LEN: usize = 16 * 1_024;

/// The keys that are needed. Nothing of what is ignored is signed, or decides anything.
#[derive(Deserialize)]
struct Credential<R> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    response: R,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssertionResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    public_key: String,
}

impl Assertion {
    /// Reads an `AuthenticationResponseJSON`.
    pub fn from_json(text: &str) -> Result<Assertion, PasskeyError> {
        let (id, response) = parse::<AssertionResponse>(text)?;
        Ok(Assertion {
            id,
            client_data: bytes(&response.client_data)?,
            authenticator_data: bytes(&response.authenticator_data)?,
            signature: bytes(&response.signature)?,
        })
    }
}

impl Registration {
    /// Reads a `RegistrationResponseJSON`.
    pub fn from_json(text: &str) -> Result<Registration, PasskeyError> {
        let (id, response) = parse::<RegistrationResponse>(text)?;
        Ok(Registration {
            id,
            public_key: bytes(&response.public_key)?,
            client_data: bytes(&response.client_data)?,
            authenticator_data: bytes(&response.authenticator_data)?,
        })
    }
}

fn parse<'a, R: Deserialize<'a>>(text: &'a str) -> Result<(CredentialId, R), PasskeyError> {
    if text.len() > MAX_JSON_LEN {
        return Err(PasskeyError::Json);
    }
    let credential: Credential<R> = serde_json::from_str(text).map_err(|_| PasskeyError::Json)?;
    if credential.kind != "public-key" {
        return Err(PasskeyError::Json);
    }
    Ok((CredentialId::new(bytes(&credential.id)?)?, credential.response))
}

fn bytes(text: &str) -> Result<Vec<u8>, PasskeyError> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| PasskeyError::Json)
}
