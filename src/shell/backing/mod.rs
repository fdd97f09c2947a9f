//! The backing token: a PKCS#11 token that keeps the sealing key and the anchor.
//!
//! It logs in once and stays logged in: SoftHSM2 rewrites a file at each login, and a kill in that moment
//! destroys the token. It can use a module that another part of the process initialised, and never finalises
//! it. Labels prove nothing: the right key is the one that opens what it sealed, and the right anchor is the
//! one with a valid MAC.
//!
//! Tokens behind a network drop sessions and forget logins. In that case it opens new sessions, and logs in
//! once more if it must. It never tries a refused PIN again in this process, because the token would lock it.

mod anchor;
mod answer;
mod reserved;
mod sealing;
mod softhsm;
mod token;
mod trial;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState};

use self::answer::failed;
pub use self::answer::rv_name;
pub use self::token::{Identity, LogInError, Token};
use super::config::BackingConfig;
use super::exit;
use crate::ports::{BackingError, ReopenError};

/// How long the end of the process waits for a thread to leave the token.
const LEAVING: Duration = Duration::from_millis(200);

/// The token, with sessions that are logged in.
pub struct Backing {
    token: Token,
    session: Mutex<Session>,
    /// The anchor has a session of its own, so that callers who need randomness do not wait for it.
    anchor: Mutex<AnchorSession>,
    /// How often sessions were opened again.
    beginnings: AtomicU64,
    /// The reason why it does not log in any more.
    refused: OnceLock<BackingError>,
}

struct AnchorSession {
    session: Session,
    /// The present anchors, once they are known.
    known: Option<Vec<ObjectHandle>>,
}

impl Backing {
    /// Loads the module, finds the token and logs in. When the process ends, no thread is inside the token.
    pub fn open(config: &BackingConfig) -> Result<Arc<Backing>, BackingError> {
        Ok(Backing::begin(config)?)
    }

    /// The same, but the error tells a refused PIN from a token that may answer later.
    pub fn begin(config: &BackingConfig) -> Result<Arc<Backing>, ReopenError> {
        let token = Token::find(config).map_err(ReopenError::Away)?;
        let session = token.open_session().map_err(ReopenError::Away)?;
        // Another part of the process may be logged in, and a login holds for the whole process.
        let state = session.get_session_info().map(|info| info.session_state());
        if !state.is_ok_and(|state| state == SessionState::RwUser) {
            token.log_in(&session).map_err(reopen_error)?;
        }
        let anchor = token.open_session().map_err(ReopenError::Away)?;
        let anchor = Mutex::new(AnchorSession { session: anchor, known: None });
        let session = Mutex::new(session);
        let (beginnings, refused) = Default::default();
        let backing = Arc::new(Backing { token, session, anchor, beginnings, refused });
        exit::guard(&backing);
        Ok(backing)
    }

    /// The token's description of itself.
    pub fn identity(&self) -> &Identity {
        self.token.identity()
    }

    /// Fills `bytes` from the token's random source. If that fails, opens new sessions and tries once more.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), ReopenError> {
        let beginning = self.beginnings.load(Ordering::SeqCst);
        if self.session().generate_random_slice(bytes).is_ok() {
            return Ok(());
        }
        self.begin_anew(Some(beginning))?;
        let failed = failed("gives no randomness");
        self.session().generate_random_slice(bytes).map_err(|error| ReopenError::Away(failed(error)))
    }

    /// Opens new sessions and logs in, unless another thread has since `beginning`. When the process ends,
    /// the locks keep this out, like every other caller.
    fn begin_anew(&self, beginning: Option<u64>) -> Result<(), ReopenError> {
        let (mut session, mut anchor) = (self.session(), self.anchor());
        if beginning.is_some_and(|beginning| beginning != self.beginnings.load(Ordering::SeqCst)) {
            return Ok(());
        }
        if let Some(error) = self.refused.get() {
            return Err(ReopenError::Refused(error.clone()));
        }
        let new = self.token.open_session().map_err(ReopenError::Away)?;
        if !is_logged_in(&new) {
            // The library may still think that it is logged in after the token forgot the login, and would
            // refuse another one.
            let _ = new.logout();
            self.token.log_in(&new).map_err(reopen_error).inspect_err(|error| {
                if let ReopenError::Refused(error) = error {
                    self.refused.get_or_init(|| error.clone());
                }
            })?;
        }
        let for_anchor = self.token.open_session().map_err(ReopenError::Away)?;
        *session = new;
        *anchor = AnchorSession { session: for_anchor, known: None };
        self.beginnings.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Keeps every thread out of the token for good, after those inside have left. It does not wait long for
    /// one that stays, which may be the thread that ends the process.
    pub(super) fn keep_out(&self) {
        let until = Instant::now() + LEAVING;
        let (mut session, mut anchor) = (false, false);
        while !(session && anchor) && Instant::now() < until {
            session = session || lock_for_good(&self.session);
            anchor = anchor || lock_for_good(&self.anchor);
            if !(session && anchor) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn anchor(&self) -> MutexGuard<'_, AnchorSession> {
        self.anchor.lock().unwrap_or_else(|poisoned| {
            let mut anchor = PoisonError::into_inner(poisoned);
            anchor.known = None;
            anchor
        })
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // Between calls a session holds no state of ours.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock, and never releases it. Returns whether it could.
fn lock_for_good<T>(lock: &Mutex<T>) -> bool {
    match lock.try_lock() {
        Ok(guard) => core::mem::forget(guard),
        Err(TryLockError::Poisoned(guard)) => core::mem::forget(guard.into_inner()),
        Err(TryLockError::WouldBlock) => return false,
    }
    true
}

fn reopen_error(error: LogInError) -> ReopenError {
    match error {
        LogInError::Refused(error) => ReopenError::Refused(error),
        LogInError::Failed(error) => ReopenError::Away(error),
    }
}

/// Whether the user is logged in according to the token, and not only to its library: the anchor is private.
fn is_logged_in(session: &Session) -> bool {
    let info = session.get_session_info();
    info.is_ok_and(|info| info.session_state() == SessionState::RwUser) && anchor::is_shown(session)
}
