//! `countersign clock show`: the clock, and whether the module trusts it.

use clap::Args;
use serde_json::json;

use super::{Shown, WAY_OUT};
use crate::Global;
use crate::error::CommandError;
use crate::module::Module;
use crate::output::{Report, details};

/// Show the machine's clock as the module sees it, and whether the module trusts it.
///
/// Needs no PIN. The exit status is 1 if the module refuses the clock.
#[derive(Args)]
pub(crate) struct Show {}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let clock = Shown::read(&module.open_session()?)?;
        let refused = !clock.refusal.is_empty();
        let signing = if refused { format!("refuses it: {}", clock.refusal) } else { "trusts it".into() };
        let text = details(&[("time", clock.time()), ("signing", signing)]);
        let report = Report::new(text, json!({ "clock": clock.to_json() })).wrong(refused);
        Ok(if refused { report.note(format!("next: {WAY_OUT}")) } else { report })
    }
}
