//! The time windows: when a wallet signs, in UTC.
//!
//! A window is `[days ]HH:MM-HH:MM`. Days are one (`Sun`) or a range (`Mon-Fri`, or across the end of the
//! week, `Fri-Mon`), and every day if none is named. The end is not part of the window, and may be `24:00`.

use super::document::PolicyError;

/// The most windows of one policy.
pub const MAX_WINDOWS: usize = 32;
/// Minutes of a week.
pub(super) const WEEK: u32 = 7 * DAY;

const DAY: u32 = 24 * 60;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The day of 1 January 1970: a Thursday.
const EPOCH_DAY: u64 = 3;

/// When a wallet signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeWindows(Vec<Window>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    days: [bool; 7],
    /// Minutes of the day. The second is after the last one.
    from: u32,
    to: u32,
}

impl TimeWindows {
    pub(super) fn parse(texts: &[String]) -> Result<TimeWindows, PolicyError> {
        // An empty list would be a wallet that never signs, but its author may have meant one that always
        // does.
        if texts.is_empty() || texts.len() > MAX_WINDOWS {
            return Err(PolicyError::TimeWindows);
        }
        let windows = (1..)
            .zip(texts)
            .map(|(position, text)| Window::parse(text).ok_or(PolicyError::TimeWindow { position }));
        Ok(TimeWindows(windows.collect::<Result<_, _>>()?))
    }

    /// Whether one of them is open at `now` (Unix seconds).
    pub(super) fn are_open(&self, now: u64) -> bool {
        let day = (now / 86_400 + EPOCH_DAY) % 7;
        let minute = day * u64::from(DAY) + now % 86_400 / 60;
        self.have(u32::try_from(minute).expect("a week has 10,080 minutes"))
    }

    /// Whether one of them contains this minute of the week, which begins on Monday.
    pub(super) fn have(&self, minute: u32) -> bool {
        let (day, minute) = (minute / DAY, minute % DAY);
        self.0.iter().any(|window| {
            window.days.get(day as usize) == Some(&true) && (window.from..window.to).contains(&minute)
        })
    }
}

impl Window {
    fn parse(text: &str) -> Option<Window> {
        let (days, span) = match text.split_once(' ') {
            Some((days, span)) => (parse_days(days)?, span),
            None => ([true; 7], text),
        };
        let (from, to) = span.split_once('-')?;
        let (from, to) = (parse_minute(from)?, parse_minute(to)?);
        (from < to).then_some(Window { days, from, to })
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let number = |name| DAYS.iter().position(|day| *day == name);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    let mut days = [false; 7];
    let len = (last + 7 - first) % 7 + 1;
    (first..first + len).for_each(|day| days[day % 7] = true);
    Some(days)
}

/// `HH:MM`, up to `24:00`, as minutes of the day.
fn parse_minute(text: &str) -> Option<u32> {
    let [tens, ones, b':', ten, one] = *text.as_bytes() else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let (hour, minute) = (digit(tens)? * 10 + digit(ones)?, digit(ten)? * 10 + digit(one)?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY).then_some(of_day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(texts: &[&str]) -> Result<TimeWindows, PolicyError> {
        TimeWindows::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    /// Unix seconds of a minute of the week of Monday, 5 January 1970.
    fn at(day: u64, hour: u64, minute: u64, second: u64) -> u64 {
        4 * 86_400 + day * 86_400 + hour * 3_600 + minute * 60 + second
    }

    #[test]
    fn time_window() {
        let office = windows(&["Mon-Fri 08:00-18:00", "Sat 10:00-12:00"]).expect("reads");
        assert!(!office.are_open(at(0, 7, 59, 59)) && office.are_open(at(0, 8, 0, 0)));
        assert!(office.are_open(at(4, 17, 59, 59)) && !office.are_open(at(4, 18, 0, 0)), "the end is out");
        assert!(!office.are_open(at(5, 9, 0, 0)) && office.are_open(at(5, 11, 59, 0)));
        assert!(!office.are_open(at(6, 11, 0, 0)), "Sunday");
        // 2026-10-18 was a Sunday, 2026-10-19 a Monday.
        assert!(!office.are_open(1_792_324_800) && office.are_open(1_792_324_800 + 86_400));
        let _ = office.are_open(u64::MAX);
    }

    #[test]
    fn time_window_days_wrap_and_the_night_is_two_windows() {
        let weekend = windows(&["Fri-Mon 22:00-24:00", "00:00-00:01"]).expect("reads");
        let open: Vec<u64> = (0..7).filter(|day| weekend.are_open(at(*day, 23, 59, 59))).collect();
        assert_eq!(open, [0, 4, 5, 6]);
        assert!((0..7).all(|day| weekend.are_open(at(day, 0, 0, 59)) && !weekend.are_open(at(day, 0, 1, 0))));
        let one = windows(&["Wed-Wed 00:00-24:00"]).expect("reads");
        assert_eq!((0..7).filter(|day| one.are_open(at(*day, 12, 0, 0))).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn an_invalid_window_is_named_by_its_position() {
        let bad = [
            "",
            "08:00",
            "08:00-",
            "8:00-18:00",
            "08:00-18:0",
            "18:00-08:00",
            "08:00-08:00",
            "24:00-24:00",
            "08:00-24:01",
            "08:60-09:00",
            "25:00-26:00",
            "Mon  08:00-09:00",
            " 08:00-09:00",
            "mon 08:00-09:00",
            "Mon-Fri-Sat 08:00-09:00",
            "Mon,Tue 08:00-09:00",
            "Mon- 08:00-09:00",
            "Mon 08:00-09:00 ",
            "+8:00-09:00",
            "08:00-٠٩:٠٠",
        ];
        for text in bad {
            let found = windows(&["08:00-09:00", text]);
            assert_eq!(found, Err(PolicyError::TimeWindow { position: 2 }), "{text:?}");
        }
        assert_eq!(windows(&[]), Err(PolicyError::TimeWindows));
        assert!(windows(&["08:00-09:00"; 32]).is_ok());
        assert_eq!(windows(&["08:00-09:00"; 33]), Err(PolicyError::TimeWindows));
    }

    proptest! {
        /// Compares with a model that walks through the week minute by minute.
        #[test]
        fn time_windows_match_a_walk_through_the_week(
            spans in proptest::collection::vec((0usize..8, 0usize..7, 0u32..1440, 1u32..=1440), 1..4),
            weeks in 0u64..4_000,
        ) {
            let spans: Vec<_> = spans.into_iter().filter(|(_, _, from, to)| from < to).collect();
            prop_assume!(!spans.is_empty());
            let clock = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
            let texts: Vec<String> = spans.iter().map(|(first, last, from, to)| {
                let days = DAYS.get(*first).map(|day| format!("{day}-{} ", DAYS[*last])).unwrap_or_default();
                format!("{days}{}-{}", clock(*from), clock(*to))
            }).collect();
            let parsed = TimeWindows::parse(&texts).expect("reads");
            // 1 January 1970 was a Thursday.
            let (mut day, mut now) = (3, weeks * 604_800);
            for _ in 0..7 {
                for minute in 0..1440 {
                    let open = spans.iter().any(|(first, last, from, to)| {
                        let mut walk = *first;
                        let mut on = *first == 7;
                        while !on && walk < 7 {
                            on = walk == day;
                            if walk == *last { break; }
                            walk = (walk + 1) % 7;
                        }
                        on && *from <= minute && minute < *to
                    });
                    prop_assert_eq!(parsed.are_open(now), open);
                    prop_assert_eq!(parsed.are_open(now + 59), open);
                    now += 60;
                }
                day = (day + 1) % 7;
            }
        }
    }
}
