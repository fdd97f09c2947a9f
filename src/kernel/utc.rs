//! Unix time as a date in UTC and back, by the proleptic Gregorian calendar.
//!
//! Two forms: ISO 8601 for people and for the export of the audit, and the sixteen digits of a clock object (PKCS#11 v3.2
//! section 4.3, "Clock"). Both reach from 1970 to 9999, and each second has one text.

const DAY: u64 = 86_400;
/// The number of days after which the calendar repeats: 400 years.
const CYCLE: u64 = 146_097;
/// The last second that a year of four digits can express.
const LAST: u64 = 253_402_300_799;

/// Year, month, day, hour, minute and second.
type Fields = [u64; 6];

/// Unix time as ISO 8601: `2026-11-21T12:00:00Z`. A time after the last year of four digits becomes the last
/// second of that year.
pub fn to_iso(seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads what [`to_iso`] writes, and nothing else: some people read every other notation as another time.
pub fn from_iso(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let seconds = read(&digits)?;
    (to_iso(seconds) == text).then_some(seconds)
}

/// Unix time as a clock object shows it: `YYYYMMDDhhmmss00`.
pub fn to_digits(seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = fields(seconds);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00")
}

/// Reads what [`to_digits`] writes, and nothing else.
pub fn from_digits(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let seconds = read(text.strip_suffix("00")?)?;
    (to_digits(seconds) == text).then_some(seconds)
}

fn fields(seconds: u64) -> Fields {
    let seconds = seconds.min(LAST);
    let (mut days, in_day) = (seconds / DAY, seconds % DAY);
    let mut year = 1970 + 400 * (days / CYCLE);
    days %= CYCLE;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    [year, month, days + 1, in_day / 3_600, in_day / 60 % 60, in_day % 60]
}

/// Fourteen digits as Unix time, if there is such a second.
fn read(digits: &str) -> Option<u64> {
    if digits.len() != 14 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = |range: core::ops::Range<usize>| digits[range].parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    // Unix time has no leap seconds.
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years: u64 = (1970..year).map(year_days).sum();
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    Some((years + months + day - 1) * DAY + hour * 3_600 + minute * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_days(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        for (seconds, iso, digits) in [
            (0, "1970-01-01T00:00:00Z", "1970010100000000"),
            (951_782_400, "2000-02-29T00:00:00Z", "2000022900000000"),
            (1_111_111_109, "2005-03-18T01:58:29Z", "2005031801582900"),
            (1_735_689_599, "2024-12-31T23:59:59Z", "2024123123595900"),
            (1_735_689_600, "2025-01-01T00:00:00Z", "2025010100000000"),
            (4_107_542_400, "2100-03-01T00:00:00Z", "2100030100000000"),
            (LAST, "9999-12-31T23:59:59Z", "9999123123595900"),
        ] {
            assert_eq!((to_iso(seconds).as_str(), to_digits(seconds).as_str()), (iso, digits));
            assert_eq!((from_iso(iso), from_digits(digits.as_bytes())), (Some(seconds), Some(seconds)));
        }
        assert_eq!(to_iso(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_time_that_does_not_exist_or_has_another_notation_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00:00z",
            "2026-11-21 12:00:00Z",
            "2026-11-21T12:00:00+00:00",
            " 2026-11-21T12:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T12:60:00Z",
            "2026-11-21T12:00:60Z",
            "2026-00-21T12:00:00Z",
            "2026-13-21T12:00:00Z",
            "2026-11-00T12:00:00Z",
            "2026-11-31T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "20261-1-21T12:00:00Z",
            "２０２６-11-21T12:00:00Z",
        ] {
            assert_eq!(from_iso(text), None, "{text:?}");
        }
        for text in [
            "",
            "20261121120000",
            "2026112112000001",
            "202611211200000",
            "20261121120000000",
            "2026112112000x00",
            "+026112112000000",
            "2026113112000000",
            "2026112124000000",
        ] {
            assert_eq!(from_digits(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(from_digits(&[0xff; 16]), None);
    }

    proptest! {
        #[test]
        fn every_second_reads_back(seconds in 0..=LAST) {
            prop_assert_eq!(from_iso(&to_iso(seconds)), Some(seconds));
            prop_assert_eq!(from_digits(to_digits(seconds).as_bytes()), Some(seconds));
        }

        #[test]
        fn a_later_second_is_a_later_date(seconds in 0..LAST) {
            prop_assert!(fields(seconds) < fields(seconds + 1));
        }
    }
}
