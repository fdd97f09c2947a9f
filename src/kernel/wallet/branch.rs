//! Branches: the places of our key in a script, and which of them a transaction can spend by (BIP 388,
//! "Wallet policy").
//!
//! One key may be in several branches, at disjoint derivations: for example with the user at once, and with
//! the heirs after a timelock. Each place has its own key at each address, and signs for itself.

use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitcoin::taproot::{TapLeafHash, TapNodeHash};
use bitcoin::{ScriptBuf, Sequence, XOnlyPublicKey, absolute, relative, transaction};
use miniscript::MiniscriptKey;
use miniscript::policy::semantic::Policy as Semantic;

/// One of the places of our key in the script, counted from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(pub(super) usize);

impl Place {
    /// Its number, counted from 0.
    pub fn number(self) -> usize {
        self.0
    }
}

/// How our key signs for an address at one of its places.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The place.
    pub place: Place,
    /// Our key there.
    pub key: PublicKey,
    /// What must be added to the chain's node, on either side, to get the key (BIP 32).
    pub(crate) tweak: SecretKey,
    /// How it signs.
    pub spend: Spend,
}

/// How an input of the wallet is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spend {
    /// ECDSA over the legacy hash of this script.
    Legacy(ScriptBuf),
    /// ECDSA over the hash of BIP 143 for this script code.
    SegwitV0(ScriptBuf),
    /// Schnorr with the tweaked key (BIP 341, "Spending using the key path").
    KeyPath(Taproot),
    /// Schnorr for the leaf that our key is in (BIP 342).
    ScriptPath(Taproot, TapLeafHash),
}

/// The taproot output of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taproot {
    /// The internal key.
    pub internal_key: XOnlyPublicKey,
    /// The root of the script tree, if there is one.
    pub merkle_root: Option<TapNodeHash>,
    /// The tweaked internal key, which the output shows.
    pub output_key: XOnlyPublicKey,
}

/// The facts that decide whether the timelocks of a script have passed for an input (BIP 65, BIP 68, BIP
/// 112).
#[derive(Clone, Copy, Debug)]
pub struct Locks {
    /// The version of the transaction.
    pub version: transaction::Version,
    /// Its lock time.
    pub lock_time: absolute::LockTime,
    /// The sequence of the input.
    pub sequence: Sequence,
}

impl Locks {
    fn older(&self, age: relative::LockTime) -> bool {
        self.version >= transaction::Version::TWO && age.is_implied_by_sequence(self.sequence)
    }

    fn after(&self, time: absolute::LockTime) -> bool {
        self.sequence != Sequence::MAX && time.is_implied_by(self.lock_time)
    }
}

/// Whether the signature of `key` can be part of satisfying `policy` under `locks`.
pub(super) fn uses<K: MiniscriptKey>(policy: &Semantic<K>, key: K, locks: &Locks) -> bool {
    let mut ways = vec![policy];
    // A branch counts only if all branches around it can be satisfied, together with as many others as they
    // need.
    while let Some(policy) = ways.pop() {
        match policy {
            Semantic::Key(there) if *there == key => return true,
            Semantic::Thresh(branches) => {
                let open: Vec<_> =
                    branches.iter().map(AsRef::as_ref).filter(|branch| is_open(branch, locks)).collect();
                if open.len() >= branches.k() {
                    ways.extend(open);
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether all keys and preimages together can satisfy `policy` under `locks`.
fn is_open<K: MiniscriptKey>(policy: &Semantic<K>, locks: &Locks) -> bool {
    match policy {
        Semantic::Unsatisfiable => false,
        Semantic::Older(age) => locks.older((*age).into()),
        Semantic::After(time) => locks.after((*time).into()),
        Semantic::Thresh(branches) => {
            branches.iter().filter(|branch| is_open(branch, locks)).count() >= branches.k()
        }
        Semantic::Trivial
        | Semantic::Key(_)
        | Semantic::Sha256(_)
        | Semantic::Hash256(_)
        | Semantic::Ripemd160(_)
        | Semantic::Hash160(_) => true,
    }
}
