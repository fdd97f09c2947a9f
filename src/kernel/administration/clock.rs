//! Acts on time: a clock that the security officer vouches for, and a store that is taken from a copy.

use super::{Approved, Present, Refused};
use crate::clock::{self, Believed, ClockError, Reading, TYPED_TOLERANCE};
use crate::receipt::{Batch, Change};
use crate::record::Versioned;
use crate::state::{self, Epoch};

/// When an act is decided.
pub struct Moment {
    /// The time that counts, or why no clock is believed.
    pub now: Result<u64, ClockError>,
    /// Both clocks as they are.
    pub clocks: Believed,
    /// What the wall clock is held against, if one was believed in this run of the machine.
    pub believed: Option<Believed>,
    /// The newest time of any record, Unix seconds.
    pub newest: u64,
}

impl Moment {
    pub(super) fn now(&self) -> Result<u64, Refused> {
        Ok(self.now?)
    }
}

/// Takes the wall clock as it is, where the administrator says the same time. Never behind a record.
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

/// The taking of a store that does not fit its anchor: by which link it ends, and which one the anchor remembers.
pub struct Restoration {
    /// The newest link of the store.
    pub store: u64,
    /// The link that the backing token remembers, if it remembers one of this store.
    pub anchor: Option<u64>,
}

/// Takes a store that did not fit its anchor: a new epoch begins. It is not open, so no engine does this.
pub fn restore(
    approved: Approved<Restoration>,
    old: Option<&Versioned<Epoch>>,
    now: u64,
) -> Change<Approved<Restoration>> {
    let &Restoration { store, anchor } = approved.act();
    Change::new(state::restore(old, store, anchor, now), approved)
}
