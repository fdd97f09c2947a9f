//! `[backing]`: which token wraps the keys and anchors the state, and where its PIN comes from.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::{ConfigError, Wrong};
use super::values::{absolute, may_pass, text_file};
use crate::shell::image::LibraryDigest;

/// The backing token, and how to log in to it. At least one of label, serial number and slot is given, and
/// the token must match all that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingConfig {
    /// Absolute path of its PKCS#11 module.
    pub module: PathBuf,
    /// SHA-256 of the module's file, if nothing else may be loaded.
    pub sha256: Option<LibraryDigest>,
    /// Its label.
    pub token: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The number of its slot.
    pub slot: Option<u64>,
    /// The string for `pReserved` at initialisation.
    pub init_args: Option<CString>,
    /// The source of its user PIN.
    pub pin: PinSource,
}

/// The source of the backing token's PIN, which is never the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file that only its owner can read; its first line is the PIN.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl PinSource {
    /// Reads the PIN.
    pub fn read(&self) -> Result<Zeroizing<String>, ConfigError> {
        let failed = |problem, may_pass| ConfigError::Pin { origin: self.describe(), problem, may_pass };
        let wrong = |problem: String| failed(problem, false);
        let unreadable = |error: io::Error| failed(error.to_string(), may_pass(&error));
        let pin = match self {
            PinSource::Env(name) => Zeroizing::new(
                std::env::var(name)
                    .map_err(|_| wrong("is not set, or not UTF-8: set it for this process".into()))?,
            ),
            PinSource::File(path) => {
                let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(wrong(format!(
                        "others can read it (mode {:o}): chmod 600 it, and change the PIN if somebody may have read it",
                        mode & 0o777
                    )));
                }
                let text = text_file(path).map_err(unreadable)?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
        };
        if pin.is_empty() {
            return Err(wrong("is empty".into()));
        }
        Ok(pin)
    }

    fn describe(&self) -> String {
        match self {
            PinSource::File(path) => format!("pin_file {}", path.display()),
            PinSource::Env(name) => format!("the environment variable {name} (pin_env)"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BackingTable {
    module: PathBuf,
    sha256: Option<String>,
    token: Option<String>,
    serial: Option<String>,
    slot: Option<u64>,
    init_args: Option<String>,
    pin_file: Option<PathBuf>,
    pin_env: Option<String>,
}

impl BackingTable {
    pub(super) fn parse(self, wrong: &Wrong<'_>) -> Result<BackingConfig, ConfigError> {
        let pin = match (self.pin_file, self.pin_env) {
            (Some(file), None) => PinSource::File(absolute(wrong, "backing.pin_file", file)?),
            (None, Some(name)) => PinSource::Env(name),
            _ => return Err(wrong("backing.pin_file", "name exactly one of pin_file and pin_env")),
        };
        if self.token.is_none() && self.serial.is_none() && self.slot.is_none() {
            return Err(wrong(
                "backing.token",
                "name the token: by its label here, or by backing.serial or backing.slot",
            ));
        }
        let init_args = self.init_args.map(CString::new).transpose();
        let digest = |hex: String| {
            LibraryDigest::parse(&hex).ok_or_else(|| {
                wrong("backing.sha256", "64 hex digits in lower case are needed, as sha256sum prints them")
            })
        };
        Ok(BackingConfig {
            module: absolute(wrong, "backing.module", self.module)?,
            sha256: self.sha256.map(digest).transpose()?,
            token: self.token,
            serial: self.serial,
            slot: self.slot,
            init_args: init_args
                .map_err(|_| wrong("backing.init_args", "a text without the character 0 is needed"))?,
            pin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        fs::write(&path, "1234\n").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = PinSource::File(path.clone()).read().expect_err("mode 640").to_string();
        assert!(
            error.contains("mode 640") && error.contains("chmod 600") && !error.contains("1234"),
            "{error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(PinSource::File(path).read().expect("reads").as_str(), "1234");
    }
}
