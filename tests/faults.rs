//! Matrices of faults against the real module over a real SoftHSM2 token: each is complete in its dimension, and prints
//! how many cases it tried.
//!
//! A code that was used is always tried again with another transaction. The same transaction under the same code may be
//! refused or answered by the very same signatures: either way it is one transaction.

mod boundary;

#[path = "faults/bits.rs"]
mod bits;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/crash.rs"]
mod crash;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/inject.rs"]
mod inject;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/objects.rs"]
mod objects;
#[path = "faults/older.rs"]
mod older;
#[path = "faults/race.rs"]
mod race;
#[path = "faults/served.rs"]
mod served;
#[path = "faults/shape.rs"]
mod shape;
#[path = "faults/story.rs"]
mod story;
#[path = "faults/token.rs"]
mod token;
