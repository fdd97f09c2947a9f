//! Keys that sign digests, in the engine: each digest takes a code, their policy counts them, and they belong
//! to no wallet.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Message, Secp256k1};
use totp_rs::Totp;

use countersign::admin::{KeyChange, KeyTerms, NewDigestKey};
use countersign::engine::{DigestKeyId, EngineError};
use countersign::kernel::act::{Change, Deed};
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::{Answer, Asked, DigestFacts, Event, Fate, TriedCode};
use countersign::kernel::digest_key::{DigestKeyError, DigestKeyRecord, DigestMechanisms};
use countersign::kernel::direction::Direction;
use countersign::kernel::policy::PolicyError;
use countersign::kernel::record::Stored;
use countersign::kernel::rule::Rule;
use countersign::kernel::seal::{Kind, RecordKey};
use countersign::kernel::state::WalletState;
use harness::engine::{Bench, count};

const UNLIMITED: &str = "unlimited = true";
const DIGEST: [u8; 32] = [0x5a; 32];

struct Scene {
    bench: Bench,
    alice: Totp,
    id: DigestKeyId,
}

impl Scene {
    fn new(policy: &str) -> Scene {
        let bench = Bench::new();
        let alice = bench.user("alice");
        let id = add(&bench, "sidechain", &["alice"], policy).expect("a key");
        Scene { bench, alice, id }
    }

    fn code(&self) -> String {
        self.bench.code(&self.alice)
    }

    fn sign(&self, code: &str, digest: &[u8]) -> Result<[u8; 64], EngineError> {
        sign(&self.bench, &self.id, "alice", code, digest)
    }

    /// Signs with the code of the next step.
    fn sign_next(&self, digest: &[u8]) -> Result<[u8; 64], EngineError> {
        self.bench.clock.advance(30);
        self.sign(&self.code(), digest)
    }

    fn events(&self) -> Vec<Event> {
        self.bench.ledger.state().events.clone()
    }
}

fn add(bench: &Bench, label: &str, users: &[&str], policy: &str) -> Result<DigestKeyId, EngineError> {
    bench.add_digest_key(NewDigestKey {
        terms: KeyTerms {
            label: label.into(),
            cka_id: vec![],
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            policy: policy.into(),
        },
        mechanisms: DigestMechanisms { digest: true, ecdsa: true },
    })
}

fn sign(
    bench: &Bench,
    id: &DigestKeyId,
    user: &str,
    code: &str,
    digest: &[u8],
) -> Result<[u8; 64], EngineError> {
    bench.engine.countersign_digest(id, vec![approval(user, code)], digest).map(|given| given.signed)
}

fn approval(user: &str, code: &str) -> Approval {
    Approval::parse_pin_of(user.as_bytes(), code.as_bytes()).expect("well formed")
}

fn wrong(right: &str) -> &'static str {
    if right == "000000" { "000001" } else { "000000" }
}

fn facts() -> DigestFacts {
    DigestFacts { key: "sidechain".into(), digest: DIGEST }
}

/// The one link of a request whose codes all had the same outcome.
fn tried(users: &[&str], digest: DigestFacts, answer: Answer, fate: Fate) -> Event {
    let codes = users.iter().map(|user| TriedCode { user: Some((*user).into()), fate }).collect();
    Event::Tried { codes, asked: Asked::Digest(digest), answer }
}

#[test]
fn a_right_code_signs_a_digest_with_low_s_and_is_spent_before() {
    let scene = Scene::new(UNLIMITED);
    let answer = scene.sign(&scene.code(), &DIGEST).expect("signs");
    let mut signature = Signature::from_compact(&answer).expect("r and s");
    let key = scene.bench.engine.digest_key(&scene.id).expect("there");
    Secp256k1::new()
        .verify_ecdsa(&Message::from_digest(DIGEST), &signature, key.public_key())
        .expect("verifies under its public key");
    signature.normalize_s();
    assert_eq!(signature.serialize_compact(), answer, "low-S");
    assert_eq!(scene.events().pop(), Some(tried(&["alice"], facts(), Answer::Signed, Fate::Spent)));
    assert_eq!(scene.bench.failures("alice"), 0);
}

#[test]
fn otp_replay_a_code_signs_one_digest_and_no_other_and_nothing_of_a_wallet() {
    let scene = Scene::new(UNLIMITED);
    let other = add(&scene.bench, "another", &["alice"], UNLIMITED).expect("a key");
    let wallet = scene.bench.wallet("w", &["alice"], UNLIMITED);
    let psbt = scene.bench.psbt(&wallet, 1).serialize();
    let code = scene.code();
    let first = scene.sign(&code, &DIGEST).expect("signs");
    assert_eq!(scene.sign(&code, &DIGEST).expect("again"), first, "who lost the answer gets the same");
    assert_eq!(scene.events().pop(), Some(tried(&["alice"], facts(), Answer::Repeated, Fate::Repeated)));
    assert!(matches!(scene.sign(&code, &[1; 32]), Err(EngineError::Code)));
    assert!(matches!(sign(&scene.bench, &other, "alice", &code, &DIGEST), Err(EngineError::Code)));
    scene.bench.clock.advance(30);
    let code = scene.code();
    scene.bench.sign(&wallet, "alice", &code, &psbt).expect("a wallet's");
    assert!(matches!(scene.sign(&code, &DIGEST), Err(EngineError::Code)), "spent on a wallet");
}

#[test]
fn otp_guess_a_wrong_code_for_a_digest_is_charged_durably_and_counted_by_the_breaker() {
    let scene = Scene::new(UNLIMITED);
    assert!(matches!(scene.sign(wrong(&scene.code()), &DIGEST), Err(EngineError::Code)));
    assert_eq!(scene.bench.failures("alice"), 1);
    assert_eq!(scene.events().pop(), Some(tried(&["alice"], facts(), Answer::WrongCode, Fate::Wrong)));
    let Scene { bench, alice, id } = scene;
    let scene = Scene { bench: bench.stopping_at(1), alice, id };
    assert!(matches!(scene.sign(&scene.code(), &DIGEST), Err(EngineError::Stopped)));
}

#[test]
fn a_stranger_and_an_unconfirmed_user_sign_no_digest() {
    let scene = Scene::new(UNLIMITED);
    let mallory = scene.bench.user("mallory");
    let code = scene.bench.code(&mallory);
    let answer = sign(&scene.bench, &scene.id, "mallory", &code, &DIGEST);
    assert!(matches!(answer, Err(EngineError::Code)), "a user of others");
    let carol = scene.bench.unconfirmed("carol");
    let id = add(&scene.bench, "carol's", &["carol"], UNLIMITED).expect("a key");
    let answer = sign(&scene.bench, &id, "carol", &scene.bench.code(&carol), &DIGEST);
    assert!(matches!(answer, Err(EngineError::Code)));
}

#[test]
fn period_transactions_counts_every_signature_also_of_the_same_digest() {
    let scene = Scene::new("max_period_transactions = 2\nperiod_hours = 1");
    scene.sign(&scene.code(), &DIGEST).expect("the first");
    scene.sign_next(&DIGEST).expect("the second");
    let refused = scene.sign_next(&DIGEST);
    assert!(matches!(refused, Err(EngineError::Policy(Rule::PeriodTransactions))));
    let last = scene.events().pop();
    let refused = Answer::Refused(Rule::PeriodTransactions);
    assert_eq!(last, Some(tried(&["alice"], facts(), refused, Fate::Spent)));
    // The refusal spent its code, and no change of the policy brings anything back.
    let code = scene.code();
    let change = KeyChange {
        policy: Some("max_period_transactions = 3\nperiod_hours = 1".into()),
        ..KeyChange::default()
    };
    scene.bench.change_digest_key(&scene.id, change).expect("changed");
    assert!(matches!(scene.sign(&code, &DIGEST), Err(EngineError::Code)), "spent");
    scene.sign_next(&[1; 32]).expect("the third");
    assert!(matches!(scene.sign_next(&[2; 32]), Err(EngineError::Policy(Rule::PeriodTransactions))));
    scene.bench.clock.advance(2 * 3_600);
    scene.sign(&scene.code(), &[2; 32]).expect("the period is over");
}

#[test]
fn a_repetition_of_a_digest_counts_once() {
    let scene = Scene::new("max_period_transactions = 2");
    let signed = || {
        let place = RecordKey { kind: Kind::DigestKeyState, id: scene.id };
        WalletState::decode(&scene.bench.ledger.state().records[&place].1).expect("reads").signed
    };
    let code = scene.code();
    let first = scene.sign(&code, &DIGEST).expect("signs");
    for _ in 0..3 {
        assert_eq!(scene.sign(&code, &DIGEST).expect("again"), first);
        assert_eq!(signed(), 1);
    }
    scene.sign_next(&DIGEST).expect("another");
    assert_eq!(signed(), 2);
}

#[test]
fn approvals_and_time_window_hold_for_digests() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let two = "unlimited = true\nrequired_approvals = 2";
    let id = add(&bench, "two", &["alice", "bob"], two).expect("a key");
    let one = sign(&bench, &id, "alice", &bench.code(&alice), &DIGEST);
    assert!(matches!(one, Err(EngineError::Policy(Rule::Approvals))));
    let both = || vec![approval("alice", &bench.code(&alice)), approval("bob", &bench.code(&bob))];
    let spent = bench.engine.countersign_digest(&id, both(), &DIGEST);
    assert!(matches!(spent, Err(EngineError::Code)), "the refusal spent the code of alice");
    bench.clock.advance(30);
    bench.engine.countersign_digest(&id, both(), &DIGEST).expect("both");
    let digest = DigestFacts { key: "two".into(), digest: DIGEST };
    let last = bench.ledger.state().events.last().cloned();
    assert_eq!(last, Some(tried(&["alice", "bob"], digest, Answer::Signed, Fate::Spent)));
    // The bench's time is a Friday, 08:00 UTC.
    let closed = add(&bench, "closed", &["alice"], "unlimited = true\ntime_windows = [\"Sun 10:00-10:01\"]");
    bench.clock.advance(30);
    let late = sign(&bench, &closed.expect("a key"), "alice", &bench.code(&alice), &DIGEST);
    assert!(matches!(late, Err(EngineError::Policy(Rule::TimeWindow))));
}

/// If another try of the same user is recorded first, the refusal is decided again, and still spends the
/// code.
#[test]
fn a_refusal_of_a_digest_that_is_overtaken_spends_its_code() {
    let scene = Scene::new("max_period_transactions = 1");
    let free = add(&scene.bench, "free", &["alice"], UNLIMITED).expect("a key");
    scene.sign(&scene.code(), &DIGEST).expect("the one");
    scene.bench.clock.advance(30);
    let code = scene.code();
    let beside = scene.bench.beside();
    let (wrong, other) = (wrong(&code), free);
    let act = move || {
        let answer = sign(&beside, &other, "alice", wrong, &DIGEST);
        assert!(matches!(answer, Err(EngineError::Code)));
    };
    // Between the decision and its commit.
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    let refused = scene.sign(&code, &[1; 32]);
    assert!(matches!(refused, Err(EngineError::Policy(Rule::PeriodTransactions))));
    let again = sign(&scene.bench, &free, "alice", &code, &[1; 32]);
    assert!(matches!(again, Err(EngineError::Code)), "spent");
}

#[test]
fn codes_that_were_spent_apart_repeat_nothing_together() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = add(&bench, "shared", &["alice", "bob"], UNLIMITED).expect("a key");
    let (alices, bobs) = (bench.code(&alice), bench.code(&bob));
    let by_alice = sign(&bench, &id, "alice", &alices, &DIGEST).expect("signs");
    let by_bob = sign(&bench, &id, "bob", &bobs, &DIGEST).expect("signs the same");
    assert_ne!(by_alice, by_bob, "each with randomness of its own");
    let both = vec![approval("alice", &alices), approval("bob", &bobs)];
    let together = bench.engine.countersign_digest(&id, both, &DIGEST);
    assert!(matches!(together, Err(EngineError::Code)));
    assert_eq!(sign(&bench, &id, "bob", &bobs, &DIGEST).expect("again"), by_bob);
}

#[test]
fn period_transactions_counts_the_same_digest_by_each_user() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.clock.advance(30);
    let id = add(&bench, "shared", &["alice", "bob"], "max_period_transactions = 1").expect("a key");
    sign(&bench, &id, "alice", &bench.code(&alice), &DIGEST).expect("the one");
    let second = sign(&bench, &id, "bob", &bench.code(&bob), &DIGEST);
    assert!(matches!(second, Err(EngineError::Policy(Rule::PeriodTransactions))));
}

#[test]
fn a_code_without_a_name_is_nobodys_where_there_are_several_users() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    bench.user("bob");
    bench.clock.advance(30);
    let nameless = |id: &DigestKeyId| {
        let approval = Approval::parse_pin(bench.code(&alice).as_bytes()).expect("well formed");
        bench.engine.countersign_digest(id, vec![approval], &DIGEST)
    };
    let nobody = || {
        let state = bench.ledger.state();
        state.records.iter().find(|(place, _)| place.kind == Kind::Nobody).expect("there").1.1.clone()
    };
    let shared = add(&bench, "shared", &["alice", "bob"], UNLIMITED).expect("a key");
    let mut seen = vec![nobody()];
    for _ in 0..2 {
        assert!(matches!(nameless(&shared), Err(EngineError::Code)));
        seen.push(nobody());
    }
    assert_eq!((bench.failures("alice"), bench.failures("bob")), (0, 0));
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "each try of nobody is counted");
    nameless(&add(&bench, "hers", &["alice"], UNLIMITED).expect("a key")).expect("there is one only");
}

#[test]
fn otp_guess_tries_of_a_locked_user_count_for_nobody() {
    let scene = Scene::new(UNLIMITED);
    let bob = scene.bench.user("bob");
    let shared = add(&scene.bench, "shared", &["alice", "bob"], UNLIMITED).expect("a key");
    let Scene { bench, alice, id } = scene;
    let scene = Scene { bench: bench.stopping_at(4), alice, id };
    let wrong = wrong(&scene.code());
    for _ in 0..3 {
        assert!(matches!(scene.sign(wrong, &DIGEST), Err(EngineError::Code)));
    }
    for _ in 0..4 {
        assert!(matches!(scene.sign(wrong, &DIGEST), Err(EngineError::Locked)));
    }
    assert_eq!(scene.bench.failures("alice"), 3);
    scene.bench.clock.advance(30);
    let bobs = scene.bench.code(&bob);
    sign(&scene.bench, &shared, "bob", &bobs, &DIGEST).expect("no code was looked at, so none counted");
}

#[test]
fn a_digest_of_another_length_spends_nothing() {
    let scene = Scene::new(UNLIMITED);
    let before = scene.events().len();
    for length in [0, 1, 31, 33, 64] {
        let answer = scene.sign(&scene.code(), &vec![1; length]);
        assert!(matches!(answer, Err(EngineError::DigestLength)), "{length}");
    }
    assert_eq!(scene.events().len(), before);
    scene.sign(&scene.code(), &DIGEST).expect("the code is whole");
}

#[test]
fn a_key_changed_while_a_signature_is_under_way_gives_none() {
    let scene = Scene::new(UNLIMITED);
    let beside = scene.bench.beside();
    let id = scene.id;
    let act = move || {
        let policy = Some("max_period_transactions = 1".into());
        let change = KeyChange { policy, ..KeyChange::default() };
        beside.change_digest_key(&id, change).expect("changed");
    };
    // Before the decision is written.
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    assert!(matches!(scene.sign(&scene.code(), &DIGEST), Err(EngineError::ChangedMeanwhile(_))));
    assert_eq!(count(&scene.events(), Answer::Signed), 0);
}

#[test]
fn crash_a_signature_of_a_digest_without_its_commit_does_not_exist() {
    let scene = Scene::new(UNLIMITED);
    let code = scene.code();
    scene.bench.ledger.state().fail_at = Some(0);
    assert!(scene.sign(&code, &DIGEST).is_err());
    scene.bench.ledger.state().fail_at = None;
    assert_eq!(scene.bench.failures("alice"), 0, "nobody learned whether it was right");
    scene.sign(&code, &DIGEST).expect("the code was not spent");
}

#[test]
fn users_and_policy_of_a_key_change_and_the_chain_shows_how() {
    let scene = Scene::new(UNLIMITED);
    let bob = scene.bench.user("bob");
    let change = KeyChange {
        label: Some("renamed".into()),
        users: Some(vec!["bob".into()]),
        policy: Some("max_period_transactions = 9".into()),
    };
    scene.bench.change_digest_key(&scene.id, change).expect("changed");
    let last = scene.events().pop();
    let Some(Event::Act(act)) = last else { panic!("{last:?}") };
    assert_eq!((act.deed, act.name.as_str()), (Deed::KeyUpdated, "renamed"));
    let [
        Change::Label(label),
        Change::UsersAdded(added),
        Change::UsersRemoved(removed),
        Change::Policy(policy),
    ] = &act.changes[..]
    else {
        panic!("{:?}", act.changes)
    };
    assert_eq!(
        (label.as_str(), &added[..], &removed[..]),
        ("sidechain", &["bob".into()][..], &["alice".into()][..])
    );
    assert_eq!(policy.direction, Direction { tightens: true, loosens: false });
    assert_eq!(policy.rules, ["unlimited", "max_period_transactions"]);
    let public = *scene.bench.engine.digest_key(&scene.id).expect("there").public_key();
    let Scene { bench, alice, id } = scene;
    let bench = bench.restarted();
    let key = bench.engine.digest_key(&id).expect("there");
    assert_eq!((key.label(), key.users(), key.public_key()), ("renamed", &["bob".to_owned()][..], &public));
    bench.clock.advance(30);
    let of_alice = sign(&bench, &id, "alice", &bench.code(&alice), &DIGEST);
    assert!(matches!(of_alice, Err(EngineError::Code)), "no more");
    sign(&bench, &id, "bob", &bench.code(&bob), &DIGEST).expect("bob signs since");
}

#[test]
fn an_impossible_key_is_refused_and_not_written() {
    let scene = Scene::new(UNLIMITED);
    scene.bench.wallet("w", &["alice"], UNLIMITED);
    let before = scene.events().len();
    let refused = |label: &str, users: &[&str], policy: &str| {
        add(&scene.bench, label, users, policy).expect_err("refused")
    };
    assert!(matches!(refused("sidechain", &["alice"], UNLIMITED), EngineError::Name(_)), "a key's label");
    assert!(matches!(refused("w", &["alice"], UNLIMITED), EngineError::Name(_)), "a wallet's label");
    assert!(matches!(refused("x", &[], UNLIMITED), EngineError::Parameter(_)));
    assert!(matches!(refused("x", &["nobody"], UNLIMITED), EngineError::NoSuchUser(_)));
    assert!(matches!(refused("x", &["alice", "alice"], UNLIMITED), EngineError::Parameter(_)));
    for (policy, error) in [
        ("", DigestKeyError::Policy(PolicyError::DigestIncomplete)),
        (
            "unlimited = true\nmax_fee_sat = 1",
            DigestKeyError::Policy(PolicyError::NotOfDigests { key: "max_fee_sat" }),
        ),
        ("unlimited = true\nrequired_approvals = 2", DigestKeyError::TooFewUsers { required: 2, users: 1 }),
    ] {
        match refused("x", &["alice"], policy) {
            EngineError::DigestKey(found) => assert_eq!(found, error),
            other => panic!("{other}"),
        }
    }
    let made_for_nothing = scene.bench.add_digest_key(NewDigestKey {
        terms: KeyTerms {
            label: "x".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: UNLIMITED.into(),
        },
        mechanisms: DigestMechanisms { digest: false, ecdsa: false },
    });
    assert!(matches!(made_for_nothing, Err(EngineError::Parameter(_))));
    assert_eq!(scene.events().len(), before);
    let label = scene.bench.make_wallet(countersign::admin::NewWallet {
        terms: KeyTerms {
            label: "sidechain".into(),
            cka_id: vec![],
            users: vec!["alice".into()],
            policy: UNLIMITED.into(),
        },
        network: countersign::kernel::network::Network::Regtest,
        script: countersign::admin::NewScript::default(),
    });
    assert!(matches!(label, Err(EngineError::Name(_))), "no wallet of that label either");
}

#[test]
fn a_user_whom_a_key_lists_is_not_removed() {
    let scene = Scene::new(UNLIMITED);
    assert!(matches!(
        scene.bench.remove_user("alice", &scene.bench.key_id("alice")),
        Err(EngineError::UserInUse { .. })
    ));
}

/// A key whose policy this version does not accept is closed; the others are not.
#[test]
fn a_key_of_another_version_stays_closed_alone() {
    let scene = Scene::new(UNLIMITED);
    scene.bench.user("bob");
    let later = add(&scene.bench, "later", &["bob"], UNLIMITED).expect("a key");
    let place = RecordKey { kind: Kind::DigestKey, id: later };
    {
        let mut state = scene.bench.ledger.state();
        let (version, plaintext) = state.records[&place].clone();
        let mut record = DigestKeyRecord::decode(&plaintext).expect("reads");
        record.terms.policy = "unlimited = true\na_rule_of_tomorrow = 1".into();
        state.records.insert(place, (version, record.encode()));
    }
    let Scene { bench, alice, id } = scene;
    let bench = bench.restarted();
    assert_eq!(bench.engine.closed_keys().len(), 1);
    assert!(matches!(bench.engine.digest_key(&later), Err(EngineError::NoSuchDigestKey)));
    assert!(
        matches!(add(&bench, "later", &["alice"], UNLIMITED), Err(EngineError::Name(_))),
        "its label is taken"
    );
    assert!(matches!(bench.remove_user("bob", &bench.key_id("bob")), Err(EngineError::UserInUse { .. })));
    sign(&bench, &id, "alice", &bench.code(&alice), &DIGEST).expect("the other signs");
}
