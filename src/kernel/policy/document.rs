//! The TOML document that holds a policy.

use core::str::FromStr;

use bitcoin::bip32::Fingerprint;
use serde::Deserialize;

use super::consent::{self, Consent, MAX_PROPOSAL_MINUTES};
use super::hours::{MAX_WINDOWS, TimeWindows};
use super::limits::{Approvals, DEFAULT_PERIOD_HOURS, Limits, MAX_PERIOD_HOURS, PeriodLimits};
use super::listing::{EntryError, Listing, MAX_ENTRIES, MAX_RANGED};
use super::{DigestPolicy, Policy};
use crate::approval::MAX_RECORDS;
use crate::document::{self, DocumentError};
use crate::factor::Shown;
use crate::network::Network;

/// The reason why a document is no policy. The texts contain nothing of the document except names of keys, numbers
/// and the positions of its entries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error(transparent)]
    Toml(#[from] DocumentError),
    /// Neither limits nor `unlimited = true`.
    #[error("set max_fee_sat with max_transaction_sat or max_period_sat or both, or unlimited = true")]
    Incomplete,
    /// Both limits and `unlimited = true`.
    #[error("unlimited = true excludes limits of amounts, fees and periods: remove one or the other")]
    UnlimitedWithLimits,
    /// A policy for digests that neither counts nor says that it does not.
    #[error("set max_period_transactions, which counts each signature of a digest, or unlimited = true")]
    DigestIncomplete,
    /// A key that a policy for digests cannot enforce.
    #[error(
        "{key} needs a transaction, and nobody knows what a digest moves: a key that signs digests is limited by \
         max_period_transactions, period_hours, time_windows and required_approvals"
    )]
    NotOfDigests {
        /// The key.
        key: &'static str,
    },
    /// An empty period.
    #[error(
        "period_hours is the length of a limit's period: set max_period_sat or max_period_transactions, too"
    )]
    PeriodWithoutLimit,
    /// A period out of range.
    #[error("period_hours is 1 to {MAX_PERIOD_HOURS}")]
    Period,
    /// Not a master fingerprint.
    #[error("require_cosigner is a master fingerprint: eight hex digits in quotes")]
    Cosigner,
    /// Too many or too few approvals.
    #[error("required_approvals is 1 to {MAX_RECORDS}")]
    Approvals,
    /// An amount below which less is required, without such a requirement.
    #[error(
        "approvals_from_sat is the amount from which approvals are required: set required_approvals, too"
    )]
    ApprovalsFrom,
    /// One of two keys that belong together.
    #[error(
        "consent_from_sat is the amount from which users approve what they are shown, and consent_by the means that count, as in [\"device\"]: set both"
    )]
    ConsentIncomplete,
    /// No means that this version has.
    #[error("consent_by, entry {position}: the means that show what is approved are {}", Shown::OFFERED.map(Shown::name).join(", "))]
    ConsentBy {
        /// The entry, counted from 1.
        position: usize,
    },
    /// A time that is too short or too long.
    #[error("proposal_minutes is 1 to {MAX_PROPOSAL_MINUTES}")]
    ProposalMinutes,
    /// Too long a list.
    #[error("{list} has at most {MAX_ENTRIES} entries")]
    Entries {
        /// The key.
        list: &'static str,
    },
    /// Too many ranged descriptors.
    #[error("{list} has at most {MAX_RANGED} ranged descriptors")]
    Ranged {
        /// The key.
        list: &'static str,
    },
    /// An entry that cannot be listed.
    #[error("{list}, entry {position}: {problem}")]
    Entry {
        /// The key.
        list: &'static str,
        /// The entry, counted from 1.
        position: usize,
        /// The problem.
        problem: EntryError,
    },
    /// No time window, or too many.
    #[error("time_windows has 1 to {MAX_WINDOWS} entries; without the key the wallet signs at any time")]
    TimeWindows,
    /// A time window that cannot be read.
    #[error(
        "time_windows, entry {position}: a window is as in \"Mon-Fri 08:00-18:00\", \"Sun 10:00-12:00\" or \
         \"22:00-24:00\", in UTC, and ends on the day it begins"
    )]
    TimeWindow {
        /// The entry, counted from 1.
        position: usize,
    },
}

impl Policy {
    /// Parses the TOML document of a wallet of `network`.
    pub fn parse(document: &str, network: Network) -> Result<Policy, PolicyError> {
        let keys = Keys::read(document)?;
        let listing = |name, texts: Option<&Vec<String>>| {
            texts.map(|texts| Listing::parse(name, texts, network)).transpose()
        };
        Ok(Policy {
            limits: keys.limits()?,
            allowlist: listing("allowlist", keys.allowlist.as_ref())?,
            denylist: listing("denylist", keys.denylist.as_ref())?,
            time_windows: keys.time_windows.as_deref().map(TimeWindows::parse).transpose()?,
            approvals: keys.approvals()?,
            consent: Consent::parse(keys.consent_from_sat, keys.consent_by.as_deref())?,
            proposal_minutes: consent::minutes(keys.proposal_minutes)?,
            require_cosigner: keys.require_cosigner.as_deref().map(parse_fingerprint).transpose()?,
        })
    }
}

impl DigestPolicy {
    /// Parses the TOML document of a key that signs digests.
    pub fn parse(document: &str) -> Result<DigestPolicy, PolicyError> {
        let keys = Keys::read(document)?;
        if let Some(key) = keys.of_transactions() {
            return Err(PolicyError::NotOfDigests { key });
        }
        let is_counted = keys.max_period_transactions.is_some();
        match keys.unlimited == Some(true) {
            true if is_counted || keys.period_hours.is_some() => {
                return Err(PolicyError::UnlimitedWithLimits);
            }
            false if !is_counted => return Err(PolicyError::DigestIncomplete),
            _ => {}
        }
        Ok(DigestPolicy {
            period: keys.period()?,
            time_windows: keys.time_windows.as_deref().map(TimeWindows::parse).transpose()?,
            approvals: keys.approvals()?,
        })
    }
}

/// Eight hex digits.
fn parse_fingerprint(text: &str) -> Result<Fingerprint, PolicyError> {
    Fingerprint::from_str(text).map_err(|_| PolicyError::Cosigner)
}

/// The keys whose values differ between two documents, in the order of the documentation. If a document
/// cannot be read, all keys differ.
pub fn changed_keys(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (Keys::read(old).ok(), Keys::read(new).ok());
    let values = |keys: Option<&Keys>| keys.map(Keys::values);
    let (old, new) = (values(old.as_ref()), values(new.as_ref()));
    let differs = |index: usize| match (&old, &new) {
        (Some(old), Some(new)) => old[index] != new[index],
        _ => true,
    };
    Keys::NAMES
        .iter()
        .enumerate()
        .filter(|(index, _)| differs(*index))
        .map(|(_, name)| (*name).into())
        .collect()
}

/// One thing in which two policies differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: &'static str,
    /// What it says in the old one, or the entry that is in the old one alone; none where there is none.
    pub old: Option<String>,
    /// The same of the new one.
    pub new: Option<String>,
}

/// In what two policies differ, in the order of the documentation, lists entry by entry. `None` where one of them cannot be read.
pub fn differences(old: &str, new: &str) -> Option<Vec<Difference>> {
    let (old, new) = (Keys::read(old).ok()?, Keys::read(new).ok()?);
    let mut found = Vec::new();
    for (key, values) in Keys::NAMES.into_iter().zip(old.values().into_iter().zip(new.values())) {
        let mut tell = |old, new| found.push(Difference { key, old, new });
        match values {
            (old, new) if old == new => {}
            (Some(Value::List(old)), Some(Value::List(new))) => {
                let only_in = |one: &[String], other: &[String]| -> Vec<String> {
                    one.iter().filter(|entry| !other.contains(entry)).cloned().collect()
                };
                only_in(&old, &new).into_iter().for_each(|entry| tell(Some(entry), None));
                only_in(&new, &old).into_iter().for_each(|entry| tell(None, Some(entry)));
            }
            (old, new) => {
                // Whether there is a list is another thing than what is on it.
                tell(old.as_ref().map(Value::summary), new.as_ref().map(Value::summary));
                old.into_iter().flat_map(Value::entries).for_each(|entry| tell(Some(entry), None));
                new.into_iter().flat_map(Value::entries).for_each(|entry| tell(None, Some(entry)));
            }
        }
    }
    Some(found)
}

/// What one key says.
#[derive(PartialEq, Eq)]
enum Value {
    One(String),
    List(Vec<String>),
}

impl Value {
    fn summary(&self) -> String {
        match self {
            Value::One(value) => value.clone(),
            Value::List(entries) => format!("a list of {}", entries.len()),
        }
    }

    fn entries(self) -> Vec<String> {
        match self {
            Value::One(_) => vec![],
            Value::List(entries) => entries,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    unlimited: Option<bool>,
    max_transaction_sat: Option<u64>,
    max_period_sat: Option<u64>,
    max_period_transactions: Option<u32>,
    period_hours: Option<i64>,
    max_fee_sat: Option<u64>,
    max_fee_sat_per_vbyte: Option<u64>,
    max_fee_percent: Option<u64>,
    allowlist: Option<Vec<String>>,
    denylist: Option<Vec<String>>,
    time_windows: Option<Vec<String>>,
    required_approvals: Option<i64>,
    approvals_from_sat: Option<u64>,
    consent_from_sat: Option<u64>,
    consent_by: Option<Vec<String>>,
    proposal_minutes: Option<i64>,
    require_cosigner: Option<String>,
}

impl Keys {
    const NAMES: [&'static str; 17] = [
        "unlimited",
        "denylist",
        "allowlist",
        "max_transaction_sat",
        "max_fee_sat",
        "max_fee_sat_per_vbyte",
        "max_fee_percent",
        "time_windows",
        "required_approvals",
        "approvals_from_sat",
        "consent_from_sat",
        "consent_by",
        "proposal_minutes",
        "max_period_sat",
        "max_period_transactions",
        "period_hours",
        "require_cosigner",
    ];

    /// The values in the order of their names, for comparison.
    fn values(&self) -> [Option<Value>; 17] {
        // Every key by name, so that a new one does not compile until it is added here.
        let Keys {
            unlimited,
            max_transaction_sat,
            max_period_sat,
            max_period_transactions,
            period_hours,
            max_fee_sat,
            max_fee_sat_per_vbyte,
            max_fee_percent,
            allowlist,
            denylist,
            time_windows,
            required_approvals,
            approvals_from_sat,
            consent_from_sat,
            consent_by,
            proposal_minutes,
            require_cosigner,
        } = self;
        fn one(value: &Option<impl ToString>) -> Option<Value> {
            value.as_ref().map(|value| Value::One(value.to_string()))
        }
        fn list(value: &Option<Vec<String>>) -> Option<Value> {
            value.clone().map(Value::List)
        }
        [
            one(unlimited),
            list(denylist),
            list(allowlist),
            one(max_transaction_sat),
            one(max_fee_sat),
            one(max_fee_sat_per_vbyte),
            one(max_fee_percent),
            list(time_windows),
            one(required_approvals),
            one(approvals_from_sat),
            one(consent_from_sat),
            list(consent_by),
            one(proposal_minutes),
            one(max_period_sat),
            one(max_period_transactions),
            one(period_hours),
            one(require_cosigner),
        ]
    }

    fn read(document: &str) -> Result<Keys, PolicyError> {
        Ok(document::read(document)?)
    }

    /// A key that makes sense only for a transaction, if there is one.
    fn of_transactions(&self) -> Option<&'static str> {
        // Every key by name, so that a new one does not compile until its needs are stated here.
        let Keys {
            unlimited: _,
            max_transaction_sat,
            max_period_sat,
            max_period_transactions: _,
            period_hours: _,
            max_fee_sat,
            max_fee_sat_per_vbyte,
            max_fee_percent,
            allowlist,
            denylist,
            time_windows: _,
            required_approvals: _,
            approvals_from_sat,
            consent_from_sat,
            consent_by,
            proposal_minutes,
            require_cosigner,
        } = self;
        [
            ("max_transaction_sat", max_transaction_sat.is_some()),
            ("max_period_sat", max_period_sat.is_some()),
            ("max_fee_sat", max_fee_sat.is_some()),
            ("max_fee_sat_per_vbyte", max_fee_sat_per_vbyte.is_some()),
            ("max_fee_percent", max_fee_percent.is_some()),
            ("allowlist", allowlist.is_some()),
            ("denylist", denylist.is_some()),
            ("approvals_from_sat", approvals_from_sat.is_some()),
            ("consent_from_sat", consent_from_sat.is_some()),
            ("consent_by", consent_by.is_some()),
            ("proposal_minutes", proposal_minutes.is_some()),
            ("require_cosigner", require_cosigner.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_there)| is_there.then_some(key))
    }

    fn limits(&self) -> Result<Option<Limits>, PolicyError> {
        let amounts = [
            self.max_transaction_sat,
            self.max_period_sat,
            self.max_fee_sat,
            self.max_fee_sat_per_vbyte,
            self.max_fee_percent,
        ];
        let is_limited = amounts.iter().any(Option::is_some)
            || self.max_period_transactions.is_some()
            || self.period_hours.is_some();
        match (self.unlimited == Some(true), is_limited) {
            (true, true) => return Err(PolicyError::UnlimitedWithLimits),
            (true, false) => return Ok(None),
            (false, _) => {}
        }
        let period = self.period()?;
        let max_fee = self.max_fee_sat.ok_or(PolicyError::Incomplete)?;
        if self.max_transaction_sat.is_none() && self.max_period_sat.is_none() {
            return Err(PolicyError::Incomplete);
        }
        Ok(Some(Limits {
            max_transaction: self.max_transaction_sat,
            max_fee,
            max_feerate: self.max_fee_sat_per_vbyte,
            max_fee_percent: self.max_fee_percent,
            period,
        }))
    }

    fn period(&self) -> Result<PeriodLimits, PolicyError> {
        let hours = self.period_hours.map_or(Some(DEFAULT_PERIOD_HOURS), |hours| {
            u32::try_from(hours).ok().filter(|hours| (1..=MAX_PERIOD_HOURS).contains(hours))
        });
        let hours = hours.ok_or(PolicyError::Period)?;
        let period = PeriodLimits {
            max_sat: self.max_period_sat,
            max_transactions: self.max_period_transactions,
            hours,
        };
        if self.period_hours.is_some() && period.max_sat.is_none() && period.max_transactions.is_none() {
            return Err(PolicyError::PeriodWithoutLimit);
        }
        Ok(period)
    }

    fn approvals(&self) -> Result<Approvals, PolicyError> {
        let Some(required) = self.required_approvals else {
            return match self.approvals_from_sat {
                None => Ok(Approvals::ONE),
                Some(_) => Err(PolicyError::ApprovalsFrom),
            };
        };
        let required = usize::try_from(required).ok().filter(|required| (1..=MAX_RECORDS).contains(required));
        let required = required.ok_or(PolicyError::Approvals)?;
        Ok(Approvals { required, from: self.approvals_from_sat.unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(old: &str, new: &str) -> Vec<(&'static str, Option<String>, Option<String>)> {
        let rows = differences(old, new).expect("both read");
        rows.into_iter().map(|Difference { key, old, new }| (key, old, new)).collect()
    }

    #[test]
    fn two_policies_differ_rule_by_rule_and_their_lists_entry_by_entry() {
        let some = |text: &str| Some(text.to_owned());
        let old = "max_fee_sat = 5_000\nmax_transaction_sat = 7\nallowlist = [\"a\", \"b\"]\nrequire_cosigner = \"00000001\"";
        let new = "max_fee_sat = 5000 # as before\nmax_period_sat = 8\nallowlist = [\"c\", \"b\"]\ndenylist = [\"d\"]\ntime_windows = []";
        assert_eq!(
            rows(old, new),
            [
                ("denylist", None, some("a list of 1")),
                ("denylist", None, some("d")),
                ("allowlist", some("a"), None),
                ("allowlist", None, some("c")),
                ("max_transaction_sat", some("7"), None),
                ("time_windows", None, some("a list of 0")),
                ("max_period_sat", None, some("8")),
                ("require_cosigner", some("00000001"), None),
            ]
        );
        assert_eq!(rows(new, new), []);
        assert_eq!(rows("allowlist = [\"a\", \"b\"]", "allowlist = [\"b\", \"a\"]"), [], "in another order");
        assert_eq!(differences("[", new), None);
        assert_eq!(differences(old, "no_such_key = 1"), None);
    }

    #[test]
    fn the_keys_that_differ_are_those_of_the_differences() {
        let (old, new) = ("max_fee_sat = 1\nallowlist = []", "max_fee_sat = 2\nunlimited = false");
        let keys: Vec<_> = rows(old, new).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(changed_keys(old, new), keys);
    }
}
