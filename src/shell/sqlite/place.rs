//! The place of the store's files: is the file there still the open one?
//!
//! Somebody can remove an open file, or rename another over it, and SQLite goes on writing into a file that
//! nobody can find. While it is open, no other file gets its inode, so the same device and inode mean the
//! same file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::paths::with_suffix;
use crate::ports::{LedgerError, Sight};

/// SQLite's files beside the database: the journal and its index. A process with another index than ours
/// would overwrite our commits.
pub(super) const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// A file, as it was when it was opened.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

/// The files of an open store.
#[derive(Debug)]
pub(super) struct Place {
    store: Seen,
    /// Keeps the store's inode in use while it is opened again. It only names the file (`O_PATH`, open(2)),
    /// so closing it drops none of SQLite's locks.
    _held: File,
    beside: Vec<Seen>,
    /// The store's largest size so far, in bytes. SQLite itself never makes it smaller.
    size: u64,
    /// Its size at the last look.
    seen: u64,
}

/// The problem with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Displaced {
    /// The file was removed.
    #[error("{} was removed while it was open", .0.display())]
    Removed(PathBuf),
    /// Another file is there now.
    #[error("{} was replaced by another file while it was open", .0.display())]
    Replaced(PathBuf),
    /// It cannot be looked at.
    #[error("cannot look at {}: {problem}", path.display())]
    Unseen {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        problem: String,
    },
}

impl Seen {
    fn at(path: PathBuf) -> Result<(Seen, u64), Displaced> {
        match fs::metadata(&path) {
            Ok(found) => Ok((Seen { file: (found.dev(), found.ino()), path }, found.size())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Displaced::Removed(path)),
            Err(error) => Err(Displaced::Unseen { path, problem: error.to_string() }),
        }
    }

    /// Its size, if it is still the same file.
    fn look(&self) -> Result<u64, Displaced> {
        let (found, size) = Seen::at(self.path.clone())?;
        if found == *self { Ok(size) } else { Err(Displaced::Replaced(found.path)) }
    }
}

impl Place {
    /// Records the store at `path` before it is opened.
    pub(super) fn before_opening(path: &Path) -> Result<Place, Displaced> {
        let unseen = |error: io::Error| Displaced::Unseen { path: path.into(), problem: error.to_string() };
        let (store, size) = Seen::at(path.into())?;
        let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map_err(unseen)?;
        let found = held.metadata().map_err(unseen)?;
        if (found.dev(), found.ino()) != store.file {
            return Err(Displaced::Replaced(path.into()));
        }
        Ok(Place { store, _held: held, beside: Vec::new(), size, seen: size })
    }

    /// The same after opening, with the files that opening made.
    pub(super) fn opened(self) -> Result<Place, Displaced> {
        let size = self.store.look()?;
        let mut beside = Vec::new();
        for suffix in BESIDE {
            match Seen::at(with_suffix(&self.store.path, suffix)) {
                Ok((seen, _)) => beside.push(seen),
                // Not every journal mode has both.
                Err(Displaced::Removed(_)) => {}
                Err(displaced) => return Err(displaced),
            }
        }
        Ok(Place { beside, size, seen: size, ..self })
    }

    /// From here on SQLite may remove its files beside the store, and make them again.
    pub(super) fn closing(&mut self) {
        self.beside.clear();
    }

    /// Whether both are places of one file.
    pub(super) fn is_of_same_store(&self, other: &Place) -> bool {
        self.store == other.store
    }

    /// Another file is where this one was.
    pub(super) fn replaced(&self) -> LedgerError {
        Displaced::Replaced(self.store.path.clone()).into()
    }

    /// Whether all of it is where it was.
    pub(super) fn look(&mut self) -> Result<Sight, Displaced> {
        self.seen = self.store.look()?;
        for seen in &self.beside {
            seen.look()?;
        }
        if self.seen < self.size {
            return Ok(Sight::Smaller);
        }
        self.size = self.seen;
        Ok(Sight::Same)
    }

    /// The store is whole at the size of the last look.
    pub(super) fn take_size(&mut self) {
        self.size = self.seen;
    }
}

impl From<Displaced> for LedgerError {
    fn from(displaced: Displaced) -> LedgerError {
        let (Displaced::Removed(path) | Displaced::Replaced(path) | Displaced::Unseen { path, .. }) =
            &displaced;
        LedgerError::Displaced { store: path.display().to_string(), problem: displaced.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> (PathBuf, Place) {
        let path = folder.join("store.db");
        fs::write(&path, "four").expect("the folder is ours");
        let place = Place::before_opening(&path).expect("it is there");
        for suffix in BESIDE {
            fs::write(folder.join(format!("store.db{suffix}")), "").expect("the folder is ours");
        }
        (path, place.opened().expect("it is there"))
    }

    #[test]
    fn each_file_that_is_removed_or_replaced_is_noticed() {
        for name in ["store.db", "store.db-wal", "store.db-shm"] {
            let folder = tempfile::tempdir().expect("a folder");
            let (_, mut place) = store(folder.path());
            assert_eq!(place.look(), Ok(Sight::Same));
            let (file, kept) = (folder.path().join(name), folder.path().join("kept"));
            fs::rename(&file, &kept).expect("the folder is ours");
            assert_eq!(place.look(), Err(Displaced::Removed(file.clone())));
            fs::copy(&kept, &file).expect("the folder is ours");
            assert_eq!(place.look(), Err(Displaced::Replaced(file.clone())));
            fs::rename(&kept, &file).expect("the folder is ours");
            assert_eq!(place.look(), Ok(Sight::Same), "it is the same one again");
        }
    }

    #[test]
    fn a_store_that_is_cut_is_noticed_and_one_that_grows_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, mut place) = store(folder.path());
        fs::write(&path, "four and more").expect("the folder is ours");
        assert_eq!(place.look(), Ok(Sight::Same));
        fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(5)).expect("ours");
        assert_eq!(place.look(), Ok(Sight::Smaller));
        assert_eq!(place.look(), Ok(Sight::Smaller), "until it is known that all is in it");
        place.take_size();
        assert_eq!(place.look(), Ok(Sight::Same));
    }

    #[test]
    fn a_store_that_is_replaced_while_it_is_being_opened_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _) = store(folder.path());
        let place = Place::before_opening(&path).expect("it is there");
        fs::copy(&path, folder.path().join("copy")).expect("the folder is ours");
        fs::rename(folder.path().join("copy"), &path).expect("the folder is ours");
        assert_eq!(place.opened().map(|_| ()), Err(Displaced::Replaced(path)));
    }
}
