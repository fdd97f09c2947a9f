use proptest::prelude::*;

use super::super::tests::{act, examples, wallet_set, wallet_terms};
use super::super::{Raise, WalletTerms};
use super::*;
use crate::officer::{Council, Settings};
use crate::policy::tests_document;

const ONE_USER: &[(&str, u8)] = &[("alice", 1)];

#[test]
fn the_class_of_each_act_follows_from_its_documents() {
    let classes: Vec<(&str, Class)> =
        examples().into_iter().map(|(name, act)| (name, act.motion.class())).collect();
    assert_eq!(
        classes,
        [
            ("clock-take", Class::Vouchless),
            ("device-add", Class::Loosens),
            ("device-first", Class::Loosens),
            ("freeze-all", Class::Tightens),
            ("freeze-key", Class::Tightens),
            ("freeze-user", Class::Tightens),
            ("freeze-wallet", Class::Tightens),
            ("key-set", Class::Loosens),
            ("officers-first", Class::Neutral),
            ("officers-set", Class::Loosens),
            ("restore", Class::Vouchless),
            ("so-pin-lost", Class::Loosens),
            ("thaw-all", Class::Loosens),
            ("thaw-key", Class::Loosens),
            ("thaw-user", Class::Loosens),
            ("thaw-wallet", Class::Loosens),
            ("wallet-reach", Class::Loosens),
            ("wallet-set", Class::Loosens),
        ]
    );
}

#[test]
fn of_a_council_only_fewer_wrong_codes_are_stricter() {
    use crate::officer::{Emergency, Officers};
    let council = |lines: &[&str], threshold, delay, emergency: Option<u32>, failures_per_hour| {
        let emergency = emergency.map(|delay_hours| Emergency { signatures: 2, delay_hours });
        let officers = Officers::parse(lines, threshold).expect("officers");
        let settings = Settings { failures_per_hour };
        Box::new(Council::new(officers, delay, emergency, settings).expect("a council"))
    };
    let (alice, bob) = (
        "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
        "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO2",
    );
    let old = council(&[alice, bob], 1, 72, Some(8), 100);
    let class = |new: Box<Council>| Motion::OfficersSet { old: Some(old.clone()), new }.class();
    assert_eq!(class(council(&[bob, alice], 1, 72, Some(8), 99)), Class::Tightens);
    for loosens in [
        council(&[alice, bob], 1, 72, Some(8), 101),
        council(&[alice, bob], 1, 73, Some(8), 99),
        council(&[alice, bob], 1, 72, Some(9), 100),
        council(&[alice, bob], 1, 72, None, 100),
        council(&[alice, bob], 2, 72, None, 100),
        council(&[alice], 1, 72, None, 100),
    ] {
        assert_eq!(class(loosens), Class::Loosens);
    }
}

fn terms() -> impl Strategy<Value = WalletTerms> {
    let users = proptest::collection::btree_map(
        proptest::sample::select(&["alice", "bob", "carol"][..]),
        1u8..3,
        1..4,
    );
    (users, tests_document(), proptest::sample::select(&["a", "b"][..])).prop_map(|(users, policy, label)| {
        let users: Vec<(&str, u8)> = users.into_iter().collect();
        WalletTerms { label: label.into(), ..wallet_terms(&users, &policy) }
    })
}

fn class(old: &WalletTerms, new: &WalletTerms) -> Class {
    wallet_set(old.clone(), new.clone(), None).class()
}

proptest! {
    /// Against the rule written down once more: whatever loosens is told by the policies, the users and the label.
    #[test]
    fn a_change_loosens_where_its_policy_its_users_or_its_label_do(old in terms(), new in terms()) {
        let parse = |terms: &WalletTerms| Policy::parse(&terms.policy, terms.fixed.network).expect("a policy");
        let is_added = new.users.iter().any(|user| !old.users.contains(user));
        let loosens = parse(&old).compare(&parse(&new)).loosens || is_added || old.label != new.label;
        let expected = if loosens {
            Class::Loosens
        } else if old.policy == new.policy && old.users.len() == new.users.len() {
            Class::Neutral
        } else {
            Class::Tightens
        };
        prop_assert_eq!(class(&old, &new), expected);
        let raised = wallet_set(old.clone(), new, Some(Raise { from: [0, 0], to: [0, 1] }));
        prop_assert_eq!(raised.class(), Class::Loosens);
    }

    /// Nothing that takes officers as a whole is reached without them in parts.
    #[test]
    fn act_small_steps_that_each_tighten_end_nowhere_looser(steps in proptest::collection::vec(terms(), 2..6)) {
        let mut reached = steps[0].clone();
        for next in &steps[1..] {
            if class(&reached, next) < Class::Loosens {
                reached = next.clone();
            } else {
                // Only the part that tightens.
                let users = reached.users.iter().filter(|user| next.users.contains(user)).cloned().collect();
                let part = WalletTerms { users, ..reached.clone() };
                if !part.users.is_empty() {
                    prop_assert!(class(&reached, &part) < Class::Loosens);
                    reached = part;
                }
            }
        }
        prop_assert!(class(&steps[0], &reached) < Class::Loosens, "{:?} to {:?}", steps[0], reached);
    }

    /// The other way round: what loosens does so in one of its parts.
    #[test]
    fn act_small_steps_one_of_two_needs_what_both_together_need(a in terms(), b in terms(), c in terms()) {
        if class(&a, &c) == Class::Loosens {
            prop_assert!(class(&a, &b).max(class(&b, &c)) == Class::Loosens, "{:?} to {:?} to {:?}", a, b, c);
        }
    }
}

#[test]
fn a_policy_that_cannot_be_read_may_be_any() {
    let unreadable = wallet_terms(ONE_USER, "[");
    assert_eq!(class(&unreadable, &wallet_terms(ONE_USER, "unlimited = true")), Class::Loosens);
    assert_eq!(act(wallet_set(unreadable.clone(), unreadable, None)).motion.class(), Class::Neutral);
}
