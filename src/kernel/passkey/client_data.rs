//! The client data: what the browser says about the page that asked the passkey (section 5.8.1).
//!
//! It is JSON, and browsers add keys as they like, so it is parsed and not compared. Each key occurs once: else two readers could read two
//! texts.

use core::fmt;
use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{MAX_CLIENT_DATA_LEN, PasskeyError, RelyingParty};

/// What a passkey was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// To make a passkey.
    Registration,
    /// To sign with one.
    Assertion,
}

impl Ceremony {
    fn name(self) -> &'static str {
        match self {
            Ceremony::Registration => "webauthn.create",
            Ceremony::Assertion => "webauthn.get",
        }
    }

    pub(super) fn asked(self) -> &'static str {
        match self {
            Ceremony::Registration => "a new passkey (navigator.credentials.create)",
            Ceremony::Assertion => "an assertion (navigator.credentials.get)",
        }
    }
}

/// The keys that decide.
#[derive(Default)]
struct ClientData {
    kind: Option<String>,
    challenge: Option<String>,
    origin: Option<String>,
    is_cross_origin: bool,
    /// Only a page that is framed by another site's has it.
    has_top_origin: bool,
    is_bound: bool,
}

/// Whether the client data is of this ceremony, for this challenge, on a page of the relying party's origin.
pub(super) fn check(
    bytes: &[u8],
    ceremony: Ceremony,
    challenge: &[u8; 32],
    party: &RelyingParty,
) -> Result<(), PasskeyError> {
    if bytes.len() > MAX_CLIENT_DATA_LEN {
        return Err(PasskeyError::ClientData);
    }
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| PasskeyError::ClientData)?;
    let text = |text: Option<String>| text.ok_or(PasskeyError::ClientData);
    let (kind, answered, origin) = (text(data.kind)?, text(data.challenge)?, text(data.origin)?);
    if kind != ceremony.name() {
        return Err(PasskeyError::Type(ceremony));
    }
    // The text has one form, so it is compared and not decoded.
    if answered != BASE64URL_NOPAD.encode(challenge) {
        return Err(PasskeyError::Challenge);
    }
    if origin != party.origin() {
        return Err(PasskeyError::Origin(party.origin().into()));
    }
    if data.is_cross_origin || data.has_top_origin {
        return Err(PasskeyError::Framed(party.origin().into()));
    }
    if data.is_bound {
        return Err(PasskeyError::TokenBinding);
    }
    Ok(())
}

impl<'de> Deserialize<'de> for ClientData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClientData, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = ClientData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClientData, A::Error> {
        let (mut data, mut seen) = (ClientData::default(), BTreeSet::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => data.kind = Some(map.next_value()?),
                "challenge" => data.challenge = Some(map.next_value()?),
                "origin" => data.origin = Some(map.next_value()?),
                "crossOrigin" => data.is_cross_origin = map.next_value()?,
                "topOrigin" => {
                    let _origin: String = map.next_value()?;
                    data.has_top_origin = true;
                }
                "tokenBinding" => data.is_bound = map.next_value::<TokenBinding>()?.status != "supported",
                _ => {
                    let _unknown: IgnoredAny = map.next_value()?;
                }
            }
            if !seen.insert(key) {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(data)
    }
}

/// Level 2 has it, level 3 only reserves the name. "supported" says that the connection has none.
#[derive(Deserialize)]
struct TokenBinding {
    status: String,
}
