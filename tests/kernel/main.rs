//! Tests of the kernel against the standards and other people's software: derivation, PSBTs, policies and
//! signatures.

mod acts_model;
mod bip143;
mod bip174;
mod bip32;
mod bip340;
mod bip370;
mod bip388;
mod changed_field;
mod consent;
mod model;
mod policy;
mod recovery;
mod search;
mod signer;
mod testkit;
