//! What codes can pay for: the signatures of a PSBT, or that of a digest.
//!
//! Both go the same way ([`super::state`]). That way asks what a code is bound to once it is spent, what the signature adds to the history
//! that limits count, and what the audit chain records.

use super::audit::{Asked, DigestFacts, TransactionFacts};
use super::digest_key::RequestedDigest;
use super::factor::Mark;
use super::psbt::{CheckedPsbt, Digest};
use super::state::{ChargeId, WalletState};

/// What codes can pay for. Only the kernel says what that is.
pub trait Signable: sealed::Sealed {
    /// What a spent code is bound to: the same may be asked for again for two minutes, and nothing else.
    fn binding(&self) -> Digest;

    /// The state of its wallet or key after it was signed at `now` (Unix seconds) for the codes of `marks`.
    fn charged_to(&self, state: &WalletState, marks: &[Mark], now: u64) -> WalletState;

    /// What the audit keeps of it.
    fn facts(&self) -> Asked;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CheckedPsbt {}
    impl Sealed for super::RequestedDigest {}
}

impl Signable for CheckedPsbt {
    fn binding(&self) -> Digest {
        self.digest()
    }

    fn charged_to(&self, state: &WalletState, _marks: &[Mark], now: u64) -> WalletState {
        WalletState {
            reach: state.reach.joined(self.reach()),
            signed: state.signed.saturating_add(1),
            history: state.history.charge(ChargeId::of_inputs(self.transaction()), self.leaves(), now),
        }
    }

    fn facts(&self) -> Asked {
        Asked::Transaction(transaction_facts(self))
    }
}

fn transaction_facts(psbt: &CheckedPsbt) -> TransactionFacts {
    use bitcoin::hashes::Hash;
    let mut txid = psbt.transaction().compute_txid().to_byte_array();
    txid.reverse();
    TransactionFacts { wallet: psbt.wallet().into(), txid, leaves: psbt.leaves(), fee: psbt.fee() }
}

impl Signable for RequestedDigest {
    fn binding(&self) -> Digest {
        self.binding()
    }

    /// Every signature counts as one transaction, also one of a digest that was signed before: no value is known, and
    /// nothing tells a replacement from a further one.
    fn charged_to(&self, state: &WalletState, marks: &[Mark], now: u64) -> WalletState {
        WalletState {
            reach: state.reach,
            signed: state.signed.saturating_add(1),
            history: state.history.charge(ChargeId::of_digest(&self.binding(), marks), 0, now),
        }
    }

    fn facts(&self) -> Asked {
        Asked::Digest(digest_facts(self))
    }
}

fn digest_facts(requested: &RequestedDigest) -> DigestFacts {
    DigestFacts { key: requested.key_label().into(), digest: *requested.digest() }
}
