//! `[serve]`: who may call the boundary, by which doors, and how much they may use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::DnsName;
use serde::Deserialize;

use super::error::{ConfigError, Wrong};
use super::values::{UserName, absolute, number, seconds};

/// The most bytes of a frame by default: a PSBT has at most 16 MiB.
const DEFAULT_FRAME_BYTES: u64 = 17 << 20;

/// The configuration of `countersign serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// How much all clients together may use.
    pub limits: ServeLimits,
    /// The Unix socket for metrics and health.
    pub monitoring: Option<PathBuf>,
    /// The backends' Unix socket.
    pub backend: Option<UnixDoor>,
    /// The administrators' Unix socket.
    pub administrators: Option<UnixDoor>,
    /// The desk's Unix socket, with one user.
    pub desk: Option<UnixDoor>,
    /// TLS over TCP.
    pub tcp: Option<TcpDoor>,
    /// The vsock.
    pub vsock: Option<VsockDoor>,
}

/// How much of the boundary its clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// The most connections at a time, separately for backends, administrators and the desk.
    pub max_connections: usize,
    /// The most calls under way at a time, separately for backends, administrators and the desk.
    pub max_calls: usize,
    /// The most bytes of one frame.
    pub max_frame_bytes: u32,
    /// How long an application may be silent.
    pub idle: Duration,
    /// How long a frame may take from its first byte to its last, in either direction.
    pub frame: Duration,
    /// How long a stopping boundary waits for the calls under way.
    pub stop: Duration,
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            max_connections: 1024,
            max_calls: 64,
            max_frame_bytes: DEFAULT_FRAME_BYTES as u32,
            idle: Duration::from_secs(900),
            frame: Duration::from_secs(10),
            stop: Duration::from_secs(20),
        }
    }
}

/// A Unix socket, and the users who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixDoor {
    /// Its path.
    pub socket: PathBuf,
    /// The users who may connect.
    pub users: Vec<UserName>,
}

/// An address for TLS, and the certificate names that may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpDoor {
    /// The address to listen at.
    pub address: SocketAddr,
    /// Our certificate and its chain (PEM).
    pub certificate_file: PathBuf,
    /// Its key (PEM), which only its owner can read.
    pub key_file: PathBuf,
    /// The authority that signs clients' certificates (PEM).
    pub client_authority_file: PathBuf,
    /// DNS names of backends.
    pub backends: Vec<DnsName<'static>>,
    /// DNS names of administrators.
    pub administrators: Vec<DnsName<'static>>,
}

/// A vsock port, and the context ids that may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VsockDoor {
    /// The port to listen at.
    pub port: u32,
    /// Context ids of backends.
    pub backends: Vec<u32>,
    /// Context ids of administrators.
    pub administrators: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeTable {
    max_connections: Option<i64>,
    max_calls: Option<i64>,
    max_frame_bytes: Option<i64>,
    idle_seconds: Option<i64>,
    frame_seconds: Option<i64>,
    stop_seconds: Option<i64>,
    monitoring: Option<PathBuf>,
    backend: Option<UnixTable>,
    administrators: Option<UnixTable>,
    desk: Option<DeskTable>,
    tcp: Option<TcpTable>,
    vsock: Option<VsockTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnixTable {
    socket: PathBuf,
    users: Vec<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeskTable {
    socket: PathBuf,
    user: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpTable {
    address: String,
    certificate_file: PathBuf,
    key_file: PathBuf,
    client_authority_file: PathBuf,
    #[serde(default)]
    backends: Vec<String>,
    #[serde(default)]
    administrators: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VsockTable {
    port: i64,
    #[serde(default)]
    backends: Vec<u32>,
    #[serde(default)]
    administrators: Vec<u32>,
}

impl ServeTable {
    pub(super) fn parse(self, wrong: &Wrong<'_>) -> Result<ServeConfig, ConfigError> {
        let limits = self.limits(wrong)?;
        let config = ServeConfig {
            limits,
            monitoring: self.monitoring.map(|path| absolute(wrong, "serve.monitoring", path)).transpose()?,
            backend: self.backend.map(|door| door.parse(wrong, "serve.backend")).transpose()?,
            administrators: self
                .administrators
                .map(|door| door.parse(wrong, "serve.administrators"))
                .transpose()?,
            desk: self.desk.map(|door| door.parse(wrong)).transpose()?,
            tcp: self.tcp.map(|door| door.parse(wrong)).transpose()?,
            vsock: self.vsock.map(|door| door.parse(wrong)).transpose()?,
        };
        if config.backend.is_none()
            && config.administrators.is_none()
            && config.tcp.is_none()
            && config.vsock.is_none()
        {
            return Err(wrong(
                "serve",
                "nobody could connect: add [serve.backend], [serve.administrators], [serve.tcp] or [serve.vsock]",
            ));
        }
        let mut sockets = Vec::new();
        for (key, path) in [
            ("serve.backend.socket", config.backend.as_ref().map(|door| &door.socket)),
            ("serve.administrators.socket", config.administrators.as_ref().map(|door| &door.socket)),
            ("serve.desk.socket", config.desk.as_ref().map(|door| &door.socket)),
            ("serve.monitoring", config.monitoring.as_ref()),
        ] {
            let Some(path) = path else { continue };
            if sockets.contains(&path) {
                return Err(wrong(key, "another key names this path already: each socket needs its own"));
            }
            sockets.push(path);
        }
        Ok(config)
    }

    fn limits(&self, wrong: &Wrong<'_>) -> Result<ServeLimits, ConfigError> {
        let default = ServeLimits::default();
        let count = |key: &str, value, default: usize, range| {
            number(wrong, key, value, default as u64, range).map(|number| number as usize)
        };
        let time =
            |key: &str, value, default: Duration, range| seconds(wrong, key, value, default.as_secs(), range);
        let limits = ServeLimits {
            max_connections: count(
                "serve.max_connections",
                self.max_connections,
                default.max_connections,
                1..=8192,
            )?,
            max_calls: count("serve.max_calls", self.max_calls, default.max_calls, 1..=1024)?,
            max_frame_bytes: number(
                wrong,
                "serve.max_frame_bytes",
                self.max_frame_bytes,
                DEFAULT_FRAME_BYTES,
                65_536..=67_108_864,
            )? as u32,
            idle: time("serve.idle_seconds", self.idle_seconds, default.idle, 1..=86_400)?,
            frame: time("serve.frame_seconds", self.frame_seconds, default.frame, 1..=300)?,
            stop: time("serve.stop_seconds", self.stop_seconds, default.stop, 1..=300)?,
        };
        // A client in the middle of a frame is not idle.
        if limits.idle < limits.frame {
            return Err(wrong("serve.idle_seconds", "it must not be less than serve.frame_seconds"));
        }
        Ok(limits)
    }
}

impl UnixTable {
    fn parse(self, wrong: &Wrong<'_>, table: &str) -> Result<UnixDoor, ConfigError> {
        let key = format!("{table}.users");
        if self.users.is_empty() {
            return Err(wrong(&key, NOBODY));
        }
        let users =
            self.users.iter().map(|user| UserName::parse(wrong, &key, user)).collect::<Result<_, _>>()?;
        Ok(UnixDoor { socket: absolute(wrong, &format!("{table}.socket"), self.socket)?, users })
    }
}

impl DeskTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<UnixDoor, ConfigError> {
        Ok(UnixDoor {
            socket: absolute(wrong, "serve.desk.socket", self.socket)?,
            users: vec![UserName::parse(wrong, "serve.desk.user", &self.user)?],
        })
    }
}

impl TcpTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<TcpDoor, ConfigError> {
        let address = self.address.parse().map_err(|_| {
            wrong(
                "serve.tcp.address",
                "an address and a port are needed, as in \"0.0.0.0:4353\" or \"[::]:4353\"",
            )
        })?;
        let names = |key: &str, names: Vec<String>| {
            let parse = |name: String| {
                DnsName::try_from(name.to_ascii_lowercase()).map_err(|_| {
                    wrong(
                        key,
                        &format!("\"{name}\" is not a DNS name: write one as in \"backend-1.example\""),
                    )
                })
            };
            names.into_iter().map(parse).collect::<Result<Vec<DnsName<'static>>, _>>()
        };
        let backends = names("serve.tcp.backends", self.backends)?;
        let administrators = names("serve.tcp.administrators", self.administrators)?;
        if backends.is_empty() && administrators.is_empty() {
            return Err(wrong("serve.tcp.backends", NOBODY));
        }
        if administrators.iter().any(|name| backends.contains(name)) {
            return Err(wrong("serve.tcp.administrators", BOTH));
        }
        Ok(TcpDoor {
            address,
            certificate_file: absolute(wrong, "serve.tcp.certificate_file", self.certificate_file)?,
            key_file: absolute(wrong, "serve.tcp.key_file", self.key_file)?,
            client_authority_file: absolute(
                wrong,
                "serve.tcp.client_authority_file",
                self.client_authority_file,
            )?,
            backends,
            administrators,
        })
    }
}

impl VsockTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<VsockDoor, ConfigError> {
        // VMADDR_PORT_ANY, the last number, is not a port that clients could find.
        let last = u64::from(u32::MAX - 1);
        let port = number(wrong, "serve.vsock.port", Some(self.port), 0, 0..=last)? as u32;
        if self.backends.is_empty() && self.administrators.is_empty() {
            return Err(wrong("serve.vsock.backends", NOBODY));
        }
        if self.administrators.iter().any(|cid| self.backends.contains(cid)) {
            return Err(wrong("serve.vsock.administrators", BOTH));
        }
        Ok(VsockDoor { port, backends: self.backends, administrators: self.administrators })
    }
}

const NOBODY: &str = "nobody could connect: name at least one, or remove the table";
const BOTH: &str = "one of these is also a backend: whoever administers must not sign";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const ENGINE: &str =
        "[backing]\nmodule = \"/m\"\ntoken = \"t\"\npin_file = \"/p\"\n[store]\npath = \"/s.db\"\n";
    const FULL: &str = r#"
        [serve]
        max_connections = 10
        max_calls = 2
        max_frame_bytes = 65536
        idle_seconds = 60
        frame_seconds = 3
        stop_seconds = 4
        monitoring = "/run/countersign/monitoring.sock"
        [serve.backend]
        socket = "/run/countersign/backend.sock"
        users = ["custodian", 1001]
        [serve.administrators]
        socket = "/run/countersign/administrators.sock"
        users = ["root"]
        [serve.desk]
        socket = "/run/countersign/desk.sock"
        user = "countersign-desk"
        [serve.tcp]
        address = "0.0.0.0:4353"
        certificate_file = "/c"
        key_file = "/k"
        client_authority_file = "/a"
        backends = ["Backend-1.example"]
        administrators = ["officer.example"]
        [serve.vsock]
        port = 4353
        backends = [3]
        administrators = [4]
    "#;

    fn parse(text: &str) -> Result<ServeConfig, ConfigError> {
        match Config::parse(&format!("{ENGINE}{text}"), Path::new("/c.toml"))? {
            Config::Engine(config) => Ok(config.serve.expect("it is there")),
            Config::Connect(_) => panic!("this is the engine's"),
        }
    }

    #[test]
    fn a_complete_table_is_read() {
        let config = parse(FULL).expect("complete");
        let backend = config.backend.expect("it is there");
        assert_eq!(backend.users, [UserName::Name("custodian".into()), UserName::Id(1001)]);
        assert_eq!(config.desk.expect("it is there").users, [UserName::Name("countersign-desk".into())]);
        let tcp = config.tcp.expect("it is there");
        assert_eq!(tcp.backends[0].as_ref(), "backend-1.example", "names have no case");
        assert_eq!(config.vsock.expect("it is there").administrators, [4]);
        let limits = ServeLimits {
            max_connections: 10,
            max_calls: 2,
            max_frame_bytes: 65536,
            idle: Duration::from_secs(60),
            frame: Duration::from_secs(3),
            stop: Duration::from_secs(4),
        };
        assert_eq!(config.limits, limits);
        let least = parse("[serve.vsock]\nport = 0\nbackends = [3]").expect("complete");
        assert_eq!(least.limits, ServeLimits::default());
    }

    #[test]
    fn every_mistake_names_the_file_and_the_key() {
        for (from, to, expected) in [
            ("max_connections = 10", "max_connections = 0", "serve.max_connections: a number from 1 to 8192"),
            ("max_connections = 10", "max_connections = 8193", "serve.max_connections"),
            ("max_calls = 2", "max_calls = 0", "serve.max_calls"),
            ("max_calls = 2", "max_calls = 1025", "serve.max_calls"),
            ("= 65536", "= 65535", "serve.max_frame_bytes"),
            ("= 65536", "= 67108865", "serve.max_frame_bytes"),
            ("= 65536", "= -1", "serve.max_frame_bytes: a number from 65536 to 67108864"),
            ("idle_seconds = 60", "idle_seconds = 0", "serve.idle_seconds"),
            ("idle_seconds = 60", "idle_seconds = 86401", "serve.idle_seconds"),
            ("idle_seconds = 60", "idle_seconds = 2", "serve.idle_seconds: it must not be less"),
            ("frame_seconds = 3", "frame_seconds = 301", "serve.frame_seconds"),
            ("stop_seconds = 4", "stop_seconds = 0", "serve.stop_seconds"),
            ("stop_seconds = 4", "stop = 4", "key serve.stop: there is no such key"),
            ("\"/run/countersign/monitoring.sock\"", "\"m.sock\"", "serve.monitoring"),
            ("\"/run/countersign/monitoring.sock\"", "\"/run/countersign/backend.sock\"", "serve.monitoring"),
            ("\"/run/countersign/backend.sock\"", "\"backend.sock\"", "serve.backend.socket"),
            ("administrators.sock", "backend.sock", "serve.administrators.socket"),
            ("[\"custodian\", 1001]", "[]", "serve.backend.users"),
            ("[\"custodian\", 1001]", "[\"\"]", "serve.backend.users"),
            ("[\"custodian\", 1001]", "[-1]", "serve.backend.users"),
            ("[\"custodian\", 1001]", "[4294967295]", "serve.backend.users"),
            ("[\"custodian\", 1001]", "[true]", "serve.backend.users"),
            ("[\"root\"]", "[]", "serve.administrators.users"),
            ("user = \"countersign-desk\"", "user = \"\"", "serve.desk.user"),
            ("user = \"countersign-desk\"", "users = [1]", "serve.desk.users: there is no such key"),
            ("\"/run/countersign/desk.sock\"", "\"desk.sock\"", "serve.desk.socket"),
            ("desk.sock", "backend.sock", "serve.desk.socket"),
            ("0.0.0.0:4353", "localhost:4353", "serve.tcp.address"),
            ("\"/k\"", "\"k\"", "serve.tcp.key_file"),
            ("\"/c\"", "\"c\"", "serve.tcp.certificate_file"),
            ("\"/a\"", "\"a\"", "serve.tcp.client_authority_file"),
            ("Backend-1.example", "*.example", "serve.tcp.backends"),
            ("Backend-1.example", "10.0.0.1 ", "serve.tcp.backends"),
            ("officer.example", "OFFICER example", "serve.tcp.administrators"),
            ("officer.example", "BACKEND-1.EXAMPLE", "serve.tcp.administrators"),
            ("port = 4353", "port = 4294967295", "serve.vsock.port"),
            ("administrators = [4]", "administrators = [3]", "serve.vsock.administrators"),
            ("port = 4353", "port = -1", "serve.vsock.port: a number from 0 to 4294967294"),
            (
                "[4]",
                "[4, \"a\"]",
                "key serve.vsock.administrators, entry 2: a string stands there: write a whole number",
            ),
            (
                "[\"custodian\", 1001]",
                "\"custodian\"",
                "key serve.backend.users: a string stands there: write a list",
            ),
            (
                "\"0.0.0.0:4353\"",
                "4353",
                "key serve.tcp.address: 4353 stands there: write a string in quotes",
            ),
            ("administrators = [4]", "people = [3]", "key serve.vsock.people: there is no such key"),
        ] {
            assert!(FULL.contains(from), "{from}");
            let error = parse(&FULL.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(expected) && error.contains("/c.toml"), "{to}: {error}");
        }
        let error = parse("[serve]").expect_err("no door").to_string();
        assert!(error.contains("key serve:") && error.contains("[serve.backend]"), "{error}");
        let nobody = "[serve.vsock]\nport = 1";
        assert!(parse(nobody).expect_err("nobody").to_string().contains("serve.vsock.backends"));
        let nobody = "[serve.tcp]\naddress = \"[::]:1\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"\nclient_authority_file = \"/a\"";
        assert!(parse(nobody).expect_err("nobody").to_string().contains("serve.tcp.backends"));
    }
}
