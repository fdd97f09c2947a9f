//! What anybody can ask of the boundary without a login, and what it costs the others.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use countersign::admin::{Act, Target};
use countersign::engine::EngineError;
use countersign::kernel::officer::SignatureError;
use countersign::kernel::proposal::ProposalError;
use countersign::kernel::seal::{Kind, RecordKey};

use super::scene::{DELAY, HIGHER, Scene, nonce, policy, refused};

/// How long a call may take that waits for nobody.
const AT_ONCE: Duration = Duration::from_secs(20);

/// What `call` answers while an act of administration is under way and has the turn. Fails if the call waits for it.
fn meanwhile<T: Send>(scene: &Scene, call: impl FnOnce() -> T + Send) -> T {
    let name = format!("user {}", scene.events().len());
    let (has_begun, begun) = channel();
    let (end, ended) = channel::<()>();
    scene.bench.ledger.state().meanwhile = Some((
        0,
        Box::new(move || {
            has_begun.send(()).expect("somebody waits for it");
            let _ = ended.recv();
        }),
    ));
    thread::scope(|threads| {
        threads.spawn(|| scene.bench.unconfirmed(&name));
        begun.recv().expect("it begins");
        let (answered, answer) = channel();
        threads.spawn(move || answered.send(call()));
        let answer = answer.recv_timeout(AT_ONCE);
        drop(end);
        answer.expect("it does not wait for the turn")
    })
}

#[test]
fn what_is_refused_never_has_the_turn_of_acts() {
    let scene = Scene::new();
    let engine = &scene.bench.engine;
    let freeze = || scene.draft(&Act::Freeze(Target::Wallet(scene.wallet)));
    let (brought, open) = (scene.adding_bob(), scene.adding_bob());
    let act = scene.signed(1, &open);
    scene.bring(0, &brought).expect("it fits");
    let stranger = |text: &str| scene.signers.sign(scene.signers.stranger(), text);
    let text = freeze();

    let by_a_stranger = meanwhile(&scene, || engine.propose(None, &text, Some(&stranger(&text))));
    assert!(matches!(refused(by_a_stranger), ProposalError::Signature(_)));
    let again = meanwhile(&scene, || scene.bring(1, &brought));
    assert_eq!(refused(again), ProposalError::Known);
    let twice = meanwhile(&scene, || scene.sign(0, &open));
    assert!(matches!(refused(twice), ProposalError::Again(_)));
    let signature = stranger(&open);
    let signed = meanwhile(&scene, || engine.sign_proposal(&act, &signature));
    assert!(matches!(refused(signed), ProposalError::Signature(_)));
    let vetoed = meanwhile(&scene, || engine.veto_by_officer(&act, &signature));
    assert!(matches!(refused(vetoed), ProposalError::Signature(_)));
    let early = meanwhile(&scene, || engine.carry_out(&act));
    assert!(matches!(refused(early), ProposalError::NotDue(_)));
    let gone = meanwhile(&scene, || engine.carry_out(&[7; 16]));
    assert_eq!(refused(gone), ProposalError::Unknown);
    scene.assert_untouched();
}

/// Whoever brings a text says what they like about it, also that it only tightens.
#[test]
fn nobody_reads_a_text_that_no_officer_has_signed() {
    let scene = Scene::new();
    let text = "no act at all";
    for (officer, is_read) in [(0, true), (scene.signers.stranger(), false)] {
        let answer = refused(scene.bring(officer, text));
        assert_eq!(matches!(answer, ProposalError::Text(_)), is_read, "{answer}");
        assert_eq!(
            matches!(answer, ProposalError::Signature(SignatureError::Nobody(_))),
            !is_read,
            "{answer}"
        );
    }
    assert!(matches!(scene.bench.engine.propose(None, text, None), Err(EngineError::NotAdministrator)));
}

/// The number of times that a proposal was read from the ledger.
fn reads(scene: &Scene) -> usize {
    let state = scene.bench.ledger.state();
    state.reads.iter().filter(|(place, _)| place.kind == Kind::Proposal).map(|(_, reads)| reads).sum()
}

#[test]
fn however_often_proposals_are_listed_each_version_is_read_once() {
    let scene = Scene::new();
    let texts: Vec<String> = (0..8).map(|_| scene.adding_bob()).collect();
    for text in &texts {
        scene.submit(text);
    }
    let scene = scene.restarted();
    let before = reads(&scene);
    let list = || {
        for _ in 0..50 {
            assert_eq!(scene.bench.engine.proposals().expect("readable").len(), 8);
            scene.view(&nonce(&texts[0]));
        }
        scene.bench.engine.proposal_counts().expect("readable");
    };
    list();
    assert_eq!(reads(&scene) - before, 8);
    // A signature makes another version of one of them.
    scene.sign(0, &texts[0]).expect("an officer's");
    list();
    assert_eq!(scene.view(&nonce(&texts[0])).signed, 1);
    assert_eq!(reads(&scene) - before, 9);
}

/// While a commit is under way, another one may still get its number.
#[test]
fn a_proposal_that_is_not_durable_yet_is_read_again() {
    let scene = Scene::new();
    let text = scene.draft(&Act::ChangeWallet(scene.wallet, policy(HIGHER)));
    let (act, place) = (scene.submit(&text), RecordKey::proposal(&nonce(&text)));
    let record = || scene.bench.ledger.state().records[&place].clone();
    let unsigned = record();
    scene.sign(0, &text).expect("an officer's");
    let signed = (unsigned.0, record().1);
    let scene = scene.restarted();
    let put = |record| drop(scene.bench.ledger.state().records.insert(place, record));
    put(signed);
    scene.bench.ledger.state().waits = true;
    assert_eq!(scene.view(&act).signed, 1);
    scene.bench.ledger.state().waits = false;
    put(unsigned);
    assert_eq!(scene.view(&act).signed, 0, "the commit failed, and another one has its number");
    scene.wait(DELAY);
    scene.assert_untouched();
}
