//! `countersign state …`: the sealed state as a whole, inside the boundary.

mod restore;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Take a store that was restored from a backup.
#[derive(Subcommand)]
pub(crate) enum State {
    Restore(restore::Restore),
}

impl State {
    pub(crate) fn run(&self, _: &Global) -> Result<Report, CommandError> {
        match self {
            State::Restore(verb) => verb.run(),
        }
    }
}
