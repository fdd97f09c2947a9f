//! A wallet's policy as options: limits, a file, or an explicit `--unlimited`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{ArgGroup, Args};

use countersign::kernel::approval::MAX_RECORDS;
use countersign::kernel::network::Network;
use countersign::kernel::policy::{MAX_PERIOD_HOURS, MAX_PROPOSAL_MINUTES, Policy};
use countersign::kernel::wallet::WalletError;
use toml::Value;

use crate::error::CommandError;
use crate::{at_fault, policy_file};

/// The options that replace the limits. If both were accepted together, the limits would silently not apply.
const OTHERS: [&str; 2] = ["policy", "unlimited"];

/// The options of which each policy has one. The verb's group `limits` contains them. The other rules are
/// additions.
pub(super) const BASES: [&str; 4] = ["policy", "max_transaction_sat", "max_period_sat", "unlimited"];

/// The policy. Which of them go together is said by the verb's group `limits`.
#[derive(Args, Default)]
#[command(next_help_heading = "Policy (one of --policy, the limits, or --unlimited)")]
#[command(group = ArgGroup::new("amounts").args(["max_transaction_sat", "max_period_sat"]).multiple(true))]
#[command(group = ArgGroup::new("period").args(["max_period_sat", "max_period_transactions"]).multiple(true))]
pub(super) struct PolicyOptions {
    /// Read the policy, a TOML document, from this file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The most that one transaction may take out of the wallet, in satoshi, fee included
    #[arg(long, value_name = "N", requires = "max_fee_sat", conflicts_with_all = OTHERS)]
    max_transaction_sat: Option<u64>,
    /// The most that all transactions of a period may take out of the wallet, in satoshi, fees included
    #[arg(long, value_name = "N", requires = "max_fee_sat", conflicts_with_all = OTHERS)]
    max_period_sat: Option<u64>,
    /// The most transactions in a period
    #[arg(long, value_name = "N", requires = "amounts", conflicts_with_all = OTHERS)]
    max_period_transactions: Option<u32>,
    /// Length of the sliding period in hours, 1 to 168 [default: 24]
    #[arg(long, value_name = "N", requires = "period", conflicts_with_all = OTHERS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PERIOD_HOURS)))]
    period_hours: Option<u32>,
    /// The highest fee of one transaction, in satoshi
    #[arg(long, value_name = "N", requires = "amounts", conflicts_with_all = OTHERS)]
    max_fee_sat: Option<u64>,
    /// The highest fee rate, in satoshi a virtual byte
    #[arg(long, value_name = "N", requires = "amounts", conflicts_with_all = OTHERS)]
    max_fee_sat_per_vbyte: Option<u64>,
    /// The highest fee, in per cent of what goes to outputs that are not proved the wallet's or, if there are none, of what comes
    /// back to it
    #[arg(long, value_name = "N", requires = "amounts", conflicts_with_all = OTHERS)]
    max_fee_percent: Option<u64>,
    /// No limit at all: a right code signs anything
    #[arg(long, conflicts_with = "policy")]
    unlimited: bool,
    /// Pay only the wallet itself and this address, script:HEX or public descriptor; repeat for several
    #[arg(long = "allow", value_name = "WHOM", requires = "limits", conflicts_with = "policy")]
    allowlist: Vec<String>,
    /// Never pay this address, script:HEX or public descriptor, even if another rule allows it; repeat for several
    #[arg(long = "deny", value_name = "WHOM", requires = "limits", conflicts_with = "policy")]
    denylist: Vec<String>,
    /// Sign only within these hours in UTC, as in "Mon-Fri 08:00-18:00"; repeat for several
    #[arg(long = "time-window", value_name = "WINDOW", requires = "limits", conflicts_with = "policy")]
    time_windows: Vec<String>,
    /// The number of different users whose codes a signature needs, 1 to 16
    #[arg(long, value_name = "N", requires = "limits", conflicts_with = "policy")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=MAX_RECORDS as i64))]
    required_approvals: Option<u8>,
    /// If fewer satoshi than this leave the wallet, one user's code is enough
    #[arg(long, value_name = "N", requires = "required_approvals", conflicts_with = "policy")]
    approvals_from_sat: Option<u64>,
    /// If this many satoshi or more leave the wallet, users must approve what they are shown: a code that a backend brings does not count
    #[arg(long, value_name = "N", requires = "consent_by", conflicts_with = "policy")]
    consent_from_sat: Option<u64>,
    /// A means that counts then, of these: device, desk; repeat for several
    #[arg(
        long = "consent-by",
        value_name = "MEANS",
        requires = "consent_from_sat",
        conflicts_with = "policy"
    )]
    consent_by: Vec<String>,
    /// Minutes for which a proposed transaction waits for its approvals, 1 to 10080 [default: 10]
    #[arg(long, value_name = "N", requires = "limits", conflicts_with = "policy")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=MAX_PROPOSAL_MINUTES))]
    proposal_minutes: Option<u64>,
    /// Sign only after this cosigner has signed: its master fingerprint, eight hex digits
    #[arg(long, value_name = "FINGERPRINT", requires = "limits", conflicts_with = "policy")]
    require_cosigner: Option<String>,
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
        let limits = if self.unlimited { "unlimited = true\n".into() } else { self.limits() };
        let document = limits + &self.other_rules();
        policy_file::check_len(&document)?;
        Ok((!document.is_empty()).then_some(document))
    }

    fn other_rules(&self) -> String {
        let lists = [
            ("allowlist", &self.allowlist),
            ("denylist", &self.denylist),
            ("time_windows", &self.time_windows),
            ("consent_by", &self.consent_by),
        ];
        let lists: String = lists.iter().map(|(name, texts)| policy_file::list(name, texts)).collect();
        let numbers = policy_file::numbers(&[
            ("required_approvals", self.required_approvals.map(u64::from)),
            ("approvals_from_sat", self.approvals_from_sat),
            ("consent_from_sat", self.consent_from_sat),
            ("proposal_minutes", self.proposal_minutes),
        ]);
        let cosigner = self.require_cosigner.as_deref();
        let cosigner = cosigner.map(|cosigner| format!("require_cosigner = {}\n", Value::from(cosigner)));
        lists + &numbers + &cosigner.unwrap_or_default()
    }

    fn limits(&self) -> String {
        policy_file::numbers(&[
            ("max_transaction_sat", self.max_transaction_sat),
            ("max_period_sat", self.max_period_sat),
            ("max_period_transactions", self.max_period_transactions.map(u64::from)),
            ("period_hours", self.period_hours.map(u64::from)),
            ("max_fee_sat", self.max_fee_sat),
            ("max_fee_sat_per_vbyte", self.max_fee_sat_per_vbyte),
            ("max_fee_percent", self.max_fee_percent),
        ])
    }
}

/// Why the module would refuse a policy for a wallet with so many users, if the reason is one of them.
pub(super) fn refusal(document: &str, network: &str, users: usize) -> Option<String> {
    let policy = match Policy::parse(document, Network::from_str(network).ok()?) {
        Ok(policy) => policy,
        Err(error) => return Some(WalletError::Policy(error).to_string()),
    };
    let required = policy.most_approvals();
    (users < required).then(|| WalletError::TooFewUsers { required, users }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_a_document() {
        let options = PolicyOptions {
            max_transaction_sat: Some(1_000_000),
            max_fee_sat: Some(5_000),
            max_fee_percent: Some(3),
            ..PolicyOptions::default()
        };
        let document = options.document().expect("no file");
        let expected = "max_transaction_sat = 1000000\nmax_fee_sat = 5000\nmax_fee_percent = 3\n";
        assert_eq!(document.as_deref(), Some(expected));
    }

    #[test]
    fn the_option_unlimited_becomes_an_explicit_policy() {
        let options = PolicyOptions { unlimited: true, ..PolicyOptions::default() };
        assert_eq!(options.document().expect("no file").as_deref(), Some("unlimited = true\n"));
    }

    #[test]
    fn the_other_rules_are_added_to_limits_and_texts_are_quoted() {
        let options = PolicyOptions {
            max_period_sat: Some(7),
            max_period_transactions: Some(8),
            period_hours: Some(9),
            max_fee_sat: Some(5),
            allowlist: vec!["script:51".into(), "\"]\nunlimited = true#".into()],
            denylist: vec!["script:52".into()],
            time_windows: vec!["Mon-Fri 08:00-18:00".into()],
            required_approvals: Some(2),
            approvals_from_sat: Some(1_000),
            consent_from_sat: Some(2_000),
            consent_by: vec!["device".into()],
            proposal_minutes: Some(60),
            require_cosigner: Some("f5acc2fd".into()),
            ..PolicyOptions::default()
        };
        let document = options.document().expect("no file").expect("options");
        let read: toml::Table = document.parse().expect("TOML");
        let expected = toml::toml! {
            max_period_sat = 7
            max_period_transactions = 8
            period_hours = 9
            max_fee_sat = 5
            allowlist = ["script:51", "\"]\nunlimited = true#"]
            denylist = ["script:52"]
            time_windows = ["Mon-Fri 08:00-18:00"]
            required_approvals = 2
            approvals_from_sat = 1000
            consent_from_sat = 2000
            consent_by = ["device"]
            proposal_minutes = 60
            require_cosigner = "f5acc2fd"
        };
        assert_eq!(read, expected, "{document}");
        let right = PolicyOptions { allowlist: vec!["script:51".into()], ..options };
        let document = right.document().expect("no file").expect("options");
        Policy::parse(&document, Network::Regtest).expect("a policy that the module takes");
    }

    #[test]
    fn a_policy_that_says_nothing_is_refused() {
        assert!(PolicyOptions::default().document().expect("no file").is_none());
    }

    #[test]
    fn a_missing_file_is_named() {
        let options =
            PolicyOptions { policy: Some("/nonexistent/policy.toml".into()), ..PolicyOptions::default() };
        assert!(options.document().expect_err("missing").what.contains("/nonexistent/policy.toml"));
    }
}
