//! The signed plugin: what is loaded into the boundary, enough officers have signed, and it is not an old one.
//!
//! The library of most of these tests is a few lines of C that tell when they run; the officers' keys are minisign's.

mod boundary;
#[path = "plugin/commands.rs"]
mod commands;
#[path = "plugin/floor.rs"]
mod floor;
#[path = "plugin/load.rs"]
mod load;
#[path = "plugin/release.rs"]
mod release;
#[path = "plugin/stock.rs"]
mod stock;
#[path = "plugin/tampering.rs"]
mod tampering;
#[path = "plugin/threshold.rs"]
mod threshold;
