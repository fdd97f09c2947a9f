//! Acts on the devices by which users approve.

use super::{Moment, NewDevice, Present, Refused, UserId, users};
use crate::act::Deed;
use crate::credential::{Credential, Credentials, NamedCredential};
use crate::receipt::Batch;
use crate::record::Versioned;
use crate::state;

pub(super) fn add<P: Present>(
    user: &UserId,
    name: &str,
    device: &Credential,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let record = users::of_enrolment(user, present)?;
    let old = present.credentials(&user.name)?;
    let now = moment.now()?;
    let next = with(user, old.as_ref(), name, device, now, present)?;
    Ok(state::set_credentials(Deed::DeviceAdded, &record, old.as_ref(), &next, now))
}

pub(super) fn remove<P: Present>(
    user: &UserId,
    name: &str,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let record = users::of_enrolment(user, present)?;
    let old = present.credentials(&user.name)?;
    let next = of_enrolment(user, old.as_ref()).without(name).map_err(Refused::from)?;
    Ok(state::set_credentials(Deed::DeviceRemoved, &record, old.as_ref(), &next, moment.now()?))
}

/// What a user approves with, by this enrolment, as an act says it that registers a device.
pub(super) fn draft<P: Present>(
    new: &NewDevice,
    present: &P,
) -> Result<(Credentials, Credentials), P::Error> {
    let NewDevice { user, name, network, address } = new;
    let device = Credential::device(address, *network).map_err(Refused::from)?;
    let _enrolled = users::of_enrolment(user, present)?;
    let old = present.credentials(&user.name)?;
    let next = with(user, old.as_ref(), name, &device, 0, present)?;
    Ok((of_enrolment(user, old.as_ref()), next))
}

fn with<P: Present>(
    user: &UserId,
    old: Option<&Versioned<Credentials>>,
    name: &str,
    device: &Credential,
    since: u64,
    present: &P,
) -> Result<Credentials, P::Error> {
    let new = NamedCredential { name: name.into(), credential: device.clone(), since };
    let others = present.all_credentials()?;
    Ok(of_enrolment(user, old).with(new, others.iter()).map_err(Refused::from)?)
}

/// Those of an earlier enrolment are nobody's.
pub(super) fn of_enrolment(user: &UserId, record: Option<&Versioned<Credentials>>) -> Credentials {
    match record {
        Some(record) if record.value.user() == user => record.value.clone(),
        _ => Credentials::none_of(user.clone()),
    }
}
