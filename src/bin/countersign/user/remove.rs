//! `countersign user remove`: `C_DestroyObject`.

use clap::Args;
use serde_json::json;

use super::find_user;
use crate::Global;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::SoPin;
use crate::wallet::wallets_of;

/// Remove a user and its secret, for good.
///
/// The user's codes sign nothing from then on. A wallet whose only user is removed cannot sign until the SO gives it
/// another (countersign wallet set).
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
        let user = find_user(&session, &self.name)?;
        let wallets = wallets_of(&session, &self.name)?;
        session.destroy_object(user).during(Act::RemoveUser(&self.name))?;
        let mut text = format!("User {} is removed.\n", printable(&self.name));
        if !wallets.is_empty() {
            text.push_str(&format!("It was a user of: {}.\n", printable(&wallets.join(", "))));
        }
        Ok(Report::new(text, json!({ "user": { "name": self.name, "removed": true, "wallets": wallets } })))
    }
}
