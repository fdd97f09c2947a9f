//! Runs the PKCS#11 clients that nobody here wrote (PyKCS11, pkcs11-tool, embit, HWI, BDK,
//! bitcoinjs-lib) against the real module.
//!
//! Each script of `tests/clients` is one test. It prints a line for each check and ends with a status other than zero
//! at the first that fails. The transactions that a script finalised are verified here by Bitcoin Core's consensus code.
//!
//! `softhsm/test.sh` installs what the scripts need and builds the module. To run one by hand:
//! `cargo build && cargo test --test clients door1`. `COUNTERSIGN_MODULE` and `COUNTERSIGN_PYTHON` name another module
//! and another interpreter.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitcoin::{Amount, Transaction, consensus};
use serde_json::{Value, json};

#[path = "../examples/verify_tx.rs"]
#[allow(dead_code, reason = "the example's main is not called here")]
mod verify_tx;

mod support;

use support::scripts::{SCRIPTS, Script};

#[test]
fn pykcs11_door1() {
    run_client("pykcs11_door1.py");
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

fn run_client(script: &str) {
    run_client_with(script, "");
}

fn run_client_with(script: &str, argument: &str) {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let done = Command::new(python())
        .arg("-B")
        .arg(root().join("tests/clients").join(script))
        .arg(argument)
        .env("COUNTERSIGN_MODULE", module())
        .env("COUNTERSIGN_OUT", out.path())
        .env("COUNTERSIGN_SCRIPTS", scripts().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("the interpreter starts");
    let printed = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script}: {}\n{printed}\n{complained}", done.status);
    assert!(printed.ends_with("\ndone\n"), "{script} ended before its end\n{printed}\n{complained}");
    assert!(verify_all(out.path()) > 0, "{script} finalised no transaction\n{printed}");
}

/// The script types, as the scripts read them.
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

/// The signatures cover what is paid: with one satoshi less in an output they must not verify.
fn refuses_another_payment(text: &str) {
    let mut record: Value = serde_json::from_str(text).expect("it was verified above");
    let bytes = hex::decode(record["tx"].as_str().expect("it was verified above")).expect("so is this");
    let mut transaction: Transaction = consensus::deserialize(&bytes).expect("and this");
    transaction.output[0].value -= Amount::ONE_SAT;
    record["tx"] = json!(consensus::encode::serialize_hex(&transaction));
    assert!(verify_tx::verify(&record.to_string()).is_err(), "another payment verifies, too");
}

/// The module under test: the `cdylib` beside the folder of this test's executable.
fn module() -> PathBuf {
    let path = env::var_os("COUNTERSIGN_MODULE").map_or_else(
        || {
            let executable = env::current_exe().expect("the system names the running executable");
            executable.ancestors().nth(2).expect("it is in deps/").join("libcountersign.so")
        },
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is not there; run `cargo build` first", path.display());
    path
}

fn python() -> PathBuf {
    let path = env::var_os("COUNTERSIGN_PYTHON")
        .map_or_else(|| root().join("target/venv/bin/python"), PathBuf::from);
    assert!(path.exists(), "{} is not there; softhsm/test.sh makes it", path.display());
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
