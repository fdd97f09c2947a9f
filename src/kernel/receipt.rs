//! Receipts: proof that a change of state is durable, in the store whose records it was decided on.
//!
//! A [`Change`] is what a transition in [`super::state`] decided: the records to write, the audit event, and the
//! evidence that the next step will need. Only a [`Receipt`] gives the evidence out, and the only maker of a receipt is
//! [`Receipt::issue`], which first has the change written. So what must be durable before the next step, is.
//!
//! Whoever writes shows it by [`Committed`], which takes the data key of the store. The same key opened the records that the change
//! rests on ([`super::record::Versioned`]), and those of the keys that sign ([`super::signer`]). Code that has not the key can make
//! none of the three; code that has it could read the secret keys themselves, and gains nothing.
//!
//! ```compile_fail,E0451
//! // A receipt cannot be forged: its fields are private.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, state::Consumed};
//! fn forge(evidence: Consumed<CheckedPsbt>) -> Receipt<Consumed<CheckedPsbt>> {
//!     Receipt { evidence, authority: panic!() }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! // A receipt for a change that nobody wrote.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::{Change, Receipt}, state::Outcome};
//! fn unwritten(change: Change<Outcome<CheckedPsbt>>) -> Receipt<Outcome<CheckedPsbt>> {
//!     Receipt::issue(change, |_| Ok::<(), ()>(())).ok().unwrap()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! // Saying so without the key of the store.
//! use countersign_kernel::receipt::{Batch, Committed};
//! fn say(batch: &Batch) -> Committed<'_> { Committed { batch, authority: panic!() } }
//! ```
//!
//! ```compile_fail
//! // The word that was given for another batch.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::{Change, Committed, Receipt}, state::Outcome};
//! fn other(change: Change<Outcome<CheckedPsbt>>, earlier: Committed<'_>) {
//!     let _ = Receipt::issue(change, |_| Ok::<_, ()>(earlier));
//! }
//! ```
//!
//! ```compile_fail,E0599
//! // A receipt cannot be used twice: it is not `Clone`.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, state::Consumed};
//! fn twice(receipt: &Receipt<Consumed<CheckedPsbt>>) -> Receipt<Consumed<CheckedPsbt>> { receipt.clone() }
//! ```
//!
//! ```compile_fail,E0624
//! // The evidence cannot be taken out from outside the kernel.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, state::Consumed};
//! fn open(receipt: Receipt<Consumed<CheckedPsbt>>) -> Consumed<CheckedPsbt> { receipt.into_evidence() }
//! ```

use zeroize::Zeroizing;

use super::audit::Event;
use super::seal::{Authority, DataKey, RecordKey};

/// One record to write.
pub struct Write {
    /// Where.
    pub place: RecordKey,
    /// The version that must be there now, `None` for no record. Anything else means that another commit came first.
    pub expected: Option<u64>,
    /// The new content.
    pub content: Content,
}

/// The new content of a record.
pub enum Content {
    /// This plaintext, to be sealed.
    Put(Zeroizing<Vec<u8>>),
    /// No record.
    Remove,
}

/// The records and the event of one commit: all of it becomes durable, or none.
pub struct Batch {
    /// The records to write.
    pub writes: Vec<Write>,
    /// The audit event.
    pub event: Event,
    /// Unix time in seconds.
    pub time: u64,
}

/// A change that was decided and is not yet durable.
#[must_use = "a change that is not written did not happen"]
pub struct Change<E>(Box<Decided<E>>);

struct Decided<E> {
    batch: Batch,
    evidence: E,
    /// The store whose records it was decided on, where it rests on any.
    authority: Option<Authority>,
}

impl<E> Change<E> {
    pub(crate) fn new(batch: Batch, evidence: E) -> Change<E> {
        Change(Box::new(Decided { batch, evidence, authority: None }))
    }

    /// The same, which may be written to the store of these records alone.
    pub(crate) fn in_store_of(mut self, authority: Authority) -> Change<E> {
        self.0.authority = Some(authority);
        self
    }

    /// The evidence of a change that was not written, for the module that made it.
    pub(crate) fn into_unwritten(self) -> E {
        self.0.evidence
    }
}

/// Evidence: who has the data key of a store says that this batch is durable and anchored there.
///
/// It borrows the batch: it is good for this one, while it is there.
pub struct Committed<'batch> {
    batch: &'batch Batch,
    authority: Authority,
}

impl<'batch> Committed<'batch> {
    /// Says it. Only for a batch that is durable and anchored in the store of `key`.
    pub fn by(key: &DataKey, batch: &'batch Batch) -> Committed<'batch> {
        Committed { batch, authority: key.authority() }
    }

    /// The store that has `change`.
    fn of<E>(self, change: &Decided<E>) -> Authority {
        assert!(core::ptr::eq(self.batch, &change.batch), "a ledger wrote another batch than it was given");
        let is_of_store = change.authority.is_none_or(|authority| authority == self.authority);
        assert!(is_of_store, "a ledger wrote what was decided on the records of another store");
        self.authority
    }
}

/// Proof that the change behind `E` is durable and anchored.
#[must_use = "an unused receipt is a charge for nothing"]
pub struct Receipt<E> {
    evidence: E,
    authority: Authority,
}

impl<E> Receipt<E> {
    /// Has `write` make the change durable and gives the receipt for it. A change that could not be written comes back:
    /// its module may say how to begin again.
    pub fn issue<X>(
        change: Change<E>,
        write: impl for<'batch> FnOnce(&'batch Batch) -> Result<Committed<'batch>, X>,
    ) -> Result<Receipt<E>, (X, Change<E>)> {
        match write(&change.0.batch).map(|committed| committed.of(&change.0)) {
            Ok(authority) => Ok(Receipt { evidence: change.0.evidence, authority }),
            Err(error) => Err((error, change)),
        }
    }

    pub(crate) fn into_evidence(self) -> E {
        self.evidence
    }

    pub(crate) fn evidence(&self) -> &E {
        &self.evidence
    }

    /// The store that has it.
    pub(crate) fn authority(&self) -> Authority {
        self.authority
    }

    /// The receipt for a part of the evidence.
    pub(crate) fn map<T>(self, part: impl FnOnce(E) -> T) -> Receipt<T> {
        Receipt { evidence: part(self.evidence), authority: self.authority }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> DataKey {
        DataKey::new([7; 16], Zeroizing::new([byte; 32]))
    }

    fn batch() -> Batch {
        Batch { writes: vec![], event: Event::Initialised, time: 0 }
    }

    #[test]
    fn a_change_that_its_own_store_wrote_has_a_receipt() {
        let change = Change::new(batch(), "evidence").in_store_of(key(1).authority());
        let issued = Receipt::issue(change, |batch| Ok::<_, ()>(Committed::by(&key(1), batch)));
        assert_eq!(issued.ok().map(Receipt::into_evidence), Some("evidence"));
    }

    #[test]
    #[should_panic(expected = "another batch")]
    fn another_batch_gives_no_receipt() {
        let other: &'static Batch = Box::leak(Box::new(batch()));
        let _ = Receipt::issue(Change::new(batch(), ()), |_| Ok::<_, ()>(Committed::by(&key(1), other)));
    }

    #[test]
    #[should_panic(expected = "another store")]
    fn another_store_gives_no_receipt() {
        let change = Change::new(batch(), ()).in_store_of(key(1).authority());
        let _ = Receipt::issue(change, |batch| Ok::<_, ()>(Committed::by(&key(2), batch)));
    }
}
