//! `countersign pin set`: the SO sets a new user PIN with `C_InitPIN`.

use std::path::PathBuf;

use clap::Args;
use cryptoki::types::AuthPin;
use serde_json::json;

use super::Shown;
use crate::Global;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::output::Report;
use crate::secret::{SoPin, USER_PIN};

/// Set a new user PIN, once the old one is locked or declared lost.
///
/// A valid PIN cannot be replaced: whoever knows it changes it (C_SetPIN). If nobody knows it, declare it lost first. The new PIN has
/// all its tries, and every login by the old one has ended.
#[derive(Args)]
pub(crate) struct Set {
    #[command(flatten)]
    pin: SoPin,
    /// Read the new user PIN from this file (else COUNTERSIGN_USER_PIN, else a prompt)
    #[arg(long, value_name = "FILE")]
    user_pin_file: Option<PathBuf>,
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let user_pin = USER_PIN.choose(self.user_pin_file.as_deref())?;
        session.init_pin(&AuthPin::from(user_pin.as_str())).during(Act::InitUserPin)?;
        let after = Shown::read(&session)?;
        let text = "The new user PIN is set. Give it to the backends.\n";
        Ok(Report::new(text, json!({ "pin": after.to_json() })))
    }
}
