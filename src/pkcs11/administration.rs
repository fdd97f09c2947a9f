//! The right to change the token's objects, and the one way to use it.

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
    /// Does an act, within the peer's ration.
    pub(super) fn perform(&self, act: Act) -> Answer<Done> {
        // These two only take rights away, are for emergencies, and cannot be repeated. So they have no
        // ration.
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
        // The answer says everything, so the log gets no line.
        let administrator = self.engine.administrator(&login).map_err(|_| Rv(CKR_USER_NOT_LOGGED_IN))?;
        Ok(Administration { engine: &self.engine, administrator })
    }
}
