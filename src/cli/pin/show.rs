//! `countersign pin show`: the state of the user PIN.

use std::fmt::Write;

use clap::Args;
use countersign::kernel::state::{PEER_TRIES, PIN_BUDGET};
use serde_json::json;

use super::{Shown, is_used_up};
use crate::Global;
use crate::error::CommandError;
use crate::module::Module;
use crate::names::printable;
use crate::output::Report;
use crate::secret::SoPin;

/// Show whether the user PIN is locked or lost, and which peers tried wrong PINs.
///
/// Each peer that the boundary identifies (a Unix user, the name in a certificate, a context id) has five wrong tries in a
/// row, and all of them together a hundred in 30 days. A right PIN ends the peer's own row.
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    pin: SoPin,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let shown = Shown::read(&session)?;
        Ok(Report::new(text(&shown), json!({ "pin": shown.to_json() })))
    }
}

fn text(shown: &Shown) -> String {
    let mut text = match (shown.lost, shown.is_exhausted(), shown.is_closed()) {
        (true, _, _) => "The user PIN was declared lost. It opens nothing.".to_owned(),
        (_, true, _) => "The user PIN is locked: too many wrong tries in 30 days.".to_owned(),
        (_, _, true) => "The user PIN was locked by an earlier version.".to_owned(),
        _ => "The user PIN stands.".to_owned(),
    };
    if shown.is_closed() {
        text.push_str(" \"countersign pin set\" sets a new one.");
    }
    let _ = write!(text, "\nWrong tries in the last 30 days: {} of {PIN_BUDGET}\n", shown.failures);
    for peer in &shown.peers {
        let locked = if is_used_up(peer) { " (locked: \"countersign pin unlock\")" } else { "" };
        let _ = writeln!(text, "  {} of {PEER_TRIES}  {}{locked}", peer.0, printable(&peer.1));
    }
    text
}
