//! Acts that officers decide (`include/countersign.h`, "Officers"): drafts, proposals, signatures and vetoes.

mod past;
mod rations;

use countersign::kernel::motion::{ActText, Motion};
use countersign::kernel::proposal::veto_text;
use countersign::kernel::utc::to_digits;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::engine::officers::Signers;
use harness::module::raw::{Attribute, Raw};
use harness::module::{Stage, assert_rv, now, read_ulong, this_test, ulong};

use super::in_boundary;
use super::officers::officers;

fn text(kind: CK_ATTRIBUTE_TYPE, value: &str) -> Attribute {
    (kind, value.as_bytes().to_vec())
}

fn class() -> Attribute {
    (CKA_CLASS, ulong(CKO_COUNTERSIGN_PROPOSAL))
}

/// A token with three officers, of whom two must sign, and acts that wait for 72 hours. Alice and bob sign for the wallet.
pub(super) fn stage() -> (Stage, Signers) {
    let mut stage = Stage::new(&["alice", "bob"]);
    let signers = Signers::new(3);
    let council = signers.council(2, 72).to_string();
    stage.as_so(|raw, so| {
        let set = raw.set_attributes(so, officers(raw, so), &[text(CKA_COUNTERSIGN_COUNCIL, &council)]);
        assert_rv!(set, CKR_OK);
    });
    (stage, signers)
}

/// The drafts of the application, or the acts that are proposed.
pub(super) fn acts(raw: &Raw, session: CK_SESSION_HANDLE, are_proposed: bool) -> Vec<CK_OBJECT_HANDLE> {
    let is_token = (CKA_TOKEN, vec![if are_proposed { CK_TRUE } else { CK_FALSE }]);
    raw.find(session, &[class(), is_token]).expect("it finds")
}

pub(super) fn act_text(raw: &Raw, session: CK_SESSION_HANDLE, act: CK_OBJECT_HANDLE) -> String {
    String::from_utf8(raw.attribute(session, act, CKA_VALUE).expect("it has a text")).expect("ASCII")
}

/// The draft that a refused change of a wallet leaves.
fn drafted(raw: &Raw, so: CK_SESSION_HANDLE, change: &Attribute) -> String {
    let wallet = raw.wallet_public(so, "treasury");
    assert_rv!(raw.set_attributes(so, wallet, std::slice::from_ref(change)), CKR_COUNTERSIGN_ACT);
    assert_eq!(raw.device_error(so), CS_RULE_ACT_LOOSENS);
    let drafts = acts(raw, so, false);
    assert_eq!(drafts.len(), 1, "the next refused call replaces it");
    act_text(raw, so, drafts[0])
}

pub(super) fn propose(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    act: &str,
    signature: Option<&str>,
) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    let mut template = vec![class(), (CKA_TOKEN, vec![CK_TRUE]), text(CKA_VALUE, act)];
    template.extend(signature.map(|signature| text(CKA_COUNTERSIGN_ACT_SIGNATURE, signature)));
    raw.create(session, &template)
}

/// Asserts that it is refused for this reason.
fn refused(raw: &Raw, session: CK_SESSION_HANDLE, rv: CK_RV, reason: CK_ULONG) {
    assert_rv!(rv, CKR_COUNTERSIGN_ACT_REFUSED, "reason {reason:#x}");
    assert_eq!(raw.device_error(session), reason);
}

fn state(raw: &Raw, session: CK_SESSION_HANDLE, act: CK_OBJECT_HANDLE) -> CK_ULONG {
    read_ulong(raw, session, act, CKA_COUNTERSIGN_ACT_STATE)
}

#[test]
fn act_early_a_refused_call_leaves_a_draft_and_signed_it_waits() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        stage.as_so(|raw, so| {
            assert!(acts(raw, so, false).is_empty());
            let label = text(CKA_LABEL, "petty cash");
            let first = drafted(raw, so, &label);
            let act = drafted(raw, so, &text(CKA_COUNTERSIGN_POLICY, "unlimited = true"));
            assert_ne!(first, act);
            let draft = acts(raw, so, false)[0];
            let parsed = ActText::parse(&act).expect("the boundary's own words");
            let Motion::WalletSet(set) = &parsed.motion else { panic!("{act}") };
            assert_eq!((&*set.old.label, &*set.new.policy), ("treasury", "unlimited = true"));
            assert_eq!(raw.attribute(so, draft, CKA_ID), Ok(parsed.nonce.to_vec()));
            assert_eq!(raw.attribute(so, draft, CKA_LABEL), Ok(parsed.motion.heading().into_bytes()));
            assert_eq!(raw.attribute(so, draft, CKA_COUNTERSIGN_ACT_CLASS), Ok(ulong(CS_RULE_ACT_LOOSENS)));
            assert_eq!(raw.attribute(so, draft, CKA_COUNTERSIGN_ACT_STATE), Err(CKR_ATTRIBUTE_TYPE_INVALID));
            assert_rv!(raw.set_attributes(so, draft, &[label]), CKR_ACTION_PROHIBITED);
            assert_eq!(raw.copy(so, draft, &[]), Err(CKR_ACTION_PROHIBITED));
            assert!(!raw.find(so, &[(CKA_TOKEN, vec![CK_FALSE])]).expect("it finds").contains(&draft));
            let other = raw.read_write();
            assert_rv!(raw.close(so), CKR_OK);
            assert!(acts(raw, other, false).is_empty(), "it lives as long as its session");

            // The security officer proposes, and one officer after the other signs.
            let proposed = propose(raw, other, &act, None).expect("a right text");
            assert_eq!(acts(raw, other, true), [proposed]);
            let number = |kind| read_ulong(raw, other, proposed, kind);
            assert_eq!(state(raw, other, proposed), CS_ACT_UNSIGNED);
            let of = [CKA_COUNTERSIGN_ACT_SIGNED, CKA_COUNTERSIGN_ACT_NEEDED, CKA_COUNTERSIGN_ACT_CLASS];
            assert_eq!(of.map(number), [0, 2, CS_RULE_ACT_LOOSENS]);
            assert_eq!(number(CKA_COUNTERSIGN_ACT_EXPIRES), parsed.expires);
            assert_eq!(act_text(raw, other, proposed), act);
            assert_eq!(raw.attribute(other, proposed, CKA_ID), Ok(parsed.nonce.to_vec()));
            assert_eq!(
                raw.attribute(other, proposed, CKA_COUNTERSIGN_ACT_VETOERS),
                Ok(b"alice\nbob".to_vec())
            );
            assert_eq!(
                raw.attribute(other, proposed, CKA_COUNTERSIGN_ACT_VETO_CODE),
                Err(CKR_ATTRIBUTE_SENSITIVE)
            );
            assert!(raw.object_size(other, proposed).is_ok_and(|size| size as usize > act.len()));
            let sign = |officer: usize, what: &str| {
                let signature = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(officer, what));
                raw.set_attributes(other, proposed, &[signature])
            };
            assert_rv!(sign(0, &act), CKR_OK);
            refused(raw, other, sign(0, &act), CS_ACT_REFUSED_AGAIN);
            refused(raw, other, sign(signers.stranger(), &act), CS_ACT_REFUSED_SIGNATURE);
            refused(raw, other, sign(1, &first), CS_ACT_REFUSED_SIGNATURE);
            refused(raw, other, sign(1, &act.replace('\n', "\r\n")), CS_ACT_REFUSED_SIGNATURE);
            assert_eq!(
                (state(raw, other, proposed), number(CKA_COUNTERSIGN_ACT_SIGNED)),
                (CS_ACT_UNSIGNED, 1)
            );
            assert_rv!(sign(1, &act), CKR_OK);
            assert_eq!(raw.device_error(other), 0);
            assert_eq!(
                (state(raw, other, proposed), number(CKA_COUNTERSIGN_ACT_SIGNED)),
                (CS_ACT_WAITING, 2)
            );
            let left = number(CKA_COUNTERSIGN_ACT_DELAY);
            assert!((72 * 3_600 - 600..=72 * 3_600).contains(&left), "{left}");
            let signatures = raw.attribute(other, proposed, CKA_COUNTERSIGN_ACT_SIGNATURES).expect("shown");
            let signatures = String::from_utf8(signatures).expect("ASCII");
            let lines: Vec<&str> = signatures.lines().collect();
            assert_eq!(lines.len(), 8, "four lines each: {signatures}");

            // Nobody carries it out before its delay, and what is signed is not withdrawn.
            let carry_out = [(CKA_COUNTERSIGN_ACT_CARRY_OUT, vec![CK_TRUE])];
            refused(raw, other, raw.set_attributes(other, proposed, &carry_out), CS_ACT_REFUSED_NOT_DUE);
            let no = [(CKA_COUNTERSIGN_ACT_CARRY_OUT, vec![CK_FALSE])];
            assert_rv!(raw.set_attributes(other, proposed, &no), CKR_ATTRIBUTE_VALUE_INVALID);
            refused(raw, other, raw.destroy(other, proposed), CS_ACT_REFUSED_SIGNED);
            refused(raw, other, propose(raw, other, &act, None).expect_err("known"), CS_ACT_REFUSED_KNOWN);
            let wallet = raw.wallet_public(other, "treasury");
            let policy = raw.attribute(other, wallet, CKA_COUNTERSIGN_POLICY).expect("shown");
            assert_ne!(policy, b"unlimited = true");
        });
    });
}

#[test]
fn act_twice_an_act_without_a_delay_is_carried_out_once_with_enough_signatures() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        stage.as_so(|raw, so| {
            let clock =
                raw.find(so, &[(CKA_CLASS, ulong(CKO_HW_FEATURE)), (CKA_HW_FEATURE_TYPE, ulong(CKH_CLOCK))]);
            let clock = clock.expect("it finds")[0];
            let change = [(CKA_VALUE, to_digits(now()).into_bytes())];
            assert_rv!(raw.set_attributes(so, clock, &change), CKR_COUNTERSIGN_ACT);
            assert_eq!(raw.device_error(so), CS_RULE_ACT_VOUCHLESS);
            let act = act_text(raw, so, acts(raw, so, false)[0]);
            let proposed = propose(raw, so, &act, Some(&signers.sign(2, &act))).expect("an officer signed");
            assert_eq!(state(raw, so, proposed), CS_ACT_UNSIGNED);
            let signature = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(0, &act));
            assert_rv!(raw.set_attributes(so, proposed, &[signature]), CKR_OK);
            assert_eq!(state(raw, so, proposed), CS_ACT_CARRIED_OUT);
            let signature = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(1, &act));
            refused(raw, so, raw.set_attributes(so, proposed, &[signature]), CS_ACT_REFUSED_OVER);
            // Within one second it is known; after that the clock that it names is not the one in force.
            assert_rv!(propose(raw, so, &act, None).expect_err("it was done"), CKR_COUNTERSIGN_ACT_REFUSED);
            let reason = raw.device_error(so);
            assert!([CS_ACT_REFUSED_KNOWN, CS_ACT_REFUSED_VOID].contains(&reason), "{reason:#x}");
        });
    });
}

#[test]
fn one_officer_freezes_without_a_login_and_an_administrator_cannot_thaw() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        assert_rv!(stage.raw.close_all(), CKR_OK);
        let (raw, anybody) = (&stage.raw, stage.raw.read_write());
        let drafts = |what: &str| raw.create(anybody, &[class(), text(CKA_COUNTERSIGN_ACT_DO, what)]);
        let lost = format!("so-pin-lost {}", "ab".repeat(32));
        for wrong in [
            "",
            "freeze",
            "freeze wallet",
            "freeze wallet nosuch",
            "freeze all x",
            "thaw all",
            "so-pin-lost",
            "so-pin-lost 00",
            &lost.to_uppercase(),
        ] {
            assert_eq!(drafts(wrong), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{wrong:?}");
        }
        for what in ["freeze all", &lost, "freeze wallet treasury"] {
            let draft = drafts(what).unwrap_or_else(|rv| panic!("{what}: {rv:#x}"));
            assert_eq!(acts(raw, anybody, false), [draft], "one draft a session");
        }
        let act = act_text(raw, anybody, acts(raw, anybody, false)[0]);
        let stranger = signers.sign(signers.stranger(), &act);
        refused(
            raw,
            anybody,
            propose(raw, anybody, &act, Some(&stranger)).expect_err("no officer"),
            CS_ACT_REFUSED_SIGNATURE,
        );
        assert_eq!(propose(raw, anybody, &act, None), Err(CKR_USER_NOT_LOGGED_IN));
        let store = act.lines().nth(1).expect("it names the store");
        for (other, reason) in [
            ("freeze".to_owned(), CS_ACT_REFUSED_TEXT),
            (act.replace('\n', "\r\n"), CS_ACT_REFUSED_TEXT),
            (act.replace("treasury", "treasure"), CS_ACT_REFUSED_TEXT),
            (act.replace(store, &format!("store {}", "7c".repeat(16))), CS_ACT_REFUSED_VOID),
        ] {
            let answer = propose(raw, anybody, &other, Some(&signers.sign(1, &other)));
            refused(raw, anybody, answer.expect_err("another text"), reason);
        }
        let readable = raw.read_only();
        let signature = signers.sign(1, &act);
        assert_eq!(propose(raw, readable, &act, Some(&signature)), Err(CKR_SESSION_READ_ONLY));
        let proposed = propose(raw, anybody, &act, Some(&signature)).expect("one officer is enough");
        assert_eq!(state(raw, anybody, proposed), CS_ACT_CARRIED_OUT);
        let wallet = raw.wallet_public(anybody, "treasury");
        assert_eq!(raw.attribute(anybody, wallet, CKA_COUNTERSIGN_FROZEN), Ok(vec![CK_TRUE]));
        stage.as_so(|raw, so| {
            drafted(raw, so, &(CKA_COUNTERSIGN_FROZEN, vec![CK_FALSE]));
        });
        let code = stage.users[0].code();
        assert_eq!(stage.sign("alice", &code, &stage.psbt()), Err(CKR_COUNTERSIGN_POLICY));
    });
}

#[test]
fn whether_there_is_a_user_is_shown_to_nobody_without_a_login() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        let drafts = |raw: &Raw, session, name: &str| {
            let what = format!("freeze user {name}");
            raw.create(session, &[class(), text(CKA_COUNTERSIGN_ACT_DO, &what)])
        };
        assert_rv!(stage.raw.close_all(), CKR_OK);
        let (raw, anybody) = (&stage.raw, stage.raw.read_write());
        for name in ["alice", "nosuch", "", "alice and bob", "\u{430}lice"] {
            assert_eq!(drafts(raw, anybody, name), Err(CKR_USER_NOT_LOGGED_IN), "{name:?}");
        }
        let mut act = String::new();
        stage.as_so(|raw, so| {
            assert_eq!(drafts(raw, so, "nosuch"), Err(CKR_ATTRIBUTE_VALUE_INVALID));
            act = act_text(raw, so, drafts(raw, so, "alice").expect("she is enrolled"));
        });
        // A text of one's own tells no more, since nobody reads it who is no officer.
        let raw = &stage.raw;
        assert_rv!(raw.close_all(), CKR_OK);
        let anybody = raw.read_write();
        for other in [act.clone(), act.replace("alice", "nosuch")] {
            let signature = signers.sign(signers.stranger(), &other);
            let answer = propose(raw, anybody, &other, Some(&signature)).expect_err("no officer");
            refused(raw, anybody, answer, CS_ACT_REFUSED_SIGNATURE);
        }
        let proposed = propose(raw, anybody, &act, Some(&signers.sign(0, &act))).expect("one is enough");
        assert_eq!(state(raw, anybody, proposed), CS_ACT_CARRIED_OUT);
    });
}

#[test]
fn act_vetoed_one_officer_or_one_user_of_the_wallet_ends_an_act() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        let mut proposed = Vec::new();
        stage.as_so(|raw, so| {
            for policy in ["unlimited = true", "unlimited = true\nrequired_approvals = 2"] {
                let act = drafted(raw, so, &text(CKA_COUNTERSIGN_POLICY, policy));
                let object = propose(raw, so, &act, Some(&signers.sign(0, &act))).expect("an officer signed");
                let second = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(1, &act));
                assert_rv!(raw.set_attributes(so, object, &[second]), CKR_OK);
                assert_eq!(state(raw, so, object), CS_ACT_WAITING);
                proposed.push(act);
            }
            // One that nobody has signed, the security officer takes back.
            let act = drafted(raw, so, &text(CKA_LABEL, "petty cash"));
            let object = propose(raw, so, &act, None).expect("a right text");
            assert_rv!(raw.destroy(so, object), CKR_OK);
            assert_rv!(raw.destroy(so, object), CKR_OBJECT_HANDLE_INVALID);
            assert_eq!(acts(raw, so, true).len(), 2);
        });
        let (raw, user) = (&stage.raw, stage.session);
        let find = |session, act: &str| {
            let found = raw.find(session, &[class(), text(CKA_VALUE, act)]).expect("it finds");
            assert_eq!(found.len(), 1);
            found[0]
        };
        // A user by a code, which is charged like any other.
        let by_code = find(user, &proposed[0]);
        let veto =
            |code: &str| raw.set_attributes(user, by_code, &[text(CKA_COUNTERSIGN_ACT_VETO_CODE, code)]);
        assert_rv!(veto("alice"), CKR_ATTRIBUTE_VALUE_INVALID);
        refused(raw, user, veto("carol:123456"), CS_ACT_REFUSED_NO_VETOER);
        assert_rv!(veto(&format!("alice:{}", stage.users[0].wrong_code())), CKR_PIN_INCORRECT);
        assert_eq!(stage.failures("alice"), 1);
        assert_eq!(state(raw, user, by_code), CS_ACT_WAITING);
        assert_rv!(veto(&format!("bob:{}", stage.users[1].code())), CKR_OK);
        assert_eq!(state(raw, user, by_code), CS_ACT_VETOED);
        let by = raw.attribute(user, by_code, CKA_COUNTERSIGN_ACT_ENDED).expect("shown");
        assert!(String::from_utf8(by).expect("UTF-8").contains("bob"));
        refused(raw, user, veto("bob:123456"), CS_ACT_REFUSED_OVER);

        // An officer by a signature, without a login. A code needs one.
        assert_rv!(raw.close_all(), CKR_OK);
        let anybody = raw.read_write();
        let act = &proposed[1];
        let object = find(anybody, act);
        let code = text(CKA_COUNTERSIGN_ACT_VETO_CODE, "alice:123456");
        assert_rv!(raw.set_attributes(anybody, object, std::slice::from_ref(&code)), CKR_USER_NOT_LOGGED_IN);
        let veto = |signature: &str| {
            raw.set_attributes(anybody, object, &[text(CKA_COUNTERSIGN_ACT_VETO, signature)])
        };
        refused(raw, anybody, veto(&signers.sign(2, act)), CS_ACT_REFUSED_SIGNATURE);
        let words = veto_text(&ActText::parse(act).expect("an act")).expect("it has a text");
        refused(raw, anybody, veto(&signers.sign(signers.stranger(), &words)), CS_ACT_REFUSED_SIGNATURE);
        let both = [code, text(CKA_COUNTERSIGN_ACT_VETO, &signers.sign(2, &words))];
        assert_rv!(raw.set_attributes(anybody, object, &both), CKR_TEMPLATE_INCONSISTENT);
        assert_rv!(raw.set_attributes(anybody, object, &[text(CKA_LABEL, "x")]), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(veto(&signers.sign(2, &words)), CKR_OK);
        assert_eq!(state(raw, anybody, object), CS_ACT_VETOED);
        let third = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(2, act));
        refused(raw, anybody, raw.set_attributes(anybody, object, &[third]), CS_ACT_REFUSED_OVER);
        assert_rv!(raw.destroy(anybody, object), CKR_USER_NOT_LOGGED_IN);
    });
}
