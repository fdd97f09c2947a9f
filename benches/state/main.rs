//! The cost of the state: the gate's own computing, the commits that concurrent callers share, a million
//! users.
//!
//! `chrt -r 1 cargo bench --bench state` prints tables of ratios, each taken in one run. Quote the ratios,
//! not the microseconds. `chrt -r 1` keeps the machine's other work out of the figures. `-- gate`, `--
//! commits` and `-- scale` print one table only.

mod commits;
mod gate;
mod latency;
#[path = "../measure/mod.rs"]
mod measure;
mod scale;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|argument| argument == name);
    if is_asked("gate") {
        gate::print();
    }
    if is_asked("commits") {
        commits::print();
    }
    if is_asked("scale") {
        scale::print();
    }
}

/// The mean of the middle half of some figures. Outliers come from the machine.
fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (skip, take) = (figures.len() / 4, (figures.len() / 2).max(1));
    let middle: Vec<f64> = figures.into_iter().skip(skip).take(take).collect();
    middle.iter().sum::<f64>() / middle.len() as f64
}
