//! Signals, as what they ask for.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::CommandError;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGTERM, SIGINT: stop.
    Stop,
}

/// The signals of this process.
pub(super) struct Signals(signal_hook::iterator::Signals);

impl Signals {
    /// From now on they are kept until they are asked for.
    pub(super) fn listen() -> Result<Signals, CommandError> {
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]);
        signals.map(Signals).map_err(|error| {
            CommandError::new(
                format!("the system gives no signals: {error}"),
                "free what it lacks, then start again",
            )
        })
    }

    /// Waits for the next one.
    pub(super) fn next(&mut self) -> Result<Asked, CommandError> {
        match self.0.forever().next() {
            Some(SIGHUP) => Ok(Asked::Reload),
            // Nothing but a signal ends the iterator; without one, stopping is what is safe.
            Some(_) | None => Ok(Asked::Stop),
        }
    }
}
