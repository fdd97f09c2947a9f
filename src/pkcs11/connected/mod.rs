//! The client: the calls of this process, carried to the boundary. It judges nothing.
//!
//! - C1. An answer is the boundary's. Only a `C_SignInit` that the boundary is certain to accept is answered here first
//!   ([`foresight`]).
//! - C2. A handle is valid only on the application that gave it. An application that is lost takes its handles along, and no number
//!   is given again: each application numbers its handles from a range of its own.
//! - C3. A call that finds no room on its way fails like any other, and ends its operation at the boundary, too ([`unended`]).
//! - C4. No call waits without a limit: connecting, sending and answering have the time limits of the configuration.

mod foresight;
mod unended;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use self::foresight::Foresight;
use self::unended::Unended;
use super::codec::{decode, encode};
use super::reply::Reply;
use super::request::{Envelope, Request};
use super::rv::{Answer, Rv};
use crate::remote::client::{Client, ExchangeError};
use crate::shell::config::ConnectConfig;

/// The boundary, as this process sees it.
pub(super) struct Connected {
    config: ConnectConfig,
    /// The one that is connected.
    remote: Mutex<Option<Arc<Remote>>>,
    /// The first handle of the next one.
    next_handle: AtomicU64,
}

/// How many handles are reserved for each application.
const HANDLES: u64 = 1 << 32;

/// This process's application at the boundary, until its connections are lost.
struct Remote {
    client: Client,
    foresight: Mutex<Foresight>,
    unended: Mutex<Unended>,
}

/// Why the boundary has not answered a call.
enum Uncarried {
    /// It has no room for the call or its answer now, and has not made it.
    NoRoom,
    /// The application is lost with its connections, and what became of the call is unknown.
    Lost,
}

impl Connected {
    /// Connects.
    pub(super) fn open(config: ConnectConfig) -> Answer<Connected> {
        let connected = Connected { config, remote: Mutex::new(None), next_handle: AtomicU64::new(1) };
        *connected.remote() = Some(connected.connect()?);
        Ok(connected)
    }

    /// Has the boundary answer a call.
    pub(super) fn answer(&self, request: Request) -> Answer<Reply> {
        let remote = self.remote_for(&request)?;
        let request = request.for_version(remote.client.version());
        let Some(envelope) = remote.foresight().hold_back(request) else { return Ok(Reply::Done) };
        match self.settle(&remote, &envelope.request).and_then(|()| self.carry(&remote, &envelope)) {
            Ok(answer) => answer,
            Err(Uncarried::NoRoom) => Err(remote.fail(envelope, Rv(CKR_DEVICE_MEMORY))),
            // Nothing is lost with an application that has no session, such as one that was idle for too long.
            Err(Uncarried::Lost) if envelope.request.may_be_repeated() && remote.has_no_session() => {
                let remote = self.remote_for(&envelope.request)?;
                self.carry(&remote, &envelope).unwrap_or(Err(Rv(CKR_DEVICE_REMOVED)))
            }
            Err(Uncarried::Lost) => Err(Rv(CKR_DEVICE_REMOVED)),
        }
    }

    /// Lets go of what a parent process left in this one.
    pub(super) fn abandon(&self) {
        if let Ok(mut remote) = self.remote.try_lock()
            && let Some(remote) = remote.take()
        {
            remote.client.abandon();
        }
    }

    /// Ends at the boundary what has ended here, before `request` is sent.
    fn settle(&self, remote: &Arc<Remote>, request: &Request) -> Result<(), Uncarried> {
        let due = remote.unended().due_before(request);
        let mut due = due.into_iter().map(|request| Envelope { sign_init: None, request });
        for end in due.by_ref() {
            if let Err(uncarried) = self.carry(remote, &end) {
                // It is owed as before, and so are those after it.
                let mut unended = remote.unended();
                due.chain([end]).for_each(|Envelope { request, .. }| unended.owe(request));
                return Err(uncarried);
            }
        }
        Ok(())
    }

    fn carry(&self, remote: &Arc<Remote>, envelope: &Envelope) -> Result<Answer<Reply>, Uncarried> {
        let request = &envelope.request;
        let bytes = match encode(envelope) {
            Ok(bytes) => bytes,
            Err(rv) => return Ok(Err(rv)),
        };
        let sent = remote.foresight().send(request);
        match remote.client.exchange(&bytes, |answer| decode::<Answer<Reply>>(answer)) {
            Ok(Some(answer)) => {
                remote.foresight().learn(request, sent, &answer);
                if answer.is_ok() {
                    remote.unended().closed_by(request);
                }
                Ok(answer)
            }
            Ok(None) => {
                let reason =
                    "its answer has another form than this release's; install the same release on both sides";
                Err(self.lose(remote, reason))
            }
            Err(ExchangeError::Lost(reason)) => Err(self.lose(remote, &reason)),
            Err(error @ (ExchangeError::Busy | ExchangeError::TooLong { .. })) => {
                tracing::warn!("refused: {error}");
                remote.foresight().not_carried(request);
                Err(Uncarried::NoRoom)
            }
        }
    }

    /// The application at the boundary, begun anew for a call in no session. The sessions of a lost one are gone.
    fn remote_for(&self, request: &Request) -> Answer<Arc<Remote>> {
        let mut remote = self.remote();
        match &*remote {
            Some(remote) => Ok(Arc::clone(remote)),
            None if request.session().is_some() => Err(Rv(CKR_SESSION_HANDLE_INVALID)),
            None => {
                let made = self.connect().map_err(|_| Rv(CKR_DEVICE_REMOVED))?;
                *remote = Some(Arc::clone(&made));
                Ok(made)
            }
        }
    }

    fn connect(&self) -> Answer<Arc<Remote>> {
        let first_handle = self.next_handle.fetch_add(HANDLES, Ordering::SeqCst);
        let client = Client::open(&self.config, first_handle).map_err(|error| {
            tracing::error!("{error}");
            Rv(CKR_DEVICE_ERROR)
        })?;
        Ok(Arc::new(Remote { client, foresight: Mutex::default(), unended: Mutex::default() }))
    }

    /// Lets go of an application that is lost, unless another call has.
    fn lose(&self, lost: &Arc<Remote>, reason: &str) -> Uncarried {
        let mut remote = self.remote();
        if remote.as_ref().is_some_and(|current| Arc::ptr_eq(current, lost)) {
            *remote = None;
        }
        drop(remote);
        tracing::error!("the connection to the boundary at {} is lost: {reason}", self.config.address);
        Uncarried::Lost
    }

    fn remote(&self) -> MutexGuard<'_, Option<Arc<Remote>>> {
        // Nothing under this lock can panic half-way.
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// Fails a call that was not carried, and ends the operation that the call would have ended by failing.
    fn fail(&self, envelope: Envelope, rv: Rv) -> Rv {
        match envelope.request.refused(rv) {
            // The operation was held back: the boundary never began it.
            Some(Request::SignUpdate { .. }) if envelope.sign_init.is_some() => {}
            Some(end) => self.unended().owe(end),
            None => {}
        }
        self.foresight().take_back(envelope);
        rv
    }

    fn has_no_session(&self) -> bool {
        self.foresight().has_no_session()
    }

    fn foresight(&self) -> MutexGuard<'_, Foresight> {
        // Nothing under this lock can panic half-way.
        self.foresight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unended(&self) -> MutexGuard<'_, Unended> {
        // Nothing under this lock can panic half-way.
        self.unended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Whether it may be made a second time when nobody knows what became of the first.
    fn may_be_repeated(&self) -> bool {
        self.session().is_none() && !matches!(self, Request::InitToken { .. })
    }

    /// The same in an older version of the protocol. Version 2 does not tell the rule that refused.
    fn for_version(self, version: u16) -> Request {
        match self {
            Request::SessionInfoAndRule { session } if version < 3 => Request::SessionInfo { session },
            request => request,
        }
    }
}
