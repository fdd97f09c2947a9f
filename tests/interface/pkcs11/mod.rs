//! The chapters: one file for each of PKCS#11 section 5, and what goes through all of them.
//!
//! This file is in the crate twice, as the module `direct` and as the module `served`. So every test of every chapter runs both
//! ways, and none can be forgotten.

mod at_once;
mod attacks;
mod attributes;
mod clock;
mod digest_key;
mod find;
mod functions;
mod general;
mod key_management;
mod manners;
mod message_sign;
mod object;
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
/// Whether they do through a boundary.
const IS_CLIENT: bool = matches!(WAY, Way::Served);

/// Runs `body` in a process of its own that has a fresh boundary, and gives what was written to standard error.
fn in_boundary(test: &str, body: impl FnOnce(&Boundary)) -> String {
    WAY.in_boundary(test, body)
}

/// What the other role's login is answered: this where both roles come in by one door, and else that this door is not theirs.
fn where_there_is_one_door(rv: CK_RV) -> CK_RV {
    if IS_CLIENT { CKR_ACTION_PROHIBITED } else { rv }
}
