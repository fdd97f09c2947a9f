//! The tests of the crate `cryptoki`, as published except for one line, which `tests/judges/install.sh`
//! changes.
//!
//! Each of them initialises a token, which ours allows once. So each runs by itself, over a store of its own.
//!
//! Through a boundary, an administrator initialises the token and sets its PINs before such a test, which
//! then runs as a backend: no door admits both the security officer and the user.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use cryptoki::error::RvError;

use crate::judged::{
    Pins, command, command_of_administrator, initialise, installed, library, outcome, serve,
};
use crate::list::{NOT_RUN, PASSED, compare, left_out};
use harness::Way;
use harness::module::{Boundary, Finished, in_boundary};

/// The PINs that the suite has hard-coded.
const PINS: Pins = Pins { so: "abcdef654321", user: "fedcba123456" };
/// Tests that log in only as the security officer, to set the PINs. Through a boundary they are
/// administrators.
const ADMINISTRATORS: [&str; 7] = [
    "basic::generate_random_test",
    "basic::get_info_test",
    "basic::get_slot_event",
    "basic::get_slot_info_test",
    "basic::get_token_info",
    "basic::is_fn_supported_test",
    "basic::wait_for_slot_event",
];

/// Runs all of its tests.
pub(crate) fn judge(test: &str, way: Way) {
    in_boundary(test, |boundary| {
        let left_out = left_out("cryptoki", way);
        let mut observed = BTreeMap::new();
        let executables = fs::read_to_string(installed("cryptoki.tests")).expect("it is UTF-8");
        for line in executables.lines() {
            let (name, executable) = line.split_once(' ').expect("a name and a path");
            for test in tests_of(boundary, Path::new(executable)) {
                let full = format!("{name}::{test}");
                if left_out.contains(&full) {
                    observed.insert(full, NOT_RUN.to_owned());
                    continue;
                }
                let fresh = boundary.duplicate("fresh");
                let served = serve(&fresh, way);
                let mut command = as_who(&fresh, way, Path::new(executable), &full);
                observed.insert(full, run(&fresh, &mut command, &test));
                drop(served);
                fs::remove_dir_all(fresh.folder()).expect("the folder is ours");
            }
        }
        compare("cryptoki", way, &observed);
    });
}

fn tests_of(boundary: &Boundary, executable: &Path) -> Vec<String> {
    let listed = Finished::of(command(boundary, executable).arg("--list")).expect_success();
    listed.stdout.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// A test of an executable, as a client of the door that it needs.
fn as_who(boundary: &Boundary, way: Way, executable: &Path, full: &str) -> Command {
    if way == Way::Direct || ADMINISTRATORS.contains(&full) {
        return command_of_administrator(boundary, executable);
    }
    initialise(boundary, PINS);
    let mut command = command(boundary, executable);
    command.env("PINS_ARE_SET", "1");
    command
}

fn run(boundary: &Boundary, command: &mut Command, test: &str) -> String {
    command
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env("TEST_PKCS11_MODULE", library(boundary));
    let finished = Finished::of(command);
    let outcome = outcome(&finished, |finished| why(&(finished.stderr.clone() + &finished.stdout)));
    // The test returned early, which counts as a pass.
    if outcome == PASSED && finished.stdout.contains("SKIP: ") { "skipped".into() } else { outcome }
}

/// The call at which a test failed, and its answer, from an error's message or its `Debug` output.
fn why(printed: &str) -> String {
    let printed_error = || {
        let (_, rest) = printed.split_once("Function::")?;
        let (function, rest) = rest.split_once(": PKCS11 error: ")?;
        Some(format!("C_{function} answered {}", name_of(rest)?))
    };
    let debugged = || {
        let (_, rest) = printed.split_once("Pkcs11(")?;
        let (rv, function) = rest.split_once(')')?.0.split_once(", ")?;
        // Not from the source of an assertion, which contains it, too.
        (!rv.contains("::")).then(|| format!("C_{function} answered {rv}"))
    };
    printed_error().or_else(debugged).unwrap_or_else(|| "an assertion".into())
}

/// The name of the answer whose description `printed` begins with.
fn name_of(printed: &str) -> Option<String> {
    let known = (0..0x300).filter_map(|rv| match cryptoki::error::Rv::from(rv) {
        cryptoki::error::Rv::Error(error) => Some(error),
        cryptoki::error::Rv::Ok => None,
    });
    known
        .filter(|error| printed.starts_with(&error.to_string()))
        .map(|error: RvError| format!("{error:?}"))
        .next()
}
