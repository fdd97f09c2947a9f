//! Acts of administration: each is a link with the whole document that it put in force, a line in the log,
//! and a count in a metric.

mod costs;
mod devices;
mod lost;
mod objectors;
mod rivals;
mod rogue;
mod scene;
mod vetoes;
mod void;
mod way;

use std::io;
use std::sync::{Arc, Mutex, Once};

use countersign::admin::{
    Act, Administrator, KeyChange, KeyTerms, NewDigestKey, NewScript, UserId, WalletChange,
};
use countersign::engine::EngineError;
use countersign::kernel::act::document::{UserDocument, WalletDocument};
use countersign::kernel::act::{ActCount, Change, Deed, Document, Outcome, RecordedAct};
use countersign::kernel::audit::in_force::InForce;
use countersign::kernel::audit::{Event, Head, Link};
use countersign::kernel::digest_key::DigestMechanisms;
use countersign::kernel::pin::Role;
use countersign::kernel::seal::SetHash;
use countersign::kernel::wallet::Reach;
use harness::engine::Bench;
use harness::engine::administration::{administrator_as, user_pin};

const UNLIMITED: &str = "unlimited = true";
const LIMITED: &str = "max_transaction_sat = 5\nmax_fee_sat = 5\n";

/// Collects the log while a test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines that `work` logs, each after its level.
    fn of(work: impl FnOnce()) -> Vec<String> {
        // Also collects from the other tests' threads: a line that nobody collects when it is first reached
        // may stay off for everybody.
        static OTHERS: Once = Once::new();
        OTHERS.call_once(|| {
            let nowhere = tracing_subscriber::fmt().with_writer(io::sink).finish();
            tracing::subscriber::set_global_default(nowhere).expect("nobody else sets one");
        });
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = log.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("UTF-8").lines().map(|line| line.trim_start().to_owned()).collect()
    }
}

fn acts(bench: &Bench) -> Vec<RecordedAct> {
    let of = |event: &Event| event.act().cloned();
    bench.ledger.state().events.iter().filter_map(of).collect()
}

fn count(bench: &Bench, act: &str, outcome: Outcome) -> u64 {
    let counts = bench.engine.act_counts();
    let is_it = |count: &&ActCount| count.act == act && count.outcome == outcome;
    counts.iter().find(is_it).map_or(0, |count| count.count)
}

/// The wallet as the engine shows it.
fn shown(bench: &Bench, id: &[u8; 16]) -> Document {
    Document::from(&*bench.engine.wallet(id).expect("there"))
}

#[test]
fn every_act_of_administration_keeps_the_whole_document_and_the_digest_of_the_one_before() {
    let bench = Bench::new();
    let totp = bench.unconfirmed("alice");
    bench.confirm("alice", &bench.code(&totp)).expect("confirms");
    bench.user("bob");
    let id = bench.add_wallet("w", &["alice"], UNLIMITED, NewScript::default()).expect("a wallet");
    let made = shown(&bench, &id);
    let change = KeyChange { policy: Some(LIMITED.into()), ..KeyChange::default() };
    bench.change_wallet(&id, change).expect("changed");
    let limited = shown(&bench, &id);
    let change = KeyChange {
        label: Some("cold".into()),
        users: Some(vec!["alice".into(), "bob".into()]),
        policy: Some(UNLIMITED.into()),
    };
    bench.change_wallet(&id, change).expect("changed");
    bench.set_user_pin(b"user-pin").expect("set");
    bench.engine.change_pin(None, Role::So, b"so-pin", b"another-pin").expect("changed");
    // The login ended with its PIN, so nothing that it approves is done.
    let refused = bench.unlock_user("bob", &bench.key_id("bob"));
    assert!(matches!(refused, Err(EngineError::NotAdministrator)));
    let administrator = administrator_as(&bench.engine, None, b"another-pin");
    let bob = UserId { name: "bob".into(), key: bench.key_id("bob") };
    let _ = bench.engine.perform(administrator.approve(Act::UnlockUser(bob))).expect("unlocked");

    let acts = acts(&bench);
    let deeds: Vec<Deed> = acts.iter().map(|act| act.deed).collect();
    assert_eq!(
        deeds,
        [
            Deed::Initialised,
            Deed::UserAdded,
            Deed::UserConfirmed,
            Deed::UserAdded,
            Deed::UserConfirmed,
            Deed::WalletCreated,
            Deed::WalletUpdated,
            Deed::WalletUpdated,
            Deed::PinSet(Role::User),
            Deed::PinChanged(Role::So),
            Deed::UserUnlocked,
        ]
    );
    // Each act names the document that the act before it put in force.
    let [_, enrolled, confirmed, .., created, tightened, loosened, pin_set, pin_changed, _] = &acts[..]
    else {
        panic!("as above")
    };
    assert_eq!((created.document.as_ref(), created.before), (Some(&made), None));
    assert_eq!((tightened.document.as_ref(), tightened.before), (Some(&limited), Some(made.digest())));
    assert_eq!(
        (loosened.document.clone(), loosened.before),
        (Some(shown(&bench, &id)), Some(limited.digest()))
    );
    let Some(Document::Wallet(wallet)) = &loosened.document else { panic!("a wallet") };
    let WalletDocument { label, users, policy, descriptor, .. } = &**wallet;
    assert_eq!((label.as_str(), policy.as_str()), ("cold", UNLIMITED));
    assert_eq!(users[..], ["alice", "bob"]);
    assert!(descriptor.as_deref().is_some_and(|descriptor| descriptor.starts_with("wpkh([")));
    assert!(tightened.tightens() && !loosened.tightens());
    assert!(loosened.changes.contains(&Change::Label("w".into())));
    let Some(Document::User(UserDocument { confirmed: false, key_id, .. })) = &enrolled.document else {
        panic!("{enrolled:?}")
    };
    assert_eq!(*key_id, bench.key_id("alice"));
    assert_eq!(confirmed.before, enrolled.document.as_ref().map(Document::digest));
    let pins = |act: &RecordedAct| match &act.document {
        Some(Document::Token(token)) => (token.so_pin, token.user_pin),
        other => panic!("{other:?}"),
    };
    assert_eq!(pins(pin_set).1, pins(pin_changed).1, "that one stays");
    assert_ne!(pins(pin_set).0, pins(pin_changed).0, "that one does not");
    assert_eq!(pin_changed.before, pin_set.document.as_ref().map(Document::digest));
}

#[test]
fn the_chain_alone_shows_what_is_in_force_in_the_engine() {
    let bench = Bench::new();
    bench.user("alice");
    bench.unconfirmed("bob");
    let id = bench.wallet("w", &["alice"], LIMITED);
    let key = NewDigestKey {
        terms: KeyTerms {
            label: "k".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: UNLIMITED.into(),
        },
        mechanisms: DigestMechanisms { digest: true, ecdsa: false },
    };
    let key_id = bench.add_digest_key(key).expect("a key");
    let change = KeyChange { label: Some("l".into()), ..KeyChange::default() };
    bench.change_digest_key(&key_id, change).expect("changed");
    bench.remove_user("bob", &bench.key_id("bob")).expect("nothing lists him");
    // A second enrolment under the same name is another user.
    bench.unconfirmed("bob");

    let mut in_force = InForce::default();
    for (sequence, event) in (0..).zip(bench.ledger.state().events.iter()) {
        let link = Link {
            sequence,
            time: sequence,
            event: event.clone(),
            previous: Head::default(),
            set: SetHash::default(),
            batch: sequence,
        };
        in_force.follow(&link).expect("each goes on from what was before");
    }
    let documents: Vec<&Document> = in_force.standing().map(|(_, standing)| &standing.document).collect();
    let users: Vec<_> = documents
        .iter()
        .filter_map(|document| match document {
            Document::User(user) => Some((user.name.as_str(), user.key_id, user.confirmed)),
            _ => None,
        })
        .collect();
    assert_eq!(users.len(), 2);
    assert!(users.contains(&("alice", bench.key_id("alice"), true)));
    assert!(users.contains(&("bob", bench.key_id("bob"), false)));
    assert!(documents.contains(&&shown(&bench, &id)));
    let of_key = Document::from(&*bench.engine.digest_key(&key_id).expect("there"));
    assert!(documents.contains(&&of_key) && documents.len() == 5, "{documents:?}");
}

#[test]
fn every_act_is_a_line_of_the_log_at_warn_or_at_info_if_it_tightens() {
    let bench = Bench::new();
    let totp = bench.unconfirmed("alice");
    let lines = Log::of(|| {
        bench.confirm("alice", &bench.code(&totp)).expect("confirms");
        bench.unconfirmed("bob");
        let id = bench.wallet("w", &["alice"], UNLIMITED);
        let set = |policy: &str| {
            let change = KeyChange { policy: Some(policy.into()), ..KeyChange::default() };
            bench.change_wallet(&id, change).expect("changed");
        };
        set(LIMITED);
        set(UNLIMITED);
        bench.remove_user("bob", &bench.key_id("bob")).expect("nothing lists him");
        bench.set_user_pin(b"user-pin").expect("set");
    });
    let expected = [
        "WARN administration: user \"alice\" was confirmed by a first code; document ",
        "WARN administration: user \"bob\" was enrolled; document ",
        "WARN administration: wallet \"w\" was created; document ",
        "INFO administration: wallet \"w\" was changed; its policy allows less (unlimited, max_transaction_sat, max_fee_sat); document ",
        "WARN administration: wallet \"w\" was changed; its policy allows more (unlimited, max_transaction_sat, max_fee_sat); document ",
        "INFO administration: user \"bob\" was removed; before it ",
        "WARN administration: the security officer set the PIN of the backend; document ",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    for (act, outcome, number) in [
        ("user-confirmed", Outcome::Loosened, 1),
        ("user-added", Outcome::Loosened, 2),
        ("wallet-created", Outcome::Loosened, 1),
        ("wallet-updated", Outcome::Tightened, 1),
        ("wallet-updated", Outcome::Loosened, 1),
        ("user-removed", Outcome::Tightened, 1),
        ("pin-set", Outcome::Loosened, 1),
    ] {
        assert_eq!(count(&bench, act, outcome), number, "{act} {outcome:?}");
    }
}

#[test]
fn every_act_on_the_backends_pin_names_the_pin_in_force_afterwards() {
    let bench = Bench::new();
    let (_, administrator) =
        (bench.administrator(), administrator_as(&bench.engine, Some("user 0"), b"so-pin"));
    let set = |pin| bench.engine.perform(administrator.approve(user_pin(pin))).map(drop);
    let lines = Log::of(|| {
        set(b"user-pin").expect("set");
        assert!(set(b"another").is_err(), "it stands");
        assert!(bench.engine.login_of(Some("user 7"), Role::User, b"wrong").is_err());
        bench.unlock_user_pin().expect("it is set");
        bench.lose_user_pin().expect("it is set");
        set(b"another").expect("it was lost");
    });
    let acts = acts(&bench);
    let pins: Vec<_> = acts[acts.len() - 4..]
        .iter()
        .map(|act| match &act.document {
            Some(Document::Token(token)) => (act.deed, token.user_pin),
            other => panic!("{other:?}"),
        })
        .collect();
    let [set, unlocked, lost, again] = pins[..] else { panic!("four") };
    assert_eq!((set.0, again.0), (Deed::PinSet(Role::User), Deed::PinSet(Role::User)));
    assert_eq!(unlocked, (Deed::PinUnlocked, set.1), "it is the same PIN");
    assert_eq!(lost, (Deed::PinLost, None), "none is in force");
    assert!(again.1.is_some() && again.1 != set.1);
    for (line, expected) in lines.iter().zip([
        "WARN administration: the security officer set the PIN of the backend; document ",
        "WARN administration: the wrong tries at the PIN of the backends were cleared; document ",
        "WARN administration: the security officer declared the PIN of the backends lost; document ",
        "WARN administration: the security officer set the PIN of the backend; document ",
    ]) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for (act, outcome, number) in [
        ("pin-set", Outcome::Loosened, 2),
        ("pin-set", Outcome::Refused, 1),
        ("pin-unlocked", Outcome::Loosened, 1),
        ("pin-lost", Outcome::Loosened, 1),
    ] {
        assert_eq!(count(&bench, act, outcome), number, "{act} {outcome:?}");
    }
}

/// Of two engines over one store, the one that did not change the PIN does not know of the change.
#[test]
fn an_administrators_approval_is_valid_at_one_token_and_as_long_as_the_pin() {
    let bench = Bench::new();
    let act = || user_pin(b"user-pin");
    let is_refused = |administrator: &Administrator| {
        matches!(bench.engine.perform(administrator.approve(act())), Err(EngineError::NotAdministrator))
    };
    let another = Bench::new();
    assert!(is_refused(another.administrator()), "of another token");
    let administrator = administrator_as(&bench.engine, None, b"so-pin");
    bench.beside().engine.change_pin(None, Role::So, b"so-pin", b"another-pin").expect("changed");
    assert!(is_refused(&administrator), "of an older PIN");
    assert_eq!(count(&bench, "pin-set", Outcome::Refused), 2);
    let administrator = administrator_as(&bench.engine, None, b"another-pin");
    let _ = bench.engine.perform(administrator.approve(act())).expect("of this one");
}

#[test]
fn an_act_that_is_refused_is_counted_and_writes_no_document() {
    let bench = Bench::new();
    bench.user("alice");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    let before = acts(&bench).len();
    let refused = bench.add_wallet("w", &["alice"], UNLIMITED, NewScript::default());
    assert!(matches!(refused, Err(EngineError::Name(_))));
    let change = KeyChange { policy: Some("max_fee_sat = 1".into()), ..KeyChange::default() };
    assert!(bench.change_wallet(&id, change).is_err());
    assert!(bench.remove_user("alice", &bench.key_id("alice")).is_err());
    assert!(bench.engine.login(Role::So, b"not the pin").is_err());
    assert!(bench.set_user_pin(b"1").is_err());
    assert_eq!(acts(&bench).len(), before);
    for act in ["wallet-created", "wallet-updated", "user-removed", "so-login", "pin-set"] {
        assert_eq!(count(&bench, act, Outcome::Refused), 1, "{act}");
    }
    // An act whose write failed is not reported as done.
    bench.ledger.state().fail_at = Some(0);
    let lines = Log::of(|| assert!(bench.set_user_pin(b"user-pin").is_err()));
    assert_eq!(lines, [""; 0]);
    assert_eq!(count(&bench, "pin-set", Outcome::Loosened), 0);
}

/// A further reach allows change where none was allowed before.
#[test]
fn a_raised_reach_is_an_act_that_loosens_with_what_it_was_before() {
    let bench = Bench::new();
    bench.user("alice");
    let id = bench.add_wallet("w", &["alice"], UNLIMITED, NewScript::default()).expect("a wallet");
    let raise = |external, internal| {
        let change = WalletChange { reach: Some(Reach::at(external, internal)), ..WalletChange::default() };
        bench.change_wallet(&id, change)
    };
    let log = Log::of(|| raise(50_000, 7).expect("raised"));
    assert!(log.iter().any(|line| line.starts_with("WARN") && line.contains("from 0 to 50000")), "{log:?}");
    let last = || acts(&bench).pop().expect("there");
    let act = last();
    assert_eq!(act.changes, [Change::Reach { before: [0, 0], after: [50_000, 7] }]);
    assert!(!act.tightens());
    assert_eq!(bench.engine.reach(&id).expect("readable"), Reach::at(50_000, 7));
    raise(9, 8).expect("raised on one chain");
    assert_eq!(last().changes, [Change::Reach { before: [50_000, 7], after: [50_000, 8] }]);
    raise(Reach::MOST, 0).expect("as far as indices go");
    let refused = raise(0, Reach::MOST + 1);
    assert!(matches!(refused, Err(EngineError::Parameter(_))), "{refused:?}");
    assert_eq!(bench.engine.reach(&id).expect("readable"), Reach::at(Reach::MOST, 8));
}
