//! The signed plugin: the boundary loads a library only if enough officers have signed it and it is not too
//! old.
//!
//! In most of these tests the library is a few lines of C that record when they run. The officers' keys are
//! minisign's.

mod commands;
mod floor;
mod load;
mod release;
mod stock;
mod tampering;
mod threshold;
