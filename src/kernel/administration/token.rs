//! Acts on the token: its initialisation and its PINs.

use super::{Fresh, Moment, NewToken, Present, Refused};
use crate::name::check_token_label;
use crate::pin::{Heir, PinRecord};
use crate::receipt::Batch;
use crate::state::{self, HeirFound, OfficerPin, Peer, PinMatched, TokenRecord};

/// Bytes of the token's serial number.
pub(super) const SERIAL_LEN: usize = 8;
/// Bytes of a PIN's salt.
pub(super) const SALT_LEN: usize = 16;

/// The record of a new token.
pub(super) fn new(new: &NewToken, fresh: &mut Fresh) -> Result<TokenRecord, Refused> {
    check_token_label(&new.label)?;
    Ok(TokenRecord {
        label: new.label.clone(),
        serial: *fresh.take::<SERIAL_LEN>()?,
        so: OfficerPin::new(new_pin(&new.so_pin, fresh)?),
        user: None,
    })
}

pub(super) fn new_pin(pin: &[u8], fresh: &mut Fresh) -> Result<PinRecord, Refused> {
    PinRecord::new(pin, *fresh.take::<SALT_LEN>()?).ok_or(Refused::PinLength)
}

/// Works once. An existing token is never replaced.
pub(super) fn initialise<P: Present>(
    new: &TokenRecord,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    if !present.is_initialised() {
        return Ok(state::initialise(new, moment.clocks));
    }
    Err(Refused::AlreadyInitialised.into())
}

pub(super) fn lose_so_pin<P: Present>(heir: Heir, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    Ok(state::lose_so_pin(&present.token()?, heir, moment.now()?).ok_or(Refused::StandsAlready)?)
}

pub(super) fn inherit_so_pin<P: Present>(
    found: &HeirFound,
    new: &PinRecord,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    Ok(state::inherit_so_pin(found, &present.token()?, new.clone(), moment.now()?).ok_or(Refused::Pin)?)
}

pub(super) fn set_user_pin<P: Present>(
    pin: &PinRecord,
    peer: Peer<'_>,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let token = present.token()?;
    Ok(state::set_user_pin(&token, pin.clone(), peer, moment.now()?).map_err(|_| Refused::PinStands)?)
}

pub(super) fn change_pin<P: Present>(
    old: &PinMatched,
    new: &PinRecord,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let token = present.token()?;
    Ok(state::change_pin(old, &token, new.clone(), moment.now()?).ok_or(Refused::Pin)?)
}

pub(super) fn lose_user_pin<P: Present>(moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    Ok(state::lose_user_pin(&present.token()?, moment.now()?).ok_or(Refused::PinNotSet)?)
}

pub(super) fn unlock_user_pin<P: Present>(moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    Ok(state::unlock_user_pin(&present.token()?, moment.now()?).ok_or(Refused::PinNotSet)?)
}
