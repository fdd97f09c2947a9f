//! Compares the history with models that keep every transaction and its time.

use std::collections::HashMap;

use bitcoin::{OutPoint, TxIn, Txid};
use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600;

fn id(number: u8) -> ChargeId {
    ChargeId::from_bytes([number; 32])
}

fn charge(sat: u64, transactions: u32) -> Charge {
    Charge { sat, transactions }
}

fn transaction(outpoints: &[(u8, u32)]) -> Transaction {
    let input = |(txid, vout): &(u8, u32)| TxIn {
        previous_output: OutPoint::new(Txid::from_byte_array([*txid; 32]), *vout),
        ..TxIn::default()
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: outpoints.iter().map(input).collect(),
        output: vec![],
    }
}

#[test]
fn inputs_are_named_by_their_outpoints_alone_in_any_order() {
    let name = |outpoints: &[(u8, u32)]| ChargeId::of_inputs(&transaction(outpoints));
    assert_eq!(name(&[(1, 0), (2, 1)]), name(&[(2, 1), (1, 0)]));
    let others: [&[(u8, u32)]; 5] = [&[(1, 0)], &[(1, 0), (2, 0)], &[(1, 0), (2, 1), (3, 0)], &[(2, 1)], &[]];
    for other in others {
        assert_ne!(name(&[(1, 0), (2, 1)]), name(other), "{other:?}");
    }
    let mut rest = transaction(&[(1, 0), (2, 1)]);
    rest.input[0].sequence = bitcoin::Sequence::ZERO;
    rest.lock_time = bitcoin::absolute::LockTime::from_consensus(7);
    assert_eq!(ChargeId::of_inputs(&rest), name(&[(1, 0), (2, 1)]), "a replacement may change the rest");
}

#[test]
fn the_name_of_inputs_is_golden() {
    // SHA-256 of the label, then of each outpoint the txid and the index in four bytes, little-endian.
    let expected = "eca46bc1987dbb877f22526d93219a2b73d3d5e4f75452b8a6e0c8e4362c5608";
    assert_eq!(hex::encode(ChargeId::of_inputs(&transaction(&[(2, 0), (1, 7)])).0), expected);
}

fn step(user: &str, step: u64) -> Mark {
    Mark { user: user.into(), spends: crate::factor::Spends::Step(step) }
}

#[test]
fn the_name_of_a_signature_of_a_digest_is_golden() {
    // SHA-256 of the label, then the binding, then of each code the length of the user's name, the name and the step; numbers in
    // eight bytes, little-endian.
    let expected = "7751d21be7f165543b60a983179d21835808d4960d9408a918236a2daf24cfb5";
    let name = ChargeId::of_digest(&[3; 32], &[step("alice", 7), step("bob", 8)]);
    assert_eq!(hex::encode(name.0), expected);
}

#[test]
fn each_signature_of_a_digest_is_charged_by_itself() {
    let one = ChargeId::of_digest(&[3; 32], &[step("alice", 7)]);
    for (binding, user, at) in [([3; 32], "alice", 8), ([3; 32], "bob", 7), ([4; 32], "alice", 7)] {
        let other = ChargeId::of_digest(&binding, &[step(user, at)]);
        let history = History::default().charge(one, 0, 0).charge(other, 0, 0);
        assert_eq!(history.spent(24, 0, None), charge(0, 2), "{binding:?} {user} {at}");
        assert_eq!(history.charge(one, 0, 0).spent(24, 0, None), charge(0, 2), "the same is charged once");
    }
}

#[test]
fn an_hour_counts_as_long_as_a_second_of_it_is_within_the_period() {
    for second in [0, 1, 1_800, 3_599] {
        let history = History::default().charge(id(1), 5, 10 * HOUR + second);
        for hours in [1, 24, 168] {
            let at = |now: u64| history.spent(hours, now, None);
            let period = u64::from(hours) * HOUR;
            assert_eq!(at(10 * HOUR + second + period), charge(5, 1), "{hours} hours after");
            assert_eq!(at(11 * HOUR + period - 1), charge(5, 1), "the last second of the hour");
            assert_eq!(at(11 * HOUR + period), charge(0, 0), "and the next one");
        }
    }
}

#[test]
fn an_hour_in_the_future_counts() {
    let history = History::default().charge(id(1), 5, 100 * HOUR);
    assert_eq!(history.spent(1, 0, None), charge(5, 1));
    let history = history.charge(id(2), 6, 0);
    assert_eq!(history.spent(1, 0, None), charge(11, 2), "and it is kept");
}

#[test]
fn a_week_is_kept_and_no_more() {
    let mut history = History::default();
    for hour in 0..1_000 {
        history = history.charge(id((hour % 251) as u8), 1, hour * HOUR);
        assert!(history.hours.len() <= 169 && history.charges.len() <= 64);
    }
    assert_eq!(history.spent(168, 999 * HOUR, None), charge(169, 169));
    assert!(
        postcard::to_allocvec(&history).expect("writes").len() < 3 * 1_024,
        "it is written with every signature"
    );
}

#[test]
fn a_replacement_is_charged_the_difference_only() {
    let history = History::default().charge(id(1), 100, 0);
    assert_eq!(history.spent(24, 0, None), charge(100, 1));
    assert_eq!(history.charge(id(1), 100, 0), history, "the same again");
    let history = history.charge(id(1), 40, 0);
    assert_eq!(history.spent(24, 0, None), charge(100, 1), "nothing is given back");
    let history = history.charge(id(1), 130, HOUR);
    assert_eq!(history.spent(24, HOUR, None), charge(130, 1));
}

#[test]
fn a_replacement_takes_the_charge_with_it_into_its_own_hour() {
    // Signed once and never confirmed. A day later the coins that it spends still move only once.
    let history = History::default().charge(id(1), 100, 0);
    assert_eq!(history.spent(24, 30 * HOUR, None), charge(0, 0));
    let history = history.charge(id(1), 10, 30 * HOUR);
    assert_eq!(history.spent(24, 30 * HOUR, None), charge(100, 1));
    assert_eq!(history.spent(24, 54 * HOUR, None), charge(100, 1), "for a whole period again");
    assert_eq!(history.spent(24, 55 * HOUR, None), charge(0, 0));
    assert_eq!(history.spent(168, 55 * HOUR, None), charge(100, 1), "once over all of it");
}

#[test]
fn forgotten_inputs_are_charged_again() {
    let mut history = History::default();
    for number in 0..64 {
        history = history.charge(id(number), 1, 0);
    }
    let spent = |history: &History| history.spent(24, 0, None).sat;
    assert_eq!(spent(&history.charge(id(0), 1, 0)), 64, "64 are remembered");
    let history = history.charge(id(64), 1, 0);
    assert_eq!(spent(&history.charge(id(1), 1, 0)), 65, "one goes");
    assert_eq!(spent(&history.charge(id(0), 1, 0)), 66, "that of the oldest charge");
}

#[test]
fn nothing_wraps() {
    let history = History::default().charge(id(1), u64::MAX, u64::MAX);
    let history = history.charge(id(2), u64::MAX, u64::MAX);
    assert_eq!(history.spent(u32::MAX, u64::MAX, None), charge(u64::MAX, 2));
    let history = history.charge(id(3), 1, 0);
    assert_eq!(history.spent(1, 0, Some(u64::MAX)), charge(u64::MAX, u32::MAX));
    assert_eq!(history.spent(0, 0, None), charge(u64::MAX, 3));
}

/// The requests of a caller: the inputs, the amount, and the seconds before it.
fn asked() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    let pause = prop_oneof![0u64..10, 0u64..2 * HOUR, 0u64..40 * HOUR];
    let leaves = prop_oneof![0u64..60, 0u64..300, Just(u64::MAX)];
    proptest::collection::vec((0u8..12, leaves, pause), 1..120)
}

proptest! {
    /// Whatever is requested, the sum in the period before any moment is within the limit.
    #[test]
    fn no_sequence_of_charges_exceeds_the_limit(
        asked in asked(),
        hours in 1u32..=168,
        max in 0u64..400,
        number in 0u32..10,
        start in 0u64..HOUR,
    ) {
        let (mut history, mut now) = (History::default(), 500 * HOUR + start);
        // What was allowed: the time, the inputs, the amount.
        let mut signed: Vec<(u64, u8, u64)> = Vec::new();
        for (inputs, leaves, pause) in asked {
            now += pause;
            let after = history.charge(id(inputs), leaves, now);
            let spent = after.spent(hours, now, None);
            if spent.sat <= max && spent.transactions <= number {
                history = after;
                // For each set of inputs the most that one took out, at the time of the last.
                let before = signed.iter().position(|(_, of, _)| *of == inputs).map(|at| signed.remove(at));
                let is_forgotten = |at: u64| now / HOUR - at / HOUR > 168;
                let known = before.filter(|(at, ..)| !is_forgotten(*at)).map_or(0, |(.., most)| most);
                signed.push((now, inputs, leaves.max(known)));
            }
            let period = u64::from(hours) * HOUR;
            let within = |slack: u64| {
                let counts = |at: &u64| *at + period + slack > now;
                signed.iter().filter(|(at, ..)| counts(at)).fold((0, 0), |sum: (u64, u32), (.., most)| {
                    (sum.0 + most, sum.1 + 1)
                })
            };
            let (sat, transactions) = within(0);
            prop_assert!(sat <= max && transactions <= number, "{} sat in {} transactions", sat, transactions);
            // And it is no stricter than with an hour more.
            let (sat, transactions) = within(HOUR);
            let spent = history.spent(hours, now, None);
            prop_assert!(spent.sat <= sat && spent.transactions <= transactions);
        }
    }

    /// Replacements do not widen the limit: within one period, only the most that each set of inputs takes
    /// out counts.
    #[test]
    fn over_distinct_inputs_the_most_that_leaves_never_exceeds_the_limit(
        asked in proptest::collection::vec((0u8..8, 0u64..120, 0u64..200), 1..100),
        max in 0u64..400,
    ) {
        let (mut history, mut now) = (History::default(), 500 * HOUR);
        let mut most: HashMap<u8, u64> = HashMap::new();
        for (inputs, leaves, pause) in asked {
            now += pause;
            let after = history.charge(id(inputs), leaves, now);
            if after.spent(24, now, None).sat <= max {
                history = after;
                let known = most.entry(inputs).or_default();
                *known = leaves.max(*known);
            }
            prop_assert_eq!(history.spent(24, now, None), Charge {
                sat: most.values().sum(),
                transactions: u32::try_from(most.len()).expect("at most 8"),
            });
            prop_assert!(most.values().sum::<u64>() <= max);
        }
    }
}
