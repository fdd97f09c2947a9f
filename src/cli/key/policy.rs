//! A key's policy as options: the number of signatures in a period, a file, or an explicit `--unlimited`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use countersign::kernel::approval::MAX_RECORDS;
use countersign::kernel::digest_key::DigestKeyError;
use countersign::kernel::policy::{DigestPolicy, MAX_PERIOD_HOURS};

use crate::at_fault;
use crate::error::CommandError;
use crate::policy_file;

/// The options that replace the limit. If both were accepted together, the limit would silently not apply.
const OTHERS: [&str; 2] = ["policy", "unlimited"];

/// The options of which each policy has one. The verb's group `limits` contains them.
pub(super) const BASES: [&str; 3] = ["policy", "max_period_transactions", "unlimited"];

/// The policy. Which of them go together is said by the verb's group `limits`.
#[derive(Args, Default)]
#[command(next_help_heading = "Policy (one of --policy, --max-period-transactions, or --unlimited)")]
#[command(group = ArgGroup::new("base").args(BASES))]
pub(super) struct PolicyOptions {
    /// Read the policy, a TOML document, from this file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The most signatures in a period
    #[arg(long, value_name = "N", conflicts_with_all = OTHERS)]
    max_period_transactions: Option<u32>,
    /// Length of the sliding period in hours, 1 to 168 [default: 24]
    #[arg(long, value_name = "N", requires = "max_period_transactions", conflicts_with_all = OTHERS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PERIOD_HOURS)))]
    period_hours: Option<u32>,
    /// No limit at all: a right code signs any digest
    #[arg(long, conflicts_with = "policy")]
    unlimited: bool,
    /// Sign only within these hours in UTC, as in "Mon-Fri 08:00-18:00"; repeat for several
    #[arg(long = "time-window", value_name = "WINDOW", requires = "base", conflicts_with = "policy")]
    time_windows: Vec<String>,
    /// The number of different users whose codes a signature needs, 1 to 16
    #[arg(long, value_name = "N", requires = "base", conflicts_with = "policy")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=MAX_RECORDS as i64))]
    required_approvals: Option<u8>,
}

impl PolicyOptions {
    /// The file, if the policy comes from one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.policy.as_deref()
    }

    /// What to correct if the policy is refused.
    pub(super) fn next(&self, reason: &str) -> String {
        at_fault::next_for_policy(reason, self.file())
    }

    /// The TOML document for the options, or none without options.
    pub(super) fn document(&self) -> Result<Option<String>, CommandError> {
        if let Some(path) = &self.policy {
            return policy_file::read(path).map(Some);
        }
        let unlimited = if self.unlimited { "unlimited = true\n" } else { "" };
        let numbers = policy_file::numbers(&[
            ("max_period_transactions", self.max_period_transactions.map(u64::from)),
            ("period_hours", self.period_hours.map(u64::from)),
            ("required_approvals", self.required_approvals.map(u64::from)),
        ]);
        let document = [unlimited, &numbers, &policy_file::list("time_windows", &self.time_windows)].concat();
        policy_file::check_len(&document)?;
        Ok((!document.is_empty()).then_some(document))
    }
}

/// Why the module would refuse a policy for a key with so many users, if the reason is one of them.
pub(super) fn refusal(document: &str, users: usize) -> Option<String> {
    let policy = match DigestPolicy::parse(document) {
        Ok(policy) => policy,
        Err(error) => return Some(DigestKeyError::Policy(error).to_string()),
    };
    let required = policy.required_approvals();
    (users < required).then(|| DigestKeyError::TooFewUsers { required, users }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_a_document_that_the_module_takes() {
        let options = PolicyOptions {
            max_period_transactions: Some(5),
            period_hours: Some(12),
            time_windows: vec!["Mon-Fri 08:00-18:00".into()],
            required_approvals: Some(2),
            ..PolicyOptions::default()
        };
        let document = options.document().expect("no file").expect("options");
        let read: toml::Table = document.parse().expect("TOML");
        let expected = toml::toml! {
            max_period_transactions = 5
            period_hours = 12
            required_approvals = 2
            time_windows = ["Mon-Fri 08:00-18:00"]
        };
        assert_eq!(read, expected, "{document}");
        assert_eq!(refusal(&document, 2), None);
        assert!(refusal(&document, 1).expect("too few").contains("2 users"));
        assert!(
            refusal("max_fee_sat = 1\nunlimited = true", 1).expect("not of digests").contains("max_fee_sat")
        );
    }

    #[test]
    fn unlimited_must_be_explicit_and_an_empty_policy_is_refused() {
        let options = PolicyOptions { unlimited: true, ..PolicyOptions::default() };
        assert_eq!(options.document().expect("no file").as_deref(), Some("unlimited = true\n"));
        assert!(PolicyOptions::default().document().expect("no file").is_none());
    }
}
