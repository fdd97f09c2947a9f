//! The data key on tokens that make their own initialisation vectors, and on tokens that fail.

use std::fs;

use cryptoki_sys::*;

use harness::module::raw::Raw;
use harness::module::shim::Shim;
use harness::module::{Boundary, SO_PIN, assert_rv, in_boundary, initialised_token, this_test};

/// The number of objects in the token.
pub(crate) fn objects(boundary: &Boundary) -> usize {
    let token = fs::read_dir(boundary.tokens()).expect("ours").next().expect("one").expect("ours").path();
    let files = fs::read_dir(token).expect("ours").map(|entry| entry.expect("ours").file_name());
    files.filter(|name| name.to_string_lossy().ends_with(".object") && name != "token.object").count()
}

/// The number of files whose names contain the store's, without its lock.
fn store_files(boundary: &Boundary) -> usize {
    let files = fs::read_dir(boundary.folder()).expect("ours").map(|entry| entry.expect("ours").file_name());
    let name = boundary.store().file_name().expect("a file").to_string_lossy().into_owned();
    files
        .filter(|file| file.to_string_lossy().starts_with(&name))
        .filter(|file| !file.to_string_lossy().ends_with(".lock"))
        .count()
}

/// Tries to initialise the token, which must fail and leave nothing behind.
fn expect_nothing_left(boundary: &Boundary, raw: &Raw, what: &str) {
    assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_DEVICE_ERROR, "{what}");
    assert_eq!((objects(boundary), store_files(boundary)), (0, 0), "{what}");
}

#[test]
fn a_token_that_makes_its_own_initialisation_vectors_opens_its_store_again() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "make" {
            let _ = initialised_token();
            return;
        }
        for how in [
            "appended",
            "appended-taken",
            "written",
            "zero-prepended",
            "zero-prepended-taken",
            "zero-written",
        ] {
            let other = boundary.another(how);
            let shim = Shim::install(&other, &format!("gcm {how}"));
            let _ = other.run("make");
            assert_eq!(objects(&other), 2, "{how}: a sealing key and an anchor");
            shim.clear_log();
            let probe = other.probe();
            assert_rv!(probe.rv, CKR_OK, "{how}\n{}", probe.stderr);
            assert_eq!(
                (shim.calls("C_Encrypt"), shim.calls("C_GenerateKey")),
                (0, 0),
                "{how}: it only unwraps"
            );
        }
    });
}

#[test]
fn a_token_without_gcm_or_whose_gcm_cannot_be_undone_is_refused_and_nothing_is_left() {
    let log = in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        for how in ["none", "hidden"] {
            shim.behave(&format!("gcm {how}"));
            expect_nothing_left(boundary, &raw, how);
        }
        shim.behave("");
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        assert_eq!((objects(boundary), store_files(boundary) > 0), (2, true));
    });
    for words in [
        "it has no AES-GCM (CKM_AES_GCM), by which the data key is wrapped: C_EncryptInit answered CKR_MECHANISM_INVALID",
        "does not decrypt what it encrypted itself by AES-GCM (CKM_AES_GCM)",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn an_initialisation_that_fails_at_any_call_leaves_nothing_and_can_be_repeated() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        for fault in [
            "fail C_GenerateKey 0x30",
            "after C_GenerateKey 0x30",
            "fail C_EncryptInit 0x30 1 2",
            "fail C_DecryptInit 0x30 1 0",
            "fail C_CreateObject 0x30",
            "after C_CreateObject 0x31",
        ] {
            shim.behave(fault);
            expect_nothing_left(boundary, &raw, fault);
        }
        shim.behave("");
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "t"), CKR_OK);
        assert_eq!(objects(boundary), 2);
    });
}
