//! Matrices of faults against the real module over a real SoftHSM2 token. Each is complete in its dimension,
//! and prints how many cases it tried.
//!
//! A used code is always tried again with another transaction. The same transaction under the same code may
//! be refused, or answered with the very same signatures: either way it is one transaction.

mod bits;
mod clock;
mod copies;
mod crash;
mod descriptors;
mod disk;
mod inject;
mod load;
mod objects;
mod older;
mod race;
mod served;
mod shape;
mod story;
mod token;
