//! `countersign user list`.

use clap::Args;
use serde_json::{Value, json};

use super::{Record, read_users, told};
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::module::Module;
use crate::output::{Report, table, yes_no};
use crate::secret::EitherPin;

/// List the users.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pin: EitherPin,
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let users = read_users(&session, None)?;
        let json = json!({ "users": users.iter().map(Record::to_json).collect::<Vec<Value>>() });
        if users.is_empty() {
            return Ok(Report::new("There are no users.\n", json).note("next: countersign user add NAME"));
        }
        let rows: Vec<Vec<String>> = users
            .iter()
            .map(|user| {
                vec![
                    user.name.clone(),
                    yes_no(user.confirmed),
                    yes_no(user.locked),
                    yes_no(user.frozen),
                    told(user.failures),
                    told(user.digits),
                    told(user.period),
                    user.hash.unwrap_or("?").to_owned(),
                ]
            })
            .collect();
        let heading = ["NAME", "CONFIRMED", "LOCKED", "FROZEN", "FAILURES", "DIGITS", "PERIOD", "HASH"];
        freeze::with_note_of_all(&session, Report::new(table(&heading, &rows), json))
    }
}
