//! `countersign user show`.

use clap::Args;
use serde_json::json;

use super::{Record, told};
use crate::Global;
use crate::error::CommandError;
use crate::freeze::{STILL_FROZEN, is_all_frozen};
use crate::kind::{Kind, read_one};
use crate::module::Module;
use crate::names::{self, quoted};
use crate::output::{Report, details, yes_no};
use crate::secret::EitherPin;
use crate::terms::labels_of;
use crate::wallet;

/// Show one user.
#[derive(Args)]
pub(crate) struct Show {
    /// The user's name
    #[arg(value_parser = names::user_name)]
    name: String,
    #[command(flatten)]
    pin: EitherPin,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.either_session(&self.pin)?;
        let user: Record = read_one(&session, &self.name)?;
        let wallets = labels_of::<wallet::Record>(&session, &self.name)?;
        let mut json = user.to_json();
        json["wallets"] = json!(wallets);
        let stopped = match user.stopped {
            Some(true) => {
                "yes: too many codes of all users were wrong within an hour, so no code is checked".into()
            }
            other => yes_no(other),
        };
        let text = details(&[
            ("name", user.name.clone()),
            ("confirmed", yes_no(user.confirmed)),
            ("locked", yes_no(user.locked)),
            ("failures", format!("{} in the last 30 days (20 lock the user)", told(user.failures))),
            ("stopped", stopped),
            ("frozen", yes_no(user.frozen)),
            ("factor", user.factor.unwrap_or("?").to_owned()),
            ("digits", told(user.digits)),
            ("period", user.period.map_or(user.period(), |seconds| format!("{seconds} s"))),
            ("hash", user.hash.unwrap_or("?").to_owned()),
            ("wallets", if wallets.is_empty() { "none".into() } else { wallets.join("\n") }),
        ]);
        let report = Report::new(text, json!({ "user": json }));
        let name = quoted(&self.name);
        if is_all_frozen(&session)? {
            return Ok(report.note(STILL_FROZEN));
        }
        Ok(match (user.confirmed, user.locked) {
            _ if user.frozen == Some(true) => report.note(format!("to end the freeze: countersign user thaw {name}")),
            _ if user.stopped == Some(true) => report.note(
                "next: find in the log and the audit who tries codes; then wait until the count drops below limits.failures_per_hour",
            ),
            (Some(false), _) => report.note(format!("next: countersign user confirm {name}")),
            (_, Some(true)) if user.factor == Some(super::HOTP) => report.note(format!(
                "next: wait, or run countersign user unlock {name}. If the user stays locked, the store was restored since they were enrolled: enrol them anew"
            )),
            (_, Some(true)) => report.note(format!("next: wait, or run countersign user unlock {name}")),
            _ => report,
        })
    }
}
