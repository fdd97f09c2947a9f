//! One link of the audit chain as one line of JSON.
//!
//! Every line has `sequence`, `time` (Unix seconds), `time_utc` (ISO 8601), `event`, `previous` and `head`
//! (hex). The table has the further fields of each event. A field without a value is left out. `previous` is
//! the head of the line before, so anybody who has the lines can see that none is missing, changed or moved,
//! and needs no secret for that. A line's own head cannot be computed from the line: it covers the form of
//! the sealed record, and the records as well.
//!
//! | event | fields |
//! |---|---|
//! | `initialised` | |
//! | `pin-charged`, `pin-accepted`, `pin-set` | `role`: `so` or `user` |
//! | `user-added`, `user-removed`, `user-unlocked`, `code-accepted` | `users`: one |
//! | `code-refused` | `users`: whose codes were tried; `wrong`: those of them that were not right and are charged; `codes`; of a signature: `wallet`, `txid`, `leaves_sat`, `fee_sat`, or `key`, `digest` |
//! | `code-charged` | by version 0.1, before a comparison; `users`: to whom a try was charged; empty: nobody known |
//! | `charged` | by version 0.1, before a comparison; `users`, `codes`: tries charged; of a signature: `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `wallet-created`, `wallet-changed` | `wallet` |
//! | `policy-refused` | `users`, `rule`, `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `countersigned`, `repeated` | `users`, `wallet`, `txid`, `leaves_sat`, `fee_sat` |
//! | `clock-taken` | `moved_s`: seconds by which it differed from the clock believed before, if that can be told |
//! | `stopped` | `failures`: wrong codes of all users within the hour |
//! | `restored` | `epoch`, `store`: newest link of the store taken, `anchor`: the link that was anchored, if any |
//! | `psbt-refused` | `wallet`, `rule`: of structure, amounts or ownership; no code was looked at |
//! | `wallet-updated` | `wallet`, `users_added`, `users_removed`, `label_before`, `registered`; of a raised reach `reach`, `reach_before`; of another policy `policy_tightens`, `policy_loosens`, `rules`, `policy_sha256`, `policy_before_sha256` |
//! | `digest-key-created` | `key` |
//! | `digest-key-updated` | `key`, and as of `wallet-updated` |
//! | `digest-charged` | `users`, `codes`, `key`, `digest` |
//! | `digest-signed`, `digest-repeated` | `users`, `key`, `digest` |
//! | `digest-refused` | `users`, `rule`, `key`, `digest` |
//! | `pin-changed`, `pin-lost`, `pin-unlocked` | `role` |
//! | `user-confirmed` | `users`: one |
//!
//! Acts of administration (`initialised`, `pin-set`, `pin-changed`, `pin-lost`, `pin-unlocked`, `user-…`,
//! `wallet-created`, `wallet-updated`, `digest-key-created`, `digest-key-updated`, and a `clock-taken` that
//! the security officer approved) also have: `id` of the object (hex), `document`: everything in force about
//! it since then, `document_digest`, and `before_digest`: the digest of what was in force before. Acts of
//! older versions have none of these.

use std::io::{self, Write};

use countersign::kernel::audit::{
    Answer, Asked, DigestFacts, Event, Fate, Link, TransactionFacts, TriedCode,
};
use countersign::kernel::direction::Direction;
use countersign::kernel::pin::Role;
use countersign::kernel::utc::to_iso;
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::Value;

mod act;

/// The fields, as the help text shows them.
pub(super) const FIELDS: &str = "\
Every line is one JSON object:
  sequence, time (Unix), time_utc, event
  users       to whom a code or a try belongs; empty: nobody known
  wallet      label of the wallet
  key         label of the key that signs digests
  digest      what was to be signed (hex)
  rule        the rule that refused
  txid        of the unsigned transaction, as explorers show it
  leaves_sat  satoshi that leave the wallet, fee included
  fee_sat     satoshi of fee
  role        whose PIN: so, user
  wrong       those of users whose codes were not right: each is charged a try
  codes       codes tried
  failures    wrong codes of all users within an hour, when all stopped
  moved_s     seconds by which a clock differed that was taken as it was
  epoch, store, anchor
              the restoration's number, the newest link of the store
              taken, the link that the backing token remembered
  users_added, users_removed
              users who sign for the wallet or key since, or no more
  policy_tightens, policy_loosens
              whether another policy allows less, or more
  label_before
              label that it had before, where it was changed
  registered  true where the script was registered by it
  reach, reach_before
              next external and next internal index of a wallet whose
              reach was raised, and as they were before
  rules       keys of the policy whose values differ
  policy_sha256, policy_before_sha256
              SHA-256 of the policy's text, and of the one before
  id          of the object, the same for as long as it is there (hex)
  document    all that is in force about it since
  document_digest, before_digest
              name the document, and what was in force before it
  previous    head of the line before; head: head of this one (hex)
What an event does not have is left out. No secret is in it.

Events: initialised, pin-charged, pin-accepted, pin-set, user-added,
user-removed, user-unlocked, code-charged, charged, code-accepted,
wallet-created, wallet-changed, policy-refused, countersigned, repeated,
clock-taken, stopped, restored, psbt-refused, wallet-updated,
digest-key-created, digest-key-updated, digest-charged, digest-signed,
digest-repeated, digest-refused, pin-changed, user-confirmed, pin-lost,
pin-unlocked, code-refused.";

/// The name of an event.
pub(super) fn name(event: &Event) -> &'static str {
    Facts::of(event).0
}

/// The line of a link, as a value.
pub(super) fn to_json(link: &Link) -> Value {
    serde_json::to_value(Line::of(link)).expect("its keys are strings")
}

/// Writes the line of a link, with a line end.
pub(super) fn write(link: &Link, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line::of(link))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: u64,
    time_utc: String,
    event: &'static str,
    #[serde(flatten)]
    facts: Facts<'a>,
    previous: String,
    head: String,
}

impl Line<'_> {
    fn of(link: &Link) -> Line<'_> {
        let (event, facts) = Facts::of(&link.event);
        Line {
            sequence: link.sequence,
            time: link.time,
            time_utc: to_iso(link.time),
            event,
            facts,
            previous: HEXLOWER.encode(&link.previous.0),
            head: HEXLOWER.encode(&link.head().0),
        }
    }
}

/// The fields that only some events have.
#[derive(Default, Serialize)]
struct Facts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaves_sat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_sat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users_added: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users_removed: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_tightens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_loosens: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label_before: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach_before: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_before_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_digest: Option<String>,
}

impl<'a> Facts<'a> {
    /// The event's name and its own fields. A new event does not compile until it is added here.
    fn of(event: &'a Event) -> (&'static str, Facts<'a>) {
        match event {
            Event::Act(act) => (act.deed.tag(), Facts::of_act(act)),
            Event::Initialised => ("initialised", Facts::default()),
            Event::PinCharged(role) => ("pin-charged", Facts::of_role(*role)),
            Event::PinAccepted(role) => ("pin-accepted", Facts::of_role(*role)),
            Event::PinSet(role) => ("pin-set", Facts::of_role(*role)),
            Event::UserAdded(user) => ("user-added", Facts::of_users(std::slice::from_ref(user))),
            Event::UserRemoved(user) => ("user-removed", Facts::of_users(std::slice::from_ref(user))),
            Event::UserUnlocked(user) => ("user-unlocked", Facts::of_users(std::slice::from_ref(user))),
            Event::CodeCharged(users) => ("code-charged", Facts::of_users(users)),
            Event::CodeAccepted(user) => ("code-accepted", Facts::of_users(std::slice::from_ref(user))),
            Event::WalletCreated(label) => ("wallet-created", Facts::of_wallet(label)),
            Event::WalletChanged(label) => ("wallet-changed", Facts::of_wallet(label)),
            Event::PolicyRefused { users, transaction, rule } => {
                ("policy-refused", Facts { rule: Some(rule), ..Facts::of_users(users).with(transaction) })
            }
            Event::Countersigned { users, transaction } => {
                ("countersigned", Facts::of_users(users).with(transaction))
            }
            Event::ClockTaken { moved } => ("clock-taken", Facts { moved_s: *moved, ..Facts::default() }),
            Event::Charged { users, codes, transaction } => {
                let facts = Facts { codes: Some(*codes), ..Facts::of_users(users) };
                let facts = match transaction {
                    Some(transaction) => facts.with(transaction),
                    None => facts,
                };
                ("charged", facts)
            }
            Event::Repeated { users, transaction } => ("repeated", Facts::of_users(users).with(transaction)),
            Event::Stopped { failures } => {
                ("stopped", Facts { failures: Some(*failures), ..Facts::default() })
            }
            Event::Restored { epoch, store, anchor } => {
                let facts =
                    Facts { epoch: Some(*epoch), store: Some(*store), anchor: *anchor, ..Facts::default() };
                ("restored", facts)
            }
            Event::PsbtRefused { wallet, rule } => {
                ("psbt-refused", Facts { rule: Some(rule), ..Facts::of_wallet(wallet) })
            }
            Event::WalletUpdated { wallet, users_added, users_removed, policy } => {
                ("wallet-updated", Facts::of_wallet(wallet).changed(users_added, users_removed, *policy))
            }
            Event::DigestKeyCreated(label) => ("digest-key-created", Facts::of_key(label)),
            Event::DigestKeyUpdated { key, users_added, users_removed, policy } => {
                ("digest-key-updated", Facts::of_key(key).changed(users_added, users_removed, *policy))
            }
            Event::DigestCharged { users, codes, digest } => (
                "digest-charged",
                Facts { codes: Some(*codes), ..Facts::of_users(users).with_digest(digest) },
            ),
            Event::DigestSigned { users, digest } => {
                ("digest-signed", Facts::of_users(users).with_digest(digest))
            }
            Event::DigestRepeated { users, digest } => {
                ("digest-repeated", Facts::of_users(users).with_digest(digest))
            }
            Event::DigestRefused { users, digest, rule } => {
                ("digest-refused", Facts { rule: Some(rule), ..Facts::of_users(users).with_digest(digest) })
            }
            Event::Tried { codes, asked, answer } => Facts::of_tried(codes, asked, *answer),
        }
    }

    fn of_users(users: &'a [String]) -> Facts<'a> {
        Facts { users: Some(users.iter().map(String::as_str).collect()), ..Facts::default() }
    }

    /// The outcome of the codes of one request.
    fn of_tried(codes: &'a [TriedCode], asked: &'a Asked, answer: Answer) -> (&'static str, Facts<'a>) {
        let names = |of: fn(Fate) -> bool| {
            codes.iter().filter(|code| of(code.fate)).filter_map(|code| code.user.as_deref()).collect()
        };
        let facts = Facts { users: Some(names(|_| true)), ..Facts::default() };
        let facts = match asked {
            Asked::Transaction(transaction) => facts.with(transaction),
            Asked::Digest(digest) => facts.with_digest(digest),
            Asked::Enrolment(_) => facts,
        };
        let is_digest = matches!(asked, Asked::Digest(_));
        match answer {
            Answer::Signed => (if is_digest { "digest-signed" } else { "countersigned" }, facts),
            Answer::Repeated => (if is_digest { "digest-repeated" } else { "repeated" }, facts),
            Answer::Refused(rule) => {
                let name = if is_digest { "digest-refused" } else { "policy-refused" };
                (name, Facts { rule: Some(rule.tag()), ..facts })
            }
            Answer::Confirmed => match asked {
                Asked::Enrolment(Some(act)) => (act.deed.tag(), Facts::of_act(act)),
                _ => ("code-accepted", facts),
            },
            Answer::WrongCode => {
                let wrong = Some(names(|fate| fate == Fate::Wrong));
                let codes = u32::try_from(codes.len()).ok();
                ("code-refused", Facts { wrong, codes, ..facts })
            }
        }
    }

    fn of_wallet(label: &'a str) -> Facts<'a> {
        Facts { wallet: Some(label), ..Facts::default() }
    }

    fn of_key(label: &'a str) -> Facts<'a> {
        Facts { key: Some(label), ..Facts::default() }
    }

    fn changed(
        self,
        users_added: &'a [String],
        users_removed: &'a [String],
        policy: Option<Direction>,
    ) -> Facts<'a> {
        Facts {
            users_added: Some(users_added),
            users_removed: Some(users_removed),
            policy_tightens: policy.map(|policy| policy.tightens),
            policy_loosens: policy.map(|policy| policy.loosens),
            ..self
        }
    }

    fn with_digest(self, digest: &'a DigestFacts) -> Facts<'a> {
        let DigestFacts { key, digest } = digest;
        Facts { key: Some(key), digest: Some(HEXLOWER.encode(digest)), ..self }
    }

    fn of_role(role: Role) -> Facts<'a> {
        let role = match role {
            Role::So => "so",
            Role::User => "user",
        };
        Facts { role: Some(role), ..Facts::default() }
    }

    fn with(self, transaction: &'a TransactionFacts) -> Facts<'a> {
        let TransactionFacts { wallet, txid, leaves, fee } = transaction;
        Facts {
            wallet: Some(wallet),
            txid: Some(HEXLOWER.encode(txid)),
            leaves_sat: Some(*leaves),
            fee_sat: Some(*fee),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign::kernel::act::document::{DocumentDigest, UserDocument};
    use countersign::kernel::act::{Change, Deed, Document, PolicyChange, RecordedAct};
    use countersign::kernel::audit::Head;
    use countersign::kernel::otp::OtpHash;
    use countersign::kernel::seal::SetHash;
    use serde_json::json;

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
    fn an_act_of_administration_is_told_with_its_document() {
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
    fn every_event_is_told_as_documented() {
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
        ] {
            assert_eq!(facts(event), wanted);
        }
    }
}
