//! The transport of `countersign serve`: real sockets, real TLS, and a module that is none.

#[path = "transport/client.rs"]
mod client;
#[path = "transport/doors.rs"]
mod doors;
#[path = "transport/frames.rs"]
mod frames;
#[path = "transport/growth.rs"]
mod growth;
#[path = "transport/lanes.rs"]
mod lanes;
#[path = "transport/limits.rs"]
mod limits;
#[path = "transport/stop.rs"]
mod stop;
#[path = "transport/support.rs"]
mod support;
#[path = "transport/tls.rs"]
mod tls;
#[path = "transport/vsock.rs"]
mod vsock;
