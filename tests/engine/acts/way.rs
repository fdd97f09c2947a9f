//! The way of an act that officers decide: drafted, proposed, signed, waited for, carried out once.

use countersign::admin::{Act, NewFactor, NewScript, NewUser, Target};
use countersign::engine::{Engine, EngineError, ProposalStanding};
use countersign::kernel::act::Deed;
use countersign::kernel::act::class::Class;
use countersign::kernel::act::document::Document;
use countersign::kernel::administration::Window;
use countersign::kernel::audit::{Event, Step};
use countersign::kernel::clock::ClockError;
use countersign::kernel::freeze::Freezer;
use countersign::kernel::motion::ActText;
use countersign::kernel::otp::OtpHash;
use countersign::kernel::pin::Heir;
use countersign::kernel::proposal::{MAX_UNSIGNED, ProposalError, Standing};
use countersign::kernel::wallet::Reach;
use harness::engine::fakes::MemoryAnchor;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::officers::Signers;
use harness::engine::{Bench, ManualClock, SystemRandom};

use super::scene::{DELAY, HIGHER, HOUR, LIMITS, Scene, label, nonce, policy, refused, users};

#[test]
fn officers_decide_what_an_administrator_alone_cannot() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.submit(&text);
    let view = scene.view(&act);
    assert_eq!((view.class, view.signed, view.needed), (Class::Loosens, 0, 2));
    assert_eq!((view.text.as_str(), view.vetoers), (text.as_str(), vec!["alice".to_owned()]));
    assert!(view.heading.starts_with("wallet-set \"treasury\" "), "{}", view.heading);
    for officer in [2, 0] {
        assert_eq!(scene.standing(&act), ProposalStanding::Unsigned);
        scene.sign(officer, &text).expect("an officer's");
    }
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY));
    scene.wait(DELAY - 300);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(300));
    assert_eq!(refused(scene.carry_out(&act)), ProposalError::NotDue(Standing::Waiting(300)));
    assert_eq!(scene.users(), ["alice"]);
    scene.wait(300);
    assert_eq!(scene.standing(&act), ProposalStanding::Due);
    assert_eq!(scene.users(), ["alice"], "nobody has asked yet");
    scene.carry_out(&act).expect("it is due");
    assert_eq!(scene.users(), ["alice", "bob"]);
    assert_eq!(scene.standing(&act), ProposalStanding::CarriedOut);

    let events = scene.events();
    let Some(Event::Decided(decided)) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((decided.act.deed, decided.nonce), (Deed::WalletUpdated, act));
    assert_eq!(decided.officers.len(), 2);
    let of_act = |event: &Event| match event {
        Event::Proposal(step) => Some(step.step.tag()),
        _ => None,
    };
    let told: Vec<_> = events.iter().filter_map(of_act).collect();
    assert_eq!(told, ["act-proposed", "act-signed", "act-signed"]);
    let kept = |event: &Event| matches!(event, Event::Proposal(step) if matches!(&step.step, Step::Proposed { text: kept, .. } if *kept == text));
    assert!(events.iter().any(kept), "the audit has the text");
    let ticks = events.iter().filter(|event| **event == Event::Ticked(1)).count() as u64;
    assert_eq!(ticks, DELAY / 300);
    // And after a restart.
    let scene = scene.restarted();
    assert_eq!(scene.users(), ["alice", "bob"]);
    assert_eq!(scene.standing(&act), ProposalStanding::CarriedOut);
}

#[test]
fn one_officer_freezes_at_once_without_an_administrator_and_under_any_clock() {
    let scene = Scene::new();
    let target = Target::Wallet(scene.wallet);
    let text = scene.draft(&Act::Freeze(target.clone()));
    let now = scene.bench.clock.now();
    scene.bench.clock.set(1_000);
    let act = scene.bring(1, &text).expect("one officer is enough");
    assert!(scene.bench.engine.is_frozen(&target).expect("readable"));
    assert_eq!(scene.standing(&act), ProposalStanding::CarriedOut);
    let events = scene.events();
    let done = events.last().and_then(Event::act).and_then(|act| act.document.clone());
    let Some(Document::Freeze(freeze)) = done else { panic!("{:?}", events.last()) };
    assert_eq!((freeze.name.as_str(), freeze.by), ("treasury", Freezer::Officer));
    assert!(matches!(
        scene.bench.engine.draft(&Act::Freeze(target.clone())),
        Err(EngineError::StandsAlready)
    ));
    // Thawing waits.
    scene.bench.clock.set(now);
    let text = scene.draft(&Act::Thaw(target.clone()));
    let thaw = scene.signed(2, &text);
    assert_eq!(scene.view(&thaw).vetoers, ["alice"]);
    assert!(scene.bench.engine.is_frozen(&target).expect("readable"));
    scene.wait(DELAY);
    scene.carry_out(&thaw).expect("it is due");
    assert!(!scene.bench.engine.is_frozen(&target).expect("readable"));
}

#[test]
fn each_thing_is_frozen_and_thawed_by_officers() {
    let scene = Scene::new();
    for target in [Target::Everything, scene.bench.target_user("bob")] {
        let freeze = scene.draft(&Act::Freeze(target.clone()));
        scene.bring(0, &freeze).expect("it is not frozen");
        assert!(scene.bench.engine.is_frozen(&target).expect("readable"));
        let thaw = scene.signed(2, &scene.draft(&Act::Thaw(target.clone())));
        scene.wait(DELAY);
        scene.carry_out(&thaw).expect("it is due");
        assert!(!scene.bench.engine.is_frozen(&target).expect("readable"));
    }
}

#[test]
fn more_officers_make_an_act_wait_less() {
    let scene = Scene::new();
    let act = scene.signed(3, &scene.adding_bob());
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR));
    scene.wait(HOUR);
    scene.carry_out(&act).expect("it is due");
    assert_eq!(scene.users(), ["alice", "bob"]);
}

#[test]
fn officers_change_a_wallet_in_every_way() {
    let scene = Scene::new();
    let mut all = policy(HIGHER);
    all.terms.users = Some(vec!["bob".into()]);
    all.terms.label = Some("reserve".into());
    all.reach = Some(Reach::at(7, 50));
    let act = scene.signed(2, &scene.draft(&Act::ChangeWallet(scene.wallet, all)));
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    let wallet = scene.bench.engine.wallet(&scene.wallet).expect("there");
    assert_eq!(
        (wallet.label(), wallet.users(), wallet.policy_document()),
        ("reserve", &["bob".to_owned()][..], HIGHER)
    );
    assert_eq!(scene.bench.engine.reach(&scene.wallet).expect("readable"), Reach::at(7, 50));
}

#[test]
fn the_old_label_of_a_registered_wallet_is_nobodys() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.draft(&Act::ChangeWallet(scene.wallet, label("reserve").into())));
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    let scene = scene.restarted();
    let taken = scene.bench.add_wallet("treasury", &["bob"], LIMITS, NewScript::default());
    assert!(matches!(taken, Err(EngineError::Name(_))), "{taken:?}");
    let unregistered = NewScript { registration: Some(String::new()), path: Some("m/48'/1'/0'/2'".into()) };
    let other = scene.bench.add_wallet("other", &["bob"], LIMITS, unregistered).expect("a new label");
    assert!(matches!(scene.bench.change_wallet(&other, label("treasury")), Err(EngineError::Name(_))));
    let back = scene.bench.engine.draft(&Act::ChangeWallet(scene.wallet, label("treasury").into()));
    assert!(matches!(back, Err(EngineError::Name(_))), "{back:?}");
    scene.bench.change_wallet(&other, label("another")).expect("it was never registered");
    scene.bench.wallet("other", &["bob"], LIMITS);
}

#[test]
fn a_new_council_waits_for_the_longer_delay_and_voids_what_waits_under_the_old_one() {
    let scene = Scene::new();
    let other = scene.signed(2, &scene.adding_bob());
    // Ninety days: the text must not expire before its own delay is over.
    let longest = scene.signers.council_of(0..3, 1, 2_160, None, 100);
    let text = scene.draft(&Act::SetOfficers(Box::new(longest)));
    let act = scene.signed(3, &text);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(2_160 * HOUR), "an emergency, too");
    let council = scene.signers.council_of([1, 2, 3], 1, 1, None, 50);
    let text = scene.draft(&Act::SetOfficers(Box::new(council.clone())));
    let act = scene.signed(3, &text);
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY), "of the old council");
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    assert_eq!(scene.bench.engine.council().expect("readable"), Some(council));
    assert!(matches!(scene.standing(&other), ProposalStanding::Void(..)));
    assert!(matches!(refused(scene.carry_out(&other)), ProposalError::Void(_)));
    // Who was no officer is one now, and the other way round.
    let text = scene.adding_bob();
    assert!(matches!(refused(scene.bring(0, &text)), ProposalError::Signature(_)));
    scene.bring(3, &text).expect("an officer's");
    assert_eq!(scene.standing(&nonce(&text)), ProposalStanding::Waiting(HOUR));
}

#[test]
fn officers_take_a_clock_within_a_window_and_without_a_delay() {
    let scene = Scene::new();
    let true_time = scene.bench.clock.now() + 40 * 24 * HOUR;
    scene.bench.clock.boot();
    scene.bench.clock.set(true_time);
    let scene = scene.restarted();
    assert!(matches!(scene.bench.engine.clock_refusal(), Ok(Some(ClockError::Ahead(_)))));
    assert!(matches!(scene.bench.take_clock(true_time), Err(EngineError::NeedsOfficers(Class::Vouchless))));
    let text = scene.draft(&Act::TakeClock(true_time));
    scene.bring(0, &text).expect("an officer's");
    for outside in [true_time - 1, true_time + 24 * HOUR + 1] {
        scene.bench.clock.set(outside);
        assert!(scene.sign(1, &text).is_err(), "{outside}");
        assert!(matches!(scene.bench.engine.clock_refusal(), Ok(Some(_))));
    }
    scene.bench.clock.set(true_time + 3 * HOUR);
    let signed = scene.sign(1, &text);
    let done = signed.or_else(|_| scene.carry_out(&nonce(&text)));
    done.expect("the clock is in the window");
    assert_eq!(scene.bench.engine.clock_refusal().expect("readable"), None);
    assert_eq!(scene.standing(&nonce(&text)), ProposalStanding::CarriedOut);
    assert!(scene.bench.user("carol").generate(0).to_string().len() == 6, "users are enrolled again");
}

#[test]
fn delay_goes_on_after_a_restart_and_does_not_run_over_it() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(HOUR);
    let scene = scene.restarted();
    scene.bench.clock.advance(10 * HOUR);
    scene.bench.engine.tick().expect("it ticks");
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR));
    // Nor over one that is short.
    let scene = scene.restarted();
    scene.bench.clock.advance(200);
    scene.bench.engine.tick().expect("it ticks");
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR));
    scene.wait(HOUR);
    scene.carry_out(&act).expect("it is due");
}

/// Over the ledger that seals and anchors, in a file.
#[test]
fn the_way_of_an_act_leads_through_the_sealed_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, anchor, clock) =
        (folder.path().join("store.db"), MemoryAnchor::default(), ManualClock::default());
    let open = || {
        let ledger = AnchorInMemory::with(path.clone(), anchor.clone());
        let engine =
            Engine::open(Box::new(ledger), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
        Bench::of(engine, clock.clone(), Default::default())
    };
    let bench = open();
    bench.engine.initialise(b"so-pin", "test").expect("an empty folder");
    let scene = Scene::on(bench);
    let text = scene.adding_bob();
    let seen = ActText::parse(&text).expect("an act").seen;
    let act = scene.signed(2, &text);
    scene.wait(HOUR);
    let Scene { signers, alice, bob, wallet, bench } = scene;
    drop(bench);
    let scene = Scene { bench: open(), signers, alice, bob, wallet };
    scene.bench.engine.tick().expect("it ticks");
    scene.wait(HOUR);
    scene.carry_out(&act).expect("it is due");
    assert_eq!(scene.users(), ["alice", "bob"]);
    drop(scene);
    let links = AnchorInMemory::with(path.clone(), anchor.clone()).links().expect("nobody has it open");
    let at = usize::try_from(seen.link).expect("a few links");
    assert_eq!((links[at].sequence, links[at].head()), (seen.link, seen.head), "what the proposer saw");
    let bench = open();
    assert_eq!(bench.engine.wallet(&wallet).expect("there").users(), ["alice", "bob"]);
    assert_eq!(
        bench.engine.proposal(&act).expect("readable").expect("there").standing,
        ProposalStanding::CarriedOut
    );
}

#[test]
fn without_officers_nobody_loses_the_so_pin_or_takes_a_clock_of_a_whole_day() {
    let bench = Bench::new();
    let loosens = bench.perform(Act::LoseSoPin(Heir([1; 32])));
    assert!(matches!(loosens, Err(EngineError::NeedsOfficers(Class::Loosens))));
    let now = bench.clock.now();
    let day = bench.perform(Act::TakeClockWithin(Window { from: now, until: now + 24 * HOUR }));
    assert!(matches!(day, Err(EngineError::NeedsOfficers(Class::Vouchless))));
}

#[test]
fn nothing_is_written_where_nothing_waits_and_no_more_than_once_in_five_minutes() {
    let scene = Scene::new();
    let links = || scene.events().len();
    let before = links();
    scene.wait(HOUR);
    assert_eq!(links(), before);
    let text = scene.adding_bob();
    scene.submit(&text);
    scene.sign(0, &text).expect("an officer's");
    let before = links();
    scene.wait(HOUR);
    assert_eq!(links(), before, "it is not signed by enough");
    scene.sign(1, &text).expect("an officer's");
    let before = links();
    for _ in 0..290 {
        scene.bench.clock.advance(1);
        scene.bench.engine.tick().expect("it ticks");
    }
    assert!(links() - before <= 1);
    scene.veto(2, &text).expect("an officer's");
    let before = links();
    scene.wait(HOUR);
    assert_eq!(links(), before);
}

#[test]
fn a_text_is_drafted_for_what_officers_must_sign_and_for_nothing_else() {
    let scene = Scene::new();
    let draft = |act: Act| scene.bench.engine.draft(&act);
    assert!(matches!(refused(draft(Act::LoseUserPin)), ProposalError::NeedsNobody));
    let user = NewUser {
        name: "x".into(),
        service: "t".into(),
        factor: NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 },
    };
    assert!(matches!(refused(draft(Act::Enrol(user))), ProposalError::NeedsNobody));
    let nothing = draft(Act::ChangeWallet(scene.wallet, users(&["alice"])));
    assert!(matches!(refused(nothing), ProposalError::Text(_)));
    assert!(matches!(draft(Act::ChangeWallet([9; 16], users(&["alice"]))), Err(EngineError::NoSuchWallet)));
    assert!(matches!(
        draft(Act::ChangeWallet(scene.wallet, users(&["carol"]))),
        Err(EngineError::NoSuchUser(_))
    ));
    assert!(matches!(
        draft(Act::ChangeWallet(scene.wallet, policy("no_such = 1"))),
        Err(EngineError::Proposal(_))
    ));
    assert!(matches!(draft(Act::Thaw(Target::Everything)), Err(EngineError::StandsAlready)));
    let act = ActText::parse(&scene.adding_bob()).expect("an act");
    assert!(ActText::parse(&scene.adding_bob()).expect("an act").nonce != act.nonce, "each has its own");
    assert!(act.expires > scene.bench.clock.now() + DELAY);

    let bench = Bench::new();
    assert_eq!(refused(bench.engine.draft(&Act::LoseSoPin(Heir([1; 32])))), ProposalError::NoOfficers);
    assert_eq!(refused(bench.engine.carry_out(&[1; 16])), ProposalError::NoOfficers);
    let unknown = refused(scene.carry_out(&[1; 16]));
    assert_eq!(unknown, ProposalError::Unknown);
    assert_eq!(scene.bench.engine.proposal(&[1; 16]).expect("readable"), None);
}

#[test]
fn an_administrator_proposes_and_officers_bring_and_nobody_else_does_either() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let propose = |signature: Option<&str>| scene.bench.engine.propose(None, &text, signature);
    assert!(matches!(propose(None), Err(EngineError::NotAdministrator)));
    let stranger = scene.signers.sign(scene.signers.stranger(), &text);
    assert!(matches!(refused(propose(Some(&stranger))), ProposalError::Signature(_)));
    scene.bring(0, &text).expect("an officer's");
    // An administrator takes back what nobody has signed, and nothing else.
    let administrator = scene.bench.administrator();
    let withdraw = |text: &str| scene.bench.engine.withdraw(administrator, &nonce(text));
    assert_eq!(refused(withdraw(&text)), ProposalError::Signed);
    let other = scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER)));
    scene.submit(&other);
    withdraw(&other).expect("nobody has signed it");
    assert_eq!(scene.bench.engine.proposal(&nonce(&other)).expect("readable"), None);
    scene.bring(1, &other).expect("who signed it meanwhile can still bring it");
}

#[test]
fn an_administrator_alone_takes_no_room_that_officers_need() {
    let scene = Scene::new();
    let texts: Vec<String> = (0..=MAX_UNSIGNED).map(|_| scene.adding_bob()).collect();
    for text in &texts[1..] {
        scene.submit(text);
    }
    assert_eq!(refused(scene.propose(&texts[0], None)), ProposalError::Room);
    scene.bring(0, &texts[0]).expect("there is room for it");
    scene
        .bench
        .engine
        .withdraw(scene.bench.administrator(), &nonce(&texts[1]))
        .expect("nobody has signed it");
    scene.submit(&texts[1]);
    // What has expired makes room at the next proposal.
    scene.bench.clock.advance(DELAY + 8 * 24 * HOUR);
    scene.submit(&scene.adding_bob());
    assert_eq!(scene.bench.engine.proposals().expect("readable").len(), 1);
    let counts = scene.bench.engine.proposal_counts().expect("readable");
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 1);
    assert!(counts.contains(&("unsigned", 1)));
}

#[test]
fn officers_stop_all_codes_after_fewer_wrong_ones() {
    let (bench, signers) = (Bench::new(), Signers::new(1));
    for user in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        bench.user(user);
    }
    let wrong = |bench: &Bench| {
        for user in ["alice", "bob", "carol", "dave", "erin", "frank"] {
            for _ in 0..3 {
                if matches!(bench.confirm(user, "000000"), Err(EngineError::Stopped)) {
                    return true;
                }
            }
        }
        false
    };
    bench.set_officers(&signers.council_of([0], 1, 1, None, 16)).expect("there are none");
    assert!(wrong(&bench), "of sixteen");
    let bench = bench.restarted();
    assert!(bench.engine.is_stopped());
    // The configuration can only be stricter.
    let looser = Bench::new().stopping_at(1_000);
    looser.user("alice");
    looser.set_officers(&signers.council_of([0], 1, 1, None, 16)).expect("there are none");
    assert!(!looser.engine.is_stopped());
    let stricter = Bench::new().stopping_at(2);
    stricter.user("alice");
    stricter.set_officers(&signers.council_of([0], 1, 1, None, 16)).expect("there are none");
    for _ in 0..2 {
        assert!(stricter.confirm("alice", "000000").is_err());
    }
    assert!(stricter.engine.is_stopped());
}
