//! `countersign wallet list`.

use clap::Args;
use serde_json::{Value, json};

use super::{Record, read_wallets};
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::module::Module;
use crate::output::{Report, table, yes_no};
use crate::secret::EitherPin;

/// List the wallets.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pin: EitherPin,
}

impl List {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let wallets = read_wallets(&session, None)?;
        let json = json!({ "wallets": wallets.iter().map(Record::to_json).collect::<Vec<Value>>() });
        if wallets.is_empty() {
            return Ok(
                Report::new("There are no wallets.\n", json).note("next: countersign wallet create --help")
            );
        }
        let rows: Vec<Vec<String>> = wallets
            .into_iter()
            .map(|wallet| {
                let script = wallet.script_type();
                vec![
                    wallet.label,
                    wallet.network,
                    script,
                    wallet.fingerprint,
                    wallet.path,
                    yes_no(wallet.frozen),
                    wallet.users.join("\n"),
                ]
            })
            .collect();
        let heading = ["LABEL", "NETWORK", "SCRIPT", "FINGERPRINT", "PATH", "FROZEN", "USERS"];
        freeze::with_note_of_all(&session, Report::new(table(&heading, &rows), json))
    }
}
