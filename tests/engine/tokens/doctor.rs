//! What `countersign doctor` reports about a token, and does to it. How often a start logs in.

use cryptoki_sys::*;
use serde_json::Value;

use harness::module::cli::Cli;
use harness::module::shim::Shim;
use harness::module::{Boundary, Finished, Stage, assert_rv, in_boundary, initialised_token, this_test};
use harness::served::Served;

use super::sealing::objects;

/// The finding about a subject, and the advice.
fn check(json: &Value, subject: &str) -> (String, String, String) {
    let checks = json["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["subject"] == subject);
    let check = check.unwrap_or_else(|| panic!("nothing of {subject}: {json}"));
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("finding"), text("next"))
}

fn held(json: &Value, words: &str) -> Value {
    let promises = json["promises"].as_array().expect("promises");
    let promise = promises.iter().find(|promise| promise["promise"].as_str().expect("text").contains(words));
    promise.expect("promised")["held"].clone()
}

#[test]
fn the_doctor_tries_the_token_and_leaves_it_as_it_was() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "make" {
            let _ = initialised_token();
            return;
        }
        let shim = Shim::install(boundary, "");
        // Before anything was initialised, and after.
        for objects_there in [0, 2] {
            shim.clear_log();
            let json = Cli(boundary).does(&["doctor"]);
            let (state, finding, _) = check(&json, "backing trial");
            assert_eq!(state, "ok", "{finding}");
            assert!(shim.calls("C_Encrypt") > 0 && shim.calls("C_Decrypt") > 0, "it was tried");
            assert_eq!(shim.calls("C_Login"), 1, "one login for the module and the trial");
            assert_eq!(objects(boundary), objects_there);
            if objects_there == 0 {
                let _ = boundary.run("make");
            }
        }
        assert_rv!(boundary.probe().rv, CKR_OK);
    });
}

#[test]
fn the_doctor_names_the_mechanism_that_a_token_lacks() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        for (fault, words) in [
            ("gcm none", "CKM_AES_GCM"),
            ("gcm hidden", "CKM_AES_GCM"),
            ("fail C_GenerateKey 0x70 1 0", "CKM_AES_KEY_GEN"),
            ("fail C_CreateObject 0x13 1 0", "CKO_DATA"),
            ("fail C_DestroyObject 0x1b 1 2", "C_DestroyObject answered CKR_ACTION_PROHIBITED"),
        ] {
            shim.behave(fault);
            let answer = Cli(boundary).run(&["doctor"]);
            let (state, finding, next) = check(&answer.json, "backing trial");
            assert!(!answer.success && state == "wrong" && finding.contains(words), "{fault}: {finding}");
            assert!(next.contains("CKM_AES_GCM") && !next.contains("disk"), "{fault}: {next}");
        }
        shim.behave("");
        let _ = Cli(boundary).does(&["doctor"]);
        assert_eq!(objects(boundary), 0, "nothing is left of all that");
    });
}

#[test]
fn a_token_is_what_it_says_of_itself_whatever_its_module_is_called() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let promise = "clone the backing token";
        let json = Cli(boundary).does(&["doctor"]);
        let (_, finding, _) = check(&json, "backing token");
        assert!(finding.contains("SoftHSM project") && finding.contains("serial"), "{finding}");
        assert_eq!(held(&json, promise), false, "though its module is called shim.so");
        shim.behave("hardware Vault 9");
        let json = Cli(boundary).does(&["doctor"]);
        let (_, finding, _) = check(&json, "backing token");
        assert!(finding.contains("Maker of tokens Vault 9, hardware, according to its slot"), "{finding}");
        assert_eq!(held(&json, promise), Value::Null);
    });
}

#[test]
fn an_engine_that_finds_the_store_in_use_does_not_log_in_to_its_token() {
    in_boundary(this_test!(), |boundary| {
        let shim = Shim::install(boundary, "");
        let raw = initialised_token();
        assert_eq!(shim.calls("C_Login"), 1, "one login for each start");
        let calls = shim.calls("C_CreateObject");
        assert_rv!(boundary.probe().rv, CKR_CANT_LOCK);
        let _ = Cli(boundary).run(&["doctor"]);
        assert!(Cli(boundary).fails(&["state", "restore"]).contains("in use"));
        assert_eq!((shim.calls("C_Login"), shim.calls("C_CreateObject")), (1, calls));
        assert_rv!(raw.finalize(), CKR_OK);
        assert_rv!(boundary.probe().rv, CKR_OK);
        assert_eq!(shim.calls("C_Login"), 2);
    });
}

#[test]
fn a_commit_makes_one_object_in_the_token_and_destroys_one() {
    in_boundary(this_test!(), |boundary| commit_once(boundary, "hardware Vault 9", [1, 0, 1]));
}

/// In SoftHSM2 by a draft in the session, which is copied into the token.
#[test]
fn a_commit_makes_one_object_in_softhsm2_by_a_copy_and_destroys_one_and_the_draft() {
    in_boundary(this_test!(), |boundary| commit_once(boundary, "", [1, 1, 2]));
}

/// Counts the objects that a signature creates, copies and destroys.
fn commit_once(boundary: &Boundary, token: &str, expected: [usize; 3]) {
    let shim = Shim::install(boundary, token);
    let stage = Stage::new(&["alice"]);
    shim.clear_log();
    assert!(stage.sign("alice", &stage.users[0].code(), &stage.psbt()).is_ok());
    let calls = ["C_CreateObject", "C_CopyObject", "C_DestroyObject"].map(|function| shim.calls(function));
    assert_eq!((calls, shim.calls("C_FindObjectsInit")), (expected, 0));
}

#[test]
fn a_boundary_that_starts_logs_in_once_and_the_doctor_beside_it_never() {
    in_boundary(this_test!(), |boundary| {
        if boundary.role() == "make" {
            let _ = initialised_token();
            return;
        }
        let shim = Shim::install(boundary, "");
        let _ = boundary.run("make");
        shim.clear_log();
        let served = Served::start(boundary);
        assert_eq!(shim.calls("C_Login"), 1);
        let objects_made = shim.calls("C_CreateObject");
        let doctor = Finished::of(&mut Served::command(boundary.folder(), &["doctor"]));
        assert!(doctor.stdout.contains("the store is in use"), "{}\n{}", doctor.stdout, doctor.stderr);
        let second = Finished::of(&mut Served::command(boundary.folder(), &["serve"]));
        assert!(!second.status.success());
        assert_eq!((shim.calls("C_Login"), shim.calls("C_CreateObject")), (1, objects_made));
        assert!(served.stop().success());
    });
}
