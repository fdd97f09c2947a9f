//! What only a client of a running `countersign serve` can meet.

mod amplified;
mod lost;
mod race;
mod roles;
mod trips;
mod versions;
