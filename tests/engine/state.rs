//! The sealed state against an attacker who has the disk, the power switch or the clock.
//!
//! Each test is named after its line in the list of what must be refused: `state-rollback`, `state-swap`,
//! `state-bitflip`, `state-missing`, `otp-missing-object`, `crash`, `clock-back`, `clock-jump`. After every
//! refusal the untouched state must open again, because a refusal changes nothing. Keys that sign digests
//! must pass the same tests as users and wallets.

mod edges;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use countersign::pkcs11::vendor::*;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use harness::module::digest::create_digest_key;
use harness::module::raw::Raw;
use harness::module::store::{connect, expect_closed, expect_open};
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Authenticator, Boundary, Finished, Stage, USER_PIN, approval, assert_rv, copy_folder, in_boundary,
    read_ulong, report, this_test,
};
use rusqlite::{Connection, params};

/// Runs `body` after setting up and closing a token with two users, alice and bob, their wallet and two keys
/// that sign digests.
///
/// The other processes of a test have these roles. They note what they need, and report what they find.
fn in_story(test: &str, body: impl FnOnce(&Boundary)) {
    in_boundary(test, |boundary| match boundary.role() {
        "story" => story(boundary),
        "act" => act(boundary),
        "act on keys" => act_on_keys(boundary),
        "act and die" => {
            act(boundary);
            std::process::abort();
        }
        "login" => report("rv", format!("{:#x}", log_in().1)),
        "sign" => sign(boundary),
        "crash" => sign_after_marker(boundary),
        "jump" => jump(boundary),
        "destroy" => destroy(boundary),
        "damage" => damage(boundary),
        _ => {
            boundary.run("story");
            body(boundary);
        }
    });
}

/// The keys that sign digests.
const KEYS: [&str; 2] = ["sidechain", "drivechain"];
const DIGEST: [u8; 32] = [0x5a; 32];

fn story(boundary: &Boundary) {
    let mut stage = Stage::new(&["alice", "bob"]);
    stage.as_so(|raw, so| {
        KEYS.iter().for_each(|label| create_digest_key(raw, so, label, &["alice", "bob"], "unlimited = true"))
    });
    for user in &stage.users {
        boundary.note(user.name(), user.uri());
    }
    boundary.note("descriptor", &stage.descriptor);
    assert_rv!(stage.raw.finalize(), CKR_OK);
}

/// Opens the module and logs the backend in. Returns the session and the answer to the login.
fn log_in() -> ((Raw, CK_SESSION_HANDLE), CK_RV) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.read_write();
    let rv = raw.login(session, CKU_USER, USER_PIN.as_bytes());
    ((raw, session), rv)
}

fn opened() -> (Raw, CK_SESSION_HANDLE, CK_OBJECT_HANDLE) {
    let ((raw, session), rv) = log_in();
    assert_rv!(rv, CKR_OK);
    (raw, session, raw.wallet_key(session, "treasury"))
}

fn authenticator(boundary: &Boundary, user: &str) -> Authenticator {
    Authenticator::scan(user, &boundary.noted(user))
}

fn failures(raw: &Raw, session: CK_SESSION_HANDLE) -> CK_ULONG {
    read_ulong(raw, session, raw.user_key(session, "alice"), CKA_COUNTERSIGN_FAILURES)
}

/// Makes a commit: bob tries a wrong code.
fn act(boundary: &Boundary) {
    let (raw, session, key) = opened();
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let record = approval("bob", &authenticator(boundary, "bob").wrong_code());
    assert_eq!(raw.countersign(session, key, &record, &psbt), Err(CKR_PIN_INCORRECT));
}

/// The first of the keys signs a digest, and gets another policy.
fn act_on_keys(boundary: &Boundary) {
    let (raw, session, _) = opened();
    let record = approval("bob", &authenticator(boundary, "bob").code_away(1));
    sign_digest(&raw, session, &record).expect("the code is right");
    assert_rv!(raw.close_all(), CKR_OK);
    let so = raw.so();
    let policy = (CKA_COUNTERSIGN_POLICY, b"max_period_transactions = 9".to_vec());
    assert_rv!(raw.set_attributes(so, raw.wallet_key(so, KEYS[0]), &[policy]), CKR_OK);
}

/// Signs a digest with the first of the keys.
fn sign_digest(raw: &Raw, session: CK_SESSION_HANDLE, record: &[u8]) -> Result<Vec<u8>, CK_RV> {
    let key = raw.wallet_key(session, KEYS[0]);
    assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_DIGEST, key), CKR_OK);
    raw.sign_message(session, record, &DIGEST)
}

/// Tries alice's noted code twice, and reports failures and answers.
fn sign(boundary: &Boundary) {
    let (raw, session, key) = opened();
    report("failures", failures(&raw, session));
    for answer in ["first", "second"] {
        let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
        let record = approval("alice", &boundary.noted("code"));
        let rv = match raw.countersign(session, key, &record, &psbt) {
            Ok(signed) => {
                verify_signed(&psbt, &signed);
                CKR_OK
            }
            Err(rv) => rv,
        };
        report(answer, format!("{rv:#x}"));
    }
}

/// Signs once. All its system calls come after the file `marker` was made.
fn sign_after_marker(boundary: &Boundary) {
    let (raw, session, key) = opened();
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let record = approval("alice", &boundary.noted("code"));
    boundary.note("marker", "");
    let answer = raw.countersign(session, key, &record, &psbt);
    boundary.note("answer", &format!("{:#x}", answer.err().unwrap_or(CKR_OK)));
}

/// Changes the store with SQL that must change something.
fn execute(boundary: &Boundary, sql: &str) {
    let changed = connect(boundary).execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(changed > 0, "{sql} changed nothing");
}

/// Runs a role that dies without closing anything, so that SQLite's journal stays.
fn run_and_die(boundary: &Boundary) {
    let finished = Finished::of(&mut boundary.command("act and die"));
    assert_eq!(finished.status.code(), None, "{}{}", finished.stdout, finished.stderr);
    assert!(fs::metadata(&boundary.store_files()[1]).is_ok_and(|journal| journal.len() > 0), "no journal");
}

// state-rollback

#[test]
fn state_rollback_an_older_store_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("older");
        boundary.run("act");
        boundary.save("newest");
        boundary.restore_store("older");
        let before = fs::read(boundary.store()).expect("it is there");
        expect_closed(boundary, "an older store", "an old copy was put back");
        expect_closed(boundary, "again", "an old copy was put back");
        // The file's header counts openings. Everything behind it is unchanged.
        let after = fs::read(boundary.store()).expect("it is there");
        assert!(before[100..] == after[100..], "refusing changed the store");
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_rollback_an_older_store_with_its_journal_is_refused() {
    in_story(this_test!(), |boundary| {
        run_and_die(boundary);
        boundary.save("older");
        run_and_die(boundary);
        boundary.save("newest");
        boundary.restore_store("older");
        expect_closed(boundary, "an older store with its journal", "an old copy was put back");

        // Only the journal has the newest commits.
        boundary.restore_store("newest");
        fs::remove_file(&boundary.store_files()[1]).expect("it is there");
        expect_closed(boundary, "without its journal", "an old copy was put back");

        boundary.restore_store("newest");
        let journal = &boundary.store_files()[1];
        let bytes = fs::read(journal).expect("it is there");
        fs::write(journal, &bytes[..bytes.len() / 2]).expect("the folder is ours");
        expect_closed(boundary, "with half of its journal", "an old copy was put back");
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_rollback_an_older_token_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("older");
        boundary.run("act");
        boundary.save("newest");
        let tokens = |name: &str| {
            fs::remove_dir_all(boundary.tokens()).expect("the folder is ours");
            copy_folder(&boundary.folder().with_file_name(name).join("tokens"), &boundary.tokens());
        };
        tokens("older");
        expect_closed(boundary, "an older backing token", "the backing token was put back");
        tokens("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_rollback_one_older_record_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("older");
        boundary.run("act");
        boundary.run("act on keys");
        boundary.save("newest");
        let older = boundary.folder().with_file_name("older").join("countersign.db");
        for kind in [1, 2, 9, 10] {
            boundary.restore_store("newest");
            let connection = connect(boundary);
            connection.execute("ATTACH ?1 AS older", [older.to_str().expect("UTF-8")]).expect("attached");
            let changed = connection
                .execute(
                    "INSERT OR REPLACE INTO main.record SELECT o.* FROM older.record o JOIN main.record n \
                     ON o.kind = n.kind AND o.id = n.id WHERE o.kind = ?1 AND o.version <> n.version",
                    [kind],
                )
                .expect("written");
            assert_eq!(changed, 1, "kind {kind}: bob's tries, the token's PINs, or a key and its state");
            drop(connection);
            expect_closed(boundary, &format!("an older record of kind {kind}"), "the records are not those");
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

// state-swap

#[test]
fn state_swap_records_that_changed_places_are_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        let swap_of = |kind: u8, columns: &str| {
            let set = |column: &str| {
                format!(
                    "{column} = (SELECT o.{column} FROM record o WHERE o.kind = {kind} AND o.id <> record.id)"
                )
            };
            let sets: Vec<String> = columns.split(", ").map(set).collect();
            format!("UPDATE record SET {} WHERE kind = {kind}", sets.join(", "))
        };
        let swap = |columns: &str| swap_of(2, columns);
        for (what, sql) in [
            ("two users' rows", swap("version, sealed")),
            ("two users' sealed bytes", swap("sealed")),
            ("two users' versions", swap("version")),
            ("two keys' rows", swap_of(9, "version, sealed")),
            ("two keys' sealed bytes", swap_of(9, "sealed")),
            ("two keys' states", swap_of(10, "version, sealed")),
            ("two keys' states, sealed bytes alone", swap_of(10, "sealed")),
            (
                "a user's row under another kind",
                "UPDATE record SET kind = 3 WHERE kind = 2 AND id = (SELECT min(id) FROM record WHERE kind = 2)"
                    .into(),
            ),
        ] {
            boundary.restore_store("newest");
            execute(boundary, &sql);
            expect_closed(boundary, what, "the records are not those");
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_swap_a_record_of_another_store_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        let other = boundary.another("other");
        other.run("story");
        let connection = connect(boundary);
        let path = other.store();
        connection.execute("ATTACH ?1 AS other", [path.to_str().expect("UTF-8")]).expect("attached");
        // A user's place is computed from the name, so alice has the same place in both.
        let changed = connection
            .execute("INSERT OR REPLACE INTO main.record SELECT * FROM other.record WHERE kind = 2", [])
            .expect("written");
        assert_eq!(changed, 2);
        drop(connection);
        expect_closed(boundary, "users of another store", "the records are not those");
        // The whole of another store with the token of this one.
        boundary.remove_store();
        fs::copy(other.store(), boundary.store()).expect("the folder is ours");
        expect_closed(boundary, "another store", "does not unwrap");
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

// state-bitflip

#[test]
fn state_bitflip_one_bit_of_any_record_of_the_newest_link_or_of_the_header_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        let connection = connect(boundary);
        let mut blobs = Vec::new();
        let mut list = |sql: &str, update: &'static str, word: &'static str| {
            let mut statement = connection.prepare(sql).expect("prepared");
            let mut rows = statement.query([]).expect("listed");
            while let Some(row) = rows.next().expect("listed") {
                let place: (rusqlite::types::Value, Vec<u8>) =
                    (row.get(0).expect("a key"), row.get(1).expect("a blob"));
                blobs.push((place.0, place.1, update, word));
            }
        };
        list(
            "SELECT kind || hex(id), sealed FROM record",
            "UPDATE record SET sealed = ?2 WHERE kind || hex(id) = ?1",
            "the records are not those",
        );
        list(
            "SELECT max(sequence), sealed FROM link",
            "UPDATE link SET sealed = ?2 WHERE sequence = ?1",
            "of the history is damaged",
        );
        list(
            "SELECT name, value FROM header",
            "UPDATE header SET value = ?2 WHERE name = ?1",
            "does not unwrap the store's data key",
        );
        drop(connection);
        // Token, clock, nobody, two users, a wallet and two keys with their states; one link; two values of the header.
        assert_eq!(blobs.len(), 11 + 1 + 2);
        for (key, bytes, update, word) in blobs {
            // A bit in the middle of each, and the last one.
            for bit in [bytes.len() * 4 + 3, bytes.len() * 8 - 1] {
                boundary.restore_store("newest");
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let changed = connect(boundary).execute(update, params![key, flipped]).expect("written");
                assert_eq!(changed, 1);
                expect_closed(boundary, &format!("bit {bit} of {key:?}"), word);
            }
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_bitflip_a_changed_older_link_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        let count: i64 = connect(boundary)
            .query_row("SELECT max(sequence) FROM link", [], |row| row.get(0))
            .expect("it is counted");
        for sequence in [0, count / 2, count - 1] {
            boundary.restore_store("newest");
            execute(
                boundary,
                &format!("UPDATE link SET sealed = zeroblob(length(sealed)) WHERE sequence = {sequence}"),
            );
            expect_closed(boundary, &format!("link {sequence} of {count}"), "link");
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_bitflip_a_changed_version_or_sequence_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        for (what, sql, word) in [
            (
                "a version",
                "UPDATE record SET version = version + 1 WHERE kind = 1",
                "the records are not those",
            ),
            (
                "a sequence",
                "UPDATE link SET sequence = sequence + 1 WHERE sequence = (SELECT max(sequence) FROM link)",
                "of the history is damaged",
            ),
            ("an id", "UPDATE record SET id = zeroblob(16) WHERE kind = 3", "the records are not those"),
        ] {
            boundary.restore_store("newest");
            execute(boundary, sql);
            expect_closed(boundary, what, word);
        }
        // If the form itself is broken, it is no store any more, and is refused as well.
        for sql in [
            "UPDATE record SET kind = 77 WHERE kind = 3",
            "UPDATE record SET id = x'00' WHERE kind = 3",
            "DELETE FROM header WHERE name = 'store'",
        ] {
            boundary.restore_store("newest");
            execute(boundary, sql);
            let probe = boundary.probe();
            assert!([CKR_DEVICE_ERROR, CKR_COUNTERSIGN_STATE].contains(&probe.rv), "{sql}: {:#x}", probe.rv);
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

// state-missing

#[test]
fn state_missing_a_removed_or_added_row_is_refused() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        let newest = "sequence = (SELECT max(sequence) FROM link)";
        for (what, sql, word) in [
            ("no users", "DELETE FROM record WHERE kind = 2".to_owned(), "the records are not those"),
            ("no wallet", "DELETE FROM record WHERE kind = 3".into(), "the records are not those"),
            ("no wallet state", "DELETE FROM record WHERE kind = 4".into(), "the records are not those"),
            ("no keys", "DELETE FROM record WHERE kind = 9".into(), "the records are not those"),
            ("no states of keys", "DELETE FROM record WHERE kind = 10".into(), "the records are not those"),
            ("no token", "DELETE FROM record WHERE kind = 1".into(), "the records are not those"),
            ("no records", "DELETE FROM record".into(), "the records are not those"),
            ("no newest link", format!("DELETE FROM link WHERE {newest}"), "the records are not those"),
            ("no links", "DELETE FROM link".into(), "link 0 of the history is missing"),
            (
                "a record twice",
                "INSERT INTO record SELECT kind, zeroblob(16), version, sealed FROM record WHERE kind = 3"
                    .into(),
                "the records are not those",
            ),
            (
                "a link twice",
                format!("INSERT INTO link SELECT sequence + 1, sealed FROM link WHERE {newest}"),
                "of the history is damaged",
            ),
        ] {
            boundary.restore_store("newest");
            execute(boundary, &sql);
            expect_closed(boundary, what, word);
        }
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_missing_an_emptied_folder_is_no_first_run() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        boundary.remove_store();
        expect_closed(boundary, "no store", "the backing token remembers one");
        let mut lock = boundary.store().into_os_string();
        lock.push(".lock");
        fs::remove_file(&lock).expect("it is there");
        expect_closed(boundary, "nor its lock", "the backing token remembers one");
        assert!(!boundary.store().exists(), "a new one was begun");
        boundary.restore_store("newest");
        expect_open(boundary);
    });
}

#[test]
fn state_missing_an_emptied_or_replaced_token_is_no_first_run() {
    in_story(this_test!(), |boundary| {
        boundary.save("newest");
        // A new token with the same name, with known PINs.
        let other = boundary.another("other");
        fs::remove_dir_all(boundary.tokens()).expect("the folder is ours");
        copy_folder(&other.tokens(), &boundary.tokens());
        for pin in ["backing-so.pin", "backing-user.pin"] {
            fs::copy(other.folder().join(pin), boundary.folder().join(pin)).expect("the folder is ours");
        }
        expect_closed(boundary, "a token that was initialised anew", "does not unwrap");

        for (object, word) in
            [("countersign-anchor", "has no anchor"), ("countersign-sealing-key", "does not unwrap")]
        {
            boundary.restore("newest");
            boundary.note("object", object);
            boundary.run("destroy");
            expect_closed(boundary, object, word);
            expect_closed(boundary, "again", word);
        }
        boundary.restore("newest");
        expect_open(boundary);
    });
}

/// Destroys the noted object of the backing token, with the token's PIN.
fn destroy(boundary: &Boundary) {
    let pkcs11 = Pkcs11::new(boundary.backing_module()).expect("it loads");
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).expect("initialises");
    let slot = pkcs11.get_slots_with_initialized_token().expect("slots")[0];
    let session = pkcs11.open_rw_session(slot).expect("a session");
    let pin = boundary.noted("backing-user.pin");
    session.login(UserType::User, Some(&AuthPin::new(pin.trim().into()))).expect("logs in");
    let label = boundary.noted("object").into_bytes();
    let found = session.find_objects(&[Attribute::Label(label)]).expect("it finds");
    assert!(!found.is_empty());
    found.into_iter().for_each(|object| session.destroy_object(object).expect("destroyed"));
    let keys = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).expect("it finds");
    assert!(keys.is_empty(), "no signing key was ever in the backing token");
}

// otp-missing-object

#[test]
fn otp_missing_object_a_damaged_or_missing_user_signs_nothing() {
    in_story(this_test!(), |boundary| damage_under_the_open_module(boundary, 2, [CKR_DEVICE_ERROR; 2]));
}

// state-bitflip, state-missing, under the open module

#[test]
fn state_missing_a_damaged_or_missing_state_of_a_key_signs_nothing() {
    in_story(this_test!(), |boundary| {
        damage_under_the_open_module(boundary, 10, [CKR_DEVICE_ERROR; 2]);
    });
}

/// A record that was found whole is in memory and is not read again. So no damage gets in, and none is
/// written over.
#[test]
fn state_missing_a_key_that_is_damaged_once_it_is_open_signs_as_it_was_and_never_opens_again() {
    in_story(this_test!(), |boundary| damage_under_the_open_module(boundary, 9, [CKR_OK; 2]));
}

/// Damages and removes all records of a kind under the open module, from another process, as an attacker with
/// the disk would. `answers` are the answers to right codes for a key that signs digests, and for the wallet.
/// The first call that reads a damaged record closes the store to everybody, and it does not open any more.
fn damage_under_the_open_module(boundary: &Boundary, kind: u8, answers: [CK_RV; 2]) {
    boundary.save("newest");
    for damage in [
        format!("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE kind = {kind}"),
        format!("DELETE FROM record WHERE kind = {kind}"),
    ] {
        boundary.note("damage", &damage);
        boundary.note("code", &authenticator(boundary, "alice").code_away(1));
        boundary.note("bobs-code", &authenticator(boundary, "bob").code_away(1));
        let done = boundary.run("damage");
        let answered = ["key", "wallet"].map(|name| done.value(name).to_owned());
        assert_eq!(answered, answers.map(|rv| format!("{rv:#x}")), "{damage}");
        expect_closed(boundary, &damage, "the records are not those");
        boundary.restore("newest");
    }
    expect_open(boundary);
}

/// Opens the module, lets another process do the noted damage, and tries right codes: alice's for a key that
/// signs digests, bob's for the wallet.
fn damage(boundary: &Boundary) {
    let (raw, session, key) = opened();
    let sql = boundary.noted("damage");
    let done = Command::new(std::env::current_exe().expect("the system names the running executable"))
        .args(["--exact", "state::an_attacker_with_the_disk", "--nocapture"])
        .env(ATTACKED_STORE, boundary.store())
        .env(ATTACK, &sql)
        .output()
        .expect("it starts");
    let (told, why) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && told.contains("1 passed"), "{told}\n{why}");
    let signed = sign_digest(&raw, session, &approval("alice", &boundary.noted("code")));
    report("key", format!("{:#x}", signed.err().unwrap_or(CKR_OK)));
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let record = approval("bob", &boundary.noted("bobs-code"));
    let rv = raw.countersign(session, key, &record, &psbt).err().unwrap_or(CKR_OK);
    report("wallet", format!("{rv:#x}"));
}

const ATTACKED_STORE: &str = "COUNTERSIGN_TEST_ATTACKED_STORE";
const ATTACK: &str = "COUNTERSIGN_TEST_ATTACK";

/// The process that [`damage`] starts. As a test of its own it shows that such an attack does reach the rows.
#[test]
fn an_attacker_with_the_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (store, sql) = match (std::env::var_os(ATTACKED_STORE), std::env::var(ATTACK)) {
        (Some(store), Ok(sql)) => (PathBuf::from(store), sql),
        _ => {
            let store = folder.path().join("store.db");
            let connection = Connection::open(&store).expect("it opens");
            connection
                .execute_batch("CREATE TABLE record (kind, sealed); INSERT INTO record VALUES (2, x'01')")
                .expect("written");
            (store, "DELETE FROM record WHERE kind = 2".to_owned())
        }
    };
    let connection = Connection::open(store).expect("it opens");
    let changed = connection.execute(&sql, []).expect("it is written");
    assert!(changed > 0, "{sql} changed nothing");
}

// crash

#[test]
fn crash_killed_at_any_write_of_a_wrong_code_no_try_is_given_back() {
    in_story(this_test!(), |boundary| {
        boundary.note("code", &authenticator(boundary, "alice").wrong_code());
        let mut seen = Vec::new();
        kill_at_every_write(boundary, |call, number| {
            let after = boundary.run("sign");
            let charged: u64 = after.value("failures").parse().expect("a number");
            assert!(charged <= 1, "killed at {call} {number}");
            for answer in ["first", "second"] {
                assert_eq!(after.value(answer), format!("{CKR_PIN_INCORRECT:#x}"), "{call} {number}");
            }
            seen.push((call.to_owned(), charged));
            charged == 1
        });
        for pair in seen.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            assert!(pair[0].1 <= pair[1].1, "{seen:?}");
        }
        for charged in [0, 1] {
            assert!(seen.iter().any(|(_, seen)| *seen == charged), "never {charged}: {seen:?}");
        }
    });
}

/// The system calls by which a commit and its anchor reach the disk.
const WRITES: [&str; 6] = ["pwrite64", "fdatasync", "fsync", "openat", "write", "unlink"];
/// The most kills at one kind of system call, spread over all its calls.
const MAX_KILLS: usize = 12;

/// Runs the role `crash` on the same state many times, each time killed at another system call of the
/// signing. `after` looks at the state that is left, and returns whether all of it was durable.
fn kill_at_every_write(boundary: &Boundary, mut after: impl FnMut(&str, usize) -> bool) {
    boundary.save("before");
    let trace = boundary.folder().with_file_name("trace");
    let to = trace.to_str().expect("UTF-8").to_owned();
    let calls = format!("trace={}", WRITES.join(","));
    let whole =
        Finished::of(&mut boundary.command_under(&["strace", "-f", "-o", &to, "-e", &calls], "crash"));
    whole.expect_success();
    let answer = boundary.noted("answer");
    let traced = fs::read_to_string(&trace).expect("strace wrote it");
    let mut kills = 0;
    for call in WRITES {
        let Some(range) = calls_of_the_signing(&traced, call) else { continue };
        let step = range.clone().count().div_ceil(MAX_KILLS).max(1);
        for number in range.step_by(step) {
            boundary.restore("before");
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let arguments = ["strace", "-f", "-o", "/dev/null", "-e", &inject];
            let killed = Finished::of(&mut boundary.command_under(&arguments, "crash"));
            assert!(!killed.status.success(), "it outlived {call} {number}: {}", killed.stdout);
            assert!(boundary.folder().join("marker").exists(), "killed before the signing: {call} {number}");
            after(call, number);
            kills += 1;
        }
    }
    assert!(kills > 12, "only {kills} kills; traced:\n{traced}");
    // Undisturbed, the answer comes and everything is durable.
    boundary.restore("before");
    boundary.run("crash");
    assert_eq!(boundary.noted("answer"), answer);
    assert!(after("nothing", 0), "an answer was given, and what it stands for is not durable");
}

/// The calls of this kind that the signing thread makes between its marker and its answer, counted from its
/// start.
fn calls_of_the_signing(traced: &str, call: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let line_of = |name: &str| {
        traced.lines().position(|line| line.contains(&format!("/{name}\""))).expect("both are traced")
    };
    let (marker, answer) = (line_of("marker"), line_of("answer"));
    let thread = traced.lines().nth(marker)?.split(' ').next()?;
    let made = |lines: std::ops::Range<usize>| {
        traced
            .lines()
            .skip(lines.start)
            .take(lines.len())
            .filter_map(|line| line.strip_prefix(thread))
            .filter(|line| line.trim_start().starts_with(&format!("{call}(")))
            .count()
    };
    // The marker's own file is opened before it exists.
    let (before, during) = (made(0..marker + 1), made(marker + 1..answer));
    (during > 0).then_some(before + 1..=before + during)
}

// clock-back, clock-jump

/// Runs a role under another wall clock. The machine's own clock does not change.
fn under_clock(boundary: &Boundary, shift: &str, role: &str) -> Finished {
    let mut command = boundary.command_under(&["faketime", "-f", shift], role);
    Finished::of(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1")).expect_success()
}

#[test]
fn clock_back_behind_the_newest_record_nothing_is_done() {
    in_story(this_test!(), |boundary| {
        let clock = format!("{CKR_COUNTERSIGN_CLOCK:#x}");
        for shift in ["-30s", "-1h", "-365d"] {
            let finished = under_clock(boundary, shift, "login");
            assert_eq!(finished.value("rv"), clock, "{shift}");
            assert!(finished.stderr.contains("behind the newest record"), "{}", finished.stderr);
        }
        assert_eq!(boundary.run("login").value("rv"), format!("{CKR_OK:#x}"), "set right, it goes on");
    });
}

#[test]
fn clock_jump_while_the_module_was_closed_nothing_is_done() {
    in_story(this_test!(), |boundary| {
        // The machine was not booted, so its own clock shows that it is no later.
        for shift in ["+30s", "+1h", "+365d"] {
            let finished = under_clock(boundary, shift, "login");
            assert_eq!(finished.value("rv"), format!("{CKR_COUNTERSIGN_CLOCK:#x}"), "{shift}");
            assert!(finished.stderr.contains("the clock jumped by"), "{}", finished.stderr);
        }
        assert_eq!(boundary.run("login").value("rv"), format!("{CKR_OK:#x}"), "and no visit sealed its time");
    });
}

#[test]
fn clock_jump_under_an_open_module_nothing_is_signed_or_charged() {
    in_story(this_test!(), |boundary| {
        let preload = Finished::of(Command::new("faketime").args(["-f", "+0", "env"])).expect_success();
        let library = preload
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("LD_PRELOAD="))
            .expect("faketime works by it")
            .to_owned();
        boundary.note("shift", "+0");
        boundary.note("code", &authenticator(boundary, "alice").code_away(1));
        let mut command = boundary.command("jump");
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", boundary.folder().join("shift"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Finished::of(&mut command).expect_success();
    });
}

/// Shifts the wall clock under the open module.
fn jump(boundary: &Boundary) {
    let (raw, session, key) = opened();
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let record = approval("alice", &boundary.noted("code"));
    for shift in ["+60", "+3600", "-60", "-3600"] {
        boundary.note("shift", shift);
        let refused = raw.countersign(session, key, &record, &psbt);
        assert_eq!(refused, Err(CKR_COUNTERSIGN_CLOCK), "{shift}");
    }
    boundary.note("shift", "+0");
    assert_eq!(failures(&raw, session), 0);
    let signed = raw.countersign(session, key, &record, &psbt).expect("set right, it goes on");
    verify_signed(&psbt, &signed);
}
