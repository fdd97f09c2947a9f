//! Tokens that differ from SoftHSM2: the module over a shim that behaves like them.

mod discovery;
mod doctor;
mod sealing;
mod shim;
