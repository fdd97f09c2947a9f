//! The world: what the ports are made of.
//!
//! SQLite holds the sealed records, a backing token (through `cryptoki`) holds the sealing key and the anchor, the
//! configuration says which.

pub mod backing;
pub mod clock;
pub mod config;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod random;
pub mod sqlite;
pub mod vault;

use std::sync::Arc;

use crate::engine::{Engine, EngineError};
use crate::ports::BackingError;

use backing::Backing;
use config::{Config, ConfigError};

/// Opens the engine that `config` describes.
pub fn open(config: &Config) -> Result<Engine, OpenError> {
    let backing = Arc::new(Backing::open(&config.backing)?);
    let vault = vault::SqliteVault::new(config.store.path.clone(), Arc::clone(&backing))?;
    let random = random::MixedRandom::new(backing);
    Ok(Engine::open(Box::new(vault), Box::new(clock::SystemClock), Box::new(random))?)
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

impl From<crate::ports::LedgerError> for OpenError {
    fn from(error: crate::ports::LedgerError) -> OpenError {
        OpenError::Engine(error.into())
    }
}
