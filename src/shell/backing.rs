//! The backing token: a PKCS#11 token that keeps the sealing key and the anchor.
//!
//! It is logged in to once and stays so: SoftHSM2 rewrites a file at each login, and a kill in that moment destroys the
//! token. What another part of the process initialised is used and never finalised. Labels prove nothing: a key is the
//! right one when it opens what it sealed, an anchor when its MAC is right.

mod answer;
mod reserved;
mod sealing;
mod softhsm;
mod token;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use self::answer::failed;
pub use self::answer::rv_name;
pub use self::token::{Identity, LogInError, Token};
use super::config::BackingConfig;
use super::exit;
use crate::ports::{AnchorSlots, BackingError};

const ANCHOR_LABEL: &[u8] = b"countersign-anchor";
const APPLICATION: &[u8] = b"countersign";
/// How long the end of the process waits for a thread to leave the token.
const LEAVING: Duration = Duration::from_millis(200);

/// The token, with sessions that are logged in.
pub struct Backing {
    token: Token,
    session: Mutex<Session>,
    /// The anchor has a session of its own: who needs randomness does not wait for it.
    anchor: Mutex<AnchorSession>,
}

struct AnchorSession {
    session: Session,
    /// The anchors that are there, once it is known.
    known: Option<Vec<ObjectHandle>>,
}

impl Backing {
    /// Loads the module, finds the token and logs in. As the process ends nobody is in the token.
    pub fn open(config: &BackingConfig) -> Result<Arc<Backing>, BackingError> {
        let token = Token::find(config)?;
        let session = token.open_session()?;
        token.log_in(&session)?;
        let anchor = token.open_session()?;
        let anchor = Mutex::new(AnchorSession { session: anchor, known: None });
        let backing = Arc::new(Backing { token, session: Mutex::new(session), anchor });
        exit::guard(&backing);
        Ok(backing)
    }

    /// What the token says of itself.
    pub fn identity(&self) -> &Identity {
        self.token.identity()
    }

    /// Fills `bytes` from the token's random source.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), BackingError> {
        self.session().generate_random_slice(bytes).map_err(failed("gives no randomness"))
    }

    /// Keeps every thread out of the token for good, once those that are in it have left. Who does not leave is not waited for:
    /// it may be the one that ends the process.
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
        // A session has no state of ours between calls.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the lock is taken, and never given back.
fn lock_for_good<T>(lock: &Mutex<T>) -> bool {
    match lock.try_lock() {
        Ok(guard) => core::mem::forget(guard),
        Err(TryLockError::Poisoned(guard)) => core::mem::forget(guard.into_inner()),
        Err(TryLockError::WouldBlock) => return false,
    }
    true
}

impl AnchorSlots for Backing {
    fn values(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        let AnchorSession { session, .. } = &*self.anchor();
        // An object that a crash left torn may not even be readable: it is no value, and is destroyed with the next one.
        Ok(anchors(session)?.into_iter().filter_map(|anchor| value(session, anchor).ok()).collect())
    }

    fn replace(&self, new: &[u8]) -> Result<(), BackingError> {
        let AnchorSession { session, known } = &mut *self.anchor();
        // Taken: after a failure it is looked for anew.
        let old = match known.take() {
            Some(old) => old,
            None => anchors(session)?,
        };
        let template = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Modifiable(false),
            Attribute::Label(ANCHOR_LABEL.into()),
            Attribute::Application(APPLICATION.into()),
            Attribute::Value(new.to_vec()),
        ];
        let created = session.create_object(&template).map_err(failed("does not keep the anchor"))?;
        if value(session, created)? != new {
            return Err(BackingError("the anchor does not read back as it was written".into()));
        }
        for anchor in old {
            session.destroy_object(anchor).map_err(failed("does not destroy the old anchor"))?;
        }
        *known = Some(vec![created]);
        Ok(())
    }
}

fn anchors(session: &Session) -> Result<Vec<ObjectHandle>, BackingError> {
    session
        .find_objects(&[Attribute::Class(ObjectClass::DATA), Attribute::Label(ANCHOR_LABEL.into())])
        .map_err(failed("does not look for the anchor"))
}

fn value(session: &Session, object: ObjectHandle) -> Result<Vec<u8>, BackingError> {
    let attributes = session
        .get_attributes(object, &[AttributeType::Value])
        .map_err(failed("does not show the anchor"))?;
    Ok(attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            Attribute::Value(value) => Some(value),
            _ => None,
        })
        .unwrap_or_default())
}
