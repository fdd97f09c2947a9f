//! The events in a kept store, and what must go on working in it.

use bitcoin::NetworkKind;
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use serde_json::Value;

use harness::module::cli::Cli;
use harness::module::digest::{create_digest_key, digest_public_key, fresh_digest, verify_digest};
use harness::module::raw::Raw;
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Authenticator, Boundary, Finished, LIMITS, PERIOD, USER_PIN, approval, assert_rv, create_wallet, enrol,
    enrol_confirmed, initialised_token, now, read_ulong,
};

/// A policy that refuses by a limit over a period.
const WEEKLY: &str = "max_period_sat = 70000\nperiod_hours = 168\nmax_fee_sat = 5000\n";
const SHARED: &str = "wsh(sortedmulti(2,@0/**,@1/**))";

/// Seconds by which the wall clock of a process is ahead of the machine's.
#[derive(Clone, Copy)]
pub(crate) struct Shift(pub(crate) i64);

impl Shift {
    /// The shift by which it is now `time`, or a little later. `time` is the beginning of a step, so the
    /// codes of this step and of those before and after it stay right while a test runs.
    pub(crate) fn to(time: u64) -> Shift {
        Shift(time.next_multiple_of(PERIOD).cast_signed() - now().cast_signed())
    }

    /// The words that run a command with this shift.
    fn words(self) -> [String; 3] {
        ["faketime".into(), "-f".into(), format!("{:+}", self.0)]
    }

    /// Runs a command line that must succeed.
    pub(crate) fn command(self, boundary: &Boundary, arguments: &[&str]) {
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = Cli::answer(&mut Cli(boundary).command(&words, arguments), "");
        assert!(answer.success, "{arguments:?}: {}\n{}", answer.json, answer.stderr);
    }

    /// Runs this test in `role`.
    pub(crate) fn run(self, boundary: &Boundary, role: &str) -> Finished {
        let mut command = boundary.command_under(&self.words(), role);
        Finished::of(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1")).expect_success()
    }
}

/// Plays the role of this process, if it is one of the story's.
pub(crate) fn played(boundary: &Boundary) -> bool {
    match boundary.role() {
        "begin" => begin(boundary),
        "lose" => lose(boundary),
        "go on" => go_on(boundary),
        "go on again" => go_on_again(boundary),
        _ => return false,
    }
    true
}

/// Plays the whole story, closes the store, and returns the lines of its audit.
pub(crate) fn make(boundary: &Boundary, shift: Shift) -> Vec<Value> {
    shift.run(boundary, "begin");
    boundary.save("older");
    shift.run(boundary, "lose");
    boundary.restore_store("older");
    shift.command(boundary, &["state", "restore", "--yes"]);
    let lines = export(boundary);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    boundary.note("audit.jsonl", &text);
    lines
}

/// The audit, link by link.
pub(crate) fn export(boundary: &Boundary) -> Vec<Value> {
    lines(&Cli(boundary).text(&["audit", "export"]).expect_success().stdout)
}

/// Lines of JSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Users in every state, wallets and keys with every kind of policy, and every outcome that a code can have.
fn begin(boundary: &Boundary) {
    let raw = initialised_token();
    let so = raw.so();
    let alice = enrol_confirmed(&raw, so, "alice");
    let [dave, erin] = ["dave", "erin"].map(|name| enrol_confirmed(&raw, so, name));
    let bob = enrol(&raw, so, "bob");
    enrol(&raw, so, "carol");
    assert_rv!(raw.destroy(so, raw.user_key(so, "carol")), CKR_OK);
    let descriptor = create_wallet(&raw, so, "treasury", &["alice", "erin"], LIMITS);
    create_wallet(&raw, so, "weekly", &["alice", "bob"], WEEKLY);
    share_a_wallet(&raw, so);
    create_digest_key(&raw, so, "sidechain", &["alice", "dave"], "unlimited = true");
    assert_rv!(
        raw.set_attributes(
            so,
            raw.wallet_key(so, "weekly"),
            &[(CKA_COUNTERSIGN_USERS, b"alice".to_vec()), (CKA_LABEL, b"a week".to_vec())]
        ),
        CKR_OK
    );
    let counted = (CKA_COUNTERSIGN_POLICY, b"max_period_transactions = 9\nperiod_hours = 1".to_vec());
    assert_rv!(raw.set_attributes(so, raw.wallet_key(so, "sidechain"), &[counted]), CKR_OK);
    let uncounted = (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec());
    assert_rv!(raw.set_attributes(so, raw.wallet_key(so, "sidechain"), &[uncounted]), CKR_OK);
    assert_rv!(raw.close_all(), CKR_OK);

    let session = raw.read_write();
    assert_rv!(raw.login(session, CKU_USER, b"a wrong PIN"), CKR_PIN_INCORRECT);
    assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
    let treasury = raw.wallet_key(session, "treasury");
    let sign = |psbt: &[u8], user: &str, code: &str| {
        raw.countersign(session, treasury, &approval(user, code), psbt).err().unwrap_or(CKR_OK)
    };
    let payment = |payment: Payment| payment.psbt(&descriptor);
    let (good, code) = (payment(Payment::default()), alice.code());
    let without = payment(Payment { previous: false, ..Payment::default() });
    assert_rv!(sign(&without, "alice", &alice.wrong_code()), CKR_COUNTERSIGN_PSBT_REFUSED);
    assert_rv!(sign(&good, "nobody", "12345678"), CKR_PIN_INCORRECT);
    assert_rv!(sign(&good, "alice", &code), CKR_OK);
    assert_rv!(sign(&good, "alice", &code), CKR_OK, "the same again");
    assert_rv!(sign(&good, "alice", &alice.wrong_code()), CKR_PIN_INCORRECT);
    let much = payment(Payment { pay: 100_001, ..Payment::default() });
    assert_rv!(sign(&much, "erin", &erin.code()), CKR_COUNTERSIGN_POLICY);
    let (public, digest) = (digest_public_key(&raw, session, "sidechain"), fresh_digest());
    let signature = sign_digest(&raw, session, &approval("dave", &dave.code()), &digest);
    verify_digest(&public, &digest, &signature);
    for user in [&alice, &bob] {
        boundary.note(user.name(), user.uri());
    }
    boundary.note("descriptor", &descriptor);
    assert_rv!(raw.finalize(), CKR_OK);
}

/// A wallet with other people's keys in its script (BIP 388).
fn share_a_wallet(raw: &Raw, so: CK_SESSION_HANDLE) {
    let path: DerivationPath = "48'/1'/0'/2'".parse().expect("a path");
    let (secp, cosigner) = (Secp256k1::new(), Xpriv::new_master(NetworkKind::Test, &[7; 64]));
    let cosigner = cosigner.expect("a master");
    let fingerprint = cosigner.fingerprint(&secp);
    let xpub = Xpub::from_priv(&secp, &cosigner.derive_priv(&secp, &path).expect("derives"));
    let template = [
        (CKA_LABEL, b"shared".to_vec()),
        (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
        (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
        (
            CKA_COUNTERSIGN_POLICY,
            format!("unlimited = true\nrequire_cosigner = \"{fingerprint}\"").into_bytes(),
        ),
        (CKA_COUNTERSIGN_WALLET_POLICY, format!("{SHARED}\nours\n[{fingerprint}/{path}]{xpub}").into_bytes()),
        (CKA_COUNTERSIGN_PATH, format!("m/{path}").into_bytes()),
    ];
    raw.generate_key_pair(so, CKM_COUNTERSIGN_WALLET_KEY_GEN, &template, &[])
        .unwrap_or_else(|rv| panic!("C_GenerateKeyPair answered {rv:#x}"));
}

/// What a restored store forgets.
fn lose(boundary: &Boundary) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.user();
    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let answer =
        raw.countersign(session, raw.wallet_key(session, "treasury"), &approval("nobody", "12345678"), &psbt);
    assert_eq!(answer, Err(CKR_PIN_INCORRECT));
    assert_rv!(raw.finalize(), CKR_OK);
}

/// Signs a transaction and a digest with right codes, and finds everything else as it was left.
fn go_on(boundary: &Boundary) {
    let (raw, session, alice) = opened(boundary);
    let failures = read_ulong(&raw, session, raw.user_key(session, "alice"), CKA_COUNTERSIGN_FAILURES);
    assert_eq!(failures, 1, "the wrong code is remembered");
    let private = |label: &str, kind| attribute(&raw, session, raw.wallet_key(session, label), kind);
    assert_eq!(private("a week", CKA_COUNTERSIGN_POLICY), WEEKLY);
    assert_eq!(private("a week", CKA_COUNTERSIGN_USERS), "alice");
    assert!(private("shared", CKA_COUNTERSIGN_WALLET_POLICY).starts_with(SHARED));

    let psbt = Payment::default().psbt(&boundary.noted("descriptor"));
    let signed = raw
        .countersign(
            session,
            raw.wallet_key(session, "treasury"),
            &approval("alice", &alice.code_away(-1)),
            &psbt,
        )
        .unwrap_or_else(|rv| panic!("C_Sign of a PSBT answered {rv:#x}"));
    verify_signed(&psbt, &signed);

    let digest = fresh_digest();
    let signature = sign_digest(&raw, session, &approval("alice", &alice.code_away(0)), &digest);
    verify_digest(&digest_public_key(&raw, session, "sidechain"), &digest, &signature);
    assert_rv!(raw.finalize(), CKR_OK);
}

/// Opens the store after later writes: used codes stay used, the limit over a week counts as spent since the
/// store was restored, and a user who had not confirmed still can.
fn go_on_again(boundary: &Boundary) {
    let (raw, session, alice) = opened(boundary);
    let sign = |wallet: &str, code: &str| {
        let public = raw.wallet_public(session, wallet);
        let psbt = Payment::default().psbt(&attribute(&raw, session, public, CKA_COUNTERSIGN_DESCRIPTOR));
        let key = raw.wallet_key(session, wallet);
        raw.countersign(session, key, &approval("alice", code), &psbt).err().unwrap_or(CKR_OK)
    };
    assert_rv!(sign("a week", &alice.code_away(1)), CKR_COUNTERSIGN_POLICY);
    assert_rv!(sign("treasury", &alice.code_away(0)), CKR_PIN_INCORRECT);
    assert_rv!(raw.close_all(), CKR_OK);
    let (so, bob) = (raw.so(), Authenticator::scan("bob", &boundary.noted("bob")));
    assert_rv!(raw.verify(so, raw.user_key(so, "bob"), &bob.code()), CKR_OK);
    assert_rv!(raw.finalize(), CKR_OK);
}

fn sign_digest(raw: &Raw, session: CK_SESSION_HANDLE, approval: &[u8], digest: &[u8]) -> Vec<u8> {
    let key = raw.wallet_key(session, "sidechain");
    assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_DIGEST, key), CKR_OK);
    raw.sign_message(session, approval, digest)
        .unwrap_or_else(|rv| panic!("C_SignMessage of a digest answered {rv:#x}"))
}

fn opened(boundary: &Boundary) -> (Raw, CK_SESSION_HANDLE, Authenticator) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    (raw, raw.user(), Authenticator::scan("alice", &boundary.noted("alice")))
}

/// A text attribute of an object.
fn attribute(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
) -> String {
    let value = raw.attribute(session, object, kind).unwrap_or_else(|rv| panic!("answered by {rv:#x}"));
    String::from_utf8(value).expect("it is UTF-8")
}
