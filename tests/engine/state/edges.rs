//! The surroundings of the sealed records: the schema that SQLite follows, and the lock.

use std::os::unix::fs::symlink;

use super::*;

/// Nothing in the file decides what a commit writes.
#[test]
fn schema_a_store_with_a_trigger_view_or_other_table_stays_closed() {
    in_story(this_test!(), |boundary| {
        boundary.save("whole");
        for (sql, word) in [
            ("CREATE TRIGGER quiet BEFORE INSERT ON link BEGIN SELECT RAISE(IGNORE); END", "trigger"),
            ("CREATE VIEW v AS SELECT * FROM record", "view"),
            ("CREATE TABLE other (x)", "\"other\""),
        ] {
            connect(boundary).execute_batch(sql).expect("it is SQL");
            expect_closed(boundary, sql, word);
            boundary.restore("whole");
        }
        expect_open(boundary);
    });
}

#[test]
fn lock_link_a_link_in_the_place_of_the_lock_is_not_followed() {
    in_story(this_test!(), |boundary| {
        let lock = boundary.folder().join("countersign.db.lock");
        fs::remove_file(&lock).expect("it was made");
        boundary.note("precious", "not to be emptied");
        symlink(boundary.folder().join("precious"), &lock).expect("the folder is ours");
        let probe = boundary.probe();
        assert_rv!(probe.rv, CKR_DEVICE_ERROR, "\n{}", probe.stderr);
        assert!(probe.stderr.contains("is a symbolic link"), "{}", probe.stderr);
        assert_eq!(boundary.noted("precious"), "not to be emptied");
        fs::remove_file(&lock).expect("it is there");
        expect_open(boundary);
    });
}

#[test]
fn a_store_whose_lock_was_removed_still_has_one_engine() {
    in_story(this_test!(), |boundary| {
        let (raw, session, key) = opened();
        fs::remove_file(boundary.folder().join("countersign.db.lock")).expect("it is there");
        let probe = boundary.probe();
        assert_rv!(probe.rv, CKR_CANT_LOCK, "\n{}", probe.stderr);
        let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
        let record = approval("alice", &authenticator(boundary, "alice").code_away(1));
        let signed = raw.countersign(session, key, &record, &psbt).expect("the first goes on");
        verify_signed(&psbt, &signed);
        assert_rv!(raw.finalize(), CKR_OK);
        expect_open(boundary);
    });
}
