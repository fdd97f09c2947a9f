//! Changes from outside to the files of an open store.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use countersign::shell::ledger::Upkeep;

/// Looks as thorough as they can be.
const ALWAYS: Upkeep = Upkeep {
    reopening: Duration::from_secs(60),
    patience: Duration::from_secs(60),
    glance: Duration::ZERO,
    whole: None,
};

struct Stage {
    path: PathBuf,
    anchor: MemoryAnchor,
    ledger: SealedLedger,
    folder: tempfile::TempDir,
}

impl Stage {
    fn kept_by(upkeep: Upkeep) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, anchor) = (folder.path().join("store.db"), MemoryAnchor::default());
        begin(&path, &anchor);
        let ledger = open(&path, &anchor).expect("it opens").kept_by(upkeep);
        for number in 0..PLACES {
            ledger.commit(&batch(vec![put(place(number), None, 1)], 1)).expect("nothing fails yet");
        }
        assert_eq!(ledger.standing(), LedgerStanding::Open);
        Stage { path, anchor, ledger, folder }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("store.db{suffix}"))
    }

    /// The next commit is refused, nothing of it is anchored, and the advice names the files to save.
    fn refuses(&self, what: &str) {
        let anchors = self.anchor.state().past.clone();
        let Err(LedgerError::Closed(reason)) = self.ledger.commit(&batch(vec![], 9)) else {
            panic!("{what}: answered")
        };
        assert!(reason.contains("countersign state rescue"), "{what}: {reason}");
        assert_eq!(self.anchor.state().past, anchors, "{what}: anchored");
        assert_eq!(self.ledger.standing(), LedgerStanding::Lost, "{what}");
    }
}

type Deed = fn(&Stage);

/// The changes to the files.
const DEEDS: [(&str, Deed); 6] = [
    ("removed", |stage| fs::remove_file(&stage.path).expect("ours")),
    ("moved away", |stage| fs::rename(&stage.path, stage.beside(".old")).expect("ours")),
    ("replaced by a copy of its own", |stage| {
        fs::copy(&stage.path, stage.beside(".copy")).expect("ours");
        fs::rename(stage.beside(".copy"), &stage.path).expect("ours");
    }),
    ("replaced by a folder", |stage| {
        fs::remove_file(&stage.path).expect("ours");
        fs::create_dir(&stage.path).expect("ours");
    }),
    ("without its journal", |stage| fs::remove_file(stage.beside("-wal")).expect("ours")),
    ("cut to nothing", |stage| {
        fs::OpenOptions::new().write(true).truncate(true).open(&stage.path).map(drop).expect("ours");
        fs::OpenOptions::new().write(true).truncate(true).open(stage.beside("-wal")).map(drop).expect("ours");
    }),
];

#[test]
fn nothing_is_answered_once_the_store_is_not_at_its_place() {
    for (what, deed) in DEEDS {
        let stage = Stage::kept_by(Upkeep::default());
        deed(&stage);
        stage.refuses(what);
    }
}

#[test]
fn a_store_that_is_not_at_its_place_is_noticed_without_any_commit() {
    for (what, deed) in DEEDS {
        let stage = Stage::kept_by(Upkeep::default());
        deed(&stage);
        assert_eq!(stage.ledger.standing(), LedgerStanding::Lost, "{what}");
        stage.refuses(what);
    }
}

/// Writes garbage over each page of a file, in place, and leaves its inode and size.
fn garble(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).expect("ours");
    let len = file.metadata().expect("ours").len();
    file.write_all_at(&vec![0x5a; usize::try_from(len).expect("small")], 0).expect("ours");
}

#[test]
fn garbage_in_the_place_of_the_store_is_noticed_by_the_next_look() {
    let stage = Stage::kept_by(ALWAYS);
    garble(&stage.path);
    garble(&stage.beside("-wal"));
    assert_eq!(stage.ledger.standing(), LedgerStanding::Lost);
    stage.refuses("garbage");
}

#[test]
fn a_record_that_is_garbled_where_nobody_reads_is_noticed_by_the_look_at_everything() {
    let upkeep = Upkeep { whole: Some(Duration::ZERO), ..ALWAYS };
    let stage = Stage::kept_by(ALWAYS);
    let Stage { path, anchor, ledger, folder: _folder } = stage;
    drop(ledger);
    let ledger = open(&path, &anchor).expect("it opens").kept_by(upkeep);
    let stranger = rusqlite::Connection::open(&path).expect("it opens");
    stranger
        .execute("UPDATE record SET sealed = zeroblob(40) WHERE kind = ?1", [Kind::Nobody as u8])
        .expect("writes");
    let begun = std::time::Instant::now();
    // A thread of its own does this. The test waits for it, however long it takes.
    while ledger.standing() == LedgerStanding::Open {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never noticed");
        std::thread::yield_now();
    }
    assert_eq!(ledger.standing(), LedgerStanding::Lost);
}

#[test]
fn by_default_no_thread_checks_the_whole_store() {
    assert_eq!(Upkeep::default().whole, None);
}

/// Complete looks run one after the other, beside commits, and find nothing.
#[test]
fn a_sound_store_is_never_reported_as_damaged() {
    let stage = Stage::kept_by(Upkeep { whole: Some(Duration::ZERO), ..ALWAYS });
    for mark in 2..300 {
        let (version, _) = marked(&stage.ledger, &place(0));
        stage.ledger.commit(&batch(vec![put(place(0), Some(version), mark)], mark)).expect("it is sound");
        assert_eq!(stage.ledger.standing(), LedgerStanding::Open);
    }
}

#[test]
fn a_store_made_smaller_with_all_its_content_is_not_damaged() {
    let stage = Stage::kept_by(Upkeep::default());
    let stranger = rusqlite::Connection::open(&stage.path).expect("it opens");
    let checkpoint = |stranger: &rusqlite::Connection| {
        stranger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).expect("nobody writes");
    };
    checkpoint(&stranger);
    stage.ledger.commit(&batch(vec![], 2)).expect("it is sound");
    checkpoint(&stranger);
    stranger.execute_batch("VACUUM").expect("nobody writes");
    checkpoint(&stranger);
    stage.ledger.commit(&batch(vec![], 2)).expect("it is sound");
    assert_eq!(stage.ledger.standing(), LedgerStanding::Open);
}
