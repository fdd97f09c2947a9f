//! The configuration: one TOML file.
//!
//! ```toml
//! [backing]
//! module = "/usr/lib/softhsm/libsofthsm2.so"  # absolute path of the backing PKCS#11 module
//! sha256 = "9f86d0…"                          # may be left out: SHA-256 of that file, and nothing else is loaded
//! token = "countersign-backing"               # label of the backing token
//! pin_file = "/etc/countersign/backing.pin"   # or pin_env = "NAME"
//! serial = "0123456789abcdef"                 # may be left out: its serial number
//! slot = 1                                    # may be left out: the number of its slot
//! init_args = "configdir='sql:/nss'"          # may be left out: a string that C_Initialize gets in pReserved
//!
//! [store]
//! path = "/var/lib/countersign/countersign.db"
//! reopen_seconds = 30                         # may be left out; 0 to 300: for how long the store and the backing token
//!                                             # are opened anew after a write that failed, before the module closes
//!
//! [limits]                                    # may be left out
//! failures_per_hour = 100                     # 16 to 1000000: wrong codes of all users together within an hour, from
//!                                             # which on no code is checked until there are fewer
//!
//! [log]                                       # may be left out
//! level = "warn"                              # off, error, warn, info
//! file = "/var/log/countersign.log"           # standard error if left out
//!
//! [plugin]                                    # for the program that loads the module: see the module `plugin`
//! library = "/usr/lib/countersign/libcountersign.so"
//! officers = ["RWQ…", "RWT…", "RWS…"]         # minisign public keys, 1 to 16
//! threshold = 2                               # as many of them must have signed
//! floor_file = "/var/lib/countersign/plugin.floor"
//! ```
//!
//! Inside the boundary, `[serve]` says who may call `countersign serve` ([`ServeConfig`]). Outside,
//! `[connect]` says where the boundary is ([`ConnectConfig`]), and replaces all of the above except `[log]`:
//!
//! ```toml
//! [serve]                                     # all six may be left out
//! max_connections = 1024                      # at a time, of backends and of administrators each
//! max_calls = 64                              # under way at a time, of backends and of administrators each
//! max_frame_bytes = 17825792                  # a PSBT has at most 16 MiB
//! idle_seconds = 900                          # how long an application may be silent
//! frame_seconds = 10                          # how long a request or an answer may take to pass
//! stop_seconds = 20                           # how long calls under way are waited for when stopping
//! monitoring = "/run/countersign/monitoring.sock"  # may be left out
//!
//! [serve.backend]                             # one door at least: backend, administrators, tcp, vsock
//! socket = "/run/countersign/backend.sock"
//! users = ["custodian", 1001]                 # names or numbers
//!
//! [serve.administrators]
//! socket = "/run/countersign/administrators.sock"
//! users = ["root"]
//!
//! [serve.tcp]
//! address = "0.0.0.0:4353"
//! certificate_file = "/etc/countersign/boundary.pem"
//! key_file = "/etc/countersign/boundary.key"  # mode 600
//! client_authority_file = "/etc/countersign/clients.pem"
//! backends = ["backend-1.example"]            # DNS names in client certificates
//! administrators = ["officer.example"]
//!
//! [serve.vsock]
//! port = 4353
//! backends = [3]                              # context ids
//! administrators = []
//! ```
//!
//! ```toml
//! [connect]
//! address = "unix:/run/countersign/backend.sock"  # or "tcp:HOST:PORT", "vsock:CID:PORT"
//! user = "countersign"                        # who must serve it; Unix only, may be left out
//! connect_seconds = 5                         # may be left out
//! call_seconds = 60                           # may be left out
//!
//! [connect.tls]                               # for tcp only
//! server_name = "boundary.example"
//! authority_file = "/etc/countersign/boundary-authority.pem"
//! certificate_file = "/etc/countersign/backend.pem"
//! key_file = "/etc/countersign/backend.key"   # mode 600
//! ```
//!
//! The module reads `$COUNTERSIGN_CONF`, or else `countersign/countersign.toml` in the user's configuration
//! folder, or else in `/etc`. It takes the first that exists and never merges two.

mod connect;
mod serve;

use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use self::connect::ConnectTable;
use self::serve::ServeTable;
use crate::engine::DEFAULT_FAILURES_PER_HOUR;
use crate::kernel::failures::{MAX_PER_HOUR, MIN_PER_HOUR};
use crate::plugin::config::{PluginConfig, PluginTable};
use crate::plugin::manifest::LibraryDigest;
use crate::shell::ledger::Upkeep;

pub use self::connect::{ConnectAddress, ConnectConfig, ConnectTls};
pub use self::serve::{ServeConfig, ServeLimits, TcpDoor, UnixDoor, VsockDoor};

/// The variable that names the file.
pub const CONF_VARIABLE: &str = "COUNTERSIGN_CONF";
const FILE_NAME: &str = "countersign/countersign.toml";
/// Callers wait for so long at most. A longer failure is for whatever starts the boundary again.
const MAX_REOPEN_SECONDS: u64 = 300;

/// The whole configuration, which decides what this library is in this process.
#[derive(Debug)]
pub enum Config {
    /// The engine, with its store and its backing token.
    Engine(Box<EngineConfig>),
    /// A client of the boundary, where the engine is.
    Connect(ConnectConfig),
}

/// The configuration of the engine.
#[derive(Debug)]
pub struct EngineConfig {
    /// The backing token.
    pub backing: BackingConfig,
    /// The store.
    pub store: StoreConfig,
    /// The limits over all users.
    pub limits: LimitsConfig,
    /// Who may call `countersign serve`. An engine in an application's process does not use it.
    pub serve: Option<ServeConfig>,
    /// The signed library, for the program that loads it.
    pub plugin: Option<PluginConfig>,
    /// The log.
    pub log: LogConfig,
}

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

/// The backing token, and how to log in to it. At least one of label, serial number and slot is given, and
/// the token must match all that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingConfig {
    /// Absolute path of its PKCS#11 module.
    pub module: PathBuf,
    /// SHA-256 of the module's file, if nothing else may be loaded.
    pub sha256: Option<LibraryDigest>,
    /// Its label.
    pub token: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The number of its slot.
    pub slot: Option<u64>,
    /// The string for `pReserved` at initialisation.
    pub init_args: Option<CString>,
    /// The source of its user PIN.
    pub pin: PinSource,
}

/// The source of the backing token's PIN, which is never the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file that only its owner can read; its first line is the PIN.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// The place of the store.
#[derive(Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Absolute path of the SQLite file.
    pub path: PathBuf,
    /// How long store and backing token are opened again after a failed write.
    pub reopening: Duration,
}

/// The limits over all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Wrong codes of all users together within an hour, from which on no code is checked.
    pub failures_per_hour: u32,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig { failures_per_hour: DEFAULT_FAILURES_PER_HOUR }
    }
}

/// The level and the destination of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The file, or standard error.
    pub file: Option<PathBuf>,
}

/// The level of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Failures that keep the module from working.
    Error,
    /// Refusals, too.
    #[default]
    Warn,
    /// Completed work, too.
    Info,
}

impl Config {
    /// Finds the file to read.
    pub fn locate() -> Result<PathBuf, ConfigError> {
        if let Some(named) = std::env::var_os(CONF_VARIABLE).filter(|value| !value.is_empty()) {
            return Ok(named.into());
        }
        let folders = user_folder().into_iter().chain([PathBuf::from("/etc")]);
        let candidates: Vec<PathBuf> = folders.map(|folder| folder.join(FILE_NAME)).collect();
        candidates
            .iter()
            .find(|candidate| candidate.exists())
            .cloned()
            .ok_or(ConfigError::Missing { looked_at: candidates })
    }

    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = text_file(path)
            .map_err(|error| ConfigError::Unreadable { file: path.into(), problem: error.to_string() })?;
        Config::parse(&text, path)
    }

    /// The level and the destination of the log.
    pub fn log(&self) -> &LogConfig {
        match self {
            Config::Engine(config) => &config.log,
            Config::Connect(config) => &config.log,
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let wrong = |key: &str, problem: &str| ConfigError::Wrong {
            file: path.into(),
            key: key.into(),
            problem: problem.into(),
        };
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Toml {
            file: path.into(),
            line: error.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count()),
            problem: error.message().into(),
        })?;
        let log = file.log.map(|log| LogConfig { level: log.level, file: log.file }).unwrap_or_default();
        let Some(connect) = file.connect else {
            let limits = file.limits.map_or(Ok(LimitsConfig::default()), |limits| limits.parse(&wrong))?;
            let plugin = file.plugin.map(PluginTable::check).transpose();
            let plugin = plugin.map_err(|(key, problem)| wrong(key, &problem))?;
            return Ok(Config::Engine(Box::new(EngineConfig {
                backing: file.backing.ok_or_else(|| wrong("backing", MISSING))?.parse(&wrong)?,
                store: file.store.ok_or_else(|| wrong("store", MISSING))?.parse(&wrong)?,
                limits,
                serve: file.serve.map(|serve| serve.parse(&wrong)).transpose()?,
                plugin,
                log,
            })));
        };
        for (table, is_there) in [
            ("backing", file.backing.is_some()),
            ("store", file.store.is_some()),
            ("limits", file.limits.is_some()),
            ("serve", file.serve.is_some()),
            ("plugin", file.plugin.is_some()),
        ] {
            if is_there {
                return Err(wrong(
                    table,
                    "with [connect] the engine runs elsewhere, and this belongs there: remove one of the two",
                ));
            }
        }
        connect.parse(log, &wrong).map(Config::Connect)
    }
}

/// The user's configuration folder: `$XDG_CONFIG_HOME`, or else `.config` in `$HOME`. The XDG Base Directory
/// Specification says to ignore relative paths. Otherwise the owner of the working directory could choose the
/// boundary.
pub fn user_folder() -> Option<PathBuf> {
    let absolute =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
}

/// Reads a text file. A device that never ends is refused. The text is wiped on drop, because it may be a
/// PIN.
fn text_file(path: &Path) -> io::Result<Zeroizing<String>> {
    const MOST: usize = 1 << 20;
    let too_long = || io::Error::other(format!("it is longer than {MOST} bytes"));
    let mut file = fs::File::open(path)?;
    let expected =
        usize::try_from(file.metadata()?.len()).ok().filter(|len| *len <= MOST).ok_or_else(too_long)?;
    // Allocated at once, because a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(expected + 1));
    io::Read::take(&mut file, MOST as u64 + 1).read_to_string(&mut text)?;
    if text.len() <= MOST { Ok(text) } else { Err(too_long()) }
}

const MISSING: &str = "this table is missing (or [connect], if the engine runs in a boundary elsewhere)";

impl EngineConfig {
    /// Reads and checks the file at `path`, which must be the engine's.
    pub fn load(path: &Path) -> Result<EngineConfig, ConfigError> {
        match Config::load(path)? {
            Config::Engine(config) => Ok(*config),
            Config::Connect(_) => Err(ConfigError::Wrong {
                file: path.into(),
                key: "connect".into(),
                problem: "the engine is elsewhere: this is done inside the boundary, with the configuration there, \
                          which has [backing] and [store]"
                    .into(),
            }),
        }
    }
}

impl UserName {
    fn parse(wrong: &Wrong<'_>, key: &str, value: &toml::Value) -> Result<UserName, ConfigError> {
        match value {
            toml::Value::String(name) if !name.is_empty() && !name.contains('\0') => {
                Ok(UserName::Name(name.clone()))
            }
            // The last number belongs to no user: the system reads it as "none".
            toml::Value::Integer(id) => match u32::try_from(*id) {
                Ok(id) if id != u32::MAX => Ok(UserName::Id(id)),
                _ => Err(wrong(key, "a user's number is from 0 to 4294967294")),
            },
            _ => Err(wrong(key, "a user is a name or a number, as in \"custodian\" or 1001")),
        }
    }
}

impl std::fmt::Display for UserName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UserName::Name(name) => write!(f, "{name:?}"),
            UserName::Id(id) => id.fmt(f),
        }
    }
}

impl PinSource {
    /// Reads the PIN.
    pub fn read(&self) -> Result<Zeroizing<String>, ConfigError> {
        let wrong = |problem: String| ConfigError::Pin { origin: self.describe(), problem };
        let pin = match self {
            PinSource::Env(name) => Zeroizing::new(
                std::env::var(name)
                    .map_err(|_| wrong("is not set, or not UTF-8: set it for this process".into()))?,
            ),
            PinSource::File(path) => {
                let mode = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(wrong(format!(
                        "others can read it (mode {:o}): chmod 600 it, and change the PIN if somebody may have read it",
                        mode & 0o777
                    )));
                }
                let text = text_file(path).map_err(|error| wrong(error.to_string()))?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        if pin.is_empty() {
            return Err(wrong("is empty".into()));
        }
        Ok(pin)
    }

    fn describe(&self) -> String {
        match self {
            PinSource::File(path) => format!("pin_file {}", path.display()),
            PinSource::Env(name) => format!("the environment variable {name} (pin_env)"),
        }
    }
}

/// The reason why there is no usable configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None was found.
    #[error(
        "no configuration: looked for {}; write one, or set {CONF_VARIABLE} to its path",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
    )]
    Missing {
        /// The files that were tried.
        looked_at: Vec<PathBuf>,
    },
    /// It cannot be read.
    #[error("the configuration {}: {problem}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// It is not TOML, or has an unknown or ill-typed key.
    #[error("the configuration {}, line {line}: {problem}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem.
        problem: String,
    },
    /// A key is missing or its value cannot be used.
    #[error("the configuration {}, key {key}: {problem}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// The problem.
        problem: String,
    },
    /// The PIN of the backing token cannot be read.
    #[error("the backing token's PIN: {origin} {problem}")]
    Pin {
        /// The source of the PIN.
        origin: String,
        /// The problem.
        problem: String,
    },
}

/// Makes an error from a key and its problem, for one file.
type Wrong<'a> = dyn Fn(&str, &str) -> ConfigError + 'a;

fn absolute(wrong: &Wrong<'_>, key: &str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(wrong(key, "an absolute path is needed: a relative one depends on the current folder"))
}

fn number(
    wrong: &Wrong<'_>,
    key: &str,
    value: Option<u64>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err(wrong(key, &format!("a number from {} to {} is needed", range.start(), range.end())))
}

fn seconds(
    wrong: &Wrong<'_>,
    key: &str,
    value: Option<u64>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, ConfigError> {
    number(wrong, key, value, default, range).map(Duration::from_secs)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    backing: Option<BackingTable>,
    store: Option<StoreTable>,
    limits: Option<LimitsTable>,
    log: Option<LogTable>,
    serve: Option<ServeTable>,
    connect: Option<ConnectTable>,
    plugin: Option<PluginTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackingTable {
    module: PathBuf,
    sha256: Option<String>,
    token: Option<String>,
    serial: Option<String>,
    slot: Option<u64>,
    init_args: Option<String>,
    pin_file: Option<PathBuf>,
    pin_env: Option<String>,
}

impl BackingTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<BackingConfig, ConfigError> {
        let pin = match (self.pin_file, self.pin_env) {
            (Some(file), None) => PinSource::File(absolute(wrong, "backing.pin_file", file)?),
            (None, Some(name)) => PinSource::Env(name),
            _ => return Err(wrong("backing.pin_file", "name exactly one of pin_file and pin_env")),
        };
        if self.token.is_none() && self.serial.is_none() && self.slot.is_none() {
            return Err(wrong(
                "backing.token",
                "name the token: by its label here, or by backing.serial or backing.slot",
            ));
        }
        let init_args = self.init_args.map(CString::new).transpose();
        let digest = |hex: String| {
            LibraryDigest::parse(&hex).ok_or_else(|| {
                wrong("backing.sha256", "64 hex digits in lower case are needed, as sha256sum prints them")
            })
        };
        Ok(BackingConfig {
            module: absolute(wrong, "backing.module", self.module)?,
            sha256: self.sha256.map(digest).transpose()?,
            token: self.token,
            serial: self.serial,
            slot: self.slot,
            init_args: init_args
                .map_err(|_| wrong("backing.init_args", "a text without the character 0 is needed"))?,
            pin,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    path: PathBuf,
    reopen_seconds: Option<u64>,
}

impl StoreTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<StoreConfig, ConfigError> {
        let key = "store.reopen_seconds";
        let default = Upkeep::default().reopening.as_secs();
        let reopening = seconds(wrong, key, self.reopen_seconds, default, 0..=MAX_REOPEN_SECONDS)?;
        Ok(StoreConfig { path: absolute(wrong, "store.path", self.path)?, reopening })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    failures_per_hour: u32,
}

impl LimitsTable {
    fn parse(self, wrong: &Wrong<'_>) -> Result<LimitsConfig, ConfigError> {
        if !(MIN_PER_HOUR..=MAX_PER_HOUR).contains(&self.failures_per_hour) {
            return Err(wrong("limits.failures_per_hour", "a number from 16 to 1000000 is needed"));
        }
        Ok(LimitsConfig { failures_per_hour: self.failures_per_hour })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    #[serde(default)]
    level: LogLevel,
    file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [backing]
        module = "/usr/lib/softhsm/libsofthsm2.so"
        token = "t"
        pin_file = "/pin"
        [store]
        path = "/store.db"
    "#;

    fn parse(text: &str) -> Result<EngineConfig, ConfigError> {
        match Config::parse(text, Path::new("/c.toml"))? {
            Config::Engine(config) => Ok(*config),
            Config::Connect(_) => panic!("this is the engine's"),
        }
    }

    #[test]
    fn a_complete_file_is_read() {
        let config = parse(GOOD).expect("complete");
        assert_eq!(config.backing.token.as_deref(), Some("t"));
        assert!(matches!(&config.backing.pin, PinSource::File(path) if path == Path::new("/pin")));
        assert_eq!((config.log.level, config.log.file), (LogLevel::Warn, None));
        assert_eq!(config.limits.failures_per_hour, DEFAULT_FAILURES_PER_HOUR);
        assert_eq!(config.store.reopening, Duration::from_secs(30));
        let config = parse(&GOOD.replace("[store]", "[store]\nreopen_seconds = 0")).expect("complete");
        assert_eq!(config.store.reopening, Duration::ZERO);
        let config = parse(&GOOD.replace("pin_file = \"/pin\"", "pin_env = \"PIN\"")).expect("complete");
        assert!(matches!(&config.backing.pin, PinSource::Env(name) if name == "PIN"));
    }

    #[test]
    fn a_backing_token_is_named_by_label_serial_number_or_slot() {
        let with = |lines: &str| parse(&GOOD.replace("token = \"t\"", lines)).map(|config| config.backing);
        let backing =
            with("token = \"t\"\nserial = \"0f\"\nslot = 4294967296\ninit_args = \"configdir='/n'\"");
        let backing = backing.expect("complete");
        assert_eq!((backing.serial.as_deref(), backing.slot), (Some("0f"), Some(4_294_967_296)));
        assert_eq!(backing.init_args.as_deref(), Some(c"configdir='/n'"));
        for (lines, token) in [("serial = \"0f\"", None), ("slot = 0", None), ("token = \"\"", Some(""))] {
            assert_eq!(with(lines).expect(lines).token.as_deref(), token, "{lines}");
        }
        for (lines, expected) in [
            ("", "key backing.token: name the token"),
            ("slot = -1", "line 4"),
            ("serial = 5", "line 4"),
            ("token = \"t\"\ninit_args = \"a\\u0000b\"", "key backing.init_args"),
        ] {
            let error = with(lines).expect_err(lines).to_string();
            assert!(error.contains(expected), "{lines}: {error}");
        }
    }

    #[test]
    fn otp_guess_the_breaker_is_configured_within_its_range() {
        let with = |value: &str| parse(&format!("{GOOD}\n[limits]\nfailures_per_hour = {value}\n"));
        for number in [16, 17, 1_000_000] {
            let config = with(&number.to_string()).expect("within its range");
            assert_eq!(config.limits.failures_per_hour, number);
        }
        for value in ["0", "15", "1000001", "-1", "4294967297", "1.5", "\"many\"", "true"] {
            let error = with(value).expect_err(value).to_string();
            assert!(error.contains("/c.toml"), "{value}: {error}");
        }
        let error = with("0").expect_err("no code at all").to_string();
        assert!(error.contains("limits.failures_per_hour"), "{error}");
    }

    #[test]
    fn every_mistake_names_the_file_and_the_key() {
        for (from, to, expected) in [
            ("[store]", "[stone]", "unknown field `stone`"),
            ("path = \"/store.db\"", "", "missing field `path`"),
            ("path = \"/store.db\"", "path = \"store.db\"", "key store.path"),
            ("[store]", "[store]\nreopen_seconds = 301", "key store.reopen_seconds"),
            ("[store]", "[store]\nreopen_seconds = -1", "line 7"),
            ("\"/usr/lib/softhsm/libsofthsm2.so\"", "\"libsofthsm2.so\"", "key backing.module"),
            ("pin_file = \"/pin\"", "", "key backing.pin_file"),
            ("pin_file = \"/pin\"", "pin_file = \"/pin\"\npin_env = \"PIN\"", "key backing.pin_file"),
            ("pin_file = \"/pin\"", "pin = \"1234\"", "unknown field `pin`"),
            ("pin_file = \"/pin\"", "pin_file = \"pin\"", "key backing.pin_file"),
            ("token = \"t\"", "token = 5", "line 4"),
            ("[store]", "[connect]\n[store]", "missing field `address`"),
            ("[store]", "[log]\nlevel = \"loud\"\n[store]", "unknown variant `loud`"),
            ("[store]", "[limits]\n[store]", "missing field `failures_per_hour`"),
            ("[store]", "[limits]\nfailures = 5\n[store]", "unknown field `failures`"),
        ] {
            let error = parse(&GOOD.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(expected) && error.contains("/c.toml"), "{to}: {error}");
        }
        let error = parse("[store]\npath = \"/s\"").expect_err("no backing").to_string();
        assert!(error.contains("key backing"), "{error}");
    }

    #[test]
    fn what_needs_the_engine_says_so_where_it_is_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.toml");
        fs::write(&path, "[connect]\naddress = \"unix:/s\"\n").expect("writes");
        assert!(matches!(Config::load(&path), Ok(Config::Connect(_))));
        let error = EngineConfig::load(&path).expect_err("a client's").to_string();
        assert!(error.contains("key connect") && error.contains("inside the boundary"), "{error}");
    }

    #[test]
    fn the_signed_plugin_has_a_table_whose_mistakes_name_their_key() {
        const OFFICER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let good = format!(
            "{GOOD}\n[plugin]\nlibrary = \"/l.so\"\nofficers = [\"{OFFICER}\"]\nthreshold = 1\nfloor_file = \"/f\"\n"
        );
        let config = parse(&good).expect("complete");
        let plugin = config.plugin.expect("it is there");
        assert_eq!((plugin.library, plugin.floor_file), ("/l.so".into(), "/f".into()));
        assert_eq!((plugin.officers.keys()[0].line(), plugin.officers.threshold()), (OFFICER, 1));
        assert!(parse(GOOD).expect("complete").plugin.is_none());
        for (from, to, expected) in [
            ("\"/l.so\"", "\"l.so\"", "key plugin.library: an absolute path"),
            ("\"/l.so\"", "\"/\"", "key plugin.library"),
            ("\"/f\"", "\"f\"", "key plugin.floor_file: an absolute path"),
            ("\"RW", "\"RWx", "key plugin.officers: entry 1 is no public key"),
            (
                "[\"RW",
                &format!("[\"{OFFICER}\", \"RW"),
                "key plugin.officers: entry 2 is the same key as entry 1",
            ),
            (&format!("[\"{OFFICER}\"]"), "[]", "key plugin.officers: there must be 1 to 16"),
            ("threshold = 1", "threshold = 2", "key plugin.threshold: a number from 1 to 1"),
            ("threshold = 1", "threshold = 0", "key plugin.threshold"),
            ("threshold = 1", "threshold = -1", "key plugin.threshold"),
            ("threshold = 1", "", "missing field `threshold`"),
            ("threshold = 1", "threshold = \"1\"", "invalid type"),
            ("threshold = 1", "threshold = 1\nunsigned = true", "unknown field `unsigned`"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = parse(&good.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.contains(expected) && error.contains("/c.toml"), "{to}: {error}");
        }
    }

    #[test]
    fn a_pin_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        fs::write(&path, "1234\n").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = PinSource::File(path.clone()).read().expect_err("mode 640").to_string();
        assert!(
            error.contains("mode 640") && error.contains("chmod 600") && !error.contains("1234"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(PinSource::File(path).read().expect("reads").as_str(), "1234");
    }
}
