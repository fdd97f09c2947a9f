//! Foresight: which `C_SignInit` the boundary is certain to accept, so that a signature costs one round trip.
//!
//! Such a `C_SignInit` is *held back*: the client answers `CKR_OK` itself and sends the request later.
//!
//! **F1. When.** A `C_SignInit` is held back if all of this is known, and otherwise sent at once:
//! - its mechanism is `CKM_COUNTERSIGN_PSBT`, and its parameter is empty or parses as approvals;
//! - the session is open, and no signing operation is active in it;
//! - the user is logged in;
//! - the key signs by this mechanism.
//!
//! **F2. Where to.** It goes to the boundary in one frame with the next call of its session, before that
//! call. `C_CloseSession` drops it instead. If a call does not reach the boundary, the `C_SignInit` stays
//! held back, unless that call ends the operation.
//!
//! **F3. What is known** comes only from answers of the boundary:
//!
//! | answer | what follows |
//! |---|---|
//! | `C_OpenSession`: ok | no signing operation is active in the new session |
//! | `C_Sign`, `C_SignFinal`: a signature | no signing operation is active |
//! | `C_SignInit` without a mechanism, `C_SessionCancel` of signing: ok | no signing operation is active |
//! | every other answer to a signing call | one may be active |
//! | `C_Login` of the user: ok | the user is logged in |
//! | `C_SignInit` with `CKM_COUNTERSIGN_PSBT`: ok | the user is logged in, this key signs, an operation is active |
//! | `C_FindObjects`: found, marked as signing | these keys sign |
//! | `C_Logout`, `C_CloseAllSessions`, `C_CloseSession` of the last session: ok | nobody is logged in, no key is known to sign |
//! | `CKR_USER_NOT_LOGGED_IN` to any call | nobody is logged in, no key is known to sign |
//! | `CKR_GENERAL_ERROR` to a call in a session | an operation may be active in it |
//!
//! **F4. Order.** Calls and answers overtake each other. A call is *alone* among some calls if none of the
//! others was under way at any time between its sending and the arrival of its answer.
//! - A call says something about the login and about keys only if it is alone among those that may change the
//!   login (calls on sessions and logins). If two of those are under way at once, it is unknown whether the
//!   user is logged in.
//! - A call says that no operation is active only if it is alone in its session. `C_Logout` says it of the sessions in which no call is
//!   under way.
//!
//! **F5. If it was wrong all the same.** An administrator can set the PIN anew or take a right away at any
//! moment. Then the boundary refuses the `C_SignInit` that was held back. That refusal answers the call that
//! it was sent with, and nothing is signed.

use std::collections::{HashMap, HashSet};
use std::mem;

use cryptoki_sys::*;

use crate::kernel::approval::Approval;
use crate::pkcs11::reply::{Filled, Reply};
use crate::pkcs11::request::{Envelope, Mechanism, Request};
use crate::pkcs11::rv::{Answer, Rv};
use crate::pkcs11::vendor::CKM_COUNTERSIGN_PSBT;

/// What is known of an application at the boundary, and what is held back.
#[derive(Default)]
pub(super) struct Foresight {
    is_user_logged_in: bool,
    logins: Calls,
    sessions: HashMap<CK_SESSION_HANDLE, Session>,
    signing_keys: HashSet<CK_OBJECT_HANDLE>,
}

/// The calls of some kind: whether one is alone among them (F4).
#[derive(Default)]
struct Calls {
    sent: u64,
    under_way: u64,
}

/// The calls under way when a call was sent.
#[derive(Clone, Copy)]
#[must_use]
pub(super) struct Sent {
    /// How many calls that may change the login had been sent, if no other one was under way.
    among_logins: Option<u64>,
    /// The same for its session.
    in_session: Option<u64>,
}

impl Calls {
    fn begin(&mut self) {
        self.sent += 1;
        self.under_way += 1;
    }

    fn end(&mut self) {
        // A caller may use a handle before it is returned.
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// How many were sent, if none is under way except the call's `own` one.
    fn alone(&self, own: bool) -> Option<u64> {
        (self.under_way == u64::from(own)).then_some(self.sent)
    }
}

/// What is known of an open session.
#[derive(Default)]
struct Session {
    signing: Signing,
    calls: Calls,
}

/// What is known of a session's signing operation.
#[derive(Default)]
enum Signing {
    /// None is active.
    #[default]
    Idle,
    /// One may be active.
    Unknown,
    /// This one is active, and is held back.
    HeldBack(Request),
}

impl Foresight {
    /// The envelope to send for `request`, together with what was held back in its session. `None` if the
    /// request itself is held back (F1, F2).
    pub(super) fn hold_back(&mut self, request: Request) -> Option<Envelope> {
        if self.is_accepted(&request)
            && let Request::SignInit { session, .. } = request
        {
            self.set(session, Signing::HeldBack(request));
            return None;
        }
        let sign_init = match &request {
            Request::CloseSession { .. } => None,
            request => request.session().and_then(|session| self.take_held_back(session)),
        };
        Some(Envelope { sign_init, request })
    }

    /// Records that `request` is sent now.
    pub(super) fn send(&mut self, request: &Request) -> Sent {
        let changes_login = request.may_change_login();
        if changes_login {
            self.is_user_logged_in &= self.logins.under_way == 0;
            self.logins.begin();
        }
        let session = request.session().and_then(|session| self.sessions.get_mut(&session));
        let in_session = session.and_then(|session| {
            session.calls.begin();
            session.calls.alone(true)
        });
        Sent { among_logins: self.logins.alone(changes_login), in_session }
    }

    /// Records that a call did not reach the boundary after all.
    pub(super) fn not_carried(&mut self, request: &Request) {
        self.end_send(request);
    }

    /// Takes back an envelope whose call fails here. What was held back stays so, unless the call ends the
    /// operation.
    pub(super) fn take_back(&mut self, envelope: Envelope) {
        let Envelope { sign_init, request } = envelope;
        let (Some(sign_init), Some(session)) = (sign_init, request.session()) else { return };
        let ends =
            matches!(request, Request::Sign { .. } | Request::SignUpdate { .. } | Request::SignFinal { .. });
        self.set(session, if ends { Signing::Idle } else { Signing::HeldBack(sign_init) });
    }

    /// Learns from the answer to a call (F3, F4).
    pub(super) fn learn(&mut self, request: &Request, sent: Sent, answer: &Answer<Reply>) {
        self.end_send(request);
        match answer {
            Ok(reply) => self.learn_from(request, sent, reply),
            Err(rv) => self.learn_from_refusal(request, *rv),
        }
    }

    /// Whether no session is open.
    pub(super) fn has_no_session(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether the boundary is certain to accept this `C_SignInit` (F1).
    fn is_accepted(&self, request: &Request) -> bool {
        let Request::SignInit { session, mechanism: Some(Mechanism { mechanism, parameter }), key } = request
        else {
            return false;
        };
        *mechanism == CKM_COUNTERSIGN_PSBT
            && (parameter.is_empty() || Approval::parse_or_ticket(parameter).is_ok())
            && matches!(self.sessions.get(session), Some(Session { signing: Signing::Idle, .. }))
            && self.is_user_logged_in
            && self.signing_keys.contains(key)
    }

    fn take_held_back(&mut self, session: CK_SESSION_HANDLE) -> Option<Request> {
        let Session { signing, .. } = self.sessions.get_mut(&session)?;
        match mem::replace(signing, Signing::Unknown) {
            Signing::HeldBack(sign_init) => Some(sign_init),
            other => {
                *signing = other;
                None
            }
        }
    }

    fn end_send(&mut self, request: &Request) {
        if request.may_change_login() {
            self.logins.end();
        }
        if let Some(session) = request.session().and_then(|session| self.sessions.get_mut(&session)) {
            session.calls.end();
        }
    }

    fn learn_from(&mut self, request: &Request, sent: Sent, reply: &Reply) {
        let is_certain = sent.among_logins == Some(self.logins.sent);
        match (request, reply) {
            (Request::OpenSession { .. }, Reply::Opened(session)) => {
                self.sessions.insert(*session, Session::default());
            }
            (Request::CloseSession { session }, _) => {
                self.sessions.remove(session);
                if self.sessions.is_empty() {
                    self.forget_login();
                }
            }
            (Request::CloseAllSessions { .. }, _) => {
                self.sessions.clear();
                self.forget_login();
            }
            (Request::Login { user_type: CKU_USER, .. }, _) => self.is_user_logged_in = is_certain,
            (Request::Logout { .. }, _) => {
                self.forget_login();
                // Operations end with the login, and nobody has logged in since. A call that is still under way may begin one
                // after the next login: it may bring what was held back.
                for session in self.sessions.values_mut() {
                    let is_idle = is_certain && session.calls.under_way == 0;
                    session.signing = if is_idle { Signing::Idle } else { Signing::Unknown };
                }
            }
            (Request::FindObjects { .. }, Reply::Found(found)) if is_certain => {
                self.signing_keys.extend(found.iter().filter(|found| found.signs).map(|found| found.handle));
            }
            (
                Request::Sign { session, .. } | Request::SignFinal { session, .. },
                Reply::Signed(Filled::Bytes(_)),
            )
            | (Request::SignInit { session, mechanism: None, .. }, _) => self.end_operation(*session, sent),
            (Request::SessionCancel { session, flags }, _) if flags & CKF_SIGN != 0 => {
                self.end_operation(*session, sent);
            }
            (Request::SignInit { session, mechanism: Some(mechanism), key }, _) => {
                if is_certain && mechanism.mechanism == CKM_COUNTERSIGN_PSBT {
                    self.is_user_logged_in = true;
                    self.signing_keys.insert(*key);
                }
                self.set(*session, Signing::Unknown);
            }
            (
                Request::Sign { session, .. }
                | Request::SignUpdate { session, .. }
                | Request::SignFinal { session, .. },
                _,
            ) => self.set(*session, Signing::Unknown),
            _ => {}
        }
    }

    fn learn_from_refusal(&mut self, request: &Request, rv: Rv) {
        if rv == Rv(CKR_USER_NOT_LOGGED_IN) {
            // Also if the boundary has ended the login because its PIN has changed.
            self.forget_login();
        }
        let is_of_signing = matches!(
            request,
            Request::SignInit { .. }
                | Request::Sign { .. }
                | Request::SignUpdate { .. }
                | Request::SignFinal { .. }
        );
        // A panic leaves its session in doubt, whatever the call was.
        if let Some(session) = request.session()
            && (is_of_signing || rv == Rv(CKR_GENERAL_ERROR))
        {
            self.set(session, Signing::Unknown);
        }
    }

    fn forget_login(&mut self) {
        self.is_user_logged_in = false;
        self.signing_keys.clear();
    }

    /// The operation has ended, according to the answer to this call. Another call may have begun a new one.
    fn end_operation(&mut self, session: CK_SESSION_HANDLE, sent: Sent) {
        if let Some(known) = self.sessions.get_mut(&session) {
            let is_alone = sent.in_session == Some(known.calls.sent);
            known.signing = if is_alone { Signing::Idle } else { Signing::Unknown };
        }
    }

    fn set(&mut self, session: CK_SESSION_HANDLE, signing: Signing) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.signing = signing;
        }
    }
}

impl Request {
    /// Whether it may change the login: closing the last session logs the application out.
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
mod tests;
