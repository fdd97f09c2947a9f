//! Countersign: a PKCS#11 module that signs a Bitcoin transaction only after it has itself verified the user's
//! one-time code.
//!
//! [`gate`] has the way of one signature:
//!
//! ```text
//! C_Sign bytes → Approval::parse → CheckedPsbt::parse → policy.judge → decide → commit → open
//!             → Authorization → signer::sign → bytes
//! ```
//!
//! Dependencies point inwards: `pkcs11 → open → shell → engine (gate, admin) → ports → kernel`. The kernel is
//! a crate of its own, whose dependencies give it no access to the world. The C interface and the shell do
//! not know each other; [`open`](mod@open) puts them together. The same library can be a client of the
//! boundary. Then `pkcs11 → remote` carries each call to `countersign serve`, which passes it to the module
//! that the officers signed. What only `serve` needs is in crates of their own, `countersign-plugin` and
//! `countersign-server`.
//!
//! Invariants, each argued where it is kept:
//!
//! - I1. No signature without a right code: the signer takes a [`kernel::signer::Authorization`], for a
//!   digest a [`kernel::signer::DigestAuthorization`], which can only be made from a receipt for consumed
//!   codes ([`kernel::signer`], G1).
//! - I2. No code twice: a step is spent, durably, before the signature exists, and never again
//!   ([`kernel::state`], T3).
//! - I3. No free guess: the outcome of a code is durable and anchored before anybody can learn anything about
//!   it, and that outcome charges a wrong code ([`kernel::state`], T1 and T7).
//! - I4. No silence: whatever cannot be read, opened, proved or trusted leads to a refusal. There is no
//!   permissive switch.
//! - I5. No old state: records are bound to place and version, and their set and history to an anchor in the
//!   backing token ([`kernel::seal`], [`kernel::anchor`]).
//! - I6. No unproved claim: what is ours is derived, and what it is worth is proved ([`kernel::psbt`], P1 to
//!   P5).
//! - I7. No secret outside: none in an error, a log line, an attribute or an argument list.
//! - I8. No limit passed in parts: what leaves is charged in the same commit for which the limits of its
//!   period were judged, and no change of policy resets it ([`kernel::state`], T6).
//! - I9. No code inside the boundary that too few officers signed, or that is below the floor. The floor's
//!   file has the highest floor of all releases that have run here (`countersign-plugin`). A release that is
//!   older than the one before, but not below the floor, can run.
//! - I10. No application reaches into another one: sessions, logins and handles are its own, and no backend
//!   can be the security officer ([`remote`], [`pkcs11`]).

pub mod admin;
mod cores;
pub mod engine;
pub mod gate;
pub use countersign_kernel as kernel;
pub mod open;
pub mod paths;
pub mod pkcs11;
pub mod ports;
pub mod ration;
pub mod remote;
pub mod shell;
