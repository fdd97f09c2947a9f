//! `[store]` and `[limits]`: where the engine keeps its state, and how many wrong codes stop all users.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::error::{ConfigError, Wrong};
use super::values::{absolute, number, seconds};
use crate::engine::DEFAULT_FAILURES_PER_HOUR;
use crate::kernel::officer::{MAX_FAILURES_PER_HOUR, MIN_FAILURES_PER_HOUR};
use crate::shell::ledger::Upkeep;

/// Callers wait for so long at most. A longer failure is for whatever starts the boundary again.
const MAX_REOPEN_SECONDS: u64 = 300;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreTable {
    path: PathBuf,
    reopen_seconds: Option<i64>,
}

impl StoreTable {
    pub(super) fn parse(self, wrong: &Wrong<'_>) -> Result<StoreConfig, ConfigError> {
        let key = "store.reopen_seconds";
        let default = Upkeep::default().reopening.as_secs();
        let reopening = seconds(wrong, key, self.reopen_seconds, default, 0..=MAX_REOPEN_SECONDS)?;
        Ok(StoreConfig { path: absolute(wrong, "store.path", self.path)?, reopening })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    failures_per_hour: i64,
}

impl LimitsTable {
    pub(super) fn parse(self, wrong: &Wrong<'_>) -> Result<LimitsConfig, ConfigError> {
        let (key, range) =
            ("limits.failures_per_hour", u64::from(MIN_FAILURES_PER_HOUR)..=u64::from(MAX_FAILURES_PER_HOUR));
        let failures_per_hour = number(wrong, key, Some(self.failures_per_hour), 0, range)? as u32;
        Ok(LimitsConfig { failures_per_hour })
    }
}
