//! `countersign user freeze` and `countersign user thaw`: the SO sets `CKA_COUNTERSIGN_FROZEN`.

use clap::Args;

use serde_json::json;

use super::find_user;
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;

/// Freeze a user, at once: no code of theirs is looked at until you thaw them.
///
/// Whatever carries a code of a frozen user is refused whole, whoever else approves it. You can unlock or remove a frozen user. Removing
/// the user ends the freeze, and a user who is enrolled later under the same name is not frozen.
#[derive(Args)]
pub(crate) struct Freeze {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    pin: SoPin,
}

/// End the freeze of a user.
#[derive(Args)]
pub(crate) struct Thaw {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    pin: SoPin,
}

impl Freeze {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let note = format!("to end it: countersign user thaw {}", names::quoted(&self.name));
        Ok(change(global, &self.name, &self.pin, true)?.note(note))
    }
}

impl Thaw {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        change(global, &self.name, &self.pin, false)
    }
}

fn change(global: &Global, name: &str, pin: &SoPin, to: bool) -> Result<Report, CommandError> {
    let module = Module::open(global)?;
    let session = module.so_session(pin)?;
    let object = find_user(&session, name)?;
    let changed = freeze::change(&session, object, Act::SetUser(name), to)?;
    let json = json!({ "user": { "name": name, "frozen": to }, "changed": changed });
    freeze::with_note_of_all(&session, Report::new(freeze::report("User", name, to, changed), json))
}
