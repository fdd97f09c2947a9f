//! A connection over a Unix socket, TLS or a vsock, on either side.

use std::fmt::Display;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::User;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, Connection};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::budget::Budget;
use super::frame::{Frame, FrameError, FrameReader, Received, write_frame};
use super::hello::{ApplicationSecret, Hello, MAX_GREETING_LEN, Refusal, Welcome};
use super::tls::{self, TlsError};
use super::wire::Wire;
use crate::shell::config::{ConnectAddress, ConnectConfig, ConnectTls, UserName};

pub use super::wire::{Closer, Patience};

/// A connection. Reading fails with `WouldBlock` if no frame began in time, and with `TimedOut` if a frame took too long.
pub struct Stream {
    wire: Wire,
    tls: Option<Box<Connection>>,
}

impl Stream {
    /// Connects as configured. Everything until [`Framed::greet`] returns must be done within `connect`.
    pub fn connect(config: &ConnectConfig) -> Result<Stream, ConnectError> {
        let address = &config.address;
        let end = Instant::now() + config.connect;
        let failed = |error: io::Error| ConnectError::unreachable(address, &error);
        let (socket, tls) = match address {
            ConnectAddress::Unix { socket: path, user } => {
                (connect_unix(path, user.as_ref(), config.connect, address)?, None)
            }
            ConnectAddress::Tcp { host, port, tls } => {
                (connect_tcp(host, *port, end).map_err(failed)?, Some(tls))
            }
            ConnectAddress::Vsock { cid, port } => {
                (connect_vsock(*cid, *port, config.connect).map_err(failed)?, None)
            }
        };
        let patience = Patience { rest: config.call, frame: config.call };
        let mut wire = Wire::new(socket, patience).map_err(failed)?;
        wire.must_end(end);
        let mut stream = Stream { wire, tls: None };
        if let Some(tls) = tls {
            stream.begin_tls(tls, address)?;
        }
        Ok(stream)
    }

    /// A connection that was accepted.
    pub fn accepted(socket: Socket, patience: Patience) -> io::Result<Stream> {
        Ok(Stream { wire: Wire::new(socket, patience)?, tls: None })
    }

    /// The TLS handshake, of either side. What is read and written from here on is inside of TLS.
    pub fn shake_hands(&mut self, connection: Connection) -> io::Result<()> {
        let tls = self.tls.insert(Box::new(connection));
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut self.wire)?;
        }
        Ok(())
    }

    /// The other side's certificates, its own first. None without TLS.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.as_ref().and_then(|tls| tls.peer_certificates()).unwrap_or_default()
    }

    /// Ends this connection from another thread.
    pub fn closer(&self) -> Closer {
        self.wire.closer()
    }

    /// Tells the peer that nothing more comes, if it is still there.
    pub fn end_writing(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.wire);
        }
        self.wire.closer().close_writing();
    }

    /// The socket, to ask the system about.
    pub fn socket(&self) -> &Socket {
        self.wire.socket()
    }

    /// Sets a deadline for the next frame in each direction.
    pub fn must_end(&mut self, end: Instant) {
        self.wire.must_end(end);
    }

    /// Changes the patience, from the next frame on.
    pub fn set_patience(&mut self, patience: Patience) -> io::Result<()> {
        self.wire.set_patience(patience)
    }

    /// Sets how long to wait for the next frame.
    pub fn rest_for(&mut self, rest: Duration) -> io::Result<()> {
        self.wire.rest_for(rest)
    }

    fn begin_tls(&mut self, tls: &ConnectTls, address: &ConnectAddress) -> Result<(), ConnectError> {
        let config = tls::client(tls)?;
        let connection = ClientConnection::new(config, tls.server_name.clone())
            .map_err(|error| ConnectError::unreachable(address, &io::Error::other(error)))?;
        self.shake_hands(connection.into()).map_err(|error| ConnectError::unreachable(address, &error))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.wire.read(into) };
        loop {
            match tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                came => return came,
            }
            tls.read_tls(&mut self.wire)?;
            let processed = tls.process_new_packets();
            // An alert that tells the other side why, or a change of keys.
            while tls.wants_write() {
                tls.write_tls(&mut self.wire)?;
            }
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.wire.write_vectored(slices) };
        let written = tls.writer().write_vectored(slices)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.wire)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that frames pass over.
pub struct Framed {
    stream: Stream,
    reader: FrameReader,
    maximum: u32,
    budget: Arc<Budget>,
}

impl Framed {
    /// Frames of at most `maximum` bytes, within `budget`.
    pub fn new(stream: Stream, maximum: u32, budget: Arc<Budget>) -> Framed {
        Framed { stream, reader: FrameReader::default(), maximum, budget }
    }

    /// Greets the boundary in `version`, as a client, and reads its welcome.
    pub fn greet(
        &mut self,
        hello: &Hello,
        version: u16,
        config: &ConnectConfig,
    ) -> Result<(ApplicationSecret, u32), ConnectError> {
        let address = &config.address;
        // Even if writing fails, the other side may have said why before it closed.
        let sent = self.write([&hello.encode(version), &[]]);
        let welcome = match self.read_at_most(MAX_GREETING_LEN) {
            Ok(Received::Frame(Frame { payload, .. })) => Welcome::decode(&payload),
            Ok(Received::NoRoom) => None,
            Ok(Received::End) => return Err(ConnectError::Closed { address: address.to_string() }),
            Err(FrameError::Io(error)) => {
                let first = sent.err().filter(|_| tls::explain_to_client(&error).is_none());
                return Err(ConnectError::unreachable(address, &first.unwrap_or(error)));
            }
            Err(FrameError::Idle | FrameError::Slow) => {
                return Err(ConnectError::unreachable(address, &ErrorKind::TimedOut.into()));
            }
            Err(_) => None,
        };
        match welcome {
            Some(Welcome::Accepted { application, max_frame }) => Ok((application, max_frame)),
            Some(Welcome::Refused(refusal)) => {
                Err(ConnectError::Refused { address: address.to_string(), refusal })
            }
            None => Err(ConnectError::Stranger { address: address.to_string() }),
        }
    }

    /// Reads the next frame. See [`FrameReader::read`].
    pub fn read(&mut self) -> Result<Received<'_>, FrameError> {
        self.read_at_most(self.maximum)
    }

    fn read_at_most(&mut self, maximum: u32) -> Result<Received<'_>, FrameError> {
        let received = self.reader.read(&mut self.stream, maximum, &self.budget)?;
        self.stream.wire.read_done()?;
        Ok(received)
    }

    /// Writes one frame, whose payload is `parts` one after the other.
    pub fn write(&mut self, parts: [&[u8]; 2]) -> io::Result<()> {
        write_frame(&mut self.stream, parts)?;
        self.stream.wire.write_done()
    }

    /// Changes the limits: frames of at most `maximum` bytes, within `budget`.
    pub fn set_limits(&mut self, maximum: u32, budget: Arc<Budget>) {
        self.maximum = maximum;
        self.budget = budget;
    }

    /// The connection below.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// The number of a user.
pub fn user_id(user: &UserName) -> Option<u32> {
    match user {
        UserName::Id(id) => Some(*id),
        UserName::Name(name) => User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()),
    }
}

fn connect_unix(
    path: &Path,
    user: Option<&UserName>,
    limit: Duration,
    address: &ConnectAddress,
) -> Result<Socket, ConnectError> {
    let failed = |error: io::Error| ConnectError::unreachable(address, &error);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // `connect` waits this long for a Unix socket whose queue is full (`unix(7)`).
    socket.set_write_timeout(Some(limit)).map_err(failed)?;
    socket.connect(&SockAddr::unix(path).map_err(failed)?).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => failed(ErrorKind::TimedOut.into()),
        _ => failed(error),
    })?;
    let Some(user) = user else { return Ok(socket) };
    let expected = user_id(user).ok_or_else(|| ConnectError::NoSuchUser { user: user.to_string() })?;
    let found =
        rustix::net::sockopt::socket_peercred(&socket).map_err(|error| failed(error.into()))?.uid.as_raw();
    // systemd binds the sockets that it passes on as root.
    if found != expected && found != 0 {
        return Err(ConnectError::ServedBy {
            address: address.to_string(),
            found,
            expected: user.to_string(),
        });
    }
    Ok(socket)
}

/// The system's resolver has time limits of its own for a name. A numeric address needs no lookup.
fn connect_tcp(host: &str, port: u16, end: Instant) -> io::Result<Socket> {
    let places: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for place in places {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let socket = Socket::new(Domain::for_address(place), Type::STREAM, None)?;
        match socket.connect_timeout(&place.into(), left).and_then(|()| prepare_tcp(&socket)) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends requests at once, and notices a machine that has gone.
pub fn prepare_tcp(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn connect_vsock(cid: u32, port: u32, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    socket.connect_timeout(&SockAddr::vsock(cid, port), limit)?;
    Ok(socket)
}

/// The reason why there is no connection to the boundary.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It cannot be reached, or its certificate is not accepted.
    #[error("the boundary at {address} is not reached: {problem}")]
    Unreachable {
        /// As configured.
        address: String,
        /// What happened, and what to do.
        problem: String,
    },
    /// It ended the connection at once.
    #[error("the boundary at {address} ended the connection without giving a reason; its log says why")]
    Closed {
        /// As configured.
        address: String,
    },
    /// The boundary refuses, and gives a reason.
    #[error("the boundary at {address} refused the connection: {refusal}")]
    Refused {
        /// As configured.
        address: String,
        /// The reason.
        refusal: Refusal,
    },
    /// Another kind of server answers.
    #[error("the server at {address} is not a Countersign boundary; correct connect.address")]
    Stranger {
        /// As configured.
        address: String,
    },
    /// Another user serves the socket.
    #[error(
        "the user with number {found} serves {address}, not {expected}; find out who put that socket there, or correct connect.user"
    )]
    ServedBy {
        /// As configured.
        address: String,
        /// The user who serves it.
        found: u32,
        /// The user who should serve it.
        expected: String,
    },
    /// The user of the configuration does not exist.
    #[error("connect.user: there is no user {user}; create it, or correct the name")]
    NoSuchUser {
        /// As configured.
        user: String,
    },
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ConnectError {
    fn unreachable(address: &dyn Display, error: &io::Error) -> ConnectError {
        let problem = tls::explain_to_client(error).unwrap_or_else(|| match error.kind() {
            ErrorKind::NotFound => {
                format!("{error}; start \"countersign serve\" there, or correct connect.address")
            }
            ErrorKind::ConnectionRefused => {
                "nothing serves there; start \"countersign serve\", or correct connect.address".into()
            }
            ErrorKind::PermissionDenied => {
                "this process's user may not use that socket; check the permissions of its folder".into()
            }
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                "it did not answer within connect.connect_seconds; check that it runs, and the network".into()
            }
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                format!("it ended the connection ({error}); its log says why")
            }
            _ => error.to_string(),
        });
        ConnectError::Unreachable { address: address.to_string(), problem }
    }
}
