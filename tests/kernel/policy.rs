//! The rules of a policy that need more than a PSBT: a time, the codes of several users, earlier
//! transactions.
//!
//! A refusal by such a rule spends the codes. [`Scene::refuses`] shows that they sign nothing afterwards.

use bitcoin::psbt::Psbt;
use bitcoin::{Amount, OutPoint, Sequence};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use countersign::admin::{KeyChange, MAX_POLICY_LEN, NewScript};
use countersign::engine::{EngineError, WalletId};
use countersign::kernel::act::{Change, Deed, PolicyChange};
use countersign::kernel::approval::Approval;
use countersign::kernel::audit::{Answer, Event, Fate};
use countersign::kernel::direction::Direction;
use countersign::kernel::policy::PolicyError;
use countersign::kernel::rule::Rule;
use countersign::kernel::wallet::WalletError;

use harness::engine::{Bench, FEE, INPUT, PAID, START, count, fates, funding, stranger};

/// The amount that leaves with the good PSBT of one input.
const LEAVES: u64 = PAID + FEE;
const UNLIMITED: &str = "unlimited = true";
const HOUR: u64 = 3_600;

/// A token with three users and a wallet for them.
struct Scene {
    bench: Bench,
    users: Vec<(&'static str, totp_rs::Totp)>,
    id: WalletId,
}

impl Scene {
    fn new(policy: &str) -> Scene {
        let bench = Bench::new();
        let users: Vec<_> = ["alice", "bob", "carol"].map(|name| (name, bench.user(name))).into();
        let id = bench.wallet("w", &["alice", "bob", "carol"], policy);
        Scene { bench, users, id }
    }

    /// A payment whose inputs no other number has.
    fn payment(&self, number: u32) -> Psbt {
        let mut psbt = self.bench.psbt(&self.id, 1);
        let spent = psbt.inputs[0].witness_utxo.clone().expect("there");
        let previous = funding(spent.script_pubkey, spent.value.to_sat(), 1_000 + number);
        psbt.unsigned_tx.input[0].previous_output = OutPoint::new(previous.compute_txid(), 0);
        psbt.inputs[0].non_witness_utxo = Some(previous);
        psbt
    }

    /// Signs with the next codes of these users.
    fn sign_as(&self, names: &[&str], psbt: &Psbt) -> Result<Vec<u8>, EngineError> {
        self.bench.clock.advance(30);
        self.sign_again(names, psbt)
    }

    /// Signs with their present codes, which may be spent.
    fn sign_again(&self, names: &[&str], psbt: &Psbt) -> Result<Vec<u8>, EngineError> {
        let approvals = names.iter().map(|name| {
            let (_, totp) = self.users.iter().find(|(user, _)| user == name).expect("a user");
            Approval::parse_pin_of(name.as_bytes(), self.bench.code(totp).as_bytes()).expect("well formed")
        });
        let given = self.bench.engine.countersign(&self.id, approvals.collect(), psbt.serialize());
        given.map(|given| given.signed)
    }

    fn sign(&self, psbt: &Psbt) -> Result<Vec<u8>, EngineError> {
        self.sign_as(&["alice"], psbt)
    }

    fn signs(&self, psbt: &Psbt) {
        self.sign(psbt).expect("within the policy");
    }

    /// The rule refuses and is in the audit, and the codes are spent.
    fn refuses_to(&self, names: &[&str], rule: Rule, psbt: &Psbt) {
        match self.sign_as(names, psbt) {
            Err(EngineError::Policy(found)) => assert_eq!(found, rule),
            other => panic!("{rule}: {:?}", other.map(|_| "signed")),
        }
        match self.bench.ledger.state().events.last() {
            Some(event @ Event::Tried { answer, .. }) => {
                let spent: Vec<_> = names.iter().map(|name| (Some(*name), Fate::Spent)).collect();
                assert_eq!((*answer, fates(event)), (Answer::Refused(rule), spent));
            }
            other => panic!("{rule}: {other:?}"),
        }
        let again = self.sign_again(names, psbt);
        assert!(matches!(again, Err(EngineError::Code)), "{rule}: the codes are spent");
    }

    fn refuses(&self, rule: Rule, psbt: &Psbt) {
        self.refuses_to(&["alice"], rule, psbt);
    }

    fn restarted(self) -> Scene {
        Scene { bench: self.bench.restarted(), ..self }
    }

    fn set_policy(&self, policy: &str) -> Result<(), EngineError> {
        let change = KeyChange { policy: Some(policy.into()), ..KeyChange::default() };
        self.bench.change_wallet(&self.id, change)
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Pays so much more, taken from the change.
fn pay_more(psbt: &mut Psbt, more: u64) {
    psbt.unsigned_tx.output[0].value += Amount::from_sat(more);
    psbt.unsigned_tx.output[1].value -= Amount::from_sat(more);
}

fn period(sat: u64) -> String {
    format!("max_period_sat = {sat}\nmax_fee_sat = 10000")
}

// Limits of a period

#[test]
fn period_max() {
    let scene = Scene::new(&period(2 * LEAVES));
    scene.signs(&scene.payment(1));
    let mut dear = scene.payment(2);
    pay_more(&mut dear, 1);
    scene.refuses(Rule::PeriodMax, &dear);
    scene.signs(&scene.payment(3));
    scene.refuses(Rule::PeriodMax, &scene.payment(4));
    assert_eq!(count(&scene.bench.ledger.state().events, Answer::Signed), 2);
}

#[test]
fn period_max_holds_for_one_transaction_without_a_limit_of_its_own() {
    let scene = Scene::new(&period(LEAVES - 1));
    scene.refuses(Rule::PeriodMax, &scene.payment(1));
}

#[test]
fn period_transactions() {
    let scene = Scene::new(&format!("{}\nmax_period_transactions = 2", period(100 * LEAVES)));
    scene.signs(&scene.payment(1));
    scene.signs(&scene.payment(2));
    scene.refuses(Rule::PeriodTransactions, &scene.payment(3));
    scene.signs(&scene.payment(2));
}

#[test]
fn period_max_survives_a_restart() {
    let scene = Scene::new(&period(LEAVES));
    scene.signs(&scene.payment(1));
    let scene = scene.restarted();
    scene.refuses(Rule::PeriodMax, &scene.payment(2));
}

#[test]
fn period_max_slides_out_after_the_period_and_not_before() {
    let scene = Scene::new(&period(LEAVES));
    scene.signs(&scene.payment(1));
    let signed_at = scene.bench.clock.now();
    // The last second of the hour 24 hours later: a second of the hour of the signature may still be within
    // the period.
    let last = (signed_at / HOUR + 25) * HOUR - 1;
    scene.bench.clock.advance(signed_at + 24 * HOUR - scene.bench.clock.now() - 30);
    scene.refuses(Rule::PeriodMax, &scene.payment(2));
    scene.bench.clock.advance(last - scene.bench.clock.now() - 30);
    scene.refuses(Rule::PeriodMax, &scene.payment(2));
    scene.signs(&scene.payment(2));
    scene.refuses(Rule::PeriodMax, &scene.payment(3));
}

#[test]
fn period_hours_is_the_period() {
    for (hours, after) in [(1, 2), (48, 49), (168, 169)] {
        let scene = Scene::new(&format!("{}\nperiod_hours = {hours}", period(LEAVES)));
        scene.signs(&scene.payment(1));
        scene.bench.clock.advance((after - 1) * HOUR - 60);
        scene.refuses(Rule::PeriodMax, &scene.payment(2));
        scene.bench.clock.advance(HOUR + 60);
        scene.signs(&scene.payment(2));
    }
}

#[test]
fn no_change_of_policy_resets_what_was_spent() {
    let scene = Scene::new(UNLIMITED);
    scene.signs(&scene.payment(1));
    scene.set_policy(&period(LEAVES)).expect("a policy");
    scene.refuses(Rule::PeriodMax, &scene.payment(2));
    scene.set_policy(UNLIMITED).expect("a policy");
    scene.signs(&scene.payment(3));
    scene.set_policy(&period(2 * LEAVES)).expect("a policy");
    scene.refuses(Rule::PeriodMax, &scene.payment(4));
    scene.set_policy(&period(3 * LEAVES)).expect("a policy");
    let users = KeyChange { users: Some(vec!["alice".into()]), ..KeyChange::default() };
    scene.bench.change_wallet(&scene.id, users).expect("a user");
    scene.signs(&scene.payment(4));
    scene.refuses(Rule::PeriodMax, &scene.payment(5));
}

#[test]
fn each_wallet_has_its_own_period() {
    let scene = Scene::new(&period(LEAVES));
    scene.signs(&scene.payment(1));
    let other = scene.bench.wallet("other", &["alice"], &period(LEAVES));
    let scene = Scene { id: other, ..scene };
    scene.signs(&scene.payment(1));
}

#[test]
fn two_engines_beside_each_other_do_not_pass_a_limit_for_one() {
    let scene = Scene::new(&period(2 * LEAVES - 1));
    scene.bench.clock.advance(30);
    // Bob signs in another process after alice's call was judged and before her commit.
    let beside = scene.bench.beside();
    let (id, theirs) = (scene.id, scene.payment(2).serialize());
    let code = scene.bench.code(&scene.users[1].1);
    let act = move || {
        let _ = beside.sign(&id, "bob", &code, &theirs).expect("the first to commit is within the limit");
    };
    scene.bench.ledger.state().meanwhile = Some((0, Box::new(act)));
    let answer = scene.sign_again(&["alice"], &scene.payment(1));
    assert!(matches!(answer, Err(EngineError::Policy(Rule::PeriodMax))), "{:?}", answer.map(|_| "signed"));
    let again = scene.sign_again(&["alice"], &scene.payment(1));
    assert!(matches!(again, Err(EngineError::Code)), "the code is spent");
    assert_eq!(count(&scene.bench.ledger.state().events, Answer::Signed), 1);
}

#[test]
fn many_threads_at_once_do_not_pass_a_limit_for_three() {
    let bench = Bench::new();
    let names: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
    let totps: Vec<_> = names.iter().map(|name| bench.user(name)).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = bench.wallet("w", &users, &period(4 * LEAVES - 1));
    bench.clock.advance(30);
    let scene = Scene { bench, users: vec![], id };
    let payments: Vec<Vec<u8>> = (0..12).map(|number| scene.payment(number).serialize()).collect();
    let signed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|number| {
                let (bench, code) = (scene.bench.beside(), scene.bench.code(&totps[number]));
                let (name, psbt) = (&names[number], &payments[number]);
                scope.spawn(move || match bench.sign(&id, name, &code, psbt) {
                    Ok(_) => 1,
                    Err(EngineError::Policy(Rule::PeriodMax)) => 0,
                    Err(other) => panic!("{other}"),
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).sum::<u32>()
    });
    assert_eq!(signed, 3);
}

#[test]
fn a_replacement_is_charged_the_difference_only() {
    let scene = Scene::new(&period(LEAVES + 500));
    let mut payment = scene.payment(1);
    payment.unsigned_tx.input[0].sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
    scene.signs(&payment);
    scene.signs(&payment);
    // A higher fee, taken from the change.
    payment.unsigned_tx.output[1].value -= Amount::from_sat(500);
    scene.signs(&payment);
    payment.unsigned_tx.output[1].value -= Amount::from_sat(1);
    scene.refuses(Rule::PeriodMax, &payment);
    // A lower amount gives nothing back: there is no room for another payment.
    payment.unsigned_tx.output[1].value += Amount::from_sat(501);
    scene.signs(&payment);
    scene.refuses(Rule::PeriodMax, &scene.payment(2));
}

#[test]
fn a_replacement_with_other_inputs_is_charged_as_another_transaction() {
    let scene = Scene::new(&period(INPUT + LEAVES));
    let one = scene.bench.psbt(&scene.id, 1);
    scene.signs(&one);
    // The first input again, with a second one beside it.
    let mut two = scene.bench.psbt(&scene.id, 2);
    assert_eq!(two.unsigned_tx.input[0].previous_output, one.unsigned_tx.input[0].previous_output);
    pay_more(&mut two, INPUT - PAID - FEE + 1);
    two.unsigned_tx.output[0].value += Amount::from_sat(FEE);
    two.unsigned_tx.output[1].value -= Amount::from_sat(FEE);
    scene.refuses(Rule::PeriodMax, &two);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Through the engine: the amount that was signed according to the audit never exceeds the limit in the
    /// period before any moment.
    #[test]
    fn signed_amounts_stay_within_the_period_whatever_is_requested(
        asked in proptest::collection::vec((0u32..6, 0u64..3, 30u64..20 * HOUR), 1..25),
    ) {
        let max = 2 * LEAVES + 3;
        let scene = Scene::new(&period(max));
        let mut most: Vec<(u32, u64, u64)> = Vec::new();
        for (number, more, pause) in asked {
            scene.bench.clock.advance(pause);
            let mut psbt = scene.payment(number);
            pay_more(&mut psbt, more);
            let answer = scene.sign(&psbt);
            let now = scene.bench.clock.now();
            if answer.is_ok() {
                let known = most.iter().filter(|(known, ..)| *known == number).map(|(_, _, sat)| sat).sum();
                most.push((number, now, (LEAVES + more).saturating_sub(known)));
            } else {
                prop_assert!(matches!(answer, Err(EngineError::Policy(Rule::PeriodMax))), "{:?}", answer.err());
            }
            let within = most.iter().filter(|(_, at, _)| at + 24 * HOUR > now).map(|(_, _, sat)| sat);
            prop_assert!(within.sum::<u64>() <= max);
        }
    }
}

// Lists, times, approvals

#[test]
fn allowlist() {
    let scene = Scene::new(&format!("{UNLIMITED}\nallowlist = [\"script:{}\"]", stranger().to_hex_string()));
    scene.signs(&scene.payment(1));
    let mut unproved = scene.payment(2);
    unproved.outputs[1].bip32_derivation.clear();
    scene.refuses(Rule::Allowlist, &unproved);
    let scene = Scene::new(&format!("{UNLIMITED}\nallowlist = []"));
    scene.refuses(Rule::Allowlist, &scene.payment(1));
    let mut to_itself = scene.payment(2);
    to_itself.unsigned_tx.output.remove(0);
    to_itself.outputs.remove(0);
    scene.signs(&to_itself);
}

#[test]
fn denylist_beats_an_allowlist() {
    let listed = format!("[\"script:{}\"]", stranger().to_hex_string());
    let scene = Scene::new(&format!("{UNLIMITED}\nallowlist = {listed}\ndenylist = {listed}"));
    scene.refuses(Rule::Denylist, &scene.payment(1));
}

#[test]
fn time_window() {
    // A Friday, 08:00; enrolment takes a minute and a half.
    assert_eq!(START % 86_400, 8 * HOUR);
    let scene = Scene::new(&format!("{UNLIMITED}\ntime_windows = [\"Fri 08:00-09:00\"]"));
    scene.signs(&scene.payment(1));
    scene.bench.clock.advance(START + HOUR - 31 - scene.bench.clock.now());
    scene.signs(&scene.payment(2));
    scene.refuses(Rule::TimeWindow, &scene.payment(3));
    scene.bench.clock.advance(23 * HOUR);
    scene.refuses(Rule::TimeWindow, &scene.payment(3));
    scene.bench.clock.advance(6 * 24 * HOUR - 60);
    scene.signs(&scene.payment(3));
}

#[test]
fn approvals_takes_codes_of_so_many_different_users() {
    let scene = Scene::new(&format!("{UNLIMITED}\nrequired_approvals = 2"));
    scene.refuses_to(&["alice"], Rule::Approvals, &scene.payment(1));
    scene.sign_as(&["alice", "bob"], &scene.payment(1)).expect("two of three");
    scene.sign_as(&["carol", "alice"], &scene.payment(2)).expect("another two of three");
    scene.sign_as(&["carol", "alice", "bob"], &scene.payment(3)).expect("and all");
}

#[test]
fn approvals_of_the_same_user_twice_do_not_count() {
    let scene = Scene::new(&format!("{UNLIMITED}\nrequired_approvals = 2"));
    let twice = scene.sign_as(&["alice", "alice"], &scene.payment(1));
    assert!(matches!(twice, Err(EngineError::Code)), "{:?}", twice.map(|_| "signed"));
    // With another step of the same user, neither is signed.
    scene.bench.clock.advance(60);
    let (_, totp) = &scene.users[0];
    let now = scene.bench.clock.now();
    let approvals = [now - 30, now].map(|time| {
        let code = totp.generate(time).to_string();
        Approval::parse_pin_of(b"alice", code.as_bytes()).expect("well formed")
    });
    let answer = scene.bench.engine.countersign(&scene.id, approvals.into(), scene.payment(1).serialize());
    assert!(matches!(answer, Err(EngineError::Code)), "{:?}", answer.map(|_| "signed"));
}

#[test]
fn approvals_are_required_from_an_amount_on() {
    let policy = |from| format!("{UNLIMITED}\nrequired_approvals = 3\napprovals_from_sat = {from}");
    let scene = Scene::new(&policy(LEAVES + 1));
    scene.signs(&scene.payment(1));
    let mut dear = scene.payment(2);
    pay_more(&mut dear, 1);
    scene.refuses_to(&["alice", "bob"], Rule::Approvals, &dear);
    scene.sign_as(&["alice", "bob", "carol"], &dear).expect("three of three");
}

#[test]
fn consent_from_its_amount_on_no_number_of_codes_signs() {
    let policy = |from| format!("{UNLIMITED}\nconsent_from_sat = {from}\nconsent_by = [\"device\"]");
    let scene = Scene::new(&policy(LEAVES + 1));
    scene.signs(&scene.payment(1));
    let mut dear = scene.payment(2);
    pay_more(&mut dear, 1);
    scene.refuses_to(&["alice"], Rule::Consent, &dear);
    scene.refuses_to(&["alice", "bob", "carol"], Rule::Consent, &dear);
    // Whatever the user approves, no other rule is weaker for it.
    scene.set_policy(&format!("{}\ndenylist = []", policy(0))).expect("a policy");
    scene.refuses_to(&["alice"], Rule::Consent, &scene.payment(3));
}

#[test]
fn a_wallet_has_at_least_as_many_users_as_must_approve() {
    let scene = Scene::new(UNLIMITED);
    let two = format!("{UNLIMITED}\nrequired_approvals = 2");
    let made = scene.bench.add_wallet("one", &["alice"], &two, NewScript::default());
    let told = "the policy requires the approvals of 2 users, and the wallet has 1";
    assert_eq!(made.expect_err("one user").to_string(), told);
    scene.bench.wallet("two", &["alice", "bob"], &two);
    let few = |required| EngineError::Wallet(WalletError::TooFewUsers { required, users: 3 }).to_string();
    let four = scene.set_policy(&format!("{UNLIMITED}\nrequired_approvals = 4\napprovals_from_sat = 9"));
    assert_eq!(four.expect_err("three users").to_string(), few(4));
    scene.set_policy(&two).expect("three users");
    let users = |names: &[&str]| KeyChange { users: Some(names.map_owned()), ..KeyChange::default() };
    let change = |names: &[&str]| scene.bench.change_wallet(&scene.id, users(names));
    assert_eq!(change(&["carol"]).expect_err("one user").to_string(), told);
    change(&["carol", "bob"]).expect("two users");
    scene.refuses_to(&["bob"], Rule::Approvals, &scene.payment(1));
}

#[test]
fn each_of_several_rules_refuses() {
    let scene = Scene::new(&format!(
        "{}\nmax_transaction_sat = {LEAVES}\nallowlist = [\"script:{}\"]\nrequired_approvals = 2",
        period(2 * LEAVES - 1),
        stranger().to_hex_string()
    ));
    let both: &[&str] = &["alice", "bob"];
    let mut dear = scene.payment(1);
    pay_more(&mut dear, 1);
    scene.refuses_to(both, Rule::TransactionMax, &dear);
    let mut unproved = dear;
    unproved.outputs[1].bip32_derivation.clear();
    scene.refuses_to(both, Rule::Allowlist, &unproved);
    scene.refuses_to(&["carol"], Rule::Approvals, &scene.payment(1));
    scene.sign_as(both, &scene.payment(1)).expect("within all");
    scene.refuses_to(both, Rule::PeriodMax, &scene.payment(2));
    scene.refuses_to(&["carol"], Rule::Approvals, &scene.payment(2));
}

// The document

#[test]
fn a_policy_of_32_kib_is_taken_and_no_larger_one() {
    let scene = Scene::new(UNLIMITED);
    let filled = |len: usize| format!("{UNLIMITED}\n#{}", "x".repeat(len - UNLIMITED.len() - 2));
    assert_eq!(filled(MAX_POLICY_LEN).len(), 32 * 1_024);
    scene.set_policy(&filled(MAX_POLICY_LEN)).expect("it fits");
    let scene = scene.restarted();
    scene.signs(&scene.payment(1));
    assert!(matches!(scene.set_policy(&filled(MAX_POLICY_LEN + 1)), Err(EngineError::Parameter(_))));
}

#[test]
fn a_list_is_of_the_wallets_network() {
    let scene = Scene::new(UNLIMITED);
    let mainnet = "allowlist = [\"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\"]";
    match scene.set_policy(&format!("{UNLIMITED}\n{mainnet}")) {
        Err(EngineError::PolicyDocument(PolicyError::Entry { position: 1, .. })) => {}
        other => panic!("{other:?}"),
    }
    let error =
        scene.bench.add_wallet("m", &["alice"], &format!("{UNLIMITED}\n{mainnet}"), NewScript::default());
    assert!(matches!(error, Err(EngineError::PolicyDocument(PolicyError::Entry { .. }))));
}

#[test]
fn the_audit_shows_what_a_change_of_a_wallet_means() {
    let scene = Scene::new(UNLIMITED);
    let change = |change: KeyChange| {
        scene.bench.change_wallet(&scene.id, change).expect("a change");
        match scene.bench.ledger.state().events.last() {
            Some(Event::Act(act)) if act.deed == Deed::WalletUpdated => {
                (act.name.clone(), act.changes.clone())
            }
            other => panic!("{other:?}"),
        }
    };
    let updated = |name: &str, changes: &[Change]| (name.to_owned(), changes.to_vec());
    let policy = |policy: &str| KeyChange { policy: Some(policy.into()), ..KeyChange::default() };
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    let changed = |old: &str, new: &str, tightens, loosens, rules: &[&str]| {
        Change::Policy(PolicyChange {
            direction: Direction { tightens, loosens },
            rules: rules.map_owned(),
            before: digest(old),
            after: digest(new),
        })
    };
    let users = |names: &[&str]| KeyChange { users: Some(names.map_owned()), ..KeyChange::default() };
    let five = period(5);
    let rules: &[&str] = &["unlimited", "max_fee_sat", "max_period_sat"];
    assert_eq!(change(policy(&five)), updated("w", &[changed(UNLIMITED, &five, true, false, rules)]));
    assert_eq!(change(policy(&five)), updated("w", &[]), "the same document");
    let blank = format!("{five}\n");
    let same = changed(&five, &blank, false, false, &[]);
    assert_eq!(change(policy(&blank)), updated("w", &[same]), "the same policy");
    assert_eq!(change(policy(UNLIMITED)), updated("w", &[changed(&blank, UNLIMITED, false, true, rules)]));
    let names = |names: &[&str]| names.map_owned();
    let removed = Change::UsersRemoved(names(&["carol"]));
    assert_eq!(change(users(&["bob", "alice"])), updated("w", &[removed]));
    let both = [Change::UsersAdded(names(&["carol"])), Change::UsersRemoved(names(&["alice"]))];
    assert_eq!(change(users(&["carol", "bob"])), updated("w", &both));
    let label = KeyChange { label: Some("v".into()), ..KeyChange::default() };
    assert_eq!(change(label), updated("v", &[Change::Label("w".into())]));
}

#[test]
fn the_audit_of_version_0_1_is_still_read() {
    let read: Event = postcard::from_bytes(&[10, 1, b'w']).expect("reads");
    assert_eq!(read, Event::WalletChanged("w".into()));
}
