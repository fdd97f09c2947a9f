//! Situations that only a client of a running `countersign serve` meets.

mod amplified;
mod lost;
mod race;
mod roles;
mod trips;
mod versions;
