//! Names of files that lie beside others.

use std::path::{Path, PathBuf};

/// The file that is called as `path`, and this: the journal, the lock or the manifest of what is at `path`.
pub fn with_suffix(path: &Path, suffix: impl AsRef<std::ffi::OsStr>) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}
