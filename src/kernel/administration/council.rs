//! Acts on the officers of the store, and what an administrator still does alone once there are any.

use super::plan::Planned;
use super::{Moment, Plan, Present, Refused};
use crate::act::class::Class;
use crate::officer::Council;
use crate::receipt::Batch;
use crate::seal::{Kind, RecordKey};
use crate::state;

pub(super) fn set<P: Present>(new: &Council, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    let old = present.council()?;
    if old.as_ref().is_some_and(|old| old.value == *new) {
        return Err(Refused::StandsAlready.into());
    }
    Ok(state::set_officers(old.as_ref(), new, moment.now()?))
}

/// What an administrator decided, if officers need not agree. It goes by the class of what would be recorded.
pub(super) fn permit<P: Present>(batch: Batch, plan: &Plan, present: &P) -> Result<Batch, P::Error> {
    // Without officers, too: nobody knows the PIN any more, or the window is wider than what an administrator can vouch for.
    match plan.0 {
        Planned::LoseSoPin(_) => return Err(Refused::NeedsOfficers(Class::Loosens).into()),
        Planned::TakeClockWithin(_) => return Err(Refused::NeedsOfficers(Class::Vouchless).into()),
        _ => {}
    }
    if present.council()?.is_none() {
        // If officers come meanwhile, it is decided again.
        return Ok(batch.while_absent(vec![RecordKey::single(Kind::Council)]));
    }
    match batch.event.act().map_or(Class::Neutral, |act| act.class()) {
        Class::Tightens | Class::Neutral => Ok(batch),
        class => Err(Refused::NeedsOfficers(class).into()),
    }
}
