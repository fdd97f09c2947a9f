//! A boundary for the judges, and a judge's processes.

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::list::{CRASHED, HUNG, PASSED};
use harness::Way;
use harness::module::cli::Cli;
use harness::module::doors::BACKENDS;
use harness::module::{Authenticator, Boundary, Finished, PERIOD, in_boundary, module, root};
use harness::served::Served;

/// The label of the token.
pub(crate) const TOKEN: &str = "judges";
/// The label of its wallet.
pub(crate) const WALLET: &str = "treasury";
/// The label of its key that signs digests: by `CKM_ECDSA`, for a code in a context-specific login.
pub(crate) const DIGEST_KEY: &str = "sidechain";
/// Seconds after which a judge's process counts as hung: a watchdog, several times what any of them needs.
const PATIENCE: &str = "400";

/// The PINs of a token.
#[derive(Clone, Copy)]
pub(crate) struct Pins {
    pub(crate) so: &'static str,
    pub(crate) user: &'static str,
}

/// Runs `body` over a boundary of its own. Its token has these PINs, one user with a code left for one
/// signature, one wallet and one key that signs digests.
pub(crate) fn with_token(test: &str, way: Way, pins: Pins, body: impl FnOnce(&Boundary, &Authenticator)) {
    in_boundary(test, |boundary| {
        let _served = serve(boundary, way);
        let alice = fill(boundary, pins);
        body(boundary, &alice);
    });
}

/// Serves the boundary, if that is the way.
pub(crate) fn serve(boundary: &Boundary, way: Way) -> Option<Served> {
    (way == Way::Served).then(|| Served::start(boundary))
}

/// Initialises the token, enrols a user, and creates a wallet and a key that signs digests, so that judges
/// find objects of every kind.
fn fill(boundary: &Boundary, pins: Pins) -> Authenticator {
    initialise(boundary, pins);
    let does = |arguments: &[&str]| administer(boundary, pins, arguments);
    let json = does(&["user", "add", "alice", "--period", &PERIOD.to_string()]);
    let alice = Authenticator::scan("alice", json["user"]["otpauth_uri"].as_str().expect("a URI"));
    boundary.note("code", &alice.code());
    does(&["user", "confirm", "alice"]);
    let limits = ["--max-transaction-sat", "100000", "--max-fee-sat", "5000"];
    does(&[&["wallet", "create", WALLET, "--network", "regtest", "--user", "alice"], &limits[..]].concat());
    let counted = ["--mechanism", "ecdsa", "--max-period-transactions", "10"];
    does(&[&["key", "create", DIGEST_KEY, "--user", "alice"], &counted[..]].concat());
    alice
}

/// Initialises the token, and sets its PINs.
pub(crate) fn initialise(boundary: &Boundary, pins: Pins) {
    administer(boundary, pins, &["init", "--label", TOKEN]);
}

/// Runs a command line of an administrator.
fn administer(boundary: &Boundary, pins: Pins, arguments: &[&str]) -> Value {
    let mut command = Cli(boundary).command(&[], arguments);
    command.env("COUNTERSIGN_SO_PIN", pins.so).env("COUNTERSIGN_USER_PIN", pins.user);
    let answer = Cli::answer(&mut command, "");
    assert!(answer.success, "{arguments:?}: {}\n{}", answer.json, answer.stderr);
    answer.json
}

/// Leaves the file `digest` for a judge to sign.
pub(crate) fn note_digest(boundary: &Boundary) {
    boundary.note("digest", "32 bytes that a judge has signed");
}

/// Leaves the file `typed`: the lines that a judge reads when it asks a person.
pub(crate) fn note_typed(boundary: &Boundary, lines: &[&str]) {
    boundary.note("typed", &(lines.join("\n") + "\n"));
}

/// A file that `tests/judges/install.sh` installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    let path = root().join("target/judges").join(name);
    assert!(path.exists(), "{} is not there; tests/judges/install.sh installs it", path.display());
    path
}

/// A command on a boundary, which is ended if it hangs. If the boundary is served, judges are backends: they
/// are to use the objects, and no door admits both roles.
pub(crate) fn command(boundary: &Boundary, program: impl AsRef<Path>) -> Command {
    let backend = boundary.folder().join(BACKENDS);
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", PATIENCE])
        .arg(program.as_ref())
        .current_dir(boundary.folder())
        .env("COUNTERSIGN_CONF", if backend.exists() { backend } else { boundary.conf() })
        .env("SOFTHSM2_CONF", boundary.folder().join("softhsm2.conf"))
        .env("HOME", boundary.folder())
        .env("LC_ALL", "C.UTF-8")
        .env("RUST_BACKTRACE", "0")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null());
    command
}

/// The same for a judge that is an administrator: it logs in as the security officer, or initialises the
/// token.
pub(crate) fn command_of_administrator(boundary: &Boundary, program: impl AsRef<Path>) -> Command {
    let mut command = command(boundary, program);
    command.env("COUNTERSIGN_CONF", boundary.conf());
    command
}

/// The outcome of a process: a crash or hang by the way it ended. `failure` explains any other failure.
pub(crate) fn outcome(finished: &Finished, failure: impl FnOnce(&Finished) -> String) -> String {
    /// The exit statuses of `timeout` for a command that it ended, by SIGTERM and by SIGKILL.
    const ENDED: [i32; 2] = [124, 137];
    match finished.status.code() {
        Some(0) => PASSED.into(),
        Some(code) if ENDED.contains(&code) => HUNG.into(),
        Some(code) if (129..=192).contains(&code) => format!("{CRASHED}: signal {}", code - 128),
        Some(_) => format!("failed: {}", failure(finished)),
        None => format!("{CRASHED}: signal {}", finished.status.signal().unwrap_or_default()),
    }
}

/// The module, under a neutral path: suites search the path for the name of a module that they know.
pub(crate) fn library(boundary: &Boundary) -> PathBuf {
    let link = boundary.folder().join("libcountersign.so");
    if !link.exists() {
        symlink(module(), &link).expect("the folder is ours");
    }
    link
}
