//! An application: the engine, with the sessions, the login and the handles of one caller.
//!
//! PKCS#11 says "application" for a program that calls it. Here that is this process, or one peer of `countersign serve` from its
//! greeting to its end.

mod handles;
mod sessions;

pub(super) use handles::Object;
pub(super) use sessions::{MAX_SESSIONS, Session};

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki_sys::*;

use self::handles::Handles;
use self::sessions::Sessions;
use super::answer_memory::AnswerMemory;
use super::desk;
use super::ration;
use super::rv::{Answer, Rv};
use super::session_object::{Held, Usage};
use crate::engine::Engine;
use crate::kernel::approval::is_visible;
use crate::kernel::state::Peer;
use crate::remote::PeerRole;
use crate::remote::interface::MAX_IDENTITY_LEN;

/// The only slot.
pub(super) const SLOT: CK_SLOT_ID = 0;

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// This process, which has loaded the library. Nothing distinguishes its backend from its administrator.
    Process,
    /// A peer of `countersign serve`, as its door identified it.
    Peer {
        /// Given by the door, or by the name in its certificate.
        role: PeerRole,
        /// Names the peer, the same each time it connects.
        identity: String,
    },
}

impl Caller {
    /// A peer. `None`: `identity` is no name.
    pub(super) fn peer(role: PeerRole, identity: &[u8]) -> Option<Caller> {
        let is_bounded = (1..=MAX_IDENTITY_LEN).contains(&identity.len());
        let identity = core::str::from_utf8(identity).ok().filter(|name| is_bounded && is_visible(name))?;
        Some(Caller::Peer { role, identity: identity.to_owned() })
    }
}

/// The engine, with everything that one application has open.
pub(super) struct Application {
    pub(super) engine: Arc<Engine>,
    caller: Caller,
    sessions: Mutex<Sessions>,
    handles: Mutex<Handles>,
    logging_in: Mutex<()>,
    pub(super) session_objects: Mutex<Held>,
    pub(super) totals: Arc<Totals>,
}

/// What all backends together, all administrators, or the desk have in use. There may be a thousand of them.
#[derive(Default)]
pub(super) struct Totals {
    /// Bytes of the unfinished PSBTs of all sessions.
    pub(super) pending: AtomicUsize,
    sessions: AtomicUsize,
    handles: AtomicUsize,
    /// Handles that searches have found and not returned yet.
    pub(super) found: AtomicUsize,
    pub(super) session_objects: Usage,
    /// Memory of the answers that are being made.
    pub(super) answers: AnswerMemory,
}

impl Application {
    /// A further application of `engine`. Its handles count up from `first_handle`.
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
            sessions: Mutex::new(Sessions::after(last)),
            handles: Mutex::new(Handles::after(last)),
            logging_in: Mutex::default(),
            session_objects: Mutex::default(),
            totals,
        }
    }

    /// Refuses a backend if only an administrator may do this, whatever PIN it has.
    pub(super) fn check_administrator(&self) -> Answer {
        match self.caller {
            Caller::Process | Caller::Peer { role: PeerRole::Administrator, .. } => Ok(()),
            Caller::Peer { role: PeerRole::Backend, .. } => {
                self.engine.refused_at_the_door();
                ration::refused(|| "refused a backend's call: only administrators may make it".into());
                Err(Rv(CKR_ACTION_PROHIBITED))
            }
            Caller::Peer { role: PeerRole::Desk, .. } => Err(desk::refused()),
        }
    }

    /// Refuses an administrator if only a backend may do this, whatever PIN they have: behind the
    /// administrators' door nobody logs in as the user or signs.
    pub(super) fn check_backend(&self) -> Answer {
        match self.caller {
            Caller::Process | Caller::Peer { role: PeerRole::Backend, .. } => Ok(()),
            Caller::Peer { role: PeerRole::Administrator, .. } => {
                ration::refused(|| "refused an administrator's call: only backends may make it".into());
                Err(Rv(CKR_ACTION_PROHIBITED))
            }
            Caller::Peer { role: PeerRole::Desk, .. } => Err(desk::refused()),
        }
    }

    /// Whether the caller is the desk.
    pub(super) fn is_desk(&self) -> bool {
        matches!(self.caller, Caller::Peer { role: PeerRole::Desk, .. })
    }

    /// The peer, if the caller came through a door.
    pub(super) fn peer(&self) -> Peer<'_> {
        match &self.caller {
            Caller::Process => None,
            Caller::Peer { identity, .. } => Some(identity),
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.close_all_sessions();
        self.totals.handles.fetch_sub(self.handle_count(), Ordering::SeqCst);
    }
}
