//! `countersign officers …`: who decides beside the administrator (`CKO_COUNTERSIGN_OFFICERS`).

pub(crate) mod council;
mod set;
mod show;

use clap::Subcommand;
use countersign::kernel::officer::{Council, Emergency};
use countersign::pkcs11::vendor as v;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::CKA_CLASS;
use serde_json::{Value, json};

use crate::Global;
use crate::act::hand_to_officers;
use crate::attributes::{self, Attributes, kind, text};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::{Report, details};

/// Show or set the officers, without whom an administrator loosens nothing.
#[derive(Subcommand)]
pub(crate) enum Officers {
    Show(show::Show),
    Set(set::Set),
}

impl Officers {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Officers::Show(verb) => verb.run(global),
            Officers::Set(verb) => verb.run(global),
        }
    }
}

/// The officers of the token, as everybody sees them without a login. None: there are none.
pub(crate) fn read(session: &Session) -> Result<Option<Council>, CommandError> {
    let object = find(session)?;
    let attributes = Attributes::read(session, object, &[kind(v::CKA_COUNTERSIGN_COUNCIL)], Act::Read)?;
    match attributes.text(v::CKA_COUNTERSIGN_COUNCIL) {
        none if none.is_empty() => Ok(None),
        council => Council::parse(&council).map(Some).ok_or_else(|| {
            CommandError::new(
                "the module shows officers that this program cannot read: it is newer than this program",
                "use the program of the module's version",
            )
        }),
    }
}

/// Sets the officers, as the security officer.
pub(crate) fn set(session: &Session, council: &Council) -> Result<(), CommandError> {
    let value = text(v::CKA_COUNTERSIGN_COUNCIL, &council.to_string());
    session
        .update_attributes(find(session)?, &[value])
        .during(Act::SetOfficers)
        .map_err(|error| hand_to_officers(session, error))
}

fn find(session: &Session) -> Result<ObjectHandle, CommandError> {
    let template = [attributes::number(CKA_CLASS, v::CKO_COUNTERSIGN_OFFICERS)];
    session.find_objects(&template).during(Act::Read)?.first().copied().ok_or_else(|| {
        CommandError::new(
            "the module does not know of officers: it is older than this program",
            "install this version's module",
        )
    })
}

fn shown(council: &Council) -> String {
    let officers = council.officers();
    let emergency = council.emergency().map_or("none".into(), |Emergency { signatures, delay_hours }| {
        format!("{delay_hours} hours once {signatures} officers have signed")
    });
    let keys: Vec<String> = officers.keys().iter().map(ToString::to_string).collect();
    details(&[
        ("needed", format!("{} of {} officers", officers.threshold(), officers.keys().len())),
        ("delay", format!("{} hours", council.delay_hours())),
        ("emergency", emergency),
        ("failures per hour", council.settings().failures_per_hour.to_string()),
        ("officers", keys.join("\n")),
    ]) + &format!("\nTo keep, for a restoration:\n{council}")
}

/// The council in what a command printed, as text or JSON, or in its own text. Whoever keeps or mails a printout may change its line ends.
/// The anchor's digest says whether these are the right officers.
pub(crate) fn in_printout(printout: &str) -> Option<Council> {
    if let Ok(json) = serde_json::from_str::<Value>(printout) {
        return Council::parse(json["council"]["text"].as_str()?);
    }
    let lines = printout.lines().map(str::trim_end).skip_while(|line| !line.starts_with("threshold "));
    let text: String = lines.take_while(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect();
    Council::parse(&text)
}

pub(crate) fn to_json(council: &Council) -> Value {
    let officers = council.officers();
    let key = |key: &countersign::kernel::officer::OfficerKey| json!({ "key_id": key.id().to_string(), "public_key": key.line() });
    json!({
        "threshold": officers.threshold(),
        "delay_hours": council.delay_hours(),
        "emergency": council.emergency().map(|Emergency { signatures, delay_hours }| {
            json!({ "signatures": signatures, "delay_hours": delay_hours })
        }),
        "failures_per_hour": council.settings().failures_per_hour,
        "officers": officers.keys().iter().map(key).collect::<Vec<_>>(),
        "text": council.to_string(),
    })
}
