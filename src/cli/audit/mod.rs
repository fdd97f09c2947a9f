//! `countersign audit …`: the audit chain, read inside the boundary.

mod document;
mod export;
mod in_force;
mod line;
mod show;
mod verify;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Verify, show and export the audit chain, even while the module is in use.
#[derive(Subcommand)]
pub(crate) enum Audit {
    Verify(verify::Verify),
    Export(export::Export),
    Show(show::Show),
    InForce(in_force::InForce),
}

impl Audit {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Audit::Verify(verb) => verb.run(),
            Audit::Export(verb) => verb.run(global),
            Audit::Show(verb) => verb.run(),
            Audit::InForce(verb) => verb.run(),
        }
    }
}
