//! The signed plugin: what is loaded into the boundary, enough officers have signed, and it is not an old one.
//!
//! The library of most of these tests is a few lines of C that tell when they run; the officers' keys are minisign's.

mod commands;
mod floor;
mod load;
mod release;
mod stock;
mod tampering;
mod threshold;
