//! A file that is newly made, and never replaces another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// A new file, still empty. If it is dropped before it is committed, the file is removed.
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
    committed: bool,
}

impl NewFile {
    /// Tries whether the file can be made, and removes it again: the person may still give up at a prompt.
    pub(crate) fn try_out(what: &str, path: &Path, mode: u32) -> Result<(), CommandError> {
        NewFile::create(what, path, mode).map(drop)
    }

    /// Makes the file.
    pub(crate) fn create(what: &str, path: &Path, mode: u32) -> Result<NewFile, CommandError> {
        let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let file = created.map_err(|reason| match reason.kind() {
            ErrorKind::AlreadyExists => CommandError::new(
                format!("the {what} {} exists already; nothing was changed", path.display()),
                "name another file, or move that one away",
            ),
            _ => CommandError::new(
                format!("cannot make the {what} {}: {reason}; nothing was changed", path.display()),
                "name a file in a folder that you may write to",
            ),
        })?;
        Ok(NewFile { file, path: path.into(), committed: false })
    }

    /// Writes its content, durably.
    pub(crate) fn commit(mut self, content: &[u8]) -> Result<(), CommandError> {
        self.write(content).map_err(|reason| {
            CommandError::new(
                format!("{} cannot be written: {reason}", self.path.display()),
                "check the disk, then run the command again",
            )
        })?;
        self.committed = true;
        Ok(())
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()?;
        File::open(std::path::absolute(&self.path)?.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.committed {
            // The error to report is the reason why it was not committed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_made_with_its_mode_and_takes_nobodys_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        NewFile::create("key", &path, 0o600).expect("new").commit(b"first").expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let error = NewFile::create("key", &path, 0o600).err().expect("it exists");
        assert!(error.what.contains("exists already"), "{}", error.what);
        assert_eq!(fs::read(&path).expect("there"), b"first");
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        NewFile::try_out("key", &folder.path().join("key"), 0o600).expect("new");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
        assert!(NewFile::create("key", &folder.path().join("no/key"), 0o600).is_err());
    }
}
