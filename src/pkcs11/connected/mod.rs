//! The client: carries the calls of this process to the boundary, and decides nothing itself.
//!
//! - C1. Answers come from the boundary. The only exception is a `C_SignInit` that the boundary is certain to
//!   accept ([`foresight`]).
//! - C2. A handle is valid only in the application that it came from. Handles are lost with their
//!   application, and no number is used again: each application numbers its handles from a range of its own.
//! - C3. A call that finds no room on its way fails like any other call, and ends its operation at the
//!   boundary, too ([`unended`]).
//! - C4. No call waits without a limit: connecting, sending and answering have the time limits of the
//!   configuration.

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
    /// The present connection.
    remote: Mutex<Option<Arc<Remote>>>,
    /// The first handle of the next application.
    next_handle: AtomicU64,
}

/// Handles reserved for each application.
const HANDLES: u64 = 1 << 32;

/// This process's application at the boundary, until its connections are lost.
struct Remote {
    client: Client,
    foresight: Mutex<Foresight>,
    unended: Mutex<Unended>,
}

/// The reason why the boundary has not answered a call.
enum Uncarried {
    /// The boundary has no room for the call or its answer now, and has not made the call.
    NoRoom,
    /// The application was lost together with its connections. Nobody knows whether the call was made.
    Lost,
}

impl Connected {
    /// Connects.
    pub(super) fn open(config: ConnectConfig) -> Answer<Connected> {
        let connected = Connected { config, remote: Mutex::new(None), next_handle: AtomicU64::new(1) };
        *connected.remote() = Some(connected.connect()?);
        Ok(connected)
    }

    /// Sends a call to the boundary and returns its answer.
    pub(super) fn answer(&self, request: Request) -> Answer<Reply> {
        let remote = self.remote_for(&request)?;
        let request = request.for_version(remote.client.version());
        let Some(envelope) = remote.foresight().hold_back(request) else { return Ok(Reply::Done) };
        match self.settle(&remote, &envelope.request).and_then(|()| self.carry(&remote, &envelope)) {
            Ok(answer) => answer,
            Err(Uncarried::NoRoom) => Err(remote.fail(envelope, Rv(CKR_DEVICE_MEMORY))),
            // An application without sessions loses nothing, for example one that was idle for too long. So
            // the call is made again.
            Err(Uncarried::Lost) if envelope.request.may_be_repeated() && remote.has_no_session() => {
                let remote = self.remote_for(&envelope.request)?;
                self.carry(&remote, &envelope).unwrap_or(Err(Rv(CKR_DEVICE_REMOVED)))
            }
            Err(Uncarried::Lost) => Err(Rv(CKR_DEVICE_REMOVED)),
        }
    }

    /// Abandons what a parent process left in this one.
    pub(super) fn abandon(&self) {
        if let Ok(mut remote) = self.remote.try_lock()
            && let Some(remote) = remote.take()
        {
            remote.client.abandon();
        }
    }

    /// Ends at the boundary the operations that have ended here, before `request` is sent.
    fn settle(&self, remote: &Arc<Remote>, request: &Request) -> Result<(), Uncarried> {
        let due = remote.unended().due_before(request);
        let mut due = due.into_iter().map(|request| Envelope { sign_init: None, request });
        for end in due.by_ref() {
            if let Err(uncarried) = self.carry(remote, &end) {
                // It is still owed, and so are the ones after it.
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
                    "its answer does not have this release's form; install the same release on both sides";
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

    /// The application at the boundary. For a call outside of a session a new one is begun. The sessions of a
    /// lost one are gone.
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

    /// Drops an application that is lost, unless another call has.
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
    /// Fails a call that was not carried, and ends the operation that this failure ends.
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
    /// Whether a second try is safe when nobody knows whether the first one was made.
    fn may_be_repeated(&self) -> bool {
        self.session().is_none() && !matches!(self, Request::InitToken { .. })
    }

    /// The same request in an older version of the protocol. Version 2 does not have the number of the rule.
    fn for_version(self, version: u16) -> Request {
        match self {
            Request::SessionInfoAndRule { session } if version < 3 => Request::SessionInfo { session },
            request => request,
        }
    }
}
