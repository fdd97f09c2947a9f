//! Tests of the engine: over a ledger in memory, over the sealed ledger and a real file, and in the real
//! module over a SoftHSM2 token, while an attacker has the disk, the power switch, the clock or the token.

mod acts;
mod ceremonies;
mod codes;
mod consents;
mod counting;
mod digest_keys;
mod faults;
mod freeze;
mod growth;
mod ledger_model;
mod officers;
mod refusals;
mod restoration;
mod shapes;
mod state;
mod stores;
mod tokens;
