//! The weight of a satisfied input, for the caps on the feerate.
//!
//! The size of an unsigned input depends on how it will be spent. A cap on the feerate must assume the
//! smallest way, because a larger one would let more fee pass.

use bitcoin::absolute;
use bitcoin::hashes::{hash160, ripemd160, sha256};
use bitcoin::relative;
use bitcoin::secp256k1::{ecdsa, schnorr};
use bitcoin::sighash::{EcdsaSighashType, TapSighashType};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{VarInt, Witness};
use miniscript::{Descriptor, Preimage32, Satisfier, hash256};

use super::branch::{Branch, Spend};
use super::rebuilt::Rebuilt;

/// Weight units of the smallest way to satisfy `descriptor` that includes our signature, or `None` if none is
/// found.
pub(super) fn least(descriptor: &Descriptor<bitcoin::PublicKey>, ours: &Rebuilt) -> Option<u64> {
    let ways = [false, true].map(|waits| way_with_us(descriptor, ours, waits));
    let with_us = ways.iter().flatten().filter(|way| way.is_ours).map(|way| way.weight).min();
    with_us.or_else(|| ways.iter().flatten().map(|way| way.weight).next())
}

/// A way to satisfy an input.
struct Way {
    weight: u64,
    /// Our signature is part of it.
    is_ours: bool,
}

/// The smallest way. If it does not include us, a way without the signature of one of those that it includes.
fn way_with_us(descriptor: &Descriptor<bitcoin::PublicKey>, ours: &Rebuilt, waits: bool) -> Option<Way> {
    let first = way(descriptor, &Signatures { ours, waits, without: None })?;
    if first.is_ours {
        return Some(first);
    }
    descriptor
        .iter_pk()
        .take(MAX_TRIED)
        .filter_map(|key| way(descriptor, &Signatures { ours, waits, without: Some(key) }))
        .filter(|way| way.is_ours)
        .min_by_key(|way| way.weight)
        .or(Some(first))
}

fn way(descriptor: &Descriptor<bitcoin::PublicKey>, signatures: &Signatures<'_>) -> Option<Way> {
    let (witness, script_sig) = descriptor.get_satisfaction(signatures).ok()?;
    let has_ours = |bytes: &[u8]| bytes.windows(OURS.len()).any(|window| window == OURS);
    let is_ours = witness.iter().any(|item| has_ours(item)) || has_ours(script_sig.as_bytes());
    let script_sig = VarInt::from(script_sig.len()).size() - 1 + script_sig.len();
    // The count of an empty witness is part of every input (BIP 144).
    let witness = Witness::from_slice(&witness).size() - 1;
    Some(Way { weight: u64::try_from(4 * script_sig + witness).ok()?, is_ours })
}

/// Half of the signature that stands for ours, and of the one that stands for all others.
const OURS: [u8; 32] = [1; 32];
const OTHERS: [u8; 32] = [2; 32];
/// Other keys that are left out, one at a time: as many as a multisig can have.
const MAX_TRIED: usize = 20;

/// Signatures of the shortest length (low-R, low-S) of everybody but one, in the way that we sign.
struct Signatures<'a> {
    ours: &'a Rebuilt,
    waits: bool,
    without: Option<bitcoin::PublicKey>,
}

impl Signatures<'_> {
    /// `None` for the one who does not sign.
    fn half(&self, key: &bitcoin::PublicKey) -> Option<[u8; 32]> {
        let x_only = |key: &bitcoin::secp256k1::PublicKey| key.x_only_public_key().0;
        let is_ours = self.ours.branches.iter().any(|branch| x_only(&branch.key) == x_only(&key.inner));
        (self.without != Some(*key) || is_ours).then_some(if is_ours { OURS } else { OTHERS })
    }

    fn schnorr(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::taproot::Signature> {
        let signature = schnorr::Signature::from_slice(&self.half(key)?.repeat(2)).ok()?;
        Some(bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default })
    }
}

impl Satisfier<bitcoin::PublicKey> for &Signatures<'_> {
    fn lookup_ecdsa_sig(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::ecdsa::Signature> {
        let signature = ecdsa::Signature::from_compact(&self.half(key)?.repeat(2)).ok()?;
        Some(bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All })
    }

    fn lookup_tap_key_spend_sig(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::taproot::Signature> {
        let by_key_path = |branch: &Branch| matches!(branch.spend, Spend::KeyPath(_));
        self.ours.branches.iter().any(by_key_path).then(|| self.schnorr(key)).flatten()
    }

    fn lookup_tap_leaf_script_sig(
        &self,
        key: &bitcoin::PublicKey,
        leaf: &TapLeafHash,
    ) -> Option<bitcoin::taproot::Signature> {
        let for_leaf = |branch: &Branch| matches!(&branch.spend, Spend::ScriptPath(_, ours) if ours == leaf);
        self.ours.branches.iter().any(for_leaf).then(|| self.schnorr(key)).flatten()
    }

    fn lookup_sha256(&self, _: &sha256::Hash) -> Option<Preimage32> {
        Some([0; 32])
    }

    fn lookup_hash256(&self, _: &hash256::Hash) -> Option<Preimage32> {
        Some([0; 32])
    }

    fn lookup_ripemd160(&self, _: &ripemd160::Hash) -> Option<Preimage32> {
        Some([0; 32])
    }

    fn lookup_hash160(&self, _: &hash160::Hash) -> Option<Preimage32> {
        Some([0; 32])
    }

    fn check_older(&self, _: relative::LockTime) -> bool {
        self.waits
    }

    fn check_after(&self, _: absolute::LockTime) -> bool {
        self.waits
    }
}

#[cfg(test)]
mod tests {
    use core::str::FromStr;

    use super::*;
    use bitcoin::secp256k1::SecretKey;

    use crate::wallet::{Chain, Location, Place, Taproot};

    const OURS: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    const A: &str = "03f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9";
    const B: &str = "02e493dbf1c10d80f3581e4904930b1404cc6c13900ee0758474fa94abe8c4cd13";

    /// The weight for a `wsh`, in which our way is not distinguished from others.
    fn weight(script: &str) -> u64 {
        let text = script.replace("OURS", OURS).replace('A', A).replace('B', B);
        let descriptor = Descriptor::<bitcoin::PublicKey>::from_str(&text).expect("a descriptor");
        let ours = Rebuilt {
            location: Location { chain: Chain::External, index: 0 },
            script_pubkey: descriptor.script_pubkey(),
            branches: vec![Branch {
                place: Place(0),
                key: bitcoin::PublicKey::from_str(OURS).expect("a key").inner,
                tweak: SecretKey::from_slice(&[1; 32]).expect("a number"),
                spend: Spend::SegwitV0(descriptor.script_code().expect("a script")),
            }],
            leaves: vec![],
            keys: vec![],
        };
        least(&descriptor, &ours).expect("satisfied")
    }

    /// The count, and each item with its length: two signatures of 71 bytes, and the script.
    #[test]
    fn a_multisig_weighs_its_signatures_and_its_script() {
        assert_eq!(weight("wsh(multi(2,A,OURS))"), 1 + 72 + 72 + 72);
        assert_eq!(weight("wsh(multi(2,A,B,OURS))"), 1 + 72 + 72 + 106);
        assert_eq!(weight("wpkh(OURS)"), 72 + 34);
        assert_eq!(weight("pkh(OURS)"), 4 * (72 + 34));
    }

    #[test]
    fn a_smaller_way_that_waits_counts_if_our_signature_is_part_of_it() {
        let now = weight("wsh(and_v(v:pk(OURS),multi(2,A,B)))");
        assert!(weight("wsh(and_v(v:pk(OURS),or_d(multi(2,A,B),older(144))))") + 100 < now);
        let with_us = weight("wsh(thresh(2,pk(A),s:pk(OURS),sln:older(144)))");
        assert!(with_us < 170, "{with_us}");
        // The way of the user alone is smaller, but does not include us.
        let recovery = weight("wsh(or_d(multi(2,A,OURS),and_v(v:pk(B),older(144))))");
        assert!(recovery > 1 + 72 + 72 + 72, "{recovery}");
    }

    #[test]
    fn by_the_key_path_no_leaf_counts() {
        let text = format!("tr({OURS},multi_a(2,{A},{B}))");
        let descriptor = Descriptor::<bitcoin::PublicKey>::from_str(&text).expect("a descriptor");
        let key = bitcoin::PublicKey::from_str(OURS).expect("a key").inner;
        let internal_key = key.x_only_public_key().0;
        let ours = Rebuilt {
            location: Location { chain: Chain::External, index: 0 },
            script_pubkey: descriptor.script_pubkey(),
            branches: vec![Branch {
                place: Place(0),
                key,
                tweak: SecretKey::from_slice(&[1; 32]).expect("a number"),
                spend: Spend::KeyPath(Taproot { internal_key, merkle_root: None, output_key: internal_key }),
            }],
            leaves: vec![],
            keys: vec![],
        };
        assert_eq!(least(&descriptor, &ours), Some(65));
    }
}
