//! `countersign key freeze` and `countersign key thaw`: the SO sets `CKA_COUNTERSIGN_FROZEN`.

use clap::Args;
use cryptoki::object::ObjectClass;
use serde_json::json;

use super::find_key;
use crate::Global;
use crate::error::CommandError;
use crate::freeze;
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;

/// Freeze a key, at once: it signs nothing until you thaw it.
///
/// No code that is given for it is looked at, nothing is spent, and what it signed within the last two minutes is not given again.
#[derive(Args)]
pub(crate) struct Freeze {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    #[command(flatten)]
    pin: SoPin,
}

/// End the freeze of a key.
#[derive(Args)]
pub(crate) struct Thaw {
    /// The key's label
    #[arg(value_parser = names::key_label)]
    label: String,
    #[command(flatten)]
    pin: SoPin,
}

impl Freeze {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let note = format!("to end it: countersign key thaw {}", names::quoted(&self.label));
        Ok(change(global, &self.label, &self.pin, true)?.note(note))
    }
}

impl Thaw {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        change(global, &self.label, &self.pin, false)
    }
}

fn change(global: &Global, label: &str, pin: &SoPin, to: bool) -> Result<Report, CommandError> {
    let module = Module::open(global)?;
    let session = module.so_session(pin)?;
    let object = find_key(&session, ObjectClass::PUBLIC_KEY, label)?;
    let changed = freeze::change(&session, object, Act::SetKey(label), to)?;
    let json = json!({ "key": { "label": label, "frozen": to }, "changed": changed });
    freeze::with_note_of_all(&session, Report::new(freeze::report("Key", label, to, changed), json))
}
