//! `C_InitToken` after officers declared the SO PIN lost (`include/countersign.h`, "Officers").

use countersign::admin::Act;
use countersign::kernel::pin::Heir;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::engine::ManualClock;
use harness::engine::configured::{decide, with_officers};
use harness::engine::officers::Signers;
use harness::module::raw::Raw;
use harness::module::{Boundary, SO_PIN, USER_PIN, assert_rv, in_prepared_boundary, now, this_test, ulong};

use super::{IS_CLIENT, WAY};

const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HOUR: u64 = 3_600;
/// The role of the process that makes the token.
const LOST: &str = "lost";

/// A token whose officers declared the SO PIN lost.
fn lose_so_pin() {
    let clock = ManualClock::default();
    clock.set(now() - 2 * HOUR);
    let signers = Signers::new(2);
    let engine = with_officers(&clock, &signers, "hsm");
    let serial = engine.token(None).expect("readable").expect("there").serial;
    let heir = Heir::of(&serial, SECRET).expect("long enough");
    let text = engine.draft(&Act::LoseSoPin(heir)).expect("officers may sign it");
    decide(&engine, &clock, &signers, 2, &text);
}

fn where_the_so_pin_is_lost(test: &str, body: impl FnOnce(&Raw)) {
    let prepare = |boundary: &Boundary| drop(boundary.run(LOST));
    in_prepared_boundary(test, None, WAY, prepare, |boundary| {
        if boundary.role() == LOST {
            return lose_so_pin();
        }
        let raw = Raw::load();
        assert_rv!(raw.initialize(), CKR_OK);
        body(&raw);
    });
}

fn is_to_be_changed(raw: &Raw) -> bool {
    raw.token_info().flags & CKF_SO_PIN_TO_BE_CHANGED != 0
}

#[test]
fn act_heir_the_secret_on_which_officers_agreed_sets_a_lost_so_pin_once() {
    where_the_so_pin_is_lost(this_test!(), |raw| {
        assert!(is_to_be_changed(raw));
        assert_rv!(raw.init_token(0, SECRET, "other"), CKR_TOKEN_WRITE_PROTECTED);
        assert_rv!(raw.init_token(0, SO_PIN.as_bytes(), "hsm"), CKR_PIN_INCORRECT);
        assert!(is_to_be_changed(raw));
        assert_rv!(raw.init_token(0, SECRET, "hsm"), CKR_OK);
        assert!(!is_to_be_changed(raw));
        assert_rv!(raw.init_token(0, SECRET, "hsm"), CKR_TOKEN_WRITE_PROTECTED, "it works once");
        raw.as_administrator();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_SO, SO_PIN.as_bytes()), CKR_PIN_INCORRECT);
        assert_rv!(raw.login(session, CKU_SO, SECRET), CKR_OK);
        assert_rv!(raw.init_pin(session, USER_PIN.as_bytes()), CKR_OK);
        let officers = raw.find(session, &[(CKA_CLASS, ulong(CKO_COUNTERSIGN_OFFICERS))]).expect("it finds");
        let council = raw.attribute(session, officers[0], CKA_COUNTERSIGN_COUNCIL).expect("shown");
        assert!(council.starts_with(b"threshold 2"), "nothing else is changed");
    });
}

#[test]
fn act_heir_wrong_secrets_are_counted_like_wrong_so_pins_and_no_backend_brings_one() {
    where_the_so_pin_is_lost(this_test!(), |raw| {
        if IS_CLIENT {
            raw.as_backend();
            assert_rv!(raw.init_token(0, SECRET, "hsm"), CKR_ACTION_PROHIBITED, "not by this door");
        }
        assert!(is_to_be_changed(raw));
        raw.as_administrator();
        let wrong = || raw.init_token(0, b"another secret of thirty-two bytes", "hsm");
        let answers: Vec<CK_RV> = (0..8).map(|_| wrong()).collect();
        assert_eq!(answers[0], CKR_PIN_INCORRECT);
        assert_eq!(answers[7], CKR_PIN_LOCKED, "{answers:x?}");
        assert_ne!(raw.token_info().flags & CKF_SO_PIN_LOCKED, 0);
        assert_rv!(raw.init_token(0, SECRET, "hsm"), CKR_PIN_LOCKED, "not even the right one");
        assert!(is_to_be_changed(raw));
    });
}
