//! The weight of a satisfied input, for the caps on the feerate.
//!
//! What is not yet signed is as large as the way that will be taken. A cap on the feerate must take the smallest way: a
//! larger one would have more fee pass under it.

use bitcoin::absolute;
use bitcoin::hashes::{hash160, ripemd160, sha256};
use bitcoin::relative;
use bitcoin::secp256k1::{ecdsa, schnorr};
use bitcoin::sighash::{EcdsaSighashType, TapSighashType};
use bitcoin::taproot::TapLeafHash;
use bitcoin::{VarInt, Witness};
use miniscript::{Descriptor, Preimage32, Satisfier, hash256};

use super::watch::{Rebuilt, Spend};

/// Weight units of the smallest way to satisfy `descriptor` that our signature is part of, or `None` where none is
/// found.
pub(super) fn least(descriptor: &Descriptor<bitcoin::PublicKey>, ours: &Rebuilt) -> Option<u64> {
    let way = |waits| {
        let (witness, script_sig) = descriptor.get_satisfaction(EverybodySigns { ours, waits }).ok()?;
        let has_ours = |bytes: &[u8]| bytes.windows(OURS.len()).any(|window| window == OURS);
        let is_ours = witness.iter().any(|item| has_ours(item)) || has_ours(script_sig.as_bytes());
        let script_sig = VarInt::from(script_sig.len()).size() - 1 + script_sig.len();
        // The count of an empty witness is part of every input (BIP 144).
        let witness = Witness::from_slice(&witness).size() - 1;
        Some((u64::try_from(4 * script_sig + witness).ok()?, is_ours))
    };
    match (way(false), way(true)) {
        // Once it has waited, the smallest way may be one that others take without us.
        (Some((now, _)), Some((later, true))) => Some(now.min(later)),
        (Some((now, _)), _) => Some(now),
        (None, later) => later.map(|(weight, _)| weight),
    }
}

/// What our signature is told from others by.
const OURS: [u8; 32] = [1; 32];
const OTHERS: [u8; 32] = [2; 32];

/// Signatures of the least length, of everybody, in the way that we sign.
struct EverybodySigns<'a> {
    ours: &'a Rebuilt,
    waits: bool,
}

impl EverybodySigns<'_> {
    fn half(&self, key: &bitcoin::PublicKey) -> [u8; 32] {
        if key.inner.x_only_public_key() == self.ours.key.x_only_public_key() { OURS } else { OTHERS }
    }

    fn schnorr(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::taproot::Signature> {
        let signature = schnorr::Signature::from_slice(&self.half(key).repeat(2)).ok()?;
        Some(bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default })
    }
}

impl Satisfier<bitcoin::PublicKey> for EverybodySigns<'_> {
    fn lookup_ecdsa_sig(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::ecdsa::Signature> {
        let signature = ecdsa::Signature::from_compact(&self.half(key).repeat(2)).ok()?;
        Some(bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All })
    }

    fn lookup_tap_key_spend_sig(&self, key: &bitcoin::PublicKey) -> Option<bitcoin::taproot::Signature> {
        matches!(self.ours.spend, Spend::KeyPath(_)).then(|| self.schnorr(key)).flatten()
    }

    fn lookup_tap_leaf_script_sig(
        &self,
        key: &bitcoin::PublicKey,
        leaf: &TapLeafHash,
    ) -> Option<bitcoin::taproot::Signature> {
        matches!(&self.ours.spend, Spend::ScriptPath(_, ours) if ours == leaf)
            .then(|| self.schnorr(key))
            .flatten()
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
