//! The breaker: counts wrong codes of all users, which stop all codes at a limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{Engine, EngineError};
use crate::cores;
use crate::kernel::failures::{self, Failures};
use crate::kernel::state;

/// Wrong tries of all users together within an hour, by default. With six digits and three valid steps, so
/// many in every hour of a year give about three right codes by chance.
pub const DEFAULT_FAILURES_PER_HOUR: u32 = 100;

impl Engine {
    /// The same engine, which checks no code after so many wrong tries of all users together within an hour.
    #[must_use]
    pub fn stopping_at(self, failures_per_hour: u32) -> Engine {
        Engine { most_failures: failures_per_hour, ..self }
    }

    /// The wrong tries of all users that are allowed in an hour: what the configuration says, or less if the officers do.
    pub(crate) fn most_failures(&self) -> u32 {
        self.most_failures.min(self.officers.most_failures())
    }

    /// Begins so many tries, unless too many of all users were wrong within an hour. If those under way could
    /// exceed the limit, it waits for them to end, without a core, and then reads the time again.
    pub(crate) fn begin_tries(&self, codes: usize) -> Result<Tries<'_>, EngineError> {
        let codes = u32::try_from(codes).unwrap_or(u32::MAX);
        let begun = self.breaker.begin(codes, self.most_failures(), || self.now())?;
        begun.map_err(|Full { failures, now }| self.stopped(failures, now))
    }

    /// A stop is logged and recorded once an hour.
    fn stopped(&self, failures: u32, now: u64) -> EngineError {
        let told = self.breaker.told.load(Ordering::SeqCst);
        let is_due = told == 0 || now >= told.saturating_add(failures::PERIOD);
        if is_due && self.breaker.told.swap(now, Ordering::SeqCst) == told {
            tracing::error!(
                "{failures} codes of all users were wrong within an hour: no code is checked until the count drops below the limit"
            );
            if let Err(error) = self.commit_anew(|| Ok(state::stop(failures, now))) {
                return error;
            }
        }
        EngineError::Stopped
    }

    /// Counts the wrong codes in the audit chain.
    pub(super) fn count_failures(&self, failures: Failures) {
        self.breaker.counts().failures = failures;
    }
}

/// What is known about tries.
#[derive(Default)]
pub(super) struct Breaker {
    counts: Mutex<Counts>,
    ended: Condvar,
    /// When the stop was last logged, Unix seconds.
    told: AtomicU64,
}

#[derive(Default)]
struct Counts {
    /// Wrong tries.
    failures: Failures,
    /// Tries whose outcome is not known yet.
    under_way: u32,
    /// When no more codes were checked, the last time. Unix seconds.
    full_at: u64,
}

impl Counts {
    /// Notes that no code is checked, if so.
    fn look(&mut self, most: u32, now: u64) {
        if self.failures.count(now) >= most {
            self.full_at = self.full_at.max(now);
        }
    }
}

/// Too many tries were wrong for more to begin.
struct Full {
    failures: u32,
    now: u64,
}

impl Breaker {
    /// Begins so many tries, once those under way leave room. `now` is read only then.
    fn begin(
        &self,
        codes: u32,
        most: u32,
        now: impl Fn() -> Result<u64, EngineError>,
    ) -> Result<Result<Tries<'_>, Full>, EngineError> {
        loop {
            // Not under the lock of the counts, because reading the time may have to record it first.
            let now = now()?;
            let mut counts = self.counts();
            let failures = counts.failures.count(now);
            let with_these = failures.saturating_add(codes);
            if with_these > most {
                counts.full_at = counts.full_at.max(now);
                return Ok(Err(Full { failures, now }));
            }
            if with_these.saturating_add(counts.under_way) <= most {
                counts.under_way += codes;
                return Ok(Ok(Tries { breaker: self, codes, now, most, wrong: codes }));
            }
            // Without a core, because the tries that must end may need it.
            drop(cores::wait(|| self.ended.wait(counts).unwrap_or_else(PoisonError::into_inner)));
        }
    }

    /// Whether no code was checked at some moment since then.
    pub(super) fn was_full_since(&self, since: u64) -> bool {
        self.counts().full_at >= since
    }

    /// The limit is another one from here on.
    pub(super) fn limited_to(&self, most: u32, now: u64) {
        self.counts().look(most, now);
    }

    /// Wrong tries within the last hour.
    pub(super) fn count(&self, now: u64) -> u32 {
        self.counts().failures.count(now)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries under way. All of them count as wrong until their outcome is known.
#[must_use = "tries that are dropped were wrong"]
pub(crate) struct Tries<'a> {
    breaker: &'a Breaker,
    codes: u32,
    now: u64,
    most: u32,
    wrong: u32,
}

impl Tries<'_> {
    /// When they began, Unix seconds. Their codes are checked at this time.
    pub(crate) fn begun_at(&self) -> u64 {
        self.now
    }

    /// Ends them: so many were wrong, or none if no code was checked.
    pub(crate) fn end(mut self, wrong: u32) {
        self.wrong = wrong;
    }
}

impl Drop for Tries<'_> {
    fn drop(&mut self) {
        let mut counts = self.breaker.counts();
        counts.under_way = counts.under_way.saturating_sub(self.codes);
        counts.failures.add(self.wrong, self.now);
        counts.look(self.most, self.now);
        drop(counts);
        self.breaker.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_call_that_waits_for_tries_under_way_holds_no_core_and_reads_the_time_again() {
        let (breaker, peer) = (Breaker::default(), u64::MAX - 1);
        let (clock, asked) = (AtomicU64::new(5), AtomicBool::new(false));
        let begin = || {
            breaker.begin(1, 1, || {
                asked.store(true, Ordering::SeqCst);
                Ok(clock.load(Ordering::SeqCst))
            })
        };
        let first = begin().expect("the clock is read").ok().expect("there is room");
        asked.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let begun = cores::work(peer, begin).expect("the clock is read");
                begun.ok().expect("there is room").begun_at()
            });
            while !asked.load(Ordering::SeqCst) || cores::taken_by(peer) > 0 {
                assert!(!second.is_finished(), "it did not wait");
                std::thread::yield_now();
            }
            clock.store(90, Ordering::SeqCst);
            first.end(0);
            assert_eq!(second.join().expect("it does not panic"), 90);
        });
    }
}
