//! Shared by the tests: one harness for each way to reach Countersign, and one place for every fake.
//!
//! | module | what is under test | what stands in for the rest |
//! |---|---|---|
//! | [`engine`] | the engine as a Rust library | clock, ledger and random source in memory; wallets, PSBTs and cosigners |
//! | [`module`] | `libcountersign.so` through its C interface, and the command line over it | a SoftHSM2 token for each test; a shim in front of it that misbehaves on demand |
//! | [`served`] | the same through a running `countersign serve` | |
//! | [`officers`] | the command line on an officer's own machine, and minisign beside it | |
//! | [`users`] | the same, where the boundary and the backend are two Unix users | |
//!
//! [`Way`] is how a test of the C interface reaches the engine. [`alone`] gives a test a process that no other test shares.

pub mod alone;
mod built;
pub mod counting;
mod descriptors;
pub mod device;
pub mod engine;
pub mod module;
pub mod officers;
pub mod served;
pub mod users;
mod way;

pub use built::{program, target_folder};
pub use descriptors::open_descriptors;
pub use way::Way;

use std::path::Path;

/// The path of the test in which this macro stands, as the test harness takes it.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        let path = core::any::type_name_of_val(&here).trim_end_matches("::here");
        path.split_once("::").expect("a path begins with the crate").1
    }};
}

/// The folder of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("it is tests/harness")
}
