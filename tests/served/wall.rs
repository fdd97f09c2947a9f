//! The wall between the boundary and a backend, tried with two Unix users. `countersign serve` runs as one of
//! them. The attacker is the other, who has the backends' PIN and may use the backends' socket.
//!
//! Each attack is also tried where it must succeed, so that a refusal does not come from an attack that never
//! works.
//!
//! Only root can become both users. Without root the tests run themselves again with `sudo -n`. If that is
//! not possible either, they print so and end.

mod attack;
mod desk;
mod files;
mod memory;
mod running;
mod sockets;
mod starting;
mod token;
mod traces;
