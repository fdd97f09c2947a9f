//! What the security officer can gain: no signature, and nothing unseen.

use harness::module::digest::create_digest_key;
use harness::module::{USER_PIN, approval, enrol_confirmed, this_test};

use super::super::{IS_CLIENT, in_boundary, where_there_is_one_door};
use super::*;

/// One administrator, alone, step by step: what is refused, and how far it gets. Each step is also made where
/// it must succeed.
#[test]
fn one_administrator_alone_signs_nothing_and_takes_the_backends_pin_in_sight_of_all() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice"]);
        let raw = &stage.raw;
        let before = audit(boundary).len();
        let so = as_officer(raw);
        // A user of its own, who signs for the wallet under a policy without limits, and a key for digests.
        let mallory = enrol_confirmed(raw, so, "mallory");
        let taken = [
            (CKA_COUNTERSIGN_USERS, b"mallory".to_vec()),
            (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec()),
        ];
        assert_rv!(raw.set_attributes(so, raw.wallet_key(so, "treasury"), &taken), CKR_OK);
        create_digest_key(raw, so, "theirs", &["mallory"], "unlimited = true");

        // As itself it signs nothing, with no mechanism and with no way to attach the code.
        let (wallet, digest) = (raw.wallet_key(so, "treasury"), raw.wallet_key(so, "theirs"));
        let code = mallory.code();
        let record = approval("mallory", &code);
        for (mechanism, parameter, key) in [
            (CKM_COUNTERSIGN_PSBT, &record[..], wallet),
            (CKM_COUNTERSIGN_PSBT, &[], wallet),
            (CKM_COUNTERSIGN_DIGEST, &record, digest),
            (CKM_ECDSA, &[], digest),
        ] {
            let rv = raw.sign_init(so, mechanism, parameter, key);
            assert_rv!(rv, CKR_USER_NOT_LOGGED_IN, "{mechanism:#x}");
        }
        for (mechanism, key) in [(CKM_COUNTERSIGN_PSBT, wallet), (CKM_COUNTERSIGN_DIGEST, digest)] {
            assert_rv!(raw.message_sign_init(so, mechanism, key), CKR_USER_NOT_LOGGED_IN, "{mechanism:#x}");
        }
        let context = where_there_is_one_door(CKR_OPERATION_NOT_INITIALIZED);
        assert_rv!(raw.login(so, CKU_CONTEXT_SPECIFIC, code.as_bytes()), context);
        assert_rv!(raw.login_user(so, CKU_CONTEXT_SPECIFIC, code.as_bytes(), b"mallory"), context);

        // It cannot replace the backends' PIN. With two doors it is no backend through its own door,
        // whoever's PIN it knows.
        assert_rv!(raw.init_pin(so, OWN), CKR_ACTION_PROHIBITED, "the PIN stands");
        assert_rv!(raw.logout(so), CKR_OK);
        if IS_CLIENT {
            for pin in [USER_PIN.as_bytes(), OWN] {
                assert_rv!(raw.login(so, CKU_USER, pin), CKR_ACTION_PROHIBITED);
                assert_rv!(raw.login_user(so, CKU_USER, pin, b""), CKR_ACTION_PROHIBITED);
                assert_rv!(raw.set_pin(so, pin, OWN), CKR_ACTION_PROHIBITED);
            }
        }
        assert_rv!(raw.close_all(), CKR_OK);
        raw.user();
        assert_eq!(raw.token_info().flags & CKF_USER_PIN_COUNT_LOW, 0, "none of these was a try");
        assert!(countersigned(boundary).is_empty());

        // It declares the PIN lost, which everybody can see, and sets its own.
        let so = as_officer(raw);
        lose_user_pin(raw, so);
        assert_rv!(raw.init_pin(so, OWN), CKR_OK);
        assert_rv!(raw.init_pin(so, USER_PIN.as_bytes()), CKR_ACTION_PROHIBITED, "nor is it put back unseen");
        assert_rv!(raw.logout(so), CKR_OK);
        assert_rv!(raw.login(so, CKU_USER, OWN), where_there_is_one_door(CKR_OK));
        assert_rv!(raw.close_all(), CKR_OK);

        // What is left: through the backends' door, whoever may come in there can sign with that PIN, and the
        // audit has recorded all of it.
        raw.as_backend();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_PIN_INCORRECT, "backends notice");
        assert_rv!(raw.login(session, CKU_USER, OWN), CKR_OK);
        let (key, psbt) = (raw.wallet_key(session, "treasury"), stage.psbt());
        let alice = raw.countersign(session, key, &approval("alice", &stage.users[0].code()), &psbt);
        assert_eq!(alice, Err(CKR_PIN_INCORRECT), "she is none of its users any more");
        assert!(raw.countersign(session, key, &record, &psbt).is_ok(), "it was the door, and nothing else");
        assert_eq!(countersigned(boundary), [txid(&psbt)]);
        let links = audit(boundary).split_off(before);
        let mut place = 0;
        for event in
            ["user-added", "wallet-updated", "digest-key-created", "pin-lost", "pin-set", "countersigned"]
        {
            let found = links[place..].iter().position(|link| link["event"] == event);
            place += found.unwrap_or_else(|| panic!("the audit has no {event} after link {place}")) + 1;
        }
    });
}

/// The PIN that the officer sets.
pub(super) const OWN: &[u8] = b"the officer's own";

pub(super) fn lose_user_pin(raw: &Raw, so: CK_SESSION_HANDLE) {
    let template =
        [(CKA_CLASS, ulong(CKO_HW_FEATURE)), (CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_USER_PIN))];
    let found = raw.find(so, &template).expect("it finds");
    assert_rv!(raw.set_attributes(so, found[0], &[(CKA_COUNTERSIGN_PIN_LOST, vec![CK_TRUE])]), CKR_OK);
}

#[test]
fn replacing_a_wallets_users_is_recorded_before_anything_is_signed_for_them() {
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
            // As long as a wallet lists her, she cannot be replaced.
            assert_rv!(raw.destroy(so, raw.user_key(so, "alice")), CKR_ACTION_PROHIBITED);
            let again = raw.generate_key(so, CKM_COUNTERSIGN_TOTP_KEY_GEN, &[(CKA_LABEL, b"alice".to_vec())]);
            assert_eq!(again, Err(CKR_ATTRIBUTE_VALUE_INVALID));
        });
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &stage.users[0].code());
        // The token is not initialised again over her wallet either.
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_administrator();
        let rv = raw.init_token(0, harness::module::SO_PIN.as_bytes(), "mine");
        assert_rv!(rv, CKR_TOKEN_WRITE_PROTECTED);
    });
}
