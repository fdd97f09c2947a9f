//! Freezes (`include/countersign.h`, "Freezes"): who sets them, and what each answers.

use countersign::kernel::rule::Rule;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::module::raw::{Attribute, Raw};
use harness::module::wallet::verify_signed;
use harness::module::{Stage, approval, assert_rv, this_test, ulong};

use super::{digest_key, in_boundary, message_sign};

const DIGEST: [u8; 32] = [0x5a; 32];

fn frozen(is: bool) -> Attribute {
    (CKA_COUNTERSIGN_FROZEN, vec![if is { CK_TRUE } else { CK_FALSE }])
}

/// The object that stands for everything.
fn everything(raw: &Raw, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    let template = [(CKA_CLASS, ulong(CKO_HW_FEATURE)), (CKA_HW_FEATURE_TYPE, ulong(CKH_COUNTERSIGN_FREEZE))];
    raw.find(session, &template).expect("it finds")[0]
}

/// Finds the object that stands for a thing.
type Finds = fn(&Raw, CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE;

/// Each thing that can be frozen, of the token that [`stage`] makes.
const THINGS: [(&str, Finds); 5] = [
    ("everything", everything),
    ("wallet", |raw, session| raw.wallet_key(session, "treasury")),
    ("wallet, public side", |raw, session| raw.wallet_public(session, "treasury")),
    ("key", |raw, session| raw.wallet_key(session, "sidechain")),
    ("user", |raw, session| raw.user_key(session, "alice")),
];

/// A wallet and a key that signs digests, of alice and bob.
fn stage() -> Stage {
    let mut stage = Stage::new(&["alice", "bob"]);
    stage.as_so(|raw, so| digest_key::make(raw, so, "sidechain", "alice\nbob", "unlimited = true"));
    stage
}

fn sign_digest(stage: &Stage, record: &[u8]) -> Result<Vec<u8>, CK_RV> {
    let key = stage.raw.wallet_key(stage.session, "sidechain");
    assert_rv!(stage.raw.sign_init(stage.session, CKM_COUNTERSIGN_DIGEST, record, key), CKR_OK);
    stage.raw.sign(stage.session, &DIGEST)
}

#[test]
fn frozen_is_an_answer_of_its_own_that_spends_nothing() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage();
        let psbt = stage.psbt();
        let (alice, bob) = (stage.users[0].code(), stage.users[1].code());
        let digest_of = approval("bob", &bob);
        for (thing, handle) in THINGS {
            stage.as_so(|raw, so| {
                assert_rv!(raw.set_attributes(so, handle(raw, so), &[frozen(true)]), CKR_OK, "{thing}");
            });
            let (raw, session) = (&stage.raw, stage.session);
            assert_eq!(
                raw.attribute(session, handle(raw, session), CKA_COUNTERSIGN_FROZEN),
                Ok(vec![CK_TRUE])
            );
            let signed = stage.sign("alice", &alice, &psbt);
            if thing == "key" {
                assert_eq!(sign_digest(&stage, &digest_of), Err(CKR_COUNTERSIGN_POLICY));
            } else {
                // As a search has found the key, and before any code is looked at: `C_SignInit` knows nothing of it.
                assert_eq!(signed, Err(CKR_COUNTERSIGN_POLICY), "{thing}");
                let wrong = stage.sign("alice", &stage.users[0].wrong_code(), &psbt);
                assert_eq!(wrong, Err(CKR_COUNTERSIGN_POLICY), "{thing}: a wrong code is not told");
            }
            let number = raw.device_error(session);
            assert_eq!(number, CK_ULONG::from(Rule::Frozen.number()), "{thing}");
            let alice_key = raw.user_key(session, "alice");
            assert_eq!(raw.attribute(session, alice_key, CKA_COUNTERSIGN_FAILURES), Ok(ulong(0)), "{thing}");
            stage.as_so(|raw, so| {
                assert_rv!(raw.set_attributes(so, handle(raw, so), &[frozen(false)]), CKR_OK, "{thing}");
                let shown = raw.attribute(so, handle(raw, so), CKA_COUNTERSIGN_FROZEN);
                assert_eq!(shown, Ok(vec![CK_FALSE]), "{thing}");
            });
            if thing == "key" {
                verify_signed(&psbt, &signed.expect("the wallet is not frozen"));
            }
        }
        // The same code as before all of it: it was spent once, for this very transaction.
        verify_signed(&psbt, &stage.sign("alice", &alice, &psbt).expect("thawed"));
        sign_digest(&stage, &digest_of).expect("thawed");
    });
}

#[test]
fn frozen_is_what_each_way_to_hand_in_a_code_is_answered() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage();
        stage.as_so(|raw, so| {
            let alice = raw.user_key(so, "alice");
            assert_rv!(raw.set_attributes(so, alice, &[frozen(true)]), CKR_OK);
            // Her code is not checked for its own sake, either.
            assert_rv!(raw.verify(so, alice, "000000"), CKR_COUNTERSIGN_POLICY);
        });
        let (raw, session, psbt) = (&stage.raw, stage.session, stage.psbt());
        let (alice, bob) = (stage.users[0].code(), stage.users[1].code());
        let rule = CK_ULONG::from(Rule::Frozen.number());
        // A message.
        assert_rv!(message_sign::init(raw, session, stage.key), CKR_OK);
        let answer = message_sign::sign(raw, session, &approval("alice", &alice), &psbt);
        assert_eq!((answer, raw.device_error(session)), (Err(CKR_COUNTERSIGN_POLICY), rule));
        assert_rv!(message_sign::end(raw, session), CKR_OK);
        // A login of the context.
        assert_rv!(raw.sign_init(session, CKM_COUNTERSIGN_PSBT, &[], stage.key), CKR_OK);
        assert_rv!(raw.login(session, CKU_CONTEXT_SPECIFIC, format!("alice:{alice}").as_bytes()), CKR_OK);
        assert_eq!(raw.sign(session, &psbt), Err(CKR_COUNTERSIGN_POLICY));
        // Beside a code of somebody who is not frozen, whose code is not spent.
        let both = [approval("bob", &bob), approval("alice", &alice)].concat();
        assert_eq!(raw.countersign(session, stage.key, &both, &psbt), Err(CKR_COUNTERSIGN_POLICY));
        verify_signed(&psbt, &stage.sign("bob", &bob, &psbt).expect("bob is not frozen"));
    });
}

#[test]
fn the_security_officer_alone_freezes_and_thaws() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage();
        for (thing, handle) in THINGS {
            let (raw, session) = (&stage.raw, stage.session);
            for to in [true, false] {
                let answer = raw.set_attributes(session, handle(raw, session), &[frozen(to)]);
                assert_rv!(answer, CKR_USER_NOT_LOGGED_IN, "{thing}");
            }
            assert_eq!(
                raw.attribute(session, handle(raw, session), CKA_COUNTERSIGN_FROZEN),
                Ok(vec![CK_FALSE])
            );
        }
        stage.as_so(|raw, so| {
            for (thing, handle) in THINGS {
                let object = handle(raw, so);
                let set = |attributes: &[Attribute]| raw.set_attributes(so, object, attributes);
                // To have it as it is is no mistake, and no act.
                for to in [false, true, true, false, false] {
                    assert_rv!(set(&[frozen(to)]), CKR_OK, "{thing}");
                }
                for value in [vec![], vec![2], vec![1, 0]] {
                    let answer = set(&[(CKA_COUNTERSIGN_FROZEN, value)]);
                    assert_rv!(answer, CKR_ATTRIBUTE_VALUE_INVALID, "{thing}");
                }
                let beside = [frozen(true), (CKA_LABEL, b"other".to_vec())];
                assert_rv!(set(&beside), CKR_TEMPLATE_INCONSISTENT, "{thing}");
                assert_eq!(raw.attribute(so, object, CKA_COUNTERSIGN_FROZEN), Ok(vec![CK_FALSE]), "{thing}");
            }
            let all = everything(raw, so);
            assert_rv!(raw.set_attributes(so, all, &[]), CKR_OK);
            let class = [(CKA_CLASS, ulong(CKO_DATA))];
            assert_rv!(raw.set_attributes(so, all, &class), CKR_ATTRIBUTE_READ_ONLY);
            assert_rv!(raw.destroy(so, all), CKR_ACTION_PROHIBITED);
            // An enrolment is not made as a frozen one.
            let clock =
                raw.find(so, &[(CKA_HW_FEATURE_TYPE, ulong(CKH_CLOCK)), (CKA_CLASS, ulong(CKO_HW_FEATURE))]);
            let clock = clock.expect("it finds")[0];
            assert_rv!(raw.set_attributes(so, clock, &[frozen(true)]), CKR_TEMPLATE_INCONSISTENT);
        });
    });
}

#[test]
fn what_is_frozen_is_found_by_it_and_everything_is_seen_without_a_login() {
    in_boundary(this_test!(), |_| {
        let mut stage = stage();
        stage.as_so(|raw, so| {
            for handle in [THINGS[0].1, THINGS[1].1, THINGS[4].1] {
                assert_rv!(raw.set_attributes(so, handle(raw, so), &[frozen(true)]), CKR_OK);
            }
            let of = |class| vec![(CKA_CLASS, ulong(class)), frozen(true)];
            let find = |class| raw.find(so, &of(class)).expect("it finds");
            assert_eq!(find(CKO_PRIVATE_KEY), [raw.wallet_key(so, "treasury")]);
            assert_eq!(find(CKO_PUBLIC_KEY), [raw.wallet_public(so, "treasury")]);
            assert_eq!(find(CKO_OTP_KEY), [raw.user_key(so, "alice")]);
        });
        let raw = &stage.raw;
        assert_rv!(raw.close_all(), CKR_OK);
        let session = raw.read_only();
        let shown = raw.attribute(session, everything(raw, session), CKA_COUNTERSIGN_FROZEN);
        assert_eq!(shown, Ok(vec![CK_TRUE]));
        let public = raw.wallet_public(session, "treasury");
        assert_eq!(raw.attribute(session, public, CKA_COUNTERSIGN_FROZEN), Ok(vec![CK_TRUE]));
        let other = raw.wallet_public(session, "sidechain");
        assert_eq!(raw.attribute(session, other, CKA_COUNTERSIGN_FROZEN), Ok(vec![CK_FALSE]), "of itself");
    });
}
