//! Every event and every act, as its line.

use countersign::kernel::act::document::{DocumentDigest, UserDocument};
use countersign::kernel::act::{Change, Deed, Document, PolicyChange, RecordedAct};
use countersign::kernel::audit::{
    Answer, Asked, ConsentFacts, ConsentStep, DecidedAct, DeviceWord, DigestFacts, Fate, Head,
    OfficerSignature, PasskeyWord, PendingStep, ProposalStep, Step, TransactionFacts, TriedCode, Void,
};
use countersign::kernel::direction::Direction;
use countersign::kernel::otp::OtpHash;
use countersign::kernel::pin::Role;
use countersign::kernel::seal::SetHash;
use serde_json::json;

use super::*;

fn link(event: Event) -> Link {
    Link {
        sequence: 7,
        time: 1_735_689_600,
        event,
        previous: Head([0xab; 32]),
        set: SetHash::from_bytes([2; 32]),
        batch: 7,
    }
}

/// The line without the common fields, which are checked separately.
fn facts(event: Event) -> Value {
    let link = link(event);
    let mut bytes = Vec::new();
    write(&link, &mut bytes).expect("memory");
    let line = std::str::from_utf8(&bytes).expect("UTF-8");
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(line.ends_with('\n'), "{line}");
    let mut value: Value = serde_json::from_str(line).expect("JSON");
    let object = value.as_object_mut().expect("an object");
    for (field, wanted) in [
        ("sequence", json!(7)),
        ("time", json!(1_735_689_600)),
        ("time_utc", json!("2025-01-01T00:00:00Z")),
        ("previous", json!("ab".repeat(32))),
        ("head", json!(HEXLOWER.encode(&link.head().0))),
    ] {
        assert_eq!(object.remove(field), Some(wanted), "{field}");
    }
    assert!(FIELDS.contains(object["event"].as_str().expect("a name")), "{line}");
    for field in object.keys() {
        assert!(FIELDS.contains(field.as_str()), "{field} is not documented");
    }
    value
}

fn act(deed: Deed, document: Option<Document>, changes: Vec<Change>) -> Event {
    let before = Some(DocumentDigest([0xcd; 32]));
    Event::Act(Box::new(RecordedAct { deed, id: [1; 16], name: "x".into(), document, before, changes }))
}

#[test]
fn what_happens_to_a_proposed_act_is_shown_with_what_officers_signed() {
    let (nonce, key) = ("05".repeat(16), "06".repeat(32));
    let signature = || OfficerSignature { officer: [6; 32], signature: "signed".into() };
    let shown = |step| {
        let heading = "thaw all".into();
        facts(Event::Proposal(Box::new(ProposalStep { nonce: [5; 16], heading, step })))
    };
    let told = |event: &str, further: Value| {
        let mut told = json!({ "event": event, "nonce": nonce, "does": "thaw all" });
        let further = further.as_object().expect("an object").clone();
        told.as_object_mut().expect("an object").extend(further);
        told
    };
    let proposed = |signature| shown(Step::Proposed { text: "the text".into(), signature });
    assert_eq!(proposed(None), told("act-proposed", json!({ "text": "the text" })));
    let by = json!({ "officers": [key], "signature": "signed" });
    let brought = json!({ "text": "the text", "officers": [key], "signature": "signed" });
    assert_eq!(proposed(Some(signature())), told("act-proposed", brought));
    assert_eq!(shown(Step::Signed(signature())), told("act-signed", by.clone()));
    assert_eq!(shown(Step::VetoedByOfficer(signature())), told("act-vetoed", by));
    let user = Step::VetoedByUser { name: "alice".into(), enrolment: [1; 16] };
    assert_eq!(shown(user), told("act-vetoed", json!({ "users": ["alice"] })));
    assert_eq!(shown(Step::Withdrawn), told("act-withdrawn", json!({})));
    let because = json!({ "because": "its subject was changed after it was written" });
    assert_eq!(shown(Step::Voided(Void::Subject)), told("act-voided", because));
    assert_eq!(facts(Event::Ticked(3)), json!({ "event": "act-ticked", "waiting": 3 }));

    let council = Document::Council("threshold 1\n".into());
    let digest = council.digest().to_string();
    let Event::Act(act) = act(Deed::OfficersSet, Some(council), vec![]) else { panic!("an act") };
    let decided = DecidedAct { act: *act, nonce: [5; 16], officers: vec![[6; 32]] };
    assert_eq!(
        facts(Event::Decided(Box::new(decided))),
        json!({
            "event": "officers-set", "id": "01".repeat(16), "document": { "officers": { "text": "threshold 1\n" } },
            "document_digest": digest, "before_digest": "cd".repeat(32), "nonce": nonce, "officers": [key],
        })
    );
    let veto = |fate, answer| {
        let codes = vec![TriedCode { user: Some("alice".into()), fate }];
        facts(Event::Tried { codes, asked: Asked::Veto([5; 16]), answer })
    };
    let right = json!({ "event": "code-accepted", "users": ["alice"], "nonce": nonce });
    assert_eq!(veto(Fate::Spent, Answer::Signed), right);
    let wrong = json!({ "event": "code-refused", "users": ["alice"], "wrong": ["alice"], "codes": 1, "nonce": nonce });
    assert_eq!(veto(Fate::Wrong, Answer::WrongCode), wrong);
}

#[test]
fn what_users_say_to_a_transaction_is_shown_with_its_ticket_and_what_exactly_they_said_it_to() {
    let (ticket, digest) = ("47".repeat(16), "d1".repeat(32));
    let told = |step| {
        facts(Event::Consent(Box::new(ConsentStep { ticket: [0x47; 16], wallet: "treasury".into(), step })))
    };
    let users = vec![("alice".into(), [1; 16]), ("bob".into(), [2; 16])];
    let (statement, peer) = ("the statement".into(), Some("backend".into()));
    assert_eq!(
        told(PendingStep::Proposed { statement, users, peer }),
        json!({
            "event": "consent-asked", "ticket": ticket, "wallet": "treasury", "users": ["alice", "bob"],
            "text": "the statement", "peer": "backend",
        })
    );
    let withdrawn = json!({ "event": "consent-withdrawn", "ticket": ticket, "wallet": "treasury" });
    assert_eq!(told(PendingStep::Withdrawn), withdrawn);
    let by_device = |refuses| {
        told(PendingStep::SaidByDevice(Box::new(DeviceWord {
            user: "alice".into(),
            enrolment: [1; 16],
            digest: [0xd1; 32],
            refuses,
            device: "ledger".into(),
            address: "bc1q".into(),
            text: "approve: ".into(),
            signature: "KF8=".into(),
        })))
    };
    for (event, refuses) in [("consent-given", false), ("consent-refused", true)] {
        let shown = json!({
            "event": event, "ticket": ticket, "wallet": "treasury", "users": ["alice"], "digest": digest,
            "device": "ledger", "address": "bc1q", "text": "approve: ", "signature": "KF8=",
        });
        assert_eq!(by_device(refuses), shown);
    }
    let by_passkey = told(PendingStep::SaidByPasskey(Box::new(PasskeyWord {
        user: "alice".into(),
        enrolment: [1; 16],
        digest: [0xd1; 32],
        refuses: true,
        passkey: "phone".into(),
        public_key: vec![0x30],
        client_data: b"{}".to_vec(),
        authenticator_data: vec![0xff, 0xfe],
        signature: vec![],
    })));
    let shown = json!({
        "event": "consent-refused", "ticket": ticket, "wallet": "treasury", "users": ["alice"], "digest": digest,
        "passkey": "phone",
        "assertion": { "public_key": "MA", "client_data": "e30", "authenticator_data": "__4", "signature": "" },
    });
    assert_eq!(by_passkey, shown);
    let codes = |fate| vec![TriedCode { user: Some("alice".into()), fate }];
    let word = |refuses, fate, answer| {
        let (ticket, wallet, digest) = ([0x47; 16], "treasury".into(), [0xd1; 32]);
        let asked = Asked::Consent(ConsentFacts { ticket, wallet, digest, refuses });
        facts(Event::Tried { codes: codes(fate), asked, answer })
    };
    let said = |event: &str| json!({ "event": event, "ticket": ticket, "wallet": "treasury", "users": ["alice"], "digest": digest });
    assert_eq!(word(false, Fate::Spent, Answer::Signed), said("consent-given"));
    assert_eq!(word(true, Fate::Spent, Answer::Signed), said("consent-refused"));
    let (ticket_bytes, wallet) = ([0x47; 16], "treasury".to_owned());
    let at_desk = ConsentFacts { ticket: ticket_bytes, wallet, digest: [0xd1; 32], refuses: false };
    let at_desk = Event::Tried {
        codes: codes(Fate::Spent),
        asked: Asked::ConsentAtDesk(at_desk),
        answer: Answer::Signed,
    };
    let mut shown = said("consent-given");
    shown["means"] = json!("desk");
    assert_eq!(facts(at_desk), shown);
    let wrong = word(false, Fate::Wrong, Answer::WrongCode);
    assert_eq!((&wrong["event"], &wrong["ticket"]), (&json!("code-refused"), &json!(ticket)));
    let asked = Box::new(Asked::Digest(DigestFacts { key: "eth".into(), digest: [0xd1; 32] }));
    let asked = Asked::Ticket { ticket: [0x47; 16], asked };
    assert_eq!(
        facts(Event::Tried { codes: codes(Fate::Spent), asked, answer: Answer::Signed }),
        json!({ "event": "digest-signed", "ticket": ticket, "key": "eth", "users": ["alice"], "digest": digest })
    );
}

#[test]
fn an_act_of_administration_is_shown_with_its_document() {
    let (id, before) = ("01".repeat(16), "cd".repeat(32));
    let user = UserDocument {
        name: "x".into(),
        issuer: "bank".into(),
        key_id: [3; 16],
        hash: OtpHash::Sha256,
        digits: 8,
        period: 60,
        confirmed: false,
    };
    let document = Document::User(user);
    let digest = document.digest().to_string();
    let told = json!({ "user": {
        "name": "x", "issuer": "bank", "otp_key": "03".repeat(16), "hash": "sha256", "digits": 8, "period": 60,
        "confirmed": false,
    } });
    let policy = PolicyChange {
        direction: Direction { tightens: true, loosens: false },
        rules: vec!["allowlist".into()],
        before: [4; 32],
        after: [5; 32],
    };
    let changes = vec![
        Change::Label("old".into()),
        Change::Registration,
        Change::UsersAdded(vec!["carol".into()]),
        Change::UsersRemoved(vec!["bob".into()]),
        Change::Policy(policy),
        Change::Reach { before: [7, 3], after: [50_000, 3] },
    ];
    for (event, wanted) in [
        (
            act(Deed::UserAdded, Some(document), vec![]),
            json!({
                "event": "user-added", "users": ["x"], "id": id, "document": told,
                "document_digest": digest, "before_digest": before,
            }),
        ),
        (
            act(Deed::UserRemoved, None, vec![]),
            json!({ "event": "user-removed", "users": ["x"], "id": id, "before_digest": before }),
        ),
        (
            act(Deed::PinChanged(Role::So), None, vec![]),
            json!({ "event": "pin-changed", "role": "so", "id": id, "before_digest": before }),
        ),
        (
            act(Deed::ClockTaken, None, vec![Change::Clock(-7)]),
            json!({ "event": "clock-taken", "moved_s": -7, "id": id, "before_digest": before }),
        ),
        (
            act(Deed::WalletUpdated, None, changes),
            json!({
                "event": "wallet-updated", "wallet": "x", "id": id, "before_digest": before,
                "label_before": "old", "registered": true, "users_added": ["carol"], "users_removed": ["bob"],
                "policy_tightens": true, "policy_loosens": false, "rules": ["allowlist"],
                "policy_sha256": "05".repeat(32), "policy_before_sha256": "04".repeat(32),
                "reach": [50_000, 3], "reach_before": [7, 3],
            }),
        ),
        (
            act(Deed::KeyUpdated, None, vec![]),
            json!({
                "event": "digest-key-updated", "key": "x", "id": id, "before_digest": before,
                "users_added": [], "users_removed": [],
            }),
        ),
    ] {
        assert_eq!(facts(event), wanted);
    }
}

#[test]
fn every_event_is_shown_as_documented() {
    let transaction = || TransactionFacts {
        wallet: "treasury".into(),
        txid: core::array::from_fn(|index| index as u8),
        leaves: 61_000,
        fee: 1_000,
    };
    let txid = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let digest =
        || DigestFacts { key: "sidechain".into(), digest: core::array::from_fn(|index| index as u8) };
    let users = || vec!["alice".to_owned(), "b\"ob\n".to_owned()];
    let both = ["alice", "b\"ob\n"];
    for (event, wanted) in [
        (Event::Initialised, json!({ "event": "initialised" })),
        (Event::PinCharged(Role::So), json!({ "event": "pin-charged", "role": "so" })),
        (Event::PinAccepted(Role::User), json!({ "event": "pin-accepted", "role": "user" })),
        (Event::PinSet(Role::User), json!({ "event": "pin-set", "role": "user" })),
        (Event::UserAdded("alice".into()), json!({ "event": "user-added", "users": ["alice"] })),
        (Event::UserRemoved("alice".into()), json!({ "event": "user-removed", "users": ["alice"] })),
        (Event::UserUnlocked("alice".into()), json!({ "event": "user-unlocked", "users": ["alice"] })),
        (Event::CodeCharged(users()), json!({ "event": "code-charged", "users": both })),
        (Event::CodeCharged(vec![]), json!({ "event": "code-charged", "users": [] })),
        (Event::CodeAccepted("alice".into()), json!({ "event": "code-accepted", "users": ["alice"] })),
        (Event::WalletCreated("hot".into()), json!({ "event": "wallet-created", "wallet": "hot" })),
        (Event::WalletChanged("hot".into()), json!({ "event": "wallet-changed", "wallet": "hot" })),
        (
            Event::PolicyRefused { users: users(), transaction: transaction(), rule: "fee-cap".into() },
            json!({
                "event": "policy-refused", "users": both, "rule": "fee-cap", "wallet": "treasury",
                "txid": txid, "leaves_sat": 61_000, "fee_sat": 1_000,
            }),
        ),
        (
            Event::Countersigned { users: users(), transaction: transaction() },
            json!({
                "event": "countersigned", "users": both, "wallet": "treasury",
                "txid": txid, "leaves_sat": 61_000, "fee_sat": 1_000,
            }),
        ),
        (Event::ClockTaken { moved: Some(-30) }, json!({ "event": "clock-taken", "moved_s": -30 })),
        (Event::ClockTaken { moved: None }, json!({ "event": "clock-taken" })),
        (
            Event::Charged { users: users(), codes: 3, transaction: Some(transaction()) },
            json!({
                "event": "charged", "users": both, "codes": 3, "wallet": "treasury",
                "txid": txid, "leaves_sat": 61_000, "fee_sat": 1_000,
            }),
        ),
        (
            Event::Charged { users: vec![], codes: 1, transaction: None },
            json!({ "event": "charged", "users": [], "codes": 1 }),
        ),
        (
            Event::Repeated { users: users(), transaction: transaction() },
            json!({
                "event": "repeated", "users": both, "wallet": "treasury",
                "txid": txid, "leaves_sat": 61_000, "fee_sat": 1_000,
            }),
        ),
        (
            Event::PsbtRefused { wallet: "treasury".into(), rule: "no-outputs".into() },
            json!({ "event": "psbt-refused", "wallet": "treasury", "rule": "no-outputs" }),
        ),
        (
            Event::WalletUpdated {
                wallet: "treasury".into(),
                users_added: vec!["carol".into()],
                users_removed: vec![],
                policy: Some(Direction { tightens: true, loosens: false }),
            },
            json!({
                "event": "wallet-updated", "wallet": "treasury", "users_added": ["carol"],
                "users_removed": [], "policy_tightens": true, "policy_loosens": false,
            }),
        ),
        (
            Event::WalletUpdated {
                wallet: "treasury".into(),
                users_added: vec![],
                users_removed: vec![],
                policy: None,
            },
            json!({
                "event": "wallet-updated", "wallet": "treasury", "users_added": [], "users_removed": [],
            }),
        ),
        (
            Event::DigestKeyCreated("sidechain".into()),
            json!({ "event": "digest-key-created", "key": "sidechain" }),
        ),
        (
            Event::DigestKeyUpdated {
                key: "sidechain".into(),
                users_added: vec![],
                users_removed: vec!["carol".into()],
                policy: Some(Direction { tightens: false, loosens: true }),
            },
            json!({
                "event": "digest-key-updated", "key": "sidechain", "users_added": [],
                "users_removed": ["carol"], "policy_tightens": false, "policy_loosens": true,
            }),
        ),
        (
            Event::DigestCharged { users: users(), codes: 2, digest: digest() },
            json!({ "event": "digest-charged", "users": both, "codes": 2, "key": "sidechain", "digest": txid }),
        ),
        (
            Event::DigestSigned { users: users(), digest: digest() },
            json!({ "event": "digest-signed", "users": both, "key": "sidechain", "digest": txid }),
        ),
        (
            Event::DigestRepeated { users: users(), digest: digest() },
            json!({ "event": "digest-repeated", "users": both, "key": "sidechain", "digest": txid }),
        ),
        (
            Event::DigestRefused { users: users(), digest: digest(), rule: "approvals".into() },
            json!({
                "event": "digest-refused", "users": both, "rule": "approvals", "key": "sidechain",
                "digest": txid,
            }),
        ),
        (Event::Stopped { failures: 100 }, json!({ "event": "stopped", "failures": 100 })),
        (
            Event::Restored { epoch: 1, store: 5, anchor: Some(9) },
            json!({ "event": "restored", "epoch": 1, "store": 5, "anchor": 9 }),
        ),
        (
            Event::Restored { epoch: 2, store: 5, anchor: None },
            json!({ "event": "restored", "epoch": 2, "store": 5 }),
        ),
        (
            Event::RestoredByOfficers {
                epoch: 3,
                store: 5,
                anchor: Some(9),
                officers: vec![[0xab; 32]],
                council: None,
            },
            json!({
                "event": "restored", "epoch": 3, "store": 5, "anchor": 9, "officers": ["ab".repeat(32)],
            }),
        ),
    ] {
        assert_eq!(facts(event), wanted);
    }
}
