//! Receipts: proof that a decision is durable, in the store whose records it was made on.
//!
//! A transition in [`super::state`] returns a [`Decision`]: the records to write, the audit event, and the
//! evidence for the next step. Only a [`Receipt`] gives out the evidence, and only [`Receipt::issue`] makes a
//! receipt, after the batch was written. So whatever must be durable before the next step is durable.
//!
//! The writer proves the write with [`Committed`], which takes the data key of the store. The same key opened the
//! records on which the decision depends ([`super::record::Versioned`]), and those of the keys that sign
//! ([`super::signer`]). Code without the key can make none of the three. Code with it could read the secret keys
//! themselves, and gains nothing.
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
//! // There is no receipt for a decision that nobody wrote.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::{Decision, Receipt}, state::Outcome};
//! fn unwritten(decision: Decision<Outcome<CheckedPsbt>>) -> Receipt<Outcome<CheckedPsbt>> {
//!     Receipt::issue(decision, |_| Ok::<(), ()>(())).ok().unwrap()
//! }
//! ```
//!
//! ```compile_fail,E0451
//! // Nobody can claim a commit without the key of the store.
//! use countersign_kernel::receipt::{Batch, Committed};
//! fn say(batch: &Batch) -> Committed<'_> { Committed { batch, authority: panic!() } }
//! ```
//!
//! ```compile_fail
//! // A proof for another batch does not fit.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::{Decision, Committed, Receipt}, state::Outcome};
//! fn other(decision: Decision<Outcome<CheckedPsbt>>, earlier: Committed<'_>) {
//!     let _ = Receipt::issue(decision, |_| Ok::<_, ()>(earlier));
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
//! // Nobody outside the kernel can take the evidence out.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, state::Consumed};
//! fn open(receipt: Receipt<Consumed<CheckedPsbt>>) -> Consumed<CheckedPsbt> { receipt.into_evidence() }
//! ```

use zeroize::Zeroizing;

use super::audit::Event;
use super::seal::{Authority, DataKey, RecordKey};

/// One record to write.
pub struct Write {
    /// The place.
    pub place: RecordKey,
    /// The version that must be there now, or `None` for no record. Anything else means that another commit
    /// came first.
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

/// The records and the event of one commit: either all of them become durable, or none.
pub struct Batch {
    /// The records to write.
    pub writes: Vec<Write>,
    /// Places where no record may exist. A record there means that another commit came first.
    pub absent: Vec<RecordKey>,
    /// Records that it does not write and that must still have these versions. Another one means that another commit came first.
    pub unchanged: Vec<(RecordKey, u64)>,
    /// The audit event.
    pub event: Event,
    /// Unix time in seconds.
    pub time: u64,
}

impl Batch {
    /// These records and this event, at this time (Unix seconds).
    pub fn new(writes: Vec<Write>, event: Event, time: u64) -> Batch {
        Batch { writes, absent: vec![], unchanged: vec![], event, time }
    }

    /// Whether another commit came first, given the version at each place now.
    pub fn is_overtaken(&self, version: impl Fn(&RecordKey) -> Option<u64>) -> bool {
        self.writes.iter().any(|write| version(&write.place) != write.expected)
            || self.absent.iter().any(|place| version(place).is_some())
            || self.unchanged.iter().any(|(place, expected)| version(place) != Some(*expected))
    }

    /// The same batch, for as long as no record exists at these places.
    #[must_use]
    pub(crate) fn while_absent(self, absent: Vec<RecordKey>) -> Batch {
        Batch { absent, ..self }
    }

    /// The same batch, for as long as the record at this place has this version.
    #[must_use]
    pub(crate) fn while_unchanged(mut self, record: (RecordKey, u64)) -> Batch {
        self.unchanged.push(record);
        self
    }
}

/// What was decided and is not yet durable.
#[must_use = "a decision that is not written changes nothing"]
pub struct Decision<E>(Box<Contents<E>>);

struct Contents<E> {
    batch: Batch,
    evidence: E,
    /// The store of the records that it depends on, if it depends on any.
    authority: Option<Authority>,
}

impl<E> Decision<E> {
    pub(crate) fn new(batch: Batch, evidence: E) -> Decision<E> {
        Decision(Box::new(Contents { batch, evidence, authority: None }))
    }

    /// The same decision, which may be written only to the store of these records.
    pub(crate) fn in_store_of(mut self, authority: Authority) -> Decision<E> {
        self.0.authority = Some(authority);
        self
    }

    /// The evidence of a decision that was not written, for the module that made it.
    pub(crate) fn into_unwritten(self) -> E {
        self.0.evidence
    }
}

/// Evidence: code with the data key of a store states that this batch is durable and anchored there.
///
/// It borrows the batch, so it is valid for this batch only.
pub struct Committed<'batch> {
    batch: &'batch Batch,
    authority: Authority,
}

impl<'batch> Committed<'batch> {
    /// Makes the statement. Only for a batch that is durable and anchored in the store of `key`.
    pub fn by(key: &DataKey, batch: &'batch Batch) -> Committed<'batch> {
        Committed { batch, authority: key.authority() }
    }

    /// The store that has `decision`.
    fn of<E>(self, decision: &Contents<E>) -> Authority {
        assert!(core::ptr::eq(self.batch, &decision.batch), "a ledger wrote another batch than it was given");
        let is_of_store = decision.authority.is_none_or(|authority| authority == self.authority);
        assert!(is_of_store, "a ledger wrote what was decided on the records of another store");
        self.authority
    }
}

/// Proof that the decision behind `E` is durable and anchored.
#[must_use = "an unused receipt is a charge for nothing"]
pub struct Receipt<E> {
    evidence: E,
    authority: Authority,
}

impl<E> Receipt<E> {
    /// Makes the decision durable with `write`, and returns the receipt for it. A decision that could not be
    /// written comes back, and its module may know how to begin again.
    pub fn issue<X>(
        decision: Decision<E>,
        write: impl for<'batch> FnOnce(&'batch Batch) -> Result<Committed<'batch>, X>,
    ) -> Result<Receipt<E>, (X, Decision<E>)> {
        match write(&decision.0.batch).map(|committed| committed.of(&decision.0)) {
            Ok(authority) => Ok(Receipt { evidence: decision.0.evidence, authority }),
            Err(error) => Err((error, decision)),
        }
    }

    pub(crate) fn into_evidence(self) -> E {
        self.evidence
    }

    pub(crate) fn evidence(&self) -> &E {
        &self.evidence
    }

    /// The store in which it is durable.
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
        Batch::new(vec![], Event::Initialised, 0)
    }

    #[test]
    fn a_decision_that_its_own_store_wrote_has_a_receipt() {
        let decision = Decision::new(batch(), "evidence").in_store_of(key(1).authority());
        let issued = Receipt::issue(decision, |batch| Ok::<_, ()>(Committed::by(&key(1), batch)));
        assert_eq!(issued.ok().map(Receipt::into_evidence), Some("evidence"));
    }

    #[test]
    #[should_panic(expected = "another batch")]
    fn another_batch_gives_no_receipt() {
        let other: &'static Batch = Box::leak(Box::new(batch()));
        let _ = Receipt::issue(Decision::new(batch(), ()), |_| Ok::<_, ()>(Committed::by(&key(1), other)));
    }

    #[test]
    #[should_panic(expected = "another store")]
    fn another_store_gives_no_receipt() {
        let decision = Decision::new(batch(), ()).in_store_of(key(1).authority());
        let _ = Receipt::issue(decision, |batch| Ok::<_, ()>(Committed::by(&key(2), batch)));
    }
}
