//! The kernel: all decisions, no access to the world.
//!
//! Nothing here reads a clock, a file or a random source, or writes a log. Inputs come in as values (`now`, the old state, bytes), and
//! decisions go out as values (the new state, evidence, a refusal). So a test can call each rule, and the way of one signature stays
//! readable.

#![forbid(unsafe_code)]

pub mod act;
pub mod administration;
pub mod anchor;
pub mod approval;
pub mod audit;
pub mod binding;
pub mod clock;
pub mod consent;
pub mod credential;
pub mod digest_key;
pub mod direction;
pub mod document;
pub mod factor;
pub mod failures;
pub mod freeze;
pub mod history;
pub mod key;
pub mod message;
pub mod motion;
pub mod name;
pub mod network;
pub mod officer;
pub mod otp;
pub mod passkey;
pub mod pin;
pub mod policy;
pub mod proposal;
pub mod psbt;
pub mod receipt;
pub mod recent;
pub mod record;
pub mod rule;
pub mod seal;
pub mod signer;
pub mod state;
pub mod text;
pub mod utc;
pub mod wallet;
