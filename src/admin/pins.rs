//! PINs: trying one, and changing a known one.

use std::sync::{MutexGuard, PoisonError};

use super::{Approved, Done, Login};
use crate::engine::{Engine, EngineError};
use crate::kernel::act::Deed;
use crate::kernel::pin::{self, PinRecord, Role};
use crate::kernel::state::{self, Peer, PinClosed, PinMatched};

impl Engine {
    /// Checks the PIN of `role` in a process that has loaded the engine itself: see [`Engine::login_of`].
    pub fn login(&self, role: Role, pin: &[u8]) -> Result<Login, EngineError> {
        self.login_of(None, role, pin)
    }

    /// Checks the PIN of `role` for `peer`. The try is charged before the comparison. The login lasts as long
    /// as its era.
    pub fn login_of(&self, peer: Peer<'_>, role: Role, pin: &[u8]) -> Result<Login, EngineError> {
        let attempt = (role == Role::So).then(|| self.attempt("so-login"));
        let turn = self.turn_at_pins(role);
        // Read before the PIN is found right, because a PIN that is set meanwhile begins another era.
        let era = self.pin_era(role);
        let matched = self.match_pin(&turn, peer, role, pin)?;
        let now = self.login_time(role)?;
        let known = self.commit_anew(|| {
            state::accept_pin(&matched, &self.token_record()?, now).ok_or(EngineError::Pin)
        })?;
        if let Some(attempt) = attempt {
            attempt.done();
            tracing::info!("administration: the security officer logged in");
        }
        Ok(Login::new(known, era))
    }

    /// Changes the PIN of `role` for `peer`, who knows the old one. Every login by the old PIN ends, and the
    /// peer that changed it goes on in the new era.
    pub fn change_pin(
        &self,
        peer: Peer<'_>,
        role: Role,
        old: &[u8],
        new: &[u8],
    ) -> Result<Login, EngineError> {
        let attempt = self.attempt(Deed::PinChanged(role).tag());
        if !pin::has_a_length(new) {
            return Err(EngineError::PinLength);
        }
        // Neither of them is checked: otherwise each change to the same PIN would be a link of the audit.
        if old == new {
            return Err(EngineError::PinIsTheSame);
        }
        // The new PIN is stretched only for a peer that knows the old one.
        let turn = self.turn_at_pins(role);
        let matched = self.match_pin(&turn, peer, role, old)?;
        let new = self.new_pin(&turn, new)?;
        let done = self.administer(Approved::change_of_pin(matched, new))?;
        let (Done::PinChanged(new), Some(era)) = done else { return Err(EngineError::Pin) };
        attempt.done();
        Ok(new.login(era))
    }

    /// Sets the PIN of the security officer after officers declared it lost, for `peer`, who has the secret on which they agreed. A try
    /// at the secret is charged like one at the PIN.
    pub(super) fn inherit_so_pin(&self, peer: Peer<'_>, secret: &[u8]) -> Result<(), EngineError> {
        let attempt = self.attempt(Deed::PinSet(Role::So).tag());
        let turn = self.turn_at_pins(Role::So);
        let (now, clocks) = (self.login_time(Role::So)?, self.clocks());
        let charged = self.commit_anew(|| {
            state::charge_pin(&self.token_record()?, Role::So, peer, clocks, now).map_err(closed_pin)
        })?;
        let serial = self.token_record()?.into_value().serial;
        let found = state::verify_heir(charged, &serial, secret).ok_or(EngineError::Pin)?;
        // Stretched only for the heir.
        let new = self.new_pin(&turn, secret)?;
        let _done = self.administer(Approved::inheritance_of_so_pin(found, new))?;
        attempt.done();
        Ok(())
    }

    /// Charges a try, then compares. Charging and clearing share one turn, so that right PINs at the same
    /// time do not look like a row of wrong ones.
    fn match_pin(
        &self,
        _turn: &PinTurn<'_>,
        peer: Peer<'_>,
        role: Role,
        pin: &[u8],
    ) -> Result<PinMatched, EngineError> {
        let (now, clocks) = (self.login_time(role)?, self.clocks());
        let charged = self.commit_anew(|| {
            state::charge_pin(&self.token_record()?, role, peer, clocks, now).map_err(closed_pin)
        })?;
        state::verify_pin(charged, pin).ok_or(EngineError::Pin)
    }

    pub(super) fn turn_at_pins(&self, role: Role) -> PinTurn<'_> {
        let of_role = match role {
            Role::So => &self.pins[0],
            Role::User => &self.pins[1],
        };
        PinTurn(crate::cores::lock(of_role).unwrap_or_else(PoisonError::into_inner))
    }

    /// The security officer can log in under any clock, to have the clock accepted.
    fn login_time(&self, role: Role) -> Result<u64, EngineError> {
        match role {
            Role::So => self.now_or_newest(),
            Role::User => self.now(),
        }
    }

    fn new_pin(&self, _turn: &PinTurn<'_>, pin: &[u8]) -> Result<PinRecord, EngineError> {
        let mut salt = [0; 16];
        self.random(&mut salt)?;
        PinRecord::new(pin, salt).ok_or(EngineError::PinLength)
    }
}

fn closed_pin(closed: PinClosed) -> EngineError {
    match closed {
        PinClosed::Locked => EngineError::PinLocked,
        PinClosed::Waiting { seconds } => EngineError::PinWaits(seconds),
        PinClosed::NotSet => EngineError::PinNotSet,
    }
}

/// The turn at the PIN of a role: one PIN at a time is charged, stretched and cleared.
pub(super) struct PinTurn<'a>(#[allow(dead_code, reason = "it is held, not looked at")] MutexGuard<'a, ()>);
