//! What codes can pay for: the signatures of a PSBT, or that of a digest.
//!
//! Both take the same way ([`decide`](super::decide)). It needs to know what the policy of the key says, what a spent
//! code is bound to, what the signature adds to the history that limits count, and what the audit chain records.

use super::records::WalletState;
use crate::audit::{Asked, DigestFacts, TransactionFacts};
use crate::binding::Binding;
use crate::digest_key::{DigestKey, RequestedDigest};
use crate::factor::{Approvers, Mark};
use crate::history::ChargeId;
use crate::policy::Verdict;
use crate::psbt::CheckedPsbt;
use crate::wallet::Wallet;

/// What codes can pay for. Only the kernel can implement this.
pub trait Signable: sealed::Sealed {
    /// The key that signs it.
    type Key;

    /// Whether it was checked for exactly this key.
    fn is_of(&self, key: &Self::Key) -> bool;

    /// What the policy of its key says at `now` (Unix seconds) if these users approve.
    fn judged_by(&self, key: &Self::Key, approvers: &Approvers, now: u64) -> Verdict;

    /// What a spent code is bound to: the same may be requested again for two minutes, and nothing else.
    fn binding(&self) -> Binding;

    /// The state of its wallet or key after it was signed at `now` (Unix seconds) for the codes of `marks`.
    fn charged_to(&self, state: &WalletState, marks: &[Mark], now: u64) -> WalletState;

    /// The audit's facts about it.
    fn facts(&self) -> Asked;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CheckedPsbt {}
    impl Sealed for super::RequestedDigest {}
}

impl Signable for CheckedPsbt {
    type Key = Wallet;

    fn is_of(&self, wallet: &Wallet) -> bool {
        wallet.keys().is_some_and(|keys| keys.watch().id() == self.script_id())
    }

    fn judged_by(&self, wallet: &Wallet, approvers: &Approvers, now: u64) -> Verdict {
        wallet.policy().judge(self, approvers, now)
    }

    fn binding(&self) -> Binding {
        self.binding()
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
    TransactionFacts {
        wallet: psbt.wallet().into(),
        txid: psbt.txid(),
        leaves: psbt.leaves(),
        fee: psbt.fee(),
    }
}

impl Signable for RequestedDigest {
    type Key = DigestKey;

    fn is_of(&self, key: &DigestKey) -> bool {
        key.public_key() == self.public_key()
    }

    fn judged_by(&self, key: &DigestKey, approvers: &Approvers, now: u64) -> Verdict {
        key.policy().judge(approvers, now)
    }

    fn binding(&self) -> Binding {
        self.binding()
    }

    /// Every signature counts as one transaction, even of a digest that was signed before: no value is known,
    /// and nothing distinguishes a replacement from a further one.
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
