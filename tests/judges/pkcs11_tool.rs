//! OpenSC's `pkcs11-tool`: its own tests, its listings, and a signature of a digest.

use std::collections::BTreeMap;

use crate::judged::{
    DIGEST_KEY, Pins, command, command_of_administrator, library, note_digest, note_typed, outcome,
    with_token,
};
use crate::list::{NOT_RUN, compare, left_out};
use harness::Way;
use harness::module::{Authenticator, Boundary, Finished, SO_PIN, USER_PIN};

/// The arguments. With `--test-threads`, a thread that begins with `P1` waits until the library is
/// initialised.
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
/// The tool asks for the PIN, and for the code as the "context specific PIN". `ID` stands for the key's id,
/// which differs in each run.
const SIGNS: &str = "--login --sign --mechanism ECDSA --id ID --input-file digest --output-file signature";
/// Verifies with the public key, by `C_Verify`.
const VERIFIES: &str = "--verify --mechanism ECDSA --id ID --input-file digest --signature-file signature";

/// Runs all of them.
pub(crate) fn judge(test: &str, way: Way) {
    with_token(test, way, Pins { so: SO_PIN, user: USER_PIN }, |boundary, alice| {
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
        let id = id_of_digest_key(boundary);
        note_digest(boundary);
        let signed = sign(boundary, &SIGNS.replace("ID", &id), alice);
        observed.insert(SIGNS.to_owned(), judged(SIGNS, &signed));
        let verified = run(boundary, &VERIFIES.replace("ID", &id));
        observed.insert(VERIFIES.to_owned(), judged(VERIFIES, &verified));
        compare("pkcs11-tool", way, &observed);
    });
}

fn id_of_digest_key(boundary: &Boundary) -> String {
    let listed = run(boundary, "--list-objects --type pubkey").expect_success().stdout;
    let of_key = listed
        .lines()
        .map(str::trim)
        .skip_while(|line| line.strip_prefix("label:").is_none_or(|label| label.trim() != DIGEST_KEY));
    let id =
        of_key.filter_map(|line| line.strip_prefix("ID:")).next().expect("the key is listed with its ID");
    id.trim().to_owned()
}

/// Runs on a terminal, because the tool asks for no PIN if its output is not one.
fn sign(boundary: &Boundary, arguments: &str, alice: &Authenticator) -> Finished {
    note_typed(boundary, &[USER_PIN, &alice.code()]);
    let mut command = command(boundary, "script");
    command
        .args(["--quiet", "--return", "--command"])
        .arg(format!("pkcs11-tool --module \"$MODULE\" {arguments} < typed"))
        .arg("/dev/null")
        .env("MODULE", library(boundary));
    Finished::of(&mut command)
}

fn run(boundary: &Boundary, arguments: &str) -> Finished {
    let is_administrator = arguments.contains("--login-type so");
    let command_of = if is_administrator { command_of_administrator } else { command };
    let mut command = command_of(boundary, "pkcs11-tool");
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
    // OpenSC's tool exits with 0 whatever the result of a verification, and whatever the answers to its
    // threads.
    if arguments == VERIFIES && finished.status.success() && !printed.contains("Signature is valid") {
        return "failed: the signature is not valid".into();
    }
    match threads.iter().find(|rv| !["CKR_OK", "CKR_CRYPTOKI_ALREADY_INITIALIZED"].contains(rv)) {
        Some(rv) if finished.status.success() => format!("failed: a thread was answered {rv}"),
        // It also exits with 0 when it rejects its arguments.
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
