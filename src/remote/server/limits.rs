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
    turns: Mutex<Turns>,
    freed: Condvar,
}

struct Turns {
    free: usize,
    /// As many wait: where none does, nobody is woken.
    waiting: usize,
}

/// A turn, given back on drop.
#[must_use]
pub(super) struct Turn<'a>(&'a Gate);

impl Gate {
    pub(super) fn new(turns: usize) -> Gate {
        Gate { turns: Mutex::new(Turns { free: turns, waiting: 0 }), freed: Condvar::new() }
    }

    /// Waits for a turn, as long as this.
    pub(super) fn enter(&self, patience: Duration) -> Option<Turn<'_>> {
        let mut turns = self.turns();
        if turns.free == 0 {
            turns.waiting += 1;
            let none = |turns: &mut Turns| turns.free == 0;
            let waited = self.freed.wait_timeout_while(turns, patience, none);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
            turns.waiting -= 1;
        }
        turns.free = turns.free.checked_sub(1)?;
        Some(Turn(self))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns();
        turns.free += 1;
        if turns.waiting > 0 {
            self.0.freed.notify_one();
        }
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
        match self.due(cause, Instant::now()) {
            None => {}
            Some(0) => tracing::warn!("{}", line()),
            Some(more) => tracing::warn!("{} (and {more} like it since the last such line)", line()),
        }
    }

    /// Whether a line is due now, and how many were left out since the last one.
    fn due(&self, cause: Cause, now: Instant) -> Option<u64> {
        let mut last = self.0[cause as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if last.written.is_some_and(|written| now < written + Duration::from_secs(1)) {
            last.left_out += 1;
            return None;
        }
        last.written = Some(now);
        Some(std::mem::take(&mut last.left_out))
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
            let (told, tells) = std::sync::mpsc::channel();
            scope.spawn({
                let gate = &gate;
                move || told.send(gate.enter(Duration::from_secs(3_600)).is_some()).expect("it is heard")
            });
            while gate.turns.lock().expect("no panic").waiting == 0 {
                std::thread::yield_now();
            }
            drop(turn);
            // Woken, and not after the hour that it would wait for.
            assert_eq!(tells.recv_timeout(Duration::from_secs(60)), Ok(true));
        });
        assert!(gate.enter(Duration::ZERO).is_some());
    }

    #[test]
    fn a_line_is_written_once_a_second_and_what_was_left_out_is_counted() {
        let (rarely, now) = (Rarely::default(), Instant::now());
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
