//! The destination of an answer: standard output, or a file that is written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// Whether the path stands for standard input or output.
pub(crate) fn is_standard(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path == Path::new("-"))
}

/// The destination of an answer. It is prepared first, so that nothing is signed that cannot be written.
pub(crate) enum Destination {
    /// Standard output.
    Standard,
    /// A file.
    File(Replacement),
}

/// A file that gets new content, whole or not at all: the content is written under another name and moved
/// into place.
pub(crate) struct Replacement {
    draft: PathBuf,
    target: PathBuf,
}

impl Destination {
    /// No path or `-` is standard output.
    pub(crate) fn prepare(path: Option<&Path>) -> Result<Self, CommandError> {
        match path {
            Some(path) if !is_standard(Some(path)) => {
                Replacement::prepare(path).map(Destination::File).map_err(|reason| {
                    CommandError::new(
                        format!("cannot write to {}: {reason}; nothing was done", path.display()),
                        "with --out name a file in a folder that you may write to",
                    )
                })
            }
            _ => Ok(Destination::Standard),
        }
    }
}

impl Replacement {
    fn prepare(path: &Path) -> std::io::Result<Self> {
        // Through a symbolic link, the file is replaced, not the link.
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(reason) if reason.kind() == ErrorKind::NotFound => std::path::absolute(path)?,
            Err(reason) => return Err(reason),
        };
        if target.exists() && !target.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let Some(name) = target.file_name() else {
            return Err(std::io::Error::other("it names no file"));
        };
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        draft_name.push(format!(".{}.part", std::process::id()));
        let draft = target.with_file_name(draft_name);
        // Created as a try, and removed again: the person may still give up at the prompt for the code.
        drop(create_new(&draft)?);
        std::fs::remove_file(&draft)?;
        Ok(Replacement { draft, target })
    }

    /// Writes `content` durably and moves it into place.
    pub(crate) fn commit(self, content: &[u8]) -> std::io::Result<()> {
        self.commit_by(|draft| draft.write_all(content))
    }

    /// The same with the output of `write`. If it fails, everything stays as it was.
    pub(crate) fn commit_by<T, E: From<std::io::Error>>(
        self,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut draft = BufWriter::new(create_new(&self.draft)?);
        let moved = write(&mut draft).and_then(|written| {
            draft.flush()?;
            draft.get_ref().sync_all()?;
            std::fs::rename(&self.draft, &self.target)?;
            Ok(written)
        });
        if moved.is_err() {
            // Half a file is useless. The error to report is the first one.
            let _ = std::fs::remove_file(&self.draft);
            return moved;
        }
        if let Some(folder) = self.target.parent() {
            File::open(folder)?.sync_all()?;
        }
        moved
    }
}

fn create_new(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"psbt\xff\x01\x00\x02";

    #[test]
    fn a_file_is_replaced_whole_and_no_draft_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signed.psbt");
        std::fs::write(&path, b"before").expect("written");
        let Ok(Destination::File(replacement)) = Destination::prepare(Some(&path)) else { panic!("a file") };
        assert_eq!(std::fs::read(&path).expect("there"), b"before");
        replacement.commit(CONTENT).expect("committed");
        assert_eq!(std::fs::read(&path).expect("there"), CONTENT);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_to_its_end_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.jsonl");
        std::fs::write(&path, b"before").expect("written");
        let Ok(Destination::File(replacement)) = Destination::prepare(Some(&path)) else { panic!("a file") };
        let failed: std::io::Result<()> = replacement.commit_by(|draft| {
            draft.write_all(CONTENT)?;
            Err(std::io::Error::other("half-way"))
        });
        assert_eq!(failed.expect_err("it failed").to_string(), "half-way");
        assert_eq!(std::fs::read(&path).expect("there"), b"before");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn preparing_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Destination::prepare(Some(&folder.path().join("signed.psbt")));
        assert!(prepared.is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn devices_and_missing_folders_are_refused() {
        for path in ["/dev/null", "/nonexistent/signed.psbt", "/"] {
            assert!(Destination::prepare(Some(Path::new(path))).is_err(), "{path}");
        }
    }
}
