//! The right to change the token's objects, and the one way to use it.

use cryptoki_sys::*;

use super::application::{Application, Session};
use super::ration;
use super::rv::{Answer, Refusal, Rv};
use crate::admin::{Act, Administrator, Done};
use crate::engine::{Engine, EngineError};

/// Evidence: an administrator is logged in, and this session may change the token's objects.
pub(super) struct Administration<'a> {
    engine: &'a Engine,
    administrator: Administrator,
}

impl Administration<'_> {
    /// Does an act, within the peer's ration.
    pub(super) fn perform(&self, act: Act) -> Answer<Done> {
        take_ration(&act)?;
        Ok(self.engine.perform(self.administrator.approve(act))?)
    }

    /// Who is logged in.
    pub(super) fn administrator(&self) -> &Administrator {
        &self.administrator
    }

    /// The same for an act that returns nothing. A change to the value that is there already is no act.
    pub(super) fn change(&self, act: Act) -> Result<(), Refusal> {
        take_ration(&act)?;
        match self.engine.perform(self.administrator.approve(act)) {
            Ok(_) | Err(EngineError::StandsAlready) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// These acts only take rights away, are for emergencies, and cannot be repeated without another act in between. So they have no ration.
fn take_ration(act: &Act) -> Answer {
    if matches!(act, Act::RemoveUser(_) | Act::LoseUserPin | Act::Freeze(_)) {
        return Ok(());
    }
    ration::take_act()
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
