//! Keys that nobody can have: points whose discrete logarithm nobody knows (BIP 341, "Constructing and
//! spending Taproot outputs").
//!
//! A taproot wallet without a key path has such a point as its internal key: BIP 341's `H` itself, or an
//! extended key of it with any chain code (wallets use a random one, or the hash of the other keys). Every
//! key derived from `H` by public derivation is `H` plus a known multiple of the generator, so nobody has its
//! private key either. A point `H + rG` whose `r` is published elsewhere cannot be recognised. It counts as a
//! key that somebody has, which is the cautious choice.

use bitcoin::XOnlyPublicKey;
use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::secp256k1::{Parity, PublicKey};
use miniscript::MiniscriptKey;
use miniscript::descriptor::{DescriptorPublicKey, KeyInfo, SinglePubKey};
use miniscript::policy::semantic::Policy as Semantic;

use crate::network::Network;

/// The x coordinate of BIP 341's `H`: SHA-256 of the uncompressed generator.
pub(super) const NUMS: &str = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

/// Whether nobody can have the private key of `key`.
pub fn nobody_has(key: &DescriptorPublicKey) -> bool {
    match key {
        DescriptorPublicKey::MultiXPub(key) => is_nums(&key.xkey.public_key),
        DescriptorPublicKey::XPub(key) => is_nums(&key.xkey.public_key),
        DescriptorPublicKey::Single(key) => match key.key {
            SinglePubKey::FullKey(key) => is_nums(&key.inner),
            SinglePubKey::XOnly(key) => key == nums(),
        },
    }
}

/// Whether this is the point, with either parity.
pub(super) fn is_nums(key: &PublicKey) -> bool {
    key.x_only_public_key().0 == nums()
}

fn nums() -> XOnlyPublicKey {
    NUMS.parse().expect("BIP 341 gives a point")
}

/// An extended key of the point, for code that only takes extended keys.
pub(super) fn stand_in(network: Network) -> KeyInfo {
    let xkey = Xpub {
        network: network.kind(),
        depth: 0,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::Normal { index: 0 },
        public_key: PublicKey::from_x_only_public_key(nums(), Parity::Even),
        // A chain code that no wallet uses, because this key must not be one of a wallet's own.
        chain_code: ChainCode::from(nums().serialize()),
    };
    KeyInfo { origin: None, xkey }
}

/// Whether keys that somebody can have can satisfy `policy`, once every timelock has passed and with every
/// preimage.
pub(super) fn is_spendable<K: MiniscriptKey>(policy: &Semantic<K>, is_nobodys: &dyn Fn(&K) -> bool) -> bool {
    match policy {
        Semantic::Unsatisfiable => false,
        Semantic::Key(key) => !is_nobodys(key),
        Semantic::Thresh(branches) => {
            branches.iter().filter(|branch| is_spendable(branch, is_nobodys)).count() >= branches.k()
        }
        Semantic::Trivial
        | Semantic::After(_)
        | Semantic::Older(_)
        | Semantic::Sha256(_)
        | Semantic::Hash256(_)
        | Semantic::Ripemd160(_)
        | Semantic::Hash160(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::{Hash, sha256};
    use bitcoin::secp256k1::constants::{GENERATOR_X, GENERATOR_Y};

    use super::*;

    #[test]
    fn the_point_is_the_hash_of_the_generator() {
        let hash = sha256::Hash::hash(&[&[4][..], &GENERATOR_X, &GENERATOR_Y].concat());
        assert_eq!(hash.to_string(), NUMS);
    }

    #[test]
    fn the_point_is_recognised_as_itself_in_either_parity_and_under_any_chain_code() {
        let xpub = |code: u8, parity| {
            let mut xkey = stand_in(Network::Mainnet).xkey;
            xkey.chain_code = ChainCode::from([code; 32]);
            xkey.public_key = PublicKey::from_x_only_public_key(nums(), parity);
            format!("{xkey}/<0;1>/*")
        };
        for text in [
            NUMS.to_owned(),
            format!("02{NUMS}"),
            format!("03{NUMS}"),
            format!("[00112233/1]{NUMS}"),
            xpub(0, Parity::Even),
            xpub(7, Parity::Odd),
        ] {
            assert!(nobody_has(&text.parse().expect("a key")), "{text}");
        }
        let somebody = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        assert!(!nobody_has(&somebody.parse().expect("a key")));
    }
}
