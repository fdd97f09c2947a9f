//! Whether the clock can be believed.
//!
//! A clock that goes back makes old codes live again; one that jumps ahead makes limits and waits expire. The wall clock
//! is held against the newest sealed time and against a clock that nobody sets.

/// Seconds by which the wall clock may differ: what time synchronisation corrects without anybody noticing.
pub const TOLERANCE: u64 = 5;

/// Two clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Unix time in seconds.
    pub wall: u64,
    /// Seconds since the machine started, standing still for nobody.
    pub boot: u64,
}

/// Why the clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Behind the newest sealed time.
    #[error("the clock is {0} s behind the newest record: set it right")]
    Back(u64),
    /// The wall clock moved by another amount than the machine's own.
    #[error("the clock jumped by {0} s since it was last read: set it right and open the module again")]
    Jump(u64),
}

/// The time that counts: never before `high_water`, the newest sealed time. `last` is the reading believed before.
pub fn judge(now: Reading, last: Reading, high_water: u64) -> Result<u64, ClockError> {
    let behind = high_water.saturating_sub(now.wall);
    if behind > TOLERANCE {
        return Err(ClockError::Back(behind));
    }
    let expected = last.wall.saturating_add(now.boot.saturating_sub(last.boot));
    let jump = now.wall.abs_diff(expected);
    if jump > TOLERANCE {
        return Err(ClockError::Jump(jump));
    }
    Ok(now.wall.max(high_water))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Reading = Reading { wall: 1_000_000, boot: 500 };

    fn at(wall: u64, boot: u64) -> Result<u64, ClockError> {
        judge(Reading { wall, boot }, LAST, 1_000_000)
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        assert_eq!(at(1_000_000, 500), Ok(1_000_000));
        assert_eq!(at(1_086_400, 86_900), Ok(1_086_400));
        assert_eq!(at(1_000_065, 560), Ok(1_000_065), "within the tolerance");
    }

    #[test]
    fn clock_back() {
        assert_eq!(at(999_970, 501), Err(ClockError::Back(30)));
        assert_eq!(at(0, 501), Err(ClockError::Back(1_000_000)));
        assert_eq!(at(999_996, 500), Ok(1_000_000), "time never goes back, even within the tolerance");
    }

    #[test]
    fn clock_jump() {
        assert_eq!(at(1_000_030, 500), Err(ClockError::Jump(30)));
        assert_eq!(at(1_086_400, 500), Err(ClockError::Jump(86_400)));
        assert_eq!(at(1_000_000, 560), Err(ClockError::Jump(60)), "a frozen wall clock");
    }
}
