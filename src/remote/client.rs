//! The client side of the boundary: one application there, over as many connections as calls are under way at once.
//!
//! A connection carries one call at a time, so each call takes a lane of its own: an idle one, or a further one that joins the
//! application. Where the boundary has no room for more, calls wait for each other.
//!
//! The loss of any lane is the loss of the application, which the boundary then closes with all its sessions: nobody knows
//! what became of that call.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use zeroize::Zeroizing;

use super::CkRv;
use super::budget::Budget;
use super::frame::{FrameError, Received};
use super::hello::{ApplicationSecret, Hello, MOST_BYTES, MOST_REPLY_BYTES, Refusal, Reply};
use super::stream::{ConnectError, Framed, Stream};
use crate::shell::config::ConnectConfig;

/// Most connections of one application: as many calls as the boundary answers at once, unless it is told otherwise.
const MAX_LANES: usize = 64;

/// An application at the boundary.
pub struct Lanes {
    config: ConnectConfig,
    application: ApplicationSecret,
    max_frame: u32,
    state: Mutex<State>,
    /// A lane is idle again, or there are none any more.
    freed: Condvar,
}

struct State {
    idle: Vec<Lane>,
    /// Idle, in use, or being opened.
    open: usize,
    /// As many as there can be, as far as is known.
    most: usize,
    /// Why there are none any more.
    lost: Option<String>,
}

/// One connection.
struct Lane(Framed);

impl Lanes {
    /// Connects, and begins an application whose handles are numbered from `first_handle` on.
    pub fn open(config: &ConnectConfig, first_handle: u64) -> Result<Lanes, ConnectError> {
        let (lane, application, max_frame) = Lane::open(config, &Hello { join: None, first_handle })?;
        Ok(Lanes {
            config: config.clone(),
            application,
            max_frame,
            state: Mutex::new(State { idle: vec![lane], open: 1, most: MAX_LANES, lost: None }),
            freed: Condvar::new(),
        })
    }

    /// Carries one request to the boundary, and gives its answer.
    pub fn call(&self, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CallError> {
        if request.len() > self.max_frame as usize {
            return Err(CallError::TooLong { len: request.len(), most: self.max_frame });
        }
        let mut lane = self.take()?;
        match lane.call(request) {
            Ok(answer) => {
                self.state().idle.push(lane);
                self.freed.notify_one();
                answer.ok_or(CallError::Busy)
            }
            Err(error) => Err(self.lose(error.to_string())),
        }
    }

    /// Lets go of the connections of a parent process without a word on them: they are still the parent's.
    pub fn abandon(&self) {
        // A thread of the parent may have held the lock when it forked: then it is held for ever.
        if let Ok(mut state) = self.state.try_lock() {
            state.idle.clear();
        }
    }

    /// An idle lane, or a new one, or the first that is idle again.
    fn take(&self) -> Result<Lane, CallError> {
        let until = Instant::now() + self.config.call;
        let mut state = self.state();
        loop {
            if let Some(reason) = &state.lost {
                return Err(CallError::Lost(reason.clone()));
            }
            if let Some(lane) = state.idle.pop() {
                return Ok(lane);
            }
            if state.open < state.most {
                state.open += 1;
                drop(state);
                if let Some(lane) = self.join()? {
                    return Ok(lane);
                }
                state = self.state();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::Busy);
            }
            (state, _) = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A further lane; none where the boundary has no room for it.
    fn join(&self) -> Result<Option<Lane>, CallError> {
        let hello = Hello { join: Some(self.application.clone()), first_handle: 0 };
        match Lane::open(&self.config, &hello) {
            Ok((lane, ..)) => Ok(Some(lane)),
            Err(ConnectError::Refused { refusal: Refusal::TooManyConnections, .. }) => {
                let mut state = self.state();
                state.open -= 1;
                state.most = state.open;
                Ok(None)
            }
            Err(error) => Err(self.lose(error.to_string())),
        }
    }

    fn lose(&self, reason: String) -> CallError {
        let mut state = self.state();
        let reason = state.lost.get_or_insert(reason).clone();
        state.idle.clear();
        self.freed.notify_all();
        CallError::Lost(reason)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn open(config: &ConnectConfig, hello: &Hello) -> Result<(Lane, ApplicationSecret, u32), ConnectError> {
        let mut framed = Framed::new(Stream::connect(config)?, MOST_BYTES, Budget::unlimited());
        let (application, max_frame) = framed.greet(hello, config)?;
        // The limit of the boundary is on requests.
        framed.set_maximum(MOST_REPLY_BYTES);
        Ok((Lane(framed), application, max_frame))
    }

    /// One request, and its answer; none where the boundary has no room for it now.
    fn call(&mut self, request: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, LaneError> {
        self.0.write([request, &[]]).map_err(FrameError::Io)?;
        match self.0.read()? {
            Received::Frame(frame) => match Reply::decode(&frame.payload) {
                Some(Reply::Answer(answer)) => Ok(Some(Zeroizing::new(answer.to_vec()))),
                Some(Reply::Busy) => Ok(None),
                Some(Reply::Closed(rv)) => Err(LaneError::Closed(rv)),
                None => Err(LaneError::NoReply),
            },
            Received::NoRoom | Received::End => Err(LaneError::Ended),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The boundary has no room for it now, or for its answer.
    #[error("the boundary has no room for this call now: make it again later, a signature by the same code")]
    Busy,
    /// The boundary takes no frame of this length.
    #[error(
        "a call of {len} bytes is longer than the {most} that the boundary takes: raise serve.max_frame_bytes there"
    )]
    TooLong {
        /// Its length.
        len: usize,
        /// The most.
        most: u32,
    },
    /// The application is lost, and what became of the request is unknown.
    #[error("{0}")]
    Lost(String),
}

#[derive(Debug, thiserror::Error)]
enum LaneError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it ended the connection")]
    Ended,
    #[error("it closed this application (CK_RV {0:#010x}): its log says why")]
    Closed(CkRv),
    #[error("what it answered is no answer: install the same release on both sides")]
    NoReply,
}
