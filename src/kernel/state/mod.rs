//! The state of users, wallets and PINs: from the old one to the new one, without side effects.
//!
//! Each transition takes the records as they were read, with their versions, and returns a
//! [`Decision`](super::receipt::Decision): what to write, what to record in the audit, and the evidence for the
//! next step, once the decision is durable. Two transitions from the same version cannot both be written, so
//! every race has one winner.
//!
//! Invariants:
//! - T1. The outcome of a code is decided with the record that it replaces, and nobody learns it before it is
//!   durable. That same decision charges a wrong code.
//! - T2. A right code never removes another try's charge: nothing resets the 30-day budget.
//! - T3. A spent step is never spent again, and neither is an earlier one. For two minutes the same request
//!   gets the signatures that the step was spent on once more.
//! - T4. A locked user's code is not checked.
//! - T5. Each peer has its own count of wrong PINs: a peer that used up its tries locks only itself out.
//! - T6. The limits of a period are judged against the state that the commit replaces, and the same commit
//!   charges what leaves.
//! - T7. Whatever the outcome of the codes, the same records are written, with the same lengths.
//! - T8. No code is checked for a frozen thing, and no decision from before the freeze is committed after it
//!   ([`super::freeze`]).

mod administration;
mod budget;
mod codes;
mod consent;
mod documents;
mod former;
mod keys;
mod pins;
mod records;
mod signable;
mod ticket;
mod way;

pub use administration::{Recorded, believe_clock, decline, stop};
pub(crate) use administration::{
    add_user, freeze, initialise, remove_user, restore, set_credentials, set_officers, take_clock, thaw,
    unlock_user,
};
pub use budget::{
    BACK_OFF_FIRST, BACK_OFF_FROM, BACK_OFF_MOST, BUDGET, BUDGET_PERIOD, Budget, LOCK_FROM, Locked,
};
pub use consent::{
    AssertedWord, Consent, DeviceError, PasskeyWordError, Proposed, SignedWord, Word, consent,
    consent_by_device, consent_by_passkey, propose, withdraw,
};
pub use former::{FormerUsers, MAX_FORMER};
pub use keys::KeyRecord;
pub(crate) use keys::{add_key, change_key, changes};
pub use pins::{
    HeirFound, MAX_PEERS, OfficerPin, PEER_TRIES, PIN_BUDGET, Peer, PinCharged, PinClosed, PinKnown,
    PinMatched, PinStanding, UserPin, accept_pin, charge_pin, verify_heir, verify_pin,
};
pub(crate) use pins::{
    change_pin, inherit_so_pin, is_so_pin, lose_so_pin, lose_user_pin, set_user_pin, unlock_user_pin,
};
pub use records::{ClockRecord, Epoch, NobodyRecord, Retired, TokenRecord, UserRecord, WalletState};
pub use signable::Signable;
pub use ticket::Ticket;
pub use way::{
    Claim, Consumed, Declined, Enrolment, Moment, Opened, Outcome, Subject, Untried, Veto, confirm, decide,
    veto,
};
