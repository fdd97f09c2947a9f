//! `countersign clock set`: the SO gives the time, and the module accepts the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use countersign::kernel::utc::{from_iso, to_digits, to_iso};
use cryptoki::object::Attribute;
use serde_json::json;

use super::Shown;
use crate::Global;
use crate::act::hand_to_officers;
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::module::Module;
use crate::output::Report;
use crate::secret::SoPin;

/// Accept the machine's clock after it jumped.
///
/// The module does not set the machine's clock. First set it right, by another clock. The time that you give must match the machine's
/// within two minutes. The module never accepts a clock that is behind its newest record.
#[derive(Args)]
pub(crate) struct Set {
    /// The time in UTC by another clock, as in 2026-11-21T12:00:00Z [default: the machine's]
    #[arg(long, value_name = "TIME", value_parser = iso)]
    time: Option<u64>,
    #[command(flatten)]
    pin: SoPin,
}

pub(crate) fn iso(text: &str) -> Result<u64, String> {
    from_iso(text).ok_or_else(|| "a time is written in UTC, as in 2026-11-21T12:00:00Z".into())
}

impl Set {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let module = Module::open(global)?;
        let session = module.so_session(&self.pin)?;
        let before = Shown::read(&session)?;
        // Read after the PIN was typed, which may take a while.
        let said = self.time.unwrap_or_else(machine_time);
        let value = Attribute::Value(to_digits(said).into_bytes());
        session
            .update_attributes(before.object, &[value])
            .during(Act::SetClock)
            .map_err(|error| hand_to_officers(&session, error))?;
        let after = Shown::read(&session)?;
        let was = match before.refusal.as_str() {
            "" => "The module trusted it before, too.".to_owned(),
            refusal => format!("The module refused it before: {refusal}."),
        };
        let text = format!(
            "The module accepts the clock: {}. {}\nThe audit records it (clock-taken).\n",
            after.time(),
            crate::names::printable(&was)
        );
        let json = json!({ "clock": after.to_json(), "said": to_iso(said), "before": before.to_json() });
        Ok(Report::new(text, json).wrong(!after.refusal.is_empty()))
    }
}

fn machine_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
