//! Rations: how often something may happen that costs its cause nothing. A stock allows a burst, and refills as time passes.

use std::time::{Duration, Instant};

/// How much there may be of something: `max` at once, and one more after each `every`.
#[derive(Clone, Copy)]
pub struct Ration {
    /// The whole stock.
    pub max: u32,
    /// The time in which one more comes.
    pub every: Duration,
}

/// The stock of a ration, which somebody uses up.
pub struct Stock {
    ration: Ration,
    left: u32,
    /// When it was last refilled.
    since: Instant,
}

impl Stock {
    /// The whole ration.
    pub fn whole(ration: Ration, now: Instant) -> Stock {
        Stock { ration, left: ration.max, since: now }
    }

    /// Whether anything is left.
    pub fn has_any(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left > 0
    }

    /// Takes one, if any is left.
    pub fn take(&mut self, now: Instant) -> bool {
        let has = self.has_any(now);
        self.spend();
        has
    }

    /// Takes one that was looked for before. If another took it meanwhile, nothing is left.
    pub fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Puts one back.
    pub fn put_back(&mut self) {
        self.left = (self.left + 1).min(self.ration.max);
    }

    /// Refills it by what is due.
    fn refill(&mut self, now: Instant) {
        let Ration { max, every } = self.ration;
        let passed = now.saturating_duration_since(self.since).as_nanos() / every.as_nanos();
        let come = u32::try_from(passed).unwrap_or(u32::MAX);
        if come >= max - self.left {
            *self = Stock::whole(self.ration, now);
        } else {
            self.left += come;
            self.since += every * come;
        }
    }
}

/// Rationed lines of the log. Each counts the lines that were left out before it.
pub struct Lines {
    stock: Stock,
    left_out: u64,
}

impl Lines {
    /// The whole ration, with nothing left out.
    pub fn whole(ration: Ration, now: Instant) -> Lines {
        Lines { stock: Stock::whole(ration, now), left_out: 0 }
    }

    /// Whether a line may be written now, and how many were left out since the last one.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.stock.take(now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }

    /// Brings the whole ration, as time would. What was left out stays counted.
    #[cfg(test)]
    pub(crate) fn refill(&mut self, now: Instant) {
        self.stock = Stock::whole(self.stock.ration, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ration_comes_again_as_time_passes_and_never_more_than_the_whole() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut stock = Stock::whole(Ration { max: 3, every: Duration::from_secs(10) }, now);
        let mut taken = |seconds| (0..9).take_while(|_| stock.take(after(seconds))).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(9), 0);
        assert_eq!(taken(10), 1);
        assert_eq!(taken(39), 2);
        assert_eq!(taken(40), 1);
        assert_eq!(taken(100_000), 3);
    }

    #[test]
    fn what_is_put_back_never_makes_more_than_the_whole() {
        let now = Instant::now();
        let mut stock = Stock::whole(Ration { max: 2, every: Duration::from_secs(10) }, now);
        stock.put_back();
        let taken = |stock: &mut Stock| (0..9).take_while(|_| stock.take(now)).count();
        assert_eq!(taken(&mut stock), 2);
        stock.spend();
        stock.put_back();
        assert_eq!(taken(&mut stock), 1);
    }

    #[test]
    fn lines_are_written_within_the_ration_and_the_next_one_counts_the_others() {
        let (every, now) = (Duration::from_secs(1), Instant::now());
        let mut lines = Lines::whole(Ration { max: 60, every }, now);
        let written = (0..22_000).filter(|_| lines.due(now).is_some()).count();
        assert_eq!(written, 60);
        assert_eq!(lines.due(now + every), Some(22_000 - 60));
        assert_eq!(lines.due(now + 2 * every), Some(0));
    }
}
