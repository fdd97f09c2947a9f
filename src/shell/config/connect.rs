//! `[connect]`: the address of the boundary, for a library that is its client.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::desk::DeskConfig;
use super::error::{ConfigError, Wrong};
use super::log::LogConfig;
use super::values::{UserName, absolute, seconds};

/// The configuration of a client of the boundary.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// The address of the boundary.
    pub address: ConnectAddress,
    /// How long connecting may take, including TLS and the welcome.
    pub connect: Duration,
    /// How long one call may take.
    pub call: Duration,
    /// The log.
    pub log: LogConfig,
    /// The pages of the desk, for the program that serves them.
    pub desk: Option<Box<DeskConfig>>,
}

/// The address of the boundary, and how the client recognises it.
#[derive(Clone, Debug)]
pub enum ConnectAddress {
    /// A Unix socket.
    Unix {
        /// Its path.
        socket: PathBuf,
        /// The user who must serve it. (Root may, too, because systemd binds sockets.) Without a user,
        /// anybody may.
        user: Option<UserName>,
    },
    /// TLS over TCP.
    Tcp {
        /// A host name or address.
        host: String,
        /// The port.
        port: u16,
        /// The certificates.
        tls: ConnectTls,
    },
    /// A vsock: host and guests of one machine.
    Vsock {
        /// The context id; 2 is the host.
        cid: u32,
        /// The port.
        port: u32,
    },
}

impl std::fmt::Display for ConnectAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectAddress::Unix { socket, .. } => write!(f, "unix:{}", socket.display()),
            ConnectAddress::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            ConnectAddress::Tcp { host, port, .. } => write!(f, "tcp:{host}:{port}"),
            ConnectAddress::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

/// The certificates of a client.
#[derive(Clone, Debug)]
pub struct ConnectTls {
    /// The name that must be in the boundary's certificate.
    pub server_name: ServerName<'static>,
    /// The authority that signed the boundary's certificate (PEM).
    pub authority_file: PathBuf,
    /// Our certificate and its chain (PEM).
    pub certificate_file: PathBuf,
    /// Its key (PEM), which only its owner can read.
    pub key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectTable {
    address: String,
    user: Option<toml::Value>,
    connect_seconds: Option<i64>,
    call_seconds: Option<i64>,
    tls: Option<TlsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    server_name: String,
    authority_file: PathBuf,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl ConnectTable {
    pub(super) fn parse(self, log: LogConfig, wrong: &Wrong<'_>) -> Result<ConnectConfig, ConfigError> {
        let connect = seconds(wrong, "connect.connect_seconds", self.connect_seconds, 5, 1..=300)?;
        let call = seconds(wrong, "connect.call_seconds", self.call_seconds, 60, 1..=3600)?;
        let address = match self.address.split_once(':') {
            Some(("unix", path)) => {
                let socket = absolute(wrong, "connect.address", path.into())?;
                let user = self
                    .user
                    .as_ref()
                    .map(|user| UserName::parse(wrong, "connect.user", user))
                    .transpose()?;
                ConnectAddress::Unix { socket, user }
            }
            Some(("tcp", place)) => {
                let (host, port) = host_and_port(place).ok_or_else(|| wrong("connect.address", FORMS))?;
                let tls = self.tls.as_ref().ok_or_else(|| {
                    wrong("connect.tls", "this table is missing: over TCP both sides need certificates")
                })?;
                ConnectAddress::Tcp { host, port, tls: tls.parse(wrong)? }
            }
            Some(("vsock", place)) => {
                let place = place
                    .split_once(':')
                    .and_then(|(cid, port)| Some((cid.parse().ok()?, port.parse().ok()?)));
                let (cid, port) = place.ok_or_else(|| wrong("connect.address", FORMS))?;
                ConnectAddress::Vsock { cid, port }
            }
            _ => return Err(wrong("connect.address", FORMS)),
        };
        if self.user.is_some() && !matches!(address, ConnectAddress::Unix { .. }) {
            return Err(wrong("connect.user", "only a Unix socket shows who serves it: remove this key"));
        }
        if self.tls.is_some() && !matches!(address, ConnectAddress::Tcp { .. }) {
            return Err(wrong("connect.tls", "TLS is for tcp: addresses only: remove this table"));
        }
        Ok(ConnectConfig { address, connect, call, log, desk: None })
    }
}

impl TlsTable {
    fn parse(&self, wrong: &Wrong<'_>) -> Result<ConnectTls, ConfigError> {
        let server_name = ServerName::try_from(self.server_name.clone()).map_err(|_| {
            wrong(
                "connect.tls.server_name",
                "the name in the boundary's certificate is needed, as in \"boundary.example\"",
            )
        })?;
        Ok(ConnectTls {
            server_name,
            authority_file: absolute(wrong, "connect.tls.authority_file", self.authority_file.clone())?,
            certificate_file: absolute(wrong, "connect.tls.certificate_file", self.certificate_file.clone())?,
            key_file: absolute(wrong, "connect.tls.key_file", self.key_file.clone())?,
        })
    }
}

const FORMS: &str = "write \"unix:/absolute/path\", \"tcp:HOST:PORT\" or \"vsock:CID:PORT\"";

/// `host:port`, with an IPv6 address in brackets.
fn host_and_port(place: &str) -> Option<(String, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const TLS: &str = "[connect.tls]\nserver_name = \"boundary.example\"\nauthority_file = \"/a\"\n\
                       certificate_file = \"/c\"\nkey_file = \"/k\"\n";

    fn parse(text: &str) -> Result<ConnectConfig, ConfigError> {
        match Config::parse(text, Path::new("/c.toml"))? {
            Config::Connect(config) => Ok(config),
            Config::Engine(_) => panic!("this is a client's"),
        }
    }

    #[test]
    fn every_kind_of_address_is_read() {
        for address in ["unix:/run/c/b.sock", "vsock:2:4353", "tcp:boundary.example:4353", "tcp:[::1]:4353"] {
            let tls = if address.starts_with("tcp") { TLS } else { "" };
            let config = parse(&format!("[connect]\naddress = \"{address}\"\n{tls}")).expect(address);
            assert_eq!(config.address.to_string(), address);
            assert_eq!((config.connect.as_secs(), config.call.as_secs()), (5, 60));
        }
        let text = "[connect]\naddress = \"unix:/s\"\nuser = \"countersign\"\nconnect_seconds = 1\ncall_seconds = 7\n[log]\nlevel = \"info\"";
        let config = parse(text).expect("complete");
        assert_eq!((config.connect.as_secs(), config.call.as_secs()), (1, 7));
        assert!(
            matches!(config.address, ConnectAddress::Unix { user: Some(UserName::Name(name)), .. } if name == "countersign")
        );
        assert_eq!(config.log.level, super::super::LogLevel::Info);
    }

    #[test]
    fn every_mistake_names_the_file_and_the_key() {
        let unix = "address = \"unix:/s\"\n";
        for (text, expected) in [
            ("", "key connect.address: it is missing"),
            ("address = \"/run/s\"", "connect.address"),
            ("address = \"unix:s\"", "connect.address"),
            ("address = \"unix:\"", "connect.address"),
            ("address = \"http:h:1\"", "connect.address"),
            ("address = \"tcp:h\"", "connect.address"),
            ("address = \"tcp::1\"", "connect.address"),
            ("address = \"tcp:h:0\"", "connect.address"),
            ("address = \"tcp:h:65536\"", "connect.address"),
            ("address = \"tcp:::1:4353\"", "connect.address"),
            ("address = \"tcp:[::1:4353\"", "connect.address"),
            ("address = \"vsock:2\"", "connect.address"),
            ("address = \"vsock:2:-1\"", "connect.address"),
            ("address = \"tcp:h:1\"", "connect.tls: this table is missing"),
            (&format!("{unix}{TLS}"), "connect.tls"),
            (&format!("address = \"vsock:2:1\"\n{TLS}"), "connect.tls"),
            ("address = \"vsock:2:1\"\nuser = \"c\"", "connect.user"),
            (&format!("address = \"tcp:h:1\"\nuser = 5\n{TLS}"), "connect.user"),
            (&format!("{unix}user = \"\""), "connect.user"),
            (&format!("{unix}user = -1"), "connect.user"),
            (&format!("{unix}user = true"), "connect.user"),
            (&format!("{unix}connect_seconds = 0"), "connect.connect_seconds"),
            (&format!("{unix}connect_seconds = 301"), "connect.connect_seconds"),
            (&format!("{unix}call_seconds = 0"), "connect.call_seconds"),
            (&format!("{unix}call_seconds = 3601"), "connect.call_seconds"),
            (
                &format!("{unix}call_seconds = -1"),
                "key connect.call_seconds: a number from 1 to 3600 is needed",
            ),
            (
                &format!("{unix}call_seconds = \"60\""),
                "line 3, key connect.call_seconds: a string stands there: write a whole number, without quotes",
            ),
            ("address = 5", "line 2, key connect.address: 5 stands there: write a string in quotes"),
            (&format!("{unix}timeout = 5"), "key connect.timeout: there is no such key"),
            (
                &format!("address = \"tcp:h:1\"\n{}", TLS.replace("boundary.example", "a b")),
                "connect.tls.server_name",
            ),
            (&format!("address = \"tcp:h:1\"\n{}", TLS.replace("/k", "k")), "connect.tls.key_file"),
            (&format!("address = \"tcp:h:1\"\n{}", TLS.replace("/a", "a")), "connect.tls.authority_file"),
            (&format!("address = \"tcp:h:1\"\n{}", TLS.replace("/c", "c")), "connect.tls.certificate_file"),
        ] {
            let error = parse(&format!("[connect]\n{text}")).expect_err(text).to_string();
            assert!(error.contains(expected) && error.contains("/c.toml"), "{text}: {error}");
        }
    }

    #[test]
    fn a_client_has_nothing_of_the_engines() {
        for (table, text) in [
            ("backing", "[backing]\nmodule = \"/m\"\ntoken = \"t\"\npin_file = \"/p\""),
            ("store", "[store]\npath = \"/s\""),
            ("limits", "[limits]\nfailures_per_hour = 16"),
            ("serve", "[serve]\n[serve.vsock]\nport = 1\nbackends = [3]"),
        ] {
            let text = format!("[connect]\naddress = \"unix:/s\"\n{text}\n");
            let error = parse(&text).expect_err(table).to_string();
            assert!(error.contains(&format!("key {table}")) && error.contains("[connect]"), "{error}");
        }
    }
}
