//! The officers of a store: how they come, and what an administrator still does alone.

use countersign::admin::{Act, KeyChange, Target, WalletChange};
use countersign::engine::EngineError;
use countersign::kernel::act::class::Class;
use countersign::kernel::act::document::Document;
use countersign::kernel::act::{Change, Deed};
use countersign::kernel::audit::in_force::InForce;
use countersign::kernel::audit::{Event, Head, Link};
use countersign::kernel::direction::Direction;
use countersign::kernel::seal::{Kind, SetHash};
use countersign::kernel::wallet::Reach;
use harness::engine::Bench;
use harness::engine::officers::Signers;

const LIMITS: &str = "max_fee_sat = 1000\nmax_transaction_sat = 100000";

fn needs_officers(result: Result<(), EngineError>) -> Class {
    match result {
        Err(EngineError::NeedsOfficers(class)) => class,
        other => panic!("{other:?}"),
    }
}

fn users(names: &[&str]) -> KeyChange {
    KeyChange { users: Some(names.iter().map(|name| (*name).to_owned()).collect()), ..KeyChange::default() }
}

fn policy(document: &str) -> KeyChange {
    KeyChange { policy: Some(document.into()), ..KeyChange::default() }
}

#[test]
fn an_administrator_sets_the_first_officers_and_no_others() {
    let (bench, signers) = (Bench::new(), Signers::new(3));
    assert_eq!(bench.engine.council().expect("readable"), None);
    let council = signers.council(2, 72);
    bench.set_officers(&council).expect("there are none");
    assert_eq!(bench.engine.council().expect("readable"), Some(council.clone()));
    assert!(matches!(bench.set_officers(&council), Err(EngineError::StandsAlready)));
    for other in [
        signers.council(1, 72),
        signers.council(3, 72),
        signers.council(2, 71),
        signers.council(2, 73),
        signers.council_of(0..2, 2, 72, None, 100),
        signers.council_of(0..=3, 2, 72, council.emergency(), 100),
        signers.council_of(0..3, 2, 72, None, 100),
        signers.council_of(0..3, 2, 72, council.emergency(), 101),
    ] {
        assert_eq!(needs_officers(bench.set_officers(&other)), Class::Loosens, "{other}");
    }
    let bench = bench.restarted();
    assert_eq!(bench.engine.council().expect("readable"), Some(council));
}

#[test]
fn an_administrator_tightens_the_settings_of_the_officers_alone() {
    let (bench, signers) = (Bench::new(), Signers::new(3));
    let council = signers.council(2, 72);
    bench.set_officers(&council).expect("there are none");
    let stricter = signers.council_of(0..3, 2, 72, council.emergency(), 99);
    bench.set_officers(&stricter).expect("it tightens");
    assert_eq!(needs_officers(bench.set_officers(&council)), Class::Loosens);
}

#[test]
fn once_there_are_officers_an_administrator_alone_loosens_nothing() {
    let (bench, signers) = (Bench::new(), Signers::new(3));
    for user in ["alice", "bob"] {
        bench.user(user);
    }
    let wallet = bench.wallet("treasury", &["alice"], LIMITS);
    let frozen = bench.wallet("frozen", &["alice"], LIMITS);
    bench.freeze(&Target::Wallet(frozen)).expect("it is not frozen");
    bench.set_officers(&signers.council(2, 72)).expect("there are none");
    let change = |change: WalletChange| bench.change_wallet(&wallet, change);
    let label = KeyChange { label: Some("other".into()), ..KeyChange::default() };
    let reach = WalletChange { reach: Some(Reach::at(50, 0)), ..WalletChange::default() };
    let loosening: [(&str, WalletChange); 6] = [
        ("a user more", users(&["alice", "bob"]).into()),
        ("another user", users(&["bob"]).into()),
        ("a higher limit", policy("max_fee_sat = 1000\nmax_transaction_sat = 100001").into()),
        ("a limit less", policy("unlimited = true").into()),
        ("another label", label.into()),
        ("a longer reach", reach),
    ];
    let written = bench.ledger.state().events.len();
    for (what, loosening) in loosening {
        assert_eq!(needs_officers(change(loosening)), Class::Loosens, "{what}");
    }
    // What tightens in one part and loosens in another loosens.
    let mixed =
        KeyChange { policy: Some("max_fee_sat = 1\nmax_transaction_sat = 1".into()), ..users(&["bob"]) };
    assert_eq!(needs_officers(change(mixed.into())), Class::Loosens);
    assert_eq!(needs_officers(bench.thaw(&Target::Wallet(frozen))), Class::Loosens);
    let now = bench.clock.now();
    assert_eq!(needs_officers(bench.take_clock(now)), Class::Vouchless);
    let left = bench.ledger.state().events.split_off(written);
    assert!(left.iter().all(|event| event.act().is_none()), "{left:?}");

    change(policy("max_fee_sat = 1000\nmax_transaction_sat = 99999").into()).expect("it tightens");
    bench.freeze(&Target::Wallet(wallet)).expect("it tightens");
    bench.user("carol");
    bench.wallet("petty", &["carol"], "unlimited = true");
    bench.set_user_pin(b"user-pin").expect("it is neutral");
    bench.unlock_user("carol", &bench.key_id("carol")).expect("it is neutral");
    bench.remove_user("bob", &bench.key_id("bob")).expect("it tightens");
}

/// The class is looked at when it is decided, and the commit expects what was found.
#[test]
fn act_submit_officers_who_come_while_an_administrator_loosens_stop_it() {
    let (bench, signers) = (Bench::new(), Signers::new(1));
    let users_of = |bench: &Bench, wallet| bench.engine.wallet(wallet).expect("there").users().to_vec();
    bench.user("alice");
    bench.user("bob");
    let wallet = bench.wallet("treasury", &["alice"], LIMITS);
    let (other, council) = (bench.beside(), signers.council(1, 1));
    bench.administrator();
    other.administrator();
    let set = move || other.set_officers(&council).expect("there are none");
    bench.ledger.state().meanwhile = Some((0, Box::new(set)));
    assert_eq!(needs_officers(bench.change_wallet(&wallet, users(&["alice", "bob"]))), Class::Loosens);
    assert_eq!(users_of(&bench.restarted(), &wallet), ["alice"]);
}

#[test]
fn the_audit_has_the_officers_whole() {
    let (bench, signers) = (Bench::new(), Signers::new(3));
    let first = signers.council(2, 72);
    bench.set_officers(&first).expect("there are none");
    let stricter = signers.council_of(0..3, 2, 72, first.emergency(), 99);
    bench.set_officers(&stricter).expect("it tightens");
    let events = bench.ledger.state().events.clone();
    let acts: Vec<_> =
        events.iter().filter_map(Event::act).filter(|act| act.deed == Deed::OfficersSet).collect();
    let classes: Vec<_> = acts.iter().map(|act| (act.class(), act.changes.clone())).collect();
    let tightens = Change::Council(Direction { tightens: true, loosens: false });
    assert_eq!(classes, [(Class::Neutral, vec![]), (Class::Tightens, vec![tightens])]);
    let mut in_force = InForce::default();
    for (sequence, event) in (0..).zip(events) {
        let (previous, set) = (Head::default(), SetHash::default());
        let link = Link { sequence, time: sequence, event, previous, set, batch: sequence };
        in_force.follow(&link).expect("it goes on");
    }
    let councils: Vec<_> = in_force.standing().filter(|(place, _)| place.kind == Kind::Council).collect();
    let [(_, standing)] = councils[..] else { panic!("one council") };
    assert!(matches!(&standing.document, Document::Council(council) if *council == stricter.to_string()));
}

#[test]
fn where_there_are_no_officers_an_act_of_theirs_asks_nobody() {
    let bench = Bench::new();
    for user in ["alice", "bob"] {
        bench.user(user);
    }
    let wallet = bench.wallet("treasury", &["alice"], LIMITS);
    bench.change_wallet(&wallet, users(&["alice", "bob"])).expect("as ever");
    bench.take_clock(bench.clock.now()).expect("as ever");
    assert!(matches!(bench.perform(Act::Thaw(Target::Everything)), Err(EngineError::StandsAlready)));
}
