//! Places that several sharers use. A sharer without a place gets one at once, and no sharer has more than
//! its share while another waits.
//!
//! A sharer may have every place that nobody else waits for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Places, and who has them.
pub struct Fair<K> {
    places: usize,
    sharers: Mutex<Sharers<K>>,
}

struct Sharers<K> {
    taken: usize,
    /// The sharers that have a place or wait for one.
    by_key: HashMap<K, Sharer>,
}

#[derive(Default)]
struct Sharer {
    has: usize,
    waiting: usize,
    freed: Arc<Condvar>,
}

/// A place, returned when dropped.
#[must_use]
pub struct Place<'a, K: Eq + Hash + Clone> {
    fair: &'a Fair<K>,
    who: K,
}

impl<K: Eq + Hash + Clone> Fair<K> {
    /// With so many places. It gives out more than that if a sharer has none.
    pub fn new(places: usize) -> Fair<K> {
        Fair { places, sharers: Mutex::new(Sharers { taken: 0, by_key: HashMap::new() }) }
    }

    /// Waits for a place, until `until` at the latest.
    pub fn enter(&self, who: &K, until: Option<Instant>) -> Option<Place<'_, K>> {
        let mut sharers = self.sharers();
        let sharer = sharers.by_key.entry(who.clone()).or_default();
        sharer.waiting += 1;
        let freed = Arc::clone(&sharer.freed);
        let entered = loop {
            if sharers.may_enter(who, self.places) {
                break true;
            }
            let Some(until) = until else {
                sharers = freed.wait(sharers).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            sharers = freed.wait_timeout(sharers, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        sharers.change(who, |sharer| {
            sharer.waiting -= 1;
            sharer.has += usize::from(entered);
        });
        sharers.taken += usize::from(entered);
        // There may be more places now, or one waiting sharer less.
        sharers.wake_next(self.places);
        entered.then(|| Place { fair: self, who: who.clone() })
    }

    /// Lends a place of `who` to the others, until it is taken back.
    pub fn lend(&self, who: &K) {
        let mut sharers = self.sharers();
        sharers.taken -= 1;
        sharers.change(who, |sharer| sharer.has -= 1);
        sharers.wake_next(self.places);
    }

    /// Takes back a lent place, without waiting and whatever the sharer's share is.
    pub fn take_back(&self, who: &K) {
        let mut sharers = self.sharers();
        sharers.by_key.entry(who.clone()).or_default().has += 1;
        sharers.taken += 1;
    }

    /// How many places `who` has.
    pub fn taken_by(&self, who: &K) -> usize {
        self.sharers().by_key.get(who).map_or(0, |sharer| sharer.has)
    }

    fn sharers(&self) -> MutexGuard<'_, Sharers<K>> {
        self.sharers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn counts(&self, who: &K) -> (usize, usize) {
        self.sharers().by_key.get(who).map_or((0, 0), |sharer| (sharer.has, sharer.waiting))
    }
}

impl<K: Eq + Hash + Clone> Sharers<K> {
    fn may_enter(&self, who: &K, places: usize) -> bool {
        let Some(sharer) = self.by_key.get(who) else { return false };
        if sharer.has == 0 {
            return true;
        }
        let share = (places / self.by_key.len()).max(1);
        let another_waits = || self.by_key.iter().any(|(key, other)| key != who && other.waiting > 0);
        self.taken < places && (sharer.has < share || !another_waits())
    }

    /// Wakes one waiter of the sharer with the fewest places that may enter.
    fn wake_next(&self, places: usize) {
        let waiting = self.by_key.iter().filter(|(_, sharer)| sharer.waiting > 0);
        let next =
            waiting.filter(|(who, _)| self.may_enter(who, places)).min_by_key(|(_, sharer)| sharer.has);
        if let Some((_, sharer)) = next {
            sharer.freed.notify_one();
        }
    }

    fn change(&mut self, who: &K, change: impl FnOnce(&mut Sharer)) {
        let Some(sharer) = self.by_key.get_mut(who) else { return };
        change(sharer);
        if sharer.has == 0 && sharer.waiting == 0 {
            self.by_key.remove(who);
        }
    }
}

impl<K: Eq + Hash + Clone> Drop for Place<'_, K> {
    fn drop(&mut self) {
        self.fair.lend(&self.who);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::{self, Scope};
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Lets a thread wait for a place, and hold it until the test releases it.
    fn waits<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        fair: &'env Fair<&'static str>,
        who: &'static str,
    ) -> (Receiver<()>, Sender<()>) {
        let (entered, has_entered) = channel();
        let (let_go, lets_go) = channel();
        let before = fair.counts(&who);
        scope.spawn(move || {
            let _place = fair.enter(&who, Some(Instant::now() + LONG)).expect("it comes");
            entered.send(()).expect("it is heard");
            let _ = lets_go.recv_timeout(LONG);
        });
        while fair.counts(&who) == before {
            thread::yield_now();
        }
        (has_entered, let_go)
    }

    fn at_once<'a>(fair: &'a Fair<&'static str>, who: &'static str) -> Option<Place<'a, &'static str>> {
        fair.enter(&who, Some(Instant::now()))
    }

    #[test]
    fn a_single_peer_has_every_place_and_no_more() {
        let fair = Fair::new(3);
        let held: Vec<_> = (0..3).map(|_| at_once(&fair, "a").expect("free")).collect();
        assert!(at_once(&fair, "a").is_none());
        drop(held);
        assert_eq!(fair.counts(&"a"), (0, 0), "nobody is remembered who is not there");
        assert!(at_once(&fair, "a").is_some());
    }

    #[test]
    fn the_first_place_of_a_peer_never_waits() {
        let fair = Fair::new(2);
        let _held: Vec<_> = (0..2).map(|_| at_once(&fair, "a").expect("free")).collect();
        let _first = at_once(&fair, "b").expect("all are taken, and it is the first of its own");
        assert!(at_once(&fair, "b").is_none(), "the second waits");
        assert!(at_once(&fair, "c").is_some());
    }

    #[test]
    fn nobody_has_more_than_its_share_while_another_waits() {
        let fair = Fair::new(4);
        thread::scope(|scope| {
            let mut held: Vec<_> = (0..4).map(|_| at_once(&fair, "greedy").expect("free")).collect();
            let first = waits(scope, &fair, "other");
            first.0.recv_timeout(LONG).expect("at once");
            let second = waits(scope, &fair, "other");
            let more = waits(scope, &fair, "greedy");
            assert!(second.0.try_recv().is_err() && more.0.try_recv().is_err(), "all are taken");
            // Five of four places are taken, so the next one that is returned cannot be given out.
            drop(held.pop());
            assert_eq!(fair.counts(&"other"), (1, 1));
            drop(held.pop());
            second.0.recv_timeout(LONG).expect("who has less comes first");
            assert_eq!(fair.counts(&"greedy"), (2, 1), "its share, and it waits for more");
            drop(held.pop());
            // Nobody else waits now, and it has less than its share.
            more.0.recv_timeout(LONG).expect("it comes");
            drop((first, second, more, held));
        });
        assert_eq!((fair.counts(&"greedy"), fair.counts(&"other")), ((0, 0), (0, 0)));
    }

    #[test]
    fn places_that_nobody_else_waits_for_are_free_to_all() {
        let fair = Fair::new(4);
        let _other = at_once(&fair, "other").expect("free");
        let held: Vec<_> = (0..3).map(|_| at_once(&fair, "a").expect("more than half")).collect();
        assert!(at_once(&fair, "a").is_none());
        drop(held);
    }

    #[test]
    fn a_place_is_lent_to_whoever_waits_and_taken_back_at_once() {
        let fair = Fair::new(1);
        let held = at_once(&fair, "a").expect("free");
        fair.lend(&"a");
        let other = at_once(&fair, "b").expect("it is lent");
        fair.take_back(&"a");
        assert_eq!((fair.taken_by(&"a"), fair.taken_by(&"b")), (1, 1));
        assert!(at_once(&fair, "a").is_none());
        drop((held, other));
        assert_eq!((fair.taken_by(&"a"), fair.taken_by(&"b")), (0, 0));
    }
}
