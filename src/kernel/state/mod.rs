//! The state of users, wallets and PINs: old → new, no side effects.
//!
//! Each transition takes the records as they were read, with their versions, and gives a [`Change`](super::receipt::Change): what to write, what
//! to tell the audit, and the evidence that the next step needs once the change is durable. Two transitions from the
//! same version cannot both be written, so every race has one winner.
//!
//! Invariants:
//! - T1. What came of a code is decided with the record that it replaces, and nobody learns of it before it is durable. A wrong
//!   code is charged in that very change.
//! - T2. Success never touches another try's charge: nothing resets the 30-day budget.
//! - T3. A spent step is never spent again, nor is an earlier one. For two minutes it gives the signatures that it was spent on once
//!   more, to a caller who asks for the same.
//! - T4. A locked user's code is not evaluated.
//! - T5. Each peer has its own count of wrong PINs: a peer that used up its tries closes the door only to itself.
//! - T6. The limits of a period are judged against the state that the commit replaces, and what leaves is charged in it.
//! - T7. Whatever came of the codes, the same records are written, of the same length.

mod administration;
mod budget;
mod documents;
mod pins;
mod records;
mod signable;
mod way;

pub use administration::{Recorded, believe_clock, decline, stop};
pub(crate) use administration::{
    add_digest_key, add_user, add_wallet, change_digest_key, change_wallet, initialise, remove_user, restore,
    take_clock, unlock_user,
};
pub use budget::{
    BACK_OFF_FIRST, BACK_OFF_FROM, BACK_OFF_MOST, BUDGET, BUDGET_PERIOD, Budget, LOCK_FROM, Locked,
};
pub use pins::{
    MAX_PEERS, OfficerPin, PEER_TRIES, PIN_BUDGET, Peer, PinCharged, PinClosed, PinKnown, PinMatched,
    PinStanding, UserPin, accept_pin, charge_pin, verify_pin,
};
pub(crate) use pins::{change_pin, is_so_pin, lose_user_pin, set_user_pin, unlock_user_pin};
pub use records::{ClockRecord, Epoch, NobodyRecord, TokenRecord, UserRecord, WalletState};
pub use signable::Signable;
pub use way::{Claim, Consumed, Declined, Enrolment, Moment, Opened, Outcome, Subject, confirm, decide};
