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
pub(super) struct Signals {
    system: signal_hook::iterator::Signals,
    /// A reload that was asked for before there was anything to reload.
    reload: bool,
}

impl Signals {
    /// From now on they are kept until they are asked for.
    pub(super) fn listen() -> Result<Signals, CommandError> {
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]);
        signals.map(|system| Signals { system, reload: false }).map_err(|error| {
            CommandError::new(
                format!("the system gives no signals: {error}"),
                "free what it lacks, then start again",
            )
        })
    }

    /// Whether a stop was asked for by now. A reload that was stays to be asked for.
    pub(super) fn asks_to_stop(&mut self) -> bool {
        let mut stop = false;
        for signal in self.system.pending() {
            match signal {
                SIGHUP => self.reload = true,
                _ => stop = true,
            }
        }
        stop
    }

    /// What ends the waiting for signals, as a stop does.
    pub(super) fn ender(&self) -> impl Fn() + Send + 'static {
        let handle = self.system.handle();
        move || handle.close()
    }

    /// Waits for the next one.
    pub(super) fn next(&mut self) -> Result<Asked, CommandError> {
        if std::mem::take(&mut self.reload) {
            return Ok(Asked::Reload);
        }
        match self.system.forever().next() {
            Some(SIGHUP) => Ok(Asked::Reload),
            // Closed from inside, or without any signal: stopping is what is safe.
            Some(_) | None => Ok(Asked::Stop),
        }
    }
}
