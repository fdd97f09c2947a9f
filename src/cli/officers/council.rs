//! The options that name officers.

use clap::Args;
use countersign::engine::DEFAULT_FAILURES_PER_HOUR;
use countersign::kernel::officer::{Council, CouncilError, Emergency, Officers, OfficersError, Settings};

use crate::error::CommandError;

/// The officers, how many of them must sign, and how long an act then waits.
#[derive(Args)]
pub(crate) struct CouncilOptions {
    /// The public key of an officer, as in RWQf6LRC…; repeat for each
    #[arg(long = "officer", value_name = "KEY", requires_all = ["threshold", "delay_hours"])]
    officers: Vec<String>,
    /// How many officers must sign an act that loosens
    #[arg(long, value_name = "NUMBER", requires = "officers")]
    threshold: Option<usize>,
    /// How many hours such an act then waits, so that somebody can veto it
    #[arg(long, value_name = "HOURS", requires = "officers")]
    delay_hours: Option<u32>,
    /// How many officers must sign to shorten the delay to --emergency-hours: more than the threshold
    #[arg(long, value_name = "NUMBER", requires_all = ["officers", "emergency_hours"])]
    emergency: Option<usize>,
    /// The shorter delay
    #[arg(long, value_name = "HOURS", requires = "emergency")]
    emergency_hours: Option<u32>,
    /// The most failures_per_hour that any configuration may allow from then on
    #[arg(long, value_name = "NUMBER", requires = "officers", default_value_t = DEFAULT_FAILURES_PER_HOUR)]
    failures_per_hour: u32,
}

impl CouncilOptions {
    /// The council that the options describe. None: they name no officers.
    pub(crate) fn council(&self) -> Result<Option<Council>, CommandError> {
        let (Some(threshold), Some(delay_hours)) = (self.threshold, self.delay_hours) else {
            return Ok(None);
        };
        let officers = Officers::parse(&self.officers, threshold).map_err(|error| {
            let option = match error {
                OfficersError::Threshold { .. } => "--threshold",
                _ => "--officer",
            };
            wrong(option, &error)
        })?;
        let emergency = self.emergency.zip(self.emergency_hours);
        let emergency = emergency.map(|(signatures, delay_hours)| Emergency { signatures, delay_hours });
        let settings = Settings { failures_per_hour: self.failures_per_hour };
        let council = Council::new(officers, delay_hours, emergency, settings).map_err(|error| {
            let option = match error {
                CouncilError::Delay => "--delay-hours",
                CouncilError::EmergencySignatures { .. } => "--emergency",
                CouncilError::EmergencyDelay { .. } => "--emergency-hours",
                CouncilError::Failures => "--failures-per-hour",
            };
            wrong(option, &error)
        })?;
        Ok(Some(council))
    }
}

fn wrong(option: &str, error: &dyn std::error::Error) -> CommandError {
    CommandError::new(
        format!("{option}: {error}; nothing was changed"),
        "correct it and run the command again",
    )
}
