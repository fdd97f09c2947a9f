//! One engine owns a store. The lock enforces that, and names its holder.
//!
//! It locks a byte of the store's own file that SQLite never locks. Nobody can remove that lock and keep the
//! store. It also locks a file beside the store, which names the holder. Releases before 0.2 know only that
//! file.
//!
//! Somebody else may have put that file there, so the engine follows, empties or writes it only if it is a
//! lock of ours. Rule `lock-link`.
//! `lock-link`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::OFlags;

use crate::paths::with_suffix;
use crate::ports::LedgerError;

/// The longest text of a lock: a process id.
const MAX_TEXT: u64 = 32;
/// The locked byte of the store, far beyond every page that a database can have.
const LOCKED_BYTE: i64 = 1 << 62;

/// The right to be the only engine of a store. Dropping releases it, and so does the system when the process
/// and its forked children end.
pub struct StoreLock {
    /// The store, if it exists. It is closed after every handle of SQLite, because closing it drops SQLite's
    /// locks on it in this process (fcntl(2)).
    store: Option<Locked>,
    beside: LockFile,
}

impl StoreLock {
    /// Takes the lock of `store`, which need not exist yet. The error names the holder.
    pub fn take(store: &Path) -> Result<StoreLock, LedgerError> {
        let beside = LockFile::take(&beside(store)).map_err(|error| error.of_store(store))?;
        let mut lock = StoreLock { store: None, beside };
        if store.exists() {
            lock.take_store(store)?;
        }
        lock.beside.sign().map_err(|error| failed(store, &error))?;
        Ok(lock)
    }

    /// Takes the lock on the store's own file, once it was made.
    pub fn take_store(&mut self, store: &Path) -> Result<(), LedgerError> {
        let file =
            OpenOptions::new().read(true).write(true).open(store).map_err(|error| LedgerError::Io {
                store: store.display().to_string(),
                problem: format!("cannot open it for writing: {error}"),
            })?;
        match lock_byte(&file, libc::F_WRLCK) {
            Ok(()) => {
                self.store = Some(Locked { file, process: std::process::id() });
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EACCES) => {
                // The other engine may be in this very process, and closing any handle would drop its locks.
                std::mem::forget(file);
                Err(LockError::Taken(None).of_store(store))
            }
            Err(error) => Err(failed(store, &error.into())),
        }
    }
}

/// A store's file with its byte locked.
struct Locked {
    file: File,
    /// The owner. A forked child has the same lock, but must not release it.
    process: u32,
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Closing the file is not enough, because a child that lives on has it open, too.
            let _ = lock_byte(&self.file, libc::F_UNLCK);
        }
    }
}

/// Locks a byte of the store, or unlocks it. This belongs to this open file, whatever else the process opens
/// and closes.
fn lock_byte(file: &File, kind: i32) -> nix::Result<()> {
    let byte = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: LOCKED_BYTE,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte)).map(drop)
}

/// A file that is only a lock, with the process id of its holder. Dropping releases it.
pub struct LockFile {
    file: File,
    process: u32,
}

/// The reason why a lock is not taken.
pub enum LockError {
    /// Another process has it, named if it is known.
    Taken(Option<String>),
    /// The file there is no lock of ours.
    Strange(&'static str),
    /// The system refuses.
    Io(io::Error),
}

impl LockFile {
    /// Takes the lock at `path`, and makes the file if it is missing. It names its holder once it is signed.
    pub fn take(path: &Path) -> Result<LockFile, LockError> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => LockError::Strange("a symbolic link"),
            _ => LockError::Io(error),
        })?;
        let text = judge(&file, path)?;
        match file.try_lock() {
            Ok(()) => Ok(LockFile { file, process: std::process::id() }),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken(text)),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    /// Writes the holder in one write. All such texts have the same length, so nothing is cut off.
    pub fn sign(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(format!("{:<20}\n", std::process::id()).as_bytes())
    }
}

/// Expects a lock of ours, whoever holds it, and reads the holder. Root may take a lock that belongs to the
/// folder's user.
fn judge(file: &File, path: &Path) -> Result<Option<String>, LockError> {
    let found = file.metadata().map_err(LockError::Io)?;
    if !found.is_file() {
        return Err(LockError::Strange("no regular file"));
    }
    let us = rustix::process::geteuid();
    let of_folder = || path.parent().and_then(|folder| folder.metadata().ok()).map(|folder| folder.uid());
    if found.uid() != us.as_raw() && !(us.is_root() && Some(found.uid()) == of_folder()) {
        return Err(LockError::Strange("another user's file"));
    }
    if found.nlink() != 1 {
        return Err(LockError::Strange("another name of some file"));
    }
    let mut text = Vec::new();
    file.take(MAX_TEXT + 1).read_to_end(&mut text).map_err(LockError::Io)?;
    let is_number = text.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace());
    if !is_number || text.len() as u64 > MAX_TEXT {
        return Err(LockError::Strange("a file with something in it that no lock has"));
    }
    let owner = String::from_utf8_lossy(&text).trim().to_owned();
    Ok(Some(owner).filter(|owner| !owner.is_empty()))
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // If it cannot be unlocked, closing does it.
            let _ = self.file.unlock();
        }
    }
}

impl LockError {
    fn of_store(self, store: &Path) -> LedgerError {
        let owner = match self {
            LockError::Taken(owner) => owner.unwrap_or_else(|| "unknown".into()),
            LockError::Strange(what) => {
                return LedgerError::Io {
                    store: store.display().to_string(),
                    problem: format!(
                        "its lock {} is {what}: find out who put it there, then remove it (lock-link)",
                        beside(store).display()
                    ),
                };
            }
            LockError::Io(error) => return failed(store, &error),
        };
        LedgerError::InUse { store: store.display().to_string(), owner }
    }
}

fn failed(store: &Path, error: &io::Error) -> LedgerError {
    LedgerError::Io {
        store: store.display().to_string(),
        problem: format!("cannot take its lock {}: {error}", beside(store).display()),
    }
}

/// The lock beside a store.
fn beside(store: &Path) -> PathBuf {
    with_suffix(store, ".lock")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn store() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store.db");
        (folder, store)
    }

    fn refusal(store: &Path) -> LedgerError {
        StoreLock::take(store).err().expect("refused")
    }

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let (_folder, store) = store();
        let lock = StoreLock::take(&store).expect("free");
        let ours = std::process::id().to_string();
        assert!(matches!(refusal(&store), LedgerError::InUse { owner, .. } if owner == ours));
        drop(lock);
        assert!(StoreLock::take(&store).is_ok());
    }

    #[test]
    fn lock_link_a_file_that_is_no_lock_of_ours_is_neither_followed_nor_changed() {
        let (folder, store) = store();
        let precious = folder.path().join("precious");
        fs::write(&precious, "a secret").expect("ours");
        let kept = || fs::read(&precious).expect("there") == b"a secret";
        symlink(&precious, beside(&store)).expect("ours");
        assert!(refusal(&store).to_string().contains("a symbolic link"));
        fs::remove_file(beside(&store)).expect("there");
        fs::hard_link(&precious, beside(&store)).expect("ours");
        assert!(refusal(&store).to_string().contains("another name"));
        fs::remove_file(beside(&store)).expect("there");
        fs::write(beside(&store), "a secret").expect("ours");
        assert!(refusal(&store).to_string().contains("something in it"));
        assert_eq!(fs::read(beside(&store)).expect("there"), b"a secret");
        fs::remove_file(beside(&store)).expect("there");
        fs::create_dir(beside(&store)).expect("ours");
        assert!(matches!(refusal(&store), LedgerError::Io { .. }));
        assert!(kept());
    }

    #[test]
    fn lock_link_a_dangling_link_makes_no_file_elsewhere() {
        let (folder, store) = store();
        let elsewhere = folder.path().join("elsewhere");
        symlink(&elsewhere, beside(&store)).expect("ours");
        assert!(refusal(&store).to_string().contains("a symbolic link"));
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_removed_lock_admits_no_second_engine() {
        let (_folder, store) = store();
        fs::write(&store, "").expect("ours");
        let lock = StoreLock::take(&store).expect("free");
        fs::remove_file(beside(&store)).expect("there");
        assert!(matches!(refusal(&store), LedgerError::InUse { .. }));
        drop(lock);
        assert!(StoreLock::take(&store).is_ok());
    }

    #[test]
    fn the_lock_of_an_older_release_is_respected_and_taken() {
        let (_folder, store) = store();
        fs::write(&store, "").expect("ours");
        fs::write(beside(&store), "12345\n").expect("ours");
        let older = File::options().read(true).write(true).open(beside(&store)).expect("there");
        older.try_lock().expect("free");
        assert!(matches!(refusal(&store), LedgerError::InUse { owner, .. } if owner == "12345"));
        drop(older);
        let lock = StoreLock::take(&store).expect("free");
        let older = File::options().read(true).write(true).open(beside(&store)).expect("there");
        assert!(matches!(older.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
    }

    #[test]
    fn a_store_that_was_just_made_is_locked_from_then_on() {
        let (_folder, store) = store();
        let mut lock = StoreLock::take(&store).expect("free");
        fs::write(&store, "").expect("ours");
        lock.take_store(&store).expect("free");
        fs::remove_file(beside(&store)).expect("there");
        assert!(matches!(refusal(&store), LedgerError::InUse { .. }));
    }
}
