//! `countersign audit …`: the chain of all that happened, read inside the boundary.

mod export;
mod line;
mod verify;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Verify and export the audit chain, also while the module is in use.
#[derive(Subcommand)]
pub(crate) enum Audit {
    Verify(verify::Verify),
    Export(export::Export),
}

impl Audit {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Audit::Verify(verb) => verb.run(),
            Audit::Export(verb) => verb.run(global),
        }
    }
}
