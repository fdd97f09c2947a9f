//! The port [`Store`] on a SQLite file: its place, its lock, and its handles.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::Sqlite;
use super::place::{BESIDE, Place};
use crate::paths::with_suffix;
use crate::ports::{Claim, Header, LedgerError, Pages, Sight, Site, Store, View};
use crate::shell::lock::StoreLock;

/// The path of a SQLite file, in a folder that exists.
pub struct SqliteSite {
    path: PathBuf,
    /// The lock, if it was taken before.
    lock: Mutex<Option<StoreLock>>,
}

/// Takes the lock of the store at `path`, whose folder must exist, before any login to the token. Of two
/// engines that start, one logs in, and the other has done nothing to the token.
pub fn take_lock(path: &Path) -> Result<StoreLock, LedgerError> {
    check_folder(path)?;
    StoreLock::take(path)
}

fn check_folder(path: &Path) -> Result<(), LedgerError> {
    match path.parent().map(fs::metadata) {
        Some(Ok(folder)) if folder.is_dir() => Ok(()),
        _ => Err(LedgerError::Io {
            store: path.display().to_string(),
            problem: "its folder does not exist: make it, readable by this user only".into(),
        }),
    }
}

impl SqliteSite {
    /// The site of the store at `path`, whose folder must exist.
    pub fn new(path: PathBuf) -> Result<SqliteSite, LedgerError> {
        check_folder(&path)?;
        Ok(SqliteSite { path, lock: Mutex::default() })
    }

    /// The same site with a lock that was taken before. It is released if there is no store.
    #[must_use]
    pub fn locked_by(self, lock: StoreLock) -> SqliteSite {
        SqliteSite { lock: Mutex::new(Some(lock)), ..self }
    }

    fn take_lock(&self) -> Result<StoreLock, LedgerError> {
        let taken = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map_or_else(|| StoreLock::take(&self.path), Ok)
    }

    fn has_store(&self) -> Result<bool, LedgerError> {
        self.path.try_exists().map_err(|error| self.io(&error))
    }

    /// The path of a store that is not complete yet. With a suffix, the path of SQLite's files beside it.
    fn unfinished(&self, suffix: &str) -> PathBuf {
        with_suffix(&with_suffix(&self.path, ".unfinished"), suffix)
    }

    fn remove_unfinished(&self) -> std::io::Result<()> {
        for suffix in ["", BESIDE[0], BESIDE[1]] {
            match fs::remove_file(self.unfinished(suffix)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn io(&self, error: &std::io::Error) -> LedgerError {
        LedgerError::Io { store: self.name(), problem: error.to_string() }
    }
}

impl Site for SqliteSite {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self) -> Result<Option<Box<dyn Store>>, LedgerError> {
        let lock = self.take_lock()?;
        if !self.has_store()? {
            return Ok(None);
        }
        Ok(Some(Box::new(SqliteStore::open(&self.path, lock)?)))
    }

    fn claim(&self) -> Result<Box<dyn Claim + '_>, LedgerError> {
        let lock = self.take_lock()?;
        if self.has_store()? {
            return Err(LedgerError::Exists(self.name()));
        }
        Ok(Box::new(Claimed { site: self, lock }))
    }
}

/// A path without a store, and its lock.
struct Claimed<'a> {
    site: &'a SqliteSite,
    lock: StoreLock,
}

impl Claim for Claimed<'_> {
    /// Writes the store under another name until it is complete and anchored.
    fn make(
        &mut self,
        header: &Header,
        first: &Pages,
        anchor: &mut dyn FnMut() -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        self.site.remove_unfinished().map_err(|error| self.site.io(&error))?;
        let unfinished = self.site.unfinished("");
        let sqlite = Sqlite::create(&unfinished, header)?;
        sqlite.commit(first)?;
        sqlite.close()?;
        anchor()?;
        // Never replaces another store.
        renameat_with(CWD, &unfinished, CWD, &self.site.path, RenameFlags::NOREPLACE)
            .map_err(|error| self.site.io(&error.into()))
    }

    fn take_back(&mut self) -> bool {
        let has_its_name = !self.site.unfinished("").exists() && self.site.path.exists();
        if has_its_name {
            // Whatever answered that renaming failed: the store exists.
            return false;
        }
        // If this fails, too, it is only logged, because the first failure is the important one.
        if let Err(error) = self.site.remove_unfinished() {
            tracing::error!("cannot remove {}: {error}", self.site.unfinished("").display());
        }
        true
    }

    fn open(self: Box<Self>) -> Result<Box<dyn Store>, LedgerError> {
        let Claimed { site, mut lock } = *self;
        lock.take_store(&site.path)?;
        if let Some(folder) = site.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| site.io(&error))?;
        }
        Ok(Box::new(SqliteStore::open(&site.path, lock)?))
    }
}

/// A SQLite file for writing.
struct SqliteStore {
    /// None while it is opened again.
    sqlite: Option<Sqlite>,
    place: Place,
    path: PathBuf,
    /// Dropped after everything that has the file open.
    _lock: StoreLock,
}

impl SqliteStore {
    fn open(path: &Path, lock: StoreLock) -> Result<SqliteStore, LedgerError> {
        let place = Place::before_opening(path)?;
        let sqlite = Sqlite::open(path)?;
        let place = place.opened()?;
        Ok(SqliteStore { sqlite: Some(sqlite), place, path: path.into(), _lock: lock })
    }

    fn sqlite(&self) -> Result<&Sqlite, LedgerError> {
        let closed = || LedgerError::Io {
            store: self.name(),
            problem: "it is opening again after a failed write: try again".into(),
        };
        self.sqlite.as_ref().ok_or_else(closed)
    }
}

impl Store for SqliteStore {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn view(&self) -> Result<Box<dyn View>, LedgerError> {
        Ok(Box::new(Sqlite::read_only(&self.path)?))
    }

    fn commit(&mut self, pages: &Pages) -> Result<(), LedgerError> {
        self.sqlite()?.commit(pages)
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        self.sqlite()?.sync()
    }

    fn reopen(&mut self) -> Result<(), LedgerError> {
        self.place.closing();
        // Nothing of the failed state may be left in memory.
        self.sqlite = None;
        let place = Place::before_opening(&self.path)?;
        if !place.is_of_same_store(&self.place) {
            return Err(place.replaced());
        }
        let sqlite = Sqlite::open(&self.path)?;
        self.place = place.opened()?;
        self.sqlite = Some(sqlite);
        Ok(())
    }

    fn look(&mut self) -> Result<Sight, LedgerError> {
        Ok(self.place.look()?)
    }

    fn found_whole(&mut self) {
        self.place.take_size();
    }
}
