//! The C interface, through the real module over a real SoftHSM2 token.
//!
//! The chapters of `pkcs11/` are here twice: with the engine in the module itself, and with the module as a
//! client of a running `countersign serve`.

#![expect(clippy::duplicate_mod, reason = "each chapter runs both ways")]

mod clients;
mod config;
mod connected;
#[path = "pkcs11/mod.rs"]
mod direct;
mod exports;
mod misuse;
#[path = "pkcs11/mod.rs"]
mod served;
