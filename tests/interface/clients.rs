//! Runs PKCS#11 clients of other projects, and wallet software (embit, HWI, BDK, bitcoinjs-lib), against the
//! real module.
//!
//! Each script of `tests/clients` is one test. It prints a line for each check, and ends with a status other
//! than zero at the first check that fails. This file verifies the transactions that a script finalised with
//! Bitcoin Core's consensus code. The programs of `examples` run twice: with the engine in their own process,
//! and as clients of a running `countersign serve`.
//!
//! `softhsm/test.sh` installs what the scripts need and builds the module. To run one by hand: `cargo build
//! --lib --bins --examples && cargo test --test interface door1`. `COUNTERSIGN_MODULE` and
//! `COUNTERSIGN_PYTHON` name another module and another interpreter.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitcoin::{Amount, Transaction, consensus};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "../../examples/verify_tx/src/main.rs"]
#[allow(dead_code, reason = "the example's main is not called here")]
mod verify_tx;

use harness::engine::scripts::{SCRIPTS, Script};
use harness::module::cli::Cli;
use harness::module::{Boundary, SO_PIN, USER_PIN, module, root, target_folder};
use harness::served::Served;

#[test]
fn pykcs11_door1() {
    run_client("pykcs11_door1.py");
}

#[test]
fn pykcs11_ticket() {
    run_client("pykcs11_ticket.py");
}

#[test]
fn pkcs11_tool_door2() {
    run_client("pkcs11_tool_door2.py");
}

#[test]
fn embit_wallet() {
    run_client("embit_wallet.py");
}

#[test]
fn every_script_type_with_embit() {
    run_client_with("script_types.py", "embit");
}

#[test]
fn every_script_type_with_hwi() {
    run_client_with("script_types.py", "hwi");
}

#[test]
fn every_script_type_with_bdk() {
    run_client_with("script_types.py", "bdk");
}

#[test]
fn every_script_type_with_bitcoinjs() {
    run_client_with("script_types.py", "bitcoinjs");
}

/// Tests clients twice, once with each way to attach the code.
macro_rules! at_both_doors {
    ($($name:ident: $story:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn in_one_process() {
                $story(&Place::new(&Door::OneProcess));
            }

            #[test]
            fn through_the_boundary() {
                $story(&Place::new(&Door::Boundary));
            }
        }
    )*};
}

at_both_doors! {
    example_c: |place: &Place| place.signs("c");
    example_cryptoki: |place: &Place| place.signs("cryptoki");
    example_go: |place: &Place| place.signs("go");
    example_java: |place: &Place| place.signs("java");
    example_pkcs11_tool: |place: &Place| place.signs("pkcs11-tool");
    example_pkcs11js: |place: &Place| place.signs("pkcs11js");
    example_pykcs11: |place: &Place| place.signs("pykcs11");
    example_python_pkcs11: |place: &Place| place.signs("python-pkcs11");
    example_listings: Place::lists;
    logins: Place::logs_in;
}

/// The place of the engine.
#[derive(PartialEq)]
enum Door {
    /// In the example's own process.
    OneProcess,
    /// In `countersign serve`, which has a socket for administrators and one for backends.
    Boundary,
}

/// An initialised token, and a way to reach it.
struct Place {
    /// Stopped before the folder is removed.
    _served: Option<Served>,
    boundary: Boundary,
    backend: PathBuf,
    _folder: TempDir,
}

impl Place {
    fn new(door: &Door) -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let boundary = Boundary::in_folder(folder.path().join("boundary"));
        let served = (*door == Door::Boundary).then(|| Served::start(&boundary));
        let backend = match &served {
            None => boundary.conf(),
            Some(served) => {
                served.write_client("backend.toml", "backend.sock");
                boundary.folder().join("backend.toml")
            }
        };
        Cli(&boundary).does(&["init", "--label", "clients"]);
        Place { _served: served, boundary, backend, _folder: folder }
    }

    /// The whole story, with a program that signs.
    fn signs(&self, client: &str) {
        let transactions = run_script("examples.py", client, |command| self.set(command));
        assert!(transactions > 0, "the example of {client} finalised no transaction");
    }

    /// The clients that only list.
    fn lists(&self) {
        run_script("listings.py", "", |command| self.set(command));
    }

    /// A backend that logs in many times.
    fn logs_in(&self) {
        run_script("logins.py", "", |command| self.set(command));
    }

    fn set(&self, command: &mut Command) {
        command
            .env("SOFTHSM2_CONF", self.boundary.folder().join("softhsm2.conf"))
            .env("COUNTERSIGN_ADMINISTRATOR_CONF", self.boundary.conf())
            .env("COUNTERSIGN_BACKEND_CONF", &self.backend)
            .env("COUNTERSIGN_SO_PIN", SO_PIN)
            .env("COUNTERSIGN_USER_PIN", USER_PIN)
            .env("COUNTERSIGN_EXAMPLES", target_folder().join("examples"));
    }
}

fn run_client(script: &str) {
    run_client_with(script, "");
}

fn run_client_with(script: &str, argument: &str) {
    let transactions = run_script(script, argument, |command| {
        command.env("COUNTERSIGN_SCRIPTS", scripts().to_string());
    });
    assert!(transactions > 0, "{script} finalised no transaction");
}

/// Runs a script, verifies the transactions that it finalised, and returns their number.
fn run_script(script: &str, argument: &str, set: impl FnOnce(&mut Command)) -> usize {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new(python());
    command
        .arg("-B")
        .arg(root().join("tests/clients").join(script))
        .arg(argument)
        .env("COUNTERSIGN_MODULE", module())
        .env("COUNTERSIGN_OUT", out.path())
        .stdin(Stdio::null());
    set(&mut command);
    let done = command.output().expect("the interpreter starts");
    let printed = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script}: {}\n{printed}\n{complained}", done.status);
    assert!(printed.ends_with("\ndone\n"), "{script} ended before its end\n{printed}\n{complained}");
    verify_all(out.path())
}

/// The script types, in the form that the scripts read.
fn scripts() -> Value {
    let one = |script: &Script| {
        (script.name.to_owned(), json!([script.template, script.keys, script.path, script.with]))
    };
    Value::Object(SCRIPTS.iter().map(one).collect())
}

/// Verifies every transaction that a script left, and returns how many.
fn verify_all(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder was made above") {
        let path = entry.expect("the folder can be read").path();
        let text = fs::read_to_string(&path).expect("the script wrote UTF-8");
        if let Err(error) = verify_tx::verify(&text) {
            panic!("{}: {error}", path.display());
        }
        refuses_another_payment(&text);
        count += 1;
    }
    count
}

/// The signatures cover the payment: with one satoshi less in an output they must not verify.
fn refuses_another_payment(text: &str) {
    let mut record: Value = serde_json::from_str(text).expect("it was verified above");
    let bytes = hex::decode(record["tx"].as_str().expect("it was verified above")).expect("so is this");
    let mut transaction: Transaction = consensus::deserialize(&bytes).expect("and this");
    transaction.output[0].value -= Amount::ONE_SAT;
    record["tx"] = json!(consensus::encode::serialize_hex(&transaction));
    assert!(verify_tx::verify(&record.to_string()).is_err(), "another payment verifies, too");
}

fn python() -> PathBuf {
    let path = env::var_os("COUNTERSIGN_PYTHON")
        .map_or_else(|| root().join("target/venv/bin/python"), PathBuf::from);
    assert!(path.exists(), "{} is not there; softhsm/test.sh makes it", path.display());
    path
}
