//! A rogue administrator: somebody with the SO PIN, every code of a user of their own, the machine's clock and the store's doors, but
//! fewer officers than must sign.

use countersign::admin::{Act, NewFactor, NewUser, Target};
use countersign::engine::{EngineError, ProposalStanding};
use countersign::kernel::act::class::Class;
use countersign::kernel::audit::Event;
use countersign::kernel::motion::ActText;
use countersign::kernel::network::Network;
use countersign::kernel::officer::SignatureError;
use countersign::kernel::otp::OtpHash;
use countersign::kernel::policy::Policy;
use countersign::kernel::proposal::{ProposalError, Standing};
use countersign::kernel::record::Stored;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::state::Epoch;

use super::scene::{DELAY, HIGHER, HOUR, LIMITS, Scene, nonce, policy, refused, users};

fn needs_officers(result: Result<(), EngineError>) -> Class {
    match result {
        Err(EngineError::NeedsOfficers(class)) => class,
        other => panic!("{other:?}"),
    }
}

/// The rogue's own user, who signs nowhere.
fn mallory(scene: &Scene) {
    scene.bench.user("mallory");
}

#[test]
fn act_users_nobody_joins_a_wallet_without_enough_officers() {
    let scene = Scene::new();
    mallory(&scene);
    for names in [&["mallory"][..], &["alice", "mallory"]] {
        let change = || Act::ChangeWallet(scene.wallet, users(names));
        assert_eq!(needs_officers(scene.bench.perform(change()).map(drop)), Class::Loosens);
        // Proposed without an officer, and with one who helps: however long it waits.
        for officers in [0, 1] {
            let act = scene.signed(officers, &scene.draft(&change()));
            scene.wait(DELAY + HOUR);
            assert_eq!(scene.standing(&act), ProposalStanding::Unsigned);
            let missing = Standing::Unsigned { signed: officers, needed: 2 };
            assert_eq!(refused(scene.carry_out(&act)), ProposalError::NotDue(missing));
        }
    }
    scene.assert_untouched();
}

/// Officers agree to bob. The rogue removes bob and enrols somebody of the same name.
#[test]
fn act_enrol_who_is_enrolled_anew_is_not_whom_officers_meant() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let bob = scene.bench.key_id("bob");
    scene.bench.remove_user("bob", &bob).expect("he signs nowhere, and nothing is proposed yet");
    scene.bench.user("bob");
    assert_ne!(scene.bench.key_id("bob"), bob);
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    assert!(matches!(scene.carry_out(&act), Err(EngineError::NoSuchUser(name)) if name == "bob"));
    // Of those who sign already nobody can be enrolled anew: to take one off is one thing, to add one another.
    let alice = scene.bench.key_id("alice");
    assert!(scene.bench.remove_user("alice", &alice).is_err());
    let again = NewUser {
        name: "alice".into(),
        service: "t".into(),
        factor: NewFactor::Totp { hash: OtpHash::Sha1, digits: 6, period: 30 },
    };
    assert!(matches!(scene.bench.enrol(again), Err(EngineError::Name(_))));
    scene.assert_untouched();
}

/// Each step tightens something, and loosens something else by a little.
#[test]
fn act_small_steps_lead_nowhere() {
    let scene = Scene::new();
    mallory(&scene);
    let steps = [
        "max_fee_sat = 999\nmax_transaction_sat = 100001",
        "max_fee_sat = 1001\nmax_transaction_sat = 1",
        "max_fee_sat = 1\nmax_transaction_sat = 900000",
        "max_fee_sat = 1000\nmax_period_sat = 5",
        "max_fee_sat = 1000\nmax_transaction_sat = 100000\nallowlist = []",
        "unlimited = true",
    ];
    let parse = |text: &str| Policy::parse(text, Network::Regtest).expect("a policy");
    for step in steps {
        let mut with_users = policy(step);
        with_users.terms.users = Some(vec!["mallory".into()]);
        for change in [policy(step), with_users] {
            let before = scene.policy();
            match scene.bench.change_wallet(&scene.wallet, change) {
                Ok(()) => assert!(!parse(&before).compare(&parse(&scene.policy())).loosens, "{step}"),
                refused => assert_eq!(needs_officers(refused), Class::Loosens, "{step}"),
            }
        }
    }
    assert!(!parse(LIMITS).compare(&parse(&scene.policy())).loosens);
    assert_eq!(scene.users(), ["alice"]);
    // Officers sign a step, and it is not the step that they signed once its subject has changed.
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene
        .bench
        .change_wallet(&scene.wallet, policy("max_fee_sat = 1\nmax_transaction_sat = 1"))
        .expect("it tightens");
    scene.wait(DELAY);
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Void(_)));
    assert_eq!(scene.users(), ["alice"]);
}

#[test]
fn act_swap_no_other_document_stands_under_a_signature() {
    let scene = Scene::new();
    let text = scene
        .draft(&Act::ChangeWallet(scene.wallet, policy("max_fee_sat = 1000\nmax_transaction_sat = 100001")));
    let signatures: Vec<String> = (0..2).map(|officer| scene.signers.sign(officer, &text)).collect();
    // The same act with more in it, under another nonce and under the same one.
    let mut swapped =
        ActText::parse(&scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER)))).expect("an act");
    for same_nonce in [false, true] {
        if same_nonce {
            swapped.nonce = nonce(&text);
        }
        let other = swapped.print().expect("a text");
        let act = scene.submit(&other);
        for signature in &signatures {
            let wrong = refused(scene.bench.engine.sign_proposal(&act, signature));
            assert!(matches!(wrong, ProposalError::Signature(SignatureError::Wrong(_))), "{wrong}");
        }
        let brought = scene.bench.engine.propose(None, &other, Some(&signatures[0]));
        assert!(matches!(refused(brought), ProposalError::Signature(_) | ProposalError::Known));
    }
    // The text that was signed cannot be proposed beside the other with its nonce, and what was proposed does not change.
    assert_eq!(refused(scene.propose(&text, None)), ProposalError::Known);
    scene.assert_untouched();
}

#[test]
fn act_replay_what_was_done_is_not_done_again() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    scene.carry_out(&act).expect("it is due");
    // The administrator takes bob off again, so that what is in force is what it was.
    scene.bench.change_wallet(&scene.wallet, users(&["alice"])).expect("it tightens");
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
    assert_eq!(refused(scene.propose(&text, None)), ProposalError::Known);
    assert_eq!(refused(scene.bring(0, &text)), ProposalError::Known);
    let scene = scene.restarted();
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
    // Long after, when its record is gone.
    scene.bench.clock.advance(DELAY + 8 * 24 * HOUR);
    scene.submit(&scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER))));
    assert_eq!(scene.bench.engine.proposal(&act).expect("readable"), None);
    assert_eq!(refused(scene.bring(0, &text)), ProposalError::Expired);
    scene.assert_untouched();
}

#[test]
fn act_store_an_act_for_another_store_is_none_here() {
    let scene = Scene::new();
    let mut act = ActText::parse(&scene.adding_bob()).expect("an act");
    act.store[0] ^= 1;
    let elsewhere = act.print().expect("a text");
    assert!(matches!(refused(scene.bring(0, &elsewhere)), ProposalError::Void(_)));
    // And what waits here is void once this is another store.
    let text = scene.adding_bob();
    let here = scene.signed(2, &text);
    scene.wait(DELAY);
    scene.bench.ledger.state().store = Some([9; 16]);
    assert!(matches!(refused(scene.carry_out(&here)), ProposalError::Void(_)));
    assert!(matches!(scene.standing(&here), ProposalStanding::Void(..)));
    scene.assert_untouched();
}

#[test]
fn act_restored_a_restoration_voids_every_older_act() {
    let scene = Scene::new();
    let (text, unsigned) = (scene.adding_bob(), scene.adding_bob());
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    let restored = Epoch { number: 1, at: scene.bench.clock.now() }.encode();
    scene.bench.ledger.state().records.insert(RecordKey::single(Kind::Epoch), (u64::MAX, restored));
    let scene = scene.restarted();
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Void(_)));
    assert!(matches!(refused(scene.bring(0, &unsigned)), ProposalError::Void(_)));
    scene.assert_untouched();
}

/// How often the store was restored is the same then. When it was is not.
#[test]
fn act_restored_an_act_of_one_restoration_is_void_after_another_of_the_same_copy() {
    let put_back = |scene: Scene| {
        let restored = Epoch { number: 1, at: scene.bench.clock.now() }.encode();
        scene.bench.ledger.state().records.insert(RecordKey::single(Kind::Epoch), (u64::MAX, restored));
        scene.restarted()
    };
    let scene = put_back(Scene::new());
    let (text, other) = (scene.adding_bob(), scene.adding_bob());
    scene.bring(0, &other).expect("it is of this restoration");
    scene.bench.clock.advance(HOUR);
    let scene = put_back(scene);
    assert!(matches!(refused(scene.bring(0, &text)), ProposalError::Void(_)));
    scene.assert_untouched();
}

/// Two processes carry out one act, and propose one text, at once.
#[test]
fn act_submit_two_at_once_do_it_once() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    let other = scene.bench.beside();
    scene.bench.ledger.state().meanwhile =
        Some((0, Box::new(move || other.engine.carry_out(&act).expect("it is first"))));
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
    let done = scene.events().iter().filter(|event| matches!(event, Event::Decided(_))).count();
    assert_eq!(done, 1);
    // A veto that comes first wins, too.
    let text = scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER)));
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    let other = scene.bench.beside();
    let code = scene.bench.code(&scene.alice);
    let veto = move || other.engine.veto_by_user(&act, "alice", code.as_bytes()).expect("it is first");
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(veto)));
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Over(_)));
    // The same text, proposed twice.
    let text = scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER)));
    let (other, again, signature) = (scene.bench.beside(), text.clone(), scene.signers.sign(1, &text));
    let bring = move || {
        other.engine.propose(None, &again, Some(&signature)).expect("it is first");
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(bring)));
    assert_eq!(refused(scene.bring(0, &text)), ProposalError::Known);
    assert_eq!(scene.view(&nonce(&text)).signed, 1);
    assert_eq!(scene.policy(), LIMITS);
}

/// Officers who change while another act is carried out: it does not go by those who decided it.
#[test]
fn act_submit_a_new_council_comes_between() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    let council = scene.signers.council_of(0..3, 3, 2, None, 100);
    let officers = scene.signed(2, &scene.draft(&Act::SetOfficers(Box::new(council))));
    scene.wait(DELAY);
    let other = scene.bench.beside();
    scene.bench.ledger.state().meanwhile =
        Some((0, Box::new(move || other.engine.carry_out(&officers).expect("it is first"))));
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::Void(_)));
    scene.assert_untouched();
}

#[test]
fn act_expires_after_its_date_nothing_is_carried_out() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(2, &text);
    scene.wait(DELAY);
    let expires = scene.view(&act).expires;
    scene.bench.clock.advance(expires + 1 - scene.bench.clock.now());
    assert_eq!(scene.standing(&act), ProposalStanding::Expired);
    assert_eq!(refused(scene.carry_out(&act)), ProposalError::Expired);
    assert_eq!(refused(scene.sign(2, &text)), ProposalError::Expired);
    // A clock that is set back does not help: no clock is trusted then.
    scene.bench.clock.set(expires - HOUR);
    assert!(matches!(scene.carry_out(&act), Err(EngineError::Clock(_))));
    // Nor does a date that keeps the record for years.
    scene.bench.clock.set(expires + 1);
    let mut far = ActText::parse(&scene.adding_bob()).expect("an act");
    far.expires += 365 * 24 * HOUR;
    let far = far.print().expect("a text");
    assert_eq!(refused(scene.bring(0, &far)), ProposalError::ExpiresLate);
    scene.assert_untouched();
}

#[test]
fn act_clock_set_ahead_it_ends_no_delay() {
    let scene = Scene::new();
    let act = scene.signed(2, &scene.adding_bob());
    scene.wait(HOUR);
    let now = scene.bench.clock.now();
    // By hand, while the machine runs.
    for ahead in [6, 300, DELAY, 5 * 24 * HOUR] {
        scene.bench.clock.set(now + ahead);
        scene.bench.engine.tick().expect("it counts nothing");
        assert!(scene.carry_out(&act).is_err(), "{ahead}");
        assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR), "{ahead}");
    }
    scene.bench.clock.set(now);
    // Over a boot, after which a clock that is not far ahead is believed.
    scene.bench.clock.boot();
    scene.bench.clock.set(now + 5 * 24 * HOUR);
    let scene = scene.restarted();
    scene.bench.engine.tick().expect("it counts nothing yet");
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR));
    // In jumps between ticks, as a machine that sleeps.
    for _ in 0..20 {
        scene.bench.clock.advance(HOUR);
        scene.bench.engine.tick().expect("it counts nothing");
    }
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(HOUR));
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::NotDue(_)));
    scene.assert_untouched();
}

#[test]
fn act_twice_one_officer_counts_once() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.signed(1, &text);
    for signature in [
        scene.signers.sign(0, &text),
        scene.signers.sign(0, &text).replace("untrusted comment: ", "untrusted comment: again "),
    ] {
        let again = refused(scene.bench.engine.sign_proposal(&act, &signature));
        assert!(matches!(again, ProposalError::Again(_)), "{again}");
    }
    scene.wait(DELAY + HOUR);
    assert_eq!(scene.view(&act).signed, 1);
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::NotDue(Standing::Unsigned { .. })));
    // Nor does a stranger, and no council has a key twice.
    let stranger = scene.signers.sign(scene.signers.stranger(), &text);
    assert!(matches!(
        refused(scene.bench.engine.sign_proposal(&act, &stranger)),
        ProposalError::Signature(_)
    ));
    scene.assert_untouched();
}

#[test]
fn act_look_alikes_no_text_but_the_one_is_signed_or_proposed() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let act = scene.submit(&text);
    let look_alikes = [
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        text.trim_end().to_owned(),
        text.replace("alice", "\u{430}lice"),
        text.replace("  user", "\tuser"),
        format!("\u{feff}{text}"),
        text.replace("epoch 0", "epoch 00"),
    ];
    for (number, other) in look_alikes.into_iter().enumerate() {
        assert_ne!(other, text, "{number}");
        // Signed by enough officers, over bytes that look like the text.
        for officer in [0, 1] {
            let signature = scene.signers.sign(officer, &other);
            let wrong = refused(scene.bench.engine.sign_proposal(&act, &signature));
            assert!(matches!(wrong, ProposalError::Signature(SignatureError::Wrong(_))), "{number}: {wrong}");
            let brought = refused(scene.bench.engine.propose(None, &other, Some(&signature)));
            assert!(matches!(brought, ProposalError::Text(_)), "{number}: {brought}");
        }
    }
    assert_eq!(scene.view(&act).signed, 0);
    scene.assert_untouched();
}

#[test]
fn act_early_a_signature_from_before_the_proposal_starts_no_delay() {
    let scene = Scene::new();
    let text = scene.adding_bob();
    let signatures: Vec<String> = (0..2).map(|officer| scene.signers.sign(officer, &text)).collect();
    scene.wait(DELAY);
    let act = scene.submit(&text);
    for signature in &signatures {
        scene.bench.engine.sign_proposal(&act, signature).expect("an officer's");
    }
    assert_eq!(scene.standing(&act), ProposalStanding::Waiting(DELAY));
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::NotDue(_)));
    scene.assert_untouched();
}

/// Somebody other than the officers thaws nothing, sets no other officers, and takes no clock.
#[test]
fn act_alone_an_administrator_ends_no_freeze_and_names_no_officers() {
    let scene = Scene::new();
    let target = Target::Wallet(scene.wallet);
    scene.bring(0, &scene.draft(&Act::Freeze(target.clone()))).expect("it is not frozen");
    assert_eq!(needs_officers(scene.bench.thaw(&target)), Class::Loosens);
    let own = scene.signers.council_of([scene.signers.stranger()], 1, 1, None, 100);
    assert_eq!(needs_officers(scene.bench.set_officers(&own)), Class::Loosens);
    let text = scene.draft(&Act::SetOfficers(Box::new(own)));
    let act = scene.submit(&text);
    let stranger = scene.signers.sign(scene.signers.stranger(), &text);
    assert!(scene.bench.engine.sign_proposal(&act, &stranger).is_err());
    scene.wait(DELAY + HOUR);
    assert!(matches!(refused(scene.carry_out(&act)), ProposalError::NotDue(_)));
    assert!(scene.bench.engine.is_frozen(&target).expect("readable"));
    scene.assert_untouched();
}
