//! One engine owns a store. The lock says so, and who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ports::LedgerError;

/// The right to be the only engine of a store. Given back on drop, and by the system when the process ends, with the children
/// that it had forked.
pub struct StoreLock {
    file: File,
    /// Whose it is: a forked child has the same lock (flock(2)), and not the right to give it back.
    process: u32,
}

impl StoreLock {
    /// Takes the lock of `store`, or says who has it.
    pub fn take(store: &Path) -> Result<StoreLock, LedgerError> {
        let mut path = store.as_os_str().to_owned();
        path.push(".lock");
        let io = |error: std::io::Error| LedgerError::Io {
            store: store.display().to_string(),
            problem: format!("its lock {} cannot be taken: {error}", Path::new(&path).display()),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(io)?;
                file.seek(SeekFrom::Start(0)).map_err(io)?;
                writeln!(file, "{}", std::process::id()).map_err(io)?;
                Ok(StoreLock { file, process: std::process::id() })
            }
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who it is only helps to find it: not knowing changes nothing.
                let _ = file.take(32).read_to_string(&mut owner);
                let owner = owner.trim();
                Err(LedgerError::InUse {
                    store: store.display().to_string(),
                    owner: if owner.is_empty() { "unknown".into() } else { owner.into() },
                })
            }
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // Closing the file is not enough: a child that lives on has it open, too. What cannot be unlocked is closed.
            let _ = self.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("store.db");
        let lock = StoreLock::take(&store).expect("free");
        let error = StoreLock::take(&store).err().expect("taken");
        assert!(
            matches!(&error, LedgerError::InUse { owner, .. } if *owner == std::process::id().to_string())
        );
        drop(lock);
        assert!(StoreLock::take(&store).is_ok());
    }
}
