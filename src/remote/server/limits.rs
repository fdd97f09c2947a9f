//! Limits: how many may be in a room, how many calls may be under way, how often the log is written.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A number of places.
#[derive(Clone)]
pub(super) struct Room(Arc<AtomicUsize>);

/// A place, given back on drop.
#[must_use]
pub(super) struct Place(Room);

impl Room {
    pub(super) fn new(places: usize) -> Room {
        Room(Arc::new(AtomicUsize::new(places)))
    }

    /// Takes a place, if one is free.
    pub(super) fn enter(&self) -> Option<Place> {
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

/// A number of turns, which are waited for.
pub(super) struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A turn, given back on drop.
#[must_use]
pub(super) struct Turn<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(turns: usize) -> Gate {
        Gate { free: Mutex::new(turns), freed: Condvar::new() }
    }

    /// Waits for a turn, as long as this.
    pub(super) fn enter(&self, patience: Duration) -> Option<Turn<'_>> {
        let mut free = self.free();
        if *free == 0 {
            let none = |free: &mut usize| *free == 0;
            let waited = self.freed.wait_timeout_while(free, patience, none);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free = free.checked_sub(1)?;
        Some(Turn(self))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.freed.notify_one();
    }
}

/// What strangers can cause is logged once a second at most, for each cause, with how often it was not.
#[derive(Default)]
pub(super) struct Rarely([Mutex<Last>; 4]);

/// What can fill a log.
#[derive(Clone, Copy)]
pub(super) enum Cause {
    PeerRefused,
    Full,
    Greeting,
    Frame,
}

#[derive(Default)]
struct Last {
    written: Option<Instant>,
    left_out: u64,
}

impl Rarely {
    /// Writes the line, unless another of its cause was written within a second.
    pub(super) fn warn(&self, cause: Cause, line: impl FnOnce() -> String) {
        let mut last = self.0[cause as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if last.written.is_some_and(|written| written.elapsed() < Duration::from_secs(1)) {
            last.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut last.left_out);
        last.written = Some(Instant::now());
        drop(last);
        match left_out {
            0 => tracing::warn!("{}", line()),
            more => tracing::warn!("{} (and {more} like it since the last such line)", line()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_its_places_and_no_more() {
        let room = Room::new(2);
        let (first, _second) = (room.enter().expect("free"), room.enter().expect("free"));
        assert!(room.enter().is_none());
        drop(first);
        assert!(room.enter().is_some());
    }

    #[test]
    fn a_turn_is_waited_for_and_not_without_end() {
        let gate = Gate::new(1);
        let turn = gate.enter(Duration::ZERO).expect("free");
        assert!(gate.enter(Duration::ZERO).is_none());
        assert!(gate.enter(Duration::from_millis(5)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter(Duration::from_secs(60)).is_some());
            drop(turn);
            assert!(waiting.join().expect("no panic"));
        });
        assert!(gate.enter(Duration::ZERO).is_some());
    }

    #[test]
    fn a_line_is_written_once_and_what_was_left_out_is_counted() {
        let rarely = Rarely::default();
        let mut written = 0;
        for _ in 0..5 {
            rarely.warn(Cause::Full, || {
                written += 1;
                String::new()
            });
        }
        let mut other = 0;
        rarely.warn(Cause::Frame, || {
            other += 1;
            String::new()
        });
        assert_eq!(
            (written, other, rarely.0[Cause::Full as usize].lock().expect("free").left_out),
            (1, 1, 4)
        );
    }
}
