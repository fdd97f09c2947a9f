//! Codes and state.

use super::*;
use countersign::ports::LedgerError;

/// A change by the security officer applies to everything that is not signed yet.
#[test]
fn a_user_removed_while_a_signature_is_under_way_gives_none() {
    for change in [
        KeyChange { users: Some(vec!["bob".into()]), ..KeyChange::default() },
        KeyChange { policy: Some("max_transaction_sat = 1\nmax_fee_sat = 1".into()), ..KeyChange::default() },
    ] {
        let bench = Bench::new();
        let alice = bench.user("alice");
        bench.user("bob");
        let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
        let psbt = bench.psbt(&id, 1).serialize();
        // Before the decision is written.
        let beside = bench.beside();
        let act = move || beside.change_wallet(&id, change).expect("the officer's change is durable");
        bench.ledger.state().meanwhile = Some((0, Box::new(act)));
        let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
        assert!(matches!(answer, Err(EngineError::ChangedMeanwhile(_))), "{:?}", answer.err());
        assert_eq!(count(&bench.ledger.state().events, Answer::Signed), 0);
    }
}

/// A wallet whose policy this version does not accept is closed; the others are not.
#[test]
fn a_wallet_of_another_version_stays_closed_alone() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    bench.user("bob");
    let later = bench.wallet("later", &["bob"], UNLIMITED);
    let place = RecordKey { kind: Kind::Wallet, id: later };
    {
        let mut state = bench.ledger.state();
        let (version, plaintext) = state.records[&place].clone();
        let mut record = WalletRecord::decode(&plaintext).expect("reads");
        record.terms.policy = "unlimited = true\na_rule_of_tomorrow = 1".into();
        state.records.insert(place, (version, record.encode()));
    }
    let bench = bench.restarted();
    let closed = bench.engine.closed_keys();
    assert!(closed.len() == 1 && closed[0].contains("\"later\""), "{closed:?}");
    bench.sign(&id, "alice", &bench.code(&alice), &bench.psbt(&id, 1).serialize()).expect("the other signs");
    assert!(matches!(bench.engine.wallet(&later), Err(EngineError::NoSuchWallet)));
    // Its label and its users stay in use.
    assert!(matches!(bench.remove_user("bob", &bench.key_id("bob")), Err(EngineError::UserInUse { .. })));
    let again = bench.add_wallet("later", &["alice"], UNLIMITED, NewScript::default());
    assert!(matches!(again, Err(EngineError::Name(_))));
}

fn is_wrong_code<T>(answer: &Result<T, EngineError>) -> bool {
    matches!(answer, Err(EngineError::Code))
}

#[test]
fn otp_replay() {
    let scene = Scene::new(UNLIMITED);
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let other = scene.psbt(2).serialize();
    let before = scene.alice.generate(bench.clock.now() - 30).to_string();
    let code = bench.code(&scene.alice);
    bench.sign(&scene.id, "alice", &code, &psbt).expect("signs");
    assert!(is_wrong_code(&bench.sign(&scene.id, "alice", &code, &other)), "the same step");
    assert!(is_wrong_code(&bench.sign(&scene.id, "alice", &before, &psbt)), "an older step");
    let next = scene.alice.generate(bench.clock.now() + 30).to_string();
    bench.sign(&scene.id, "alice", &next, &psbt).expect("a later step");
    assert_eq!(bench.failures("alice"), 2, "each was charged");

    let scene = Scene::new(UNLIMITED);
    let code = scene.bench.code(&scene.alice);
    scene.sign(&scene.psbt(1).serialize()).expect("signs");
    let other = scene.bench.psbt(&scene.other, 1).serialize();
    assert!(is_wrong_code(&scene.bench.sign(&scene.other, "alice", &code, &other)), "another wallet");
    assert!(is_wrong_code(&scene.sign(&scene.psbt(2).serialize())), "another transaction");
}

#[test]
fn otp_replay_between_decision_and_commit() {
    let scene = Scene::new(UNLIMITED);
    let (first, second) = (scene.psbt(1).serialize(), scene.psbt(2).serialize());
    let code = scene.bench.code(&scene.alice);
    let beside = scene.bench.beside();
    let (id, answer) = (scene.id, Arc::new(std::sync::Mutex::new(None)));
    let (their_code, theirs) = (code.clone(), Arc::clone(&answer));
    // The first code is found right. Before it commits, the other call spends the same step.
    let act = move || {
        let signed = beside.sign(&id, "alice", &their_code, &second);
        *theirs.lock().expect("nobody panicked") = Some(signed);
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(is_wrong_code(&scene.bench.sign(&id, "alice", &code, &first)), "the slower one");
    answer.lock().expect("nobody panicked").take().expect("it was tried").expect("the faster one signs");
    assert_eq!(scene.bench.failures("alice"), 1, "the slower one's try is charged");
    assert_eq!(count(&scene.bench.ledger.state().events, Answer::Signed), 1);
}

#[test]
fn otp_missing_object_a_user_removed_between_decision_and_commit() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let ledger = scene.bench.ledger.clone();
    let act = move || {
        ledger.state().records.remove(&RecordKey::user("alice"));
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(is_wrong_code(&scene.sign(&psbt)));
}

#[test]
fn otp_replay_of_a_code_that_confirmed() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let code = bench.code(&alice);
    bench.confirm("alice", &code).expect("confirms");
    let id = bench.wallet("w", &["alice"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &psbt)));
}

#[test]
fn otp_guess_a_wrong_code_confirms_nobody() {
    let bench = Bench::new();
    let alice = bench.unconfirmed("alice");
    let right = bench.code(&alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    assert!(matches!(bench.confirm("alice", wrong), Err(EngineError::Code)));
    assert!(!bench.engine.user("alice").expect("readable").expect("there").confirmed);
    assert_eq!(bench.failures("alice"), 1);
    bench.confirm("alice", &right).expect("the right one does");
}

#[test]
fn otp_missing_object() {
    let scene = Scene::new(UNLIMITED);
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let mallory = bench.user("mallory");
    let newcomer = bench.unconfirmed("newcomer");
    let id = bench.wallet("two", &["alice", "newcomer"], UNLIMITED);
    let two = bench.psbt(&id, 1).serialize();
    let nobodies = || {
        let of_nobody = |event: &&Event| fates(event) == [(None, Fate::Wrong)];
        bench.ledger.state().events.iter().filter(of_nobody).count()
    };

    assert!(is_wrong_code(&bench.sign(&scene.id, "nobody", "123456", &psbt)), "unknown");
    assert_eq!(nobodies(), 1);
    assert!(
        is_wrong_code(&bench.sign(&scene.id, "mallory", &bench.code(&mallory), &psbt)),
        "another wallet's"
    );
    assert_eq!(nobodies(), 2);
    assert!(is_wrong_code(&bench.sign(&id, "", &bench.code(&scene.alice), &two)), "no name, and two users");
    assert_eq!(nobodies(), 3);
    assert!(is_wrong_code(&bench.sign(&id, "newcomer", &bench.code(&newcomer), &two)), "not confirmed");
    assert_eq!(bench.failures("newcomer"), 1);

    let place = RecordKey::user("alice");
    let kept = bench.ledger.state().records.remove(&place).expect("there");
    assert!(is_wrong_code(&scene.sign(&psbt)), "missing");
    assert_eq!(nobodies(), 4);
    bench.ledger.state().records.insert(place, kept);
    scene.sign(&psbt).expect("and back again it signs");
}

/// Nobody knows who it is: the code is neither right nor wrong, and the store answers nothing any more.
#[test]
fn otp_missing_object_a_user_whose_record_cannot_be_read_closes_the_store() {
    let scene = Scene::new(UNLIMITED);
    let (bench, psbt) = (&scene.bench, scene.psbt(1).serialize());
    let (place, id) = (RecordKey::user("alice"), scene.id);
    let key_id = bench.engine.user("alice").expect("read").expect("there").key_id;
    let kept = bench.ledger.state().records[&place].clone();
    let of_wallet = bench.ledger.state().records[&RecordKey { kind: Kind::Wallet, id }].1.clone();
    let mut of_format_9 = kept.1.clone();
    of_format_9[0] = 9;
    let unreadable = [
        ("another kind", Some(of_wallet)),
        ("another format", Some(of_format_9)),
        ("nothing", Some(zeroize::Zeroizing::new(vec![]))),
        ("a broken seal", None),
    ];
    for (what, plaintext) in unreadable {
        for confirms in [false, true] {
            match &plaintext {
                Some(plaintext) => {
                    drop(bench.ledger.state().records.insert(place, (kept.0, plaintext.clone())))
                }
                None => drop(bench.ledger.state().damaged.insert(place)),
            }
            let told = bench.ledger.state().events.len();
            let answer = if confirms {
                bench.engine.confirm("alice", &key_id, b"123456")
            } else {
                scene.sign(&psbt).map(drop)
            };
            assert!(matches!(answer, Err(EngineError::Ledger(_))), "{what}: {answer:?}");
            assert_eq!(bench.ledger.state().events.len(), told, "{what}: no try is recorded");
            let names = bench.engine.user_names();
            assert!(matches!(names, Err(EngineError::Ledger(LedgerError::Closed(_)))), "{what}: {names:?}");
            bench.ledger.state().closed = None;
            bench.ledger.state().damaged.clear();
            bench.ledger.state().records.insert(place, kept.clone());
        }
    }
    scene.sign(&psbt).expect("opened anew, and with its record back, it signs");
}

#[test]
fn otp_guess_nobody_learns_the_outcome_of_a_code_before_it_is_durable() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    // The same answer for a right and a wrong code.
    for code in [&right[..], wrong] {
        scene.bench.ledger.state().fail_at = Some(0);
        let answer = scene.bench.sign(&scene.id, "alice", code, &psbt);
        assert!(matches!(answer, Err(EngineError::Ledger(_))), "{answer:?}");
        scene.bench.ledger.state().fail_at = None;
    }
    scene.sign(&psbt).expect("it is not spent");
    assert_eq!(scene.bench.failures("alice"), 0, "of what nobody learned nothing is charged");
    let last = scene.bench.ledger.state().events.last().cloned();
    assert_eq!(last.as_ref().map(fates), Some(vec![(Some("alice"), Fate::Spent)]), "one link for it");
}

#[test]
fn otp_guess_a_wrong_code_is_charged_and_writes_nothing_else() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let before = scene.bench.ledger.state().events.len();
    assert!(is_wrong_code(&scene.bench.sign(&scene.id, "alice", wrong, &psbt)));
    let events = scene.bench.ledger.state().events[before..].to_vec();
    let wrong = vec![vec![(Some("alice"), Fate::Wrong)]];
    assert_eq!(events.iter().map(fates).collect::<Vec<_>>(), wrong);
    assert_eq!(scene.bench.failures("alice"), 1);
}

#[test]
fn otp_guess_three_in_a_row_must_wait_and_a_right_code_is_not_checked_meanwhile() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let right = scene.bench.code(&scene.alice);
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for _ in 0..3 {
        assert!(is_wrong_code(&scene.bench.sign(&scene.id, "alice", wrong, &psbt)));
    }
    assert!(matches!(scene.sign(&psbt), Err(EngineError::Locked)));
    assert_eq!(scene.bench.failures("alice"), 3, "what is not looked at is not charged");
    scene.bench.clock.advance(30);
    scene.sign(&psbt).expect("after the wait");
    assert_eq!(scene.bench.failures("alice"), 3, "success forgives only itself");
}

#[test]
fn crash_before_the_commit_leaves_the_code_unspent_and_nothing_learned() {
    let scene = Scene::new(UNLIMITED);
    let (psbt, other) = (scene.psbt(1).serialize(), scene.psbt(2).serialize());
    let code = scene.bench.code(&scene.alice);
    scene.bench.ledger.state().fail_at = Some(0);
    assert!(matches!(scene.sign(&psbt), Err(EngineError::Ledger(_))), "no signature without the commit");
    let Scene { bench, id, .. } = scene;
    let bench = bench.restarted();
    assert_eq!(bench.failures("alice"), 0, "nobody learned whether it was right");
    bench.sign(&id, "alice", &code, &psbt).expect("the step was not spent");
    assert!(is_wrong_code(&bench.sign(&id, "alice", &code, &other)), "once");
}

#[test]
fn several_codes_must_all_be_right_each_of_another_user() {
    use countersign::kernel::approval::Approval;
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = bench.wallet("w", &["alice", "bob"], UNLIMITED);
    let psbt = bench.psbt(&id, 1).serialize();
    let approval = |user: &str, code: &str| {
        Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
    };
    let (a, b) = (bench.code(&alice), bench.code(&bob));
    let wrong = if b == "000000" { "000001" } else { "000000" };
    let one_wrong =
        bench.engine.countersign(&id, vec![approval("alice", &a), approval("bob", wrong)], psbt.clone());
    assert!(is_wrong_code(&one_wrong));
    let twice =
        bench.engine.countersign(&id, vec![approval("alice", &a), approval("alice", &a)], psbt.clone());
    assert!(is_wrong_code(&twice), "one user is not two");
    assert_eq!((bench.failures("alice"), bench.failures("bob")), (1, 1), "to whom the wrong ones were");
    let both = vec![approval("alice", &a), approval("bob", &b)];
    bench.engine.countersign(&id, both, psbt).expect("both are right");
    let other = bench.psbt(&id, 2).serialize();
    assert!(is_wrong_code(&bench.sign(&id, "bob", &b, &other)), "both are spent");
}

fn clock_error(answer: &Result<Vec<u8>, EngineError>) -> Option<ClockError> {
    match answer {
        Err(EngineError::Clock(error)) => Some(*error),
        _ => None,
    }
}

#[test]
fn clock_back() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let now = scene.bench.clock.now();
    for back in [30, 3_600, now] {
        scene.bench.clock.set(now - back);
        assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Back(back)), "{back} s");
        scene.bench.clock.set(now);
    }
    assert_eq!(scene.bench.failures("alice"), 0, "nothing was charged");
    scene.sign(&psbt).expect("nothing was spent");

    // Set back while the module is closed, to a time whose code would become valid again.
    let Scene { bench, alice, id, .. } = scene;
    bench.clock.advance(3_600);
    let code = bench.code(&alice);
    bench.sign(&id, "alice", &code, &psbt).expect("signs");
    bench.clock.set(now);
    let bench = bench.restarted();
    let answer = bench.sign(&id, "alice", &bench.code(&alice), &psbt);
    assert_eq!(clock_error(&answer), Some(ClockError::Back(3_600)), "the newest record tells");
}

#[test]
fn clock_jump() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1).serialize();
    let now = scene.bench.clock.now();
    for ahead in [30, 3_600, 24 * 3_600] {
        scene.bench.clock.set(now + ahead);
        assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Jump(ahead)), "{ahead} s");
    }
    // A clock that stands still counts as one that jumps back.
    scene.bench.clock.set(now);
    scene.bench.clock.advance(60);
    scene.bench.clock.set(now);
    assert_eq!(clock_error(&scene.sign(&psbt)), Some(ClockError::Jump(60)), "frozen");
    scene.bench.clock.set(now + 60);
    assert_eq!(scene.bench.failures("alice"), 0, "nothing was charged");
    scene.sign(&psbt).expect("nothing was spent");
}

#[test]
fn the_host_of_the_module_learns_that_the_store_is_closed() {
    let Bench { engine, ledger, .. } = Bench::new();
    let hosted = countersign::pkcs11::host(engine).expect("the only one here");
    assert_eq!(hosted.standing(), Standing::WELL);
    ledger.state().fail_at = Some(0);
    assert!(hosted.standing().has(Trouble::StoreClosed));
}
