//! The schema of the store: the required content of `sqlite_schema`, word for word, and nothing else.
//!
//! Records and links are sealed, but the file decides what SQLite does with a statement: a trigger can drop
//! what a commit writes, and a view can replace a table. So the schema is compared, not trusted. Rule
//! `schema`.

use std::collections::BTreeMap;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode};

use crate::kernel::anchor::StateError;

/// The tables. There are no other objects, and none of the tables has an index of its own.
const TABLES: [(&str, &str); 3] = [
    ("header", "CREATE TABLE header (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"),
    (
        "record",
        "CREATE TABLE record ( kind INTEGER NOT NULL, id BLOB NOT NULL, version INTEGER NOT NULL, \
         sealed BLOB NOT NULL, PRIMARY KEY (kind, id) ) WITHOUT ROWID",
    ),
    ("link", "CREATE TABLE link (sequence INTEGER PRIMARY KEY, sealed BLOB NOT NULL)"),
];

/// Takes away the file's influence on SQLite, before anything of it is read.
pub(super) fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        // A name in double quotes that is no column becomes an error instead of a string.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    ] {
        connection.set_db_config(setting, on)?;
    }
    // A row of a corrupt file must not be read as another one.
    connection.pragma_update(None, "cell_size_check", true)
}

/// Makes the tables.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    TABLES.iter().try_for_each(|(_, sql)| connection.execute_batch(sql))
}

/// The reason why a store's schema is refused.
pub(super) enum Refusal {
    /// The file's schema is not the one that we wrote.
    State(StateError),
    /// It could not be read.
    Sqlite(Error),
}

/// Compares the file's schema with ours.
pub(super) fn check(connection: &Connection) -> Result<(), Refusal> {
    let found = read(connection).map_err(|error| match error.sqlite_error_code() {
        // SQLite itself found it inconsistent.
        Some(ErrorCode::DatabaseCorrupt) => changed(error.to_string()),
        _ => Refusal::Sqlite(error),
    })?;
    let mut missing: BTreeMap<&str, &str> = TABLES.into_iter().collect();
    for Object { kind, name, table, sql } in found {
        let ours = (kind == "table" && name == table).then(|| missing.remove(&*name)).flatten();
        match ours {
            Some(ours) if sql.as_deref().is_some_and(|sql| same_words(sql, ours)) => {}
            Some(_) => return Err(changed(format!("its table {name:?} is not as Countersign makes it"))),
            None => return Err(changed(format!("it has a {kind} {name:?} that Countersign did not make"))),
        }
    }
    match missing.into_keys().next() {
        None => Ok(()),
        Some(name) => Err(changed(format!("its table {name:?} is missing"))),
    }
}

/// A row of `sqlite_schema` (<https://www.sqlite.org/schematab.html>).
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

fn read(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut statement = connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let objects = statement.query_map([], |row| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, table: row.get(2)?, sql: row.get(3)? })
    })?;
    objects.collect()
}

/// SQLite keeps the text of a statement as it was written, and release 0.1 broke its lines elsewhere.
fn same_words(one: &str, other: &str) -> bool {
    one.split_ascii_whitespace().eq(other.split_ascii_whitespace())
}

fn changed(what: String) -> Refusal {
    Refusal::State(StateError::Schema(what))
}
