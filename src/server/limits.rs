//! Limits on places, and on lines of the log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign::ration::{Lines, Ration};

/// A number of places.
#[derive(Clone)]
pub(crate) struct Places(Arc<AtomicUsize>);

/// A place. Dropping returns it.
#[must_use]
pub(crate) struct Place(Places);

impl Places {
    pub(crate) fn new(places: usize) -> Places {
        Places(Arc::new(AtomicUsize::new(places)))
    }

    /// Takes a place, if one is free.
    pub(crate) fn enter(&self) -> Option<Place> {
        let less = |free: usize| free.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lines that strangers can cause: at most one a second for each cause. Each line counts those that were left out before it.
pub(crate) struct Rarely([Mutex<Lines>; 5]);

/// The lines of one cause.
const LINES: Ration = Ration { max: 1, every: Duration::from_secs(1) };

/// The cause of such a line.
#[derive(Clone, Copy)]
pub(crate) enum Cause {
    PeerRefused,
    Full,
    Greeting,
    Frame,
    /// A connection ended. That is no fault, and is logged as information.
    Ended,
}

impl Rarely {
    /// Nothing was left out yet.
    pub(crate) fn new() -> Rarely {
        Rarely(std::array::from_fn(|_| Mutex::new(Lines::whole(LINES, Instant::now()))))
    }

    /// Writes the line, unless another of its cause was written within a second.
    pub(crate) fn warn(&self, cause: Cause, line: impl FnOnce() -> String) {
        match self.due(cause, Instant::now()) {
            None => {}
            Some(0) => tracing::warn!("{}", line()),
            Some(more) => tracing::warn!("{} (left out {more} such lines before this one)", line()),
        }
    }

    /// The same, as information.
    pub(crate) fn info(&self, cause: Cause, line: impl FnOnce() -> String) {
        match self.due(cause, Instant::now()) {
            None => {}
            Some(0) => tracing::info!("{}", line()),
            Some(more) => tracing::info!("{} (left out {more} such lines before this one)", line()),
        }
    }

    /// Whether a line is due now, and how many were left out before it.
    fn due(&self, cause: Cause, now: Instant) -> Option<u64> {
        self.0[cause as usize].lock().unwrap_or_else(PoisonError::into_inner).due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_its_places_and_no_more() {
        let room = Places::new(2);
        let (first, _second) = (room.enter().expect("free"), room.enter().expect("free"));
        assert!(room.enter().is_none());
        drop(first);
        assert!(room.enter().is_some());
    }

    #[test]
    fn a_line_is_written_once_a_second_and_what_was_left_out_is_counted() {
        let (rarely, now) = (Rarely::new(), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        assert_eq!(rarely.due(Cause::Full, now), Some(0));
        for milliseconds in [0, 1, 500, 999] {
            assert_eq!(rarely.due(Cause::Full, after(milliseconds)), None);
        }
        assert_eq!(rarely.due(Cause::Frame, after(1)), Some(0), "another cause");
        assert_eq!(rarely.due(Cause::Full, after(1000)), Some(4));
        assert_eq!(rarely.due(Cause::Full, after(1500)), None);
        assert_eq!(rarely.due(Cause::Full, after(9000)), Some(1));
    }
}
