//! What every matrix begins with: a token with users and their wallet, closed again; and what its processes do with it.

use std::fs;
use std::sync::Arc;

use cryptoki_sys::*;

use crate::boundary::raw::Raw;
use crate::boundary::wallet::{Payment, verify_signed};
use crate::boundary::{
    Authenticator, Boundary, LIMITS, Stage, USER_PIN, approval, assert_rv, create_wallet, enrol_with,
    initialised_token, read_ulong, report,
};
use countersign::pkcs11::vendor::*;

/// Satoshi that each of the story's transactions pays. The last one is over the limit of [`LIMITS`].
pub(crate) const PAYMENTS: [u64; 4] = [60_000, 61_000, 62_000, 150_000];
/// The transaction of [`PAYMENTS`] that the policy refuses.
pub(crate) const OVER_LIMIT: usize = 3;

/// Sets up a token with these users and their wallet, notes what the other processes need, and closes it.
pub(crate) fn tell(boundary: &Boundary, users: &[&str]) {
    let stage = Stage::new(users);
    for user in &stage.users {
        boundary.note(user.name(), user.uri());
    }
    boundary.note("descriptor", &stage.descriptor);
    for (number, pay) in PAYMENTS.into_iter().enumerate() {
        let psbt = Payment { pay, ..Payment::default() }.psbt(&stage.descriptor);
        fs::write(boundary.folder().join(format!("psbt-{number}")), psbt).expect("the folder is ours");
    }
    assert_rv!(stage.raw.finalize(), CKR_OK);
}

/// Opens the module, and logs the backend in: whatever happened before, it must open by itself.
pub(crate) fn open() -> (Raw, CK_SESSION_HANDLE) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.read_write();
    assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
    (raw, session)
}

/// The open module with the backend logged in, and the wallet of [`tell`].
pub(crate) struct Client {
    /// The module.
    pub(crate) raw: Raw,
    /// The backend's session.
    pub(crate) session: CK_SESSION_HANDLE,
    /// The wallet's private key.
    pub(crate) key: CK_OBJECT_HANDLE,
}

impl Client {
    /// As [`open`].
    pub(crate) fn open() -> Client {
        let (raw, session) = open();
        Client { raw, session, key: raw.wallet_key(session, "treasury") }
    }

    /// Signs one of the story's transactions; what is signed must be right.
    pub(crate) fn sign(&self, user: &str, code: &str, psbt: &[u8]) -> CK_RV {
        match self.raw.countersign(self.session, self.key, &approval(user, code), psbt) {
            Ok(signed) => {
                verify_signed(psbt, &signed);
                CKR_OK
            }
            Err(rv) => rv,
        }
    }

    /// Tries charged to a user and not right.
    pub(crate) fn failures(&self, user: &str) -> CK_ULONG {
        failures(&self.raw, self.session, user)
    }
}

/// Tries charged to a user and not right.
pub(crate) fn failures(raw: &Raw, session: CK_SESSION_HANDLE, user: &str) -> CK_ULONG {
    read_ulong(raw, session, raw.user_key(session, user), CKA_COUNTERSIGN_FAILURES)
}

/// One of the story's transactions.
pub(crate) fn transaction(boundary: &Boundary, number: usize) -> Vec<u8> {
    fs::read(boundary.folder().join(format!("psbt-{number}"))).expect("the story made it")
}

/// The authenticator of a user of the story.
pub(crate) fn authenticator(boundary: &Boundary, user: &str) -> Authenticator {
    Authenticator::scan(user, &boundary.noted(user))
}

/// Signs the first transaction with alice's noted code; what it does comes between the files `marker` and `answer`.
pub(crate) fn sign_between_markers(boundary: &Boundary) -> (Client, CK_RV) {
    let client = Client::open();
    let (psbt, code) = (transaction(boundary, 0), boundary.noted("code"));
    let record = approval("alice", &code);
    boundary.note("marker", "");
    let answer = client.raw.countersign(client.session, client.key, &record, &psbt);
    boundary.note("answer", "");
    let rv = match answer {
        Ok(signed) => {
            verify_signed(&psbt, &signed);
            CKR_OK
        }
        Err(rv) => rv,
    };
    (client, rv)
}

/// What a fresh process finds after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Alice's tries that are charged.
    pub(crate) failures: u64,
    /// Which of the story's first three transactions alice's noted code gave signatures for.
    pub(crate) signed: [bool; 3],
}

/// In a fresh process without faults: looks at alice's charges, and tries her code for three transactions.
pub(crate) fn look(boundary: &Boundary) {
    let client = Client::open();
    report("failures", client.failures("alice"));
    // The one that the fault met comes second: tried first, it would be what the code is spent on.
    for number in [1, 0, 2] {
        let rv = client.sign("alice", &boundary.noted("code"), &transaction(boundary, number));
        report(&format!("signed-{number}"), format!("{rv:#x}"));
    }
    // The limit holds, whatever was torn: with a code that is right.
    let code = authenticator(boundary, "bob").code_away(1);
    assert_rv!(client.sign("bob", &code, &transaction(boundary, OVER_LIMIT)), CKR_COUNTERSIGN_POLICY);
}

/// Runs [`look`] and reads its report. The role must be called `look`.
pub(crate) fn found(boundary: &Boundary, what: &str) -> Found {
    let finished = crate::boundary::Finished::of(&mut boundary.command("look"));
    assert!(
        finished.status.success(),
        "{what}: the module is not sound afterwards\n{}\n{}",
        finished.stdout,
        finished.stderr
    );
    let signed = [0, 1, 2].map(|number| {
        let rv = finished.value(&format!("signed-{number}"));
        let refusals = [CKR_PIN_INCORRECT, CKR_PIN_LOCKED].map(|rv| format!("{rv:#x}"));
        assert!(rv == format!("{CKR_OK:#x}") || refusals.iter().any(|refusal| refusal == rv), "{what}: {rv}");
        rv == format!("{CKR_OK:#x}")
    });
    Found { failures: finished.value("failures").parse().expect("a number"), signed }
}

/// Users of one wallet, at the most.
const USERS_OF_A_WALLET: usize = 16;

/// A token with many users, whose codes change every `period` seconds, and as many wallets as they need.
pub(crate) fn tell_of_many(boundary: &Boundary, users: &[String], period: u64) {
    let raw = initialised_token();
    let so = raw.so();
    for name in users {
        let user = enrol_with(&raw, so, name, period);
        assert_rv!(raw.verify(so, raw.user_key(so, name), &user.code_away(-1)), CKR_OK);
        boundary.note(name, user.uri());
    }
    for (number, names) in users.chunks(USERS_OF_A_WALLET).enumerate() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let label = format!("wallet-{number}");
        boundary.note(&label, &create_wallet(&raw, so, &label, &names, LIMITS));
    }
    assert_rv!(raw.finalize(), CKR_OK);
}

/// A wallet of [`tell_of_many`].
pub(crate) struct Shared {
    /// Its private key.
    pub(crate) key: CK_OBJECT_HANDLE,
    /// Its descriptor.
    pub(crate) descriptor: String,
}

/// The wallets of all users of [`tell_of_many`], one entry a user.
pub(crate) fn wallets_of(
    boundary: &Boundary,
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    users: usize,
) -> Vec<Arc<Shared>> {
    let mut wallets = Vec::new();
    for (number, first) in (0..users).step_by(USERS_OF_A_WALLET).enumerate() {
        let label = format!("wallet-{number}");
        let wallet =
            Arc::new(Shared { key: raw.wallet_key(session, &label), descriptor: boundary.noted(&label) });
        wallets.extend(std::iter::repeat_n(wallet, USERS_OF_A_WALLET.min(users - first)));
    }
    wallets
}
