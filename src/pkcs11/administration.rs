//! Who may change the token's objects, and the one way in which they do.

use cryptoki_sys::*;

use super::application::{Application, Session};
use super::ration;
use super::rv::{Answer, Rv};
use crate::admin::{Act, Administrator, Done};
use crate::engine::Engine;

/// Evidence: an administrator is logged in, and this session may change the token's objects.
pub(super) struct Administration<'a> {
    engine: &'a Engine,
    administrator: Administrator,
}

impl Administration<'_> {
    /// Does an act, within the ration of whoever asks.
    pub(super) fn perform(&self, act: Act) -> Answer<Done> {
        // What only takes away is done in an emergency, and ends by itself: it has no ration.
        if !matches!(act, Act::RemoveUser(_) | Act::LoseUserPin) {
            ration::take_act()?;
        }
        Ok(self.engine.perform(self.administrator.approve(act))?)
    }
}

impl Application {
    /// Only the security officer may change the token's objects, and only in a read-write session (PKCS#11 v3.2 section 5.6).
    pub(super) fn administration(&self, session: &Session) -> Answer<Administration<'_>> {
        if !session.read_write {
            return Err(Rv(CKR_SESSION_READ_ONLY));
        }
        let login = self.login_now().ok_or(Rv(CKR_USER_NOT_LOGGED_IN))?;
        // The answer says it all: there is no line for the log.
        let administrator = self.engine.administrator(&login).map_err(|_| Rv(CKR_USER_NOT_LOGGED_IN))?;
        Ok(Administration { engine: &self.engine, administrator })
    }
}
