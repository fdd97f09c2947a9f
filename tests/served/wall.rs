//! The wall between the boundary and a backend, tried with two Unix users: `countersign serve` runs as one, whoever attacks it as
//! the other, who has the backend's PIN and may use the backends' socket.
//!
//! Each attack is tried on something that it works on, too, so that a refusal is not just an attack that never works.
//!
//! Root alone can become both users. Without root the tests run themselves again by `sudo -n`; where that is not possible either,
//! they print so and end.

mod attack;
mod files;
mod memory;
mod running;
mod sockets;
mod starting;
mod token;
mod traces;
