//! A wallet's script as options, and the reasons why the module would not register one.

use std::path::PathBuf;
use std::str::FromStr;

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use clap::{Args, ValueEnum};
use countersign::kernel::network::Network;
use countersign::kernel::policy::Policy;
use countersign::kernel::wallet::{WatchOnly, registration};

use super::registration_file;
use crate::error::CommandError;

/// The script of a new wallet.
#[derive(Args, Default)]
#[command(next_help_heading = "Script (default: a single key in P2WPKH)")]
pub(super) struct ScriptOptions {
    /// The script of a wallet with a single key
    #[arg(long, value_enum, conflicts_with_all = ["wallet_policy", "key_only"])]
    script: Option<SingleKey>,
    /// Read the wallet policy (BIP 388) or descriptor from this file; "ours" stands for the new key
    #[arg(long, value_name = "FILE", conflicts_with = "key_only")]
    wallet_policy: Option<PathBuf>,
    /// Make only the key; register the script later, once the cosigners have the key
    #[arg(long, requires = "path")]
    key_only: bool,
    /// The account's path, as in m/48'/0'/0'/2' [default: the one of BIP 44, 49, 84, 86 or 48]
    #[arg(long)]
    path: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SingleKey {
    /// P2PKH (BIP 44)
    Pkh,
    /// P2SH-P2WPKH (BIP 49)
    ShWpkh,
    /// P2WPKH (BIP 84)
    Wpkh,
    /// Taproot, key path (BIP 86)
    Tr,
}

impl ScriptOptions {
    /// The registration; `None` leaves it to the module.
    pub(super) fn registration(&self) -> Result<Option<String>, CommandError> {
        if self.key_only {
            return Ok(Some(String::new()));
        }
        if let Some(path) = &self.wallet_policy {
            return registration_file::read(path).map(Some);
        }
        let template = self.script.map(|script| match script {
            SingleKey::Pkh => "pkh(@0/**)",
            SingleKey::ShWpkh => "sh(wpkh(@0/**))",
            SingleKey::Wpkh => "wpkh(@0/**)",
            SingleKey::Tr => "tr(@0/**)",
        });
        Ok(template.map(|template| format!("{template}\n{}", registration::OURS)))
    }

    /// What to correct if the registration is refused, or none if the policy refuses it.
    pub(super) fn next(&self, reason: &str) -> Option<String> {
        if reason.starts_with("--path: ") {
            return Some("correct --path".into());
        }
        if reason.starts_with("the policy ") {
            return None;
        }
        let file = self.wallet_policy.as_ref()?;
        Some(format!("correct {}, which --wallet-policy names", file.display()))
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

/// Our key, as far as a client knows it.
pub(super) struct OurKey {
    fingerprint: Fingerprint,
    path: DerivationPath,
    xpub: Xpub,
}

impl OurKey {
    /// The key of a wallet, from what the module shows.
    pub(super) fn shown(fingerprint: &str, path: &str, xpub: &str) -> Option<OurKey> {
        Some(OurKey {
            fingerprint: Fingerprint::from_str(fingerprint).ok()?,
            path: path.parse().ok()?,
            xpub: Xpub::from_str(xpub).ok()?,
        })
    }

    /// Any key, in place of the one that the module will make.
    fn stand_in(path: DerivationPath, network: Network) -> Option<OurKey> {
        let secp = Secp256k1::new();
        let master = Xpriv::new_master(network.kind(), b"a stand-in, known to everybody").ok()?;
        let account = master.derive_priv(&secp, &path).ok()?;
        let xpub = Xpub::from_priv(&secp, &account);
        Some(OurKey { fingerprint: master.fingerprint(&secp), path, xpub })
    }
}

/// Why the module would not make a wallet with this registration and policy, if the reason is one of them.
pub(super) fn refusal_to_create(
    registration: &str,
    path: Option<&str>,
    network: &str,
    policy: &str,
) -> Option<String> {
    let network = Network::from_str(network).ok()?;
    let path = match path {
        Some(path) => registration::parse_path(path, network),
        None => registration::standard_path(registration, network),
    };
    let path = match path {
        Ok(path) => path,
        Err(error) => return Some(format!("--path: {error}")),
    };
    if registration.is_empty() {
        return None;
    }
    refusal(registration, &OurKey::stand_in(path, network)?, network, policy)
}

/// Why the module would not register this for a key, or not under this policy.
pub(super) fn refusal(registration: &str, ours: &OurKey, network: Network, policy: &str) -> Option<String> {
    let origin = (ours.fingerprint, &ours.path);
    let policy = Policy::parse(policy, network).ok()?;
    WatchOnly::register("", registration, origin, &ours.xpub, network, &Secp256k1::new())
        .and_then(|watch| {
            watch.check_spendable()?;
            watch.check_cosigner(policy.require_cosigner())?;
            watch.check_somebody_cosigns(policy.require_cosigner())
        })
        .err()
        .map(|error| error.to_string())
}
