//! `countersign key list`.

use clap::Args;
use serde_json::{Value, json};

use super::{Record, read_keys};
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::module::Module;
use crate::output::{Report, table, yes_no};
use crate::secret::EitherPin;

/// List the keys that sign digests.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pin: EitherPin,
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let keys = read_keys(&session, None)?;
        let json = json!({ "keys": keys.iter().map(Record::to_json).collect::<Vec<Value>>() });
        if keys.is_empty() {
            return Ok(Report::new("There are no keys that sign digests.\n", json)
                .note("next: countersign key create --help"));
        }
        let rows: Vec<Vec<String>> = keys
            .iter()
            .map(|key| {
                let (mechanisms, users) = (key.mechanism_names().join("\n"), key.users.join("\n"));
                vec![key.label.clone(), mechanisms, yes_no(key.frozen), users]
            })
            .collect();
        let text = table(&["LABEL", "MECHANISMS", "FROZEN", "USERS"], &rows);
        freeze::with_note_of_all(&session, Report::new(text, json))
    }
}
