//! `countersign act …`: the acts that officers sign.
//!
//! `show`, `sign` and `veto --sign-only` need no module, no token and no network: an officer runs them on a machine of their own, with
//! nothing but the file of the act. Everything that they show comes from that file, which is what the signature covers.

mod file;
mod show;
mod sign;
mod veto;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Read, sign and veto the acts that an administrator cannot do alone.
#[derive(Subcommand)]
pub(crate) enum Act {
    Show(show::Show),
    Sign(sign::Sign),
    Veto(veto::Veto),
}

impl Act {
    pub(crate) fn run(&self, _: &Global) -> Result<Report, CommandError> {
        match self {
            Act::Show(verb) => verb.run(),
            Act::Sign(verb) => verb.run(),
            Act::Veto(verb) => verb.run(),
        }
    }
}
