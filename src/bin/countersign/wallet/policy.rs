//! A wallet's policy as options: limits, a file, or `--unlimited` in so many words.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::CommandError;

/// What replaces the limits. Were they taken together, the limits would silently not count.
const OTHERS: [&str; 2] = ["policy", "unlimited"];

/// The policy. Which of them go together is said by the verb's group `limits`.
#[derive(Args, Default)]
#[command(next_help_heading = "Policy (one of --policy, the limits, or --unlimited)")]
pub(super) struct PolicyOptions {
    /// Take the policy, a TOML document, from this file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Most that one transaction may take out of the wallet, in satoshi, fee included
    #[arg(long, value_name = "N", requires = "max_fee_sat", conflicts_with_all = OTHERS)]
    max_transaction_sat: Option<u64>,
    /// Highest fee of one transaction, in satoshi
    #[arg(long, value_name = "N", requires = "max_transaction_sat", conflicts_with_all = OTHERS)]
    max_fee_sat: Option<u64>,
    /// Highest fee rate, in satoshi a virtual byte
    #[arg(long, value_name = "N", requires = "max_transaction_sat", conflicts_with_all = OTHERS)]
    max_fee_sat_per_vbyte: Option<u64>,
    /// Highest fee, in per cent of what goes to outputs that are not proved the wallet's
    #[arg(long, value_name = "N", requires = "max_transaction_sat", conflicts_with_all = OTHERS)]
    max_fee_percent: Option<u64>,
    /// No limit at all: a right code signs anything
    #[arg(long)]
    unlimited: bool,
    /// Sign only beside a valid signature of this cosigner: its master fingerprint, eight hex digits
    #[arg(long, value_name = "FINGERPRINT", requires = "limits", conflicts_with = "policy")]
    require_cosigner: Option<String>,
}

impl PolicyOptions {
    /// The TOML document that the options stand for; none if there are no options.
    pub(super) fn document(&self) -> Result<Option<String>, CommandError> {
        if let Some(path) = &self.policy {
            return read(path).map(Some);
        }
        let limits = if self.unlimited { "unlimited = true\n".into() } else { self.limits() };
        let cosigner =
            self.require_cosigner.as_ref().map(|cosigner| format!("require_cosigner = \"{cosigner}\"\n"));
        let document = limits + &cosigner.unwrap_or_default();
        Ok((!document.is_empty()).then_some(document))
    }

    fn limits(&self) -> String {
        let limits = [
            ("max_transaction_sat", self.max_transaction_sat),
            ("max_fee_sat", self.max_fee_sat),
            ("max_fee_sat_per_vbyte", self.max_fee_sat_per_vbyte),
            ("max_fee_percent", self.max_fee_percent),
        ];
        limits.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name} = {limit}\n"))).collect()
    }
}

const FILE_MAX: u64 = 64 << 10;

fn read(path: &Path) -> Result<String, CommandError> {
    let failed = |why: String| {
        CommandError::new(
            format!("the policy cannot be read from {}: {why}", path.display()),
            "check the file that --policy names",
        )
    };
    let file = std::fs::File::open(path).map_err(|reason| failed(reason.to_string()))?;
    let mut document = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut document).map_err(|reason| failed(reason.to_string()))?;
    if document.len() as u64 > FILE_MAX {
        return Err(failed("it is larger than 64 KiB".into()));
    }
    Ok(document)
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
    fn unlimited_is_said_in_so_many_words() {
        let options = PolicyOptions { unlimited: true, ..PolicyOptions::default() };
        assert_eq!(options.document().expect("no file").as_deref(), Some("unlimited = true\n"));
    }

    #[test]
    fn nothing_said_is_no_policy() {
        assert!(PolicyOptions::default().document().expect("no file").is_none());
    }

    #[test]
    fn a_missing_file_is_named() {
        let options =
            PolicyOptions { policy: Some("/nonexistent/policy.toml".into()), ..PolicyOptions::default() };
        assert!(options.document().expect_err("missing").what.contains("/nonexistent/policy.toml"));
    }
}
