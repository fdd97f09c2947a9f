//! Other people's test suites and tools, run against the real module: in process over SoftHSM2, and through a
//! served boundary.
//!
//! `tests/judges/README.md` lists them, and explains how to update `tests/judges/outcomes.toml`. That file
//! has the outcome of each test and the reason. A new failure, a new pass, a crash and a hang all differ from
//! the list.
//!
//! `tests/judges/install.sh` installs them. To run one by hand: `cargo build && cargo test --test judges
//! cryptoki`.

#[path = "cryptoki.rs"]
mod cryptoki_suite;
mod judged;
mod list;
mod pkcs11_check;
mod pkcs11_tool;
mod python;
mod tools;

use harness::Way;
use harness::module::this_test;

#[test]
fn cryptoki_direct() {
    cryptoki_suite::judge(this_test!(), Way::Direct);
}

#[test]
fn cryptoki_served() {
    cryptoki_suite::judge(this_test!(), Way::Served);
}

#[test]
fn pkcs11_check_direct() {
    pkcs11_check::judge(this_test!(), Way::Direct);
}

#[test]
fn pkcs11_check_served() {
    pkcs11_check::judge(this_test!(), Way::Served);
}

#[test]
fn pkcs11_tool_direct() {
    pkcs11_tool::judge(this_test!(), Way::Direct);
}

#[test]
fn pkcs11_tool_served() {
    pkcs11_tool::judge(this_test!(), Way::Served);
}

#[test]
fn pykcs11_direct() {
    python::judge_by_pykcs11(this_test!(), Way::Direct);
}

#[test]
fn pykcs11_served() {
    python::judge_by_pykcs11(this_test!(), Way::Served);
}

#[test]
fn python_pkcs11_direct() {
    python::judge_by_python_pkcs11(this_test!(), Way::Direct);
}

#[test]
fn python_pkcs11_served() {
    python::judge_by_python_pkcs11(this_test!(), Way::Served);
}

#[test]
fn tools_direct() {
    tools::judge(this_test!(), Way::Direct);
}

#[test]
fn tools_served() {
    tools::judge(this_test!(), Way::Served);
}
