//! `[log]`: how much is logged, and where.

use std::path::PathBuf;

use serde::Deserialize;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogTable {
    #[serde(default)]
    pub(super) level: LogLevel,
    pub(super) file: Option<PathBuf>,
}
