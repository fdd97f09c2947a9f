//! What anybody may bring without a login: how much of it (`src/pkcs11/ration.rs`), and how long.

use countersign::kernel::motion::MAX_TEXT_LEN;
use countersign::kernel::name::MAX_POLICY_LEN;
use harness::module::LIMITS;

use super::super::IS_CLIENT;
use super::*;

/// More refusals than a peer may have at once, and what comes to it during the test.
const JUNK: usize = 700;

fn policy(document: &str) -> Attribute {
    text(CKA_COUNTERSIGN_POLICY, document)
}

#[test]
fn who_brings_junk_without_end_keeps_no_officer_and_no_user_from_anything() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        let mut proposed = Vec::new();
        stage.as_so(|raw, so| {
            for limit in [200_000, 300_000, 400_000] {
                let loose = policy(&format!("max_transaction_sat = {limit}\nmax_fee_sat = 5000\n"));
                let act = drafted(raw, so, &loose);
                propose(raw, so, &act, Some(&signers.sign(0, &act))).expect("an officer's");
                proposed.push(act);
            }
        });
        let (raw, session) = (&stage.raw, stage.session);
        let find = |act: &str| raw.find(session, &[class(), text(CKA_VALUE, act)]).expect("it finds")[0];
        let objects: Vec<_> = proposed.iter().map(|act| find(act)).collect();
        let set = |object, kind, value: &str| raw.set_attributes(session, object, &[text(kind, value)]);

        let stranger = signers.sign(signers.stranger(), &proposed[0]);
        let junk = |number: usize| match number % 3 {
            0 => set(objects[0], CKA_COUNTERSIGN_ACT_VETO, &stranger),
            1 => set(objects[0], CKA_COUNTERSIGN_ACT_SIGNATURE, &stranger),
            _ => propose(raw, session, &proposed[0], Some(&stranger)).expect_err("a stranger's"),
        };
        let refused_with_a_reason = (0..JUNK).take_while(|number| {
            let rv = junk(*number);
            assert!([CKR_COUNTERSIGN_ACT_REFUSED, CKR_FUNCTION_FAILED].contains(&rv), "{rv:#x}");
            rv == CKR_COUNTERSIGN_ACT_REFUSED
        });
        let count = refused_with_a_reason.count();
        if IS_CLIENT {
            assert!((500..JUNK).contains(&count), "{count}");
            assert_eq!(raw.device_error(session), 0, "over the ration nobody says why");
        } else {
            assert_eq!(count, JUNK, "a process of its own only keeps itself busy");
        }

        // From here on nothing but what is right, by the same peer.
        assert_rv!(set(objects[0], CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(1, &proposed[0])), CKR_OK);
        assert_eq!(state(raw, session, objects[0]), CS_ACT_WAITING);
        let words = veto_text(&ActText::parse(&proposed[1]).expect("an act")).expect("it has a text");
        assert_rv!(set(objects[1], CKA_COUNTERSIGN_ACT_VETO, &signers.sign(2, &words)), CKR_OK);
        let code = format!("alice:{}", stage.users[0].code());
        assert_rv!(set(objects[2], CKA_COUNTERSIGN_ACT_VETO_CODE, &code), CKR_OK);
        let draft = raw.create(session, &[class(), text(CKA_COUNTERSIGN_ACT_DO, "freeze wallet treasury")]);
        let freeze = act_text(raw, session, draft.expect("a freeze is in a hurry"));
        let frozen = propose(raw, session, &freeze, Some(&signers.sign(2, &freeze))).expect("an officer's");
        assert_eq!(state(raw, session, frozen), CS_ACT_CARRIED_OUT);
    });
}

#[test]
fn a_text_has_up_to_256_kib_and_a_longer_one_is_no_act() {
    in_boundary(this_test!(), |_| {
        let (mut stage, signers) = stage();
        let mut longest = String::new();
        stage.as_so(|raw, so| {
            let wallet = raw.wallet_public(so, "treasury");
            // Empty lines, before each of which the text has its marks.
            let old = format!("{LIMITS}{}", "\n".repeat(MAX_POLICY_LEN - LIMITS.len()));
            assert_rv!(raw.set_attributes(so, wallet, &[policy(&old)]), CKR_OK);
            let loose = |lines| policy(&format!("unlimited = true\n{}", "\n".repeat(lines)));
            let len = |lines| drafted(raw, so, &loose(lines)).len();
            let (none, one) = (len(0), len(1));
            let most = (MAX_TEXT_LEN - none) / (one - none);
            longest = drafted(raw, so, &loose(most));
            assert!(longest.len() <= MAX_TEXT_LEN && longest.len() + one - none > MAX_TEXT_LEN);
            // Refused as before, but nobody could sign it.
            assert_rv!(raw.set_attributes(so, wallet, &[loose(most + 1)]), CKR_COUNTERSIGN_ACT);
            assert!(acts(raw, so, false).is_empty(), "the draft before is of another call");
        });
        let (raw, session) = (&stage.raw, stage.session);
        let proposed =
            propose(raw, session, &longest, Some(&signers.sign(0, &longest))).expect("an officer's");
        assert_eq!(act_text(raw, session, proposed), longest);
        let second = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(1, &longest));
        assert_rv!(raw.set_attributes(session, proposed, &[second]), CKR_OK);
        assert_eq!(state(raw, session, proposed), CS_ACT_WAITING);
        let longer = "x".repeat(MAX_TEXT_LEN + 1);
        let answer = propose(raw, session, &longer, Some(&signers.sign(0, &longer)));
        assert_eq!(answer, Err(CKR_ATTRIBUTE_VALUE_INVALID));
        let junk = "x".repeat(MAX_TEXT_LEN);
        let answer = propose(raw, session, &junk, Some(&signers.sign(0, &junk))).expect_err("no act");
        refused(raw, session, answer, CS_ACT_REFUSED_TEXT);
    });
}
