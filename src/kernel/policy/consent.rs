//! From which amount on a policy asks for approvals of what was shown, and how long a proposed transaction waits for them.

use super::document::PolicyError;
use crate::direction::Direction;
use crate::factor::{Approvers, Shown};
use crate::rule::Rule;

/// Minutes for which a proposed transaction is open if the policy does not say.
pub const DEFAULT_PROPOSAL_MINUTES: u64 = 10;
/// The most such minutes: a week.
pub const MAX_PROPOSAL_MINUTES: u64 = 7 * 24 * 60;

/// What a policy asks for beyond codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// Required if so many satoshi leave the wallet.
    pub(super) from: u64,
    /// The means that count.
    pub(super) by: Vec<Shown>,
}

impl Consent {
    /// What the keys `consent_from_sat` and `consent_by` say, which belong together: a later version may have more means, and must not
    /// let them count where nobody has decided so.
    pub(super) fn parse(from: Option<u64>, by: Option<&[String]>) -> Result<Option<Consent>, PolicyError> {
        let (from, names) = match (from, by) {
            (None, None) => return Ok(None),
            (Some(from), Some(names)) if !names.is_empty() => (from, names),
            _ => return Err(PolicyError::ConsentIncomplete),
        };
        let mut by: Vec<Shown> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let offered = name.parse().ok().filter(|shown| Shown::OFFERED.contains(shown));
                offered.ok_or(PolicyError::ConsentBy { position: at + 1 })
            })
            .collect::<Result<_, _>>()?;
        by.sort_unstable();
        by.dedup();
        Ok(Some(Consent { from, by }))
    }

    /// The means that count if so many satoshi leave, or none if every means counts.
    pub(super) fn asked(&self, leaves: u64) -> Option<&[Shown]> {
        (leaves >= self.from).then_some(&self.by)
    }
}

/// `approvals` if too few users approve, and `consent` if enough do, but not by means that count.
pub(super) fn refuses_approvers(
    required: usize,
    approvers: &Approvers,
    asked: Option<&[Shown]>,
) -> Option<Rule> {
    let counted = asked.map_or(approvers.count(), |means| approvers.count_shown(means));
    match counted < required {
        false => None,
        true if counted < approvers.count() => Some(Rule::Consent),
        true => Some(Rule::Approvals),
    }
}

/// Asking from a lower amount on, or by fewer means, is stricter.
pub(super) fn compare(old: Option<&Consent>, new: Option<&Consent>) -> Direction {
    let mut direction = Direction::default();
    for leaves in [old, new].into_iter().flatten().map(|consent| consent.from).chain([0]) {
        let asked =
            |consent: Option<&Consent>| consent.and_then(|consent| consent.asked(leaves).map(<[_]>::to_vec));
        let exceeds = |one: &Option<Vec<Shown>>, other: &Option<Vec<Shown>>| match (one, other) {
            // Where nothing is asked, every means counts.
            (None, other) => other.is_some(),
            (Some(_), None) => false,
            (Some(one), Some(other)) => one.iter().any(|means| !other.contains(means)),
        };
        let (old, new) = (asked(old), asked(new));
        direction.tightens |= exceeds(&old, &new);
        direction.loosens |= exceeds(&new, &old);
    }
    direction
}

/// The minutes for which a proposed transaction is open.
pub(super) fn minutes(minutes: Option<i64>) -> Result<u64, PolicyError> {
    let Some(minutes) = minutes else { return Ok(DEFAULT_PROPOSAL_MINUTES) };
    let minutes = u64::try_from(minutes).ok().filter(|minutes| (1..=MAX_PROPOSAL_MINUTES).contains(minutes));
    minutes.ok_or(PolicyError::ProposalMinutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn consent(from: u64) -> Consent {
        Consent { from, by: vec![Shown::Device] }
    }

    #[test]
    fn an_amount_and_means_belong_together_and_unknown_means_are_refused_by_their_place() {
        assert_eq!(Consent::parse(None, None), Ok(None));
        assert_eq!(Consent::parse(Some(5), Some(&by(&["device", "device"]))), Ok(Some(consent(5))));
        let both = Some(Consent { from: 5, by: vec![Shown::Device, Shown::Desk] });
        assert_eq!(Consent::parse(Some(5), Some(&by(&["desk", "device"]))), Ok(both));
        for (from, means) in [(Some(5), None), (None, Some(by(&["device"]))), (Some(5), Some(vec![]))] {
            assert_eq!(Consent::parse(from, means.as_deref()), Err(PolicyError::ConsentIncomplete));
        }
        for unknown in ["code", "Device", "", "ticket", "passkey"] {
            let parsed = Consent::parse(Some(5), Some(&by(&["device", unknown])));
            assert_eq!(parsed, Err(PolicyError::ConsentBy { position: 2 }), "{unknown}");
        }
    }

    #[test]
    fn consent_from_its_amount_on_only_means_that_show_what_is_approved_count() {
        let consent = consent(1_000);
        let judged = |leaves, required, by: &[Option<Shown>]| {
            let approvers = Approvers::new(by.iter().copied());
            refuses_approvers(required, &approvers, consent.asked(leaves))
        };
        let (code, device) = (None, Some(Shown::Device));
        assert_eq!(judged(999, 1, &[code]), None);
        assert_eq!(judged(1_000, 1, &[code]), Some(Rule::Consent));
        assert_eq!(judged(1_000, 1, &[device]), None);
        assert_eq!(judged(1_000, 1, &[Some(Shown::Passkey)]), Some(Rule::Consent), "nobody decided so");
        assert_eq!(judged(1_000, 2, &[device]), Some(Rule::Approvals));
        assert_eq!(judged(1_000, 2, &[device, code]), Some(Rule::Consent));
        assert_eq!(judged(1_000, 2, &[device, code, device]), None);
        assert_eq!(judged(1_000, 1, &[]), Some(Rule::Approvals));
    }

    #[test]
    fn asking_for_consent_from_a_lower_amount_on_is_stricter() {
        let direction = |tightens, loosens| Direction { tightens, loosens };
        for (old, new, expected) in [
            (None, None, direction(false, false)),
            (None, Some(5), direction(true, false)),
            (Some(5), Some(0), direction(true, false)),
            (Some(5), Some(5), direction(false, false)),
            (Some(5), Some(6), direction(false, true)),
            (Some(5), None, direction(false, true)),
        ] {
            let [old_consent, new_consent] = [old, new].map(|from| from.map(consent));
            let found = compare(old_consent.as_ref(), new_consent.as_ref());
            assert_eq!(found, expected, "{old:?} → {new:?}");
        }
    }

    #[test]
    fn a_proposal_is_open_for_a_minute_to_a_week() {
        assert_eq!(minutes(None), Ok(DEFAULT_PROPOSAL_MINUTES));
        assert_eq!((minutes(Some(1)), minutes(Some(10_080))), (Ok(1), Ok(10_080)));
        for wrong in [0, -1, 10_081, i64::MAX, i64::MIN] {
            assert_eq!(minutes(Some(wrong)), Err(PolicyError::ProposalMinutes), "{wrong}");
        }
    }
}
