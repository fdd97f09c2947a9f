//! Officers (`include/countersign.h`, "Officers"): who sets them, and what an administrator alone still does.

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;

use harness::engine::officers::Signers;
use harness::module::raw::{Attribute, Raw};
use harness::module::wallet::verify_signed;
use harness::module::{Stage, assert_rv, initialised_token, this_test, ulong};

use super::{digest_key, in_boundary};

/// The object of the officers.
pub(super) fn officers(raw: &Raw, session: CK_SESSION_HANDLE) -> CK_OBJECT_HANDLE {
    let found = raw.find(session, &[(CKA_CLASS, ulong(CKO_COUNTERSIGN_OFFICERS))]).expect("it finds");
    assert_eq!(found.len(), 1);
    found[0]
}

fn council(text: &str) -> [Attribute; 1] {
    [(CKA_COUNTERSIGN_COUNCIL, text.as_bytes().to_vec())]
}

fn text(kind: CK_ATTRIBUTE_TYPE, value: &str) -> Attribute {
    (kind, value.as_bytes().to_vec())
}

#[test]
fn officers_are_seen_by_everybody_and_the_security_officer_sets_them_once() {
    in_boundary(this_test!(), |_| {
        let raw = initialised_token();
        let signers = Signers::new(3);
        let first = signers.council(2, 72).to_string();
        let session = raw.read_write();
        let object = officers(&raw, session);
        assert_eq!(raw.attribute(session, object, CKA_COUNTERSIGN_COUNCIL), Ok(vec![]), "there are none");
        for (kind, value) in [
            (CKA_TOKEN, CK_TRUE),
            (CKA_PRIVATE, CK_FALSE),
            (CKA_MODIFIABLE, CK_TRUE),
            (CKA_COPYABLE, CK_FALSE),
            (CKA_DESTROYABLE, CK_FALSE),
        ] {
            assert_eq!(raw.attribute(session, object, kind), Ok(vec![value]), "{kind:#x}");
        }
        assert_rv!(raw.set_attributes(session, object, &council(&first)), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.close_all(), CKR_OK);
        let user = raw.user();
        assert_rv!(raw.set_attributes(user, officers(&raw, user), &council(&first)), CKR_USER_NOT_LOGGED_IN);
        assert_rv!(raw.close_all(), CKR_OK);

        let so = raw.so();
        let object = officers(&raw, so);
        for wrong in ["", "threshold 1\n", &first.replace('\n', "\r\n"), first.trim_end()] {
            assert_rv!(
                raw.set_attributes(so, object, &council(wrong)),
                CKR_ATTRIBUTE_VALUE_INVALID,
                "{wrong}"
            );
        }
        assert_rv!(raw.set_attributes(so, object, &[text(CKA_LABEL, "x")]), CKR_ATTRIBUTE_READ_ONLY);
        assert_rv!(
            raw.set_attributes(so, object, &[text(CKA_COUNTERSIGN_POLICY, "x")]),
            CKR_TEMPLATE_INCONSISTENT
        );
        assert_rv!(raw.set_attributes(so, object, &[]), CKR_OK);
        assert_eq!(raw.attribute(so, object, CKA_COUNTERSIGN_COUNCIL), Ok(vec![]));
        assert_rv!(raw.set_attributes(so, object, &council(&first)), CKR_OK);
        assert_eq!(raw.attribute(so, object, CKA_COUNTERSIGN_COUNCIL), Ok(first.clone().into_bytes()));

        // The same once more changes nothing, and another is theirs to decide.
        assert_rv!(raw.set_attributes(so, object, &council(&first)), CKR_OK);
        assert_eq!(raw.device_error(so), 0);
        for other in [signers.council(1, 72), signers.council(3, 72), signers.council(2, 73)] {
            let refused = raw.set_attributes(so, object, &council(&other.to_string()));
            assert_rv!(refused, CKR_COUNTERSIGN_ACT);
            assert_eq!(raw.device_error(so), CS_RULE_ACT_LOOSENS);
        }
        assert_eq!(raw.attribute(so, object, CKA_COUNTERSIGN_COUNCIL), Ok(first.clone().into_bytes()));
        assert_rv!(raw.destroy(so, object), CKR_ACTION_PROHIBITED);
        assert_eq!(raw.copy(so, object, &[]), Err(CKR_ACTION_PROHIBITED));
        assert!(raw.object_size(so, object).is_ok_and(|size| size as usize > first.len()));
        // Only a search for the class finds it, as older clients do not know that class.
        assert!(!raw.find(so, &[]).expect("it finds").contains(&object));
        assert!(!raw.find(so, &[(CKA_TOKEN, vec![CK_TRUE])]).expect("it finds").contains(&object));
        let both = [(CKA_CLASS, ulong(CKO_COUNTERSIGN_OFFICERS)), (CKA_TOKEN, vec![CK_FALSE])];
        assert_eq!(raw.find(so, &both), Ok(vec![]));
        // Everybody sees them, in a read-only session, too.
        assert_rv!(raw.close_all(), CKR_OK);
        let anybody = raw.read_only();
        let object = officers(&raw, anybody);
        assert_eq!(raw.attribute(anybody, object, CKA_COUNTERSIGN_COUNCIL), Ok(first.into_bytes()));
    });
}

#[test]
fn act_alone_an_administrator_alone_loosens_nothing_and_tightens_at_once() {
    in_boundary(this_test!(), |_| {
        let mut stage = Stage::new(&["alice"]);
        stage.as_so(|raw, so| {
            harness::module::enrol_confirmed(raw, so, "mallory");
            digest_key::make(raw, so, "sidechain", "alice", "max_period_transactions = 5");
            let set = raw.set_attributes(
                so,
                officers(raw, so),
                &council(&Signers::new(3).council(2, 72).to_string()),
            );
            assert_rv!(set, CKR_OK);
            let (wallet, key) = (raw.wallet_public(so, "treasury"), raw.wallet_key(so, "sidechain"));
            let users = |names| text(CKA_COUNTERSIGN_USERS, names);
            let policy = |policy| text(CKA_COUNTERSIGN_POLICY, policy);
            let tighter = "max_transaction_sat = 100000\nmax_fee_sat = 5000\n";
            for (object, change) in [
                (wallet, vec![users("alice\nmallory")]),
                (wallet, vec![users("mallory")]),
                (wallet, vec![policy("unlimited = true")]),
                (wallet, vec![text(CKA_LABEL, "petty cash")]),
                (wallet, vec![(CKA_COUNTERSIGN_REACH, [ulong(100), ulong(100)].concat())]),
                // A mixture is what its loosest part is.
                (wallet, vec![policy(tighter), users("alice\nmallory")]),
                (key, vec![policy("max_period_transactions = 6")]),
                (key, vec![users("mallory")]),
            ] {
                assert_rv!(raw.set_attributes(so, object, &change), CKR_COUNTERSIGN_ACT, "{change:?}");
                assert_eq!(raw.device_error(so), CS_RULE_ACT_LOOSENS, "{change:?}");
            }
            let users_now = raw.attribute(so, wallet, CKA_COUNTERSIGN_USERS);
            assert_eq!(users_now, Ok(b"alice".to_vec()));

            assert_rv!(raw.set_attributes(so, wallet, &[policy(tighter)]), CKR_OK);
            assert_eq!(raw.device_error(so), 0, "an act clears the number of the one before");
            assert_rv!(raw.set_attributes(so, key, &[policy("max_period_transactions = 4")]), CKR_OK);
            let frozen = |is| [(CKA_COUNTERSIGN_FROZEN, vec![is])];
            assert_rv!(raw.set_attributes(so, key, &frozen(CK_TRUE)), CKR_OK);
            assert_rv!(raw.set_attributes(so, key, &frozen(CK_FALSE)), CKR_COUNTERSIGN_ACT);
            assert_eq!(raw.attribute(so, key, CKA_COUNTERSIGN_FROZEN), Ok(vec![CK_TRUE]));
        });
        // The wallet's user signs as before.
        let psbt = stage.psbt();
        let signed = stage.sign("alice", &stage.users[0].code(), &psbt);
        verify_signed(&psbt, &signed.expect("nothing changed for her"));
    });
}
