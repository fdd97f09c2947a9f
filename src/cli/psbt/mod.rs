//! `countersign psbt …`: looks at a PSBT before anybody spends a code on it.

mod show;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Look at PSBTs as the signer does.
#[derive(Subcommand)]
pub(crate) enum Psbt {
    Show(show::Show),
}

impl Psbt {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Psbt::Show(verb) => verb.run(global),
        }
    }
}
