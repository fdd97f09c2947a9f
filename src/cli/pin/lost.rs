//! `countersign pin lost`: the SO sets `CKA_COUNTERSIGN_PIN_LOST` to true.

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

/// Declare the user PIN lost: nobody knows it any more, or the wrong person does.
///
/// From then on the PIN opens nothing. The module logs out every backend, and signs nothing until you set a new PIN. You cannot take
/// this back, and the audit keeps it (pin-lost).
#[derive(Args)]
pub(crate) struct Lost {
    #[command(flatten)]
    pin: SoPin,
}

impl Lost {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let before = Shown::read(&session)?;
        let lost = [truth(v::CKA_COUNTERSIGN_PIN_LOST, true)];
        session.update_attributes(before.object, &lost).during(Act::ChangeUserPin)?;
        let after = Shown::read(&session)?;
        let text =
            "The user PIN is declared lost. It opens nothing any more, and every backend is logged out.\n";
        Ok(Report::new(text, json!({ "pin": after.to_json() })).note("next: countersign pin set"))
    }
}
