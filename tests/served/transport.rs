//! The transport of `countersign serve`: real sockets, real TLS, and a mock of the module.

mod client;
mod doors;
mod frames;
mod growth;
mod lanes;
mod limits;
mod stop;
mod support;
mod tls;
mod vsock;
