//! Which time counts as delay: only time in which people could object.

use serde::{Deserialize, Serialize};

use crate::clock::{Reading, TOLERANCE};
use crate::pin::PinName;

/// The most seconds between two ticks that count. The boundary records a tick every five minutes. After more than twice that, nobody
/// knows what happened in between.
pub const MOST_BETWEEN: u64 = 600;

/// Names one run of the boundary: random, made at its start.
pub type RunId = [u8; 16];

/// A moment that the boundary records, every five minutes while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    run: RunId,
    wall: u64,
    boot: u64,
    awake: u64,
    pin: Option<PinName>,
    is_open: bool,
}

/// Who could object at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objectors {
    /// Everybody who may veto can do so, and could since the tick before: the doors answered, none of those users was locked, and
    /// codes were checked.
    pub are_free: bool,
    /// The PIN with which users reach the module, if users may veto. Officers need none.
    pub pin: Option<PinName>,
}

impl Tick {
    /// The readings of the clocks in a run of the boundary, and who could object. `awake` counts the seconds in which the machine was
    /// not suspended.
    pub fn new(run: RunId, now: Reading, awake: u64, objectors: Objectors) -> Tick {
        let Objectors { are_free, pin } = objectors;
        Tick { run, wall: now.wall, boot: now.boot, awake, pin, is_open: are_free }
    }

    pub(super) fn wall(&self) -> u64 {
        self.wall
    }

    /// Seconds from this tick to the next that count: none where the boundary was started anew, where the clocks disagree, where a tick
    /// is missing, or where somebody who may veto was kept from it, also by another PIN of the backends. The machine must have been
    /// awake.
    pub(super) fn until(&self, next: &Tick) -> u64 {
        let (wall, boot) = (next.wall.saturating_sub(self.wall), next.boot.saturating_sub(self.boot));
        let awake = next.awake.saturating_sub(self.awake);
        let counts = self.run == next.run
            && self.is_open
            && next.is_open
            && self.pin == next.pin
            && next.wall >= self.wall
            && next.boot >= self.boot
            && boot <= MOST_BETWEEN
            && wall.abs_diff(boot) <= TOLERANCE;
        if counts { wall.min(boot).min(awake) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: Option<PinName> = Some([1; 8]);

    fn tick(run: u8, wall: u64, boot: u64) -> Tick {
        Tick::new([run; 16], Reading { wall, boot }, boot, Objectors { are_free: true, pin: PIN })
    }

    #[test]
    fn act_early_only_time_in_which_the_boundary_ran_and_its_clocks_agreed_counts() {
        let first = tick(1, 1_000, 50);
        assert_eq!(first.until(&tick(1, 1_300, 350)), 300);
        assert_eq!(first.until(&tick(1, 1_305, 350)), 300, "the slower of the two");
        assert_eq!(first.until(&tick(1, 1_295, 350)), 295);
        assert_eq!(first.until(&tick(1, 1_600, 650)), 600);
        for (next, why) in [
            (tick(2, 1_300, 350), "started anew"),
            (tick(1, 1_306, 350), "the clock was set ahead"),
            (tick(1, 1_294, 350), "the clock was set back"),
            (tick(1, 90_000, 350), "the clock was set far ahead"),
            (tick(1, 1_601, 651), "a tick is missing"),
            (tick(1, 1_000, 49), "the machine's own clock went back"),
            (tick(1, 999, 50), "the wall clock went back"),
            (Tick { is_open: false, ..tick(1, 1_300, 350) }, "a user was locked"),
            (Tick { pin: None, ..tick(1, 1_300, 350) }, "no PIN lets a user in"),
            (Tick { pin: Some([2; 8]), ..tick(1, 1_300, 350) }, "the PIN was lost, and another one set"),
            (Tick { awake: 50, ..tick(1, 1_300, 350) }, "the machine was suspended"),
            (Tick { awake: 49, ..tick(1, 1_300, 350) }, "its clock went back"),
        ] {
            assert_eq!(first.until(&next), 0, "{why}");
        }
        let slept = Tick { awake: 250, ..tick(1, 1_300, 350) };
        assert_eq!(first.until(&slept), 200, "only while it was awake");
        let locked = Tick { is_open: false, ..first };
        assert_eq!(locked.until(&tick(1, 1_300, 350)), 0, "a user was locked when it began");
    }
}
