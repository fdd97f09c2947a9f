//! `countersign pin unlock`: the SO sets `CKA_COUNTERSIGN_LOCKED` of the user PIN to false.

use clap::Args;
use countersign::pkcs11::vendor as v;
use serde_json::json;

use super::Shown;
use crate::Global;
use crate::attributes::truth;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::output::Report;
use crate::secret::SoPin;

/// Give every peer its tries at the user PIN back.
///
/// First find out who tried: "countersign pin show" names the peers. This does not clear the wrong tries of the last 30 days: after a
/// hundred of them the PIN stays locked for everybody until enough are older, or until you set a new one.
#[derive(Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    pin: SoPin,
}

impl Unlock {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let before = Shown::read(&session)?;
        let unlocked = [truth(v::CKA_COUNTERSIGN_LOCKED, false)];
        session.update_attributes(before.object, &unlocked).during(Act::ChangeUserPin)?;
        let after = Shown::read(&session)?;
        if after.is_closed() {
            return Err(CommandError::new(
                "every peer has its tries back, but the user PIN stays locked for all of them",
                "set a new PIN with \"countersign pin set\"; \"countersign pin show\" shows why it is locked",
            ));
        }
        Ok(Report::new("Every peer has its tries at the user PIN back.\n", json!({ "pin": after.to_json() })))
    }
}
