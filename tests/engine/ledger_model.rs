//! The sealed ledger over a real SQLite file and over a store in memory, compared with a model that is a map.
//!
//! The anchor is in memory, so that a test can choose its content at each opening. One of the choices is the
//! state after a crash between the writes of store and anchor.

mod looks;
mod revival;
mod vault;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

use countersign::kernel::anchor::StateError;
use countersign::kernel::audit::Event;
use countersign::kernel::receipt::{Batch, Content, Write};
use countersign::kernel::seal::{DataKey, Kind, RecordKey};
use countersign::ports::{Anchor, Header, Ledger, LedgerError, LedgerStanding, Site};
use countersign::shell::ledger::{self, SealedLedger};
use countersign::shell::random::SystemRandom;
use countersign::shell::sqlite::SqliteSite;
use harness::engine::fakes::{
    Anchorage, FailingRandom, Fault, MemoryAnchor, MemorySealer, MemorySite, StoreFault,
};
use proptest::prelude::*;
use zeroize::Zeroizing;

fn data_key() -> DataKey {
    DataKey::new([1; 16], Zeroizing::new([2; 32]))
}

fn batch(writes: Vec<Write>, time: u64) -> Batch {
    Batch::new(writes, Event::CodeAccepted("alice".into()), time)
}

/// Makes a store, and leaves it closed.
fn begin_at(site: &dyn Site, anchor: &MemoryAnchor) {
    let (pages, anchored) = ledger::begin(&data_key(), &SystemRandom, &batch(vec![], 0)).expect("begun");
    let header = Header { store: [1; 16], wrapped_key: vec![] };
    let mut claim = site.claim().expect("nothing is there");
    claim.make(&header, &pages, &mut || Ok(anchor.step(None, &anchored)?)).expect("made");
}

fn open_at(site: &dyn Site, anchor: &MemoryAnchor) -> Result<SealedLedger, LedgerError> {
    let store = site.open()?.expect("it was made");
    SealedLedger::open(store, data_key(), Arc::new(anchor.clone()), Arc::new(SystemRandom))
}

fn begin(path: &Path, anchor: &MemoryAnchor) {
    begin_at(&sqlite(path), anchor);
}

fn open(path: &Path, anchor: &MemoryAnchor) -> Result<SealedLedger, LedgerError> {
    open_at(&sqlite(path), anchor)
}

fn sqlite(path: &Path) -> SqliteSite {
    SqliteSite::new(path.into()).expect("the folder is there")
}

/// The sites of a ledger. It must keep its promises at each of them.
fn sites(folder: &Path) -> [Box<dyn Site>; 2] {
    [Box::new(sqlite(&folder.join("store.db"))), Box::new(MemorySite::default())]
}

/// The places: few, so that operations meet.
fn place(number: usize) -> RecordKey {
    let kinds = [Kind::User, Kind::User, Kind::User, Kind::Wallet, Kind::WalletState, Kind::Nobody];
    RecordKey { kind: kinds[number], id: [number as u8; 16] }
}
const PLACES: usize = 6;

/// The version that a write expects.
#[derive(Clone, Copy, Debug)]
enum Expects {
    /// The present one, or none.
    Right,
    /// None if there is one, or one if there is none.
    TheOpposite,
    /// A version that is off by so much.
    Off(i64),
}

#[derive(Clone, Copy, Debug)]
enum Anchored {
    /// The newest value.
    Newest,
    /// The newest and the one before it: killed before the old one was destroyed.
    Both,
    /// The one before the newest: killed before the new one was made.
    OneBehind,
    /// An older one than a crash can leave.
    Behind(usize),
}

#[derive(Clone, Debug)]
enum Step {
    /// A commit: places with the expected version and the new content or none.
    Commit(Vec<(usize, Expects, Option<Vec<u8>>)>, u64),
    Read(usize),
    Places(Kind),
    Reopen(Anchored),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expects = prop_oneof![
        12 => Just(Expects::Right),
        1 => Just(Expects::TheOpposite),
        1 => prop_oneof![-3..0_i64, 1..4_i64].prop_map(Expects::Off),
    ];
    let content =
        prop_oneof![3 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Some), 1 => Just(None)];
    // A batch has each place once, as the transitions make it.
    let writes = prop::collection::btree_map(0..PLACES, (expects, content), 0..4).prop_map(|writes| {
        writes.into_iter().map(|(place, (expects, content))| (place, expects, content)).collect::<Vec<_>>()
    });
    let anchored = prop_oneof![
        4 => Just(Anchored::Newest),
        2 => Just(Anchored::Both),
        2 => Just(Anchored::OneBehind),
        1 => (2..5_usize).prop_map(Anchored::Behind),
    ];
    let kind = prop::sample::select(vec![Kind::User, Kind::Wallet, Kind::WalletState, Kind::Token]);
    let step = prop_oneof![
        8 => (writes, 0..10_u64).prop_map(|(writes, later)| Step::Commit(writes, later)),
        4 => (0..PLACES).prop_map(Step::Read),
        1 => kind.prop_map(Step::Places),
        2 => anchored.prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the ledger must hold.
#[derive(Default)]
struct Model {
    records: HashMap<RecordKey, (u64, Vec<u8>)>,
    /// The newest version that a place ever had, removed or not.
    newest: HashMap<RecordKey, u64>,
    time: u64,
}

impl Model {
    fn expected(&self, place: &RecordKey, expects: Expects) -> Option<u64> {
        let version = self.records.get(place).map(|(version, _)| *version);
        match (expects, version) {
            (Expects::Right, _) => version,
            (Expects::TheOpposite, Some(_)) => None,
            (Expects::TheOpposite, None) => Some(self.newest.get(place).copied().unwrap_or(1)),
            (Expects::Off(by), Some(version)) => Some(version.wrapping_add_signed(by)),
            (Expects::Off(by), None) => Some(by.unsigned_abs()),
        }
    }

    /// Reads every record, and checks that there are no others.
    fn check(&self, ledger: &dyn Ledger) -> Result<(), TestCaseError> {
        for number in 0..PLACES {
            self.check_one(ledger, &place(number))?;
        }
        for kind in [Kind::Token, Kind::User, Kind::Wallet, Kind::WalletState, Kind::Nobody] {
            self.check_places(ledger, kind)?;
        }
        prop_assert_eq!(ledger.high_water(), self.time);
        Ok(())
    }

    fn check_one(&self, ledger: &dyn Ledger, place: &RecordKey) -> Result<(), TestCaseError> {
        let read = ledger.read(place).expect("it is open");
        let read = read.map(|record| (record.version(), record.plaintext().to_vec()));
        prop_assert_eq!(read.as_ref(), self.records.get(place));
        Ok(())
    }

    fn check_places(&self, ledger: &dyn Ledger, kind: Kind) -> Result<(), TestCaseError> {
        let listed = ledger.places(kind).expect("it is open");
        let distinct: BTreeSet<RecordKey> = listed.iter().copied().collect();
        prop_assert_eq!(listed.len(), distinct.len());
        let wanted: BTreeSet<RecordKey> =
            self.records.keys().filter(|place| place.kind == kind).copied().collect();
        prop_assert_eq!(distinct, wanted);
        Ok(())
    }

    /// A commit, with the versions that the ledger returned.
    fn commit(
        &mut self,
        ledger: &dyn Ledger,
        writes: &[(usize, Expects, Option<Vec<u8>>)],
        later: u64,
    ) -> Result<(), TestCaseError> {
        let time = self.time + later;
        let mut wrong = false;
        let made = writes.iter().map(|(number, expects, content)| {
            let place = place(*number);
            let expected = self.expected(&place, *expects);
            wrong |= expected != self.records.get(&place).map(|(version, _)| *version);
            let content = match content {
                Some(bytes) => Content::Put(Zeroizing::new(bytes.clone())),
                None => Content::Remove,
            };
            Write { place, expected, content }
        });
        let made = batch(made.collect(), time);
        let answer = ledger.commit(&made).map(drop);
        if wrong {
            prop_assert_eq!(answer, Err(LedgerError::Conflict));
            return Ok(());
        }
        prop_assert_eq!(answer, Ok(()));
        self.time = time;
        for (number, _, content) in writes {
            let place = place(*number);
            match content {
                None => drop(self.records.remove(&place)),
                Some(bytes) => {
                    let record = ledger.read(&place).expect("it is open").expect("it was just written");
                    let version = record.version();
                    // No version is used twice, not even after a removal.
                    prop_assert!(self.newest.get(&place).is_none_or(|newest| version > *newest));
                    self.newest.insert(place, version);
                    self.records.insert(place, (version, bytes.clone()));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_a_map_that_survives_closing_and_crashes(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        for site in sites(folder.path()) {
            follows_the_model(&*site, &steps)?;
        }
    }
}

fn follows_the_model(site: &dyn Site, steps: &[Step]) -> Result<(), TestCaseError> {
    let anchor = MemoryAnchor::default();
    begin_at(site, &anchor);
    let mut ledger = open_at(site, &anchor).expect("it opens");
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit(writes, later) => model.commit(&ledger, writes, *later)?,
            Step::Read(number) => model.check_one(&ledger, &place(*number))?,
            Step::Places(kind) => model.check_places(&ledger, *kind)?,
            Step::Reopen(anchored) => {
                drop(ledger);
                reopen(site, &anchor, *anchored)?;
                ledger = open_at(site, &anchor).expect("it opens");
                model.check(&ledger)?;
            }
        }
    }
    model.check(&ledger)?;
    drop(ledger);
    model.check(&open_at(site, &anchor).expect("it opens"))
}

/// Opens and closes with the given content of the anchor. Afterwards the anchor is at the newest value again.
fn reopen(site: &dyn Site, anchor: &MemoryAnchor, anchored: Anchored) -> Result<(), TestCaseError> {
    let (past, newest) = {
        let state = anchor.state();
        (state.past.clone(), state.past.last().expect("it was begun").clone())
    };
    let behind = |by: usize| past.len().checked_sub(by + 1).map(|at| past[at].clone());
    let (now, opens) = match anchored {
        Anchored::Newest => (vec![newest.clone()], true),
        Anchored::Both => ([behind(1), Some(newest.clone())].into_iter().flatten().collect(), true),
        Anchored::OneBehind => (vec![behind(1).unwrap_or_else(|| newest.clone())], true),
        Anchored::Behind(by) => match behind(by) {
            Some(old) => (vec![old], false),
            None => (vec![newest.clone()], true),
        },
    };
    anchor.state().now = now.clone();
    let opened = open_at(site, anchor);
    if opens {
        prop_assert!(opened.is_ok(), "{:?}: {:?}", anchored, opened.err());
        prop_assert_eq!(&anchor.current().expect("in memory"), &vec![newest]);
    } else {
        let refused = matches!(opened.as_ref().err(), Some(LedgerError::State(StateError::Ahead { .. })));
        prop_assert!(refused, "{:?}", opened.err());
        // A refusal changes nothing.
        prop_assert_eq!(anchor.current().expect("in memory"), now);
        anchor.state().now = vec![newest];
    }
    Ok(())
}

/// A successful commit: what each of its places had before, named by the mark of the commit that wrote it.
struct Won {
    mark: u64,
    before: Vec<(RecordKey, u64)>,
}

const THREADS: u64 = 8;
const COMMITS_OF_A_THREAD: u64 = 60;

/// Threads read places and write them again, in steps that others disturb.
#[test]
fn concurrent_commits_come_one_after_the_other_and_a_loser_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for site in sites(folder.path()) {
        commit_at_once(&*site);
    }
}

fn commit_at_once(site: &dyn Site) {
    let anchor = MemoryAnchor::default();
    begin_at(site, &anchor);
    let ledger = open_at(site, &anchor).expect("it opens");
    // Every place has the mark 0.
    let first = (0..PLACES).map(|number| put(place(number), None, 0)).collect();
    ledger.commit(&batch(first, 1)).expect("nobody else writes");

    let barrier = Barrier::new(THREADS as usize);
    let results: Vec<(Vec<Won>, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (ledger, barrier) = (&ledger, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let (mut won, mut lost) = (Vec::new(), 0);
                    for number in 0..COMMITS_OF_A_THREAD {
                        let mark = 1 + thread * COMMITS_OF_A_THREAD + number;
                        // One, two or three places, which overlap with those of the others.
                        let places =
                            (0..=mark % 3).map(|more| place(((mark + more) % PLACES as u64) as usize));
                        let read: Vec<_> = places.map(|place| (place, marked(ledger, &place))).collect();
                        // On a fast disk nobody would come in between.
                        std::thread::yield_now();
                        let writes = read
                            .iter()
                            .map(|(place, (version, _))| put(*place, Some(*version), mark))
                            .collect();
                        match ledger.commit(&batch(writes, 1)) {
                            Ok(_) => won.push(Won {
                                mark,
                                before: read.iter().map(|(place, (_, mark))| (*place, *mark)).collect(),
                            }),
                            Err(LedgerError::Conflict) => lost += 1,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    (won, lost)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });

    let lost: u64 = results.iter().map(|(_, lost)| lost).sum();
    let won: Vec<Won> = results.into_iter().flat_map(|(won, _)| won).collect();
    assert!(lost > 0 && !won.is_empty(), "nobody met: {} won, {lost} lost", won.len());
    check_chains(&ledger, &won);
    check_order(&won);
    drop(ledger);
    check_chains(&open_at(site, &anchor).expect("it opens"), &won);
    println!("ledger at {}: {} concurrent commits in one order, {lost} in conflict", site.name(), won.len());
}

fn put(place: RecordKey, expected: Option<u64>, mark: u64) -> Write {
    Write { place, expected, content: Content::Put(Zeroizing::new(mark.to_be_bytes().to_vec())) }
}

/// Version and mark of a place.
fn marked(ledger: &dyn Ledger, place: &RecordKey) -> (u64, u64) {
    let record = ledger.read(place).expect("it is open").expect("it is never removed");
    (record.version(), u64::from_be_bytes(record.plaintext().try_into().expect("a mark")))
}

/// From the first mark of each place, one path leads through all commits that wrote it to the present mark.
/// No commit was lost, none overwrote what it had not read, and no version was overwritten twice.
fn check_chains(ledger: &dyn Ledger, won: &[Won]) {
    for number in 0..PLACES {
        let place = place(number);
        let mut next = HashMap::new();
        for commit in won {
            for (_, before) in commit.before.iter().filter(|(at, _)| *at == place) {
                let other = next.insert(*before, commit.mark);
                assert_eq!(other, None, "{before} was overwritten by {} as well", commit.mark);
            }
        }
        let (mut at, mut passed) = (0, 0);
        while let Some(following) = next.get(&at) {
            (at, passed) = (*following, passed + 1);
            assert!(passed <= next.len(), "the commits of place {number} go in a circle");
        }
        assert_eq!(passed, next.len(), "place {number} has commits beside its way");
        assert_eq!(at, marked(ledger, &place).1, "place {number} has the content of another commit");
    }
}

/// Each commit came completely before or completely after each other one: there is one order of the commits
/// that fits every place.
fn check_order(won: &[Won]) {
    let mut before: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for commit in won {
        before.insert(
            commit.mark,
            commit.before.iter().map(|(_, mark)| *mark).filter(|mark| *mark != 0).collect(),
        );
    }
    while !before.is_empty() {
        let first: BTreeSet<u64> =
            before.iter().filter(|(_, marks)| marks.is_empty()).map(|(mark, _)| *mark).collect();
        assert!(!first.is_empty(), "commits that came before each other: {:?}", before.keys());
        before.retain(|mark, _| !first.contains(mark));
        before.values_mut().for_each(|marks| marks.retain(|mark| !first.contains(mark)));
    }
}

/// The newest row of a place, which a forger with the disk copies and puts back.
struct Row(i64, Vec<u8>);

impl Row {
    fn of(path: &Path, place: &RecordKey) -> Row {
        let connection = rusqlite::Connection::open(path).expect("it opens");
        let select = "SELECT version, sealed FROM record WHERE kind = ?1 AND id = ?2";
        let row = |row: &rusqlite::Row<'_>| Ok(Row(row.get(0)?, row.get(1)?));
        connection.query_row(select, (place.kind as u8, &place.id[..]), row).expect("it is there")
    }

    fn put_back(&self, path: &Path, place: &RecordKey) {
        let connection = rusqlite::Connection::open(path).expect("it opens");
        let update = "UPDATE record SET version = ?1, sealed = ?2 WHERE kind = ?3 AND id = ?4";
        let changed = connection.execute(update, (self.0, &self.1, place.kind as u8, &place.id[..]));
        assert_eq!(changed, Ok(1));
    }
}

/// A batch is written and not anchored; the process dies. Somebody reverts the batch and keeps one of its
/// rows. The next commit has the same number, so the kept row opens under its key and version, too.
#[test]
fn state_rollback_a_row_of_a_batch_that_was_taken_back_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, anchor) = (folder.path().join("store.db"), MemoryAnchor::default());
    begin(&path, &anchor);
    let put = |content: &[u8], expected| {
        let content = Content::Put(Zeroizing::new(content.to_vec()));
        batch(vec![Write { place: place(4), expected, content }], 5)
    };
    let ledger = open(&path, &anchor).expect("it opens");
    ledger.commit(&put(b"before", None)).expect("committed");
    drop(ledger);
    let (before, anchored) =
        (std::fs::read(&path).expect("it is there"), anchor.current().expect("in memory"));

    let ledger = open(&path, &anchor).expect("it opens");
    ledger.commit(&put(b"little was spent", Some(1))).expect("committed");
    drop(ledger);
    let kept = Row::of(&path, &place(4));
    std::fs::write(&path, before).expect("the folder is ours");
    anchor.state().now = anchored;

    let ledger = open(&path, &anchor).expect("what was taken back was never anchored");
    ledger.commit(&put(b"much was spent", Some(1))).expect("committed");
    drop(ledger);
    let right = Row::of(&path, &place(4));
    assert_eq!(kept.0, right.0, "of the same version");

    // After the scan at opening, and before the first read of the record.
    let ledger = open(&path, &anchor).expect("it opens");
    kept.put_back(&path, &place(4));
    let read = ledger.read(&place(4)).map(|_| ());
    assert!(matches!(read, Err(LedgerError::State(StateError::Sealed(_)))), "{read:?}");
    assert_eq!(ledger.standing(), LedgerStanding::Lost, "somebody else writes there");
    right.put_back(&path, &place(4));
    let read = ledger.read(&place(4)).map(|_| ());
    assert!(matches!(read, Err(LedgerError::Closed(_))), "{read:?}");
    drop(ledger);
    let ledger = open(&path, &anchor).expect("it is as it was written");
    let read = ledger.read(&place(4)).expect("it is read").expect("it is there");
    assert_eq!(read.plaintext(), b"much was spent");
}

/// Also for the store in memory: a record that somebody changed, moved or removed closes the ledger to
/// everybody.
#[test]
fn state_swap_a_record_that_does_not_read_as_it_was_written_closes_the_ledger() {
    type Deed = fn(&MemorySite);
    let deeds: [(&str, Deed); 4] = [
        ("changed", |site| site.kept().rows.get_mut(&place(0)).expect("there").sealed[20] ^= 1),
        ("of another version", |site| site.kept().rows.get_mut(&place(0)).expect("there").version += 1),
        ("removed", |site| drop(site.kept().rows.remove(&place(0)))),
        ("another's", |site| {
            let other = site.kept().rows[&place(1)].clone();
            site.kept().rows.insert(place(0), other);
        }),
    ];
    for (what, deed) in deeds {
        let (site, anchor) = (MemorySite::default(), MemoryAnchor::default());
        begin_at(&site, &anchor);
        let ledger = open_at(&site, &anchor).expect("it opens");
        ledger.commit(&batch(vec![put(place(0), None, 1), put(place(1), None, 1)], 1)).expect("committed");
        drop(ledger);
        let ledger = open_at(&site, &anchor).expect("it opens");
        deed(&site);
        assert!(ledger.read(&place(1)).is_ok(), "{what}: nobody has looked");
        let read = ledger.read(&place(0)).map(|_| ());
        assert!(matches!(read, Err(LedgerError::State(StateError::Sealed(_)))), "{what}: {read:?}");
        assert_eq!(ledger.standing(), LedgerStanding::Lost, "{what}");
        let written = ledger.commit(&batch(vec![put(place(1), Some(1), 2)], 2)).map(drop);
        assert!(matches!(written, Err(LedgerError::Closed(_))), "{what}: {written:?}");
    }
}

#[test]
fn a_batch_may_write_a_place_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, anchor) = (folder.path().join("store.db"), MemoryAnchor::default());
    begin(&path, &anchor);
    let put = |content: &[u8]| Content::Put(Zeroizing::new(content.to_vec()));
    let write = |content, expected| Write { place: place(0), expected, content };
    let ledger = open(&path, &anchor).expect("it opens");
    ledger.commit(&batch(vec![write(put(b"1"), None), write(put(b"2"), None)], 5)).expect("committed");
    let twice = vec![write(put(b"3"), Some(1)), write(Content::Remove, Some(1)), write(put(b"4"), Some(1))];
    ledger.commit(&batch(twice, 6)).expect("committed");
    drop(ledger);
    let ledger = open(&path, &anchor).expect("it opens");
    let read = ledger.read(&place(0)).expect("it is read").expect("it is there");
    assert_eq!((read.version(), read.plaintext()), (2, &b"4"[..]));
}

/// While a batch is being written, more callers arrive than a batch holds. Their writes open as several
/// batches.
#[test]
fn many_callers_at_once_are_written_in_batches_that_open() {
    let folder = tempfile::tempdir().expect("a folder");
    for site in sites(folder.path()) {
        call_at_once(&*site);
    }
}

fn call_at_once(site: &dyn Site) {
    const CALLERS: u64 = 200;
    let anchor = MemoryAnchor::default();
    begin_at(site, &anchor);
    let ledger = open_at(site, &anchor).expect("it opens");
    let barrier = Barrier::new(CALLERS as usize);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (ledger, barrier) = (&ledger, &barrier);
            scope.spawn(move || {
                let mut id = [9; 16];
                id[..8].copy_from_slice(&caller.to_le_bytes());
                let content = Content::Put(Zeroizing::new(vec![1; 200]));
                let place = RecordKey { kind: Kind::User, id };
                barrier.wait();
                ledger.commit(&batch(vec![Write { place, expected: None, content }], 5)).expect("committed");
            });
        }
    });
    drop(ledger);
    let anchors = anchor.state().past.len() as u64;
    println!("{CALLERS} callers in {} batches at {}", anchors - 1, site.name());
    let ledger = open_at(site, &anchor).expect("it opens");
    assert_eq!(ledger.places(Kind::User).expect("it is open").len() as u64, CALLERS);
    assert!(anchors > CALLERS / 64, "a batch has 64 links at the most");
}

/// Whether this thread of ours, as `/proc/thread-self` names it, sleeps (proc_pid_stat(5)).
pub(crate) fn is_asleep(thread: &Path) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(thread).join("stat")).expect("it runs");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// A caller that waits for what it has read to be anchored is answered after the anchor's step, not during
/// it.
#[test]
fn outcome_leak_records_that_were_read_are_settled_once_they_are_anchored() {
    use std::sync::mpsc;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (path, anchor) = (folder.path().join("store.db"), MemoryAnchor::default());
    begin(&path, &anchor);
    let ledger = Arc::new(open(&path, &anchor).expect("opens"));
    let (told, tells) = mpsc::channel();
    let tells = Arc::new(Mutex::new(tells));
    let (reader, early) = (Arc::clone(&ledger), Arc::clone(&tells));
    let act = move || {
        let (asks, asked) = mpsc::channel();
        std::thread::spawn(move || {
            let record = reader.read(&place(0)).expect("readable").expect("it waits to become durable");
            asks.send(std::fs::read_link("/proc/thread-self").expect("Linux has it"))
                .expect("somebody listens");
            reader.settle(record.version()).expect("the store is well");
            told.send(()).expect("somebody listens");
        });
        let thread = asked.recv().expect("it is readable");
        let early = early.lock().expect("not poisoned");
        // Either it is answered, or it sleeps: only this thread will wake it.
        loop {
            assert!(early.try_recv().is_err(), "told before the anchor's step was done");
            if is_asleep(&thread) {
                break;
            }
            std::thread::yield_now();
        }
        assert!(early.try_recv().is_err(), "told before the anchor's step was done");
    };
    anchor.state().meanwhile = Some(Box::new(act));
    let content = Content::Put(Zeroizing::new(vec![7]));
    let write = Write { place: place(0), expected: None, content };
    ledger.commit(&batch(vec![write], 1)).expect("committed");
    tells.lock().expect("not poisoned").recv().expect("it is told in the end");
    ledger.settle(u64::MAX).expect("nothing is left to wait for");
}
