//! Tokens that SoftHSM2 is not: the module over a shim that behaves like them.

mod boundary;

#[path = "tokens/discovery.rs"]
mod discovery;
#[path = "tokens/doctor.rs"]
mod doctor;
#[path = "tokens/sealing.rs"]
mod sealing;
#[path = "tokens/shim.rs"]
mod shim;
