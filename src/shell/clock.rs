//! The system's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::kernel::clock::{BootId, Reading};
use crate::ports::Clock;

/// `CLOCK_REALTIME`, `CLOCK_BOOTTIME`, which also runs while the machine sleeps, and `CLOCK_MONOTONIC`, which does not.
pub struct SystemClock;

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        // A clock before 1970 reads as 1970, which is behind every sealed time.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Reading { wall, boot: seconds(ClockId::Boottime) }
    }

    fn awake(&self) -> u64 {
        seconds(ClockId::Monotonic)
    }

    fn boot_id(&self) -> BootId {
        // random(4): a UUID as text, a new one at every boot.
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = BootId::default();
        let digits = uuid.trim().replace('-', "");
        match data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()) {
            Ok(bytes) if bytes.len() == id.len() => id.copy_from_slice(&bytes),
            _ => {}
        }
        id
    }
}

fn seconds(clock: ClockId) -> u64 {
    u64::try_from(clock_gettime(clock).tv_sec).unwrap_or(0)
}
