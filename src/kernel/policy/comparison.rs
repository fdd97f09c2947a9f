//! Compares two policies of a wallet, rule by rule: does the new one allow less, more, or both?

use super::Policy;
use super::consent;
use super::hours::{self, TimeWindows};
use super::limits::{Approvals, Limits, PeriodLimits};
use super::listing::Listing;
use crate::direction::Direction;

impl Policy {
    /// The direction of a change from this policy to `new`.
    pub fn compare(&self, new: &Policy) -> Direction {
        let listings = allowlists(self.allowlist.as_ref(), new.allowlist.as_ref())
            .and(denylists(self.denylist.as_ref(), new.denylist.as_ref()));
        limits(self.limits.as_ref(), new.limits.as_ref())
            .and(listings)
            .and(time_windows(self.time_windows.as_ref(), new.time_windows.as_ref()))
            .and(approvals(self.approvals, new.approvals))
            .and(consent::compare(self.consent.as_ref(), new.consent.as_ref()))
            .and(most(Some(self.proposal_minutes), Some(new.proposal_minutes)))
            .and(requirement(self.require_cosigner.as_ref(), new.require_cosigner.as_ref()))
    }
}

fn limits(old: Option<&Limits>, new: Option<&Limits>) -> Direction {
    // One for each limit. A policy without limits has none of them.
    let each = |limit: fn(&Limits) -> Option<u64>| most(old.and_then(limit), new.and_then(limit));
    each(|limits| limits.max_transaction)
        .and(each(|limits| Some(limits.max_fee)))
        .and(each(|limits| limits.max_feerate))
        .and(each(|limits| limits.max_fee_percent))
        .and(periods(&of_period(old), &of_period(new)))
}

fn of_period(limits: Option<&Limits>) -> PeriodLimits {
    limits.map_or(PeriodLimits::NONE, |limits| limits.period)
}

/// A missing limit is infinite.
fn most(old: Option<u64>, new: Option<u64>) -> Direction {
    let tightens = new.is_some_and(|new| old.is_none_or(|old| new < old));
    let loosens = old.is_some_and(|old| new.is_none_or(|new| new > old));
    Direction { tightens, loosens }
}

/// A limit over a longer period is stricter, if it is not higher. A higher limit over a longer period may be
/// either: the longer period allows more in its first hours, the shorter one more in the end.
pub(super) fn periods(old: &PeriodLimits, new: &PeriodLimits) -> Direction {
    let each = |limit: fn(&PeriodLimits) -> Option<u64>| {
        let longer = |one: &PeriodLimits, other: &PeriodLimits| one.hours > other.hours;
        let both = limit(old).is_some() && limit(new).is_some();
        most(limit(old), limit(new))
            .and(Direction { tightens: both && longer(new, old), loosens: both && longer(old, new) })
    };
    each(|limits| limits.max_sat).and(each(|limits| limits.max_transactions.map(u64::from)))
}

fn allowlists(old: Option<&Listing>, new: Option<&Listing>) -> Direction {
    match (old, new) {
        (Some(old), Some(new)) => Direction { tightens: old.exceeds(new), loosens: new.exceeds(old) },
        (old, new) => requirement(old.map(|_| &()), new.map(|_| &())),
    }
}

/// A missing denylist is empty.
fn denylists(old: Option<&Listing>, new: Option<&Listing>) -> Direction {
    let exceeds = |one: Option<&Listing>, other: Option<&Listing>| match (one, other) {
        (Some(one), Some(other)) => one.exceeds(other),
        (one, _) => one.is_some_and(|one| !one.is_empty()),
    };
    Direction { tightens: exceeds(new, old), loosens: exceeds(old, new) }
}

/// Compared as sets of minutes of the week.
pub(super) fn time_windows(old: Option<&TimeWindows>, new: Option<&TimeWindows>) -> Direction {
    let have = |windows: Option<&TimeWindows>, minute| windows.is_none_or(|windows| windows.have(minute));
    let mut direction = Direction::default();
    for minute in 0..hours::WEEK {
        direction.tightens |= have(old, minute) && !have(new, minute);
        direction.loosens |= have(new, minute) && !have(old, minute);
    }
    direction
}

/// The requirement changes at two amounts only, so this compares at these amounts and below them.
pub(super) fn approvals(old: Approvals, new: Approvals) -> Direction {
    let mut direction = Direction::default();
    for leaves in [0, old.from, new.from] {
        direction.tightens |= new.required(leaves) > old.required(leaves);
        direction.loosens |= new.required(leaves) < old.required(leaves);
    }
    direction
}

/// Something that is required or not.
fn requirement<T: PartialEq>(old: Option<&T>, new: Option<&T>) -> Direction {
    if old == new {
        return Direction::default();
    }
    Direction { tightens: new.is_some(), loosens: old.is_some() }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::Network;

    const SAME: Direction = Direction { tightens: false, loosens: false };
    const TIGHTER: Direction = Direction { tightens: true, loosens: false };
    const LOOSER: Direction = Direction { tightens: false, loosens: true };
    const BOTH: Direction = Direction::UNKNOWN;

    fn policy(document: &str) -> Policy {
        Policy::parse(document, Network::Regtest).expect("a policy")
    }

    fn reversed(direction: Direction) -> Direction {
        Direction { tightens: direction.loosens, loosens: direction.tightens }
    }

    #[test]
    fn each_rule_is_compared() {
        const BASE: &str = "max_transaction_sat = 100\nmax_fee_sat = 100\n";
        const PERIOD: &str = "max_period_sat = 100\n";
        let more = |lines: &str| format!("{BASE}{lines}");
        let cases = [
            (BASE.to_owned(), "unlimited = true".to_owned(), LOOSER),
            (BASE.to_owned(), "max_transaction_sat = 99\nmax_fee_sat = 100".to_owned(), TIGHTER),
            (BASE.to_owned(), "max_transaction_sat = 99\nmax_fee_sat = 101".to_owned(), BOTH),
            (BASE.to_owned(), "max_period_sat = 99\nmax_fee_sat = 100".to_owned(), BOTH),
            (BASE.to_owned(), more("max_fee_percent = 1"), TIGHTER),
            (BASE.to_owned(), more("max_fee_sat_per_vbyte = 1"), TIGHTER),
            (BASE.to_owned(), more(PERIOD), TIGHTER),
            (BASE.to_owned(), more("max_period_transactions = 5\nperiod_hours = 1"), TIGHTER),
            (more("max_period_transactions = 5"), more("max_period_transactions = 6"), LOOSER),
            (more(PERIOD), more("max_period_sat = 100\nperiod_hours = 24"), SAME),
            (more(PERIOD), more("max_period_sat = 100\nperiod_hours = 25"), TIGHTER),
            (more(PERIOD), more("max_period_sat = 99\nperiod_hours = 25"), TIGHTER),
            (more(PERIOD), more("max_period_sat = 101\nperiod_hours = 23"), LOOSER),
            (more(PERIOD), more("max_period_sat = 101\nperiod_hours = 25"), BOTH),
            (more(PERIOD), more("max_period_sat = 99\nperiod_hours = 23"), BOTH),
            (BASE.to_owned(), more("allowlist = [\"script:51\"]"), TIGHTER),
            (BASE.to_owned(), more("allowlist = []"), TIGHTER),
            (more("allowlist = [\"script:51\"]"), more("allowlist = [\"script:52\", \"script:51\"]"), LOOSER),
            (more("allowlist = [\"script:51\"]"), more("allowlist = [\"script:52\"]"), BOTH),
            (BASE.to_owned(), more("denylist = []"), SAME),
            (BASE.to_owned(), more("denylist = [\"script:51\"]"), TIGHTER),
            (more("denylist = [\"script:51\"]"), more("denylist = [\"script:51\", \"script:52\"]"), TIGHTER),
            (more("denylist = [\"script:51\"]"), more("denylist = [\"script:52\"]"), BOTH),
            (BASE.to_owned(), more("time_windows = [\"00:00-12:00\", \"12:00-24:00\"]"), SAME),
            (BASE.to_owned(), more("time_windows = [\"00:00-23:59\"]"), TIGHTER),
            (
                more("time_windows = [\"Mon 08:00-10:00\"]"),
                more("time_windows = [\"Mon 08:00-09:00\", \"Mon 08:30-11:00\"]"),
                LOOSER,
            ),
            (
                more("time_windows = [\"Mon 08:00-10:00\"]"),
                more("time_windows = [\"Tue 08:00-10:00\"]"),
                BOTH,
            ),
            (BASE.to_owned(), more("required_approvals = 1\napprovals_from_sat = 7"), SAME),
            (BASE.to_owned(), more("required_approvals = 2"), TIGHTER),
            (more("required_approvals = 2"), more("required_approvals = 2\napprovals_from_sat = 1"), LOOSER),
            (more("required_approvals = 2"), more("required_approvals = 3\napprovals_from_sat = 1"), BOTH),
            (BASE.to_owned(), more("require_cosigner = \"00000001\""), TIGHTER),
            (more("require_cosigner = \"00000001\""), more("require_cosigner = \"00000002\""), BOTH),
            (more("denylist = [\"script:51\"]"), more("allowlist = [\"script:51\"]"), BOTH),
        ];
        for (old, new, direction) in cases {
            let (one, other) = (policy(&old), policy(&new));
            assert_eq!(one.compare(&other), direction, "{old} → {new}");
            assert_eq!(other.compare(&one), reversed(direction), "{new} → {old}");
            assert_eq!(one.compare(&one), SAME, "{old}");
        }
    }

    /// Documents with every rule, and small numbers, so that values often coincide.
    pub(crate) fn document() -> impl Strategy<Value = String> {
        let key = |name: &'static str, range: core::ops::Range<u64>| {
            proptest::option::of(range)
                .prop_map(move |value| value.map_or(String::new(), |value| format!("{name} = {value}\n")))
        };
        let list = |name: &'static str, texts: &'static [&'static str]| {
            let some = proptest::sample::subsequence(texts, 1..=texts.len());
            proptest::option::of(some)
                .prop_map(move |some| some.map_or(String::new(), |some| format!("{name} = {some:?}\n")))
        };
        let scripts: &[&str] = &["script:51", "script:52", "script:53"];
        let windows: &[&str] = &["Mon-Wed 08:00-10:00", "Tue 09:00-12:00", "00:00-24:00"];
        let limits = prop_oneof![
            Just("unlimited = true\n".to_owned()),
            (key("max_transaction_sat", 0..3), 0u64..3, 1u64..4, key("max_fee_percent", 0..3), key("max_fee_sat_per_vbyte", 0..3), key("max_period_transactions", 0..3), 1u64..4)
                .prop_map(|(transaction, fee, period, percent, rate, number, hours)| format!(
                    "{transaction}max_fee_sat = {fee}\nmax_period_sat = {period}\n{percent}{rate}{number}period_hours = {hours}\n"
                )),
        ];
        let approvals = proptest::option::of((1u64..4, 0u64..3)).prop_map(|approvals| {
            approvals.map_or(String::new(), |(required, from)| {
                format!("required_approvals = {required}\napprovals_from_sat = {from}\n")
            })
        });
        let cosigner = proptest::option::of(0u64..2).prop_map(|cosigner| {
            cosigner.map_or(String::new(), |cosigner| format!("require_cosigner = \"{cosigner:08x}\"\n"))
        });
        (
            limits,
            list("allowlist", scripts),
            list("denylist", scripts),
            list("time_windows", windows),
            approvals,
            cosigner,
        )
            .prop_map(|(limits, allow, deny, windows, approvals, cosigner)| {
                format!("{limits}{allow}{deny}{windows}{approvals}{cosigner}")
            })
    }

    proptest! {
        #[test]
        fn a_comparison_the_other_way_round_is_the_reverse(one in document(), other in document()) {
            let (one, other) = (policy(&one), policy(&other));
            prop_assert_eq!(other.compare(&one), reversed(one.compare(&other)));
            prop_assert_eq!(one.compare(&one), SAME);
        }
    }
}
