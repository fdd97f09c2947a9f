//! Acts on users. A user is named by enrolment: the same name with another OTP key is another user.

use super::naming::check_issuer;
use super::{Enrolment, Fresh, Moment, NewFactor, NewUser, Present, Refused, UserId};
use crate::factor::Factor;
use crate::freeze::place_of;
use crate::name::check_user_name;
use crate::otp::{HotpKey, OtpKey, SECRET_LEN};
use crate::receipt::Batch;
use crate::record::Versioned;
use crate::state::{self, UserRecord};
use zeroize::Zeroizing;

/// The record of a new user, and the URI that the user's authenticator scans.
pub(super) fn new(new: NewUser, fresh: &mut Fresh) -> Result<(UserRecord, Enrolment), Refused> {
    let NewUser { name, service, factor } = new;
    check_user_name(&name)?;
    check_issuer(&service)?;
    let secret = fresh.take::<SECRET_LEN>()?;
    let (factor, uri) = match factor {
        NewFactor::Totp { hash, digits, period } => {
            let secret = Zeroizing::new(secret.to_vec());
            let otp = OtpKey::new(secret, hash, digits, period).ok_or_else(|| {
                Refused::Parameter("a code has 6 to 8 digits and a time step of 15 to 120 seconds".into())
            })?;
            let uri = otp.uri(&service, &name);
            (Factor::totp(otp), uri)
        }
        NewFactor::Hotp => {
            let key = HotpKey::new(&secret);
            let uri = key.uri(&service, &name);
            (Factor::hotp(key), uri)
        }
    };
    let enrolment = Enrolment { key_id: factor.key_id(), uri };
    Ok((UserRecord::new(name, service, factor), enrolment))
}

pub(super) fn enrol<P: Present>(user: &UserRecord, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    if present.user(&user.name)?.is_some() {
        return Err(Refused::Name(format!("there is already a user {:?}", user.name)).into());
    }
    let factor = user.factor.clone().enrolled_in(present.epoch().name());
    Ok(state::add_user(&UserRecord { factor, ..user.clone() }, moment.now()?))
}

pub(super) fn remove<P: Present>(id: &UserId, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    if let Some(signs_for) = present.signs_for(&id.name) {
        return Err(Refused::UserInUse { user: id.name.clone(), signs_for }.into());
    }
    if present.acts_need(id)? {
        return Err(Refused::ActsNeed(id.name.clone()).into());
    }
    let user = of_enrolment(id, present)?;
    let freeze = present.freeze(&place_of(&user.place))?;
    let credentials = present.credentials(&id.name)?;
    Ok(state::remove_user(&user, freeze.as_ref(), credentials.as_ref(), moment.now()?))
}

pub(super) fn unlock<P: Present>(id: &UserId, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    Ok(state::unlock_user(&of_enrolment(id, present)?, moment.now()?))
}

pub(super) fn of_enrolment<P: Present>(id: &UserId, present: &P) -> Result<Versioned<UserRecord>, P::Error> {
    let user = present.user(&id.name)?.filter(|user| user.value.factor.key_id() == id.key);
    Ok(user.ok_or_else(|| Refused::NoSuchUser(id.name.clone()))?)
}
