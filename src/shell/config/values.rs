//! What several tables have in common: paths, numbers within a range, times, users of the machine, and how a file is read.

use std::fs;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::{ConfigError, Wrong};

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

impl UserName {
    pub(super) fn parse(wrong: &Wrong<'_>, key: &str, value: &toml::Value) -> Result<UserName, ConfigError> {
        match value {
            toml::Value::String(name) if !name.is_empty() && !name.contains('\0') => {
                Ok(UserName::Name(name.clone()))
            }
            // The last number belongs to no user: the system reads it as "none".
            toml::Value::Integer(id) => match u32::try_from(*id) {
                Ok(id) if id != u32::MAX => Ok(UserName::Id(id)),
                _ => Err(wrong(key, "a user's number is from 0 to 4294967294")),
            },
            _ => Err(wrong(key, "a user is a name or a number, as in \"custodian\" or 1001")),
        }
    }
}

impl std::fmt::Display for UserName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UserName::Name(name) => write!(f, "{name:?}"),
            UserName::Id(id) => id.fmt(f),
        }
    }
}

/// Reads a text file. A device that never ends is refused. The text is wiped on drop, because it may be a
/// PIN.
pub(super) fn text_file(path: &Path) -> io::Result<Zeroizing<String>> {
    const MOST: usize = 1 << 20;
    let too_long = || io::Error::other(format!("it is longer than {MOST} bytes"));
    let mut file = fs::File::open(path)?;
    let expected =
        usize::try_from(file.metadata()?.len()).ok().filter(|len| *len <= MOST).ok_or_else(too_long)?;
    // Allocated at once, because a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(expected + 1));
    io::Read::take(&mut file, MOST as u64 + 1).read_to_string(&mut text)?;
    if text.len() <= MOST { Ok(text) } else { Err(too_long()) }
}

pub(super) fn absolute(wrong: &Wrong<'_>, key: &str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(wrong(key, "an absolute path is needed: a relative one depends on the current folder"))
}

/// Whether an error says nothing about the file, so that the next try may succeed.
pub(super) fn may_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::INTR];
    Errno::from_io_error(error).is_some_and(|error| passing.contains(&error))
}

pub(super) fn number(
    wrong: &Wrong<'_>,
    key: &str,
    value: Option<i64>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = value.map_or(Some(default), |value| u64::try_from(value).ok());
    if let Some(value) = value.filter(|value| range.contains(value)) {
        return Ok(value);
    }
    Err(wrong(key, &format!("a number from {} to {} is needed", range.start(), range.end())))
}

pub(super) fn seconds(
    wrong: &Wrong<'_>,
    key: &str,
    value: Option<i64>,
    default: u64,
    range: RangeInclusive<u64>,
) -> Result<Duration, ConfigError> {
    number(wrong, key, value, default, range).map(Duration::from_secs)
}
