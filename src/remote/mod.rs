//! The way to the boundary, between the client (a library with `[connect]` in its configuration) and
//! `countersign serve`, which has loaded the module. It carries bytes, and does not know what they mean.
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
//! - W1. The server checks a peer's user, certificate or context id before it reads the first byte of a frame (`countersign-server`).
//! - W2. No claim of a peer makes anything grow: frames, connections, calls and memory are bounded ([`frame`], [`budget`], and
//!   the server).
//! - W3. A slow peer delays nobody else: each connection has a thread of its own and a time limit for each frame ([`stream`]).
//! - W4. An application that loses one connection ends: the server closes its other connections, and once its sessions and logins
//!   (`countersign-server`).
//! - W5. The buffers of frames are wiped. The buffers into which rustls decrypts are not; whoever can read them can read the module's
//!   memory, too.

pub mod budget;
pub mod client;
pub mod fair;
pub mod frame;
pub mod hello;
pub mod interface;
pub mod standing;
pub mod stream;
pub mod tls;
mod wire;

use zeroize::Zeroizing;

use self::interface::Administration;
use self::standing::Standing;

/// A return value of the module.
pub type CkRv = cryptoki_sys::CK_RV;

/// The module, as the server sees it.
pub trait Boundary: Send + Sync + 'static {
    /// Begins an application, with sessions and logins of its own, which numbers its handles from `first_handle` on. `identity` names
    /// its peer, the same each time that peer connects (see `Peer::identity` of the server).
    fn open(&self, first_handle: u64, role: PeerRole, identity: &str) -> Result<u64, CkRv>;

    /// Answers one request of an application, which may have several under way. An error is not an answer: it
    /// means that the application has ended.
    fn answer(&self, application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv>;

    /// Ends an application, with all its sessions and logins.
    fn close(&self, application: u64);

    /// The faults that keep the module from working now.
    fn standing(&self) -> Standing;

    /// What is counted of administration.
    fn administration(&self) -> Administration {
        Administration::default()
    }
}

/// The role in which a peer is admitted. The module enforces that a backend never logs in as the SO, and that a desk never logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// Signs, with codes of users.
    Backend,
    /// Administers.
    Administrator,
    /// Shows users what the boundary wrote about proposed transactions, and brings what they say to it.
    Desk,
}
