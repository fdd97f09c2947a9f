//! Looks at the boundary each second. It logs faults that begin and end, and ends the process if only a new
//! one can go on.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use countersign::remote::standing::Trouble;
use countersign_server::health::{Health, Report};

use super::explain_system;
use crate::error::CommandError;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The thread that looks. It stops when this is dropped, which does not wait for it: it may be inside a token
/// that does not answer.
pub(super) struct Watch {
    _stop: Sender<()>,
    ended: Arc<OnceLock<Trouble>>,
}

impl Watch {
    /// Starts to look. If the process should end, it keeps the reason and calls `end`. It waits for a token
    /// that does not answer as long as for a failed write.
    pub(super) fn start(
        health: Arc<Health>,
        patience: Duration,
        end: impl Fn() + Send + 'static,
    ) -> Result<Watch, CommandError> {
        let (stop, stopped) = channel();
        let ended = Arc::new(OnceLock::new());
        let why = Arc::clone(&ended);
        let mut seen = Seen { patience, told: BTreeSet::new(), token: None };
        let look = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                if let Some(trouble) = seen.look(&health.report()) {
                    let _ = why.set(trouble);
                    end();
                    return;
                }
            }
        };
        std::thread::Builder::new().name("watch".into()).spawn(look).map_err(explain_system)?;
        Ok(Watch { _stop: stop, ended })
    }

    /// The reason why the process should end, if there is one.
    pub(super) fn ended(&self) -> Option<Trouble> {
        self.ended.get().copied()
    }
}

/// The state at the last look.
struct Seen {
    patience: Duration,
    told: BTreeSet<String>,
    /// Since when the token has not answered.
    token: Option<Instant>,
}

impl Seen {
    /// Logs changes, and returns the reason why the process should end, if there is one.
    fn look(&mut self, report: &Report) -> Option<Trouble> {
        let problems: BTreeSet<String> = report.problems().map(str::to_owned).collect();
        for problem in problems.difference(&self.told) {
            tracing::error!("{problem}");
        }
        for problem in self.told.difference(&problems) {
            tracing::warn!("over: {problem}");
        }
        self.told = problems;
        // A refused PIN first, because then the service manager must not start this again, whatever else is
        // wrong.
        for trouble in [Trouble::PinRefused, Trouble::StoreClosed] {
            if report.standing().has(trouble) {
                return Some(trouble);
            }
        }
        if !report.standing().has(Trouble::Token) {
            self.token = None;
            return None;
        }
        let since = *self.token.get_or_insert_with(Instant::now);
        (since.elapsed() >= self.patience).then_some(Trouble::Token)
    }
}

#[cfg(test)]
mod tests {
    use countersign::remote::standing::Standing;

    use super::*;

    fn seen(patience: Duration) -> Seen {
        Seen { patience, told: BTreeSet::new(), token: None }
    }

    fn report(troubles: &[Trouble]) -> Report {
        Report::of(troubles.iter().fold(Standing::WELL, |standing, trouble| standing.with(*trouble)), &[])
    }

    #[test]
    fn the_process_ends_only_if_a_new_one_can_go_on() {
        for trouble in Trouble::ALL {
            let ended = seen(Duration::MAX).look(&report(&[trouble]));
            let ends = [Trouble::StoreClosed, Trouble::PinRefused].contains(&trouble);
            assert_eq!(ended, ends.then_some(trouble), "{trouble}");
        }
        let both = report(&[Trouble::StoreClosed, Trouble::Token, Trouble::PinRefused]);
        assert_eq!(seen(Duration::ZERO).look(&both), Some(Trouble::PinRefused), "it ends for good");
        assert_eq!(seen(Duration::ZERO).look(&report(&[])), None);
        assert!(seen(Duration::ZERO).look(&report(&[Trouble::Token])).is_some(), "it was waited for");
        // The files that are still open are all that is left of the store.
        assert_eq!(seen(Duration::ZERO).look(&report(&[Trouble::StoreLost])), None);
    }

    #[test]
    fn the_wait_for_a_token_starts_over_once_it_has_answered() {
        let mut seen = seen(Duration::MAX);
        assert_eq!(seen.look(&report(&[Trouble::Token])), None);
        assert!(seen.token.is_some());
        assert_eq!(seen.look(&report(&[])), None);
        assert!(seen.token.is_none());
    }
}
