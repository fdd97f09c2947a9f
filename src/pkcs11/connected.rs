//! The client side: the calls of this process, carried to the boundary.
//!
//! It judges nothing. It holds back a `C_SignInit` that the boundary is certain to accept, and sends it together with the
//! next call of its session: a signature costs one round trip. To be certain it keeps in mind who is logged in, which
//! sessions are in the midst of signing, and which handles sign.
//!
//! C1. What is held back is what the boundary would have answered with `CKR_OK`; in any doubt the boundary is asked.
//! C2. A handle means nothing any more once the connection that it came over is lost, and its number is never given again:
//!     each connection has numbers of its own.
//! C3. A message of which a part was not carried is over: none is signed without it.
//! C4. No call waits without a limit: connecting, sending and answering have the time-outs of the configuration.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use super::codec::{decode, encode};
use super::reply::{Filled, Reply};
use super::request::{Bytes, Envelope, Mechanism, Request};
use super::rv::{Answer, Rv};
use super::vendor::CKM_COUNTERSIGN_PSBT;
use crate::kernel::approval::Approval;
use crate::remote::client::{Client, ExchangeError};
use crate::shell::config::ConnectConfig;

/// The boundary, as this process sees it.
pub(super) struct Connected {
    config: ConnectConfig,
    connection: Mutex<Option<Arc<Connection>>>,
    /// What the handles of the next connection are numbered from.
    next_handle: AtomicU64,
}

/// As many handles has each connection.
const HANDLES: u64 = 1 << 32;

/// A connection, with what is known of the application that it is to the boundary.
struct Connection {
    client: Client,
    known: Mutex<Known>,
}

/// What is known for certain.
#[derive(Default)]
struct Known {
    /// The user is logged in.
    user: bool,
    /// How often a call was sent that may change who is logged in.
    era: u64,
    /// How many of these are under way.
    changing: usize,
    sessions: HashMap<CK_SESSION_HANDLE, Signing>,
    /// The handles that `CKM_COUNTERSIGN_PSBT` signs with.
    signers: HashSet<CK_OBJECT_HANDLE>,
    /// The sessions with a message of which a part was not carried: it has ended here, and not yet at the boundary.
    torn: HashSet<CK_SESSION_HANDLE>,
    /// The sessions in which a call that ends a verification was not carried: it has ended here, and not yet at the boundary.
    unverified: HashSet<CK_SESSION_HANDLE>,
}

/// What is known of a session's signing operation.
enum Signing {
    /// There is none.
    None,
    /// There may be one.
    Unknown,
    /// This one, held back.
    HeldBack(Request),
}

impl Connected {
    /// Connects.
    pub(super) fn open(config: ConnectConfig) -> Answer<Connected> {
        let connected = Connected { config, connection: Mutex::new(None), next_handle: AtomicU64::new(1) };
        *connected.connection() = Some(connected.connect()?);
        Ok(connected)
    }

    /// Has the boundary answer a call.
    pub(super) fn answer(&self, request: Request) -> Answer<Reply> {
        let connection = self.connection_for(&request)?;
        let is_older = connection.client.version() < 3;
        let request = if is_older { request.of_version_2() } else { request };
        let torn = connection.known().torn_by(&request);
        if let Some(session) = torn {
            self.end_message(&connection, session)?;
        }
        let unverified = connection.known().unverified_in(&request);
        if let Some(session) = unverified {
            self.end_verification(&connection, session)?;
        }
        let Some((mut call, era)) = connection.known().hold_back(request) else { return Ok(Reply::Done) };
        match self.carry(&connection, &mut call, era) {
            // An application that had no session loses nothing by a connection that was idle for too long.
            Err(Rv(CKR_DEVICE_REMOVED)) if call.request.may_be_repeated() && connection.has_no_session() => {
                let connection = self.connection_for(&call.request)?;
                let era = connection.known().send(&call.request);
                self.carry(&connection, &mut call, era)
            }
            answer => answer,
        }
    }

    /// Lets go of what a parent process left in this one.
    pub(super) fn abandon(&self) {
        if let Ok(mut connection) = self.connection.try_lock()
            && let Some(connection) = connection.take()
        {
            connection.client.abandon();
        }
    }

    /// Ends a message at the boundary, by a part that is refused there.
    fn end_message(&self, connection: &Arc<Connection>, session: CK_SESSION_HANDLE) -> Answer {
        let refused = || Err(Rv(CKR_DEVICE_MEMORY));
        let request = Request::SignMessageNext {
            session,
            parameter: Ok(Bytes::default()),
            part: refused(),
            room: None,
        };
        let era = connection.known().send(&request);
        // Not carried either: the message is torn as before. Otherwise it is over, whatever the answer.
        let answer = self.carry(connection, &mut Envelope { sign_init: None, request }, era);
        if connection.known().torn.contains(&session) { answer.map(drop) } else { Ok(()) }
    }

    /// Ends a verification at the boundary.
    fn end_verification(&self, connection: &Arc<Connection>, session: CK_SESSION_HANDLE) -> Answer {
        let request = Request::VerifyInit { session, mechanism: None, key: 0 };
        let era = connection.known().send(&request);
        self.carry(connection, &mut Envelope { sign_init: None, request }, era)?;
        connection.known().unverified.remove(&session);
        Ok(())
    }

    fn carry(&self, connection: &Arc<Connection>, call: &mut Envelope, era: u64) -> Answer<Reply> {
        let answer = match connection.client.exchange(&encode(call)?) {
            Ok(answer) => answer,
            Err(ExchangeError::Lost(reason)) => return Err(self.lose(connection, &reason)),
            Err(error @ (ExchangeError::Busy | ExchangeError::TooLong { .. })) => {
                tracing::warn!("refused: {error}");
                connection.known().forgo(call);
                return Err(Rv(CKR_DEVICE_MEMORY));
            }
        };
        let answer: Answer<Reply> = decode(&answer).ok_or_else(|| {
            self.lose(connection, "its answer is of another version: install both sides from one release")
        })?;
        connection.known().learn(&call.request, &answer, era);
        answer
    }

    /// The connection, made anew for a call that is in no session. The sessions of a lost one are gone.
    fn connection_for(&self, request: &Request) -> Answer<Arc<Connection>> {
        let mut connection = self.connection();
        match &*connection {
            Some(connection) => Ok(Arc::clone(connection)),
            None if request.session().is_some() => Err(Rv(CKR_SESSION_HANDLE_INVALID)),
            None => {
                let made = self.connect().map_err(|_| Rv(CKR_DEVICE_REMOVED))?;
                *connection = Some(Arc::clone(&made));
                Ok(made)
            }
        }
    }

    fn connect(&self) -> Answer<Arc<Connection>> {
        let first_handle = self.next_handle.fetch_add(HANDLES, Ordering::SeqCst);
        let client = Client::open(&self.config, first_handle).map_err(|error| {
            tracing::error!("{error}");
            Rv(CKR_DEVICE_ERROR)
        })?;
        Ok(Arc::new(Connection { client, known: Mutex::default() }))
    }

    /// Lets go of a connection that is lost, if nobody has yet.
    fn lose(&self, lost: &Arc<Connection>, reason: &str) -> Rv {
        let mut connection = self.connection();
        if connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, lost)) {
            *connection = None;
        }
        drop(connection);
        tracing::error!("the connection to the boundary at {} is lost: {reason}", self.config.address);
        Rv(CKR_DEVICE_REMOVED)
    }

    fn connection(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        // Nothing under this lock can panic half-way.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether nothing is lost with it.
    fn has_no_session(&self) -> bool {
        self.known().sessions.is_empty()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What is to be sent for `request`: nothing for a `C_SignInit` that is certain to be accepted.
    fn hold_back(&mut self, request: Request) -> Option<(Envelope, u64)> {
        if let Request::SignInit { session, mechanism: Some(mechanism), key } = &request
            && self.accepts(*session, mechanism, *key)
        {
            self.sessions.insert(*session, Signing::HeldBack(request));
            return None;
        }
        // A session that is closed ends its operation: nothing is begun for that.
        let begins = !matches!(request, Request::CloseSession { .. });
        let sign_init = request.session().and_then(|session| self.take_held_back(session)).filter(|_| begins);
        let era = self.send(&request);
        Some((Envelope { sign_init, request }, era))
    }

    fn take_held_back(&mut self, session: CK_SESSION_HANDLE) -> Option<Request> {
        let signing = self.sessions.get_mut(&session)?;
        if !matches!(signing, Signing::HeldBack(_)) {
            return None;
        }
        match core::mem::replace(signing, Signing::Unknown) {
            Signing::HeldBack(sign_init) => Some(sign_init),
            Signing::None | Signing::Unknown => None,
        }
    }

    /// Notes that `request` is sent, and gives the era it belongs to. Two calls at once of which each may change who is logged
    /// in leave that in doubt.
    fn send(&mut self, request: &Request) -> u64 {
        if request.may_change_login() {
            self.user &= self.changing == 0;
            self.changing += 1;
            self.era += 1;
        }
        self.era
    }

    fn changed(&mut self, request: &Request) {
        self.changing = self.changing.saturating_sub(usize::from(request.may_change_login()));
    }

    /// Whether the boundary is certain to accept this `C_SignInit`.
    fn accepts(&self, session: CK_SESSION_HANDLE, mechanism: &Mechanism, key: CK_OBJECT_HANDLE) -> bool {
        self.user
            && matches!(self.sessions.get(&session), Some(Signing::None))
            && self.signers.contains(&key)
            && mechanism.mechanism == CKM_COUNTERSIGN_PSBT
            && (mechanism.parameter.is_empty() || Approval::parse(&mechanism.parameter).is_ok())
    }

    /// Notes that `call` was not answered: the boundary had no room. An operation that it would have ended is over by that
    /// (section 5.2), so it is ended there as well, before the next call that has to do with it. A `C_SignInit` that went with
    /// any other call is held back as before.
    fn forgo(&mut self, call: &mut Envelope) {
        self.changed(&call.request);
        match (&call.request, call.sign_init.take()) {
            (
                Request::Sign { session, .. }
                | Request::SignUpdate { session, .. }
                | Request::SignFinal { session, .. },
                _,
            ) => {
                let end = Request::SignInit { session: *session, mechanism: None, key: 0 };
                self.set(*session, Signing::HeldBack(end));
            }
            (request, Some(sign_init)) => {
                if let Some(session) = request.session() {
                    self.set(session, Signing::HeldBack(sign_init));
                }
            }
            (_, None) => {}
        }
        match &call.request {
            Request::SignMessageNext { session, .. } => {
                self.torn.insert(*session);
            }
            Request::Verify { session, .. }
            | Request::VerifyUpdate { session, .. }
            | Request::VerifyFinal { session, .. }
            | Request::VerifySignature { session, .. }
            | Request::VerifySignatureUpdate { session, .. }
            | Request::VerifySignatureFinal { session } => {
                self.unverified.insert(*session);
            }
            _ => {}
        }
    }

    /// The session of `request`, where that is about a verification and one is still to be ended.
    fn unverified_in(&self, request: &Request) -> Option<CK_SESSION_HANDLE> {
        match request {
            Request::VerifyInit { session, .. }
            | Request::Verify { session, .. }
            | Request::VerifyUpdate { session, .. }
            | Request::VerifyFinal { session, .. }
            | Request::VerifySignatureInit { session, .. }
            | Request::VerifySignature { session, .. }
            | Request::VerifySignatureUpdate { session, .. }
            | Request::VerifySignatureFinal { session } => {
                self.unverified.contains(session).then_some(*session)
            }
            _ => None,
        }
    }

    /// The session of `request`, where that goes on in a message that was torn.
    fn torn_by(&self, request: &Request) -> Option<CK_SESSION_HANDLE> {
        match request {
            Request::SignMessage { session, .. }
            | Request::SignMessageBegin { session, .. }
            | Request::SignMessageNext { session, .. } => self.torn.contains(session).then_some(*session),
            _ => None,
        }
    }

    /// Learns from the answer to a call that was sent in `era`. What may have changed meanwhile is not learned.
    fn learn(&mut self, request: &Request, answer: &Answer<Reply>, era: u64) {
        self.changed(request);
        let is_certain = self.era == era && self.changing == 0;
        if let (Some(session), Err(Rv(CKR_GENERAL_ERROR))) = (request.session(), answer) {
            // A panic left it in doubt.
            self.set(session, Signing::Unknown);
        }
        if let Err(Rv(CKR_USER_NOT_LOGGED_IN)) = answer {
            // The boundary ends a login whose PIN is another one by now.
            self.user = false;
            self.signers.clear();
        }
        match (request, answer) {
            (Request::OpenSession { .. }, Ok(Reply::Opened(session))) => {
                self.sessions.insert(*session, Signing::None);
            }
            (Request::SignMessageNext { session, .. }, _) => {
                self.torn.remove(session);
            }
            (Request::CloseSession { session }, Ok(_)) => {
                self.sessions.remove(session);
                self.torn.remove(session);
                self.unverified.remove(session);
                // With the last session the application is logged out.
                if self.sessions.is_empty() {
                    self.user = false;
                    self.signers.clear();
                }
            }
            (Request::CloseAllSessions { .. }, Ok(_)) => {
                self.sessions.clear();
                self.torn.clear();
                self.unverified.clear();
                self.signers.clear();
                self.user = false;
            }
            (Request::Login { user_type: CKU_USER, .. }, Ok(_)) => self.user = is_certain,
            (Request::Logout { .. }, Ok(_)) => {
                self.user = false;
                self.signers.clear();
                self.sessions.values_mut().for_each(|signing| *signing = Signing::None);
            }
            (Request::FindObjects { .. }, Ok(Reply::Found(found))) if is_certain => {
                self.signers.extend(found.iter().filter(|found| found.signs).map(|found| found.handle));
            }
            (
                Request::Sign { session, .. } | Request::SignFinal { session, .. },
                Ok(Reply::Signed(Filled::Bytes(_))),
            )
            | (Request::SignInit { session, mechanism: None, .. }, Ok(_)) => {
                self.set(*session, Signing::None)
            }
            (Request::SessionCancel { session, flags }, Ok(_)) if flags & CKF_SIGN != 0 => {
                self.set(*session, Signing::None);
            }
            (Request::SignInit { session, mechanism: Some(mechanism), key }, Ok(_)) => {
                // The user is logged in, and this key signs.
                if is_certain && mechanism.mechanism == CKM_COUNTERSIGN_PSBT {
                    self.user = true;
                    self.signers.insert(*key);
                }
                self.set(*session, Signing::Unknown);
            }
            (
                Request::SignInit { session, .. }
                | Request::Sign { session, .. }
                | Request::SignUpdate { session, .. }
                | Request::SignFinal { session, .. },
                _,
            ) => self.set(*session, Signing::Unknown),
            _ => {}
        }
    }

    fn set(&mut self, session: CK_SESSION_HANDLE, signing: Signing) {
        if let Some(known) = self.sessions.get_mut(&session) {
            *known = signing;
        }
    }
}

impl Request {
    /// Whether it may be made a second time when nobody knows what became of the first.
    fn may_be_repeated(&self) -> bool {
        self.session().is_none() && !matches!(self, Request::InitToken { .. })
    }

    /// As version 2 has it: without the rule that refused.
    fn of_version_2(self) -> Request {
        match self {
            Request::SessionInfoAndRule { session } => Request::SessionInfo { session },
            request => request,
        }
    }

    /// Whether somebody may be logged in, or out, by it.
    fn may_change_login(&self) -> bool {
        matches!(
            self,
            Request::OpenSession { .. }
                | Request::CloseSession { .. }
                | Request::CloseAllSessions { .. }
                | Request::Login { .. }
                | Request::Logout { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: CK_SESSION_HANDLE = 1;
    const KEY: CK_OBJECT_HANDLE = 2;

    fn sign_init() -> Request {
        let mechanism = Mechanism { mechanism: CKM_COUNTERSIGN_PSBT, parameter: Bytes::default() };
        Request::SignInit { session: SESSION, mechanism: Some(mechanism), key: KEY }
    }

    #[test]
    fn nothing_is_held_back_for_a_session_that_a_panic_left_in_doubt() {
        for (answer, is_held_back) in [(CKR_OPERATION_ACTIVE, true), (CKR_GENERAL_ERROR, false)] {
            let mut known = Known { user: true, ..Known::default() };
            known.sessions.insert(SESSION, Signing::None);
            known.signers.insert(KEY);
            let search = Request::FindObjectsInit { session: SESSION, template: vec![] };
            let era = known.send(&search);
            known.learn(&search, &Err(Rv(answer)), era);
            assert_eq!(known.hold_back(sign_init()).is_none(), is_held_back, "{answer:#x}");
        }
    }
}
