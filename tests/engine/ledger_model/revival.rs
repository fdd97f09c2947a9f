//! The fate of a batch whose write failed.

use std::time::Duration;

use super::*;
use countersign::shell::ledger::Upkeep;

/// A ledger with a batch in it, which tries to recover for so long.
struct Stage {
    path: std::path::PathBuf,
    /// The site in memory, if it is one.
    site: MemorySite,
    anchor: MemoryAnchor,
    ledger: SealedLedger,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn reopening_for(reopening: Duration) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        Stage::at(&sqlite(&path), reopening, (path.clone(), MemorySite::default(), folder))
    }

    fn in_memory() -> Stage {
        let (folder, site) = (tempfile::tempdir().expect("a folder"), MemorySite::default());
        Stage::at(&site.clone(), Duration::from_secs(60), (folder.path().into(), site, folder))
    }

    fn at(
        at: &dyn Site,
        reopening: Duration,
        (path, site, folder): (std::path::PathBuf, MemorySite, tempfile::TempDir),
    ) -> Stage {
        let anchor = MemoryAnchor::default();
        begin_at(at, &anchor);
        let upkeep = Upkeep { reopening, ..Upkeep::default() };
        let ledger = open_at(at, &anchor).expect("it opens").kept_by(upkeep);
        ledger.commit(&batch(vec![put(place(0), None, 1)], 1)).expect("nothing fails yet");
        Stage { path, site, anchor, ledger, _folder: folder }
    }

    /// Tries longer than anything here takes.
    fn patient() -> Stage {
        Stage::reopening_for(Duration::from_secs(60))
    }

    fn anchor(&self) -> std::sync::MutexGuard<'_, Anchorage> {
        self.anchor.state()
    }

    fn fail(&self, faults: &[Fault]) {
        self.anchor().faults.extend(faults);
    }

    /// Writes the next mark over the present one.
    fn write(&self, mark: u64) -> Result<(), LedgerError> {
        let (version, _) = marked(&self.ledger, &place(0));
        self.ledger.commit(&batch(vec![put(place(0), Some(version), mark)], mark)).map(drop)
    }

    /// Closes and opens the ledger, and returns its content.
    fn reopened_mark(self) -> Result<u64, LedgerError> {
        let Stage { path, anchor, ledger, _folder, site: _ } = self;
        drop(ledger);
        anchor.state().faults.clear();
        open(&path, &anchor).map(|ledger| marked(&ledger, &place(0)).1)
    }
}

#[test]
fn a_step_of_the_anchor_that_failed_in_any_way_is_done_in_the_end_and_its_caller_gets_the_true_answer() {
    for fault in [Fault::Before, Fault::Between, Fault::After, Fault::Torn] {
        for times in [1, 3] {
            let stage = Stage::patient();
            stage.fail(&vec![fault; times]);
            assert_eq!(stage.write(2), Ok(()), "{fault:?}");
            assert_eq!(stage.ledger.standing(), LedgerStanding::Open);
            assert_eq!(stage.anchor().reopened, times as u32, "{fault:?}");
            assert_eq!(stage.anchor().now.len(), 1, "{fault:?}: the step is finished");
            assert_eq!(stage.write(3), Ok(()), "{fault:?}");
            assert_eq!(stage.reopened_mark(), Ok(3), "{fault:?}");
        }
    }
}

#[test]
fn callers_wait_while_the_token_is_away_and_their_batches_follow() {
    const CALLERS: usize = 20;
    let stage = Stage::patient();
    stage.fail(&[Fault::Before]);
    stage.anchor().away = 3;
    let barrier = Barrier::new(CALLERS);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (ledger, barrier) = (&stage.ledger, &barrier);
            scope.spawn(move || {
                let place = RecordKey { kind: Kind::Wallet, id: [caller as u8 + 100; 16] };
                barrier.wait();
                ledger.commit(&batch(vec![put(place, None, 7)], 7)).expect("it waited");
            });
        }
    });
    assert_eq!(stage.anchor().reopened, 4);
    assert_eq!(stage.ledger.places(Kind::Wallet).expect("it is open").len(), CALLERS);
    assert_eq!(stage.reopened_mark(), Ok(1));
}

#[test]
fn a_token_that_stays_away_closes_the_ledger_in_the_end_and_opening_again_finds_the_batch() {
    for reopening in [Duration::ZERO, Duration::from_millis(80)] {
        let stage = Stage::reopening_for(reopening);
        stage.fail(&[Fault::Before]);
        stage.anchor().away = u32::MAX;
        assert!(matches!(stage.write(2), Err(LedgerError::Closed(_))), "{reopening:?}: it gives up");
        assert_eq!(stage.ledger.standing(), LedgerStanding::Closed, "{reopening:?}");
        assert_eq!(stage.anchor().reopened > 0, !reopening.is_zero(), "{reopening:?}");
        stage.anchor().away = 0;
        let later = stage.ledger.commit(&batch(vec![], 1)).map(drop);
        assert!(matches!(later, Err(LedgerError::Closed(_))), "{reopening:?}: it stays closed");
        assert_eq!(
            stage.ledger.standing(),
            LedgerStanding::Closed,
            "it is well again, and nobody looks any more"
        );
        // The batch was synced, and nobody was answered: it is rolled forward.
        assert_eq!(stage.reopened_mark(), Ok(2));
    }
}

#[test]
fn an_anchor_step_that_hangs_is_reported_until_it_ends() {
    for (patience, expected) in
        [(Duration::ZERO, LedgerStanding::Stuck), (Duration::from_secs(3_600), LedgerStanding::Open)]
    {
        let Stage { ledger, anchor, path: _, site: _, _folder } = Stage::patient();
        let ledger = ledger.kept_by(Upkeep { patience, ..Upkeep::default() });
        assert_eq!(ledger.standing(), LedgerStanding::Open, "nobody writes");
        let ((begins, begun), (ends, ended)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        anchor.state().meanwhile = Some(Box::new(move || {
            begins.send(()).expect("it is waited for");
            ended.recv().expect("it is told");
        }));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| ledger.commit(&batch(vec![], 2)).map(drop));
            begun.recv().expect("it begins");
            let standing = ledger.standing();
            ends.send(()).expect("it waits");
            assert_eq!(writer.join().expect("no panic"), Ok(()));
            assert_eq!(standing, expected);
        });
        assert_eq!(ledger.standing(), LedgerStanding::Open, "it came back");
    }
}

#[test]
fn a_pin_that_is_refused_is_not_tried_again() {
    let stage = Stage::patient();
    stage.fail(&[Fault::Before]);
    stage.anchor().refuses = true;
    let Err(LedgerError::Closed(reason)) = stage.write(2) else { panic!("it went on") };
    assert!(reason.contains("the PIN is wrong"), "{reason}");
    assert_eq!(stage.ledger.standing(), LedgerStanding::Refused);
    assert_eq!(stage.anchor().reopened, 1);
}

#[test]
fn state_rollback_a_token_that_has_another_anchor_after_a_failure_closes_the_ledger() {
    for (fault, reopening) in [(Fault::PutBack, 60_000), (Fault::Emptied, 80)] {
        let stage = Stage::reopening_for(Duration::from_millis(reopening));
        stage.fail(&[fault]);
        let now = |stage: &Stage| stage.anchor().now.clone();
        assert!(matches!(stage.write(2), Err(LedgerError::Closed(_))), "{fault:?}");
        assert_eq!(stage.ledger.standing(), LedgerStanding::Closed);
        let found = now(&stage);
        if fault == Fault::PutBack {
            assert_eq!(stage.anchor().reopened, 1, "it is looked at once");
        }
        assert_eq!(now(&stage), found, "{fault:?}: nothing is anchored over it");
        let refused = stage.reopened_mark();
        assert!(matches!(refused, Err(LedgerError::State(_))), "{fault:?}: {refused:?}");
    }
}

/// As SoftHSM2 does where its process can open no file.
#[test]
fn a_token_that_lists_no_anchor_for_a_moment_is_asked_again() {
    let stage = Stage::patient();
    stage.fail(&[Fault::Before]);
    stage.anchor().unseen = 2;
    assert_eq!(stage.write(2), Ok(()));
    assert_eq!((stage.anchor().reopened, stage.ledger.standing()), (3, LedgerStanding::Open));
    assert_eq!(stage.reopened_mark(), Ok(2));
}

/// A write that the store refuses, because somebody else wrote a link there.
#[test]
fn state_fork_a_store_that_somebody_else_wrote_is_not_continued_after_a_failure() {
    let stage = Stage::patient();
    let stranger = rusqlite::Connection::open(&stage.path).expect("it opens");
    stranger.execute("INSERT INTO link VALUES (2, x'00')", ()).expect("nobody writes");
    let (before, anchors) = (Row::of(&stage.path, &place(0)), stage.anchor().past.clone());
    assert!(matches!(stage.write(2), Err(LedgerError::Closed(_))));
    assert_eq!(stage.ledger.standing(), LedgerStanding::Closed);
    let after = Row::of(&stage.path, &place(0));
    assert_eq!((before.0, before.1), (after.0, after.1), "nothing was written over it");
    assert_eq!(stage.anchor().past, anchors, "nothing was anchored");
}

#[test]
fn a_commit_of_the_store_that_failed_in_any_way_is_done_once_and_its_caller_gets_the_true_answer() {
    for fault in [StoreFault::Before, StoreFault::After] {
        for (times, away) in [(1, 0), (3, 0), (1, 2)] {
            let stage = Stage::in_memory();
            {
                let mut kept = stage.site.kept();
                (kept.faults, kept.away) = (vec![fault; times].into(), away);
            }
            assert_eq!(stage.write(2), Ok(()), "{fault:?}");
            assert_eq!(stage.ledger.standing(), LedgerStanding::Open);
            // A batch that was written, and whose answer was lost, is found at the first try, and not written
            // again.
            let faults = if fault == StoreFault::After { 1 } else { times };
            assert_eq!(stage.site.kept().reopened, away + faults as u32, "{fault:?}");
            stage.site.kept().faults.clear();
            assert_eq!(stage.write(3), Ok(()), "{fault:?}");
            assert_eq!(stage.site.kept().links.len(), 4, "{fault:?}: each has one link");
        }
    }
}

#[test]
fn state_fork_a_store_that_another_engine_wrote_is_not_continued() {
    let stage = Stage::in_memory();
    stage.site.kept().faults.push_back(StoreFault::Stranger);
    let anchors = stage.anchor().past.clone();
    let Err(LedgerError::Closed(reason)) = stage.write(2) else { panic!("it went on") };
    assert!(reason.contains("somebody else writes it"), "{reason}");
    assert_eq!(stage.anchor().past, anchors, "nothing was anchored");
}

#[test]
fn a_store_that_another_one_has_displaced_is_never_written_again() {
    let stage = Stage::in_memory();
    stage.site.kept().displaced = true;
    let anchors = stage.anchor().past.clone();
    assert!(matches!(stage.write(2), Err(LedgerError::Closed(_))));
    assert_eq!(stage.ledger.standing(), LedgerStanding::Lost);
    assert_eq!(stage.anchor().past, anchors, "nothing was anchored");
}
