//! The rule that refused: `ulDeviceError` of `C_GetSessionInfo` (PKCS#11 v3.2 section 3.3), in the session
//! that was refused.

use countersign::kernel::rule::Rule;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::wallet::{Payment, verify_signed};
use harness::module::{Stage, approval, assert_rv, this_test};

use super::in_boundary;
use super::{digest_key, message_sign};

/// The number of a rule, as `C_GetSessionInfo` returns it.
fn number(rule: Rule) -> CK_ULONG {
    rule.number().into()
}

/// PSBTs for the stage's wallet: one that its policy refuses, and one that breaks a rule of structure.
fn refused_psbts(stage: &Stage) -> [Vec<u8>; 2] {
    let psbt = |payment: Payment| payment.psbt(&stage.descriptor);
    [
        psbt(Payment { pay: 200_000, ..Payment::default() }),
        psbt(Payment { previous: false, ..Payment::default() }),
    ]
}

#[test]
fn a_refused_transaction_names_its_rule_in_its_session_until_the_next_operation() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let [too_much, liar] = refused_psbts(&stage);
        let other = raw.read_write();
        assert_eq!(raw.device_error(session), 0, "nothing was refused yet");

        let alice = stage.users[0].code();
        assert_eq!(stage.sign("alice", &alice, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert_eq!(raw.device_error(session), number(Rule::UtxoMissing), "a refusal of structure");
        assert_eq!(raw.device_error(session), number(Rule::UtxoMissing), "asking changes nothing");
        assert_eq!(raw.device_error(other), 0, "another session was not refused");

        let good = stage.psbt();
        let of = |bytes: &[u8]| {
            let refused = stage.sign("alice", &alice, bytes).expect_err("it is refused");
            (refused, raw.device_error(session))
        };
        assert_eq!(of(b"PSBT"), (CKR_DATA_INVALID, number(Rule::NotAPsbt)));
        // The magic bytes, then the length of the first key, the key, and the length of its value.
        let first_pair = &good[5..5 + 3 + usize::from(good[7])];
        let twice = [&good[..5], first_pair, &good[5..]].concat();
        assert_eq!(of(&twice), (CKR_DATA_INVALID, number(Rule::DuplicateKey)));
        assert_eq!(of(&[&good[..], &[0]].concat()), (CKR_DATA_INVALID, number(Rule::TrailingBytes)));

        let record = approval("alice", &alice);
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &record, key), CKR_OK);
        assert_eq!(raw.device_error(session), 0, "an operation has started");
        assert_eq!(raw.sign(session, &too_much), Err(CKR_COUNTERSIGN_POLICY));
        assert_eq!(raw.device_error(session), number(Rule::TransactionMax), "a refusal of the policy");

        // This user's code is good, and a signature names no rule.
        let psbt = stage.psbt();
        verify_signed(&psbt, &stage.sign("bob", &stage.users[1].code(), &psbt).expect("a right code"));
        assert_eq!(raw.device_error(session), 0);
    });
}

#[test]
fn every_operation_clears_the_rule_when_it_starts_even_one_that_fails_to() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session, key) = (&stage.raw, stage.session, stage.key);
        let [_, liar] = refused_psbts(&stage);
        let code = stage.users[0].code();
        let starts: [(&str, &dyn Fn()); 4] = [
            ("a search", &|| drop(raw.find(session, &[]))),
            ("a message operation", &|| {
                assert_rv!(message_sign::init(raw, session, key), CKR_OK);
                assert_rv!(message_sign::end(raw, session), CKR_OK);
            }),
            ("a verification", &|| {
                let user = raw.user_key(session, "alice");
                let _ = digest_key::verify(raw, session, CKM_COUNTERSIGN_TOTP, user, &[], b"");
            }),
            ("a signature by no key", &|| {
                let rv = raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], 9_999);
                assert_rv!(rv, CKR_KEY_HANDLE_INVALID);
            }),
        ];
        for (what, start) in starts {
            assert_eq!(stage.sign("alice", &code, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
            assert_eq!(raw.device_error(session), number(Rule::UtxoMissing));
            start();
            assert_eq!(raw.device_error(session), 0, "{what}");
        }
    });
}

#[test]
fn outcome_leak_a_refused_code_names_no_rule_whatever_the_transaction() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let [too_much, liar] = refused_psbts(&stage);
        let (code, wrong) = (stage.users[0].code(), stage.users[0].wrong_code());
        // The rule of an earlier refusal does not stay after a wrong code either.
        assert_eq!(stage.sign("alice", &code, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert_eq!(stage.sign("alice", &wrong, &too_much), Err(CKR_PIN_INCORRECT));
        assert_eq!(raw.device_error(session), 0);
        assert_eq!(stage.sign("alice", &wrong, &stage.psbt()), Err(CKR_PIN_INCORRECT));
        assert_eq!(raw.device_error(session), 0);
        // Bytes that are no PSBT have their rule whatever the code is. A call without a code has none.
        for code in [&code, &wrong] {
            assert_eq!(stage.sign("alice", code, b"no psbt"), Err(CKR_DATA_INVALID));
            assert_eq!(raw.device_error(session), number(Rule::NotAPsbt));
        }
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_eq!(raw.sign(session, &too_much), Err(CKR_USER_NOT_LOGGED_IN));
        assert_eq!(raw.device_error(session), 0);
    });
}

#[test]
fn a_transaction_that_comes_in_parts_or_by_a_login_names_its_rule() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice"]);
        let (raw, session) = (&stage.raw, stage.session);
        let [too_much, liar] = refused_psbts(&stage);
        let code = stage.users[0].code();
        for (psbt, refusal, rule) in [
            (&liar, CKR_COUNTERSIGN_PSBT_REFUSED, Rule::UtxoMissing),
            (&too_much, CKR_COUNTERSIGN_POLICY, Rule::TransactionMax),
        ] {
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
            assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, format!("alice:{code}").as_bytes()), CKR_OK);
            assert_rv!(raw.sign_update(session, &psbt[..50]), CKR_OK);
            assert_rv!(raw.sign_update(session, &psbt[50..]), CKR_OK);
            assert_eq!(raw.device_error(session), 0, "the operation is under way");
            assert_eq!(raw.sign_final(session), Err(refusal));
            assert_eq!(raw.device_error(session), number(rule));
        }
    });
}

#[test]
fn each_message_names_the_rule_that_refused_it_and_the_next_one_clears_it() {
    in_boundary(this_test!(), |_| {
        let stage = Stage::new(&["alice", "bob"]);
        let (raw, session) = (&stage.raw, stage.session);
        let [too_much, liar] = refused_psbts(&stage);
        let alice = approval("alice", &stage.users[0].code());
        let bob = approval("bob", &stage.users[1].code());
        let wrong = approval("alice", &stage.users[0].wrong_code());
        assert_rv!(message_sign::init(raw, session, stage.key), CKR_OK);
        let whole = |record: &[u8], psbt: &[u8]| message_sign::sign(raw, session, record, psbt);
        assert_eq!(whole(&alice, &liar), Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert_eq!(raw.device_error(session), number(Rule::UtxoMissing));
        assert_eq!(whole(&wrong, &too_much), Err(CKR_PIN_INCORRECT));
        assert_eq!(raw.device_error(session), 0, "a refused code");
        assert_eq!(whole(&alice, &too_much), Err(CKR_COUNTERSIGN_POLICY));
        assert_eq!(raw.device_error(session), number(Rule::TransactionMax));
        // In parts.
        assert_rv!(message_sign::begin(raw, session, &bob), CKR_OK);
        assert_eq!(raw.device_error(session), 0, "a message has started");
        assert_rv!(message_sign::part(raw, session, &[], &liar[..50]), CKR_OK);
        let refused = message_sign::last(raw, session, &[], &liar[50..]);
        assert_eq!(refused, Err(CKR_COUNTERSIGN_PSBT_REFUSED));
        assert_eq!(raw.device_error(session), number(Rule::UtxoMissing));
        let psbt = stage.psbt();
        verify_signed(&psbt, &whole(&bob, &psbt).expect("nothing was spent"));
        assert_eq!(raw.device_error(session), 0);
    });
}

#[test]
fn a_key_that_signs_digests_names_the_rule_of_its_policy() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice", "bob"]);
        stage.as_so(|raw, so| {
            digest_key::make(raw, so, "sidechain", "alice\nbob", "max_period_transactions = 1");
        });
        let (raw, session) = (&stage.raw, stage.session);
        let key = raw.wallet_key(session, "sidechain");
        let sign = |user: usize, digest: [u8; 32]| {
            let user = &stage.users[user];
            let record = approval(user.name(), &user.code());
            assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_DIGEST, &record, key), CKR_OK);
            raw.sign(session, &digest)
        };
        assert!(sign(0, [1; 32]).is_ok());
        assert_eq!(raw.device_error(session), 0);
        assert_eq!(sign(1, [2; 32]), Err(CKR_COUNTERSIGN_POLICY));
        assert_eq!(raw.device_error(session), number(Rule::PeriodTransactions));
    });
}
