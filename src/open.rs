//! Where the engine is put together: the one place that knows both the configuration and what is made of it.

use std::sync::Arc;

use crate::engine::{Engine, EngineError};
use crate::ports::{BackingError, LedgerError};
use crate::shell::backing::Backing;
use crate::shell::clock::SystemClock;
use crate::shell::config::{Config, ConfigError, EngineConfig, LogConfig};
use crate::shell::log;
use crate::shell::random::MixedRandom;
use crate::shell::vault::SqliteVault;

/// Opens the engine that the configuration of this process describes, and starts its log.
pub fn open() -> Result<Engine, OpenError> {
    let config = Config::locate().and_then(|path| EngineConfig::load(&path));
    // What is wrong with the configuration is to be read somewhere: without one, on standard error.
    let configured = config.as_ref().map_or(&LogConfig::default(), |config| &config.log).clone();
    if let Err(error) = log::start(&configured) {
        log::start(&LogConfig::default())?;
        return Err(error.into());
    }
    let config = config?;
    let backing = Arc::new(Backing::open(&config.backing)?);
    let vault = SqliteVault::new(config.store.path, Arc::clone(&backing))?;
    let engine = Engine::open(Box::new(vault), Box::new(SystemClock), Box::new(MixedRandom::new(backing)))?;
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
    Backing(#[from] BackingError),
    /// The store does not open, or the state cannot be trusted.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<LedgerError> for OpenError {
    fn from(error: LedgerError) -> OpenError {
        OpenError::Engine(error.into())
    }
}
