//! Acts on time: accepting a clock.

use super::{Present, Refused, Window};
use crate::clock::{self, Believed, ClockError, Reading, TYPED_TOLERANCE};
use crate::receipt::Batch;
use crate::state;

/// The moment at which an act is decided.
pub struct Moment {
    /// The trusted time, or why no clock is trusted.
    pub now: Result<u64, ClockError>,
    /// The present readings of both clocks.
    pub clocks: Believed,
    /// The readings that the wall clock is compared with, if it was trusted before in this run of the
    /// machine.
    pub believed: Option<Believed>,
    /// The newest time of any record, Unix seconds.
    pub newest: u64,
}

impl Moment {
    pub(super) fn now(&self) -> Result<u64, Refused> {
        Ok(self.now?)
    }
}

/// Accepts the wall clock if the administrator gives the same time, and it is not behind a record.
pub(super) fn take<P: Present>(said: u64, moment: &Moment, present: &P) -> Result<Batch, P::Error> {
    let Moment { clocks, believed, newest, .. } = *moment;
    if clocks.wall.abs_diff(said) > TYPED_TOLERANCE {
        return Err(Refused::ClockDiffers { clock: clocks.wall, said }.into());
    }
    let reading = Reading { wall: clocks.wall, boot: clocks.boot };
    clock::judge(reading, clocks, newest).map_err(Refused::from)?;
    let moved = believed.map(|old| old.moved(reading));
    Ok(state::take_clock(present.clock()?.as_ref(), clocks, moved))
}

/// Accepts the wall clock if it says a time of the window that officers signed, and is not behind a record.
pub(super) fn take_within<P: Present>(
    window: Window,
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    let clock = moment.clocks.wall;
    if !(window.from..=window.until).contains(&clock) {
        return Err(Refused::ClockDiffers { clock, said: window.from }.into());
    }
    take(clock, moment, present)
}
