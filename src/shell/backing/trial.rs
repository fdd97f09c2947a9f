//! Tries what a token must do, on objects of its own: a key that wraps and unwraps, and a step of an anchor.
//!
//! It opens no store, and touches no sealing key or anchor, so it does not affect a store in use. If a trial
//! is killed, the next one removes what it left.

use cryptoki::object::Attribute;
use cryptoki::session::Session;

use super::Backing;
use super::anchor::keep;
use super::answer::failed;
use crate::ports::{BackingError, Random};
use crate::shell::random::SystemRandom;

const LABEL: &[u8] = b"countersign-trial";
const CONTEXT: &[u8] = b"countersign trial";
/// As long as an anchor's value.
const VALUE_LEN: usize = crate::kernel::anchor::ANCHOR_LEN_WITH_COUNCIL;

impl Backing {
    /// Wraps a key under a new one, unwraps it, and takes a step of an anchor. Leaves nothing behind.
    pub fn try_out(&self) -> Result<(), BackingError> {
        let session = self.token.open_session()?;
        clear(&session)?;
        let tried = self.try_sealing().and_then(|()| try_anchor(&session));
        self.take_back(|| clear(&session));
        tried
    }

    fn try_sealing(&self) -> Result<(), BackingError> {
        let (mut id, mut key) = ([0; 16], [0; 32]);
        for bytes in [&mut id[..], &mut key[..]] {
            SystemRandom.fill(bytes).map_err(|error| BackingError(error.to_string()))?;
        }
        // `wrap_under` has already unwrapped it again.
        self.wrap_under(LABEL, &id, CONTEXT, &key).map(drop)
    }
}

/// Makes a data object, then its replacement, and destroys the first.
fn try_anchor(session: &Session) -> Result<(), BackingError> {
    let old = keep(session, LABEL, &[1; VALUE_LEN])?;
    let _ = keep(session, LABEL, &[2; VALUE_LEN])?;
    session.destroy_object(old).map_err(failed("does not destroy a data object"))
}

/// Destroys the objects of this trial, and of one that was killed.
fn clear(session: &Session) -> Result<(), BackingError> {
    let objects = session
        .find_objects(&[Attribute::Label(LABEL.into())])
        .map_err(failed("does not look for an object"))?;
    for object in objects {
        session.destroy_object(object).map_err(failed("does not destroy an object"))?;
    }
    Ok(())
}
