//! `countersign freeze --all` and `countersign thaw --all`; and the verbs `freeze` and `thaw` of wallets, keys and users.

use clap::Args;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::CKA_HW_FEATURE_TYPE;
use serde_json::json;

use crate::Global;
use crate::act::hand_to_officers;
use crate::attributes::{self, Attributes, kind, truth};
use crate::error::{CommandError, During};
use crate::kind::{Kind, Named, find};
use crate::meaning::Act;
use crate::module::Module;
use crate::names;
use crate::output::Report;
use crate::secret::SoPin;
use crate::terms::capitalised;

/// Freeze everything, at once: nothing is signed, and no code is looked at.
///
/// It holds for every wallet, every key that signs digests and every user, those that are made later included, until you thaw
/// everything. Administration goes on. To freeze one thing, use wallet freeze, key freeze or user freeze.
#[derive(Args)]
pub(crate) struct Freeze {
    /// Freeze everything
    #[arg(long, required = true)]
    all: bool,
    #[command(flatten)]
    pin: SoPin,
}

/// End the freeze of everything.
///
/// What was frozen by itself stays frozen: wallet thaw, key thaw and user thaw end those freezes.
#[derive(Args)]
pub(crate) struct Thaw {
    /// Thaw everything
    #[arg(long, required = true)]
    all: bool,
    #[command(flatten)]
    pin: SoPin,
}

impl Freeze {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let changed = change_all(global, &self.pin, true)?;
        let text = if changed {
            "Everything is frozen: nothing is signed, and no code is looked at.\n"
        } else {
            "Everything was frozen already.\n"
        };
        Ok(Report::new(text, json!({ "all_frozen": true, "changed": changed }))
            .note("to end it: countersign thaw --all"))
    }
}

impl Thaw {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let changed = change_all(global, &self.pin, false)?;
        let text = if changed {
            "Everything is thawed. What was frozen by itself stays frozen.\n"
        } else {
            "There was no freeze of everything.\n"
        };
        Ok(Report::new(text, json!({ "all_frozen": false, "changed": changed })))
    }
}

fn change_all(global: &Global, pin: &SoPin, to: bool) -> Result<bool, CommandError> {
    let module = Module::open(global)?;
    let session = module.so_session(pin)?;
    let all = find_all(&session)?.ok_or_else(|| {
        CommandError::new(
            "the module does not know of freezes: it is older than this program",
            "install this version's module; until then declare the user PIN lost, which stops every backend: countersign pin lost",
        )
    })?;
    change(&session, all, Act::FreezeAll, to)
}

/// The verbs that freeze and thaw one wallet, key or user. The enum of its verbs has their help.
#[derive(Args)]
pub(crate) struct FreezeOne<K: Kind> {
    #[command(flatten)]
    named: Named<K>,
    #[command(flatten)]
    pin: SoPin,
}

impl<K: Kind> FreezeOne<K> {
    pub(crate) fn freeze(&self, global: &Global) -> Result<Report, CommandError> {
        let note = format!("to end it: countersign {} thaw {}", K::ONE, names::quoted(&self.named.name));
        Ok(self.change(global, true)?.note(note))
    }

    pub(crate) fn thaw(&self, global: &Global) -> Result<Report, CommandError> {
        self.change(global, false)
    }

    fn change(&self, global: &Global, to: bool) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let name = &self.named.name;
        let changed = change(&session, find::<K>(&session, name)?, K::changing(name), to)?;
        let (what, shown) = (capitalised(K::ONE), names::printable(name));
        let text = match (to, changed) {
            (true, true) => format!("{what} {shown} is frozen.\n"),
            (true, false) => format!("{what} {shown} was frozen already.\n"),
            (false, true) => format!("{what} {shown} is thawed.\n"),
            (false, false) => format!("{what} {shown} was not frozen.\n"),
        };
        let one = json!({ K::NAME.to_lowercase(): name, "frozen": to });
        with_note_of_all(&session, Report::new(text, json!({ K::ONE: one, "changed": changed })))
    }
}

/// Freezes or thaws an object. Gives whether it was not so before.
fn change(session: &Session, object: ObjectHandle, act: Act<'_>, to: bool) -> Result<bool, CommandError> {
    let was = is_frozen(session, object)?;
    session
        .update_attributes(object, &[truth(v::CKA_COUNTERSIGN_FROZEN, to)])
        .during(act)
        .map_err(|error| hand_to_officers(session, error))?;
    Ok(was != Some(to))
}

/// The note beside a thawed object, which signs nothing while everything is frozen.
pub(crate) fn with_note_of_all(session: &Session, report: Report) -> Result<Report, CommandError> {
    Ok(if is_all_frozen(session)? { report.note(STILL_FROZEN) } else { report })
}

/// Beside what is shown while everything is frozen.
pub(crate) const STILL_FROZEN: &str = "Everything is frozen. To end that: countersign thaw --all";

/// Whether everything is frozen. A module that does not know of freezes has none.
pub(crate) fn is_all_frozen(session: &Session) -> Result<bool, CommandError> {
    match find_all(session)? {
        Some(all) => Ok(is_frozen(session, all)? == Some(true)),
        None => Ok(false),
    }
}

fn is_frozen(session: &Session, object: ObjectHandle) -> Result<Option<bool>, CommandError> {
    let attributes = Attributes::read(session, object, &[kind(v::CKA_COUNTERSIGN_FROZEN)], Act::Read)?;
    Ok(attributes.truth(v::CKA_COUNTERSIGN_FROZEN))
}

/// The object that stands for everything.
fn find_all(session: &Session) -> Result<Option<ObjectHandle>, CommandError> {
    let template = [
        Attribute::Class(ObjectClass::HARDWARE_FEATURE),
        attributes::number(CKA_HW_FEATURE_TYPE, v::CKH_COUNTERSIGN_FREEZE),
    ];
    Ok(session.find_objects(&template).during(Act::Read)?.first().copied())
}
