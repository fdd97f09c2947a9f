//! Hints for a person about a PSBT that claims our keys wrongly, or leaves out optional fields. Nothing is
//! decided here.

use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint};
use bitcoin::{Script, XOnlyPublicKey};

use super::claims::{Derivations, TapDerivations};
use super::decode::Decoded;
use super::layout::Layout;
use super::ownership::shown;
use super::{PsbtError, decode, refuse};
use crate::rule::Rule;
use crate::wallet::{Chain, Location, WatchOnly};

/// The number of maps that are searched, and of keys in each: a person needs one that is wrong, and a machine
/// could send thousands. Only our own keys are derived for each.
/// our own keys are derived, and nobody else's.
const MAPS: usize = 8;
const KEYS: usize = 20;

/// A key of ours that is listed under another master fingerprint.
struct Misnamed {
    fingerprint: Fingerprint,
    path: String,
    location: Location,
}

/// The refusal of a PSBT of which no input is proved ours: `no-input-of-ours`, with what is there instead.
pub(super) fn no_input_of_ours(psbt: &Decoded<'_>, wallet: &WatchOnly) -> PsbtError {
    let ours = wallet.master_fingerprint();
    let inputs = (0..psbt.transaction.input.len().min(MAPS))
        .filter_map(|index| Some((index, psbt.input(index).ok()?)));
    let mut named: Vec<Fingerprint> = Vec::new();
    for (index, input) in inputs {
        let keys = Keys { plain: &input.bip32_derivation, tap: &input.tap_key_origins };
        if let Some(Misnamed { fingerprint, path, .. }) = keys.misnamed(wallet) {
            return refuse(
                Rule::NoInputOfOurs,
                format!(
                    "input {index} has a key of this wallet, but names it {path} of {fingerprint}, and this wallet is {ours}: \
                     give the wallet software our key with its origin, [{ours}/{}]",
                    wallet.account_path()
                ),
            );
        }
        named.extend(keys.iter().map(|(_, fingerprint, _)| fingerprint));
    }
    named.sort_unstable();
    named.dedup();
    named.truncate(KEYS);
    let detail = if named.is_empty() {
        "no input is proved to be this wallet's: have the wallet add its bip32_derivation or tap_key_origins"
            .into()
    } else {
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        format!(
            "the inputs name keys of {}, and this wallet is {ours}: they belong to another wallet",
            named.join(", ")
        )
    };
    refuse(Rule::NoInputOfOurs, detail)
}

/// Hints about `bytes` in addition to the refusal: inputs and outputs of `wallet` that name its key wrongly,
/// and so count as foreign, and outputs that lack a script that follows from the rest.
pub fn hints(bytes: &[u8], wallet: &WatchOnly) -> Vec<String> {
    let Ok(layout) = Layout::take(bytes) else { return Vec::new() };
    let Ok(psbt) = decode::decode(bytes, &layout) else { return Vec::new() };
    let ours = wallet.master_fingerprint();
    let misnamed = |side: &str, index: usize, misnamed: &Misnamed, counts: &str| {
        let Misnamed { fingerprint, path, location: Location { chain, index: address } } = misnamed;
        let chain = if *chain == Chain::External { "external" } else { "internal" };
        format!(
            "{side} {index} is this wallet's ({chain} {address}), but names its key {path} of {fingerprint}, and this wallet is \
             {ours}: {counts}"
        )
    };
    let mut hints = Vec::new();
    for index in 0..psbt.transaction.input.len().min(MAPS) {
        let Ok(input) = psbt.input(index) else { continue };
        let keys = Keys { plain: &input.bip32_derivation, tap: &input.tap_key_origins };
        let found = keys.misnamed(wallet);
        hints.extend(found.map(|found| {
            misnamed("input", index, &found, "it is not signed, and all that goes in counts as leaving")
        }));
    }
    for (index, paid) in psbt.transaction.output.iter().enumerate().take(MAPS) {
        let Ok(output) = psbt.output(index) else { continue };
        let keys = Keys { plain: &output.bip32_derivation, tap: &output.tap_key_origins };
        let is_paid = |found: &Misnamed| {
            wallet.rebuild(found.location).is_ok_and(|rebuilt| rebuilt.script_pubkey == paid.script_pubkey)
        };
        let found = keys.misnamed(wallet).filter(is_paid);
        hints.extend(found.map(|found| misnamed("output", index, &found, "it counts as spent")));
        let names_us = keys.iter().any(|(_, fingerprint, _)| fingerprint == ours);
        if names_us && output.redeem_script.is_none() && needs_redeem_script(&paid.script_pubkey, wallet) {
            hints.push(format!(
                "output {index} has no redeem_script, which other signers may want: we derive it"
            ));
        }
    }
    hints
}

fn needs_redeem_script(paid: &Script, wallet: &WatchOnly) -> bool {
    paid.is_p2sh() && wallet.descriptor().starts_with("sh(")
}

/// The keys in one map.
struct Keys<'a> {
    plain: &'a Derivations,
    tap: &'a TapDerivations,
}

impl<'a> Keys<'a> {
    fn iter(&self) -> impl Iterator<Item = (XOnlyPublicKey, Fingerprint, &'a DerivationPath)> + use<'a> {
        let plain = self
            .plain
            .iter()
            .map(|(key, (fingerprint, path))| (key.x_only_public_key().0, *fingerprint, path));
        plain
            .chain(self.tap.iter().map(|(key, (_, (fingerprint, path)))| (*key, *fingerprint, path)))
            .take(KEYS)
    }

    /// A key of ours that is listed under another fingerprint, or without an account path, as software lists
    /// it that got the extended key without its origin.
    fn misnamed(&self, wallet: &WatchOnly) -> Option<Misnamed> {
        let ours = wallet.master_fingerprint();
        self.iter().filter(|(_, fingerprint, _)| *fingerprint != ours).find_map(|(key, fingerprint, path)| {
            let steps: &[ChildNumber] = path.as_ref();
            let behind_account = steps.get(steps.len().checked_sub(2)?..)?;
            let whole: Vec<ChildNumber> =
                wallet.account_path().into_iter().chain(behind_account).copied().collect();
            let (place, location) = wallet.locate_key(&whole).ok()?;
            let sketch = wallet.sketch(location).ok()?;
            let is_ours = sketch.key(place).x_only_public_key().0 == key;
            is_ours.then(|| Misnamed { fingerprint, path: shown(path), location })
        })
    }
}
