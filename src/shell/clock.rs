//! The system's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::kernel::clock::{BootId, Reading};
use crate::ports::Clock;

/// `CLOCK_REALTIME`, and `CLOCK_BOOTTIME`, which also runs while the machine sleeps.
pub struct SystemClock;

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        // A clock before 1970 reads as 1970, which is behind every sealed time.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let boot = u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0);
        Reading { wall, boot }
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
