//! The system's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::kernel::clock::Reading;
use crate::ports::Clock;

/// `CLOCK_REALTIME`, and `CLOCK_BOOTTIME`, which goes on while the machine sleeps.
pub struct SystemClock;

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        // A clock before 1970 reads as 1970, which is behind every sealed time.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let boot = u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0);
        Reading { wall, boot }
    }
}
