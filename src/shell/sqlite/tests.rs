use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rusqlite::config::DbConfig;

use super::*;
use crate::paths::with_suffix;

struct Store {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Store {
    fn new() -> Store {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let header = Header { store: [1; 16], wrapped_key: vec![2; 60] };
        Sqlite::create(&path, &header).expect("new").close().expect("written");
        Store { _folder: folder, path }
    }

    /// Changes the file as somebody with the disk could.
    fn change(&self, sql: &str) {
        let connection = Connection::open(&self.path).expect("it opens for anybody");
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.path).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn pages(sequence: u64) -> Pages {
    let place = RecordKey { kind: Kind::User, id: [3; 16] };
    let row = Row { version: sequence, sealed: vec![4; 40] };
    let after = (sequence > 1).then(|| sequence - 1);
    Pages { after, rows: BTreeMap::from([(place, Some(row))]), links: vec![(sequence, vec![5; 40])] }
}

fn removal(after: Option<u64>) -> Pages {
    let place = RecordKey { kind: Kind::User, id: [3; 16] };
    Pages { after, rows: BTreeMap::from([(place, None)]), links: vec![] }
}

fn is_schema<T>(answer: &Result<T, LedgerError>) -> bool {
    matches!(answer, Err(LedgerError::State(StateError::Schema(_))))
}

const IGNORE: &str = "CREATE TRIGGER quiet BEFORE INSERT ON link BEGIN SELECT RAISE(IGNORE); END";

#[test]
fn schema_a_store_with_anything_but_our_tables_does_not_open() {
    for (sql, word) in [
        (IGNORE, "trigger \"quiet\""),
        ("CREATE TRIGGER t AFTER INSERT ON link BEGIN DELETE FROM record; END", "trigger \"t\""),
        ("CREATE VIEW v AS SELECT * FROM record", "view \"v\""),
        ("CREATE TABLE other (x)", "table \"other\""),
        ("CREATE TABLE other (x UNIQUE)", "table \"other\""),
        ("CREATE INDEX i ON record (version)", "index \"i\""),
        ("INSERT INTO record VALUES (2, x'00', 1, x'00'); ANALYZE", "table \"sqlite_stat1\""),
        ("DROP TABLE link", "table \"link\" is missing"),
        ("DROP TABLE link; CREATE VIEW link AS SELECT 1 AS sequence, x'' AS sealed", "view \"link\""),
        ("ALTER TABLE link ADD COLUMN more", "table \"link\" is not as"),
        (
            "DROP TABLE link; CREATE TABLE link (sequence INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT",
            "table \"link\" is not as",
        ),
        (
            "DROP TABLE link; \
             CREATE TABLE link (sequence INTEGER PRIMARY KEY ON CONFLICT IGNORE, sealed BLOB NOT NULL)",
            "table \"link\" is not as",
        ),
        (
            "PRAGMA writable_schema = on; INSERT INTO sqlite_schema VALUES ('trigger', 't', 'link', 0, 'nonsense')",
            "malformed",
        ),
    ] {
        let store = Store::new();
        store.change(sql);
        let (opened, read) = (Sqlite::open(&store.path), Sqlite::read_only(&store.path));
        assert!(is_schema(&opened) && is_schema(&read), "{sql}");
        let said = opened.err().expect("refused").to_string();
        assert!(said.contains(word) && said.ends_with("(schema)"), "{sql}: {said}");
    }
}

#[test]
fn schema_a_store_that_another_tool_rewrote_opens() {
    for sql in ["VACUUM", "PRAGMA journal_mode = DELETE", "REINDEX"] {
        let store = Store::new();
        store.change(sql);
        let sqlite = store.open();
        sqlite.commit(&pages(1)).expect("written");
        let journal: String =
            sqlite.run(|open| open.query_row("PRAGMA journal_mode", [], |row| row.get(0))).expect("read");
        assert_eq!(journal, "wal", "{sql}");
    }
}

#[test]
fn schema_neither_a_trigger_nor_a_view_of_the_file_ever_runs() {
    let store = Store::new();
    let sqlite = store.open();
    // While the store is open, and without its knowledge.
    store.change(IGNORE);
    store.change("CREATE VIEW v AS SELECT sequence FROM link");
    sqlite.commit(&pages(1)).expect("written");
    let links = sqlite.run(|open| open.query_row("SELECT count(*) FROM link", [], |row| row.get(0)));
    assert_eq!(links, Ok(1_i64), "the trigger did not drop it");
    assert!(sqlite.run(|open| open.query_row("SELECT * FROM v", [], |_| Ok(()))).is_err());
    assert!(sqlite.run(|open| open.execute("DELETE FROM sqlite_schema", [])).is_err(), "defensive");
}

#[test]
fn schema_a_commit_that_changes_other_rows_is_none() {
    for (sql, pages) in [
        (IGNORE, pages(2)),
        ("CREATE TRIGGER t BEFORE INSERT ON record BEGIN SELECT RAISE(IGNORE); END", pages(2)),
        ("CREATE TRIGGER t BEFORE DELETE ON record BEGIN SELECT RAISE(IGNORE); END", removal(Some(1))),
        ("CREATE TRIGGER t AFTER INSERT ON link BEGIN DELETE FROM link WHERE sequence = 1; END", pages(2)),
        ("CREATE TRIGGER t AFTER INSERT ON link BEGIN DELETE FROM record; END", pages(2)),
    ] {
        let store = Store::new();
        let sqlite = store.open();
        sqlite.commit(&self::pages(1)).expect("written");
        store.change(sql);
        // As if SQLite ran them.
        sqlite.run(|open| open.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)).expect("set");
        assert!(is_schema(&sqlite.commit(&pages)), "{sql}");
        let rows = sqlite.run(|open| {
            open.query_row("SELECT max(sequence) + count(*) FROM link, record", [], |row| row.get(0))
        });
        assert_eq!(rows, Ok(2_i64), "{sql}: it was taken back");
    }
}

/// A version that does not know a kind of record cannot obey it: a freeze, say.
#[test]
fn a_record_of_a_kind_that_only_a_newer_version_knows_keeps_the_store_closed() {
    let read = |kind: u8| {
        let store = Store::new();
        store.change(&format!("INSERT INTO record VALUES ({kind}, zeroblob(16), 1, x'00')"));
        store.open().rows(&mut |_, _| Ok(()))
    };
    assert!(read(Kind::Freeze as u8).is_ok());
    let unknown = (1..).find(|kind| Kind::from_u8(*kind).is_none()).expect("there are not so many kinds");
    assert!(matches!(read(unknown), Err(LedgerError::State(StateError::Sealed(_)))));
}

#[test]
fn a_commit_writes_and_removes_records_that_exist_or_not() {
    let store = Store::new();
    let sqlite = store.open();
    for commit in [removal(None), pages(1), pages(2), removal(Some(2)), removal(Some(2))] {
        sqlite.commit(&commit).expect("written");
    }
}

#[test]
fn state_fork_a_commit_that_follows_another_link_than_the_newest_is_none() {
    let store = Store::new();
    let sqlite = store.open();
    sqlite.commit(&pages(1)).expect("written");
    for other in [pages(1), pages(3), removal(None), removal(Some(2))] {
        let moved = sqlite.commit(&other);
        assert!(matches!(moved, Err(LedgerError::Moved { found: Some(1), .. })), "{moved:?}");
    }
    let row = sqlite.row(&RecordKey { kind: Kind::User, id: [3; 16] }).expect("readable").expect("there");
    assert_eq!(row.version, 1, "nothing of them was written");
    sqlite.commit(&pages(2)).expect("the newest is as it was");
}

#[test]
fn a_journal_made_while_the_store_was_read_only_is_mended() {
    let store = Store::new();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for suffix in ["-wal", "-shm"] {
        let beside = with_suffix(&store.path, suffix);
        // With content, because SQLite itself gives an empty one the store's mode.
        fs::write(&beside, [0; 32 * 1024]).expect("ours");
        fs::set_permissions(&beside, Permissions::from_mode(0o400)).expect("ours");
    }
    let sqlite = store.open();
    for suffix in ["-wal", "-shm"] {
        assert_eq!(mode(&with_suffix(&store.path, suffix)), 0o600, "{suffix}");
    }
    sqlite.commit(&pages(1)).expect("written");
}

#[test]
fn a_journal_that_is_no_file_is_named() {
    for suffix in ["-wal", "-shm"] {
        let store = Store::new();
        fs::create_dir(with_suffix(&store.path, suffix)).expect("ours");
        let said = Sqlite::open(&store.path).err().expect("refused").to_string();
        assert!(said.contains(&format!("store.db{suffix} is not a regular file")), "{said}");
    }
}
