//! `countersign officers show`: who decides beside the administrator.

use clap::Args;
use serde_json::{Value, json};

use super::{read, shown, to_json};
use crate::Global;
use crate::error::CommandError;
use crate::module::Module;
use crate::output::Report;

/// Show the officers, how many of them must sign, and how long an act then waits. Everybody may ask, without a PIN.
#[derive(Args)]
pub(crate) struct Show {}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.open_session()?;
        let council = read(&session)?;
        let text = council.as_ref().map_or_else(
            || "There are no officers: an administrator decides everything alone.\n".to_owned(),
            shown,
        );
        let json = json!({ "council": council.as_ref().map_or(Value::Null, to_json) });
        Ok(Report::new(text, json))
    }
}
