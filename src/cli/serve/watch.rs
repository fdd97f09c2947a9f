//! Looks at the boundary each second, since nobody else may: tells in the log what begins to keep it from its work and what
//! ends, and has the process end where only a new one can go on.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use countersign::remote::server::health::{Health, Report};
use countersign::remote::standing::Trouble;

use super::explain_system;
use crate::error::CommandError;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The thread that looks. It ends with this, and is not waited for: it may be in a token that does not answer.
pub(super) struct Watch {
    _stop: Sender<()>,
    ended: Arc<OnceLock<Trouble>>,
}

impl Watch {
    /// Looks from now on. Where the process should end it keeps why, and calls `end`. A token that does not answer is waited for
    /// as long as a write that failed.
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

    /// Why the process should end, if it should.
    pub(super) fn ended(&self) -> Option<Trouble> {
        self.ended.get().copied()
    }
}

/// What was seen so far.
struct Seen {
    patience: Duration,
    told: BTreeSet<String>,
    /// Since when the token does not answer.
    token: Option<Instant>,
}

impl Seen {
    /// Tells what is new, and gives why the process should end, if it should.
    fn look(&mut self, report: &Report) -> Option<Trouble> {
        let problems: BTreeSet<String> = report.problems().map(str::to_owned).collect();
        for problem in problems.difference(&self.told) {
            tracing::error!("{problem}");
        }
        for problem in self.told.difference(&problems) {
            tracing::warn!("over: {problem}");
        }
        self.told = problems;
        // A refused PIN first: whoever starts this anew must not, whatever else there is.
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
    fn the_process_ends_where_a_new_one_can_go_on_and_nowhere_else() {
        for trouble in Trouble::ALL {
            let ended = seen(Duration::MAX).look(&report(&[trouble]));
            let ends = [Trouble::StoreClosed, Trouble::PinRefused].contains(&trouble);
            assert_eq!(ended, ends.then_some(trouble), "{trouble}");
        }
        let both = report(&[Trouble::StoreClosed, Trouble::Token, Trouble::PinRefused]);
        assert_eq!(seen(Duration::ZERO).look(&both), Some(Trouble::PinRefused), "it ends for good");
        assert_eq!(seen(Duration::ZERO).look(&report(&[])), None);
        assert!(seen(Duration::ZERO).look(&report(&[Trouble::Token])).is_some(), "it was waited for");
        // What is still open there is all that is left of the store.
        assert_eq!(seen(Duration::ZERO).look(&report(&[Trouble::StoreLost])), None);
    }

    #[test]
    fn a_token_that_answers_again_is_waited_for_anew() {
        let mut seen = seen(Duration::MAX);
        assert_eq!(seen.look(&report(&[Trouble::Token])), None);
        assert!(seen.token.is_some());
        assert_eq!(seen.look(&report(&[])), None);
        assert!(seen.token.is_none());
    }
}
