//! `countersign user unlock`: the SO sets `CKA_COUNTERSIGN_LOCKED` to false.

use clap::Args;
use countersign::pkcs11::vendor as v;
use serde_json::json;

use super::{Record, told};
use crate::Global;
use crate::attributes::truth;
use crate::error::{CommandError, During};
use crate::kind::{find, read_one};
use crate::meaning::Act;
use crate::module::Module;
use crate::names::{self, printable};
use crate::output::Report;
use crate::secret::SoPin;

/// Unlock a user whose codes are not checked any more.
///
/// Clears the failures in a row and their back-off. It does not clear the failures of the last 30 days: after 20 of them the user
/// stays locked until enough are older, so that a guesser gains nothing by an unlock.
#[derive(Args)]
pub(crate) struct Unlock {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    pin: SoPin,
}

impl Unlock {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let user = find::<Record>(&session, &self.name)?;
        let unlocked = [truth(v::CKA_COUNTERSIGN_LOCKED, false)];
        session.update_attributes(user, &unlocked).during(Act::UnlockUser(&self.name))?;
        let name = printable(&self.name);
        let Record { locked, failures, .. } = read_one(&session, &self.name)?;
        if locked == Some(true) {
            return Err(CommandError::new(
                format!(
                    "user {name} stays locked: {} failures in the last 30 days are too many",
                    told(failures)
                ),
                "wait until the oldest are 30 days past, or remove the user and add it again; the failures in a row \
                 and their back-off are cleared",
            ));
        }
        let json = json!({ "user": { "name": self.name, "locked": locked, "failures": failures } });
        Ok(Report::new(format!("User {name} is unlocked.\n"), json))
    }
}
