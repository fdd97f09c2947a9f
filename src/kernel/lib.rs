//! The kernel: every decision, no world.
//!
//! Nothing here reads a clock, a file, a random source or writes a log: what is needed comes in as a value (`now`,
//! the old state, bytes) and what is decided goes out as a value (the new state, evidence, a refusal). That makes
//! each rule testable by calling it, and keeps the way of one signature readable.

#![forbid(unsafe_code)]

pub mod act;
pub mod anchor;
pub mod approval;
pub mod audit;
pub mod clock;
pub mod digest_key;
pub mod failures;
pub mod otp;
pub mod pin;
pub mod policy;
pub mod psbt;
pub mod receipt;
pub mod recent;
pub mod rule;
pub mod seal;
pub mod signable;
pub mod signer;
pub mod state;
pub mod utc;
pub mod wallet;
