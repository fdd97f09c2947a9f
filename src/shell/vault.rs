//! Where the ledger is: a SQLite file and a backing token that belong together.
//!
//! A store without its anchor, or an anchor without its store, is refused and never initialised again: an emptied folder must not look
//! like a first run. The one exception is an anchor of link 0, left by an initialisation that was interrupted before anything used it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use zeroize::Zeroizing;

use super::ledger::{self, SealedLedger, Upkeep};
use super::lock::StoreLock;
use super::sqlite::{Header, Sqlite};
use crate::kernel::anchor::{Anchor, StateError};
use crate::kernel::receipt::Batch;
use crate::kernel::seal::{DataKey, StoreId};
use crate::ports::{AnchorSlots, BackingError, Ledger, LedgerError, ReopenError, Sealer, Vault};

/// A SQLite file and a backing token.
pub struct SqliteVault<B> {
    path: PathBuf,
    backing: Arc<B>,
    upkeep: Upkeep,
    /// The lock, where it was taken before.
    lock: Mutex<Option<StoreLock>>,
}

/// Takes the lock of the store at `path`, whose folder must exist: before anybody logs in to the token. Of two engines that
/// start, one logs in, and the other has done nothing to the token.
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

impl<B: Sealer + AnchorSlots + 'static> SqliteVault<B> {
    /// The vault of the store at `path`, whose folder must exist.
    pub fn new(path: PathBuf, backing: Arc<B>) -> Result<SqliteVault<B>, LedgerError> {
        check_folder(&path)?;
        Ok(SqliteVault { path, backing, upkeep: Upkeep::default(), lock: Mutex::default() })
    }

    /// The same vault, whose lock was taken already. It is given back where nothing was ever initialised.
    #[must_use]
    pub fn locked_by(self, lock: StoreLock) -> SqliteVault<B> {
        SqliteVault { lock: Mutex::new(Some(lock)), ..self }
    }

    fn take_lock(&self) -> Result<StoreLock, LedgerError> {
        let taken = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map_or_else(|| StoreLock::take(&self.path), Ok)
    }

    /// The same vault, whose ledgers try for so long to go on after a write that failed.
    #[must_use]
    pub fn reopening_for(self, reopening: Duration) -> SqliteVault<B> {
        SqliteVault { upkeep: Upkeep { reopening, ..self.upkeep }, ..self }
    }

    /// The same vault, whose ledgers have a thread read everything whenever the last such look is so old.
    #[must_use]
    pub fn read_whole_every(self, whole: Duration) -> SqliteVault<B> {
        SqliteVault { upkeep: Upkeep { whole: Some(whole), ..self.upkeep }, ..self }
    }

    /// Writes the store under another name until it is whole and anchored.
    fn write(&self, header: &Header, key: &DataKey, first: &Batch) -> Result<(), LedgerError> {
        self.remove_unfinished().map_err(|error| self.io(error.to_string()))?;
        let unfinished = self.unfinished("");
        let sqlite = Sqlite::create(&unfinished, header)?;
        let anchor = ledger::begin(&sqlite, key, first)?;
        sqlite.close()?;
        self.backing.replace(&anchor)?;
        // Never over another store.
        renameat_with(CWD, &unfinished, CWD, &self.path, RenameFlags::NOREPLACE)
            .map_err(|error| self.io(error.to_string()))
    }

    /// Leaves nothing of a store that has not got its name. If that fails, too, it is logged: the first failure is what counts.
    fn take_back(&self, store: &StoreId) {
        let has_its_name = !self.unfinished("").exists() && self.path.exists();
        if has_its_name {
            // Whatever answered that renaming failed: the store is there.
            return;
        }
        if let Err(error) = self.backing.withdraw(store) {
            tracing::error!(
                "{error}; the backing token still holds the sealing key of a store that does not exist"
            );
        }
        if let Err(error) = self.remove_unfinished() {
            tracing::error!("cannot remove {}: {error}", self.unfinished("").display());
        }
    }

    fn remove_unfinished(&self) -> std::io::Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            match fs::remove_file(self.unfinished(suffix)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Where a store is until it is whole; with a suffix, SQLite's files beside it.
    fn unfinished(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(".unfinished");
        path.push(suffix);
        path.into()
    }

    fn io(&self, problem: String) -> LedgerError {
        LedgerError::Io { store: self.path.display().to_string(), problem }
    }

    fn ledger(&self, sqlite: Sqlite, lock: StoreLock, key: DataKey) -> Result<Box<dyn Ledger>, LedgerError> {
        let ledger = SealedLedger::open(sqlite, lock, key, Arc::clone(&self.backing))?;
        Ok(Box::new(ledger.kept_by(self.upkeep)))
    }
}

/// What the anchor claims where there is no store: only an interrupted initialisation may be begun again.
pub(super) fn check_unanchored(slots: &impl AnchorSlots) -> Result<(), LedgerError> {
    let claims = slots.values()?.iter().filter_map(|value| Anchor::claimed_sequence(value)).max();
    match claims {
        Some(sequence) if sequence > 0 => Err(StateError::StoreMissing(sequence).into()),
        _ => Ok(()),
    }
}

impl<B: Sealer + AnchorSlots + 'static> Vault for SqliteVault<B> {
    fn open(&self) -> Result<Option<Box<dyn Ledger>>, LedgerError> {
        let lock = self.take_lock()?;
        if !self.path.try_exists().map_err(|error| self.io(error.to_string()))? {
            check_unanchored(&*self.backing)?;
            return Ok(None);
        }
        let sqlite = Sqlite::open(&self.path)?;
        let header = sqlite.header()?;
        let context = DataKey::wrapping_context(&header.store);
        let key =
            self.backing.unwrap(&header.store, &context, &header.wrapped_key)?.ok_or(StateError::DataKey)?;
        let key = DataKey::new(header.store, key);
        self.ledger(sqlite, lock, key).map(Some)
    }

    fn create(&self, first: &Batch) -> Result<Box<dyn Ledger>, LedgerError> {
        let mut lock = self.take_lock()?;
        if self.path.try_exists().map_err(|error| self.io(error.to_string()))? {
            return Err(LedgerError::Exists(self.path.display().to_string()));
        }
        check_unanchored(&*self.backing)?;
        let mut store = [0; 16];
        let mut key = Zeroizing::new([0; 32]);
        for bytes in [&mut store[..], &mut key[..]] {
            getrandom::fill(bytes).map_err(|error| LedgerError::Backing(BackingError(error.to_string())))?;
        }
        let wrapped_key = self.backing.wrap(&store, &DataKey::wrapping_context(&store), &key)?;
        let key = DataKey::new(store, key);
        self.write(&Header { store, wrapped_key }, &key, first).inspect_err(|_| self.take_back(&store))?;
        lock.take_store(&self.path)?;
        if let Some(folder) = self.path.parent() {
            fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| self.io(error.to_string()))?;
        }
        self.ledger(Sqlite::open(&self.path)?, lock, key)
    }
}

impl<T: AnchorSlots + ?Sized> AnchorSlots for Arc<T> {
    fn values(&self) -> Result<Vec<Vec<u8>>, BackingError> {
        (**self).values()
    }

    fn replace(&self, value: &[u8]) -> Result<(), BackingError> {
        (**self).replace(value)
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        (**self).reopen()
    }
}
