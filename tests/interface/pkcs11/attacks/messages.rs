//! Attempts to get a signature from messages: approvals swapped, kept, doubled or added up between the calls
//! of one operation.

use harness::module::wallet::verify_signed;
use harness::module::{LIMITS, approval, create_wallet, enrol_confirmed, this_test};

use super::super::in_boundary;
use super::super::message_sign::{begin, end, init, last, part, sign};
use super::*;

#[test]
fn an_approval_swapped_between_the_parts_of_a_message_is_judged_alone() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let mut mallory = None;
        stage.as_so(|raw, so| {
            mallory = Some(enrol_confirmed(raw, so, "mallory"));
            create_wallet(raw, so, "hers", &["mallory"], LIMITS);
        });
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        let code = stage.users[0].code();
        let alice = approval("alice", &code);
        let mallory = approval("mallory", &mallory.expect("made").code());
        let wrong = approval("bob", &stage.users[1].wrong_code());
        assert_rv!(init(raw, session, stage.key), CKR_OK);
        for other in [mallory, wrong] {
            // The right approval opens the message, and another one closes it.
            assert_rv!(begin(raw, session, &alice), CKR_OK);
            assert_rv!(part(raw, session, &[], &psbt[..100]), CKR_OK);
            assert_eq!(last(raw, session, &other, &psbt[100..]), Err(CKR_PIN_INCORRECT));
            // The approval ends with its message and does not help the next one.
            assert_rv!(begin(raw, session, &[]), CKR_OK);
            assert_eq!(last(raw, session, &[], &psbt), Err(CKR_USER_NOT_LOGGED_IN));
            assert_eq!(sign(raw, session, &[], &psbt), Err(CKR_USER_NOT_LOGGED_IN));
        }
        assert!(countersigned(boundary).is_empty());
        assert_eq!(stage.failures("alice"), 0, "hers was not judged");
        still_signs(boundary, &stage, "alice", &code);
    });
}

#[test]
fn approvals_of_several_parts_are_not_added_up() {
    in_boundary(this_test!(), |boundary| {
        let mut stage = Stage::new(&["alice", "bob"]);
        let mut descriptor = String::new();
        stage.as_so(|raw, so| {
            let policy = format!("{LIMITS}\nrequired_approvals = 2");
            descriptor = create_wallet(raw, so, "both", &["alice", "bob"], &policy);
        });
        let (raw, session) = (&stage.raw, stage.session);
        let psbt = harness::module::wallet::Payment::default().psbt(&descriptor);
        let records = [0, 1].map(|user| {
            let user = &stage.users[user];
            approval(user.name(), &user.code())
        });
        assert_rv!(init(raw, session, raw.wallet_key(session, "both")), CKR_OK);
        assert_rv!(begin(raw, session, &records[0]), CKR_OK);
        assert_rv!(part(raw, session, &records[1], &psbt[..100]), CKR_OK);
        let one_by_one = last(raw, session, &[], &psbt[100..]);
        assert_eq!(one_by_one, Err(CKR_COUNTERSIGN_POLICY), "only the last counts");
        assert!(countersigned(boundary).is_empty());
    });
}

#[test]
fn one_approval_is_not_two_messages() {
    in_boundary(this_test!(), |boundary| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session, other) = (&stage.raw, stage.session, stage.raw.read_write());
        let (first, second) = (stage.psbt(), stage.psbt());
        // In the same operation, in another session that began before it was judged, and in an operation for
        // one signature.
        let record = approval("alice", &stage.users[0].code());
        for of in [session, other] {
            assert_rv!(init(raw, of, stage.key), CKR_OK);
        }
        assert_rv!(begin(raw, other, &record), CKR_OK);
        assert_rv!(part(raw, other, &[], &second[..50]), CKR_OK);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, stage.key), CKR_OK);
        verify_signed(&first, &sign(raw, session, &record, &first).expect("the first"));
        assert_eq!(sign(raw, session, &record, &second), Err(CKR_PIN_INCORRECT), "it is spent");
        assert_eq!(sign(raw, session, &[], &second), Err(CKR_USER_NOT_LOGGED_IN), "and not kept");
        assert_eq!(last(raw, other, &[], &second[50..]), Err(CKR_PIN_INCORRECT), "there, too");
        assert_eq!(raw.sign(session, &second), Err(CKR_PIN_INCORRECT), "and there");
        assert_eq!(countersigned(boundary), [txid(&first)]);
        // The code was the only thing missing.
        let bob = approval("bob", &stage.users[1].code());
        verify_signed(&second, &sign(raw, session, &bob, &second).expect("by another's"));
    });
}

#[test]
fn a_begun_message_reaches_no_other_key_and_no_other_session() {
    in_boundary(this_test!(), |boundary| {
        let stage = stage(&["alice"]);
        let (raw, session, other) = (&stage.raw, stage.session, stage.raw.read_write());
        let (keys, code) = (Keys::seen_by(raw, session), stage.users[0].code());
        let (record, psbt) = (approval("alice", &code), stage.psbt());
        assert_rv!(init(raw, session, keys.wallet), CKR_OK);
        assert_rv!(init(raw, other, keys.wallet), CKR_OK);
        assert_rv!(begin(raw, session, &record), CKR_OK);
        assert_rv!(part(raw, session, &[], &psbt[..100]), CKR_OK);
        assert_eq!(last(raw, other, &[], &psbt[100..]), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_rv!(init(raw, session, keys.digest), CKR_OPERATION_ACTIVE, "the key is not exchanged");
        let (mut state, mut len) = ([0x5a; 512], 512);
        let rv = call!(raw, C_GetOperationState(session, state.as_mut_ptr(), &mut len));
        assert_rv!(rv, CKR_STATE_UNSAVEABLE);
        assert_eq!((state, len), ([0x5a; 512], 512), "something was written");
        let login = raw.login(session, CKU_CONTEXT_SPECIFIC, code.as_bytes());
        assert_rv!(login, CKR_OPERATION_NOT_INITIALIZED, "there is no other to log in to");
        // Ended and begun again, the operation has nothing left of what was there.
        assert_rv!(end(raw, session), CKR_OK);
        assert_rv!(init(raw, session, keys.wallet), CKR_OK);
        assert_eq!(last(raw, session, &[], &psbt[100..]), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(sign(raw, session, &[], &psbt), Err(CKR_USER_NOT_LOGGED_IN));
        assert!(countersigned(boundary).is_empty());
        still_signs(boundary, &stage, "alice", &code);
    });
}
