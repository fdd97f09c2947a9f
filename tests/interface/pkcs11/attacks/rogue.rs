//! A rogue administrator of a token with officers: the SO PIN, the backends' PIN, every door, and the key of one officer of three, of whom
//! two must sign.

use harness::engine::officers::Signers;
use harness::module::{approval, enrol_confirmed, this_test};

use super::super::acts::{act_text, acts, propose, stage};
use super::super::in_boundary;
use super::super::officers::officers;
use super::officer::{OWN, lose_user_pin};
use super::*;

fn text(kind: CK_ATTRIBUTE_TYPE, value: &str) -> Attribute {
    (kind, value.as_bytes().to_vec())
}

/// A call that needs officers; the text of the act that it left.
fn needs_officers(raw: &Raw, so: CK_SESSION_HANDLE, rv: CK_RV, what: &str) -> String {
    assert_rv!(rv, CKR_COUNTERSIGN_ACT, "{what}");
    act_text(raw, so, acts(raw, so, false)[0])
}

#[test]
fn act_alone_with_every_pin_every_door_and_one_officers_key_nothing_is_signed() {
    in_boundary(this_test!(), |boundary| {
        let (stage, signers) = stage();
        let raw = &stage.raw;
        let psbt = stage.psbt();
        assert_rv!(raw.close_all(), CKR_OK);
        let so = as_officer(raw);

        // What it can: enrol a user of its own, and make a wallet and a key that are worth nothing yet.
        let mallory = enrol_confirmed(raw, so, "mallory");
        let wallet = raw.wallet_key(so, "treasury");

        // Into the wallet comes nobody, whatever else the same call tightens, and in whatever order.
        let tighter = "max_transaction_sat = 1\nmax_fee_sat = 1";
        let mut left = Vec::new();
        for (what, change) in [
            ("a user", vec![text(CKA_COUNTERSIGN_USERS, "alice\nbob\nmallory")]),
            ("another user", vec![text(CKA_COUNTERSIGN_USERS, "mallory")]),
            (
                "a user beside a tighter policy",
                vec![text(CKA_COUNTERSIGN_USERS, "mallory"), text(CKA_COUNTERSIGN_POLICY, tighter)],
            ),
            ("no limits", vec![text(CKA_COUNTERSIGN_POLICY, "unlimited = true")]),
            ("another label", vec![text(CKA_LABEL, "petty cash")]),
        ] {
            left.push(needs_officers(raw, so, raw.set_attributes(so, wallet, &change), what));
        }
        let other = Signers::new(1).council(1, 1).to_string();
        let council = [text(CKA_COUNTERSIGN_COUNCIL, &other)];
        left.push(needs_officers(raw, so, raw.set_attributes(so, officers(raw, so), &council), "officers"));

        // One officer's signature is one, twice, too; those of others are none.
        for act in &left {
            let proposed = propose(raw, so, act, Some(&signers.sign(0, act))).expect("one has signed");
            for by in [0, signers.stranger()] {
                let signature = text(CKA_COUNTERSIGN_ACT_SIGNATURE, &signers.sign(by, act));
                assert_rv!(raw.set_attributes(so, proposed, &[signature]), CKR_COUNTERSIGN_ACT_REFUSED);
            }
            let carry_out = [(CKA_COUNTERSIGN_ACT_CARRY_OUT, vec![CK_TRUE])];
            assert_rv!(raw.set_attributes(so, proposed, &carry_out), CKR_COUNTERSIGN_ACT_REFUSED);
            assert_rv!(raw.destroy(so, proposed), CKR_COUNTERSIGN_ACT_REFUSED, "an officer has signed it");
        }

        // A user of the wallet is not removed, so none of the same name takes the place.
        let alice = raw.find(so, &[(CKA_CLASS, ulong(CKO_OTP_KEY)), text(CKA_LABEL, "alice")]);
        assert_ne!(raw.destroy(so, alice.expect("it finds")[0]), CKR_OK);

        // Nor does the token begin anew.
        assert_rv!(raw.close_all(), CKR_OK);
        assert_ne!(raw.init_token(0, OWN, "mine"), CKR_OK);

        // With a PIN of its own it is a backend, through the other door. Its user's codes sign nothing there.
        let so = as_officer(raw);
        lose_user_pin(raw, so);
        assert_rv!(raw.init_pin(so, OWN), CKR_OK);
        assert_rv!(raw.close_all(), CKR_OK);
        raw.as_backend();
        let session = raw.read_write();
        assert_rv!(raw.login(session, CKU_USER, OWN), CKR_OK);
        let key = raw.wallet_key(session, "treasury");
        let signed = raw.countersign(session, key, &approval("mallory", &mallory.code()), &psbt);
        assert_eq!(signed, Err(CKR_PIN_INCORRECT), "mallory is none of its users");
        assert!(countersigned(boundary).is_empty());
    });
}
