//! The chapters: one file for each of PKCS#11 section 5, and tests across all of them.
//!
//! This file is in the crate twice, as the module `direct` and as the module `served`. So every test of every
//! chapter runs both ways, and nobody can forget one.

mod acts;
mod at_once;
mod attacks;
mod attributes;
mod clock;
mod consents;
mod digest_key;
mod factors;
mod find;
mod freeze;
mod functions;
mod general;
mod heir;
mod key_management;
mod manners;
mod message_sign;
mod object;
mod officers;
mod random;
mod rules;
mod session;
mod session_object;
mod sign;
mod slot_token;
mod template;
mod verify;

use cryptoki_sys::{CK_RV, CKR_ACTION_PROHIBITED};
use harness::Way;
use harness::module::Boundary;

/// How the tests of this copy reach the engine.
const WAY: Way = Way::of(module_path!());
/// Whether they reach it through a boundary.
const IS_CLIENT: bool = matches!(WAY, Way::Served);

/// Runs `body` in a process of its own with a fresh boundary, and returns what it wrote to standard error.
fn in_boundary(test: &str, body: impl FnOnce(&Boundary)) -> String {
    WAY.in_boundary(test, body)
}

/// The answer to the other role's login: `rv` if both roles use one door, otherwise that this door is not
/// theirs.
fn where_there_is_one_door(rv: CK_RV) -> CK_RV {
    if IS_CLIENT { CKR_ACTION_PROHIBITED } else { rv }
}
