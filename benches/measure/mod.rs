//! Measures sides in turn, and their ratios pair by pair.
//!
//! A machine is slower in one second than in the next. So the sides of a comparison take turns, and each
//! round gives a ratio of its own. The result is the median of these ratios, together with their first and
//! third quartiles.

#![allow(dead_code, reason = "each bench takes what it needs")]

use core::fmt;
use std::hint::black_box;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this process spends on `work`, in nanoseconds. Waiting and other processes do not count.
pub(crate) fn cpu<T>(work: impl FnOnce() -> T) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    let result = black_box(work());
    let taken = now() - start;
    drop(result);
    taken
}

/// Time that passes during `work`, in nanoseconds, for work that mostly waits.
pub(crate) fn wall<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = black_box(work());
    let taken = start.elapsed().as_nanos() as f64;
    drop(result);
    taken
}

/// One side of a comparison: does its work once, and returns what it cost.
pub(crate) type Side<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// The cost of each side in each of `rounds` rounds. A tenth as many, at least one, go before as warm-up.
pub(crate) fn in_turn(rounds: usize, mut sides: Vec<Side<'_>>) -> Vec<Vec<f64>> {
    let mut taken = vec![Vec::with_capacity(rounds); sides.len()];
    let warm_up = (rounds / 10).max(1);
    for round in 0..rounds + warm_up {
        for (side, taken) in sides.iter_mut().zip(&mut taken) {
            let figure = side();
            if round >= warm_up {
                taken.push(figure);
            }
        }
    }
    taken
}

/// The ratio of one side to another.
pub(crate) struct Ratio {
    pub(crate) median: f64,
    quarter: f64,
    three_quarters: f64,
}

impl Ratio {
    /// The ratios of `side` to `base`, round by round.
    pub(crate) fn of(side: &[f64], base: &[f64]) -> Ratio {
        let ratios = sorted(side.iter().zip(base).map(|(side, base)| side / base));
        let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
        Ratio { median: at(2), quarter: at(1), three_quarters: at(3) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { median, quarter, three_quarters } = self;
        f.pad(&format!("{median:.3} ({quarter:.3} to {three_quarters:.3})"))
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    sorted(figures.iter().copied())[figures.len() / 2]
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}
