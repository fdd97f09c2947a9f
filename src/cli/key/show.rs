//! `countersign key show`.

use clap::Args;
use serde_json::json;

use super::{no_such_key, read_keys};
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::EitherPin;

/// Show one key that signs digests.
#[derive(Args)]
pub(crate) struct Show {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    #[command(flatten)]
    pin: EitherPin,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let keys = read_keys(&session, Some(&self.label))?;
        let key = keys.first().ok_or_else(|| no_such_key(&self.label))?;
        let report = Report::new(key.to_text(), json!({ "key": key.to_json() }));
        freeze::with_note_of_all(&session, report)
    }
}
