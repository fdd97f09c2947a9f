//! Searches of a model to its last state. Each flaw of a model must be found, by the invariant that it breaks: then the invariant is not
//! empty.

use core::fmt::Debug;
use core::hash::Hash;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

/// A model of a protocol in which somebody could make a mistake.
pub(crate) trait Flawed:
    Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
    + Copy
    + Debug
    + Send
    + Sync
    + 'static
{
    /// The mistakes.
    type Flaw: Copy + Debug;

    /// What the log calls the model.
    const NAME: &'static str;

    /// The same protocol with this mistake.
    fn with(self, flaw: Self::Flaw) -> Self;
}

/// Searches all states of `protocol`, and says how many there were.
pub(crate) fn holds<P: Flawed>(protocol: P) {
    let start = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    report::<P>(&format!(
        "{protocol:?}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f32(),
    ));
    checker.assert_properties();
}

/// Searches `protocol` with `flaw` until it breaks `invariant`.
pub(crate) fn breaks<P: Flawed>(flaw: P::Flaw, invariant: &'static str, protocol: P) {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([invariant]));
    let checker = protocol.with(flaw).checker().finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(invariant).expect("the search finds how the flaw breaks the invariant");
    let actions = path.into_actions();
    report::<P>(&format!(
        "{flaw:?} breaks {invariant:?} in {} actions ({} states): {actions:?}",
        actions.len(),
        checker.unique_state_count(),
    ));
}

/// Past the capture of the test harness: the figures belong into the log of every run.
fn report<P: Flawed>(line: &str) {
    writeln!(std::io::stderr(), "{}: {line}", P::NAME).expect("standard error takes a line");
}

/// Tests that a search finds each flaw by the invariant that it breaks.
macro_rules! found {
    ($($test:ident: $flaw:ident breaks $invariant:ident in $protocol:ident;)*) => {
        $(#[test]
        fn $test() {
            crate::search::breaks(Flaw::$flaw, $invariant, $protocol);
        })*
    };
}

pub(crate) use found;
