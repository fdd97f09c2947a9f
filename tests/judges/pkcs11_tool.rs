//! OpenSC's `pkcs11-tool`: what it tests by itself, and what it lists.

use std::collections::BTreeMap;

use crate::boundary::{Boundary, Finished, SO_PIN, USER_PIN};
use crate::judged::{Pins, command, library, outcome, with_token};
use crate::list::{NOT_RUN, Way, compare, left_out};

/// The arguments; a thread of `--test-threads` that begins with `P1` waits until the library is initialised.
const RUNS: [&str; 16] = [
    "--show-info",
    "--list-slots",
    "--list-token-slots",
    "--list-mechanisms",
    "--list-interfaces",
    "--list-objects",
    "--list-objects --login",
    "--generate-random 64",
    "--test",
    "--test --login",
    "--test-ec --login --login-type so --session-rw --id 01 --label ec --key-type EC:secp256k1",
    "--test-hotplug",
    "--test-fork",
    "--test-threads IN -L",
    "--test-threads ILGISLT0 -L",
    "--test-threads P1INGISLT0 --test-threads P1ILGISLT0 --test-threads P1GISLT0 --test-threads P1SLT0 -L",
];

/// Runs all of them.
pub(crate) fn judge(test: &str, way: Way) {
    with_token(test, way, Pins { so: SO_PIN, user: USER_PIN }, |boundary| {
        let left_out = left_out("pkcs11-tool", way);
        let mut observed = BTreeMap::new();
        for arguments in RUNS {
            if left_out.contains(arguments) {
                observed.insert(arguments.to_owned(), NOT_RUN.to_owned());
                continue;
            }
            let finished = run(boundary, arguments);
            observed.insert(arguments.to_owned(), judged(arguments, &finished));
            for part in left_out_of(&finished.stdout) {
                observed.insert(format!("{arguments}: {part}"), "skipped".into());
            }
        }
        compare("pkcs11-tool", way, &observed);
    });
}

fn run(boundary: &Boundary, arguments: &str) -> Finished {
    let mut command = command(boundary, "pkcs11-tool");
    command.arg("--module").arg(library(boundary)).args(arguments.split(' '));
    if arguments.contains("--login") {
        command.env("PIN", USER_PIN).env("SO_PIN", SO_PIN).args([
            "--pin",
            "env:PIN",
            "--so-pin",
            "env:SO_PIN",
        ]);
    }
    Finished::of(&mut command)
}

fn judged(arguments: &str, finished: &Finished) -> String {
    let printed = finished.stdout.clone() + &finished.stderr;
    let threads: Vec<&str> =
        printed.lines().filter_map(|line| line.split_once(" state:-1, rv:")).map(|(_, rv)| rv).collect();
    let started = arguments.matches("--test-threads").count();
    if finished.status.success() && threads.len() != started {
        return format!("failed: {} threads ended of {started}", threads.len());
    }
    // OpenSC's tool exits with 0 whatever its threads were answered.
    match threads.iter().find(|rv| !["CKR_OK", "CKR_CRYPTOKI_ALREADY_INITIALIZED"].contains(rv)) {
        Some(rv) if finished.status.success() => format!("failed: a thread was answered {rv}"),
        // And when it does not like what it was told.
        None if finished.status.success() && printed.contains("ERR: ") => {
            format!("failed: {}", why(&printed))
        }
        _ => outcome(finished, |_| why(&printed)),
    }
}

fn why(printed: &str) -> String {
    let answer =
        printed.split_once("rv = ").and_then(|(_, rest)| rest.split_once(' ')).map(|(rv, _)| rv.to_owned());
    answer.unwrap_or_else(|| {
        printed
            .lines()
            .find(|line| line.starts_with("error: ") || line.starts_with("ERR: "))
            .unwrap_or("no reason")
            .to_owned()
    })
}

/// The parts of `--test` that found nothing to test.
fn left_out_of(printed: &str) -> Vec<String> {
    let ends = [": not implemented", " not supported", " -- non-RSA, skipping"];
    printed
        .lines()
        .filter_map(|line| ends.iter().find_map(|end| line.trim().strip_suffix(end)))
        .map(str::to_owned)
        .collect()
}
