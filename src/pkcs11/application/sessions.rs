//! The sessions of an application, and its login, which holds for all of them (PKCS#11 v3.2 section 5.6).

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::Application;
use crate::admin::Login;
use crate::cores;
use crate::kernel::otp::OtpKeyId;
use crate::kernel::pin::Role;
use crate::pkcs11::message_sign::MessageSigning;
use crate::pkcs11::object::Finding;
use crate::pkcs11::rv::{Answer, Rv};
use crate::pkcs11::sign::Signing;
use crate::pkcs11::verify::Verifying;

/// The most sessions of one application at a time.
pub(in crate::pkcs11) const MAX_SESSIONS: usize = 4_096;
/// The most sessions of all backends at a time, and of all administrators.
const MAX_ALL_SESSIONS: usize = 65_536;

/// One session.
#[derive(Default)]
pub(in crate::pkcs11) struct Session {
    pub(in crate::pkcs11) read_write: bool,
    pub(in crate::pkcs11) finding: Option<Finding>,
    pub(in crate::pkcs11) signing: Option<Signing>,
    pub(in crate::pkcs11) message_signing: Option<MessageSigning>,
    pub(in crate::pkcs11) verifying: Option<Verifying>,
    /// The number of what refused the last transaction or act (`ulDeviceError`), else 0. Beginning an operation, a message or an act
    /// clears it.
    pub(in crate::pkcs11) device_error: CK_ULONG,
    /// Enrolments made in this session whose URI nobody has read yet.
    pub(in crate::pkcs11) enrolments: HashMap<OtpKeyId, Zeroizing<String>>,
}

#[derive(Default)]
pub(super) struct Sessions {
    open: HashMap<CK_SESSION_HANDLE, Open>,
    read_only: usize,
    last: CK_SESSION_HANDLE,
    /// Holds for all sessions.
    login: Option<Arc<Login>>,
}

/// A session in the table. A call that works on the session may wait for the table, so nobody may wait for a
/// session while holding the table. Closing therefore needs only what is outside of the session's lock.
struct Open {
    read_write: bool,
    session: Arc<Mutex<Session>>,
}

impl Application {
    /// Works on a session, one call at a time.
    ///
    /// A panic leaves its session in doubt. Every later call in it is refused, except `C_CloseSession`.
    pub(in crate::pkcs11) fn with_session<T>(
        &self,
        handle: CK_SESSION_HANDLE,
        work: impl FnOnce(&mut Session) -> Answer<T>,
    ) -> Answer<T> {
        let session = self
            .sessions()
            .open
            .get(&handle)
            .map(|open| Arc::clone(&open.session))
            .ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
        let mut session = cores::lock(&session).map_err(|_| Rv(CKR_GENERAL_ERROR))?;
        work(&mut session)
    }

    /// Opens a session.
    pub(in crate::pkcs11) fn open_session(&self, read_write: bool) -> Answer<CK_SESSION_HANDLE> {
        let mut sessions = self.sessions();
        if sessions.role() == Some(Role::So) && !read_write {
            return Err(Rv(CKR_SESSION_READ_WRITE_SO_EXISTS));
        }
        if sessions.open.len() >= MAX_SESSIONS
            || self.totals.sessions.load(Ordering::SeqCst) >= MAX_ALL_SESSIONS
        {
            return Err(Rv(CKR_SESSION_COUNT));
        }
        self.totals.sessions.fetch_add(1, Ordering::SeqCst);
        // No handle is used twice: that of a closed session stays invalid.
        sessions.last += 1;
        let handle = sessions.last;
        sessions.read_only += usize::from(!read_write);
        let session = Arc::new(Mutex::new(Session { read_write, ..Session::default() }));
        sessions.open.insert(handle, Open { read_write, session });
        Ok(handle)
    }

    /// Closes a session and destroys its objects. Closing the last one logs out.
    pub(in crate::pkcs11) fn close_session(&self, handle: CK_SESSION_HANDLE) -> Answer {
        {
            let mut sessions = self.sessions();
            let closed = sessions.open.remove(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
            self.totals.sessions.fetch_sub(1, Ordering::SeqCst);
            sessions.read_only -= usize::from(!closed.read_write);
            // The desk sees private objects without a login.
            if sessions.open.is_empty() {
                sessions.login = None;
                self.forget_private_objects();
            }
        }
        self.drop_orphans();
        Ok(())
    }

    /// Closes all sessions, destroys their objects, and logs out.
    pub(in crate::pkcs11) fn close_all_sessions(&self) {
        {
            let mut sessions = self.sessions();
            let last = sessions.last;
            self.totals.sessions.fetch_sub(sessions.open.len(), Ordering::SeqCst);
            *sessions = Sessions { last, ..Sessions::default() };
            self.forget_private_objects();
        }
        self.drop_orphans();
    }

    /// Whether a session is open.
    pub(in crate::pkcs11) fn is_open(&self, session: CK_SESSION_HANDLE) -> bool {
        self.sessions().open.contains_key(&session)
    }

    /// The number of open sessions, and how many of them are read-write.
    pub(in crate::pkcs11) fn session_counts(&self) -> (usize, usize) {
        let sessions = self.sessions();
        (sessions.open.len(), sessions.open.len() - sessions.read_only)
    }

    /// The role that is logged in.
    pub(in crate::pkcs11) fn role(&self) -> Option<Role> {
        self.sessions().role()
    }

    /// Ends a login whose PIN has changed or was declared lost. Every call starts with this.
    pub(in crate::pkcs11) fn end_login_of_an_old_pin(&self) {
        let is_over =
            || self.login_now().is_some_and(|login| !login.is_of(self.engine.pin_era(login.role())));
        if is_over() {
            let _turn = self.turn_to_log_in();
            // Another call may have ended it and logged in again.
            if is_over() {
                tracing::warn!("ended a login: its PIN was changed or declared lost");
                // The last session may have been closed meanwhile.
                let _ = self.logout();
            }
        }
    }

    /// The login, if there is one.
    pub(in crate::pkcs11) fn login_now(&self) -> Option<Arc<Login>> {
        self.sessions().login.clone()
    }

    /// Lets a login of this role continue as this one: the application that changed the PIN knows the new
    /// one.
    pub(in crate::pkcs11) fn go_on_as(&self, login: Login) {
        let mut sessions = self.sessions();
        if sessions.role() == Some(login.role()) {
            sessions.login = Some(Arc::new(login));
        }
    }

    /// Waits for the turn to log in: one login of an application at a time.
    pub(in crate::pkcs11) fn turn_to_log_in(&self) -> MutexGuard<'_, ()> {
        cores::lock(&self.logging_in).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `role` may log in in the present state.
    pub(in crate::pkcs11) fn check_login(&self, role: Role) -> Answer {
        self.sessions().check_login(role)
    }

    /// Logs in, if the session that brought the right PIN is still open.
    pub(in crate::pkcs11) fn set_login(&self, session: CK_SESSION_HANDLE, login: Login) -> Answer {
        let mut sessions = self.sessions();
        if !sessions.open.contains_key(&session) {
            return Err(Rv(CKR_SESSION_HANDLE_INVALID));
        }
        sessions.check_login(login.role())?;
        sessions.login = Some(Arc::new(login));
        Ok(())
    }

    /// Logs out. This ends all operations, destroys private session objects and invalidates the handles of private objects.
    pub(in crate::pkcs11) fn logout(&self) -> Answer {
        let open: Vec<_> = {
            let mut sessions = self.sessions();
            sessions.login.take().ok_or(Rv(CKR_USER_NOT_LOGGED_IN))?;
            sessions.open.values().map(|open| Arc::clone(&open.session)).collect()
        };
        for session in open {
            // A session in doubt stays refused, but frees what it held.
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            *session = Session { read_write: session.read_write, ..Session::default() };
        }
        self.drop_private_session_objects();
        self.forget_private_objects();
        Ok(())
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing under this lock can panic half-way.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// No sessions. The next handle follows `last`.
    pub(super) fn after(last: CK_SESSION_HANDLE) -> Sessions {
        Sessions { last, ..Sessions::default() }
    }

    fn role(&self) -> Option<Role> {
        self.login.as_ref().map(|login| login.role())
    }

    fn check_login(&self, role: Role) -> Answer {
        match self.role() {
            Some(current) if current == role => Err(Rv(CKR_USER_ALREADY_LOGGED_IN)),
            Some(_) => Err(Rv(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)),
            None if role == Role::So && self.read_only > 0 => Err(Rv(CKR_SESSION_READ_ONLY_EXISTS)),
            None => Ok(()),
        }
    }
}
