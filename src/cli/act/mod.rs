//! `countersign act …`: the acts that officers sign.
//!
//! The others talk to the module. `show`, `sign` and `veto --sign-only` need no module, no token and no network: an officer runs them on a machine of their own, with
//! nothing but the file of the act. Everything that they show comes from that file, which is what the signature covers.

mod draft;
mod file;
mod proposed;
mod show;
mod sign;
mod submit;
mod veto;

pub(crate) use proposed::hand_to_officers;

use clap::Subcommand;

use crate::Global;
use crate::error::CommandError;
use crate::output::Report;

/// Read, sign and veto the acts that an administrator cannot do alone.
#[derive(Subcommand)]
pub(crate) enum Act {
    Draft(draft::Draft),
    Show(show::Show),
    Sign(sign::Sign),
    Propose(submit::Propose),
    Submit(submit::Submit),
    List(submit::List),
    Veto(veto::Veto),
    Withdraw(submit::Withdraw),
}

impl Act {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Act::Draft(verb) => verb.run(global),
            Act::Show(verb) => verb.run(),
            Act::Sign(verb) => verb.run(),
            Act::Propose(verb) => verb.run(global),
            Act::Submit(verb) => verb.run(global),
            Act::List(verb) => verb.run(global),
            Act::Veto(verb) => verb.run(global),
            Act::Withdraw(verb) => verb.run(global),
        }
    }
}
