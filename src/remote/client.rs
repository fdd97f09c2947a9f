//! The client's side: one application at the boundary, over as many connections as it has calls under way.
//!
//! A connection carries one request at a time. So each call takes a connection: an idle one, or a new one
//! that joins the application. If the boundary has no room for another connection, calls wait for one.
//!
//! Losing one connection is losing the application: nobody knows what became of the call on it. The boundary then closes the
//! application with all its sessions.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::CkRv;
use super::budget::Budget;
use super::frame::{FrameError, Received};
use super::hello::{
    ApplicationSecret, Hello, MAX_GREETING_LEN, MAX_RESPONSE_LEN, Refusal, Response, VERSION, is_spoken,
};
use super::stream::{Closer, ConnectError, Framed, Stream};
use crate::shell::config::ConnectConfig;

/// The most connections of one application. By default, the boundary answers twice as many calls at once.
const MAX_CONNECTIONS: usize = 32;
/// How long to wait after a refused connection before trying another.
const NO_MORE_FOR: Duration = Duration::from_secs(5);

/// An application at the boundary.
pub struct Client {
    config: ConnectConfig,
    application: ApplicationSecret,
    /// The version that both sides agreed on.
    version: u16,
    max_frame: u32,
    /// The process that owns the connections. After `fork` a child has copies that are not its own.
    process: u32,
    state: Mutex<State>,
    /// Signals that a connection is idle, or that all are lost.
    freed: Condvar,
}

struct State {
    idle: Vec<Connection>,
    /// Ends any of them, idle or in use.
    closers: Vec<Closer>,
    /// Idle, in use, or being opened.
    open: usize,
    /// When to try to open another one.
    enough_until: Option<Instant>,
    /// The reason why all of them are lost.
    lost: Option<String>,
}

/// One connection.
struct Connection(Framed);

impl Client {
    /// Connects, and begins an application that numbers its handles from `first_handle` on.
    pub fn open(config: &ConnectConfig, first_handle: u64) -> Result<Client, ConnectError> {
        let (mut connection, application, max_frame, version) = Connection::first(config, first_handle)?;
        let closers = vec![connection.0.stream().closer()];
        Ok(Client {
            config: config.clone(),
            application,
            version,
            max_frame,
            process: std::process::id(),
            state: Mutex::new(State {
                idle: vec![connection],
                closers,
                open: 1,
                enough_until: None,
                lost: None,
            }),
            freed: Condvar::new(),
        })
    }

    /// The version that both sides speak.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Sends one request to the boundary and reads the module's answer with `read`, where it lies.
    pub fn exchange<T>(&self, request: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<T, ExchangeError> {
        if request.len() > self.max_frame as usize {
            return Err(ExchangeError::TooLong { len: request.len(), max: self.max_frame });
        }
        let mut connection = self.take()?;
        match connection.exchange(request, read) {
            Ok(answer) => {
                self.state().idle.push(connection);
                self.freed.notify_one();
                answer.ok_or(ExchangeError::Busy)
            }
            Err(error) => Err(self.lose(error.to_string())),
        }
    }

    /// Abandons a parent process's connections without sending anything: the parent still uses them.
    pub fn abandon(&self) {
        // If a thread of the parent held the lock while it forked, the lock is held for ever.
        if let Ok(mut state) = self.state.try_lock() {
            state.idle.clear();
            state.closers.clear();
        }
    }

    /// An idle connection, a new one, or the next that becomes idle.
    fn take(&self) -> Result<Connection, ExchangeError> {
        let until = Instant::now() + self.config.call;
        let mut state = self.state();
        loop {
            if let Some(reason) = &state.lost {
                return Err(ExchangeError::Lost(reason.clone()));
            }
            if let Some(connection) = state.idle.pop() {
                return Ok(connection);
            }
            let now = Instant::now();
            if state.open < MAX_CONNECTIONS && state.enough_until.is_none_or(|until| until <= now) {
                state.open += 1;
                drop(state);
                if let Some(connection) = self.join()? {
                    return Ok(connection);
                }
                state = self.state();
                continue;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Err(ExchangeError::Busy);
            }
            (state, _) = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Another connection. `None` if none can be opened now, for whatever reason; calls then wait for the
    /// existing ones. An error means that the boundary no longer knows the application.
    fn join(&self) -> Result<Option<Connection>, ExchangeError> {
        let hello = Hello { join: Some(self.application.clone()), first_handle: 0 };
        match Connection::open(&self.config, &hello, self.version) {
            Ok((mut connection, ..)) => {
                let closer = connection.0.stream().closer();
                let mut state = self.state();
                if let Some(reason) = &state.lost {
                    return Err(ExchangeError::Lost(reason.clone()));
                }
                state.closers.push(closer);
                Ok(Some(connection))
            }
            Err(error @ ConnectError::Refused { refusal: Refusal::UnknownApplication, .. }) => {
                Err(self.lose(error.to_string()))
            }
            Err(error) => {
                tracing::info!(
                    "calls wait for each other, because another connection could not be made: {error}"
                );
                let mut state = self.state();
                state.open -= 1;
                state.enough_until = Some(Instant::now() + NO_MORE_FOR);
                Ok(None)
            }
        }
    }

    fn lose(&self, reason: String) -> ExchangeError {
        let mut state = self.state();
        let reason = state.lost.get_or_insert(reason).clone();
        state.end();
        self.freed.notify_all();
        ExchangeError::Lost(reason)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends all connections. The boundary sees it even if another process has copies of them.
    fn end(&mut self) {
        self.closers.drain(..).for_each(|closer| closer.close());
        self.idle.clear();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            self.state().end();
        }
    }
}

impl Connection {
    /// The first connection of an application, in our version, or in that of a boundary of an older release.
    fn first(
        config: &ConnectConfig,
        first_handle: u64,
    ) -> Result<(Connection, ApplicationSecret, u32, u16), ConnectError> {
        let hello = Hello { join: None, first_handle };
        let (opened, version) = match Connection::open(config, &hello, VERSION) {
            Err(ConnectError::Refused { refusal: Refusal::Version { ours }, .. }) if is_spoken(ours) => {
                tracing::info!(
                    "the boundary is of an older release: it speaks version {ours} of the protocol"
                );
                (Connection::open(config, &hello, ours)?, ours)
            }
            opened => (opened?, VERSION),
        };
        let (connection, application, max_frame) = opened;
        Ok((connection, application, max_frame, version))
    }

    fn open(
        config: &ConnectConfig,
        hello: &Hello,
        version: u16,
    ) -> Result<(Connection, ApplicationSecret, u32), ConnectError> {
        let mut framed = Framed::new(Stream::connect(config)?, MAX_GREETING_LEN, Budget::unlimited());
        let (application, max_frame) = framed.greet(hello, version, config)?;
        // The boundary's limit is on requests.
        framed.set_limits(MAX_RESPONSE_LEN, Budget::unlimited());
        Ok((Connection(framed), application, max_frame))
    }

    /// One request and its response. `None` if the boundary has no room for it now.
    fn exchange<T>(
        &mut self,
        request: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, ConnectionError> {
        self.0.write([request, &[]]).map_err(FrameError::Io)?;
        match self.0.read()? {
            Received::Frame(frame) => match Response::decode(&frame.payload) {
                Some(Response::Answered(answer)) => Ok(Some(read(answer))),
                Some(Response::Busy) => Ok(None),
                Some(Response::Closed(rv)) => Err(ConnectionError::Closed(rv)),
                None => Err(ConnectionError::NoResponse),
            },
            Received::NoRoom | Received::End => Err(ConnectionError::Ended),
        }
    }
}

/// The reason why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The boundary has no room for the request or its answer now.
    #[error("the boundary has no room for this call now; call again later, with the same code")]
    Busy,
    /// The boundary does not accept a frame of this length.
    #[error("this call takes {len} bytes and the boundary accepts {max}; raise serve.max_frame_bytes there")]
    TooLong {
        /// Its length.
        len: usize,
        /// The longest that the boundary accepts.
        max: u32,
    },
    /// The application is lost, and nobody knows whether the request was carried out.
    #[error("{0}")]
    Lost(String),
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the boundary ended the connection; its log says why")]
    Ended,
    #[error("the boundary closed this application (CK_RV {0:#010x}); its log says why")]
    Closed(CkRv),
    #[error("the boundary's response is malformed; install the same release on both sides")]
    NoResponse,
}
