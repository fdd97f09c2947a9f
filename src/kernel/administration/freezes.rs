//! Acts that freeze and thaw.

use super::{Moment, Present, Refused, Target, users};
use crate::digest_key::DigestKeyRecord;
use crate::freeze::{EVERYTHING, Freezable, Freeze, Freezer, place_of};
use crate::receipt::Batch;
use crate::seal::{Kind, RecordKey};
use crate::state::{self, KeyRecord};
use crate::wallet::WalletRecord;

pub(super) fn freeze<P: Present>(
    target: &Target,
    by: Freezer,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let (place, what) = (target.place(), target.what());
    let name = name_of(target, present)?;
    if present.freeze(&place)?.is_some() {
        return Err(Refused::StandsAlready.into());
    }
    let since = moment.now()?;
    let freeze = Freeze { what, name, since, by };
    Ok(state::freeze(place, &freeze, since))
}

pub(super) fn thaw<P: Present>(target: &Target, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    let name = name_of(target, present)?;
    let freeze = present.freeze(&target.place())?.ok_or(Refused::StandsAlready)?;
    Ok(state::thaw(&freeze, name, moment.now()?))
}

impl Target {
    /// Where its freeze is recorded.
    pub fn place(&self) -> RecordKey {
        match self {
            Target::Everything => EVERYTHING,
            Target::Wallet(id) => place_of(&RecordKey { kind: Kind::Wallet, id: *id }),
            Target::DigestKey(id) => place_of(&RecordKey { kind: Kind::DigestKey, id: *id }),
            Target::User(user) => place_of(&RecordKey::user(&user.name)),
        }
    }

    /// What kind of thing it is.
    pub fn what(&self) -> Freezable {
        match self {
            Target::Everything => Freezable::Everything,
            Target::Wallet(_) => Freezable::Wallet,
            Target::DigestKey(_) => Freezable::DigestKey,
            Target::User(_) => Freezable::User,
        }
    }
}

/// Its name or label now. A thing that does not exist is refused.
fn name_of<P: Present>(target: &Target, present: &P) -> Result<String, P::Error> {
    Ok(match target {
        Target::Everything => String::new(),
        Target::Wallet(id) => present.key::<WalletRecord>(id)?.0.value.terms().label.clone(),
        Target::DigestKey(id) => present.key::<DigestKeyRecord>(id)?.0.value.terms().label.clone(),
        Target::User(user) => users::of_enrolment(user, present)?.value.name,
    })
}
