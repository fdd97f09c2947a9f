//! The transport of `countersign serve`: real sockets, real TLS, and a module that is none.

#[path = "transport/client.rs"]
mod client;
