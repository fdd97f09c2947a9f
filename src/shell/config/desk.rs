//! `[desk]`: where `countersign-desk` serves its pages, and as whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::error::{ConfigError, Wrong};
use super::values::absolute;

/// The configuration of the desk, beside that of the client that it is. The module ignores it.
#[derive(Clone, Debug)]
pub struct DeskConfig {
    /// The address to listen at.
    pub address: SocketAddr,
    /// The origin of its pages, as browsers show it.
    pub origin: DeskOrigin,
    /// Its certificate and the chain (PEM).
    pub certificate_file: PathBuf,
    /// Its key (PEM), which only its owner can read.
    pub key_file: PathBuf,
}

/// An origin of HTTPS (RFC 6454): `https://`, a name, and a port that is not 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskOrigin(String);

impl DeskOrigin {
    const SCHEME: &str = "https://";

    /// Reads one as browsers write it.
    fn parse(text: &str) -> Option<DeskOrigin> {
        let authority = text.strip_prefix(DeskOrigin::SCHEME)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_port = |port: &str| {
            port.parse::<u16>().is_ok_and(|number| number.to_string() == port && ![0, 443].contains(&number))
        };
        let name = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').filter(|host| host.contains(':'))?,
            None => Some(host).filter(|host| !host.contains(':'))?,
        };
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let is_good = is_lower && port.is_none_or(is_port) && ServerName::try_from(name).is_ok();
        is_good.then(|| DeskOrigin(text.to_owned()))
    }

    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its name and port, as in `Host`.
    pub fn authority(&self) -> &str {
        &self.0[DeskOrigin::SCHEME.len()..]
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeskTable {
    address: String,
    origin: String,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl DeskTable {
    pub(super) fn parse(self, wrong: &Wrong<'_>) -> Result<DeskConfig, ConfigError> {
        let address = self.address.parse().map_err(|_| {
            wrong("desk.address", "an address and a port are needed, as in \"0.0.0.0:443\" or \"[::]:443\"")
        })?;
        let origin = DeskOrigin::parse(&self.origin).ok_or_else(|| {
            wrong(
                "desk.origin",
                "write it as browsers show it, as in \"https://desk.example\" or \"https://desk.example:8443\"",
            )
        })?;
        Ok(DeskConfig {
            address,
            origin,
            certificate_file: absolute(wrong, "desk.certificate_file", self.certificate_file)?,
            key_file: absolute(wrong, "desk.key_file", self.key_file)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const FULL: &str = "[connect]\naddress = \"unix:/run/countersign/desk.sock\"\n[desk]\naddress = \"0.0.0.0:443\"\n\
                        origin = \"https://desk.example\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/c.toml"))
    }

    #[test]
    fn a_desk_is_a_client_with_pages_of_its_own() {
        let Config::Connect(config) = parse(FULL).expect("complete") else { panic!("a client") };
        let desk = config.desk.expect("it is there");
        assert_eq!((desk.address.port(), desk.origin.authority()), (443, "desk.example"));
        for (from, to, key) in [
            ("0.0.0.0:443", "desk.example:443", "desk.address"),
            ("\"/c\"", "\"c\"", "desk.certificate_file"),
            ("\"/k\"", "\"k\"", "desk.key_file"),
            ("origin", "origins", "desk.origins"),
            ("[connect]\naddress = \"unix:/run/countersign/desk.sock\"\n", "", "desk: "),
        ] {
            let error = parse(&FULL.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.contains(key), "{to}: {error}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in [
            "https://desk.example",
            "https://desk.example:8443",
            "https://127.0.0.1:8443",
            "https://[::1]:8443",
            "https://[::1]",
        ] {
            assert_eq!(DeskOrigin::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "desk.example",
            "http://desk.example",
            "https://",
            "https://Desk.example",
            "https://desk.example/",
            "https://desk.example:443",
            "https://desk.example:0443",
            "https://desk.example:0",
            "https://desk.example:",
            "https://desk.example:99999",
            "https://a@desk.example",
            "https://desk.example?",
            "https://::1",
            "https://desk example",
        ] {
            assert_eq!(DeskOrigin::parse(bad), None, "{bad}");
        }
    }
}
