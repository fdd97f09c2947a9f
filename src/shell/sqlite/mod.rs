//! The store's file: SQLite in WAL mode, with every commit synced. It holds sealed rows and does not know
//! their content.
//!
//! The file decides nothing: its schema must be ours (rule `schema`), and a commit that wrote other rows than
//! intended is rolled back.

mod files;
mod place;
mod schema;
mod store;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi, params,
};

use crate::kernel::anchor::StateError;
use crate::kernel::seal::{Kind, RecordKey};
use crate::ports::{Header, LedgerError, Pages, Row, View, VisitLink, VisitRow};

pub use store::{SqliteSite, take_lock};

/// The format that this version writes. It reads all formats from [`OLDEST_FORMAT`] on. The second format has
/// links that share a batch, and more kinds of records.
const FORMAT: i64 = 2;
const OLDEST_FORMAT: i64 = 1;

/// An open SQLite file.
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Creates the file, readable by its owner alone, with `header`.
    pub fn create(path: &Path, header: &Header) -> Result<Sqlite, LedgerError> {
        // SQLite gives its journals the file's mode, so the file is made first.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
            LedgerError::Io {
                store: path.display().to_string(),
                problem: format!("cannot be created: {error}"),
            }
        })?;
        let sqlite = Sqlite::connect(path)?;
        sqlite.prepare()?;
        sqlite.run(|connection| {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            schema::create(connection)?;
            let mut insert = connection.prepare("INSERT INTO header VALUES (?1, ?2)")?;
            insert.execute(params!["store", &header.store[..]])?;
            insert.execute(params!["wrapped-key", &header.wrapped_key])?;
            connection.pragma_update(None, "user_version", FORMAT)?;
            connection.execute_batch("COMMIT")
        })?;
        Ok(sqlite)
    }

    /// Opens the file, which must exist.
    pub fn open(path: &Path) -> Result<Sqlite, LedgerError> {
        files::make_writable(path)
            .map_err(|problem| LedgerError::Io { store: path.display().to_string(), problem })?;
        let sqlite = Sqlite::connect(path)?;
        sqlite.check_format()?;
        sqlite.check_schema()?;
        sqlite.prepare()?;
        // A store that cannot be written is useless. Opening reports that, and not the first signature.
        sqlite.run(|connection| {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; PRAGMA user_version = {FORMAT}; COMMIT"))
        })?;
        Ok(sqlite)
    }

    /// Makes everything that was written reach the disk.
    pub fn sync(&self) -> Result<(), LedgerError> {
        self.run(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Opens the file, which must exist, for reading, even while an engine writes it.
    pub fn read_only(path: &Path) -> Result<Sqlite, LedgerError> {
        let sqlite = Sqlite::connect(path)?;
        sqlite.check_format()?;
        sqlite.check_schema()?;
        sqlite.run(|connection| connection.pragma_update(None, "query_only", true))?;
        Ok(sqlite)
    }

    /// Writes rows and links, all or nothing, if the newest link is the expected one. The commit is synced
    /// when this returns.
    pub fn commit(&self, pages: &Pages) -> Result<(), LedgerError> {
        let io = |error: rusqlite::Error| self.io(error.to_string());
        let before = self.connection.total_changes();
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(io)?;
        let newest: Option<i64> = self.run(|connection| {
            let mut newest = connection.prepare_cached("SELECT max(sequence) FROM link")?;
            newest.query_row([], |row| row.get(0))
        })?;
        let newest = newest.map(i64::cast_unsigned);
        if newest != pages.after {
            let store = self.path.display().to_string();
            return Err(LedgerError::Moved { store, expected: pages.after, found: newest });
        }
        let meant = self.run(|connection| write(connection, pages))?;
        let written = self.connection.total_changes() - before;
        if written != meant {
            let problem = format!("a commit of {meant} rows changed {written}");
            return Err(StateError::Schema(problem).into());
        }
        transaction.commit().map_err(io)
    }

    /// Closes the file, with nothing left in its journal.
    pub fn close(self) -> Result<(), LedgerError> {
        let path = self.path.display().to_string();
        self.connection
            .close()
            .map_err(|(_, error)| LedgerError::Io { store: path, problem: error.to_string() })
    }

    fn check_format(&self) -> Result<(), LedgerError> {
        let found: i64 =
            self.read(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))?;
        if found > FORMAT {
            let store = self.path.display().to_string();
            return Err(LedgerError::NewerFormat { store, found, known: FORMAT });
        }
        if found < OLDEST_FORMAT {
            let problem = format!("{} is not a Countersign store: it has no format", self.path.display());
            return Err(StateError::Schema(problem).into());
        }
        Ok(())
    }

    /// Rule `schema`.
    fn check_schema(&self) -> Result<(), LedgerError> {
        schema::check(&self.connection).map_err(|refusal| match refusal {
            schema::Refusal::State(error) => error.into(),
            schema::Refusal::Sqlite(error) => self.unreadable(&error),
        })
    }

    fn connect(path: &Path) -> Result<Sqlite, LedgerError> {
        let io = |error: rusqlite::Error| LedgerError::Io {
            store: path.display().to_string(),
            problem: error.to_string(),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(io)?;
        schema::distrust(&connection).map_err(io)?;
        Ok(Sqlite { connection, path: path.into() })
    }

    /// Sets the mode that every commit relies on: synced before it returns.
    fn prepare(&self) -> Result<(), LedgerError> {
        let journal: String = self.run(|connection| {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        })?;
        if journal != "wal" {
            return Err(self.io(format!(
                "its journal is {journal:?} and cannot be made \"wal\": keep it on a local disk"
            )));
        }
        Ok(())
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        work(&self.connection).map_err(|error| self.io(error.to_string()))
    }

    /// Reads. A damaged file is a state that cannot be trusted; a read that fails at the moment is not.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        work(&self.connection).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &rusqlite::Error) -> LedgerError {
        if is_passing(error) {
            self.io(error.to_string())
        } else {
            let file = self.path.display();
            StateError::Sealed(format!("the store's file {file} is damaged: {error}")).into()
        }
    }

    fn io(&self, problem: String) -> LedgerError {
        LedgerError::Io { store: self.path.display().to_string(), problem }
    }
}

impl View for Sqlite {
    fn header(&self) -> Result<Header, LedgerError> {
        let value = |name: &str| -> Result<Vec<u8>, LedgerError> {
            self.read(|connection| {
                connection.query_row("SELECT value FROM header WHERE name = ?1", [name], |row| row.get(0))
            })
        };
        let unnamed = |_| StateError::Sealed("the store's header names no store".into());
        let store = value("store")?.try_into().map_err(unnamed)?;
        Ok(Header { store, wrapped_key: value("wrapped-key")? })
    }

    fn row(&self, place: &RecordKey) -> Result<Option<Row>, LedgerError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT version, sealed FROM record WHERE kind = ?1 AND id = ?2")?
                .query_row(params![place.kind as u8, &place.id[..]], |row| {
                    Ok(Row { version: row.get::<_, i64>(0)?.cast_unsigned(), sealed: row.get(1)? })
                })
                .optional()
        })
    }

    fn count(&self) -> Result<usize, LedgerError> {
        let count: i64 = self
            .read(|connection| connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0)))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn rows(&self, visit: &mut VisitRow<'_>) -> Result<(), LedgerError> {
        let unreadable = |error: rusqlite::Error| self.unreadable(&error);
        let mut statement =
            self.connection.prepare("SELECT kind, id, version, sealed FROM record").map_err(unreadable)?;
        let mut rows = statement.query([]).map_err(unreadable)?;
        while let Some(row) = rows.next().map_err(unreadable)? {
            let strange = || StateError::Sealed("a row is not of the store's form".into());
            let kind = row.get::<_, u8>(0).ok().and_then(Kind::from_u8).ok_or_else(strange)?;
            let id = row.get::<_, Vec<u8>>(1).ok().and_then(|id| id.try_into().ok()).ok_or_else(strange)?;
            let version = row.get::<_, i64>(2).map_err(unreadable)?.cast_unsigned();
            let sealed = row.get(3).map_err(unreadable)?;
            visit(RecordKey { kind, id }, Row { version, sealed })?;
        }
        Ok(())
    }

    fn follow(&self, since: u64, visit: &mut VisitLink<'_>) -> Result<(), LedgerError> {
        let unreadable = |error: rusqlite::Error| self.unreadable(&error);
        let select = "SELECT sequence, sealed FROM link WHERE sequence >= ?1 ORDER BY sequence";
        let mut statement = self.connection.prepare(select).map_err(unreadable)?;
        let mut rows = statement.query([since.cast_signed()]).map_err(unreadable)?;
        while let Some(row) = rows.next().map_err(unreadable)? {
            let sequence = row.get::<_, i64>(0).map_err(unreadable)?.cast_unsigned();
            visit(sequence, row.get(1).map_err(unreadable)?)?;
        }
        Ok(())
    }

    fn hold_still(&self) -> Result<(), LedgerError> {
        // A transaction sees the file as it is at its first read.
        self.read(|connection| {
            connection.execute_batch("BEGIN")?;
            connection.query_row("SELECT count(*) FROM header", [], |_| Ok(()))
        })
    }
}

/// Writes rows and links, and returns how many rows that changes.
fn write(connection: &Connection, pages: &Pages) -> rusqlite::Result<u64> {
    let mut meant = 0;
    for (place, row) in &pages.rows {
        let at = params![place.kind as u8, &place.id[..]];
        match row {
            Some(row) => {
                connection.prepare_cached("INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4)")?.execute(
                    params![place.kind as u8, &place.id[..], row.version.cast_signed(), &row.sealed],
                )?;
                meant += 1;
            }
            None => {
                // A record that was put and removed within one batch was never there.
                let there = connection
                    .prepare_cached("SELECT count(*) FROM record WHERE kind = ?1 AND id = ?2")?
                    .query_row(at, |row| row.get::<_, i64>(0))?;
                meant += there.cast_unsigned();
                connection.prepare_cached("DELETE FROM record WHERE kind = ?1 AND id = ?2")?.execute(at)?;
            }
        }
    }
    for (sequence, sealed) in &pages.links {
        connection
            .prepare_cached("INSERT INTO link VALUES (?1, ?2)")?
            .execute(params![sequence.cast_signed(), sealed])?;
        meant += 1;
    }
    Ok(meant)
}

/// Whether the file may be sound in spite of this error: the system failed, or somebody else uses the file.
fn is_passing(error: &rusqlite::Error) -> bool {
    let is_cut =
        error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHORT_READ);
    let system = [
        ErrorCode::SystemIoFailure,
        ErrorCode::CannotOpen,
        ErrorCode::DiskFull,
        ErrorCode::OutOfMemory,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::FileLockingProtocolFailed,
        ErrorCode::OperationInterrupted,
        ErrorCode::PermissionDenied,
        ErrorCode::ReadOnly,
        ErrorCode::SchemaChanged,
    ];
    !is_cut && error.sqlite_error_code().is_some_and(|code| system.contains(&code))
}

#[cfg(test)]
mod tests;
