//! `state-rollback`: a hundred older stores, one after the other, beside the newest token.

use std::fs;

use cryptoki_sys::*;

use countersign::pkcs11::vendor::*;
use harness::module::raw::{Raw, finalize_backing};
use harness::module::wallet::Payment;
use harness::module::{
    Boundary, LIMITS, approval, assert_rv, create_wallet, enrol, in_boundary, initialised_token, summarise,
    this_test,
};

/// How many older states there are.
const STATES: usize = 100;

#[test]
fn state_rollback_each_of_a_hundred_older_stores_is_refused() {
    in_boundary(this_test!(), |boundary| match boundary.role() {
        "history" => history(boundary),
        "put back" => put_back(boundary),
        _ => {
            boundary.run("history");
            boundary.save("newest");
            boundary.run("put back");
            summarise(format_args!("older stores: {STATES} of {STATES} refused, the newest always opened"));
        }
    });
}

/// Copies the store while the module is open, with its journal, as somebody with the disk would.
fn keep(boundary: &Boundary, number: usize) {
    let folder = boundary.folder().with_file_name(format!("older-{number}"));
    fs::create_dir(&folder).expect("the folder is ours");
    for file in boundary.store_files().iter().filter(|file| file.exists()) {
        fs::copy(file, folder.join(file.file_name().expect("it has a name"))).expect("the folder is ours");
    }
}

/// Enrols and confirms users, tries wrong codes and signs transactions. Keeps a copy of every state.
fn history(boundary: &Boundary) {
    let raw = initialised_token();
    let so = raw.so();
    let mut number = 0;
    let mut kept = || {
        keep(boundary, number);
        number += 1;
    };
    kept();
    let names: Vec<String> = (0..16).map(|number| format!("user-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut users = Vec::new();
    for name in &names {
        let user = enrol(&raw, so, name);
        kept();
        assert_rv!(raw.verify(so, raw.user_key(so, name), &user.code_away(-1)), CKR_OK);
        kept();
        users.push(user);
    }
    let descriptor = create_wallet(&raw, so, "treasury", &names, LIMITS);
    kept();
    assert_rv!(raw.close_all(), CKR_OK);
    let session = raw.user();
    let key = raw.wallet_key(session, "treasury");
    let mut sign = |user: &str, code: &str| {
        let psbt = Payment::default().psbt(&descriptor);
        let rv = raw.countersign(session, key, &approval(user, code), &psbt).err().unwrap_or(CKR_OK);
        kept();
        rv
    };
    for user in &users {
        assert_rv!(sign(user.name(), &user.wrong_code()), CKR_PIN_INCORRECT);
        assert_rv!(sign(user.name(), &user.code_away(1)), CKR_OK);
        for _ in 0..2 {
            assert_rv!(sign(user.name(), &user.wrong_code()), CKR_PIN_INCORRECT);
        }
    }
    for _ in 0..2 {
        assert_rv!(sign("nobody", "12345678"), CKR_PIN_INCORRECT);
    }
    // The last act makes every copy older.
    let psbt = Payment::default().psbt(&descriptor);
    let record = approval("nobody", "12345678");
    assert_eq!(raw.countersign(session, key, &record, &psbt), Err(CKR_PIN_INCORRECT));
    assert_eq!(number, STATES);
    assert_rv!(raw.finalize(), CKR_OK);
}

fn put_back(boundary: &Boundary) {
    let raw = Raw::load();
    let mut versions = std::collections::HashSet::new();
    for number in 0..STATES {
        let name = format!("older-{number}");
        boundary.restore_store(&name);
        versions.insert(boundary.store_files().map(|file| fs::read(file).unwrap_or_default()));
        assert_rv!(raw.initialize(), CKR_COUNTERSIGN_STATE, "{name}");
        finalize_backing(boundary);
        boundary.restore_store("newest");
        assert_rv!(raw.initialize(), CKR_OK, "the newest, after {name}");
        assert_rv!(raw.finalize(), CKR_OK);
        finalize_backing(boundary);
    }
    assert_eq!(versions.len(), STATES, "each state is another one");
}
