//! The world, as implementations of the ports.
//!
//! SQLite holds the sealed records, and a backing token (through `cryptoki`) holds the sealing key and the
//! anchor. The configuration chooses them.

pub mod backing;
pub mod clock;
pub mod config;
mod exit;
pub mod file;
pub mod image;
pub mod inspection;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod ownership;
pub mod random;
pub mod sqlite;
pub mod vault;
