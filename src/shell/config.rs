//! The configuration: one TOML file.
//!
//! ```toml
//! [backing]
//! module = "/usr/lib/softhsm/libsofthsm2.so"  # absolute path of the backing PKCS#11 module
//! token = "countersign-backing"               # label of the backing token
//! pin_file = "/etc/countersign/backing.pin"   # or pin_env = "NAME"
//!
//! [store]
//! path = "/var/lib/countersign/countersign.db"
//!
//! [limits]                                    # may be left out
//! failures_per_hour = 100                     # 16 to 1000000: wrong codes of all users together within an hour, from
//!                                             # which on no code is looked at until it is less
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
//! It is looked for at `$COUNTERSIGN_CONF`, else at `countersign/countersign.toml` in the user's configuration folder,
//! else in `/etc`. The first that exists counts; it is never merged with another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::engine::DEFAULT_FAILURES_PER_HOUR;
use crate::plugin::config::{PluginConfig, PluginTable};

/// The variable that names the file.
pub const CONF_VARIABLE: &str = "COUNTERSIGN_CONF";
const FILE_NAME: &str = "countersign/countersign.toml";
/// As many codes can come with one call.
const LEAST_FAILURES_PER_HOUR: u32 = 16;
/// More wrong codes in an hour than this are no limit any more.
const MOST_FAILURES_PER_HOUR: u32 = 1_000_000;

/// The whole configuration.
#[derive(Debug)]
pub struct Config {
    /// The backing token.
    pub backing: BackingConfig,
    /// The store.
    pub store: StoreConfig,
    /// The limits over all users.
    pub limits: LimitsConfig,
    /// The log.
    pub log: LogConfig,
    /// The signed library, for who loads it.
    pub plugin: Option<PluginConfig>,
}

/// Which backing token, and how to log in to it.
#[derive(Debug)]
pub struct BackingConfig {
    /// Absolute path of its PKCS#11 module.
    pub module: PathBuf,
    /// Its label.
    pub token: String,
    /// Where its user PIN comes from.
    pub pin: PinSource,
}

/// Where the PIN of the backing token comes from: never the configuration itself.
#[derive(Debug)]
pub enum PinSource {
    /// A file that only its owner can read; its first line is the PIN.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// Where the store is.
#[derive(Debug)]
pub struct StoreConfig {
    /// Absolute path of the SQLite file.
    pub path: PathBuf,
}

/// The limits over all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Tries of all users together that may be wrong within an hour.
    pub failures_per_hour: u32,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig { failures_per_hour: DEFAULT_FAILURES_PER_HOUR }
    }
}

/// What is logged, and where.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The file, or standard error.
    pub file: Option<PathBuf>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What keeps the module from working.
    Error,
    /// And what is refused.
    #[default]
    Warn,
    /// And what is done.
    Info,
}

impl Config {
    /// The file that counts.
    pub fn locate() -> Result<PathBuf, ConfigError> {
        if let Some(named) = std::env::var_os(CONF_VARIABLE).filter(|value| !value.is_empty()) {
            return Ok(named.into());
        }
        let home =
            |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = home("XDG_CONFIG_HOME").or_else(|| home("HOME").map(|home| home.join(".config")));
        let candidates: Vec<PathBuf> =
            own.into_iter().chain([PathBuf::from("/etc")]).map(|folder| folder.join(FILE_NAME)).collect();
        candidates
            .iter()
            .find(|candidate| candidate.exists())
            .cloned()
            .ok_or(ConfigError::Missing { looked_at: candidates })
    }

    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { file: path.into(), problem: error.to_string() })?;
        Config::parse(&text, path)
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
        if file.connect.is_some() {
            return Err(wrong(
                "connect",
                "this version runs the engine itself: name [backing] and [store] instead",
            ));
        }
        let backing = file.backing.ok_or_else(|| wrong("backing", "this table is missing"))?;
        let store = file.store.ok_or_else(|| wrong("store", "this table is missing"))?;
        if !backing.module.is_absolute() {
            return Err(wrong(
                "backing.module",
                "an absolute path is needed: a relative one is another file elsewhere",
            ));
        }
        if !store.path.is_absolute() {
            return Err(wrong(
                "store.path",
                "an absolute path is needed: a relative one is another file elsewhere",
            ));
        }
        let pin = match (backing.pin_file, backing.pin_env) {
            (Some(file), None) if file.is_absolute() => PinSource::File(file),
            (Some(_), None) => return Err(wrong("backing.pin_file", "an absolute path is needed")),
            (None, Some(name)) => PinSource::Env(name),
            _ => return Err(wrong("backing.pin_file", "name exactly one of pin_file and pin_env")),
        };
        let limits = file.limits.map_or(LimitsConfig::default(), |limits| LimitsConfig {
            failures_per_hour: limits.failures_per_hour,
        });
        if !(LEAST_FAILURES_PER_HOUR..=MOST_FAILURES_PER_HOUR).contains(&limits.failures_per_hour) {
            return Err(wrong("limits.failures_per_hour", "a number from 16 to 1000000 is needed"));
        }
        let plugin = file.plugin.map(PluginTable::check).transpose();
        let plugin = plugin.map_err(|(key, problem)| wrong(key, &problem))?;
        Ok(Config {
            backing: BackingConfig { module: backing.module, token: backing.token, pin },
            store: StoreConfig { path: store.path },
            limits,
            log: file.log.map(|log| LogConfig { level: log.level, file: log.file }).unwrap_or_default(),
            plugin,
        })
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
                        "others can read it (mode {:o}): chmod 600 it, and change the PIN if it may have been read",
                        mode & 0o777
                    )));
                }
                let text =
                    Zeroizing::new(fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?);
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

/// Why there is no usable configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None was found.
    #[error(
        "no configuration: looked for {}; write one, or set {CONF_VARIABLE} to its path",
        looked_at.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
    )]
    Missing {
        /// Where it was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// It cannot be read.
    #[error("the configuration {}: {problem}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: String,
    },
    /// It is no TOML, or has an unknown or ill-typed key.
    #[error("the configuration {}, line {line}: {problem}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A key is missing or its value cannot be used.
    #[error("the configuration {}, key {key}: {problem}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The PIN of the backing token cannot be read.
    #[error("the backing token's PIN: {origin} {problem}")]
    Pin {
        /// Where it was to come from.
        origin: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    backing: Option<BackingTable>,
    store: Option<StoreTable>,
    limits: Option<LimitsTable>,
    log: Option<LogTable>,
    connect: Option<toml::Value>,
    plugin: Option<PluginTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackingTable {
    module: PathBuf,
    token: String,
    pin_file: Option<PathBuf>,
    pin_env: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreTable {
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    failures_per_hour: u32,
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

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/c.toml"))
    }

    #[test]
    fn a_complete_file_is_read() {
        let config = parse(GOOD).expect("complete");
        assert_eq!(config.backing.token, "t");
        assert!(matches!(&config.backing.pin, PinSource::File(path) if path == Path::new("/pin")));
        assert_eq!((config.log.level, config.log.file), (LogLevel::Warn, None));
        assert_eq!(config.limits.failures_per_hour, DEFAULT_FAILURES_PER_HOUR);
        let config = parse(&GOOD.replace("pin_file = \"/pin\"", "pin_env = \"PIN\"")).expect("complete");
        assert!(matches!(&config.backing.pin, PinSource::Env(name) if name == "PIN"));
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
            ("\"/usr/lib/softhsm/libsofthsm2.so\"", "\"libsofthsm2.so\"", "key backing.module"),
            ("pin_file = \"/pin\"", "", "key backing.pin_file"),
            ("pin_file = \"/pin\"", "pin_file = \"/pin\"\npin_env = \"PIN\"", "key backing.pin_file"),
            ("pin_file = \"/pin\"", "pin = \"1234\"", "unknown field `pin`"),
            ("pin_file = \"/pin\"", "pin_file = \"pin\"", "key backing.pin_file"),
            ("token = \"t\"", "token = 5", "line 4"),
            ("[store]", "[connect]\n[store]", "key connect"),
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
    fn the_signed_plugin_has_a_table_whose_mistakes_name_their_key() {
        const OFFICER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let good = format!(
            "{GOOD}\n[plugin]\nlibrary = \"/l.so\"\nofficers = [\"{OFFICER}\"]\nthreshold = 1\nfloor_file = \"/f\"\n"
        );
        let plugin = parse(&good).expect("complete").plugin.expect("it is there");
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
            (&format!("[\"{OFFICER}\"]"), "[]", "key plugin.officers: 1 to 16"),
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
