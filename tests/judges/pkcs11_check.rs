//! pkcs11-check: those of its tests that apply to every module, and not to one algorithm.
//!
//! It needs a newer Python than Debian 12 has. If `tests/judges/install.sh` found none, this test does not
//! run, and prints so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::judged::{Pins, command, installed, library, with_token};
use crate::list::{NOT_RUN, compare, left_out};
use crate::python::{lines, observed};
use harness::Way;
use harness::module::{Finished, SO_PIN, USER_PIN, root};

/// The files in its package that have tests.
const FILES: [&str; 61] = [
    "ckr/test_ckr_codes.py",
    "ckr/test_ckr_dual.py",
    "ckr/test_ckr_general.py",
    "ckr/test_ckr_keygen.py",
    "ckr/test_ckr_null_params.py",
    "ckr/test_ckr_object.py",
    "ckr/test_ckr_random.py",
    "ckr/test_ckr_raw_args_bad.py",
    "ckr/test_ckr_raw_attrs.py",
    "ckr/test_ckr_raw_buffer.py",
    "ckr/test_ckr_raw_multipart.py",
    "ckr/test_ckr_raw_state.py",
    "ckr/test_ckr_session.py",
    "ckr/test_ckr_slot_token.py",
    "ckr/test_ckr_spec_compliance.py",
    "ckr/test_ckr_state.py",
    "ckr/test_ckr_universal.py",
    "ckr/test_ckr_v30_raw.py",
    "security/test_api_boundary.py",
    "security/test_api_security.py",
    "security/test_ffi_null_pointer.py",
    "security/test_public_session_private_creation.py",
    "security/test_scalar_attr_length_extended.py",
    "security/test_template_count_edges.py",
    "test_access.py",
    "test_access_levels.py",
    "test_always_authenticate.py",
    "test_attribute_invariants.py",
    "test_buffers.py",
    "test_errors.py",
    "test_hw_features.py",
    "test_init.py",
    "test_interface.py",
    "test_interface_negotiation.py",
    "test_large_objects.py",
    "test_mechanism.py",
    "test_mechanism_fuzz.py",
    "test_mechanism_objects.py",
    "test_object.py",
    "test_object_search_patterns.py",
    "test_operation_state.py",
    "test_profiles.py",
    "test_protocol_edge_cases.py",
    "test_remaining_gaps.py",
    "test_rng.py",
    "test_ro_session_restrictions.py",
    "test_search.py",
    "test_sensitivity.py",
    "test_session_edge_cases.py",
    "test_session_exhaustion.py",
    "test_session_info.py",
    "test_session_state_machine.py",
    "test_set_attribute.py",
    "test_slot.py",
    "test_stress.py",
    "test_subprocess_safety.py",
    "test_surface_audit.py",
    "test_token_flags.py",
    "test_v30_session.py",
    "test_vendor_extensions.py",
    "x509/test_cert_storage.py",
];

/// Runs all of its tests, in one process.
pub(crate) fn judge(test: &str, way: Way) {
    if !root().join("target/judges/pkcs11-check").exists() {
        println!("not run here: pkcs11-check needs Python 3.12 or later");
        return;
    }
    with_token(test, way, Pins { so: SO_PIN, user: USER_PIN }, |boundary, _| {
        let suite = suite();
        let left_out = left_out("pkcs11-check", way);
        let mut pytest = command(boundary, installed("pkcs11-check/bin/python"));
        pytest
            .args(["-B", "-m", "pytest", "-q", "-p", "observe", "-p", "no:cacheprovider"])
            .arg("--rootdir")
            .arg(&suite)
            .arg("--p11-module")
            .arg(library(boundary))
            .args(FILES.map(|file| suite.join(file)))
            .env("PYTHONPATH", root().join("tests/judges"))
            .env("LEFT_OUT", lines(left_out.clone()))
            .env("OBSERVED", boundary.folder().join("observed"))
            .env("OBSERVED_TOGETHER", "")
            .env("P11TEST_PIN", USER_PIN)
            .env("P11TEST_SO_PIN", SO_PIN);
        let finished = Finished::of(&mut pytest);
        // pytest's exit status for a session that ran to its end and in which tests failed.
        assert!(
            matches!(finished.status.code(), Some(0 | 1)),
            "pkcs11-check: {}\n{}\n{}",
            finished.status,
            finished.stdout,
            finished.stderr
        );
        let mut observed: BTreeMap<String, String> = observed("pkcs11-check", boundary, &finished);
        observed.extend(left_out.into_iter().map(|test| (test, NOT_RUN.to_owned())));
        compare("pkcs11-check", way, &observed);
    });
}

fn suite() -> PathBuf {
    let libraries = installed("pkcs11-check/lib");
    let python = libraries.read_dir().expect("it is a folder").flatten().next().expect("python3.12, or so");
    python.path().join("site-packages/pkcs11_check/testcases")
}
