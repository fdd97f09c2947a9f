//! The machine's clock, as far as one can see it without asking anybody else.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::checks::{Check, State};

/// No build of this program is older: an earlier clock is wrong.
const BUILT_AFTER: u64 = 1_735_689_600; // 2025-01-01T00:00:00Z

/// What systemd-timesyncd leaves behind once it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// The clock's time, and whether it can be right.
pub(super) fn check() -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = utc(now);
    if now < BUILT_AFTER {
        return Check {
            subject: "clock",
            state: State::Wrong,
            finding: format!("{time}: that is before this program was written"),
            next: Some("set the clock; codes depend on it".into()),
        };
    }
    let seen =
        if Path::new(SYNCHRONISED).exists() { "synchronised by systemd-timesyncd" } else { "not checked" };
    Check {
        subject: "clock",
        state: State::Good,
        finding: format!("{time}; {seen}; a code is good one period early or late, no more"),
        next: None,
    }
}

/// Seconds since 1970 as ISO 8601, by the proleptic Gregorian calendar.
fn utc(seconds: u64) -> String {
    let (mut days, in_day) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_111_111_109), "2005-03-18T01:58:29Z");
        assert_eq!(utc(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(utc(1_735_689_600), "2025-01-01T00:00:00Z");
    }
}
