//! The lists of scripts that a wallet may pay or must not pay.
//!
//! An entry is an address of the wallet's network, `script:` with a scriptPubKey in hex, or a descriptor with
//! public keys. A ranged descriptor stands for its indices below [`RANGE`] on each of its chains. They are
//! derived once for each opened policy, when a transaction first needs them.

use core::str::FromStr;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::OnceLock;

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Address, Script, ScriptBuf};
use miniscript::descriptor::XKeyNetwork;
use miniscript::{Descriptor, DescriptorPublicKey, ForEachKey};

use super::document::PolicyError;
use crate::network::Network;

/// The most entries of one list.
pub const MAX_ENTRIES: usize = 256;
/// The most ranged descriptors of one list.
pub const MAX_RANGED: usize = 16;
/// The listed indices of a ranged descriptor, on each chain.
pub const RANGE: u32 = 1_000;
/// The most chains of a descriptor, for example `<0;1>`. Each is derived.
const MAX_CHAINS: usize = 2;
/// The most steps of a path below an extended key. Each is derived.
const MAX_STEPS: usize = 4;
/// The longest script in bytes. Longer ones cannot be spent from (`MAX_SCRIPT_SIZE` of consensus).
const MAX_SCRIPT_LEN: usize = 10_000;

/// A list of scripts.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    entries: BTreeSet<Entry>,
    scripts: HashSet<ScriptBuf>,
    ranged: Vec<Descriptor<DescriptorPublicKey>>,
    derived: OnceLock<HashSet<ScriptBuf>>,
}

/// What an entry stands for. Two ways to write one script are one entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Script(ScriptBuf),
    /// Its chains, each as text with its checksum.
    Ranged(Vec<String>),
}

/// Derived scripts are not compared.
impl PartialEq for Listing {
    fn eq(&self, other: &Listing) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Listing {}

impl Listing {
    pub(super) fn parse(
        name: &'static str,
        texts: &[String],
        network: Network,
    ) -> Result<Listing, PolicyError> {
        if texts.len() > MAX_ENTRIES {
            return Err(PolicyError::Entries { list: name });
        }
        let (mut positions, mut chains) = (BTreeMap::new(), Vec::new());
        for (position, text) in (1..).zip(texts) {
            let refused = |problem| PolicyError::Entry { list: name, position, problem };
            let entry = match parse_entry(text, network).map_err(refused)? {
                Parsed::Script(script) => Entry::Script(script),
                Parsed::Ranged(singles) => {
                    let entry = Entry::Ranged(singles.iter().map(ToString::to_string).collect());
                    chains.push(singles);
                    entry
                }
            };
            if let Some(first) = positions.insert(entry, position) {
                return Err(refused(EntryError::Duplicate(first)));
            }
        }
        if chains.len() > MAX_RANGED {
            return Err(PolicyError::Ranged { list: name });
        }
        let entries: BTreeSet<Entry> = positions.into_keys().collect();
        let script = |entry: &Entry| match entry {
            Entry::Script(script) => Some(script.clone()),
            Entry::Ranged(_) => None,
        };
        let scripts = entries.iter().filter_map(script).collect();
        let ranged = chains.into_iter().flatten().collect();
        Ok(Listing { entries, scripts, ranged, derived: OnceLock::new() })
    }

    /// Whether `script` is listed.
    pub(super) fn has(&self, script: &Script) -> bool {
        self.scripts.contains(script)
            || (!self.ranged.is_empty() && self.derived.get_or_init(|| derive(&self.ranged)).contains(script))
    }

    /// Whether `other` lacks an entry of this list.
    pub(super) fn exceeds(&self, other: &Listing) -> bool {
        !self.entries.is_subset(&other.entries)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The problem with an entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not one of the three forms.
    #[error(
        "this is no address of {0}, no script:<hex of a scriptPubKey>, and no descriptor of public keys with at most \
         {MAX_CHAINS} chains and {MAX_STEPS} steps below each key, none hardened"
    )]
    Unreadable(&'static str),
    /// An address or extended key of another network.
    #[error("this belongs to another network: a wallet of {0} lists addresses and extended keys of {0}")]
    Network(&'static str),
    /// Listed already.
    #[error("this is the same as entry {0}")]
    Duplicate(usize),
}

enum Parsed {
    Script(ScriptBuf),
    Ranged(Vec<Descriptor<DescriptorPublicKey>>),
}

fn parse_entry(text: &str, network: Network) -> Result<Parsed, EntryError> {
    if let Some(hex) = text.strip_prefix("script:") {
        let script = ScriptBuf::from_hex(hex).ok();
        let script = script.filter(|script| (1..=MAX_SCRIPT_LEN).contains(&script.len()));
        return script.map(Parsed::Script).ok_or(EntryError::Unreadable(network.name()));
    }
    if text.contains('(') {
        return parse_descriptor(text, network);
    }
    let address = Address::<NetworkUnchecked>::from_str(text);
    let address = address.map_err(|_| EntryError::Unreadable(network.name()))?;
    let address = address.require_network(network.addresses());
    address
        .map(|address| Parsed::Script(address.script_pubkey()))
        .map_err(|_| EntryError::Network(network.name()))
}

/// The text of `miniscript`'s error is not passed on, because it may contain a private key that was listed by
/// mistake.
fn parse_descriptor(text: &str, network: Network) -> Result<Parsed, EntryError> {
    let unreadable = EntryError::Unreadable(network.name());
    let descriptor = Descriptor::<DescriptorPublicKey>::from_str(text).map_err(|_| unreadable)?;
    match descriptor.xkey_network() {
        XKeyNetwork::NoXKeys => {}
        XKeyNetwork::Single(kind) if kind == network.kind() => {}
        XKeyNetwork::Single(_) | XKeyNetwork::Mixed => return Err(EntryError::Network(network.name())),
    }
    let is_bounded = descriptor.for_each_key(|key| {
        let paths = key.derivation_paths();
        let steps = |path: &bitcoin::bip32::DerivationPath| path.len() + usize::from(key.has_wildcard());
        paths.len() <= MAX_CHAINS && paths.iter().all(|path| steps(path) <= MAX_STEPS)
    });
    if !is_bounded {
        return Err(unreadable);
    }
    let is_ranged = descriptor.has_wildcard() || descriptor.is_multipath();
    let singles = descriptor.into_single_descriptors().map_err(|_| unreadable)?;
    let secp = Secp256k1::verification_only();
    // If an index can be derived, all can. A hardened step makes it fail.
    let first = singles.iter().map(|single| single.derived_descriptor(&secp, 0));
    let mut first = first.collect::<Result<Vec<_>, _>>().map_err(|_| unreadable)?;
    match first.pop() {
        Some(definite) if !is_ranged => Ok(Parsed::Script(definite.script_pubkey())),
        _ => Ok(Parsed::Ranged(singles)),
    }
}

fn derive(ranged: &[Descriptor<DescriptorPublicKey>]) -> HashSet<ScriptBuf> {
    let secp = Secp256k1::verification_only();
    let indices = |single: &Descriptor<_>| 0..if single.has_wildcard() { RANGE } else { 1 };
    ranged
        .iter()
        .flat_map(|single| indices(single).map(move |index| (single, index)))
        .map(|(single, index)| {
            let definite = single.derived_descriptor(&secp, index);
            definite.expect("index 0 was derived when it was parsed").script_pubkey()
        })
        .collect()
}
