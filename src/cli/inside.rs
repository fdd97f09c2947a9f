//! Work inside the boundary without the module, directly on the store and the backing token.
//!
//! These verbs do not use PKCS#11. They read the configuration as the module does, and need the same files
//! and rights.

use std::path::PathBuf;

use countersign::kernel::anchor::StateError;
use countersign::kernel::officer::Officers;
use countersign::ports::LedgerError;
use countersign::shell::backing::Backing;
use countersign::shell::config::{Config, ConfigError, EngineConfig};
use countersign::shell::lock::StoreLock;
use countersign::shell::{log, sqlite};

use crate::error::CommandError;

/// The store and the backing token of the configuration.
pub(crate) struct Inside {
    pub(crate) store: PathBuf,
    pub(crate) backing: std::sync::Arc<Backing>,
    /// The officers pinned for the plugin.
    pub(crate) pinned: Option<Officers>,
}

impl Inside {
    /// Reads the configuration and logs in to the backing token.
    pub(crate) fn open() -> Result<Inside, CommandError> {
        Inside::of(configured()?)
    }

    /// The same for an act of administration, which writes a line to the log. If the log cannot be written,
    /// nothing is done.
    pub(crate) fn open_to_act() -> Result<(StoreLock, Inside), CommandError> {
        let config = configured()?;
        log::start(&config.log).map_err(|error| explain_config(&error))?;
        Inside::alone(config)
    }

    /// The same with exclusive use of the store: the lock is taken before the login.
    pub(crate) fn alone(config: EngineConfig) -> Result<(StoreLock, Inside), CommandError> {
        let lock = sqlite::take_lock(&config.store.path).map_err(explain)?;
        Ok((lock, Inside::of(config)?))
    }

    /// The same for a configuration that was already read.
    fn of(config: EngineConfig) -> Result<Inside, CommandError> {
        let backing = Backing::open(&config.backing).map_err(|error| explain(error.into()))?;
        Ok(Inside { store: config.store.path, backing, pinned: config.plugin.map(|plugin| plugin.officers) })
    }
}

fn configured() -> Result<EngineConfig, CommandError> {
    Config::locate().and_then(|path| EngineConfig::load(&path)).map_err(|error| explain_config(&error))
}

fn explain_config(error: &ConfigError) -> CommandError {
    CommandError::new(
        error.to_string(),
        "run this inside the boundary, with the module's configuration (--config or COUNTERSIGN_CONF)",
    )
}

/// The meaning of a ledger's error, and what to do next.
pub(crate) fn explain(error: LedgerError) -> CommandError {
    let next = match &error {
        LedgerError::State(state) => next_for(state),
        LedgerError::InUse { .. } => "stop that process, then try again",
        LedgerError::NewerFormat { .. } => "install the version that wrote it, or a newer one",
        LedgerError::Exists(_) => "use that store",
        LedgerError::Io { .. } => "check the path, the permissions and the disk, then try again",
        LedgerError::Displaced { .. } => {
            "leave alone what is there, and see who put it there: \"countersign doctor\" looks at the store"
        }
        LedgerError::Moved { .. } => "find out what else writes the store; let nobody do so, then try again",
        LedgerError::Backing(_) | LedgerError::Random(_) => {
            "correct [backing] in the configuration, or the token's own set-up; \"countersign doctor\" shows both"
        }
        LedgerError::Conflict | LedgerError::Closed(_) => "try again",
    };
    CommandError::new(error.to_string(), next)
}

const PUT_BACK: &str = "delete nothing; put the newest store and the backing token that belongs to it back. If they are \
                        gone for good, the SO accepts what is there with \"countersign state restore\". If nobody restored \
                        anything, treat it as an intrusion";

fn next_for(state: &StateError) -> &'static str {
    match state {
        StateError::Older { .. }
        | StateError::Ahead { .. }
        | StateError::Forked(_)
        | StateError::AnchorMissing => PUT_BACK,
        StateError::Records | StateError::Sealed(_) | StateError::Schema(_) => {
            "delete nothing; put back the newest whole copy of the store: nobody can have a damaged one \
             accepted. If that copy is an older one, the SO accepts it with \"countersign state restore\". If no disk failed, treat \
             it as an intrusion"
        }
        StateError::StoreMissing(_) => {
            "correct store.path, or put the newest store back. If there is only a backup, put that there, and \
             the SO accepts it with \"countersign state restore\""
        }
        StateError::DataKey => {
            "correct [backing], or put back the backing token that this store was made with: without its sealing key \
             nothing opens the store"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_closed_store_has_its_own_words_and_a_way_out() {
        let restore = "countersign state restore";
        for (state, way_out) in [
            (StateError::Older { store: 3, anchor: 5 }, restore),
            (StateError::Ahead { store: 7, anchor: 5 }, restore),
            (StateError::Forked(5), restore),
            (StateError::AnchorMissing, restore),
            (StateError::Records, "whole copy"),
            (StateError::Sealed("x".into()), "whole copy"),
            (StateError::Schema("x".into()), "whole copy"),
            (StateError::StoreMissing(5), "store.path"),
            (StateError::DataKey, "backing token"),
        ] {
            let reason = state.to_string();
            let CommandError { what, next, .. } = explain(state.into());
            assert_eq!(what, reason);
            assert!(next.contains(way_out), "{reason}: {next}");
        }
    }
}
