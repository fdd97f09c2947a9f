//! Doors: the sockets on which peers connect.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign::paths::with_suffix;
use countersign::remote::PeerRole;
use countersign::shell::config::ServeConfig;
use countersign::shell::lock::{LockError, LockFile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};

use super::ServeError;
use super::socket_file::{SocketFile, Successor};

/// The most connections that wait for a door to accept them.
const BACKLOG: i32 = 1024;
/// How long a door waits if the system has no room for a connection.
const NO_ROOM: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long to wait for a server that may already serve a socket.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(2);

/// A door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The Unix socket of this role.
    Unix(PeerRole),
    /// TLS over TCP.
    Tcp,
    /// The vsock.
    Vsock,
}

impl Door {
    /// Its name in metrics, and of its table in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Door::Unix(PeerRole::Backend) => "backend",
            Door::Unix(PeerRole::Administrator) => "administrators",
            Door::Unix(PeerRole::Desk) => "desk",
            Door::Tcp => "tcp",
            Door::Vsock => "vsock",
        }
    }

    /// Whether peers in this role may use it.
    pub(crate) fn lets_in(self, role: PeerRole) -> bool {
        match self {
            Door::Unix(of) => of == role,
            // A desk is on this machine, as a user whom the system names.
            Door::Tcp | Door::Vsock => role != PeerRole::Desk,
        }
    }
}

/// A connection that a door has accepted.
pub(crate) struct Arrival {
    pub(crate) door: Door,
    pub(crate) socket: Socket,
    pub(crate) from: SockAddr,
}

/// An open door.
pub struct Listener {
    door: Door,
    socket: Socket,
    /// Removed when the door closes.
    bound: Option<Bound>,
    /// The file of a Unix socket.
    file: Option<SocketFile>,
}

/// Sockets from the service manager, instead of those of the configuration.
#[derive(Default)]
pub struct Passed {
    /// Named `backend`.
    pub backend: Option<OwnedFd>,
    /// Named `administrators`.
    pub administrators: Option<OwnedFd>,
    /// Named `desk`.
    pub desk: Option<OwnedFd>,
}

/// Opens all doors of the configuration.
pub fn open(config: &ServeConfig, passed: Passed) -> Result<Vec<Listener>, ServeError> {
    let mut listeners = Vec::new();
    for (role, key, door, passed) in [
        (PeerRole::Backend, "serve.backend.socket", &config.backend, passed.backend),
        (
            PeerRole::Administrator,
            "serve.administrators.socket",
            &config.administrators,
            passed.administrators,
        ),
        (PeerRole::Desk, "serve.desk.socket", &config.desk, passed.desk),
    ] {
        let kind = Door::Unix(role);
        match (door, passed) {
            (Some(_), Some(socket)) => {
                let socket = take_over(kind.name(), socket)?;
                let file = passed_file(&socket);
                listeners.push(Listener { door: kind, socket, bound: None, file });
            }
            // Any user may connect to the socket. The server judges the user.
            (Some(door), None) => {
                let (socket, bound) = listen_unix(key, &door.socket, 0o666)?;
                let file = Some(bound.file.clone());
                listeners.push(Listener { door: kind, socket, bound: Some(bound), file });
            }
            (None, Some(_)) => {
                let problem = format!("belongs to no table [serve.{}] of the configuration", kind.name());
                return Err(ServeError::Passed { name: kind.name().into(), problem });
            }
            (None, None) => {}
        }
    }
    if let Some(door) = &config.tcp {
        let socket = listen_tcp(door.address)?;
        listeners.push(Listener { door: Door::Tcp, socket, bound: None, file: None });
    }
    if let Some(door) = &config.vsock {
        let socket = listen_vsock(door.port)?;
        listeners.push(Listener { door: Door::Vsock, socket, bound: None, file: None });
    }
    Ok(listeners)
}

impl Listener {
    /// Which door it is.
    pub fn door(&self) -> Door {
        self.door
    }

    /// Where it is.
    pub fn address(&self) -> io::Result<SockAddr> {
        self.socket.local_addr()
    }

    /// Its file, and what removes that when it is dropped.
    pub(crate) fn take_file(&mut self) -> (Option<SocketFile>, Option<Bound>) {
        (self.file.take(), self.bound.take())
    }

    /// Accepts connections until `closing` is readable, and goes on with the socket of `successor` once there is one.
    ///
    /// The socket itself is never shut down: another process may have it, too.
    pub(crate) fn accept_until(
        mut self,
        closing: &OwnedFd,
        successor: &Successor,
        mut take: impl FnMut(Arrival),
    ) {
        let mut failing = false;
        loop {
            let mut ready = [&self.socket.as_fd(), &closing.as_fd(), &successor.bell().as_fd()]
                .map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN));
            // After an interruption all three are checked, as after an event.
            let _ = poll(&mut ready, None);
            let [_, closes, renewed] = ready.map(|file| !file.revents().is_empty());
            if closes {
                return;
            }
            if renewed && let Some(socket) = successor.take() {
                self.socket = socket;
                continue;
            }
            match self.socket.accept() {
                Ok((socket, from)) => {
                    failing = false;
                    take(Arrival { door: self.door, socket, from });
                }
                Err(error) if goes_on(&error) => {}
                // There is no descriptor or no memory for it. The connection goes on waiting.
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(
                            "the door {} cannot accept connections: {error}; raise LimitNOFILE, or lower serve.max_connections",
                            self.door.name()
                        );
                    }
                    let mut ready = [PollFd::new(closing, PollFlags::IN)];
                    let _ = poll(&mut ready, Some(&NO_ROOM));
                }
            }
        }
    }
}

/// Whether the connection has gone or another thread has it.
fn goes_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}

/// A Unix socket with its file and the lock on that. Dropping removes the file.
pub struct Bound {
    key: &'static str,
    mode: u32,
    file: SocketFile,
    _lock: LockFile,
}

impl Bound {
    /// The socket's file.
    pub(crate) fn file(&self) -> &SocketFile {
        &self.file
    }

    /// Listens at the same path again, after the file has disappeared.
    pub(crate) fn renew(&mut self) -> Result<Socket, ServeError> {
        let path = self.file.path().to_owned();
        check_folder(self.key, path.parent().unwrap_or(Path::new("/")))?;
        if !beside(&path).exists() {
            // The lock file was removed with the socket, so our lock no longer keeps others away.
            self._lock = lock(self.key, &path)?;
        }
        let (socket, file) = bind(self.key, &path, self.mode)?;
        self.file = file;
        Ok(socket)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.file.is_gone() {
            // The next server replaces a stale file.
            let _ = fs::remove_file(self.file.path());
        }
    }
}

/// Listens at `path`. `mode` says who may write to the socket, and so connect.
pub fn listen_unix(key: &'static str, path: &Path, mode: u32) -> Result<(Socket, Bound), ServeError> {
    check_folder(key, path.parent().unwrap_or(Path::new("/")))?;
    let lock = lock(key, path)?;
    let (socket, file) = bind(key, path, mode)?;
    Ok((socket, Bound { key, mode, file, _lock: lock }))
}

/// Makes the socket at `path`, whose lock the caller holds, and listens on it.
fn bind(key: &'static str, path: &Path, mode: u32) -> Result<(Socket, SocketFile), ServeError> {
    let failed = |error: io::Error| ServeError::Listen {
        key,
        address: path.display().to_string(),
        problem: error.to_string(),
    };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServeError::NoSocket { key, path: path.into() });
        }
        Ok(_) => {
            if let Some(process) = living_server(path) {
                return Err(ServeError::Served { key, path: path.into(), process });
            }
            fs::remove_file(path).map_err(failed)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&SockAddr::unix(path).map_err(failed)?).map_err(failed)?;
    let file = SocketFile::at(path, true).map_err(failed)?;
    // Nobody can connect before it listens, and by then the mode is right.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    listen(&socket).map_err(failed)?;
    Ok((socket, file))
}

/// The file of a socket that the service manager passed on.
fn passed_file(socket: &Socket) -> Option<SocketFile> {
    let address = socket.local_addr().ok()?;
    SocketFile::at(address.as_pathname()?, false).ok()
}

/// Takes a socket from the service manager: a listening Unix stream socket.
pub fn take_over(name: &str, socket: OwnedFd) -> Result<Socket, ServeError> {
    let wrong = |problem: &str| ServeError::Passed { name: name.into(), problem: problem.into() };
    let socket = Socket::from(socket);
    let is = socket.domain().and_then(|domain| Ok((domain, socket.r#type()?, socket.is_listener()?)));
    match is {
        Ok((Domain::UNIX, Type::STREAM, true)) => {}
        _ => return Err(wrong("is no listening Unix stream socket")),
    }
    socket.set_nonblocking(true).map_err(|error| wrong(&error.to_string()))?;
    Ok(socket)
}

fn listen_tcp(address: SocketAddr) -> Result<Socket, ServeError> {
    let listening = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Otherwise, remains of an earlier server's connections would block the address.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        listen(&socket)?;
        Ok(socket)
    };
    listening().map_err(|error: io::Error| {
        let problem = match error.kind() {
            ErrorKind::AddrInUse => "another process listens there; stop it, or name another port".to_owned(),
            ErrorKind::PermissionDenied => "ports below 1024 are reserved; name a higher one".to_owned(),
            _ => error.to_string(),
        };
        ServeError::Listen { key: "serve.tcp.address", address: address.to_string(), problem }
    })
}

fn listen_vsock(port: u32) -> Result<Socket, ServeError> {
    // VMADDR_CID_ANY: whatever context id this machine has.
    let place = SockAddr::vsock(u32::MAX, port);
    let listening = || {
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
        socket.bind(&place)?;
        listen(&socket)?;
        Ok(socket)
    };
    listening().map_err(|error: io::Error| ServeError::Listen {
        key: "serve.vsock.port",
        address: format!("port {port}"),
        problem: format!("{error}; is this a virtual machine with a vsock, and is the port free?"),
    })
}

fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)
}

/// Nobody but root and our own user may be able to replace our socket.
fn check_folder(key: &'static str, folder: &Path) -> Result<(), ServeError> {
    let wrong = |folder: &Path, problem: String| ServeError::Folder { key, folder: folder.into(), problem };
    let whole =
        fs::canonicalize(folder).map_err(|error| wrong(folder, format!("cannot be used ({error})")))?;
    let ours = rustix::process::geteuid().as_raw();
    for (depth, folder) in whole.ancestors().enumerate() {
        let found =
            fs::metadata(folder).map_err(|error| wrong(folder, format!("cannot be used ({error})")))?;
        let mode = found.mode() & 0o7777;
        // Further up, the sticky bit keeps others from moving our folder. In the folder itself, others could still create the socket first.
        let others_write = mode & 0o022 != 0 && (depth == 0 || mode & 0o1000 == 0);
        if others_write {
            return Err(wrong(folder, format!("can be written by others (mode {mode:o})")));
        }
        if found.uid() != ours && found.uid() != 0 {
            return Err(wrong(folder, format!("belongs to another user (number {})", found.uid())));
        }
    }
    Ok(())
}

/// Takes the lock beside a socket's file. Only its holder may replace the file.
fn lock(key: &'static str, path: &Path) -> Result<LockFile, ServeError> {
    let beside = beside(path);
    let failed = |problem: String| ServeError::Listen {
        key,
        address: path.display().to_string(),
        problem: format!("its lock {} {problem}", beside.display()),
    };
    let mut lock = LockFile::take(&beside).map_err(|error| match error {
        LockError::Taken(process) => {
            // The process number only helps the operator.
            let process = process.unwrap_or_else(|| "unknown".into());
            ServeError::Served { key, path: path.into(), process }
        }
        LockError::Strange(what) => {
            failed(format!("is {what}; find out who put it there, then remove it (lock-link)"))
        }
        LockError::Io(error) => failed(format!("cannot be taken: {error}")),
    })?;
    lock.sign().map_err(|error| failed(format!("cannot be written: {error}")))?;
    Ok(lock)
}

fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".lock")
}

/// The process that serves this socket, if one does.
fn living_server(path: &Path) -> Option<String> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
    socket.set_write_timeout(Some(LIVENESS_TIMEOUT)).ok()?;
    match socket.connect(&SockAddr::unix(path).ok()?) {
        Ok(()) => {
            let process = socket_peercred(socket.as_fd()).map(|peer| peer.pid.as_raw_pid().to_string());
            Some(process.unwrap_or_else(|_| "unknown".into()))
        }
        // A stale file.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
        // Its queue is full, or it is of another kind: somebody has it.
        Err(_) => Some("unknown".into()),
    }
}
