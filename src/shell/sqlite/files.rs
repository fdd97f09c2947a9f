//! Checks the files of a store before SQLite opens them. If SQLite cannot write one of them, it only reports
//! that the database is read-only.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access};

use crate::paths::with_suffix;

/// Expects every file of the store to be one that this user can write.
///
/// SQLite makes `-wal` and `-shm` with the store's mode at that time, and keeps existing ones. If one was
/// made while the store was read-only, it gets the store's present mode. Nobody else has the store open.
pub(super) fn make_writable(store: &Path) -> Result<(), String> {
    let mode = fs::metadata(store).map_err(|error| error.to_string())?.mode() & 0o666;
    expect_writable(store, mode)?;
    for suffix in ["-wal", "-shm"] {
        let beside = with_suffix(store, suffix);
        let found = match fs::symlink_metadata(&beside) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.map_err(|error| format!("{}: {error}", beside.display()))?,
        };
        if !found.is_file() {
            return Err(format!("{} is not a regular file: remove it", beside.display()));
        }
        if found.mode() & mode != mode && found.uid() == rustix::process::geteuid().as_raw() {
            fs::set_permissions(&beside, Permissions::from_mode(mode))
                .map_err(|error| format!("{}: {error}", beside.display()))?;
        }
        expect_writable(&beside, mode)?;
    }
    Ok(())
}

fn expect_writable(file: &Path, mode: u32) -> Result<(), String> {
    access(file, Access::READ_OK | Access::WRITE_OK).map_err(|error| {
        let (shown, mode) = (file.display(), fs::metadata(file).map_or(mode, |found| found.mode() & 0o7777));
        format!("this user cannot read and write {shown} (mode {mode:04o}): {error}; chmod u+rw {shown}, and see whose it is")
    })
}
