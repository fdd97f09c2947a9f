//! `countersign user remove`: `C_DestroyObject`.

use clap::Args;
use cryptoki::session::Session;
use serde_json::json;

use crate::Global;
use crate::error::{CommandError, During};
use crate::kind::find;
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable, quoted};
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::labels_of;
use crate::{key, user, wallet};

/// Remove a user and their secret, for good.
///
/// A user whom a wallet or key still lists cannot be removed: first give that wallet or key another user (countersign wallet set,
/// countersign key set).
#[derive(Args)]
pub(crate) struct Remove {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    pin: SoPin,
}

impl Remove {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let user = find::<user::Record>(&session, &self.name)?;
        session
            .destroy_object(user)
            .during(Act::RemoveUser(&self.name))
            .map_err(|error| self.name_what_lists_them(&session, error))?;
        let text = format!("User {} is removed.\n", printable(&self.name));
        Ok(Report::new(text, json!({ "user": { "name": self.name, "removed": true, "wallets": [] } })))
    }
}

impl Remove {
    /// Names the wallets and keys that keep the user from being removed.
    fn name_what_lists_them(&self, session: &Session, mut error: CommandError) -> CommandError {
        if !error.is("CKR_ACTION_PROHIBITED") {
            return error;
        }
        let of = |labels: Result<Vec<String>, CommandError>, verb: &'static str| {
            labels.unwrap_or_default().into_iter().map(move |label| (verb, label))
        };
        let listing: Vec<(&str, String)> = of(labels_of::<wallet::Record>(session, &self.name), "wallet")
            .chain(of(labels_of::<key::Record>(session, &self.name), "key"))
            .collect();
        if listing.is_empty() {
            return error;
        }
        let labels: Vec<String> = listing.iter().map(|(verb, label)| format!("{verb} {label}")).collect();
        error.what = format!("user {} is not removed: they sign for {}", self.name, labels.join(", "));
        let steps: Vec<String> = listing
            .iter()
            .map(|(verb, label)| format!("countersign {verb} set {} --user OTHER", quoted(label)))
            .collect();
        error.next = format!("first set other users for each of these: {}", steps.join("; "));
        error
    }
}
