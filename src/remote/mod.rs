//! The same calls, carried to the boundary: what runs between a library with `[connect]` in its configuration, a client, and
//! `countersign serve`, which has the module.
//!
//! ```text
//! client                                      countersign serve
//! Stream::connect ── Unix, TLS, vsock ──────► server: door → peer allowed? → connection
//! Hello ────────────────────────────────────► Boundary::open, or a further connection of one
//!       ◄──────────────────────────────────── Welcome
//! request frame ────────────────────────────► Boundary::answer
//!       ◄──────────────────────────────────── Response
//! ```
//!
//! - W1. Nobody unknown is heard: the peer's user, certificate or context id is checked before the first byte of a frame is
//!   read ([`server`]).
//! - W2. Nothing grows by what a peer claims: frames, connections, calls and memory are bounded ([`frame`], [`budget`], [`server`]).
//! - W3. Who is slow waits alone: each connection has a thread of its own and a time limit for each frame ([`stream`]).
//! - W4. An application that lost a connection is over: its sessions and logins are closed once, and its other connections
//!   with them ([`server`]).
//! - W5. What passed is wiped: the buffers of frames are. TLS decrypts into buffers of rustls that are not; whoever reads
//!   this process's memory reads the module's.

pub mod budget;
pub mod client;
pub mod fair;
pub mod frame;
pub mod hello;
pub mod interface;
pub mod server;
pub mod standing;
pub mod stream;
pub mod tls;
mod wire;

use zeroize::Zeroizing;

use self::standing::Standing;

use crate::kernel::act::ActCount;

/// An answer of the module.
pub type CkRv = cryptoki_sys::CK_RV;

/// The module behind the door, as the host of connections sees it.
pub trait Boundary: Send + Sync + 'static {
    /// Begins an application: sessions and logins of its own. Its handles are numbered from `first_handle` on. `identity`
    /// names the peer that it came from, the same each time that peer comes ([`server::allowed::Peer::identity`]).
    fn open(&self, first_handle: u64, role: PeerRole, identity: &str) -> Result<u64, CkRv>;

    /// Carries one request to it, and gives the answer. Several at a time may be under way for one application. An error
    /// is not the answer to a call: it says that nothing can be carried to this application any more.
    fn answer(&self, application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv>;

    /// Ends it, with all its sessions and logins.
    fn close(&self, application: u64);

    /// What keeps it from its work now.
    fn standing(&self) -> Standing;

    /// The acts of administration since it was opened, by kind and how they ended.
    fn administration(&self) -> Vec<ActCount> {
        Vec::new()
    }
}

/// What a peer is let in as. A backend's door never accepts the SO's login; that is enforced behind [`Boundary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// Signs, with codes of users.
    Backend,
    /// Administers.
    Administrator,
}
