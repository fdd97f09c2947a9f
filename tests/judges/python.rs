//! The suites of python-pkcs11 and of PyKCS11, from their source distributions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::judged::{Pins, TOKEN, command, installed, library, with_token};
use crate::list::{NOT_RUN, compare, left_out};
use harness::Way;
use harness::module::{Boundary, Finished, SO_PIN, USER_PIN, copy_folder, root};

/// The PINs that PyKCS11's suite has hard-coded.
const PYKCS11_PINS: Pins = Pins { so: "123456", user: "1234" };

/// Tests of PyKCS11's suite that begin with an administrator's call. The others log in as the user.
const ADMINISTRATORS: [&str; 2] =
    ["test/test_init.py::TestUtil::test_initPin", "test/test_init.py::TestUtil::test_initToken_utf8"];

/// Runs python-pkcs11's suite.
pub(crate) fn judge_by_python_pkcs11(test: &str, way: Way) {
    with_token(test, way, Pins { so: SO_PIN, user: USER_PIN }, |boundary, _| {
        let mut pytest = pytest(boundary, "python-pkcs11", way, "python_pkcs11/tests");
        pytest
            .env("PKCS11_MODULE", library(boundary))
            .env("PKCS11_TOKEN_LABEL", TOKEN)
            .env("PKCS11_TOKEN_PIN", USER_PIN)
            .env("PKCS11_TOKEN_SO_PIN", SO_PIN)
            // Another module in the same process: the backing module.
            .env("PKCS11_MODULE2", boundary.backing_module());
        run("python-pkcs11", way, boundary, pytest);
    });
}

/// Runs PyKCS11's suite.
pub(crate) fn judge_by_pykcs11(test: &str, way: Way) {
    with_token(test, way, PYKCS11_PINS, |boundary, _| {
        let mut pytest = pytest(boundary, "pykcs11", way, "pykcs11/test");
        pytest
            .env("PYKCS11LIB", library(boundary))
            .env("ADMINISTRATORS", lines(ADMINISTRATORS.map(str::to_owned)))
            .env("ADMINISTRATORS_CONF", boundary.conf());
        run("pykcs11", way, boundary, pytest);
    });
}

/// Runs pytest on a copy of a suite, because Python would import the sources that lie beside the original.
fn pytest(boundary: &Boundary, judge: &str, way: Way, suite: &str) -> Command {
    let suite = installed(suite);
    let name = Path::new(suite.file_name().expect("it is a folder"));
    copy_folder(&suite, &boundary.folder().join(name));
    let mut pytest = command(boundary, installed("venv/bin/python"));
    pytest
        .args(["-B", "-m", "pytest", "-q", "-p", "observe", "-p", "no:cacheprovider", "--rootdir", "."])
        .arg(name)
        .env("PYTHONPATH", root().join("tests/judges"))
        .env("LEFT_OUT", lines(left_out(judge, way)))
        .env("OBSERVED", boundary.folder().join("observed"));
    pytest
}

fn run(judge: &str, way: Way, boundary: &Boundary, mut pytest: Command) {
    let finished = Finished::of(&mut pytest).expect_success();
    let mut observed = observed(judge, boundary, &finished);
    observed.extend(left_out(judge, way).into_iter().map(|test| (test, NOT_RUN.to_owned())));
    compare(judge, way, &observed);
}

/// The form that `observe.py` reads.
pub(crate) fn lines(tests: impl IntoIterator<Item = String>) -> String {
    tests.into_iter().map(|test| test + "\n").collect()
}

/// The outcomes that `observe.py` wrote.
pub(crate) fn observed(judge: &str, boundary: &Boundary, finished: &Finished) -> BTreeMap<String, String> {
    let lines = fs::read_to_string(boundary.folder().join("observed")).unwrap_or_else(|error| {
        panic!("{judge} ran no test ({error}):\n{}\n{}", finished.stdout, finished.stderr)
    });
    lines
        .lines()
        .map(|line| line.split_once('\t').expect("a test and its outcome"))
        .map(|(test, outcome)| (test.to_owned(), outcome.to_owned()))
        .collect()
}
