//! Puts the engine together. Only this file knows both the configuration and the parts that are made from it.

use std::time::Duration;

use crate::engine::{Engine, EngineError};
use crate::ports::{LedgerError, ReopenError};
use crate::shell::backing::Backing;
use crate::shell::clock::SystemClock;
use crate::shell::config::{Config, ConfigError, ConnectConfig, EngineConfig, LogConfig};
use crate::shell::log;
use crate::shell::random::MixedRandom;
use crate::shell::sqlite::{self, SqliteSite};
use crate::shell::vault::SealedVault;

/// How often a boundary reads its whole store.
const WHOLE_LOOK: Duration = Duration::from_secs(3_600);

/// What this library is, according to the configuration.
pub enum Opened {
    /// The engine itself.
    Engine(Box<Engine>),
    /// A client of the boundary, where the engine is.
    Connect(ConnectConfig),
}

/// Opens what the configuration of this process describes, and starts its log.
pub fn open() -> Result<Opened, OpenError> {
    let config = Config::locate().and_then(|path| Config::load(&path));
    start_log(config.as_ref().ok().map(Config::log))?;
    match config? {
        Config::Engine(config) => Ok(Opened::Engine(Box::new(engine(*config, None)?))),
        Config::Connect(config) => Ok(Opened::Connect(config)),
    }
}

/// Opens the engine for a boundary, from a configuration that must be an engine's, and starts its log.
pub fn open_engine() -> Result<Engine, OpenError> {
    let config = Config::locate().and_then(|path| EngineConfig::load(&path));
    start_log(config.as_ref().ok().map(|config| &config.log))?;
    engine(config?, Some(WHOLE_LOOK))
}

/// Starts the log. Errors in the configuration itself must be readable, so without a configuration the log is
/// standard error.
fn start_log(configured: Option<&LogConfig>) -> Result<(), OpenError> {
    log::start(configured.unwrap_or(&LogConfig::default())).or_else(|error| {
        log::start(&LogConfig::default())?;
        Err(error.into())
    })
}

/// Only a boundary looks at its `whole` store: a look takes a thread, and an application's process gets no
/// thread from us.
fn engine(config: EngineConfig, whole: Option<Duration>) -> Result<Engine, OpenError> {
    // The lock comes first, because a login is the one moment in which a kill can destroy a SoftHSM2 token.
    let lock = sqlite::take_lock(&config.store.path)?;
    let backing = Backing::begin(&config.backing)?;
    let site = SqliteSite::new(config.store.path)?.locked_by(lock);
    let vault = SealedVault::over(site, &backing).reopening_for(config.store.reopening);
    let vault = match whole {
        Some(whole) => vault.read_whole_every(whole),
        None => vault,
    };
    let engine = Engine::open(Box::new(vault), Box::new(SystemClock), Box::new(MixedRandom::new(backing)))?;
    for refusal in engine.closed_keys() {
        tracing::error!("{refusal}");
    }
    Ok(engine.stopping_at(config.limits.failures_per_hour))
}

/// Why the engine does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No configuration, or one that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The backing token does not open.
    #[error(transparent)]
    Backing(#[from] ReopenError),
    /// The store does not open, or the state cannot be trusted.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<LedgerError> for OpenError {
    fn from(error: LedgerError) -> OpenError {
        OpenError::Engine(error.into())
    }
}
