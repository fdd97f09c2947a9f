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
    // A way that waits need not be one of ours: it counts where there is no other.
    [false, true].into_iter().find_map(|waits| {
        let (witness, script_sig) = descriptor.get_satisfaction(EverybodySigns { ours, waits }).ok()?;
        let script_sig = VarInt::from(script_sig.len()).size() - 1 + script_sig.len();
        // The count of an empty witness is part of every input (BIP 144).
        let witness = Witness::from_slice(&witness).size() - 1;
        u64::try_from(4 * script_sig + witness).ok()
    })
}

/// Signatures of the least length, of everybody, in the way that we sign.
struct EverybodySigns<'a> {
    ours: &'a Rebuilt,
    waits: bool,
}

impl EverybodySigns<'_> {
    fn schnorr(&self) -> Option<bitcoin::taproot::Signature> {
        let signature = schnorr::Signature::from_slice(&[1; 64]).ok()?;
        Some(bitcoin::taproot::Signature { signature, sighash_type: TapSighashType::Default })
    }
}

impl Satisfier<bitcoin::PublicKey> for EverybodySigns<'_> {
    fn lookup_ecdsa_sig(&self, _: &bitcoin::PublicKey) -> Option<bitcoin::ecdsa::Signature> {
        let signature = ecdsa::Signature::from_compact(&[1; 64]).ok()?;
        Some(bitcoin::ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All })
    }

    fn lookup_tap_key_spend_sig(&self, _: &bitcoin::PublicKey) -> Option<bitcoin::taproot::Signature> {
        matches!(self.ours.spend, Spend::KeyPath(_)).then(|| self.schnorr()).flatten()
    }

    fn lookup_tap_leaf_script_sig(
        &self,
        _: &bitcoin::PublicKey,
        leaf: &TapLeafHash,
    ) -> Option<bitcoin::taproot::Signature> {
        matches!(&self.ours.spend, Spend::ScriptPath(_, ours) if ours == leaf)
            .then(|| self.schnorr())
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
