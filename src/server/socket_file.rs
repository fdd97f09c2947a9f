//! The files of Unix sockets: whether clients still find them, and how a door gets a new one.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;
use socket2::Socket;

/// The file of a Unix socket, as it was when its door was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
    /// Whether this process made it. Otherwise the service manager did.
    is_ours: bool,
}

impl SocketFile {
    /// The file at `path` as it is now.
    pub(crate) fn at(path: &Path, is_ours: bool) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.into(), file: (found.dev(), found.ino()), is_ours })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is gone or replaced.
    pub(crate) fn is_gone(&self) -> bool {
        !SocketFile::at(&self.path, self.is_ours).is_ok_and(|found| found == *self)
    }
}

impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = if self.is_ours {
            "SIGHUP (systemctl reload) makes it again"
        } else {
            "restart the .socket unit that made it, then the boundary"
        };
        write!(f, "its socket {} was removed or replaced; {next}", self.path.display())
    }
}

/// Hands a new socket to an open door.
pub(crate) struct Successor {
    /// Readable while a socket waits.
    bell: OwnedFd,
    socket: Mutex<Option<Socket>>,
}

impl Successor {
    pub(crate) fn new() -> io::Result<Successor> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Successor { bell, socket: Mutex::default() })
    }

    pub(crate) fn bell(&self) -> &OwnedFd {
        &self.bell
    }

    /// Gives the door a socket to go on with.
    pub(crate) fn give(&self, socket: Socket) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        let rung = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        rung.expect("an event counts from zero to one");
    }

    /// The socket that waits, if one does.
    pub(crate) fn take(&self) -> Option<Socket> {
        // Sets the count to zero, so that it is not readable any more.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
