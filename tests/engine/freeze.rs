//! Freezes: what is frozen signs nothing and has no code looked at, whatever was decided before.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use totp_rs::Totp;

use countersign::admin::{KeyChange, NewDigestKey, Target, UserId};
use countersign::engine::{DigestKeyId, Engine, EngineError, WalletId};
use countersign::kernel::act::document::Document;
use countersign::kernel::act::{Deed, Outcome};
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::in_force::InForce;
use countersign::kernel::audit::{Answer, Event, Head, Link};
use countersign::kernel::digest_key::DigestMechanisms;
use countersign::kernel::freeze::{Freezable, Frozen};
use countersign::kernel::key::KeyTerms;
use countersign::kernel::rule::Rule;
use countersign::kernel::seal::{Kind, SetHash};
use harness::engine::fakes::MemoryAnchor;
use harness::engine::ledgers::AnchorInMemory;
use harness::engine::{Bench, ManualClock, SystemRandom, answer, count};

const UNLIMITED: &str = "unlimited = true";
const DIGEST: [u8; 32] = [0x5a; 32];

/// A token with two users, a wallet and a key that each of them signs with alone, and a wallet that takes both.
struct Scene {
    bench: Bench,
    alice: Totp,
    bob: Totp,
    wallet: WalletId,
    key: DigestKeyId,
    both: WalletId,
}

impl Scene {
    fn new() -> Scene {
        Scene::on(Bench::new())
    }

    fn on(bench: Bench) -> Scene {
        let (alice, bob) = (bench.user("alice"), bench.user("bob"));
        let wallet = bench.wallet("treasury", &["alice", "bob"], UNLIMITED);
        let both = bench.wallet("vault", &["alice", "bob"], "unlimited = true\nrequired_approvals = 2");
        let key = NewDigestKey {
            terms: KeyTerms {
                label: "sidechain".into(),
                cka_id: vec![],
                users: vec!["alice".into(), "bob".into()],
                policy: UNLIMITED.into(),
            },
            mechanisms: DigestMechanisms { digest: true, ecdsa: false },
        };
        let key = bench.add_digest_key(key).expect("a key");
        Scene { bench, alice, bob, wallet, key, both }
    }

    fn approval(&self, user: &str) -> Approval {
        let totp = if user == "alice" { &self.alice } else { &self.bob };
        let code = self.bench.code(totp);
        Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
    }

    /// Signs a PSBT with the wallet, by the codes that these users have now.
    fn sign(&self, wallet: &WalletId, users: &[&str]) -> Result<(), EngineError> {
        let approvals = users.iter().map(|user| self.approval(user)).collect();
        let psbt = self.bench.psbt(wallet, 1).serialize();
        self.bench.engine.countersign(wallet, approvals, psbt).map(drop)
    }

    fn sign_digest(&self, user: &str) -> Result<(), EngineError> {
        self.bench.engine.countersign_digest(&self.key, vec![self.approval(user)], &DIGEST).map(drop)
    }

    fn confirm(&self, user: &str) -> Result<(), EngineError> {
        let totp = if user == "alice" { &self.alice } else { &self.bob };
        self.bench.confirm(user, &self.bench.code(totp))
    }

    fn freeze(&self, target: &Target) {
        self.bench.freeze(target).expect("it is there, and not frozen");
    }

    fn thaw(&self, target: &Target) {
        self.bench.thaw(target).expect("it is frozen");
    }

    fn events(&self) -> Vec<Event> {
        self.bench.ledger.state().events.clone()
    }
}

fn frozen(result: Result<(), EngineError>) -> Frozen {
    match result {
        Err(EngineError::Frozen(frozen)) => frozen,
        other => panic!("{other:?}"),
    }
}

/// What is frozen, and by what each of them refuses: the wallet for alice, the wallet for bob, the key for alice.
fn targets(scene: &Scene) -> [(Target, [Option<Frozen>; 3]); 4] {
    let alice = Some(Frozen::User("alice".into()));
    [
        (Target::Everything, [const { Some(Frozen::Everything) }; 3]),
        (Target::Wallet(scene.wallet), [Some(Frozen::Key), Some(Frozen::Key), None]),
        (Target::DigestKey(scene.key), [None, None, Some(Frozen::Key)]),
        (scene.bench.target_user("alice"), [alice.clone(), None, alice]),
    ]
}

#[test]
fn frozen_refuses_before_a_code_is_looked_at_and_spends_nothing() {
    let scene = Scene::new();
    for (target, refused) in targets(&scene) {
        scene.bench.clock.advance(30);
        scene.freeze(&target);
        let before = scene.events().len();
        let asks: [&dyn Fn() -> Result<(), EngineError>; 3] =
            [&|| scene.sign(&scene.wallet, &["alice"]), &|| scene.sign(&scene.wallet, &["bob"]), &|| {
                scene.sign_digest("alice")
            }];
        for (ask, refusal) in asks.iter().zip(&refused) {
            // What is not frozen is asked for below.
            let Some(refusal) = refusal else { continue };
            let error = ask().expect_err("it is frozen");
            assert_eq!(error.rule(), Some(Rule::Frozen));
            assert_eq!(frozen(Err(error)), *refusal, "{target:?}");
        }
        let written = scene.events().split_off(before);
        let told = Event::PsbtRefused { wallet: "treasury".into(), rule: "frozen".into() };
        assert!(written.iter().all(|event| *event == told), "{target:?}: {written:?}");
        assert_eq!((scene.bench.failures("alice"), scene.bench.failures("bob")), (0, 0), "{target:?}");
        // Right or wrong, the answer is one.
        let wrong = Approval::parse_pin_of(b"alice", b"000000").expect("well formed");
        let psbt = scene.bench.psbt(&scene.wallet, 1).serialize();
        if let Some(refusal) = &refused[0] {
            let given = scene.bench.engine.countersign(&scene.wallet, vec![wrong], psbt).map(drop);
            assert_eq!(frozen(given), *refusal, "{target:?}");
            assert_eq!(scene.bench.failures("alice"), 0, "{target:?}: a try was charged");
        }
        scene.thaw(&target);
        // The same codes: nothing was spent.
        scene.sign(&scene.wallet, &["alice"]).expect("thawed");
        scene.sign(&scene.wallet, &["bob"]).expect("thawed");
        scene.bench.clock.advance(30);
        scene.sign_digest("alice").expect("thawed");
    }
}

#[test]
fn a_freeze_leaves_alone_what_it_does_not_name() {
    let scene = Scene::new();
    for (target, refused) in targets(&scene) {
        scene.freeze(&target);
        scene.bench.clock.advance(30);
        assert_eq!(scene.sign(&scene.wallet, &["alice"]).is_err(), refused[0].is_some(), "{target:?}");
        assert_eq!(scene.sign(&scene.wallet, &["bob"]).is_err(), refused[1].is_some(), "{target:?}");
        scene.bench.clock.advance(30);
        assert_eq!(scene.sign_digest("alice").is_err(), refused[2].is_some(), "{target:?}");
        scene.thaw(&target);
    }
}

#[test]
fn frozen_a_transaction_that_carries_a_frozen_users_code_is_refused_whole() {
    let scene = Scene::new();
    scene.freeze(&scene.bench.target_user("bob"));
    assert_eq!(frozen(scene.sign(&scene.both, &["alice", "bob"])), Frozen::User("bob".into()));
    // Also where the other code would have been enough.
    assert_eq!(frozen(scene.sign(&scene.wallet, &["alice", "bob"])), Frozen::User("bob".into()));
    scene.sign(&scene.wallet, &["alice"]).expect("nothing of hers was spent");
}

#[test]
fn frozen_what_was_signed_already_is_not_given_once_more() {
    let scene = Scene::new();
    let ask = || scene.sign(&scene.wallet, &["alice"]);
    ask().expect("signs");
    ask().expect("the same again");
    for target in [Target::Everything, Target::Wallet(scene.wallet), scene.bench.target_user("alice")] {
        scene.freeze(&target);
        frozen(ask());
        scene.thaw(&target);
        ask().expect("within two minutes");
    }
    assert_eq!(count(&scene.events(), Answer::Signed), 1, "and it was spent once");
}

#[test]
fn frozen_a_users_code_is_not_checked_for_its_own_sake_and_confirms_nobody() {
    let scene = Scene::new();
    let carol = scene.bench.unconfirmed("carol");
    let confirm = || scene.bench.confirm("carol", &scene.bench.code(&carol));
    let target = scene.bench.target_user("carol");
    for (target, refusal) in
        [(target, Frozen::User("carol".into())), (Target::Everything, Frozen::Everything)]
    {
        scene.freeze(&target);
        assert_eq!(frozen(confirm()), refusal);
        scene.thaw(&target);
    }
    // A wallet's freeze is not its users'.
    scene.freeze(&Target::Wallet(scene.wallet));
    scene.confirm("alice").expect("she is not frozen");
    confirm().expect("nor is carol");
}

/// What is decided before a freeze and comes to the ledger after it is decided anew.
#[test]
fn frozen_nothing_that_was_decided_before_a_freeze_is_committed_after_it() {
    for which in 0..3 {
        let scene = Scene::new();
        let of_alice = scene.bench.target_user("alice");
        let target = [Target::Everything, Target::Wallet(scene.wallet), of_alice][which].clone();
        // By another engine, which shares nothing but the ledger.
        let other = scene.bench.beside();
        let _ = other.administrator();
        let before = scene.events().len();
        let act = target.clone();
        let freeze = move || other.freeze(&act).expect("not frozen yet");
        scene.bench.ledger.state().meanwhile = Some((0, Box::new(freeze)));
        frozen(scene.sign(&scene.wallet, &["alice"]));
        assert!(scene.bench.ledger.state().meanwhile.is_none(), "it was frozen meanwhile");
        let written = scene.events().split_off(before);
        assert!(written.iter().all(|event| answer(event).is_none()), "{target:?}: {written:?}");
        scene.thaw(&target);
        scene.sign(&scene.wallet, &["alice"]).expect("the code was not spent");
    }
}

/// One thread signs as often as it can, another one freezes and thaws, over the sealed ledger and a real file.
#[test]
fn frozen_no_signature_is_behind_a_freeze_whatever_runs_at_once() {
    const ROUNDS: usize = 40;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let anchor = MemoryAnchor::default();
    let clock = ManualClock::default();
    let ledger = AnchorInMemory::with(path.clone(), anchor.clone());
    let engine =
        Engine::open(Box::new(ledger), Box::new(clock.clone()), Box::new(SystemRandom)).expect("opens");
    engine.initialise(b"so-pin", "test").expect("an empty folder");
    let scene = Scene::on(Bench::of(engine, clock, Default::default()));
    let _ = scene.bench.administrator();
    let of_alice = scene.bench.target_user("alice");
    let all = [Target::Everything, Target::Wallet(scene.wallet), of_alice];
    let (is_over, met, signed) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let mut failed = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in all.iter().cycle().take(ROUNDS) {
                met.store(false, Ordering::SeqCst);
                scene.freeze(target);
                let before = signed.load(Ordering::SeqCst);
                // Until the other one has met it, or has signed in spite of it.
                while !met.load(Ordering::SeqCst)
                    && !is_over.load(Ordering::SeqCst)
                    && signed.load(Ordering::SeqCst) < before + 2
                {
                    std::thread::yield_now();
                }
                scene.thaw(target);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        while !is_over.load(Ordering::SeqCst) {
            match scene.sign(&scene.wallet, &["alice"]) {
                Ok(()) => signed.fetch_add(1, Ordering::SeqCst),
                Err(EngineError::Frozen(_)) => {
                    met.store(true, Ordering::SeqCst);
                    continue;
                }
                Err(other) => {
                    failed = Some(other);
                    is_over.store(true, Ordering::SeqCst);
                    break;
                }
            };
            scene.bench.clock.advance(30);
        }
    });
    assert!(failed.is_none(), "{failed:?}");
    drop(scene);
    let mut frozen = None;
    let (mut countersigned, mut freezes) = (0, 0);
    for Link { event, .. } in AnchorInMemory::with(path, anchor).links().expect("nobody has it open") {
        match (&event, event.act().map(|act| act.deed)) {
            (_, Some(Deed::Frozen(what))) => (frozen, freezes) = (Some(what), freezes + 1),
            (_, Some(Deed::Thawed(_))) => frozen = None,
            (Event::Tried { answer: Answer::Signed | Answer::Repeated, .. }, _) => {
                assert_eq!(frozen, None, "signed while it was frozen");
                countersigned += 1;
            }
            _ => {}
        }
    }
    assert_eq!((countersigned, freezes), (signed.into_inner(), ROUNDS));
}

#[test]
fn a_freeze_outlasts_the_process_and_is_counted() {
    let scene = Scene::new();
    let of_alice = scene.bench.target_user("alice");
    for target in [Target::Everything, Target::Wallet(scene.wallet), Target::DigestKey(scene.key), of_alice] {
        scene.freeze(&target);
    }
    let counts =
        [(Freezable::Everything, 1), (Freezable::Wallet, 1), (Freezable::DigestKey, 1), (Freezable::User, 1)];
    assert_eq!(scene.bench.engine.frozen_counts(), counts);
    let Scene { bench, alice, bob, wallet, key, both } = scene;
    let scene = Scene { bench: bench.restarted(), alice, bob, wallet, key, both };
    assert_eq!(scene.bench.engine.frozen_counts(), counts, "counted anew");
    assert!(scene.bench.engine.user("alice").expect("readable").expect("there").frozen);
    assert!(scene.bench.engine.is_frozen(&Target::Wallet(wallet)).expect("readable"));
    assert!(!scene.bench.engine.is_frozen(&Target::Wallet(both)).expect("readable"));
    scene.thaw(&Target::Everything);
    assert_eq!(frozen(scene.sign(&wallet, &["alice"])), Frozen::Key);
    assert_eq!(scene.bench.engine.frozen_counts()[0], (Freezable::Everything, 0));
}

#[test]
fn what_is_frozen_is_not_frozen_again_and_what_is_not_is_not_thawed() {
    let scene = Scene::new();
    let target = Target::Wallet(scene.wallet);
    let stands = |result| matches!(result, Err(EngineError::StandsAlready));
    assert!(stands(scene.bench.thaw(&target)));
    scene.freeze(&target);
    let before = scene.events().len();
    assert!(stands(scene.bench.freeze(&target)));
    assert_eq!(scene.events().len(), before, "nothing is written");
    scene.thaw(&target);
    assert!(stands(scene.bench.thaw(&target)));
    let nobody = Target::User(UserId { name: "mallory".into(), key: [7; 16] });
    assert!(matches!(scene.bench.freeze(&nobody), Err(EngineError::NoSuchUser(_))));
    assert!(matches!(scene.bench.freeze(&Target::Wallet([7; 16])), Err(EngineError::NoSuchWallet)));
}

#[test]
fn a_freeze_tightens_a_thaw_loosens_and_each_is_counted() {
    let scene = Scene::new();
    let target = Target::DigestKey(scene.key);
    scene.freeze(&target);
    scene.thaw(&target);
    let done = |act, outcome| {
        let counts = scene.bench.engine.act_counts();
        counts.iter().any(|found| found.act == act && found.outcome == outcome && found.count == 1)
    };
    assert!(done("digest-key-frozen", Outcome::Tightened));
    assert!(done("digest-key-thawed", Outcome::Loosened));
}

/// In an emergency no clock is in the way of a freeze. It is in the way of a thaw.
#[test]
fn a_freeze_is_done_under_a_clock_that_nobody_believes() {
    let scene = Scene::new();
    let _ = scene.bench.administrator();
    scene.bench.clock.set(scene.bench.clock.now() + 86_400);
    scene.freeze(&Target::Everything);
    assert!(matches!(scene.bench.thaw(&Target::Everything), Err(EngineError::Clock(_))));
}

#[test]
fn a_frozen_user_can_be_unlocked_and_stays_frozen() {
    let scene = Scene::new();
    let target = scene.bench.target_user("alice");
    scene.freeze(&target);
    scene.bench.unlock_user("alice", &scene.bench.key_id("alice")).expect("she is there");
    assert_eq!(frozen(scene.sign(&scene.wallet, &["alice"])), Frozen::User("alice".into()));
}

/// Who is enrolled later is somebody else.
#[test]
fn a_frozen_user_can_be_removed_and_the_freeze_goes_with_them() {
    let scene = Scene::new();
    scene.bench.user("carol");
    let (target, key_id) = (scene.bench.target_user("carol"), scene.bench.key_id("carol"));
    scene.freeze(&target);
    scene.bench.remove_user("carol", &key_id).expect("nothing lists her");
    assert_eq!(scene.bench.engine.frozen_counts()[3], (Freezable::User, 0));
    let left = scene.bench.ledger.state().records.keys().any(|place| place.kind == Kind::Freeze);
    assert!(!left, "no record is left");
    scene.bench.user("carol");
    assert!(!scene.bench.engine.user("carol").expect("readable").expect("there").frozen);
    assert!(matches!(scene.bench.thaw(&target), Err(EngineError::NoSuchUser(_))), "of the old enrolment");
    assert!(in_force(&scene.events()).standing().all(|(place, _)| place.kind != Kind::Freeze));
}

/// The chain alone says what is frozen, also of what has another label since.
#[test]
fn the_audit_says_what_is_frozen() {
    let scene = Scene::new();
    let target = Target::Wallet(scene.wallet);
    scene.freeze(&target);
    let rename = KeyChange { label: Some("renamed".into()), ..KeyChange::default() };
    scene.bench.change_wallet(&scene.wallet, rename).expect("a frozen wallet can be changed");
    let frozen: Vec<_> = in_force(&scene.events())
        .standing()
        .filter_map(|(_, standing)| match &standing.document {
            Document::Freeze(freeze) => Some((freeze.what, freeze.name.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(frozen, [(Freezable::Wallet, "treasury".to_owned())]);
    scene.thaw(&target);
    assert!(in_force(&scene.events()).standing().all(|(place, _)| place.kind != Kind::Freeze));
    let last = scene.events().pop();
    let act = last.as_ref().and_then(Event::act).expect("an act");
    assert_eq!((act.deed, act.name.as_str()), (Deed::Thawed(Freezable::Wallet), "renamed"));
}

fn in_force(events: &[Event]) -> InForce {
    let mut in_force = InForce::default();
    for (sequence, event) in (0..).zip(events) {
        let link = Link {
            sequence,
            time: 0,
            event: event.clone(),
            previous: Head::default(),
            set: SetHash::default(),
            batch: sequence,
        };
        in_force.follow(&link).expect("each act goes on from the one before");
    }
    in_force
}
