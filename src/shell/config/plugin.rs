//! `[plugin]`: the library to load, and the officers who must have signed it.

use std::path::PathBuf;

use serde::Deserialize;

use crate::kernel::officer::{Officers, OfficersError};

/// The library to load, and the officers who must have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    /// Absolute path of the library. Its manifest and its signatures are beside it.
    pub library: PathBuf,
    /// The officers, and how many of them must have signed.
    pub officers: Officers,
    /// Absolute path of the floor file.
    pub floor_file: PathBuf,
}

/// The table as it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginTable {
    library: PathBuf,
    officers: Vec<String>,
    threshold: i64,
    floor_file: PathBuf,
}

impl PluginTable {
    /// Checks the table. An error names its key.
    pub(super) fn check(self) -> Result<PluginConfig, (&'static str, String)> {
        const ABSOLUTE: &str = "an absolute path is needed: a relative one depends on the current folder";
        if !self.library.is_absolute() || self.library.file_name().is_none() {
            return Err(("plugin.library", ABSOLUTE.into()));
        }
        if !self.floor_file.is_absolute() || self.floor_file.file_name().is_none() {
            return Err(("plugin.floor_file", ABSOLUTE.into()));
        }
        // A number that does not fit cannot be within the officers' range either.
        let threshold = usize::try_from(self.threshold).unwrap_or(0);
        let officers = Officers::parse(&self.officers, threshold).map_err(|error| {
            let key = match error {
                OfficersError::Threshold { .. } => "plugin.threshold",
                _ => "plugin.officers",
            };
            (key, error.to_string())
        })?;
        Ok(PluginConfig { library: self.library, officers, floor_file: self.floor_file })
    }
}
