//! The audit chain: one record per outcome, each bound to all before it by a hash.
//!
//! A link is written in the same commit as the state that it changes. The backing token anchors the head, so
//! a chain that was cut, forked or replaced with an older copy does not fit its anchor.

mod consent;
mod event;
pub mod in_force;
mod link;

pub use consent::{ConsentFacts, ConsentStep, DeviceWord, PasskeyWord, PendingStep};
pub use event::{
    Answer, Asked, DecidedAct, DigestFacts, Event, Fate, OfficerSignature, ProposalStep, Step,
    TransactionFacts, TriedCode, UnknownAnswer, Void,
};
pub use link::{ChainEnd, Head, Link, MAX_BATCH};
