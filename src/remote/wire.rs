//! A connected socket with time limits.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use socket2::Socket;

/// The greatest length of a single write. The system starts its time limit again for each part of a large
/// write, so parts are kept small.
const MAX_WRITE_LEN: usize = 64 * 1024;
/// The most slices of one write.
const MAX_SLICES: usize = 8;
/// The shortest time limit. The system takes zero as no limit.
const LEAST: Duration = Duration::from_millis(1);

/// How long to wait for a peer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first byte of a frame.
    pub rest: Duration,
    /// For the whole of a frame, from its first byte on.
    pub frame: Duration,
}

/// A connected socket. Its time limits are set in the socket itself, and change only for a frame that arrives
/// or leaves in parts. So a typical call takes one system call in each direction.
pub(super) struct Wire {
    socket: Arc<Socket>,
    frame: Duration,
    reading: Limit,
    writing: Limit,
}

/// The time limit of one direction.
struct Limit {
    rest: Duration,
    /// When the frame under way must be complete.
    end: Option<Instant>,
    /// Whether the socket has another limit than `rest`.
    changed: bool,
}

/// Ends a connection from another thread.
#[derive(Clone)]
pub struct Closer(Arc<Socket>);

impl Wire {
    pub(super) fn new(socket: Socket, patience: Patience) -> io::Result<Wire> {
        let limit = |rest: Duration| Limit { rest: rest.max(LEAST), end: None, changed: false };
        let wire = Wire {
            socket: Arc::new(socket),
            frame: patience.frame,
            reading: limit(patience.rest),
            writing: limit(patience.frame),
        };
        wire.socket.set_read_timeout(Some(wire.reading.rest))?;
        wire.socket.set_write_timeout(Some(wire.writing.rest))?;
        Ok(wire)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.socket))
    }

    /// Sets a deadline for the next frame in each direction, until `read_done` and `write_done`.
    pub(super) fn must_end(&mut self, end: Instant) {
        (self.reading.end, self.writing.end) = (Some(end), Some(end));
    }

    /// Changes the patience, from the next frame on.
    pub(super) fn set_patience(&mut self, patience: Patience) -> io::Result<()> {
        self.frame = patience.frame;
        self.rest_for(patience.rest)?;
        self.writing.rest = patience.frame.max(LEAST);
        self.socket.set_write_timeout(Some(self.writing.rest))
    }

    /// Sets how long to wait for the next frame.
    pub(super) fn rest_for(&mut self, rest: Duration) -> io::Result<()> {
        self.reading.rest = rest.max(LEAST);
        self.socket.set_read_timeout(Some(self.reading.rest))
    }

    /// A whole frame has come.
    pub(super) fn read_done(&mut self) -> io::Result<()> {
        self.reading.end = None;
        if std::mem::take(&mut self.reading.changed) {
            self.socket.set_read_timeout(Some(self.reading.rest))?;
        }
        Ok(())
    }

    /// A whole frame has gone.
    pub(super) fn write_done(&mut self) -> io::Result<()> {
        self.writing.end = None;
        if std::mem::take(&mut self.writing.changed) {
            self.socket.set_write_timeout(Some(self.writing.rest))?;
        }
        Ok(())
    }

    /// The time left for the frame under way.
    fn left(limit: &mut Limit) -> io::Result<Option<Duration>> {
        let Some(end) = limit.end else { return Ok(None) };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        limit.changed = true;
        Ok(Some(left.max(LEAST)))
    }
}

/// `WouldBlock`: no frame began in time. `TimedOut`: a frame did not end in time.
impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = Wire::left(&mut self.reading)?;
            if left.is_some() {
                self.socket.set_read_timeout(left)?;
            }
            match recv(&*self.socket, &mut *into, RecvFlags::empty()) {
                Ok((_, bytes)) => {
                    // From its first byte on, a frame has its own time.
                    self.reading.end.get_or_insert_with(|| Instant::now() + self.frame);
                    return Ok(bytes);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.reading.end.is_none() => return Err(ErrorKind::WouldBlock.into()),
                Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut room = MAX_WRITE_LEN;
        let mut now = [IoSlice::new(&[]); MAX_SLICES];
        for (place, slice) in now.iter_mut().zip(slices) {
            let part = &slice[..slice.len().min(room)];
            room -= part.len();
            *place = IoSlice::new(part);
        }
        let now = &now[..slices.len().min(MAX_SLICES)];
        loop {
            let left = Wire::left(&mut self.writing)?;
            if left.is_some() {
                self.socket.set_write_timeout(left)?;
            }
            // No SIGPIPE: the process may be an application that has loaded us.
            match sendmsg(&*self.socket, now, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL) {
                Ok(bytes) => {
                    self.writing.end.get_or_insert_with(|| Instant::now() + self.frame);
                    return Ok(bytes);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Closer {
    /// Ends both directions, and wakes the threads that wait in them.
    pub fn close(&self) {
        // An error means that the connection has ended already.
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends the incoming direction only.
    pub fn close_reading(&self) {
        let _ = self.0.shutdown(Shutdown::Read);
    }

    /// Ends the outgoing direction: the other side sees the end after the last byte.
    pub fn close_writing(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}
