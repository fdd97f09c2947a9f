//! Signals, as requests.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::CommandError;

/// The request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM, SIGINT: stop.
    Stop,
}

/// The signals of this process.
pub(super) struct Signals {
    system: signal_hook::iterator::Signals,
    /// A reload that was requested before there was anything to reload.
    reload: bool,
}

impl Signals {
    /// From now on signals are kept until they are read.
    pub(super) fn listen() -> Result<Signals, CommandError> {
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]);
        signals.map(|system| Signals { system, reload: false }).map_err(|error| {
            CommandError::new(
                format!("cannot receive signals: {error}"),
                "free what the system is short of, then start again",
            )
        })
    }

    /// Whether a stop was requested by now. A requested reload is kept.
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

    /// Ends the waiting for signals, like a stop.
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
            // The waiting was ended from inside, or without any signal. Stopping is the safe choice.
            Some(_) | None => Ok(Asked::Stop),
        }
    }
}
