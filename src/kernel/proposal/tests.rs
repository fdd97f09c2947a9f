use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minisign::KeyPair;
use proptest::prelude::*;

use super::*;
use crate::clock::Reading;
use crate::motion::tests::{act, examples, wallet_set, wallet_terms};
use crate::officer::{Emergency, Officers, Settings, SignatureError};
use crate::record::Stored;

/// Officers of the stage's council, and one more who is none.
pub(super) const OFFICERS: usize = 3;
const THRESHOLD: usize = 2;
const DELAY: u64 = 2 * HOUR;
const SHORTER: u64 = HOUR;

/// A council, its officers' keys, and acts of each class with everybody's signatures.
pub(super) struct Stage {
    council: Council,
    pub(super) acts: Vec<Signed>,
}

pub(super) struct Signed {
    pub(super) text: String,
    motion: Motion,
    /// Of each officer, and of somebody who is none.
    pub(super) signatures: Vec<String>,
    vetoes: Vec<String>,
}

pub(super) static STAGE: LazyLock<Stage> = LazyLock::new(Stage::new);

impl Stage {
    fn new() -> Stage {
        let pairs: Vec<KeyPair> =
            (0..=OFFICERS).map(|_| KeyPair::generate_unencrypted_keypair().expect("a key pair")).collect();
        let lines: Vec<String> = pairs[..OFFICERS].iter().map(|pair| pair.pk.to_base64()).collect();
        let council = |threshold| {
            let officers = Officers::parse(&lines, threshold).expect("officers");
            let emergency = Some(Emergency { signatures: OFFICERS, delay_hours: 1 });
            Council::new(officers, 2, emergency, Settings { failures_per_hour: 100 }).expect("a council")
        };
        let users: &[(&str, u8)] = &[("alice", 1), ("bob", 2)];
        let wallet = |policy: &str| wallet_terms(users, policy);
        let motions = [
            wallet_set(wallet("unlimited = true"), wallet("max_fee_sat = 1\nmax_period_sat = 1"), None),
            wallet_set(wallet("max_fee_sat = 1\nmax_period_sat = 1"), wallet("unlimited = true"), None),
            examples()["clock-take"].motion.clone(),
            Motion::OfficersSet { old: Some(council(THRESHOLD).into()), new: council(1).into() },
        ];
        let mut acts = Vec::new();
        for motion in motions {
            let text = act(motion.clone()).print().expect("a text");
            let sign = |text: &str| -> Vec<String> {
                let one = |pair: &KeyPair| {
                    minisign::sign(Some(&pair.pk), &pair.sk, text.as_bytes(), None, None)
                        .expect("signs")
                        .into_string()
                };
                pairs.iter().map(one).collect()
            };
            let digest = act(motion.clone()).digest().expect("a text");
            let veto = format!("countersign/veto/1\nstore {}\nact {digest}\n", "7c".repeat(16));
            acts.push(Signed { signatures: sign(&text), vetoes: sign(&veto), text, motion });
        }
        Stage { council: council(THRESHOLD), acts }
    }

    pub(super) fn found(&self, act: usize, now: u64) -> Circumstances<'_> {
        let in_force = self.acts[act].motion.was();
        let subject = Some(7);
        Circumstances { store: [0x7c; 16], epoch: 3, council: &self.council, in_force, subject, now }
    }

    pub(super) fn propose(&self, act: usize, now: u64) -> Proposal {
        Proposal::new(&self.acts[act].text, &users(), &self.found(act, now)).expect("a proposal")
    }
}

pub(super) const TIGHTENS: usize = 0;
pub(super) const LOOSENS: usize = 1;
pub(super) const VOUCHLESS: usize = 2;
const COUNCIL: usize = 3;

fn user(name: &str, byte: u8) -> UserId {
    UserId { name: name.into(), key: [byte; 16] }
}

fn users() -> Vec<UserId> {
    vec![user("alice", 1), user("bob", 2)]
}

/// A day before the acts expire.
pub(super) fn start() -> u64 {
    act(examples()["clock-take"].motion.clone()).expires - 24 * HOUR
}

fn tick_of(run: u8, now: Reading, are_free: bool) -> Tick {
    Tick::new([run; 16], now, now.boot, Objectors { are_free, pin: None })
}

fn tick(number: u64) -> Tick {
    tick_of(1, Reading { wall: start() + number * 600, boot: number * 600 }, true)
}

/// Signed by the first officers, and with so many ticks.
fn waiting(act: usize, signers: usize, ticks: u64) -> Proposal {
    let found = STAGE.found(act, start());
    let mut proposal = STAGE.propose(act, start());
    for signature in &STAGE.acts[act].signatures[..signers] {
        proposal = proposal.sign(signature, &found).expect("an officer's");
    }
    for number in 0..ticks {
        proposal = proposal.credit(&tick(number), &found).expect("it waits");
    }
    proposal
}

#[test]
fn act_early_an_act_is_carried_out_after_its_signatures_and_its_delay_and_once() {
    let found = STAGE.found(LOOSENS, start());
    for (signers, delay) in [(THRESHOLD, DELAY), (OFFICERS, SHORTER)] {
        let ticks = delay / 600;
        let early = waiting(LOOSENS, signers, ticks);
        assert_eq!(early.standing(&found), Ok(Standing::Waiting(600)));
        assert_eq!(early.carry_out(&found).err(), Some(ProposalError::NotDue(Standing::Waiting(600))));
        let due = early.credit(&tick(ticks), &found).expect("it waits");
        assert_eq!(due.standing(&found), Ok(Standing::Due));
        let (over, decided) = due.carry_out(&found).expect("it is due");
        assert_eq!(decided.motion(), &STAGE.acts[LOOSENS].motion);
        let refused = ProposalError::Over(State::CarriedOut);
        assert_eq!(over.carry_out(&found).err(), Some(refused.clone()), "twice");
        assert_eq!(over.standing(&found).err(), Some(refused));
    }
}

#[test]
fn act_alone_too_few_officers_carry_nothing_out_however_long_they_wait() {
    let found = STAGE.found(LOOSENS, start());
    let one = waiting(LOOSENS, 1, 100);
    let unsigned = Standing::Unsigned { signed: 1, needed: THRESHOLD };
    assert_eq!(one.carry_out(&found).err(), Some(ProposalError::NotDue(unsigned)));
    let second = one.sign(&STAGE.acts[LOOSENS].signatures[1], &found).expect("the second");
    assert_eq!(second.standing(&found), Ok(Standing::Waiting(DELAY)), "nothing of before counts");
    // A tick long after the last one that counted does not either.
    let late = second.credit(&tick(100), &found).expect("it waits");
    assert_eq!(late.standing(&found), Ok(Standing::Waiting(DELAY)));
}

#[test]
fn act_twice_one_officer_counts_once_and_nobody_else_does() {
    let found = STAGE.found(LOOSENS, start());
    let (signatures, others) = (&STAGE.acts[LOOSENS].signatures, &STAGE.acts[TIGHTENS].signatures);
    let one = STAGE.propose(LOOSENS, start()).sign(&signatures[0], &found).expect("the first");
    assert!(matches!(one.sign(&signatures[0], &found), Err(ProposalError::Again(_))));
    let refused = |signature: &str| one.sign(signature, &found).expect_err("refused");
    assert!(matches!(refused(&signatures[OFFICERS]), ProposalError::Signature(SignatureError::Nobody(_))));
    assert!(
        matches!(refused(&others[1]), ProposalError::Signature(SignatureError::Wrong(_))),
        "of another act"
    );
    assert!(matches!(refused(&STAGE.acts[LOOSENS].vetoes[1]), ProposalError::Signature(_)), "of a veto");
    assert_eq!(refused(&"x".repeat(MAX_KEPT_SIGNATURE_LEN + 1)), ProposalError::SignatureLength);
    assert_eq!(one.signatures().len(), 1);
}

#[test]
fn what_tightens_and_what_nothing_vouches_for_waits_for_nothing() {
    for (act, needed) in [(TIGHTENS, 1), (VOUCHLESS, THRESHOLD)] {
        let found = STAGE.found(act, start());
        let unsigned = Standing::Unsigned { signed: needed - 1, needed };
        assert_eq!(waiting(act, needed - 1, 0).standing(&found), Ok(unsigned));
        let signed = waiting(act, needed, 0);
        assert!(signed.carry_out(&found).is_ok());
        let vetoed = signed.veto_by_officer(&STAGE.acts[act].vetoes[0], &found);
        assert_eq!(vetoed.err(), Some(ProposalError::NothingToVeto));
        assert!(signed.vetoers().is_empty());
    }
}

#[test]
fn a_change_of_the_council_waits_for_the_longer_delay_in_an_emergency_too() {
    let found = STAGE.found(COUNCIL, start());
    assert_eq!(waiting(COUNCIL, OFFICERS, 1).standing(&found), Ok(Standing::Waiting(DELAY)));
    let council = Motion::OfficersSet {
        old: Some(STAGE.council.clone().into()),
        new: Council::new(STAGE.council.officers().clone(), 5, None, STAGE.council.settings())
            .expect("a council")
            .into(),
    };
    let found = Circumstances { in_force: council.was(), ..found };
    let text = act(council).print().expect("a text");
    let longer = Proposal::new(&text, &[], &found).expect("a proposal");
    let kept = |byte| Kept { public_key: [byte; 32], signature: String::new() };
    let longer = Proposal { signatures: vec![kept(1), kept(2)], ..longer };
    assert_eq!(longer.standing(&found), Ok(Standing::Waiting(5 * HOUR)));
}

#[test]
fn act_vetoed_any_one_officer_or_user_ends_it_for_good() {
    let found = STAGE.found(LOOSENS, start());
    let due = waiting(LOOSENS, THRESHOLD, DELAY / 600 + 1);
    assert_eq!(due.standing(&found), Ok(Standing::Due));
    let vetoes = &STAGE.acts[LOOSENS].vetoes;
    let by_officer =
        due.veto_by_officer(&vetoes[OFFICERS - 1], &found).expect("an officer's, who did not sign");
    let by_user = due.veto_by_user(&user("alice", 1), found.now).expect("a user of the wallet");
    assert!(matches!(by_officer.state(), State::VetoedByOfficer(_)));
    for over in [by_officer, by_user] {
        let refused = Some(ProposalError::Over(over.state().clone()));
        assert_eq!(over.carry_out(&found).err(), refused);
        assert_eq!(over.sign(&STAGE.acts[LOOSENS].signatures[2], &found).err(), refused);
        assert_eq!(over.credit(&tick(99), &found).err(), refused);
        assert_eq!(over.check_can_be_withdrawn().err(), refused);
    }
    for wrong in [&vetoes[OFFICERS], &STAGE.acts[LOOSENS].signatures[0], &STAGE.acts[COUNCIL].vetoes[0]] {
        assert!(matches!(due.veto_by_officer(wrong, &found), Err(ProposalError::Signature(_))));
    }
    for nobody in [user("carol", 3), user("alice", 9)] {
        let refused = ProposalError::NoVetoer(nobody.name.clone());
        assert_eq!(due.veto_by_user(&nobody, found.now).err(), Some(refused), "{nobody:?}");
    }
}

#[test]
fn act_replay_an_act_is_void_in_another_store_epoch_council_or_document() {
    let due = waiting(LOOSENS, THRESHOLD, DELAY / 600 + 1);
    let found = STAGE.found(LOOSENS, start());
    let other = Council::new(STAGE.council.officers().clone(), 2, None, STAGE.council.settings());
    let other = other.expect("a council");
    for (void, is_new) in [
        (Circumstances { store: [0; 16], ..found }, true),
        (Circumstances { epoch: 4, ..found }, true),
        (Circumstances { in_force: [0; 32], ..found }, true),
        // Changed, and put back.
        (Circumstances { subject: Some(8), ..found }, false),
        (Circumstances { subject: None, ..found }, false),
        (Circumstances { council: &other, ..found }, false),
    ] {
        assert!(matches!(due.carry_out(&void), Err(ProposalError::Void(_))));
        assert!(matches!(due.sign(&STAGE.acts[LOOSENS].signatures[2], &void), Err(ProposalError::Void(_))));
        let proposed = Proposal::new(due.text(), &users(), &void);
        assert_eq!(matches!(proposed, Err(ProposalError::Void(_))), is_new);
    }
    let stricter = Council::new(
        STAGE.council.officers().clone(),
        STAGE.council.delay_hours(),
        STAGE.council.emergency(),
        Settings { failures_per_hour: 50 },
    );
    let stricter = stricter.expect("a council");
    let decided_by_the_same = Circumstances { council: &stricter, ..found };
    assert!(due.carry_out(&decided_by_the_same).is_ok(), "a setting decides nothing");
    let expires = due.act().expires;
    assert!(due.carry_out(&Circumstances { now: expires, ..found }).is_ok() && !due.is_past(expires));
    let late = Circumstances { now: expires + 1, ..found };
    assert_eq!(due.carry_out(&late).err(), Some(ProposalError::Expired));
    assert_eq!(Proposal::new(due.text(), &users(), &late).err(), Some(ProposalError::Expired));
    assert!(due.is_past(expires + 1));
    let early = Circumstances { now: expires - DELAY - MAX_OPEN - 1, ..found };
    assert_eq!(Proposal::new(due.text(), &users(), &early).err(), Some(ProposalError::ExpiresLate));
    let neutral = act(examples()["officers-first"].motion.clone());
    let found = Circumstances { in_force: neutral.motion.was(), ..found };
    let neutral = neutral.print().expect("a text");
    assert_eq!(Proposal::new(&neutral, &[], &found).err(), Some(ProposalError::NeedsNobody));
}

#[test]
fn act_void_what_was_found_void_stays_so_and_what_is_open_can_be_vetoed_whatever_is_in_force() {
    let due = waiting(LOOSENS, THRESHOLD, DELAY / 600 + 1);
    let found = STAGE.found(LOOSENS, start());
    assert_eq!(due.found_void(&found), None);
    let changed = Circumstances { subject: Some(8), ..found };
    let void = due.found_void(&changed).expect("its subject was changed");
    assert_eq!(void.state(), &State::Void(Void::Subject, start()));
    let void = Proposal::decode(&void.encode()).expect("it was written");
    let refused = Some(ProposalError::Void(Void::Subject));
    let (signatures, vetoes) = (&STAGE.acts[LOOSENS].signatures, &STAGE.acts[LOOSENS].vetoes);
    // As it was, and later.
    assert_eq!(void.standing(&found).err(), refused);
    assert_eq!(void.carry_out(&found).err(), refused);
    assert_eq!(void.sign(&signatures[2], &found).err(), refused);
    assert_eq!(void.veto_by_officer(&vetoes[0], &found).err(), refused);
    assert_eq!(void.check_can_be_withdrawn(), Err(ProposalError::Signed));
    assert_eq!(void.found_void(&changed), None, "it is recorded once");
    assert!(!void.is_open(start()) && due.is_open(start()));
    let late = due.act().expires + 1;
    assert_eq!(due.found_void(&Circumstances { now: late, ..changed }), None, "it has expired");
    // Nobody has recorded it yet.
    assert!(due.veto_by_officer(&vetoes[0], &changed).is_ok());
    assert!(due.veto_by_user(&user("alice", 1), start()).is_ok());
    assert_eq!(due.veto_by_user(&user("alice", 1), late).err(), Some(ProposalError::Expired));
    let unsigned = STAGE.propose(LOOSENS, start()).found_void(&changed).expect("its subject was changed");
    assert_eq!(unsigned.check_can_be_withdrawn(), Ok(()));
}

#[test]
fn an_administrator_withdraws_only_what_no_officer_has_signed() {
    let found = STAGE.found(LOOSENS, start());
    let proposal = STAGE.propose(LOOSENS, start());
    assert_eq!(proposal.check_can_be_withdrawn(), Ok(()));
    let signed = proposal.sign(&STAGE.acts[LOOSENS].signatures[0], &found).expect("an officer's");
    assert_eq!(signed.check_can_be_withdrawn(), Err(ProposalError::Signed));
}

#[test]
fn a_proposal_reads_back_and_one_whose_text_is_none_does_not() {
    let proposal = waiting(LOOSENS, THRESHOLD, 2).veto_by_user(&user("bob", 2), start());
    let proposal = proposal.expect("a user of the wallet");
    let bytes = proposal.encode();
    assert_eq!(Proposal::decode(&bytes), Some(proposal.clone()));
    assert_eq!(Proposal::decode(&[&bytes[..], &[0]].concat()), None);
    assert_eq!(Proposal::decode(&[&[3], &bytes[1..]].concat()), None, "another format");
    let at = bytes.windows(5).position(|part| part == b"epoch").expect("its text");
    let mut changed = bytes.to_vec();
    changed[at] = b'E';
    assert_eq!(Proposal::decode(&changed), None);
}

/// One thing that happens to a proposal.
#[derive(Clone, Debug)]
enum Step {
    Sign {
        who: usize,
        act: usize,
    },
    VetoByOfficer {
        who: usize,
        act: usize,
    },
    VetoByUser {
        user: UserId,
    },
    Withdraw,
    /// Time passes, and a tick tells it: in the same run or another, with the wall clock moved, everybody free to veto or not.
    Tick {
        same_run: bool,
        seconds: u64,
        ahead: i64,
        is_open: bool,
    },
    CarryOut,
}

/// What is true of it, told by the steps alone.
#[derive(Default)]
struct Truth {
    signed: BTreeSet<usize>,
    /// Seconds since enough have signed in which anybody could have objected.
    objectable: u64,
    /// Whether enough had signed, and everybody could object, at the tick before, in this run.
    runs: bool,
    ended: bool,
    carried_out: bool,
}

fn steps(act: usize) -> impl Strategy<Value = Step> {
    let others = prop_oneof![6 => Just(act), 1 => 0..4_usize];
    let veto = prop_oneof![6 => Just((act + 1) % 4), 1 => Just(act)];
    let users = vec![user("alice", 9), user("carol", 3), user("alice", 1)];
    let tick = (
        prop_oneof![60 => Just(true), 1 => Just(false)],
        prop_oneof![4 => Just(600_u64), 1 => 1..1_200_u64],
        prop_oneof![20 => Just(0), 2 => -5..=5_i64, 1 => -700..100_000_i64],
        prop_oneof![20 => Just(true), 1 => Just(false)],
    )
        .prop_map(|(same_run, seconds, ahead, is_open)| Step::Tick { same_run, seconds, ahead, is_open });
    prop_oneof![
        12 => (0..=OFFICERS, others).prop_map(|(who, act)| Step::Sign { who, act }),
        2 => (0..=OFFICERS, veto).prop_map(|(who, act)| Step::VetoByOfficer { who, act }),
        1 => proptest::sample::select(users).prop_map(|user| Step::VetoByUser { user }),
        1 => Just(Step::Withdraw),
        60 => tick,
        6 => Just(Step::CarryOut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However signatures, vetoes, time, restarts and clocks come together: nothing is carried out with too few signatures, before
    /// its delay, after a veto, or twice; and everything is that may be.
    #[test]
    fn act_model_nothing_is_carried_out_unsigned_early_vetoed_or_twice((act, steps) in (0..4_usize)
        .prop_flat_map(|act| (Just(act), proptest::collection::vec(steps(act), 1..60))))
    {
        let mut proposal = STAGE.propose(act, start());
        let mut truth = Truth::default();
        let (mut wall, mut boot, mut run) = (start(), 1_000_u64, 1);
        let found = STAGE.found(act, start());
        for step in steps {
            // Every step begins from what is written: a crash loses nothing, and adds nothing.
            proposal = Proposal::decode(&proposal.encode()).expect("it was written");
            let was_over = truth.ended || truth.carried_out;
            let next = match step.clone() {
                Step::Sign { who, act: of } => {
                    let next = proposal.sign(&STAGE.acts[of].signatures[who], &found);
                    let counts = of == act && who < OFFICERS && !was_over && truth.signed.insert(who);
                    prop_assert_eq!(next.is_ok(), counts);
                    next
                }
                Step::VetoByOfficer { who, act: of } => {
                    let next = proposal.veto_by_officer(&STAGE.acts[of].vetoes[who], &found);
                    let can = [LOOSENS, COUNCIL].contains(&act) && of == act && who < OFFICERS && !was_over;
                    prop_assert_eq!(next.is_ok(), can);
                    truth.ended |= can;
                    next
                }
                Step::VetoByUser { user } => {
                    let next = proposal.veto_by_user(&user, found.now);
                    let can = [LOOSENS, COUNCIL].contains(&act) && users().contains(&user) && !was_over;
                    prop_assert_eq!(next.is_ok(), can);
                    truth.ended |= can;
                    next
                }
                Step::Withdraw => {
                    let can = truth.signed.is_empty() && !was_over;
                    prop_assert_eq!(proposal.check_can_be_withdrawn().is_ok(), can);
                    continue;
                }
                Step::Tick { same_run, seconds, ahead, is_open } => {
                    boot += seconds;
                    wall = wall.saturating_add(seconds).saturating_add_signed(ahead);
                    run += u8::from(!same_run);
                    if truth.runs && same_run && is_open {
                        truth.objectable += seconds;
                    }
                    truth.runs = truth.signed.len() >= THRESHOLD && is_open;
                    proposal.credit(&tick_of(run, Reading { wall, boot }, is_open), &found)
                }
                Step::CarryOut => {
                    let carried = proposal.carry_out(&found);
                    if carried.is_ok() {
                        let signed = truth.signed.len();
                        prop_assert!(!truth.ended && !truth.carried_out, "after its end");
                        let (needed, delay) = match act {
                            TIGHTENS => (1, 0),
                            VOUCHLESS => (THRESHOLD, 0),
                            COUNCIL => (THRESHOLD, DELAY),
                            _ => (THRESHOLD, if signed == OFFICERS { SHORTER } else { DELAY }),
                        };
                        prop_assert!(signed >= needed, "unsigned");
                        prop_assert!(truth.objectable >= delay, "early: {} s", truth.objectable);
                        truth.carried_out = true;
                    }
                    carried.map(|(over, _)| over)
                }
            };
            if let Ok(next) = next {
                proposal = next;
            } else {
                let is_tick = matches!(step, Step::Tick { .. });
                prop_assert!(!is_tick || truth.ended || truth.carried_out, "a tick is refused");
            }
        }
    }
}

/// The model above is not empty: acts of each class are carried out in it.
#[test]
fn the_signatures_of_the_stage_are_of_everybody() {
    let mut carried = BTreeMap::new();
    for (act, signers, ticks) in [(TIGHTENS, 1, 0), (LOOSENS, 2, 13), (VOUCHLESS, 2, 0), (COUNCIL, 2, 13)] {
        let found = STAGE.found(act, start());
        carried.insert(act, waiting(act, signers, ticks).carry_out(&found).is_ok());
    }
    assert!(carried.len() == 4 && carried.values().all(|is_ok| *is_ok), "{carried:?}");
}
