//! `countersign officers set`: the first officers of a token.

use clap::{ArgGroup, Args};
use countersign::kernel::officer::Council;
use serde_json::json;

use super::council::CouncilOptions;
use super::{read, set, shown, to_json};
use crate::Global;
use crate::error::CommandError;
use crate::module::Module;
use crate::output::Report;
use crate::secret::SoPin;

/// Set the officers, without whom an administrator loosens nothing from then on.
///
/// The SO sets the first ones alone. After that, the officers decide who they are. What lets coins move more easily then needs the
/// signatures of enough officers and waits for the delay; what tightens stays the SO's alone. Nobody can undo this without the officers: read
/// docs/officers.md first, and let each officer make their key on their own machine (countersign plugin keygen).
#[derive(Args)]
#[command(group = ArgGroup::new("some").required(true).multiple(true).args(["officers"]))]
pub(crate) struct Set {
    #[command(flatten)]
    council: CouncilOptions,
    #[command(flatten)]
    pin: SoPin,
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let council = self.council.council()?.ok_or_else(|| {
            CommandError::new("no officers are named; nothing was changed", "name them with --officer")
        })?;
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let before = read(&session)?;
        set(&session, &council)?;
        let text = format!("{}\n\n{}", changed(before.as_ref(), &council), shown(&council));
        Ok(Report::new(text, json!({ "council": to_json(&council) })))
    }
}

/// What it changed, alone.
fn changed(before: Option<&Council>, council: &Council) -> String {
    let number = |council: &Council| council.settings().failures_per_hour;
    match before {
        None => "From now on officers decide what loosens.".into(),
        Some(before) if before == council => "Nothing has changed: these were the officers already.".into(),
        // Everything else needs the officers.
        Some(before) => format!(
            "failures_per_hour is at most {} from now on; it was {}. The officers stay as they were.",
            number(council),
            number(before)
        ),
    }
}
