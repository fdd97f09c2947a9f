//! An address of the wallet, rebuilt from the registration.

use std::sync::Arc;

use bitcoin::ScriptBuf;
use bitcoin::hashes::Hash;
use bitcoin::key::TweakedPublicKey;
use bitcoin::secp256k1::{Parity, PublicKey, Scalar, SecretKey};
use bitcoin::taproot::{TapLeafHash, TapTweakHash};
use miniscript::ForEachKey;
use miniscript::ToPublicKey;
use miniscript::descriptor::{Descriptor, TrSpendInfo};

use super::WalletError;
use super::branch::{Branch, Place, Spend, Taproot};
use super::generator;
use super::location::Location;

/// A rebuilt address of the wallet: its script, and how our keys sign for it.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Its place in the wallet.
    pub location: Location,
    /// The output's script.
    pub script_pubkey: ScriptBuf,
    /// How each of our places in the script signs: at least one, indexed by [`Place`].
    pub branches: Vec<Branch>,
    /// The leaves of its taproot tree.
    pub leaves: Vec<TapLeafHash>,
    /// The keys of all places in the script, in their order. They are derived once, whatever needs them.
    pub(super) keys: Vec<PublicKey>,
}

impl Rebuilt {
    /// How our key signs at `place`.
    pub fn branch(&self, place: Place) -> &Branch {
        &self.branches[place.0]
    }
}

/// An address that is about to be rebuilt: see [`WatchOnly::sketch`](super::watch::WatchOnly::sketch).
pub struct Sketch(pub(super) Progress);

pub(super) enum Progress {
    Begun(Location, Vec<ChildKey>),
    Rebuilt(Arc<Rebuilt>),
}

impl Sketch {
    /// Our key at `place`.
    pub fn key(&self, place: Place) -> &PublicKey {
        match &self.0 {
            Progress::Begun(_, ours) => &ours[place.number()].key,
            Progress::Rebuilt(rebuilt) => &rebuilt.branch(place).key,
        }
    }
}

impl From<Arc<Rebuilt>> for Sketch {
    fn from(rebuilt: Arc<Rebuilt>) -> Sketch {
        Sketch(Progress::Rebuilt(rebuilt))
    }
}

/// A key of ours at an address, and its difference from its parent.
#[derive(Clone, Copy)]
pub(super) struct ChildKey {
    pub(super) key: PublicKey,
    /// For the private side, which is its parent plus the same. Not a secret: anybody with the extended
    /// public key can compute it.
    pub(super) tweak: SecretKey,
}

/// The descriptor of one address, with our keys in it.
pub(super) struct Derived {
    pub(super) location: Location,
    pub(super) ours: Vec<ChildKey>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) descriptor: Descriptor<bitcoin::PublicKey>,
}

impl Derived {
    pub(super) fn rebuilt(&self) -> Result<Rebuilt, WalletError> {
        let (script_pubkey, leaves, spend_of): (_, _, Box<SpendOf<'_>>) = match &self.descriptor {
            Descriptor::Tr(tr) if tr.tap_tree().is_none() => {
                let taproot = without_tree(&tr.internal_key().inner)?;
                let script = ScriptBuf::new_p2tr_tweaked(TweakedPublicKey::dangerous_assume_tweaked(
                    taproot.output_key,
                ));
                (script, Vec::new(), Box::new(move |_| Some(Spend::KeyPath(taproot))))
            }
            Descriptor::Tr(tr) => {
                let info = tr.spend_info();
                let leaves = info.leaves().map(|leaf| leaf.leaf_hash()).collect();
                let script = ScriptBuf::new_p2tr_tweaked(info.output_key());
                (script, leaves, Box::new(move |key| taproot_spend(&info, key)))
            }
            other => {
                let code = other.script_code().map_err(|_| WalletError::Derivation)?;
                let segwit = other.desc_type().segwit_version().is_some();
                let spend = if segwit { Spend::SegwitV0(code) } else { Spend::Legacy(code) };
                (other.script_pubkey(), Vec::new(), Box::new(move |_| Some(spend.clone())))
            }
        };
        let branches = self.ours.iter().enumerate().map(|(place, ChildKey { key, tweak })| {
            let spend = spend_of(key).ok_or(WalletError::Derivation)?;
            Ok(Branch { place: Place(place), key: *key, tweak: *tweak, spend })
        });
        let branches = branches.collect::<Result<_, WalletError>>()?;
        Ok(Rebuilt { location: self.location, script_pubkey, branches, leaves, keys: self.keys.clone() })
    }
}

/// The output of a key without a tree (BIP 341, "Constructing and spending Taproot outputs"). miniscript
/// would use a multiplication here, too.
fn without_tree(internal: &PublicKey) -> Result<Taproot, WalletError> {
    let (internal_key, parity) = internal.x_only_public_key();
    let tweak = TapTweakHash::from_key_and_tweak(internal_key, None).to_byte_array();
    let tweak = SecretKey::from_slice(&tweak).map_err(|_| WalletError::Derivation)?;
    // The tweak is added to the point with the even y. Subtracting it from the odd one gives the same x.
    let tweak = if parity == Parity::Odd { tweak.negate() } else { tweak };
    let output_key = generator::add_multiple(internal, &Scalar::from(tweak))?.x_only_public_key().0;
    Ok(Taproot { internal_key, merkle_root: None, output_key })
}

/// How a key of ours is used, if it is.
type SpendOf<'a> = dyn Fn(&PublicKey) -> Option<Spend> + 'a;

/// By the key path, or for the one leaf that contains `key`: no two places have the same key.
fn taproot_spend(info: &TrSpendInfo<bitcoin::PublicKey>, key: &PublicKey) -> Option<Spend> {
    let taproot = Taproot {
        internal_key: info.internal_key(),
        merkle_root: info.merkle_root(),
        output_key: info.output_key().to_x_only_public_key(),
    };
    let key = key.x_only_public_key().0;
    if taproot.internal_key == key {
        return Some(Spend::KeyPath(taproot));
    }
    let has_key = |there: &bitcoin::PublicKey| there.to_x_only_pubkey() == key;
    let leaf = info.leaves().find(|leaf| leaf.miniscript().for_any_key(has_key))?;
    Some(Spend::ScriptPath(taproot, leaf.leaf_hash()))
}
