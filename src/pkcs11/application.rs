//! One initialised module: the engine with the sessions, logins and handles of one application.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::answer_memory::AnswerMemory;
use super::message_sign::MessageSigning;
use super::object::Finding;
use super::ration;
use super::rv::{Answer, Rv};
use super::session_object::{Held, Usage};
use super::sign::Signing;
use super::verify::Verifying;
use crate::cores;
use crate::engine::{DigestKeyId, Engine, PinEra, WalletId};
use crate::kernel::approval::is_visible;
use crate::kernel::audit::Role;
use crate::kernel::otp::OtpKeyId;
use crate::kernel::rule::Rule;
use crate::kernel::state::Peer;
use crate::remote::PeerRole;
use crate::remote::interface::MAX_IDENTITY_LEN;

/// The only slot.
pub(super) const SLOT: CK_SLOT_ID = 0;
/// Most sessions of an application at a time.
pub(super) const MAX_SESSIONS: usize = 4_096;
/// Most sessions of all backends, and of all administrators, at a time.
const MAX_ALL_SESSIONS: usize = 65_536;
/// Most handles of objects of all backends, and of all administrators, at a time: twice a million users, with their wallets.
const MAX_ALL_HANDLES: usize = 1 << 22;

/// Whose application it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// This process, which has loaded the library: nothing tells its backend from its administrator.
    Process,
    /// A peer of `countersign serve`, as the door identified it.
    Peer {
        /// By the door, or by the name in its certificate.
        role: PeerRole,
        /// Names it, the same each time it comes.
        identity: String,
    },
}

impl Caller {
    /// A peer; `None` where `identity` is no name.
    pub(super) fn peer(role: PeerRole, identity: &[u8]) -> Option<Caller> {
        let is_bounded = (1..=MAX_IDENTITY_LEN).contains(&identity.len());
        let identity = core::str::from_utf8(identity).ok().filter(|name| is_bounded && is_visible(name))?;
        Some(Caller::Peer { role, identity: identity.to_owned() })
    }
}

/// The engine with the sessions, logins and handles of one application.
pub(super) struct Application {
    pub(super) engine: Arc<Engine>,
    caller: Caller,
    sessions: Mutex<Sessions>,
    handles: Mutex<Handles>,
    logging_in: Mutex<()>,
    pub(super) session_objects: Mutex<Held>,
    pub(super) totals: Arc<Totals>,
}

/// What applications hold together: all backends, or all administrators. There may be a thousand of them.
#[derive(Default)]
pub(super) struct Totals {
    /// Bytes of the PSBTs that sessions hold unfinished.
    pub(super) pending: AtomicUsize,
    sessions: AtomicUsize,
    handles: AtomicUsize,
    /// Handles that searches hold and have not given yet.
    pub(super) found: AtomicUsize,
    pub(super) session_objects: Usage,
    /// What answers take while they are made.
    pub(super) answers: AnswerMemory,
}

#[derive(Default)]
struct Sessions {
    open: HashMap<CK_SESSION_HANDLE, Open>,
    read_only: usize,
    last: CK_SESSION_HANDLE,
    /// The application's login: it holds for all of its sessions (PKCS#11 v2.40 section 2.4, "Session types").
    login: Option<Login>,
}

/// A login, which lasts as long as the PIN that it was made with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) role: Role,
    pub(super) era: PinEra,
}

/// A session in the table. What closing needs stands beside the lock: a call that works on the session may be waiting for
/// the table, so whoever holds the table never waits for a session.
struct Open {
    read_write: bool,
    session: Arc<Mutex<Session>>,
}

/// One session.
#[derive(Default)]
pub(super) struct Session {
    pub(super) read_write: bool,
    pub(super) finding: Option<Finding>,
    pub(super) signing: Option<Signing>,
    pub(super) message_signing: Option<MessageSigning>,
    pub(super) verifying: Option<Verifying>,
    /// The rule that refused the last transaction: `ulDeviceError`. None since an operation, or a message of one, was begun.
    pub(super) refused_by: Option<Rule>,
    /// The enrolments made in this session and not read yet.
    pub(super) enrolments: HashMap<OtpKeyId, Zeroizing<String>>,
}

/// What a handle stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Object {
    /// A user's OTP key. A user who is removed and enrolled again has another one.
    User { name: String, key_id: OtpKeyId },
    /// The public side of a wallet.
    WalletPublic(WalletId),
    /// The private side of a wallet.
    WalletPrivate(WalletId),
    /// The public side of a key that signs digests.
    DigestPublic(DigestKeyId),
    /// The private side of a key that signs digests.
    DigestPrivate(DigestKeyId),
    /// The clock.
    Clock,
    /// The backends' PIN: what became of it, for the security officer.
    UserPin,
    /// The profile that the token conforms to.
    Profile,
    /// What the application made itself.
    Session { number: u64, is_private: bool },
}

impl Object {
    /// Whether it is invisible without login (`CKA_PRIVATE`).
    pub(super) fn is_private(&self) -> bool {
        match self {
            Object::User { .. } | Object::WalletPrivate(_) | Object::DigestPrivate(_) | Object::UserPin => {
                true
            }
            Object::WalletPublic(_) | Object::DigestPublic(_) | Object::Clock | Object::Profile => false,
            Object::Session { is_private, .. } => *is_private,
        }
    }

    /// Whether who is logged in sees it. The security officer sees what there is to administer, and nothing of the user's own.
    pub(super) fn is_visible_to(&self, role: Option<Role>) -> bool {
        match self {
            Object::Session { is_private: true, .. } => role == Some(Role::User),
            Object::UserPin => role == Some(Role::So),
            object => role.is_some() || !object.is_private(),
        }
    }
}

#[derive(Default)]
struct Handles {
    objects: HashMap<CK_OBJECT_HANDLE, Object>,
    handles: HashMap<Object, CK_OBJECT_HANDLE>,
    last: CK_OBJECT_HANDLE,
}

impl Application {
    /// A further application of `engine`, whose handles are numbered from `first_handle` on.
    pub(super) fn new(
        engine: Arc<Engine>,
        totals: Arc<Totals>,
        caller: Caller,
        first_handle: u64,
    ) -> Application {
        let last = first_handle.saturating_sub(1);
        Application {
            engine,
            caller,
            sessions: Mutex::new(Sessions { last, ..Sessions::default() }),
            handles: Mutex::new(Handles { last, ..Handles::default() }),
            logging_in: Mutex::default(),
            session_objects: Mutex::default(),
            totals,
        }
    }

    /// Refuses what is not for backends, however right the PIN.
    pub(super) fn check_administrator(&self) -> Answer {
        match self.caller {
            Caller::Process | Caller::Peer { role: PeerRole::Administrator, .. } => Ok(()),
            Caller::Peer { role: PeerRole::Backend, .. } => {
                self.engine.refused_at_the_door();
                ration::refused(|| "refused: a call for administrators, from a backend's connection".into());
                Err(Rv(CKR_ACTION_PROHIBITED))
            }
        }
    }

    /// Refuses what is for backends alone, however right the PIN: who came in through the administrators' door neither logs in
    /// as the user nor signs.
    pub(super) fn check_backend(&self) -> Answer {
        match self.caller {
            Caller::Process | Caller::Peer { role: PeerRole::Backend, .. } => Ok(()),
            Caller::Peer { role: PeerRole::Administrator, .. } => {
                ration::refused(|| "refused: a call for backends, from an administrator's connection".into());
                Err(Rv(CKR_ACTION_PROHIBITED))
            }
        }
    }

    /// The peer as the door identified it, if there is a door.
    pub(super) fn peer(&self) -> Peer<'_> {
        match &self.caller {
            Caller::Process => None,
            Caller::Peer { identity, .. } => Some(identity),
        }
    }

    /// Works on a session. One call at a time: a second one waits.
    ///
    /// A call that panicked leaves its session in doubt: every further call but `C_CloseSession` is refused.
    pub(super) fn with_session<T>(
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
    pub(super) fn open_session(&self, read_write: bool) -> Answer<CK_SESSION_HANDLE> {
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
        // Handles are not used again: one that was closed stays invalid.
        sessions.last += 1;
        let handle = sessions.last;
        sessions.read_only += usize::from(!read_write);
        let session = Arc::new(Mutex::new(Session { read_write, ..Session::default() }));
        sessions.open.insert(handle, Open { read_write, session });
        Ok(handle)
    }

    /// Closes a session, with the objects that it made. With the last one the application is logged out.
    pub(super) fn close_session(&self, handle: CK_SESSION_HANDLE) -> Answer {
        {
            let mut sessions = self.sessions();
            let closed = sessions.open.remove(&handle).ok_or(Rv(CKR_SESSION_HANDLE_INVALID))?;
            self.totals.sessions.fetch_sub(1, Ordering::SeqCst);
            sessions.read_only -= usize::from(!closed.read_write);
            if sessions.open.is_empty() && sessions.login.take().is_some() {
                self.forget_private_objects();
            }
        }
        self.drop_orphans();
        Ok(())
    }

    /// Closes all sessions, with the objects that they made, and logs out.
    pub(super) fn close_all_sessions(&self) {
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
    pub(super) fn is_open(&self, session: CK_SESSION_HANDLE) -> bool {
        self.sessions().open.contains_key(&session)
    }

    /// How many sessions are open, and how many of them read-write.
    pub(super) fn session_counts(&self) -> (usize, usize) {
        let sessions = self.sessions();
        (sessions.open.len(), sessions.open.len() - sessions.read_only)
    }

    /// Who is logged in.
    pub(super) fn role(&self) -> Option<Role> {
        self.sessions().role()
    }

    /// Ends a login by a PIN that is another one by now, or lost: every call asks for that first.
    pub(super) fn end_login_of_an_old_pin(&self) {
        let is_over =
            || self.sessions().login.is_some_and(|login| login.era != self.engine.pin_era(login.role));
        if is_over() {
            let _turn = self.turn_to_log_in();
            // Whoever had the turn may have ended it, and logged in anew.
            if is_over() {
                tracing::warn!("a login has ended: its PIN was set anew, or declared lost");
                // Nobody is logged in where it ended meanwhile.
                let _ = self.logout();
            }
        }
    }

    /// The login, if it is of `role`, goes on in this era: whoever changed the PIN knows the new one.
    pub(super) fn go_on_in(&self, role: Option<Role>, era: PinEra) {
        let mut sessions = self.sessions();
        if let Some(login) = sessions.login.as_mut().filter(|login| Some(login.role) == role) {
            login.era = era;
        }
    }

    /// One login of this application at a time.
    pub(super) fn turn_to_log_in(&self) -> MutexGuard<'_, ()> {
        cores::lock(&self.logging_in).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `role` may log in now.
    pub(super) fn check_login(&self, role: Role) -> Answer {
        self.sessions().check_login(role)
    }

    /// Logs in, the PIN being right, if the session it was given in is still there.
    pub(super) fn set_login(&self, session: CK_SESSION_HANDLE, login: Login) -> Answer {
        let mut sessions = self.sessions();
        if !sessions.open.contains_key(&session) {
            return Err(Rv(CKR_SESSION_HANDLE_INVALID));
        }
        sessions.check_login(login.role)?;
        sessions.login = Some(login);
        Ok(())
    }

    /// Logs out. What was begun under the login ends with it, private session objects are destroyed, and handles of private
    /// objects become invalid.
    pub(super) fn logout(&self) -> Answer {
        let open: Vec<_> = {
            let mut sessions = self.sessions();
            sessions.login.take().ok_or(Rv(CKR_USER_NOT_LOGGED_IN))?;
            sessions.open.values().map(|open| Arc::clone(&open.session)).collect()
        };
        for session in open {
            // One that a panic left in doubt stays refused; what it held is dropped all the same.
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            *session = Session { read_write: session.read_write, ..Session::default() };
        }
        self.drop_private_session_objects();
        self.forget_private_objects();
        Ok(())
    }

    /// Forgets the handles of private objects: who logs in later gets others (v3.0 section 5.6.8).
    fn forget_private_objects(&self) {
        let mut handles = self.handles();
        let Handles { objects, handles: by_object, .. } = &mut *handles;
        let before = objects.len();
        objects.retain(|_, object| !object.is_private());
        by_object.retain(|object, _| !object.is_private());
        self.totals.handles.fetch_sub(before - objects.len(), Ordering::SeqCst);
    }

    /// Who may change the token's objects: nobody in a read-only session, and in another one the security officer (v3.0 section
    /// 5.6, "Session types").
    pub(super) fn require_administration(&self, session: &Session) -> Answer {
        if !session.read_write {
            return Err(Rv(CKR_SESSION_READ_ONLY));
        }
        if self.role() == Some(Role::So) { Ok(()) } else { Err(Rv(CKR_USER_NOT_LOGGED_IN)) }
    }

    /// The handle of an object: the same as long as it is visible.
    pub(super) fn handle_of(&self, object: Object) -> Answer<CK_OBJECT_HANDLE> {
        let mut handles = self.handles();
        if let Some(handle) = handles.handles.get(&object) {
            return Ok(*handle);
        }
        if self.totals.handles.load(Ordering::SeqCst) >= MAX_ALL_HANDLES {
            return Err(Rv(CKR_DEVICE_MEMORY));
        }
        self.totals.handles.fetch_add(1, Ordering::SeqCst);
        handles.last += 1;
        let handle = handles.last;
        handles.objects.insert(handle, object.clone());
        handles.handles.insert(object, handle);
        Ok(handle)
    }

    /// The object of a handle, if it is visible to whoever is logged in and still there.
    pub(super) fn object_of(&self, handle: CK_OBJECT_HANDLE) -> Answer<Object> {
        let object = self.visible_object(handle)?;
        let is_there = match &object {
            Object::User { name, key_id } => {
                self.engine.user(name)?.is_some_and(|user| user.key_id == *key_id)
            }
            Object::Session { number, .. } => self.session_object(*number).is_some(),
            // Never destroyed.
            Object::WalletPublic(_)
            | Object::WalletPrivate(_)
            | Object::DigestPublic(_)
            | Object::DigestPrivate(_)
            | Object::Clock
            | Object::UserPin
            | Object::Profile => true,
        };
        if !is_there {
            self.forget_object(&object);
            return Err(Rv(CKR_OBJECT_HANDLE_INVALID));
        }
        Ok(object)
    }

    /// The object of a handle, if it is visible to whoever is logged in. Another application may have destroyed it.
    pub(super) fn visible_object(&self, handle: CK_OBJECT_HANDLE) -> Answer<Object> {
        let object = self.handles().objects.get(&handle).cloned().ok_or(Rv(CKR_OBJECT_HANDLE_INVALID))?;
        if object.is_visible_to(self.role()) { Ok(object) } else { Err(Rv(CKR_OBJECT_HANDLE_INVALID)) }
    }

    /// Forgets the handle of an object that is gone.
    pub(super) fn forget_object(&self, object: &Object) {
        let mut handles = self.handles();
        if let Some(handle) = handles.handles.remove(object) {
            handles.objects.remove(&handle);
            self.totals.handles.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Nothing under this lock calls anything that could panic half-way.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.close_all_sessions();
        self.totals.handles.fetch_sub(self.handles().objects.len(), Ordering::SeqCst);
    }
}

impl Sessions {
    fn role(&self) -> Option<Role> {
        self.login.map(|login| login.role)
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
