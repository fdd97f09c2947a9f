//! Why a configuration cannot be used.

use std::path::PathBuf;

use countersign_kernel::document::DocumentError;

use super::CONF_VARIABLE;

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
    #[error("the configuration {}, {problem}", file.display())]
    Toml {
        /// The file.
        file: PathBuf,
        /// The place and the problem.
        problem: DocumentError,
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
        /// Whether the file itself may be right: the system could not read any just now.
        may_pass: bool,
    },
}

impl ConfigError {
    /// Whether the next try may succeed with the same configuration and the same files.
    pub fn may_pass(&self) -> bool {
        matches!(self, ConfigError::Pin { may_pass: true, .. })
    }
}

/// Makes an error from a key and its problem, for one file.
pub(super) type Wrong<'a> = dyn Fn(&str, &str) -> ConfigError + 'a;
