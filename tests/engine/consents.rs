//! Transactions that wait for their users' approvals, through the engine: who sees and withdraws them, what races, and what outlasts a crash.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use totp_rs::Totp;

use countersign::admin::{Act, KeyChange, NewDevice, Target};
use countersign::engine::{Engine, EngineError, WalletId};
use countersign::kernel::approval::Approval;
use countersign::kernel::consent::{ConsentError, MAX_OF_WALLET, Standing, Typed};
use countersign::kernel::factor::TicketId;
use countersign::kernel::freeze::Frozen;
use countersign::kernel::network::Network;
use countersign::kernel::psbt::PsbtBytes;
use countersign::kernel::rule::Rule;
use countersign::kernel::state::{DeviceError, Word};
use harness::device::Device;
use harness::engine::Bench;

const UNLIMITED: &str = "unlimited = true\nproposal_minutes = 10080\n";
const MINE: Option<&str> = Some("one backend");
const THEIRS: Option<&str> = Some("another backend");

struct Scene {
    bench: Bench,
    alice: Totp,
    bob: Totp,
    wallet: WalletId,
}

impl Scene {
    fn new(policy: &str) -> Scene {
        let bench = Bench::new();
        let (alice, bob) = (bench.user("alice"), bench.user("bob"));
        let wallet = bench.wallet("treasury", &["alice", "bob"], policy);
        Scene { bench, alice, bob, wallet }
    }

    fn engine(&self) -> &Engine {
        &self.bench.engine
    }

    fn psbt(&self, inputs: u32) -> Vec<u8> {
        self.bench.psbt(&self.wallet, inputs).serialize()
    }

    fn propose(&self, psbt: &[u8]) -> Result<TicketId, EngineError> {
        let psbt = PsbtBytes::read(psbt.to_vec()).expect("a PSBT");
        self.engine().propose_transaction(&self.wallet, psbt, &[], MINE)
    }

    fn say(&self, ticket: &TicketId, word: Word, user: &str) -> Result<Standing, EngineError> {
        let totp = if user == "alice" { &self.alice } else { &self.bob };
        let code = self.bench.code(totp);
        self.engine()
            .say(ticket, word, user, (code.as_bytes(), Typed::BeforeBackend))
            .map(|view| view.standing)
    }

    /// A ticket for this, which alice approved.
    fn approved(&self, psbt: &[u8]) -> TicketId {
        let ticket = self.propose(psbt).expect("there is room");
        self.bench.clock.advance(30);
        assert_eq!(self.say(&ticket, Word::Approve, "alice").expect("a right code"), Standing::Approved);
        ticket
    }

    /// Whether the signatures are new.
    fn sign(&self, ticket: &TicketId, psbt: &[u8]) -> Result<bool, EngineError> {
        let signed = self.engine().countersign(&self.wallet, vec![by(ticket)], psbt.to_vec());
        signed.map(|signed| signed.is_new)
    }

    fn standing(&self, ticket: &TicketId) -> Standing {
        self.engine().pending(ticket).expect("it reads").expect("it is there").standing
    }
}

fn by(ticket: &TicketId) -> Approval {
    let pin = format!("#{}", data_encoding::HEXLOWER.encode(ticket));
    Approval::parse_pin_or_ticket(pin.as_bytes()).expect("a ticket")
}

#[test]
fn a_proposal_is_seen_and_withdrawn_by_the_peer_that_made_it() {
    let scene = Scene::new(UNLIMITED);
    let ticket = scene.propose(&scene.psbt(1)).expect("there is room");
    let engine = scene.engine();
    assert_eq!(engine.tickets(Some(MINE)).expect("it reads"), [ticket]);
    assert_eq!(engine.tickets(None).expect("it reads"), [ticket]);
    for other in [THEIRS, None] {
        assert!(engine.tickets(Some(other)).expect("it reads").is_empty());
        assert!(!engine.has_ticket(&ticket, Some(other)).expect("it reads"));
        let withdrawn = engine.withdraw_transaction(&ticket, other);
        assert!(matches!(withdrawn, Err(EngineError::Consent(ConsentError::NotTheMaker))));
    }
    engine.withdraw_transaction(&ticket, MINE).expect("its maker");
    assert_eq!(scene.standing(&ticket), Standing::Withdrawn);
    assert!(engine.tickets(None).expect("it reads").is_empty(), "its object is destroyed");
    let again = engine.withdraw_transaction(&ticket, MINE);
    assert!(matches!(again, Err(EngineError::Consent(ConsentError::Over(Standing::Withdrawn)))));
    let unknown = engine.withdraw_transaction(&[7; 16], MINE);
    assert!(matches!(unknown, Err(EngineError::Consent(ConsentError::Unknown))));
}

#[test]
fn consent_of_many_callers_with_one_ticket_one_is_charged_and_all_have_the_same_signatures() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1);
    let ticket = scene.approved(&psbt);
    let (start, new) = (Barrier::new(8), AtomicUsize::new(0));
    let signed: Vec<Vec<u8>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let engine = scene.engine();
                    let done = engine.countersign(&scene.wallet, vec![by(&ticket)], psbt.clone());
                    let done = done.expect("approved");
                    new.fetch_add(usize::from(done.is_new), Ordering::SeqCst);
                    done.signed
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("it ends")).collect()
    });
    assert_eq!(new.into_inner(), 1);
    assert!(signed.iter().all(|one| *one == signed[0]));
    assert_eq!(scene.standing(&ticket), Standing::Spent);
}

#[test]
fn consent_of_two_proposals_that_race_for_one_code_one_is_approved() {
    let scene = Scene::new(UNLIMITED);
    let psbts = [scene.psbt(1), scene.psbt(2)];
    let tickets = psbts.each_ref().map(|psbt| scene.propose(psbt).expect("there is room"));
    scene.bench.clock.advance(30);
    let code = scene.bench.code(&scene.alice);
    let start = Barrier::new(2);
    let approved = thread::scope(|scope| {
        let callers = tickets.each_ref().map(|ticket| {
            scope.spawn(|| {
                start.wait();
                scene
                    .engine()
                    .say(ticket, Word::Approve, "alice", (code.as_bytes(), Typed::BeforeBackend))
                    .is_ok()
            })
        });
        callers.map(|caller| caller.join().expect("it ends"))
    });
    assert_ne!(approved[0], approved[1]);
    for (at, ticket) in tickets.iter().enumerate() {
        let signed = scene.sign(ticket, &psbts[at]);
        if approved[at] {
            assert!(signed.expect("approved"));
        } else {
            assert!(matches!(signed, Err(EngineError::Pending)), "{signed:?}");
        }
        assert!(scene.sign(ticket, &psbts[1 - at]).is_err(), "the other transaction");
    }
}

#[test]
fn consent_a_refusal_that_races_with_the_signature_either_comes_first_or_too_late() {
    for round in 0..20 {
        let scene = Scene::new(UNLIMITED);
        let psbt = scene.psbt(1);
        let ticket = scene.approved(&psbt);
        let code = scene.bench.code(&scene.bob);
        let start = Barrier::new(2);
        let (signed, refused) = thread::scope(|scope| {
            let sign = scope.spawn(|| {
                start.wait();
                scene.sign(&ticket, &psbt)
            });
            start.wait();
            let refused =
                scene.engine().say(&ticket, Word::Refuse, "bob", (code.as_bytes(), Typed::BeforeBackend));
            (sign.join().expect("it ends"), refused)
        });
        assert_ne!(signed.is_ok(), refused.is_ok(), "round {round}: {signed:?}");
        let over = scene.standing(&ticket);
        assert_eq!(matches!(over, Standing::Spent), signed.is_ok(), "round {round}: {over:?}");
    }
}

#[test]
fn consent_a_ticket_outlasts_a_restart_and_is_spent_after_one() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1);
    let ticket = scene.approved(&psbt);
    let Scene { bench, alice, bob, wallet } = scene;
    let scene = Scene { bench: bench.restarted(), alice, bob, wallet };
    assert_eq!(scene.standing(&ticket), Standing::Approved);
    assert!(scene.sign(&ticket, &psbt).expect("approved"));
    let Scene { bench, alice, bob, wallet } = scene;
    let scene = Scene { bench: bench.restarted(), alice, bob, wallet };
    assert!(!scene.sign(&ticket, &psbt).expect("a repetition"));
    assert!(matches!(scene.sign(&ticket, &scene.psbt(2)), Err(EngineError::Code)));
    scene.bench.clock.advance(300);
    assert!(matches!(scene.sign(&ticket, &psbt), Err(EngineError::Code)), "no repetition any more");
}

#[test]
fn consent_a_refusal_by_the_policy_does_not_spend_the_ticket() {
    let scene = Scene::new(
        "max_fee_sat = 100000\nmax_period_sat = 100000000\nmax_period_transactions = 1\nproposal_minutes = 10080",
    );
    let psbts = [scene.psbt(1), scene.psbt(2)];
    let tickets = psbts.each_ref().map(|psbt| scene.approved(psbt));
    assert!(scene.sign(&tickets[0], &psbts[0]).expect("approved"));
    for _ in 0..2 {
        let refused = scene.sign(&tickets[1], &psbts[1]);
        assert!(matches!(refused, Err(EngineError::Policy(Rule::PeriodTransactions))), "{refused:?}");
        assert_eq!(scene.standing(&tickets[1]), Standing::Approved);
    }
    scene.bench.clock.advance(26 * 3_600);
    assert!(scene.sign(&tickets[1], &psbts[1]).expect("the period has moved on"));
    assert_eq!(scene.bench.failures("alice"), 0);
}

#[test]
fn consent_whoever_does_not_sign_for_the_wallet_any_more_does_not_count() {
    let scene = Scene::new(UNLIMITED);
    let psbt = scene.psbt(1);
    let ticket = scene.approved(&psbt);
    let users = KeyChange { users: Some(vec!["bob".into()]), ..KeyChange::default() };
    scene.bench.change_wallet(&scene.wallet, users).expect("an administrator");
    assert!(scene.sign(&ticket, &psbt).is_err());
    // And who was frozen does not approve.
    let users = KeyChange { users: Some(vec!["alice".into(), "bob".into()]), ..KeyChange::default() };
    scene.bench.change_wallet(&scene.wallet, users).expect("an administrator");
    let other = scene.propose(&scene.psbt(2)).expect("there is room");
    scene.bench.freeze(&scene.bench.target_user("bob")).expect("he is there");
    let said = scene.say(&other, Word::Approve, "bob");
    assert!(matches!(said, Err(EngineError::Frozen(Frozen::User(user))) if user == "bob"));
    assert_eq!(
        scene.say(&other, Word::Refuse, "bob").expect("a refusal"),
        Standing::Refused(asked(&scene, "bob"))
    );
    scene.bench.freeze(&Target::Wallet(scene.wallet)).expect("it is there");
    assert!(matches!(scene.sign(&ticket, &psbt), Err(EngineError::Frozen(Frozen::Key))));
}

fn asked(scene: &Scene, name: &str) -> countersign::kernel::name::UserId {
    countersign::kernel::name::UserId { name: name.into(), key: scene.bench.key_id(name) }
}

/// Prints how long a listing takes at most; nothing is asserted of it. Whoever lists again and again must not read everything each time.
#[test]
fn what_waits_is_listed_whatever_it_says_and_however_often() {
    let bench = Bench::new();
    let _alice = bench.user("alice");
    let wallets: Vec<WalletId> =
        (0..8).map(|number| bench.wallet(&format!("w{number}"), &["alice"], UNLIMITED)).collect();
    let mut made = Vec::new();
    for wallet in &wallets {
        let mut psbt = bench.psbt(wallet, 1);
        let share = psbt.unsigned_tx.output[0].value / 400;
        psbt.unsigned_tx.output[0].value = share;
        for _ in 0..250 {
            let output = psbt.unsigned_tx.output[0].clone();
            psbt.unsigned_tx.output.push(output);
            psbt.outputs.push(Default::default());
        }
        for _ in 0..MAX_OF_WALLET {
            let psbt = PsbtBytes::read(psbt.serialize()).expect("a PSBT");
            made.push(bench.engine.propose_transaction(wallet, psbt, &[], MINE).expect("there is room"));
        }
    }
    let times: Vec<_> = (0..3)
        .map(|_| {
            let start = std::time::Instant::now();
            assert_eq!(bench.engine.tickets(Some(MINE)).expect("it reads").len(), made.len());
            start.elapsed()
        })
        .collect();
    println!("{} proposals of 251 payees: {times:?}", made.len());
}

#[test]
fn consent_where_a_wallet_asks_for_a_device_nothing_else_signs_and_the_device_signs_one_transaction() {
    let scene = Scene::new(
        "unlimited = true\nproposal_minutes = 10080\nconsent_from_sat = 0\nconsent_by = [\"device\"]\n",
    );
    let device = Device::new(5);
    let new = NewDevice {
        user: asked(&scene, "alice"),
        name: "ledger".into(),
        network: Network::Regtest,
        address: device.address(),
    };
    let _added = scene.bench.perform(Act::AddDevice(new)).expect("an administrator without officers");
    let psbts = [scene.psbt(1), scene.psbt(2)];
    let tickets = psbts.each_ref().map(|psbt| scene.propose(psbt).expect("there is room"));
    let texts = |ticket: &TicketId| {
        let view = scene.engine().pending(ticket).expect("it reads").expect("it is there");
        let alices = view.asked.into_iter().find(|user| user.name == "alice").expect("she is asked");
        alices.device_texts.expect("it fits a device")
    };
    let say = |ticket: &TicketId, word, user: &str, signature: &str| {
        scene.engine().say_by_device(ticket, word, user, signature).map(|view| view.standing)
    };

    // No code does, neither alone nor on a proposal.
    scene.bench.clock.advance(30);
    let code = scene.bench.code(&scene.alice);
    let direct = scene.engine().countersign(
        &scene.wallet,
        vec![Approval::parse_pin_of(b"alice", code.as_bytes()).expect("well formed")],
        psbts[0].clone(),
    );
    assert!(matches!(direct, Err(EngineError::Policy(Rule::Consent))));
    scene.bench.clock.advance(30);
    let by_code = scene.say(&tickets[0], Word::Approve, "alice");
    assert!(matches!(by_code, Err(EngineError::Consent(ConsentError::Means(_)))));
    assert!(matches!(scene.sign(&tickets[0], &psbts[0]), Err(EngineError::Pending)));

    // Nor does a signature of another text: another proposal's, the refusal's, a changed one.
    let [approval, refusal] = texts(&tickets[0]);
    let [of_other, _] = texts(&tickets[1]);
    let changed = approval.replace(" until ", " until  ");
    for text in [&refusal, &of_other, &changed, &format!("{approval}\n"), &approval.to_uppercase()] {
        let said = say(&tickets[0], Word::Approve, "alice", &device.sign(text));
        assert!(matches!(said, Err(EngineError::Device(DeviceError::Signature(_)))), "{text}: {said:?}");
    }
    let stranger = Device::new(6);
    let said = say(&tickets[0], Word::Approve, "alice", &stranger.sign(&approval));
    assert!(matches!(said, Err(EngineError::Device(DeviceError::Signature(_)))));
    let said = say(&tickets[0], Word::Approve, "bob", &device.sign(&approval));
    assert!(matches!(said, Err(EngineError::Device(DeviceError::None { .. }))), "he has no device");
    assert_eq!(scene.bench.failures("alice"), 0);

    // The device's own does, for that transaction, once.
    let signature = device.sign(&approval);
    assert_eq!(say(&tickets[0], Word::Approve, "alice", &signature).expect("hers"), Standing::Approved);
    assert!(matches!(scene.sign(&tickets[0], &psbts[1]), Err(EngineError::Code)));
    assert!(scene.sign(&tickets[0], &psbts[0]).expect("approved"));
    let again = say(&tickets[0], Word::Approve, "alice", &signature);
    assert!(matches!(again, Err(EngineError::Device(DeviceError::Given(_)))));
    // And it refuses.
    let [_, refusal] = texts(&tickets[1]);
    let refused = say(&tickets[1], Word::Refuse, "alice", &device.sign(&refusal));
    assert_eq!(refused.expect("hers"), Standing::Refused(asked(&scene, "alice")));
}

#[test]
fn consent_device_that_was_removed_approves_nothing_and_what_it_approved_before_stays() {
    let scene = Scene::new(
        "unlimited = true\nproposal_minutes = 10080\nconsent_from_sat = 0\nconsent_by = [\"device\"]\n",
    );
    let device = Device::new(5);
    let alice = asked(&scene, "alice");
    let address = device.address();
    let new = NewDevice { user: alice.clone(), name: "ledger".into(), network: Network::Regtest, address };
    let _added = scene.bench.perform(Act::AddDevice(new)).expect("an administrator without officers");
    let psbts = [scene.psbt(1), scene.psbt(2)];
    let tickets = psbts.each_ref().map(|psbt| scene.propose(psbt).expect("there is room"));
    let approve = |ticket: &TicketId| {
        let view = scene.engine().pending(ticket).expect("it reads").expect("it is there");
        let [text, _] = view.asked[0].device_texts.clone().expect("it fits a device");
        scene.engine().say_by_device(ticket, Word::Approve, "alice", &device.sign(&text))
    };
    assert!(approve(&tickets[0]).is_ok());
    let _removed = scene.bench.perform(Act::RemoveDevice(alice, "ledger".into())).expect("it is there");
    assert!(matches!(approve(&tickets[1]), Err(EngineError::Device(DeviceError::None { .. }))));
    assert!(scene.sign(&tickets[0], &psbts[0]).expect("approved by her device while it was hers"));
}
