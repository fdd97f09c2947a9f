//! Consent: users approve a text that says what a transaction does, and nothing else is signed for it.
//!
//! A one-time code proves that somebody was there. It does not say what for: whoever holds the code chooses the transaction. Here the
//! boundary itself writes what a transaction does ([`Statement`]), for each user who is asked, and an approval is bound to that text
//! and to that transaction ([`ConsentDigest`]).
//!
//! Nothing outside of the kernel calls this yet: no door takes a proposal of a transaction.

mod digest;
mod statement;

pub use digest::ConsentDigest;
pub use statement::{MAX_STATEMENT_LEN, Payout, Statement, StatementError, Subject, TicketId};
