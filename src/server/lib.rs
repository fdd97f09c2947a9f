//! The boundary's side: doors, the peers that may pass them, applications and their connections.
//!
//! Each door has a thread, and so has each connection, with blocking sockets. A call waits for synced commits anyway, and is never
//! handed from thread to thread.
//!
//! - H1. The server judges a peer before it reads a byte of its frames: by the user that the system names, by a certificate that is
//!   valid now, or by the context id. Unknown peers are limited in number and time ([`door`], `allowed`).
//! - H2. Backends, administrators and the desk have separate limits of connections and calls, so none can use up another's (`limits`).
//! - H3. A call over the limit waits in its own connection, as long as a frame may take. Nothing queues elsewhere. No peer has more
//!   than its share of the turns while another waits, and a peer's first call has a turn at once ([`countersign::remote::fair`]).
//! - H4. An application that loses a connection ends once, after its last call (`applications`). If the server stops, or the
//!   application was silent for too long, calls under way are still answered.
//! - H5. A new configuration also judges open connections. A configuration that cannot be used changes nothing.

mod admission;
mod allowed;
mod applications;
mod connection;
mod connections;
pub mod door;
pub mod health;
mod limits;
mod metrics;
mod socket_file;
mod tls;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign::remote::budget::Budget;
use countersign::remote::fair::Fair;
use countersign::remote::tls::TlsError;
use countersign::remote::{Boundary, PeerRole};
use countersign::shell::config::{ServeConfig, ServeLimits, UserName};
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;

use self::allowed::{Allowed, Peer};
use self::applications::Applications;
use self::connections::Connections;
use self::door::{Bound, Door, Listener};
use self::health::Health;
use self::limits::{Places, Rarely};
use self::socket_file::Successor;

pub use self::allowed::{users_in_both_roles, warning_of_both_roles};
pub use self::metrics::Metrics;

/// Bytes that the large frames of all backends may take together, those of all administrators, and those of the desk.
const BUDGET: usize = 64 << 20;
/// The most TCP connections that have not shown a certificate yet.
const MAX_STRANGERS: usize = 128;
/// How long to wait for connections that were cut off.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    doors: Mutex<Vec<OpenDoor>>,
    /// Becomes readable when the doors must close.
    closing: Arc<OwnedFd>,
}

/// A door and its thread.
struct OpenDoor {
    door: Door,
    thread: JoinHandle<()>,
    successor: Arc<Successor>,
    /// Removes the socket's file after the thread has ended.
    bound: Option<Bound>,
}

/// What every connection needs.
struct Shared {
    limits: ServeLimits,
    allowed: RwLock<Arc<Allowed>>,
    connections: Connections,
    applications: Applications,
    places: PerRole<Places>,
    calls: PerRole<Fair<Peer>>,
    strangers: Places,
    budgets: PerRole<Arc<Budget>>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stopping: Arc<AtomicBool>,
    log: Rarely,
}

impl Server {
    /// Serves on these listeners.
    pub fn start(
        config: &ServeConfig,
        listeners: Vec<Listener>,
        boundary: Arc<dyn Boundary>,
    ) -> Result<Server, ServeError> {
        let limits = config.limits;
        let budgets = PerRole::of(|| Budget::new(BUDGET));
        let health = Arc::new(Health::new(Arc::clone(&boundary)));
        let metrics = Arc::new(Metrics::new(budgets.all(), Arc::clone(&health)));
        let stopping = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            allowed: RwLock::new(Arc::new(Allowed::resolve(config)?)),
            connections: Connections::default(),
            applications: Applications::new(boundary, Arc::clone(&metrics), Arc::clone(&stopping)),
            limits,
            places: PerRole::of(|| Places::new(limits.max_connections)),
            calls: PerRole::of(|| Fair::new(limits.max_calls)),
            strangers: Places::new(MAX_STRANGERS),
            budgets,
            health,
            metrics,
            stopping,
            log: Rarely::new(),
        });
        let system = |error: io::Error| ServeError::System(error.to_string());
        let closing =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| system(error.into()))?;
        let server = Server { shared, doors: Mutex::default(), closing: Arc::new(closing) };
        for listener in listeners {
            let door = server.open_door(listener).map_err(system)?;
            server.doors().push(door);
        }
        Ok(server)
    }

    fn open_door(&self, mut listener: Listener) -> io::Result<OpenDoor> {
        let (shared, closing) = (Arc::clone(&self.shared), Arc::clone(&self.closing));
        let (door, successor) = (listener.door(), Arc::new(Successor::new()?));
        let (file, bound) = listener.take_file();
        shared.health.opened(door, file);
        let renewed = Arc::clone(&successor);
        let work = move || {
            let accept = || listener.accept_until(&closing, &renewed, |came| admission::admit(&shared, came));
            shared.health.of_door(door, accept);
        };
        let thread = std::thread::Builder::new().name(format!("door {}", door.name())).spawn(work)?;
        Ok(OpenDoor { door, thread, successor, bound })
    }

    fn doors(&self) -> MutexGuard<'_, Vec<OpenDoor>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sockets again whose files are gone, except those of the service manager.
    fn renew_sockets(&self) -> Result<(), ServeError> {
        for OpenDoor { door, successor, bound, .. } in self.doors().iter_mut() {
            let Some(bound) = bound.as_mut().filter(|bound| bound.file().is_gone()) else { continue };
            successor.give(bound.renew()?);
            self.shared.health.opened(*door, Some(bound.file().clone()));
            tracing::warn!(
                "made the socket {} of the door {} again",
                bound.file().path().display(),
                door.name()
            );
        }
        Ok(())
    }

    /// Takes users, names, context ids, certificates and keys from a new configuration, and ends the
    /// connections that it does not allow. Makes sockets again whose files are gone. Everything else in it
    /// applies from the next start on. An error changes nothing.
    pub fn reload(&self, config: &ServeConfig) -> Result<usize, ServeError> {
        let allowed = Arc::new(Allowed::resolve(config)?);
        self.renew_sockets()?;
        // This judges new connections from here on, so none slips in before the check of the open ones.
        *self.shared.allowed.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&allowed);
        Ok(self.shared.connections.close_where(|peer, certificates| {
            let ends = !allowed.still(peer, certificates);
            if ends {
                tracing::warn!("{peer} may not connect any more; closed its connection");
            }
            ends
        }))
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// The health.
    pub fn health(&self) -> &Arc<Health> {
        &self.shared.health
    }

    /// Closes the doors, lets calls under way end and be answered as long as the limits allow, then ends what is left. Returns how
    /// many connections were still in a call.
    pub fn stop(mut self) -> usize {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.close_doors();
        let connections = &self.shared.connections;
        connections.stop();
        let mut left = connections.wait_for_all(Instant::now() + self.shared.limits.stop);
        if left > 0 {
            connections.close_all();
            left = connections.wait_for_all(Instant::now() + LAST_MOMENT);
        }
        left
    }

    fn close_doors(&mut self) {
        // It stays readable, for every door.
        let rung = rustix::io::write(&*self.closing, &1_u64.to_ne_bytes());
        rung.expect("an event counts from zero to one");
        for OpenDoor { thread, bound, .. } in std::mem::take(&mut *self.doors()) {
            // A door that has panicked is closed, too.
            let _ = thread.join();
            drop(bound);
        }
        self.shared.health.closed();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop`, this does nothing.
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.close_doors();
        self.shared.connections.close_all();
    }
}

impl Shared {
    fn allowed(&self) -> Arc<Allowed> {
        Arc::clone(&self.allowed.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One for backends, one for administrators, and one for the desk.
struct PerRole<T> {
    backends: T,
    administrators: T,
    desk: T,
}

impl PerRole<Arc<Budget>> {
    fn all(&self) -> [Arc<Budget>; 3] {
        [&self.backends, &self.administrators, &self.desk].map(Arc::clone)
    }
}

impl<T> PerRole<T> {
    fn of(make: impl Fn() -> T) -> PerRole<T> {
        PerRole { backends: make(), administrators: make(), desk: make() }
    }

    fn of_role(&self, role: PeerRole) -> &T {
        match role {
            PeerRole::Backend => &self.backends,
            PeerRole::Administrator => &self.administrators,
            PeerRole::Desk => &self.desk,
        }
    }
}

/// The reason why the server does not start, or refuses a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration names a user that does not exist.
    #[error("{key}: there is no user {user} on this machine; create it, or correct the name")]
    NoSuchUser {
        /// The key of the configuration.
        key: &'static str,
        /// As configured.
        user: UserName,
    },
    /// The desk's user may also come in by another door.
    #[error(
        "serve.desk.user: user {user} is also in {also}; a code that this user's desk brings would count as one that no backend has seen; give the desk a Unix user of its own"
    )]
    DeskUser {
        /// As configured.
        user: UserName,
        /// The other key of the configuration.
        also: &'static str,
    },
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The folder of a socket is not safe.
    #[error(
        "{key}: the folder {} {problem}; whoever can write there could replace the socket; use a folder that only its owner can write, such as /run/countersign",
        folder.display()
    )]
    Folder {
        /// The key of the configuration.
        key: &'static str,
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process serves there.
    #[error("{key}: {} is already served by process {process}; stop that process, or name another path", path.display())]
    Served {
        /// The key of the configuration.
        key: &'static str,
        /// The socket.
        path: PathBuf,
        /// The process.
        process: String,
    },
    /// Something other than a socket is there.
    #[error("{key}: {} is there and is no socket; move it away, or name another path", path.display())]
    NoSocket {
        /// The key of the configuration.
        key: &'static str,
        /// What is there.
        path: PathBuf,
    },
    /// The server cannot listen on the address.
    #[error("{key}: cannot listen on {address}: {problem}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// As configured.
        address: String,
        /// The system's reason.
        problem: String,
    },
    /// The service manager passed on a socket that cannot be used.
    #[error("the socket {name:?} that the service manager passed on {problem}; correct the .socket unit")]
    Passed {
        /// Its name in `LISTEN_FDNAMES`.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The system refuses something that every server needs.
    #[error("the system refused: {0}")]
    System(String),
}
