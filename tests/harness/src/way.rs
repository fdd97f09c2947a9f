//! The two ways to the engine.

use crate::module::{self, Boundary};
use crate::served;

/// How a test reaches the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The engine is in the module itself.
    Direct,
    /// The module is a client of a running `countersign serve`.
    Served,
}

impl Way {
    /// The way for the tests of a module whose path ends in `direct` or `served`. Any other path does not
    /// compile.
    pub const fn of(module_path: &str) -> Way {
        if ends_with(module_path, "::direct") {
            Way::Direct
        } else if ends_with(module_path, "::served") {
            Way::Served
        } else {
            panic!("the module is neither direct nor served")
        }
    }

    /// Runs `body` in a process of its own that has a fresh boundary, and reaches the engine in this way.
    pub fn in_boundary(self, test: &str, body: impl FnOnce(&Boundary)) -> String {
        match self {
            Way::Direct => module::in_boundary(test, body),
            Way::Served => served::in_boundary(test, body),
        }
    }
}

const fn ends_with(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    let mut at = 0;
    while at < end.len() {
        if text.len() < end.len() || text[text.len() - end.len() + at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}
