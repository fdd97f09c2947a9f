//! Stores of earlier releases go on working: each opens, signs, and keeps its history under today's module.
//!
//! `tests/stores/VERSION/` has such a store, written by that release itself (`tests/stores/make.sh`):
//! SoftHSM2's token folder, the store, the configuration without its paths, and the secrets of the users and
//! the backend. It is a test's store: its PINs and secrets protect nothing.
//!
//! A kept store knows nothing about the machine that reads it. It is opened under a clock that goes on an
//! hour after the store was written.

mod kept;
mod story;

use std::env;
use std::path::PathBuf;

use harness::module::cli::Cli;
use harness::module::{Boundary, in_boundary, now, root, this_test};
use kept::MADE_AT;
use serde_json::Value;
use story::Shift;

/// Where to keep the store that the test makes, if at all.
const KEEP: &str = "COUNTERSIGN_KEEP_STORE";
/// Seconds after which it is read, because after a restoration no code is accepted for a while.
const LATER: u64 = 3_600;

#[test]
fn a_store_of_release_0_1_goes_on_working() {
    goes_on_working(this_test!(), "0.1");
}

/// The test that keeps a store for later releases makes one that this release reads.
#[test]
fn a_store_that_is_kept_for_later_goes_on_working() {
    in_boundary(this_test!(), |boundary| {
        if story::played(boundary) {
            return;
        }
        let keep = env::var_os(KEEP).map(PathBuf::from);
        // A store to be kept is written at a time before that of any machine that reads it.
        let time = if keep.is_some() { MADE_AT } else { now() };
        let shift = Shift::to(time);
        let exported = story::make(boundary, shift);
        if let Some(keep) = keep {
            kept::keep(boundary, &keep);
        }
        let later = Shift::to(time + LATER);
        // The machine was not booted, and knows that no hour has passed.
        later.command(boundary, &["clock", "set"]);
        reads(boundary, later, &exported);
    });
}

fn goes_on_working(test: &str, version: &str) {
    in_boundary(test, |boundary| {
        if story::played(boundary) {
            return;
        }
        kept::take_in(boundary, &root().join("tests/stores").join(version));
        let exported = story::lines(&boundary.noted("audit.jsonl"));
        reads(boundary, Shift::to(MADE_AT + LATER), &exported);
    });
}

/// Goes on with an older store, and compares its history with the lines that were exported when it was made.
fn reads(boundary: &Boundary, later: Shift, exported: &[Value]) {
    later.run(boundary, "go on");
    later.run(boundary, "go on again");
    let cli = Cli(boundary);
    let audit = cli.does(&["audit", "verify"])["audit"].clone();
    assert_eq!(audit["holds"], true);
    assert_eq!(audit["anchored"], audit["newest"]["sequence"], "{audit}");
    assert_eq!(audit["restored"].as_array().map(Vec::len), Some(1), "{audit}");
    let all = story::export(boundary);
    assert!(all.len() > exported.len(), "what was done since is in it");
    for (before, after) in exported.iter().zip(&all) {
        // A later release may add fields to a link, and change nothing else.
        for (field, told) in before.as_object().expect("a line is an object") {
            assert_eq!(&after[field], told, "{field} of link {}", before["sequence"]);
        }
    }
}
