//! Receipts: proof that a change of state is durable.
//!
//! A [`Change`] is what a transition in [`super::state`] decided: the records to write, the audit event, and the
//! evidence that the next step will need. Only a [`Receipt`] gives the evidence out, and the only maker of a receipt is
//! [`Receipt::issue`], which first has the change written. So what must be durable before the next step, is.
//!
//! ```compile_fail,E0451
//! // A receipt cannot be forged: its field is private.
//! use countersign_kernel::{psbt::CheckedPsbt, receipt::Receipt, state::Consumed};
//! fn forge(evidence: Consumed<CheckedPsbt>) -> Receipt<Consumed<CheckedPsbt>> { Receipt { evidence } }
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
use super::seal::RecordKey;

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
}

impl<E> Change<E> {
    pub(crate) fn new(batch: Batch, evidence: E) -> Change<E> {
        Change(Box::new(Decided { batch, evidence }))
    }

    /// The evidence of a change that was not written, for the module that made it.
    pub(crate) fn into_unwritten(self) -> E {
        self.0.evidence
    }
}

/// Proof that the change behind `E` is durable and anchored.
#[must_use = "an unused receipt is a charge for nothing"]
pub struct Receipt<E> {
    evidence: E,
}

impl<E> Receipt<E> {
    /// Has `write` make the change durable and gives the receipt for it. A change that could not be written comes back:
    /// its module may say how to begin again.
    ///
    /// `write` must return `Ok` only when the batch is durable and anchored.
    pub fn issue<X>(
        change: Change<E>,
        write: impl FnOnce(&Batch) -> Result<(), X>,
    ) -> Result<Receipt<E>, (X, Change<E>)> {
        match write(&change.0.batch) {
            Ok(()) => Ok(Receipt { evidence: change.0.evidence }),
            Err(error) => Err((error, change)),
        }
    }

    pub(crate) fn into_evidence(self) -> E {
        self.evidence
    }

    pub(crate) fn evidence(&self) -> &E {
        &self.evidence
    }

    /// The receipt for a part of the evidence.
    pub(crate) fn map<T>(self, part: impl FnOnce(E) -> T) -> Receipt<T> {
        Receipt { evidence: part(self.evidence) }
    }
}
