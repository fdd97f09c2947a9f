//! The relying party: for whose pages passkeys are registered.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::record::Stored;

/// The longest host name, in bytes (RFC 1035).
const MAX_HOST_LEN: usize = 253;

/// A relying party, by the one origin whose pages may ask for passkeys. Its id is the host of that origin, so a page on another host is
/// nobody's here, not even one of the same domain.
///
/// A record has the one that a store trusts to show its users what they approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RelyingParty {
    origin: String,
    host: String,
}

impl RelyingParty {
    /// The relying party of an origin as browsers write it: `https://` and a host name in lower case, and a port unless it is 443.
    pub fn of_origin(origin: &str) -> Result<RelyingParty, NotAnOrigin> {
        let authority = origin.strip_prefix("https://").ok_or(NotAnOrigin)?;
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if !is_host(host) || !port.is_none_or(is_port) {
            return Err(NotAnOrigin);
        }
        Ok(RelyingParty { origin: origin.into(), host: host.into() })
    }

    /// The origin.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The id: the host.
    pub fn id(&self) -> &str {
        &self.host
    }

    /// How authenticators name it.
    pub(super) fn id_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.host).into()
    }
}

impl Stored for RelyingParty {}

impl From<RelyingParty> for String {
    fn from(party: RelyingParty) -> String {
        party.origin
    }
}

impl TryFrom<String> for RelyingParty {
    type Error = NotAnOrigin;

    fn try_from(origin: String) -> Result<RelyingParty, NotAnOrigin> {
        RelyingParty::of_origin(&origin)
    }
}

/// The origin.
impl fmt::Display for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

/// A name of labels. Browsers make no passkeys for addresses, and the last label of a name is never a number.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let are_allowed =
            label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && are_allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_number = |label: &str| label.starts_with(|first: char| first.is_ascii_digit());
    host.len() <= MAX_HOST_LEN
        && host.split('.').all(is_label)
        && !host.rsplit('.').next().is_some_and(is_number)
}

/// In the one form of browsers: no zero before it, and not the one of HTTPS.
fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|number| !matches!(number, 0 | 443) && number.to_string() == port)
}

/// A text that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is https:// and a host name in lower case, with a port if it is not 443, and nothing after that: https://approve.example.com"
)]
pub struct NotAnOrigin;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_https_and_a_host_name_as_browsers_write_them() {
        for (origin, id) in [
            ("https://example.org", "example.org"),
            ("https://approve.bank.example:8443", "approve.bank.example"),
            ("https://localhost:1", "localhost"),
            ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let party = RelyingParty::of_origin(origin).expect("an origin");
            assert_eq!((party.origin(), party.id()), (origin, id));
        }
        for wrong in [
            "",
            "https://",
            "http://example.org",
            "HTTPS://example.org",
            "https://Example.org",
            "https://example.org/",
            "https://example.org:443",
            "https://example.org:0",
            "https://example.org:08443",
            "https://example.org:+1",
            "https://example.org:65536",
            "https://example.org:",
            "https://example.org:1:2",
            "https://alice@example.org",
            "https://example..org",
            "https://example.org.",
            "https://.example.org",
            "https://-example.org",
            "https://192.0.2.1",
            "https://[2001:db8::1]",
            "https://b\u{fc}cher.example",
            "https://example.org\n",
            "example.org",
            "null",
        ] {
            assert_eq!(RelyingParty::of_origin(wrong), Err(NotAnOrigin), "{wrong}");
        }
        let party = RelyingParty::of_origin("https://a.example").expect("an origin");
        let bytes = party.encode();
        assert_eq!(&bytes[..], b"\x01\x11https://a.example");
        assert_eq!(RelyingParty::decode(&bytes), Some(party));
        assert_eq!(RelyingParty::decode(b"\x01\x10http://a.example"), None);
        let long = format!("https://{}.org", ["a"; 125].join("."));
        assert!(RelyingParty::of_origin(&long).is_ok());
        assert!(RelyingParty::of_origin(&format!("{long}.a")).is_err());
    }
}
