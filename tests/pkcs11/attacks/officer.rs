//! What the security officer gains: not a signature, and nothing unseen.

use super::*;
use crate::boundary::{USER_PIN, approval, enrol_confirmed, in_boundary, this_test};

#[test]
fn the_security_officer_who_becomes_the_user_still_signs_nothing_without_a_code() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let so = as_officer(raw);
        // As itself.
        let key = raw.wallet_key(so, "treasury");
        let record = approval("alice", &stage.users[0].wrong_code());
        assert_rv!(raw.sign_init(so, CKM_COUNTERSIGN_PSBT, &record, key), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.sign_init(so, CKM_COUNTERSIGN_PSBT, &[], key), CKR_USER_NOT_LOGGED_IN);
        // As the user, whose PIN it sets.
        assert_rv!(raw.init_pin(so, b"the officer's own"), CKR_OK);
        assert_rv!(raw.login(so, CKU_USER, b"the officer's own"), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
        assert_rv!(raw.logout(so), CKR_OK);
        assert_rv!(raw.login(so, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_INCORRECT, "the backend notices");
        assert_rv!(raw.login(so, CKU_USER, b"the officer's own"), CKR_OK);
        let key = raw.wallet_key(so, "treasury");
        assert_rv!(raw.sign_init(so, CKM_COUNTERSIGN_PSBT, &[], key), CKR_OK);
        assert_eq!(raw.sign(so, &stage.psbt()), Err(CKR_USER_NOT_LOGGED_IN), "no code");
        let wrong = raw.countersign(so, key, &record, &stage.psbt());
        assert_eq!(wrong, Err(CKR_PIN_INCORRECT), "a wrong one");
        assert!(countersigned(boundary).is_empty());
        let set = audit(boundary).into_iter().rfind(|link| link["event"] == "pin-set").expect("it was set");
        assert_eq!(set["role"], "user", "and the audit has it");
        // It was the code that was missing, and nothing else.
        let psbt = stage.psbt();
        let right = approval("alice", &stage.users[0].code());
        assert!(raw.countersign(so, key, &right, &psbt).is_ok());
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
    });
}

#[test]
fn a_wallet_whose_users_are_replaced_tells_so_before_anything_is_signed_for_them() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice"]);
        let mut mallory = None;
        let replace = [(CKA_COUNTERSIGN_USERS, b"mallory".to_vec())];
        // The backend cannot.
        let rv = stage.raw.set_attributes(stage.session, stage.key, &replace);
        assert_rv!(rv, CKR_USER_NOT_LOGGED_IN);
        let before = audit(boundary).len();
        stage.as_so(|raw, so| {
            mallory = Some(enrol_confirmed(raw, so, "mallory"));
            assert_rv!(raw.set_attributes(so, raw.wallet_key(so, "treasury"), &replace), CKR_OK);
        });
        let psbt = stage.psbt();
        let alice = stage.sign("alice", &stage.users[0].code(), &psbt);
        assert_eq!(alice, Err(CKR_PIN_INCORRECT), "she is none of its users any more");
        assert!(stage.sign("mallory", &mallory.expect("made").code(), &psbt).is_ok());
        let links = audit(boundary);
        let told = |event: &str| {
            let place = links[before..].iter().position(|link| link["event"] == event);
            before + place.unwrap_or_else(|| panic!("the audit has no {event}"))
        };
        let (replaced, signed) = (told("wallet-updated"), told("countersigned"));
        assert!(replaced < signed);
        assert_eq!(links[replaced]["wallet"], "treasury");
        assert_eq!(links[replaced]["users_added"], serde_json::json!(["mallory"]));
        assert_eq!(links[replaced]["users_removed"], serde_json::json!(["alice"]));
        assert_eq!(links[signed]["users"], serde_json::json!(["mallory"]));
    });
}

#[test]
fn a_user_is_not_replaced_by_another_of_the_same_name() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice"]);
        let raw = stage.raw;
        stage.as_so(|raw, so| {
            // As long as a wallet lists her she is not replaced.
            assert_rv!(raw.destroy(so, raw.user_key(so, "alice")), CKR_ACTION_PROHIBITED);
            let again = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, b"alice".to_vec())]);
            assert_eq!(again, Err(CKR_ATTRIBUTE_VALUE_INVALID));
        });
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &stage.users[0].code());
        // Nor is the token made anew over her wallet.
        assert_rv!(raw.close_all(), CKR_OK);
        let rv = raw.init_token(0, crate::boundary::SO_PIN.as_bytes(), "mine");
        assert_rv!(rv, CKR_TOKEN_WRITE_PROTECTED);
    });
}
