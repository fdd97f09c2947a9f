//! `countersign state …`: the sealed state as a whole, inside the boundary.

mod rescue;
mod restore;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Accept a store that was restored from a backup, or save one that was removed under a running boundary.
#[derive(Subcommand)]
pub(crate) enum State {
    Restore(restore::Restore),
    Rescue(rescue::Rescue),
}

impl State {
    pub(crate) fn run(&self, _: &Global) -> Result<Report, CommandError> {
        match self {
            State::Restore(verb) => verb.run(),
            State::Rescue(verb) => verb.run(),
        }
    }
}
