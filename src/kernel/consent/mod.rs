//! Consent: users approve a text that says what a transaction does, and nothing else is signed for it.
//!
//! A one-time code proves that somebody was there. It does not say what for: whoever holds the code chooses the transaction. Here the
//! boundary itself writes what a transaction does ([`Statement`]), for each user who is asked, and an approval is bound to that text
//! and to that transaction ([`ConsentDigest`]).
//!
//! What was approved waits in a sealed record ([`Pending`]), until a ticket brings its transaction. The transitions that need codes are in
//! [`crate::state`]: [`propose`](crate::state::propose), [`consent`](crate::state::consent), [`withdraw`](crate::state::withdraw), and
//! [`decide`](crate::state::decide), which takes a [`Ticket`](crate::state::Ticket) for a signature.

mod device;
mod digest;
mod means;
mod pending;
mod statement;

pub use crate::factor::TicketId;
pub use device::{DeviceText, DeviceTextError, MAX_DEVICE_TEXT_LEN};
pub use digest::ConsentDigest;
pub use means::{Means, Typed, UnknownMeans};
pub use pending::{
    Approved, ConsentError, DEFAULT_LIFETIME, MAX_LIFETIME, MAX_OF_PEER, MAX_OF_WALLET, Pending, Standing,
};
pub(crate) use pending::{Draft, make_room};
pub use statement::{MAX_STATEMENT_LEN, Payout, Statement, StatementError, Subject};

/// What a user says to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is to be signed.
    Approve,
    /// It is never to be signed.
    Refuse,
}
