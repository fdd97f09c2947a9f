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
//! [plugin]                                    # for the program that loads the module: see countersign-plugin
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
//! max_connections = 1024                      # at a time, of backends, of administrators and of the desk each
//! max_calls = 64                              # under way at a time, of backends, of administrators and of the desk each
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
//! [serve.desk]                                # may be left out
//! socket = "/run/countersign/desk.sock"
//! user = "countersign-desk"                   # at no other door
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
//!
//! [desk]                                      # for countersign-desk only
//! address = "0.0.0.0:443"
//! origin = "https://desk.example"             # as browsers show it
//! certificate_file = "/etc/countersign/desk.crt"
//! key_file = "/etc/countersign/desk.key"      # mode 600
//! ```
//!
//! The module reads `$COUNTERSIGN_CONF`, or else `countersign/countersign.toml` in the user's configuration
//! folder, or else in `/etc`. It takes the first that exists and never merges two.

mod backing;
mod connect;
mod desk;
mod error;
mod log;
mod plugin;
mod serve;
mod store;
mod values;

use std::path::{Path, PathBuf};

use countersign_kernel::document;
use serde::Deserialize;

use self::backing::BackingTable;
use self::connect::ConnectTable;
use self::desk::DeskTable;
use self::log::LogTable;
use self::plugin::PluginTable;
use self::serve::ServeTable;
use self::store::{LimitsTable, StoreTable};
use self::values::text_file;

pub use self::backing::{BackingConfig, PinSource};
pub use self::connect::{ConnectAddress, ConnectConfig, ConnectTls};
pub use self::desk::{DeskConfig, DeskOrigin};
pub use self::error::ConfigError;
pub use self::log::{LogConfig, LogLevel};
pub use self::plugin::PluginConfig;
pub use self::serve::{ServeConfig, ServeLimits, TcpDoor, UnixDoor, VsockDoor};
pub use self::store::{LimitsConfig, StoreConfig};
pub use self::values::UserName;

/// The variable that names the file.
pub const CONF_VARIABLE: &str = "COUNTERSIGN_CONF";
const FILE_NAME: &str = "countersign/countersign.toml";
const MISSING: &str = "this table is missing (or [connect], if the engine runs in a boundary elsewhere)";

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
        let file: File =
            document::read(text).map_err(|problem| ConfigError::Toml { file: path.into(), problem })?;
        let log = file.log.map(|log| LogConfig { level: log.level, file: log.file }).unwrap_or_default();
        let Some(connect) = file.connect else {
            if file.desk.is_some() {
                return Err(wrong(
                    "desk",
                    "the desk is a client of the boundary: this belongs beside its [connect]",
                ));
            }
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
        let desk = file.desk.map(|desk| desk.parse(&wrong)).transpose()?.map(Box::new);
        Ok(Config::Connect(ConnectConfig { desk, ..connect.parse(log, &wrong)? }))
    }
}

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

/// The user's configuration folder: `$XDG_CONFIG_HOME`, or else `.config` in `$HOME`. The XDG Base Directory
/// Specification says to ignore relative paths. Otherwise the owner of the working directory could choose the
/// boundary.
pub fn user_folder() -> Option<PathBuf> {
    let absolute =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")))
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
    desk: Option<DeskTable>,
    plugin: Option<PluginTable>,
}

#[cfg(test)]
mod tests;
