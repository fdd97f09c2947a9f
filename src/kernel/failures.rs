//! The wrong tries of all users together, which the breaker counts.
//!
//! A user's own budget stops an attacker who guesses at one user. This stops one who tries a code at each of
//! a million users. The count needs no record: the audit chain has every wrong code, and opening the store
//! counts them again.

use std::collections::VecDeque;

use super::audit::Event;

/// Seconds for which a try counts.
pub const PERIOD: u64 = 3_600;
const MINUTE: u64 = 60;

/// The wrong tries of the last hour, by the minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    minutes: VecDeque<(u64, u32)>,
}

/// Too many tries were wrong: no code is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Failures {
    /// Tries that count at `now`. A try counts for an hour, and at most a minute longer.
    pub fn count(&self, now: u64) -> u32 {
        self.minutes
            .iter()
            .filter(|(minute, _)| is_recent(*minute, now))
            .fold(0, |sum: u32, (_, tries)| sum.saturating_add(*tries))
    }

    /// Charges `tries`, if at most `most` count afterwards.
    pub fn charge(&mut self, tries: u32, most: u32, now: u64) -> Result<(), Stopped> {
        if self.count(now).saturating_add(tries) > most {
            return Err(Stopped);
        }
        self.add(tries, now);
        Ok(())
    }

    /// Takes back tries that were right or were not charged after all, the latest ones first.
    pub fn take_back(&mut self, tries: u32) {
        let mut left = tries;
        for (_, counted) in self.minutes.iter_mut().rev() {
            let taken = left.min(*counted);
            *counted -= taken;
            left -= taken;
        }
        self.minutes.retain(|(_, counted)| *counted > 0);
    }

    /// Counts an event of the chain again.
    pub fn replay(&mut self, time: u64, event: &Event) {
        let change = event.failures();
        let tries = u32::try_from(change.unsigned_abs()).unwrap_or(u32::MAX);
        if change < 0 { self.take_back(tries) } else { self.add(tries, time) }
    }

    /// Counts `tries` without a limit.
    pub fn add(&mut self, tries: u32, now: u64) {
        self.minutes.retain(|(minute, _)| is_recent(*minute, now));
        if tries == 0 {
            return;
        }
        match self.minutes.back_mut() {
            Some((minute, counted)) if *minute == now / MINUTE => *counted = counted.saturating_add(tries),
            _ => self.minutes.push_back((now / MINUTE, tries)),
        }
    }
}

/// Whether any second of this minute is within the period before `now`, or later.
fn is_recent(minute: u64, now: u64) -> bool {
    minute.saturating_add(1).saturating_mul(MINUTE).saturating_add(PERIOD) > now
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1_800_000_000;

    #[test]
    fn otp_guess_the_breaker_stops_at_the_number_that_was_set_and_goes_on_after_an_hour() {
        let mut failures = Failures::default();
        assert_eq!(failures.charge(1, 3, START), Ok(()));
        assert_eq!(failures.charge(1, 3, START + 1_000), Ok(()));
        assert_eq!(failures.charge(2, 3, START + 1_000), Err(Stopped), "both or none");
        assert_eq!(failures.charge(1, 3, START + 1_000), Ok(()));
        assert_eq!(failures.charge(1, 3, START + PERIOD - 1), Err(Stopped));
        assert_eq!(failures.charge(1, 3, START + PERIOD + MINUTE), Ok(()));
    }

    #[test]
    fn a_right_code_takes_back_its_own_try_alone() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            failures.charge(1, 9, START).expect("below");
        }
        failures.charge(1, 9, START + 70).expect("below");
        failures.take_back(2);
        assert_eq!(failures.count(START + 70), 4);
        failures.take_back(9);
        assert_eq!(failures.count(START + 70), 0, "never below none");
    }

    #[test]
    fn the_chain_gives_the_same_count() {
        let (mut failures, mut replayed) = (Failures::default(), Failures::default());
        let charged = |codes| Event::Charged { users: vec![], codes, transaction: None };
        for (at, codes, right) in [(0, 1, false), (30, 2, true), (400, 1, false), (4_000, 1, true)] {
            failures.charge(codes, 99, START + at).expect("below");
            replayed.replay(START + at, &charged(codes));
            if right {
                failures.take_back(codes);
                let users = vec!["a".to_owned(); codes as usize];
                let accepted = Event::Repeated { users, transaction: Default::default() };
                replayed.replay(START + at, &accepted);
            }
            assert_eq!(failures, replayed);
        }
        assert_eq!(failures.count(START + 4_000), 1);
    }

    proptest! {
        #[test]
        fn no_hour_has_more_tries_than_were_set(
            steps in prop::collection::vec((0_u64..900, 1_u32..4), 1..80), most in 1_u32..20
        ) {
            let (mut failures, mut now, mut taken) = (Failures::default(), START, Vec::new());
            for (wait, tries) in steps {
                now += wait;
                if failures.charge(tries, most, now).is_ok() {
                    taken.push((now, tries));
                }
                let recent: u32 = taken.iter().filter(|(at, _)| at + PERIOD > now).map(|(_, tries)| tries).sum();
                prop_assert!(recent <= most);
                prop_assert!(failures.minutes.len() <= 62);
            }
        }
    }
}
