//! Whether to trust the clock.
//!
//! A clock that goes back makes old codes valid again, and one that jumps ahead makes limits and waits
//! expire. The kernel compares the wall clock with the newest sealed time, and with a clock that nobody can
//! set. A reading of both is sealed once in each run of the machine, so closing and opening the module in
//! between changes nothing.

use serde::{Deserialize, Serialize};

use super::utc::to_iso;

/// Seconds by which the wall clock may differ in one run of the machine: as much as time synchronisation
/// corrects unnoticed.
pub const TOLERANCE: u64 = 5;
/// Seconds by which the security officer's time may differ from the wall clock, because it is typed.
pub const TYPED_TOLERANCE: u64 = 120;

/// Seconds by which the clock may be ahead of the newest record after a boot, unless the security officer
/// gives the time: a week. A clock of a later year, once sealed, would keep the module closed until that
/// year.
pub const MAX_AHEAD: u64 = 7 * 24 * 3_600;

/// The id of one run of the machine, or zero if the system does not give one.
pub type BootId = [u8; 16];

/// Two clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Unix time in seconds.
    pub wall: u64,
    /// Seconds since the machine booted, by a clock that nobody can stop.
    pub boot: u64,
}

/// The readings of both clocks when the wall clock was trusted, and the run of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Believed {
    /// The run of the machine.
    pub boot_id: BootId,
    /// Unix time in seconds.
    pub wall: u64,
    /// Seconds since the machine booted.
    pub boot: u64,
}

impl Believed {
    /// Trusts a reading.
    pub fn new(boot_id: BootId, reading: Reading) -> Believed {
        Believed { boot_id, wall: reading.wall, boot: reading.boot }
    }

    /// Whether the clock that nobody sets is still the same one.
    pub fn holds_in(&self, boot_id: BootId) -> bool {
        self.boot_id == boot_id && boot_id != BootId::default()
    }

    /// The expected time of the wall clock.
    fn expects(&self, boot: u64) -> u64 {
        self.wall.saturating_add(boot).saturating_sub(self.boot)
    }

    /// Seconds by which the wall clock of `now` is ahead of the expected time.
    pub fn moved(&self, now: Reading) -> i64 {
        i64::try_from(i128::from(now.wall) - i128::from(self.expects(now.boot))).unwrap_or(i64::MAX)
    }
}

/// The reason why the clock is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Behind the newest sealed time.
    #[error("the clock is {0} s behind the newest record: set it right")]
    Back(u64),
    /// Far ahead of the newest sealed time after a boot.
    #[error(
        "the clock is {0} s ahead of the newest record: set it right, or have the security officer accept it (countersign clock set)"
    )]
    Ahead(u64),
    /// The wall clock moved by another amount than the machine's own.
    #[error(
        "the clock jumped by {0} s while the machine ran: set it right, or have the security officer accept it (countersign clock set)"
    )]
    Jump(u64),
}

/// The trusted time after a boot, when only the newest record can contradict the clock.
pub fn judge_first(now: Reading, high_water: u64) -> Result<u64, ClockError> {
    let ahead = now.wall.saturating_sub(high_water);
    if ahead > MAX_AHEAD {
        return Err(ClockError::Ahead(ahead));
    }
    judge(now, Believed::new(BootId::default(), now), high_water)
}

/// The trusted time when much may have passed since the newest record. In the run of the machine in which a
/// clock was trusted, it is [`judge`]'s. In another run, a clock far ahead of that record is trusted only if
/// the security officer gives the time.
pub fn judge_said(
    now: Reading,
    believed: Option<Believed>,
    high_water: u64,
    said: Option<u64>,
) -> Result<u64, SaidError> {
    let ahead = now.wall.saturating_sub(high_water);
    match said {
        None if believed.is_none() && ahead > MAX_AHEAD => return Err(SaidError::NotSaid(ahead)),
        Some(said) if now.wall.abs_diff(said) > TYPED_TOLERANCE => {
            return Err(SaidError::Differs { clock: now.wall, said });
        }
        _ => {}
    }
    Ok(judge(now, believed.unwrap_or(Believed::new(BootId::default(), now)), high_water)?)
}

/// The reason why the clock is not trusted although the security officer may give the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaidError {
    /// Nobody gave the time.
    #[error("the clock is {0} s ahead of the store's newest link, and nobody has confirmed the time")]
    NotSaid(u64),
    /// The two differ, so one of them is wrong.
    #[error("the machine's clock says {}, and --time {}: they differ by more than {TYPED_TOLERANCE} s", to_iso(*clock), to_iso(*said))]
    Differs {
        /// The clock's time, Unix seconds.
        clock: u64,
        /// The given time.
        said: u64,
    },
    /// It contradicts a trusted reading or a record.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// The trusted time, which is never before `high_water`, the newest sealed time.
pub fn judge(now: Reading, believed: Believed, high_water: u64) -> Result<u64, ClockError> {
    let behind = high_water.saturating_sub(now.wall);
    if behind > TOLERANCE {
        return Err(ClockError::Back(behind));
    }
    let jump = now.wall.abs_diff(believed.expects(now.boot));
    if jump > TOLERANCE {
        return Err(ClockError::Jump(jump));
    }
    Ok(now.wall.max(high_water))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Believed = Believed { boot_id: [1; 16], wall: 1_000_000, boot: 500 };

    fn at(wall: u64, boot: u64) -> Result<u64, ClockError> {
        judge(Reading { wall, boot }, LAST, 1_000_000)
    }

    #[test]
    fn a_clock_that_goes_on_is_trusted() {
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

    #[test]
    fn clock_jump_after_a_boot_in_another_year_the_clock_is_not_trusted() {
        let first = |wall| judge_first(Reading { wall, boot: 1 }, 1_000_000);
        assert_eq!(first(1_000_000 + MAX_AHEAD), Ok(1_000_000 + MAX_AHEAD));
        assert_eq!(first(1_000_001 + MAX_AHEAD), Err(ClockError::Ahead(MAX_AHEAD + 1)));
        assert_eq!(first(999_990), Err(ClockError::Back(10)));
        assert_eq!(first(u64::MAX), Err(ClockError::Ahead(u64::MAX - 1_000_000)));
    }

    #[test]
    fn clock_jump_many_small_steps_are_one_large_one() {
        // Each is within the tolerance of the one before.
        assert_eq!(at(1_000_104, 600), Ok(1_000_104));
        assert_eq!(at(1_000_208, 700), Err(ClockError::Jump(8)));
    }

    #[test]
    fn a_trusted_reading_holds_for_one_run_of_a_machine_that_identifies_its_runs() {
        assert!(LAST.holds_in([1; 16]));
        assert!(!LAST.holds_in([2; 16]));
        assert!(!Believed { boot_id: [0; 16], ..LAST }.holds_in([0; 16]), "a system that does not say");
    }

    #[test]
    fn a_clock_far_ahead_is_trusted_only_if_the_officer_gives_the_time() {
        let judge = |wall, said| {
            let now = Reading { wall, boot: 1 };
            judge_said(now, None, 1_000_000, said)
        };
        let far = 1_000_001 + MAX_AHEAD;
        assert_eq!(judge(far - 1, None), Ok(far - 1));
        assert_eq!(judge(far, None), Err(SaidError::NotSaid(MAX_AHEAD + 1)));
        assert_eq!(judge(far, Some(far - TYPED_TOLERANCE)), Ok(far));
        let said = far - TYPED_TOLERANCE - 1;
        assert_eq!(judge(far, Some(said)), Err(SaidError::Differs { clock: far, said }));
        assert_eq!(judge(1_000_000, Some(far)), Err(SaidError::Differs { clock: 1_000_000, said: far }));
        assert_eq!(judge(999_000, Some(999_000)), Err(ClockError::Back(1_000).into()), "nobody's word");
        // If the machine's own clock has counted the time, nobody needs to give it.
        let passed = MAX_AHEAD + 100;
        let now = Reading { wall: LAST.wall + passed, boot: LAST.boot + passed };
        assert_eq!(judge_said(now, Some(LAST), 1_000_000, None), Ok(now.wall));
        let jumped = Reading { boot: LAST.boot, ..now };
        assert_eq!(judge_said(jumped, Some(LAST), 1_000_000, None), Err(ClockError::Jump(passed).into()));
    }

    #[test]
    fn the_difference_of_a_clock_has_a_sign() {
        assert_eq!(LAST.moved(Reading { wall: 1_000_160, boot: 560 }), 100);
        assert_eq!(LAST.moved(Reading { wall: 999_960, boot: 560 }), -100);
    }
}
