//! Tokens that SoftHSM2 is not: the module over a shim that behaves like them.

mod discovery;
mod doctor;
mod sealing;
mod shim;
