//! The wall between the boundary and a backend, tried with two Unix users: `countersign serve` runs as one, whoever attacks it as
//! the other, who has the backend's PIN and may use the backends' socket.
//!
//! Each attack is tried on something that it works on, too, so that a refusal is not just an attack that never works.
//!
//! Root alone can become both users. Without root the tests run themselves again by `sudo -n`; where that is not possible either,
//! they print so and end.

mod boundary;

#[path = "wall/attack.rs"]
mod attack;
#[path = "wall/files.rs"]
mod files;
#[path = "wall/memory.rs"]
mod memory;
#[path = "wall/running.rs"]
mod running;
#[path = "wall/sockets.rs"]
mod sockets;
#[path = "wall/stage.rs"]
mod stage;
#[path = "wall/starting.rs"]
mod starting;
#[path = "wall/token.rs"]
mod token;
#[path = "wall/traces.rs"]
mod traces;
