//! The council: the officers of a store, how many of them must sign an act, how long the act then waits, and the settings that only
//! officers can weaken.
//!
//! A council has one text. Officers sign that text when they change the council. The anchor is to remember its digest, so that it exposes a
//! copy of the store from before there were officers, or from before they changed.

use core::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{OfficerKey, Officers};
use crate::direction::Direction;

/// The longest delay in hours: 90 days.
pub const MAX_DELAY_HOURS: u32 = 90 * 24;

/// The lowest limit of wrong codes within an hour: one call can bring so many codes.
pub const MIN_FAILURES_PER_HOUR: u32 = 16;
/// The highest limit of wrong codes within an hour: a higher one would not protect anybody.
pub const MAX_FAILURES_PER_HOUR: u32 = 1_000_000;

const LABEL: &[u8] = b"countersign/council/v1\0";
const LABEL_DECIDERS: &[u8] = b"countersign/deciders/v1\0";
/// The line of the settings in a council's text.
const SETTINGS: &str = "failures-per-hour";

/// The officers who decide beside an administrator, and the time that everybody has to object.
///
/// Records keep its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Council {
    officers: Officers,
    delay_hours: u32,
    emergency: Option<Emergency>,
    settings: Settings,
}

/// The condition under which an act waits for a shorter delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// The number of officers who must have signed, above the threshold.
    pub signatures: usize,
    /// The shorter delay in hours, at least one.
    pub delay_hours: u32,
}

/// Settings on which promises of the store depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The number of wrong codes of all users in an hour after which no code is checked.
    pub failures_per_hour: u32,
}

/// Identifies a council.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CouncilDigest(pub [u8; 32]);

impl Council {
    /// A council, if everything that it says can be kept.
    pub fn new(
        mut officers: Officers,
        delay_hours: u32,
        emergency: Option<Emergency>,
        settings: Settings,
    ) -> Result<Council, CouncilError> {
        if !(1..=MAX_DELAY_HOURS).contains(&delay_hours) {
            return Err(CouncilError::Delay);
        }
        if let Some(Emergency { signatures, delay_hours: shorter }) = emergency {
            if signatures <= officers.threshold || signatures > officers.keys.len() {
                let (threshold, officers) = (officers.threshold, officers.keys.len());
                return Err(CouncilError::EmergencySignatures { threshold, officers });
            }
            if !(1..delay_hours).contains(&shorter) {
                return Err(CouncilError::EmergencyDelay { delay_hours });
            }
        }
        if !(MIN_FAILURES_PER_HOUR..=MAX_FAILURES_PER_HOUR).contains(&settings.failures_per_hour) {
            return Err(CouncilError::Failures);
        }
        // Sorted, so that the same officers always make the same council.
        officers.keys.sort_by_key(|key| key.public_key);
        Ok(Council { officers, delay_hours, emergency, settings })
    }

    /// The officers, and how many of them must sign, in the order of their keys.
    pub fn officers(&self) -> &Officers {
        &self.officers
    }

    /// The delay in hours of an act that enough officers have signed.
    pub fn delay_hours(&self) -> u32 {
        self.delay_hours
    }

    /// The condition for a shorter delay.
    pub fn emergency(&self) -> Option<Emergency> {
        self.emergency
    }

    /// The settings that only officers can weaken.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The same officers and delays, with these settings.
    pub(crate) fn with(&self, settings: Settings) -> Council {
        Council { settings, ..self.clone() }
    }

    /// The delay in hours of an act that this many officers have signed, or `None` while they are too few.
    pub fn delay_with(&self, signatures: usize) -> Option<u32> {
        match self.emergency {
            Some(emergency) if signatures >= emergency.signatures => Some(emergency.delay_hours),
            _ => (signatures >= self.officers.threshold).then_some(self.delay_hours),
        }
    }

    /// Whether a change to `new` lets an administrator do more. Who decides, and for how long others can object, is no higher or lower
    /// limit, so every change of that loosens: removing an officer can lock the others out.
    pub fn compare(&self, new: &Council) -> Direction {
        let decides = |council: &Council| (council.officers.clone(), council.delay_hours, council.emergency);
        let (before, since) = (self.settings.failures_per_hour, new.settings.failures_per_hour);
        if decides(self) == decides(new) {
            Direction { tightens: since < before, loosens: since > before }
        } else {
            Direction::UNKNOWN
        }
    }

    /// SHA-256 of a label and the council's text.
    pub fn digest(&self) -> CouncilDigest {
        CouncilDigest::of(&self.to_string())
    }

    /// What decides about acts, as text: the officers, how many of them must sign, and the delays. A setting that an administrator
    /// tightens changes nothing of it.
    pub fn deciders(&self) -> String {
        self.to_string().split_inclusive('\n').filter(|line| !line.starts_with(SETTINGS)).collect()
    }

    /// SHA-256 of a label and [`Self::deciders`].
    pub fn deciders_digest(&self) -> [u8; 32] {
        Sha256::new_with_prefix(LABEL_DECIDERS).chain_update(self.deciders()).finalize().into()
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    pub fn parse(text: &str) -> Option<Council> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let threshold = value("threshold")?.parse().ok()?;
        let delay_hours = value("delay-hours")?.parse().ok()?;
        let emergency = match value("emergency")? {
            "none" => None,
            numbers => {
                let (signatures, delay_hours) = numbers.split_once(' ')?;
                Some(Emergency {
                    signatures: signatures.parse().ok()?,
                    delay_hours: delay_hours.parse().ok()?,
                })
            }
        };
        let settings = Settings { failures_per_hour: value(SETTINGS)?.parse().ok()? };
        let officers: Vec<&str> = lines.map(|line| line.strip_prefix("officer ")).collect::<Option<_>>()?;
        let officers = Officers::parse(&officers, threshold).ok()?;
        let council = Council::new(officers, delay_hours, emergency, settings).ok()?;
        (council.to_string() == text).then_some(council)
    }
}

impl From<Council> for String {
    fn from(council: Council) -> String {
        council.to_string()
    }
}

/// A text that is no council's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a council")]
pub struct NotACouncil;

impl TryFrom<String> for Council {
    type Error = NotACouncil;

    fn try_from(text: String) -> Result<Council, NotACouncil> {
        Council::parse(&text).ok_or(NotACouncil)
    }
}

impl CouncilDigest {
    /// The digest of the council that has this text.
    pub fn of(text: &str) -> CouncilDigest {
        CouncilDigest(Sha256::new_with_prefix(LABEL).chain_update(text).finalize().into())
    }
}

/// One line for each value.
impl fmt::Display for Council {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Council { officers, delay_hours, emergency, settings: Settings { failures_per_hour } } = self;
        writeln!(f, "threshold {}", officers.threshold)?;
        writeln!(f, "delay-hours {delay_hours}")?;
        match emergency {
            Some(Emergency { signatures, delay_hours }) => {
                writeln!(f, "emergency {signatures} {delay_hours}")?
            }
            None => writeln!(f, "emergency none")?,
        }
        writeln!(f, "{SETTINGS} {failures_per_hour}")?;
        officers.keys.iter().map(OfficerKey::line).try_for_each(|line| writeln!(f, "officer {line}"))
    }
}

impl fmt::Display for CouncilDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The reason why these values make no council.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouncilError {
    /// The delay is out of range.
    #[error("the delay is 1 to {MAX_DELAY_HOURS} hours")]
    Delay,
    /// No more officers than the threshold, or more than there are.
    #[error(
        "an emergency needs the signatures of more officers than the threshold, {threshold}, and of no more than there are, {officers}"
    )]
    EmergencySignatures {
        /// The threshold.
        threshold: usize,
        /// How many officers there are.
        officers: usize,
    },
    /// The emergency delay is not shorter.
    #[error(
        "in an emergency an act still waits at least one hour, and less than the {delay_hours} hours otherwise"
    )]
    EmergencyDelay {
        /// The ordinary delay in hours.
        delay_hours: u32,
    },
    /// Out of range.
    #[error("failures_per_hour is {MIN_FAILURES_PER_HOUR} to {MAX_FAILURES_PER_HOUR}")]
    Failures,
}

#[cfg(test)]
mod tests {
    use super::super::tests::changed_line;
    use super::*;

    const SETTINGS: Settings = Settings { failures_per_hour: 100 };

    fn officers(number: usize, threshold: usize) -> Officers {
        let lines: Vec<String> = (20..20 + number).map(changed_line).collect();
        Officers::parse(&lines, threshold).expect("officers")
    }

    fn council(emergency: Option<(usize, u32)>) -> Result<Council, CouncilError> {
        let emergency = emergency.map(|(signatures, delay_hours)| Emergency { signatures, delay_hours });
        Council::new(officers(5, 2), 72, emergency, SETTINGS)
    }

    #[test]
    fn a_council_that_cannot_be_followed_is_refused() {
        for (hours, right) in [(0, false), (1, true), (MAX_DELAY_HOURS, true), (MAX_DELAY_HOURS + 1, false)] {
            let found = Council::new(officers(3, 2), hours, None, SETTINGS);
            assert_eq!(found.is_ok(), right, "{hours}");
            assert!(right || found == Err(CouncilError::Delay));
        }
        for (signatures, right) in [(0, false), (2, false), (3, true), (5, true), (6, false)] {
            let found = council(Some((signatures, 8)));
            let refused = CouncilError::EmergencySignatures { threshold: 2, officers: 5 };
            assert_eq!(found.err(), (!right).then_some(refused), "{signatures}");
        }
        for (hours, right) in [(0, false), (1, true), (71, true), (72, false), (100, false)] {
            let refused = CouncilError::EmergencyDelay { delay_hours: 72 };
            assert_eq!(council(Some((3, hours))).err(), (!right).then_some(refused), "{hours}");
        }
        for (failures_per_hour, right) in [(15, false), (16, true), (1_000_000, true), (1_000_001, false)] {
            let found = Council::new(officers(1, 1), 1, None, Settings { failures_per_hour });
            assert_eq!(found.err(), (!right).then_some(CouncilError::Failures), "{failures_per_hour}");
        }
    }

    #[test]
    fn an_act_waits_for_the_delay_and_in_an_emergency_for_a_shorter_one() {
        let with = council(Some((4, 8))).expect("a council");
        let delays: Vec<_> = (0..=5).map(|signatures| with.delay_with(signatures)).collect();
        assert_eq!(delays, [None, None, Some(72), Some(72), Some(8), Some(8)]);
        let without = council(None).expect("a council");
        assert_eq!([1, 2, 5].map(|signatures| without.delay_with(signatures)), [None, Some(72), Some(72)]);
    }

    #[test]
    fn the_digest_of_a_council_is_golden_and_covers_all_of_it() {
        let golden = include_str!("../../../tests/vectors/council.txt");
        let (digest, text) = golden.split_once('\n').expect("two parts");
        let council = council(Some((4, 8))).expect("a council");
        assert_eq!(council.to_string(), text);
        assert_eq!(council.digest().to_string(), digest);
        assert_eq!(Council::parse(text), Some(council.clone()));
        let emergency = |signatures, delay_hours| Some(Emergency { signatures, delay_hours });
        let five = || officers(5, 2);
        let others = [
            Council::new(five(), 71, emergency(4, 8), SETTINGS),
            Council::new(five(), 72, None, SETTINGS),
            Council::new(five(), 72, emergency(3, 8), SETTINGS),
            Council::new(five(), 72, emergency(4, 9), SETTINGS),
            Council::new(five(), 72, emergency(4, 8), Settings { failures_per_hour: 101 }),
            Council::new(officers(5, 3), 72, emergency(4, 8), SETTINGS),
            Council::new(officers(4, 2), 72, emergency(4, 8), SETTINGS),
        ];
        for other in others {
            assert_ne!(other.expect("a council").digest(), council.digest());
        }
    }

    #[test]
    fn the_same_officers_in_another_order_are_the_same_council() {
        let lines: Vec<String> = (20..25).rev().map(changed_line).collect();
        let turned = Officers::parse(&lines, 2).expect("officers");
        let turned = Council::new(turned, 72, None, SETTINGS).expect("a council");
        assert_eq!(turned, council(None).expect("a council"));
    }

    #[test]
    fn a_text_that_is_written_in_another_way_is_no_council() {
        let text = council(Some((4, 8))).expect("a council").to_string();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(4, 5);
        for other in [
            format!("{text}\n"),
            text.trim_end().to_owned(),
            text.replace('\n', "\r\n"),
            text.replace("threshold 2", "threshold 02"),
            text.replace("threshold 2", "threshold +2"),
            text.replace("threshold 2", "threshold  2"),
            text.replace("emergency 4 8", "emergency 4 8 "),
            text.replace("emergency 4 8", "emergency 6 8"),
            text.replace("delay-hours 72", "delay-hours 0"),
            text.replacen("officer ", "officers ", 1),
            format!("{}\n", lines.join("\n")),
            String::new(),
        ] {
            assert_eq!(Council::parse(&other), None, "{other}");
        }
    }
}
