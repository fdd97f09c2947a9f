//! The world: what the ports are made of.
//!
//! SQLite holds the sealed records, a backing token (through `cryptoki`) holds the sealing key and the anchor, the
//! configuration says which.

pub mod backing;
pub mod clock;
pub mod config;
mod exit;
pub mod inspection;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod ownership;
pub mod random;
pub mod sqlite;
pub mod vault;
