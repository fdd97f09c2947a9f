//! `state-bitflip`, `state-swap`, `state-missing`: every single bit that the store and its anchor consist of,
//! and every record cut short, doubled or in another's place.
//!
//! One process for each case would take an hour. So two processes open the module on one changed copy after
//! the other, and finalise SoftHSM2 after each, so that nothing is remembered. Every few hundred cases the
//! untouched copy must open.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cryptoki_sys::*;
use rusqlite::{Connection, params};

use super::objects::{anchors, class_of, object_files, token_of, value_of};
use super::story::{self, Client, authenticator, request};
use countersign::pkcs11::vendor::*;
use harness::module::raw::{Raw, finalize_backing};
use harness::module::store::connect;
use harness::module::{
    Boundary, Finished, assert_rv, copy_folder, in_boundary, report, summarise, this_test,
};

/// After so many cases the untouched copy must open.
const CONTROL: usize = 400;

#[test]
fn state_bitflip_every_bit_of_every_record_link_header_and_anchor_is_refused() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "story" => story::tell(boundary, &["alice", "bob"]),
        "act" => act(boundary),
        "shard" => shard(boundary),
        _ => {
            boundary.run("story");
            prepare(boundary);
            let counts = in_two_shards(boundary);
            let total: i64 = counts.values().map(|count| count.refused).sum();
            for (class, Count { refused, opened }) in &counts {
                let opened = match opened {
                    0 => "100 % refused".to_owned(),
                    opened => format!("{opened} others touch nothing that counts, and open"),
                };
                summarise(format_args!("changed: {class}: {refused} refused, {opened}"));
            }
            summarise(format_args!(
                "changed: {total} changes refused in all, the untouched copy always opened"
            ));
        }
    });
}

/// Makes a commit, so that the anchor moves.
fn act(boundary: &Boundary) {
    let client = Client::open(boundary);
    let code = authenticator(boundary, "bob").wrong_code();
    assert_rv!(client.sign("bob", &code, &request(boundary, 0)), CKR_PIN_INCORRECT);
    // The journal is empty, so the store is one file.
    assert_rv!(client.raw.finalize(), CKR_OK);
}

/// Prepares the start of the cases: `newest.db`, and `tokens-one-slot` with its anchor; `tokens-two-slots`,
/// as a crash leaves it after the new anchor was made and before the old one was destroyed; and `older.db`,
/// which belongs to the old anchor.
fn prepare(boundary: &Boundary) {
    let copy = |from: PathBuf, to: &str| {
        fs::copy(from, boundary.folder().join(to)).expect("the folder is ours");
    };
    let [old] = &anchors(&boundary.tokens())[..] else { panic!("one anchor") };
    let bytes = fs::read(old).expect("it is there");
    copy(boundary.store(), "older.db");
    boundary.run("act");
    copy(boundary.store(), "newest.db");
    copy_folder(&boundary.tokens(), &boundary.folder().join("tokens-one-slot"));
    let [new] = &anchors(&boundary.tokens())[..] else { panic!("one anchor") };
    assert_ne!(old, new, "the anchor did not move");
    fs::write(old, bytes).expect("the folder is ours");
    // Without the lock file SoftHSM2 destroys no object.
    fs::write(old.with_extension("lock"), "").expect("the folder is ours");
    copy_folder(&boundary.tokens(), &boundary.folder().join("tokens-two-slots"));
    boundary.note("old-slot", old.file_name().and_then(|name| name.to_str()).expect("ASCII"));
}

/// How many of a class were tried.
#[derive(Default)]
struct Count {
    refused: i64,
    opened: i64,
}

/// Runs the cases in two processes, each on a copy of its own.
fn in_two_shards(boundary: &Boundary) -> BTreeMap<String, Count> {
    // On a disk in memory, if there is one: the test does not cut the power, and waiting for syncs would take
    // most of the time.
    let memory =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder");
    let shards: Vec<Vec<Finished>> = std::thread::scope(|scope| {
        let shards: Vec<_> = ["0", "1"]
            .into_iter()
            .map(|number| {
                let copy = boundary.duplicate_to(memory.path().join(number));
                copy.note("shard", number);
                scope.spawn(move || run_shard(&copy))
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().expect("a shard failed, see above")).collect()
    });
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for finished in shards.iter().flatten() {
        for line in finished.stdout.lines().filter_map(|line| line.strip_prefix("report count=")) {
            let mut fields = line.split('|');
            let mut next = || fields.next().expect("three fields");
            let count = counts.entry(next().to_owned()).or_default();
            count.refused += next().parse::<i64>().expect("a number");
            count.opened += next().parse::<i64>().expect("a number");
        }
    }
    counts
}

/// SoftHSM2 ends the process with this status when it cannot go on: a length in an object's file exceeds all
/// memory.
const SOFTHSM_GAVE_UP: i32 = 5;

/// Runs the cases of a copy in one process, and in another one each time that SoftHSM2 ends it.
fn run_shard(copy: &Boundary) -> Vec<Finished> {
    let mut all = Vec::new();
    copy.note("start", "0");
    loop {
        // A length that memory could satisfy must not take all of it.
        let mut finished = Finished::of(&mut copy.command_under(&["prlimit", "--as=4294967296"], "shard"));
        // One line for each refusal is too much to read. The newest ones show the cause of a failure.
        let newest = finished.stderr.lines().rev().take(6).collect::<Vec<_>>();
        finished.stderr = newest.into_iter().rev().collect::<Vec<_>>().join("\n");
        if finished.status.code() != Some(SOFTHSM_GAVE_UP) {
            all.push(finished.expect_success());
            return all;
        }
        all.push(finished);
        // Only allowed where either result is allowed: see `attempt`.
        let at: usize = copy.noted("at").parse().expect("the number of the case that it ended at");
        fs::remove_file(copy.folder().join("at")).expect("it was just read");
        copy.note("start", &(at + 1).to_string());
    }
}

/// The required result of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Refused, always.
    Refused,
    /// Refused or opened, because the changed bits may not matter.
    Either,
}

/// The change in one case.
enum Change {
    /// Rows, changed by one or more statements, each of which must change some.
    Rows(Vec<(String, Vec<rusqlite::types::Value>)>),
    /// One bit of one file.
    Bit(PathBuf, usize),
    /// The same bit of both anchors' values.
    BothAnchors(usize),
    /// One bit of the old anchor, beside the old store.
    OldAnchorAndStore(usize),
}

struct Case {
    class: &'static str,
    change: Change,
    expected: Expected,
}

/// The copy that every case begins with.
struct Untouched<'a> {
    boundary: &'a Boundary,
    store: Vec<u8>,
    /// The tokens are put back after a case changed them.
    tokens: PathBuf,
}

impl Untouched<'_> {
    fn put_back(&self, tokens_too: bool) {
        self.boundary.remove_store();
        fs::write(self.boundary.store(), &self.store).expect("the folder is ours");
        if tokens_too {
            fs::remove_dir_all(self.boundary.tokens()).expect("the folder is ours");
            copy_folder(&self.tokens, &self.boundary.tokens());
        }
    }

    /// The answer to opening it. It is closed again afterwards.
    fn opens(&self, raw: &Raw) -> CK_RV {
        let rv = raw.initialize();
        if rv == CKR_OK {
            assert_rv!(raw.finalize(), CKR_OK);
        }
        finalize_backing(self.boundary);
        rv
    }
}

fn shard(boundary: &Boundary) {
    let raw = Raw::load();
    let [shard, start]: [usize; 2] =
        ["shard", "start"].map(|name| boundary.noted(name).parse().expect("a number"));
    let mut number = 0;
    for (slots, cases) in
        [("tokens-one-slot", one_slot as fn(&Boundary) -> Vec<Case>), ("tokens-two-slots", two_slots_cases)]
    {
        let untouched = Untouched {
            boundary,
            store: fs::read(boundary.folder().join("newest.db")).expect("it is there"),
            tokens: boundary.folder().join(slots),
        };
        untouched.put_back(true);
        let mut since_control = CONTROL;
        for case in cases(boundary) {
            number += 1;
            if number % 2 != shard || number < start {
                continue;
            }
            if since_control == CONTROL {
                since_control = 0;
                assert_rv!(untouched.opens(&raw), CKR_OK, "the untouched copy, before case {number}");
                untouched.put_back(true);
            }
            since_control += 1;
            attempt(&untouched, &raw, number, &case);
            untouched.put_back(!matches!(case.change, Change::Rows(_)));
        }
        assert_rv!(untouched.opens(&raw), CKR_OK, "the untouched copy, after all cases");
    }
}

/// Runs one case, and counts it by its result.
fn attempt(untouched: &Untouched<'_>, raw: &Raw, number: usize, case: &Case) {
    let class = case.class;
    if case.expected == Expected::Either {
        // If SoftHSM2 ends the process, the store did not open.
        untouched.boundary.note("at", &number.to_string());
        report("count", format_args!("{class}|1|0"));
    }
    apply(untouched.boundary, &case.change);
    match (untouched.opens(raw), case.expected) {
        (CKR_OK, Expected::Either) => report("count", format_args!("{class}|-1|1")),
        (rv, Expected::Either) => {
            assert!([CKR_DEVICE_ERROR, CKR_COUNTERSIGN_STATE].contains(&rv), "{class}: {rv:#x}")
        }
        (rv, Expected::Refused) => {
            assert_rv!(rv, CKR_COUNTERSIGN_STATE, "{class}, case {number}");
            report("count", format_args!("{class}|1|0"));
        }
    }
}

fn apply(boundary: &Boundary, change: &Change) {
    let flip_all = |flips: &[(PathBuf, usize)]| flips.iter().for_each(|(path, bit)| flip(path, *bit));
    let slot = |bit: usize, path: PathBuf| {
        let value = value_of(&fs::read(&path).expect("it is there"));
        (path, value.start * 8 + bit)
    };
    match change {
        Change::Rows(statements) => {
            let connection = connect(boundary);
            // The test does not cut the power.
            connection.pragma_update(None, "synchronous", "OFF").expect("set");
            for (sql, values) in statements {
                let changed = connection
                    .execute(sql, rusqlite::params_from_iter(values))
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
                assert!(changed > 0, "{sql} changed nothing");
            }
        }
        Change::Bit(path, bit) => flip(path, *bit),
        Change::BothAnchors(bit) => {
            let both: Vec<_> = anchors(&boundary.tokens()).into_iter().map(|path| slot(*bit, path)).collect();
            assert_eq!(both.len(), 2);
            flip_all(&both);
        }
        Change::OldAnchorAndStore(bit) => {
            flip_all(&[slot(*bit, old_slot(boundary))]);
            boundary.remove_store();
            fs::copy(boundary.folder().join("older.db"), boundary.store()).expect("the folder is ours");
        }
    }
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).expect("the folder is ours");
}

/// A blob of the store: a name for it, its key for SQL, and its bytes.
struct Blob {
    class: &'static str,
    place: String,
    column: &'static str,
    table: &'static str,
    bytes: Vec<u8>,
    /// A record's version.
    version: Option<i64>,
}

impl Blob {
    fn set(&self, bytes: Vec<u8>) -> (String, Vec<rusqlite::types::Value>) {
        let Blob { place, column, table, .. } = self;
        (format!("UPDATE {table} SET {column} = ?1 WHERE {place}"), vec![bytes.into()])
    }
}

/// Every blob that the store has.
fn blobs(connection: &Connection) -> Vec<Blob> {
    let mut blobs = Vec::new();
    let record = "'kind = ' || kind || ' AND hex(id) = ''' || hex(id) || ''''";
    for (class, table, column, place, version) in [
        ("bits of sealed records", "record", "sealed", record, "version"),
        ("bits of the places of records", "record", "id", record, "version"),
        ("bits of sealed links", "link", "sealed", "'sequence = ' || sequence", "NULL"),
        ("bits of the header", "header", "value", "'name = ''' || name || ''''", "NULL"),
    ] {
        let mut statement = connection
            .prepare(&format!("SELECT {place}, {column}, {version} FROM {table}"))
            .expect("prepared");
        let rows = statement
            .query_map(params![], |row| {
                Ok(Blob {
                    class,
                    table,
                    column,
                    place: row.get(0)?,
                    bytes: row.get(1)?,
                    version: row.get(2)?,
                })
            })
            .expect("listed");
        blobs.extend(rows.map(|row| row.expect("listed")));
    }
    blobs
}

/// All cases of the normal state, with one anchor.
fn one_slot(boundary: &Boundary) -> Vec<Case> {
    let connection = connect(boundary);
    let blobs = blobs(&connection);
    let mut cases = Vec::new();
    let mut rows = |class, statements| {
        cases.push(Case { class, change: Change::Rows(statements), expected: Expected::Refused });
    };
    for blob in &blobs {
        for bit in 0..blob.bytes.len() * 8 {
            let mut flipped = blob.bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            rows(blob.class, vec![blob.set(flipped)]);
        }
        if blob.column == "sealed" {
            for len in 0..blob.bytes.len() {
                rows("records and links cut short", vec![blob.set(blob.bytes[..len].to_vec())]);
            }
        }
    }
    for blob in blobs.iter().filter(|blob| blob.column == "sealed") {
        let Some(version) = blob.version else { continue };
        for bit in 0..64 {
            let sql = format!("UPDATE record SET version = ?1 WHERE {}", blob.place);
            rows("bits of versions", vec![(sql, vec![(version ^ (1 << bit)).into()])]);
        }
    }
    for (one, first) in blobs.iter().enumerate() {
        for (two, second) in blobs.iter().enumerate() {
            // Places have no content to exchange, and the header's two values are of different kinds.
            if one == two
                || first.column != "sealed"
                || second.column != "sealed"
                || first.table != second.table
            {
                continue;
            }
            rows("one put in another's place as well", vec![first.set(second.bytes.clone())]);
            if one < two {
                let swap = vec![first.set(second.bytes.clone()), second.set(first.bytes.clone())];
                rows("two that changed places", swap);
            }
            if let (true, Some(a), Some(b)) = (one < two, first.version, second.version) {
                let swap = [(first, second, b), (second, first, a)].map(|(to, from, version)| {
                    let sql = format!("UPDATE record SET version = ?1, sealed = ?2 WHERE {}", to.place);
                    (sql, vec![version.into(), from.bytes.clone().into()])
                });
                rows("two that changed places with their versions", swap.to_vec());
            }
        }
        if first.table == "record" && first.column == "sealed" {
            let sql = format!(
                "INSERT INTO record SELECT kind, randomblob(16), version, sealed FROM record WHERE {}",
                first.place
            );
            rows("one twice", vec![(sql, vec![])]);
        }
        if first.table == "link" {
            let sql = format!(
                "INSERT INTO link SELECT (SELECT max(sequence) + 1 FROM link), sealed FROM link WHERE {}",
                first.place
            );
            rows("one twice", vec![(sql, vec![])]);
        }
    }
    let mut objects: Vec<(&'static str, &'static str, PathBuf)> = Vec::new();
    for path in object_files(&boundary.tokens()) {
        match class_of(&fs::read(&path).expect("it is there")) {
            Some(CKO_DATA) => {
                objects.push(("bits of the anchor's value", "other bits of the anchor's object", path))
            }
            Some(CKO_SECRET_KEY) => {
                objects.push((
                    "bits of the sealing key's value",
                    "other bits of the sealing key's object",
                    path,
                ));
            }
            _ => {}
        }
    }
    assert_eq!(objects.len(), 2, "an anchor and a key: {objects:?}");
    for (of_value, of_others, path) in objects {
        let bytes = fs::read(&path).expect("it is there");
        let value = value_of(&bytes);
        for bit in 0..bytes.len() * 8 {
            let (class, expected) = match value.contains(&(bit / 8)) {
                true => (of_value, Expected::Refused),
                false => (of_others, Expected::Either),
            };
            cases.push(Case { class, change: Change::Bit(path.clone(), bit), expected });
        }
    }
    cases
}

/// All cases of the state that a crash leaves after the new anchor was made and before the old one was
/// destroyed.
fn two_slots_cases(boundary: &Boundary) -> Vec<Case> {
    let value = value_of(&fs::read(old_slot(boundary)).expect("it is there"));
    let mut cases = Vec::new();
    for bit in 0..value.len() * 8 {
        for (class, change) in [
            ("bits of both slots' values", Change::BothAnchors(bit)),
            ("bits of the old slot's value, beside the older store", Change::OldAnchorAndStore(bit)),
        ] {
            cases.push(Case { class, change, expected: Expected::Refused });
        }
    }
    cases
}

fn old_slot(boundary: &Boundary) -> PathBuf {
    boundary.tokens().join(token_of(&boundary.tokens())).join(boundary.noted("old-slot"))
}
