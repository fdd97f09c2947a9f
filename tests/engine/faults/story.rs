//! The start of every matrix: a token with users, their wallet and their key that signs digests, closed
//! again. Also the steps that a matrix's processes take.

use std::fs;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;
use data_encoding::HEXLOWER;

use countersign::pkcs11::vendor::*;
use harness::module::digest::{create_digest_key, digest_public_key, fresh_digest, verify_digest};
use harness::module::raw::Raw;
use harness::module::wallet::{Payment, verify_signed};
use harness::module::{
    Authenticator, Boundary, LIMITS, Stage, USER_PIN, approval, assert_rv, create_wallet, enrol_with,
    initialised_token, read_ulong, report,
};

/// The amount in satoshi of each of the story's transactions. The last one is over the limit of [`LIMITS`].
pub(crate) const PAYMENTS: [u64; 4] = [60_000, 61_000, 62_000, 150_000];
/// The request that the policy refuses: the transaction of [`PAYMENTS`] over the limit, or any digest after
/// the first one was signed.
pub(crate) const OVER_LIMIT: usize = 3;
/// The key that signs digests, and its policy.
const DIGEST_KEY: &str = "sidechain";
const ONE_SIGNATURE: &str = "max_period_transactions = 1";

/// The kind of the story's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// PSBTs of the wallet, by `C_Sign`.
    Psbts,
    /// Digests, by `C_SignMessage`.
    Digests,
}

impl Asked {
    /// The noted kind of the story's requests.
    fn noted(boundary: &Boundary) -> Asked {
        if boundary.noted("asked") == "digests" { Asked::Digests } else { Asked::Psbts }
    }
}

/// Sets up a token with these users, their wallet and their key that signs digests, notes what the other
/// processes need, and closes it. Requests are PSBTs, unless [`ask_for_digests`] is called.
pub(crate) fn tell(boundary: &Boundary, users: &[&str]) {
    let mut stage = Stage::new(users);
    stage.as_so(|raw, so| create_digest_key(raw, so, DIGEST_KEY, users, ONE_SIGNATURE));
    for user in &stage.users {
        boundary.note(user.name(), user.uri());
    }
    boundary.note("descriptor", &stage.descriptor);
    for (number, pay) in PAYMENTS.into_iter().enumerate() {
        let psbt = Payment { pay, ..Payment::default() }.psbt(&stage.descriptor);
        fs::write(boundary.folder().join(format!("psbt-{number}")), psbt).expect("the folder is ours");
    }
    boundary.note("asked", "psbts");
    assert_rv!(stage.raw.finalize(), CKR_OK);
}

/// From here on the story's requests are digests.
pub(crate) fn ask_for_digests(boundary: &Boundary) {
    boundary.note("asked", "digests");
}

/// Opens the module, and logs the backend in. Whatever happened before, the module must open by itself.
pub(crate) fn open() -> (Raw, CK_SESSION_HANDLE) {
    let raw = Raw::load();
    assert_rv!(raw.initialize(), CKR_OK);
    let session = raw.read_write();
    assert_rv!(raw.login(session, CKU_USER, USER_PIN.as_bytes()), CKR_OK);
    (raw, session)
}

/// The open module with the backend logged in, and the key of [`tell`] that signs.
pub(crate) struct Client {
    /// The module.
    pub(crate) raw: Raw,
    /// The backend's session. For digests, it has a message-based operation.
    pub(crate) session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    asked: Asked,
}

impl Client {
    /// As [`open`].
    pub(crate) fn open(boundary: &Boundary) -> Client {
        Client::of(boundary, open())
    }

    /// Uses a session with the backend logged in.
    pub(crate) fn of(boundary: &Boundary, (raw, session): (Raw, CK_SESSION_HANDLE)) -> Client {
        let asked = Asked::noted(boundary);
        let key = match asked {
            Asked::Psbts => raw.wallet_key(session, "treasury"),
            Asked::Digests => {
                let key = raw.wallet_key(session, DIGEST_KEY);
                assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_DIGEST, key), CKR_OK);
                key
            }
        };
        Client { raw, session, key, asked }
    }

    /// Signs one of the story's requests, and checks the signature.
    pub(crate) fn sign(&self, user: &str, code: &str, request: &[u8]) -> CK_RV {
        self.signed(user, code, request).err().unwrap_or(CKR_OK)
    }

    /// The same, and returns the signed data.
    pub(crate) fn signed(&self, user: &str, code: &str, request: &[u8]) -> Result<Vec<u8>, CK_RV> {
        let signed = self.call(&approval(user, code), request)?;
        self.verify(request, &signed);
        Ok(signed)
    }

    /// The one call that signs.
    fn call(&self, record: &[u8], request: &[u8]) -> Result<Vec<u8>, CK_RV> {
        match self.asked {
            Asked::Psbts => self.raw.countersign(self.session, self.key, record, request),
            Asked::Digests => self.raw.sign_message(self.session, record, request),
        }
    }

    fn verify(&self, request: &[u8], signed: &[u8]) {
        match self.asked {
            Asked::Psbts => verify_signed(request, signed),
            Asked::Digests => {
                verify_digest(&digest_public_key(&self.raw, self.session, DIGEST_KEY), request, signed)
            }
        }
    }

    /// Wrong tries charged to a user.
    pub(crate) fn failures(&self, user: &str) -> CK_ULONG {
        failures(&self.raw, self.session, user)
    }
}

/// Wrong tries charged to a user.
pub(crate) fn failures(raw: &Raw, session: CK_SESSION_HANDLE, user: &str) -> CK_ULONG {
    read_ulong(raw, session, raw.user_key(session, user), CKA_COUNTERSIGN_FAILURES)
}

/// One of the story's requests.
pub(crate) fn request(boundary: &Boundary, number: usize) -> Vec<u8> {
    match Asked::noted(boundary) {
        Asked::Psbts => {
            fs::read(boundary.folder().join(format!("psbt-{number}"))).expect("the story made it")
        }
        Asked::Digests => vec![number as u8 + 1; 32],
    }
}

/// The authenticator of a user of the story.
pub(crate) fn authenticator(boundary: &Boundary, user: &str) -> Authenticator {
    Authenticator::scan(user, &boundary.noted(user))
}

/// Signs the first request, or the noted one, with alice's noted code. This happens between the files
/// `marker` and `answer`; the latter gets the signed data.
pub(crate) fn sign_between_markers(boundary: &Boundary) -> (Client, CK_RV) {
    let client = Client::open(boundary);
    let number = fs::read_to_string(boundary.folder().join("request")).unwrap_or_default();
    let (request, code) = (request(boundary, number.parse().unwrap_or(0)), boundary.noted("code"));
    let record = approval("alice", &code);
    boundary.note("marker", "");
    let answer = client.call(&record, &request);
    boundary.note("answer", &answer.as_deref().map(|signed| HEXLOWER.encode(signed)).unwrap_or_default());
    let rv = match answer {
        Ok(signed) => {
            client.verify(&request, &signed);
            CKR_OK
        }
        Err(rv) => rv,
    };
    (client, rv)
}

/// What a fresh process finds after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The tries charged to alice.
    pub(crate) failures: u64,
    /// Which of the story's first three requests alice's noted code signed.
    pub(crate) signed: [bool; 3],
}

/// In a fresh process without faults: reads alice's charges, and tries her code for three requests.
pub(crate) fn look(boundary: &Boundary) {
    let client = Client::open(boundary);
    report("failures", client.failures("alice"));
    let code = boundary.noted("code");
    // The request that met the fault comes second. If it were first, the code would be spent on it.
    for number in [1, 0, 2] {
        let signed = client.signed("alice", &code, &request(boundary, number));
        report(&format!("signed-{number}"), format!("{:#x}", signed.as_ref().err().unwrap_or(&CKR_OK)));
        if let (0, Ok(signed)) = (number, signed) {
            // Asking a second time within two minutes gives the same bytes, for a caller who lost the answer.
            let answered = fs::read_to_string(boundary.folder().join("answer")).unwrap_or_default();
            let signed = HEXLOWER.encode(&signed);
            assert!(answered.is_empty() || answered == signed, "{answered} before, and {signed} now");
            let again =
                client.signed("alice", &code, &request(boundary, 0)).map(|again| HEXLOWER.encode(&again));
            assert_eq!(again, Ok(signed));
        }
    }
    // The limit holds whatever was torn, also with a right code. One digest is signed by now, before or
    // during this look.
    let code = authenticator(boundary, "bob").code_away(1);
    assert_rv!(client.sign("bob", &code, &request(boundary, OVER_LIMIT)), CKR_COUNTERSIGN_POLICY);
}

/// Runs [`look`] and reads its report. The role must be called `look`.
pub(crate) fn found(boundary: &Boundary, what: &str) -> Found {
    let finished = harness::module::Finished::of(&mut boundary.command("look"));
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

/// The most users of one wallet.
const USERS_OF_A_WALLET: usize = 16;

/// Sets up a token with many users, whose codes change every `period` seconds, and as many wallets as they
/// need, each with a key that signs digests for the same users.
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
        create_digest_key(&raw, so, &format!("key-{number}"), &names, "unlimited = true");
    }
    assert_rv!(raw.finalize(), CKR_OK);
}

/// A wallet of [`tell_of_many`], and the digest key of the same users.
pub(crate) struct Shared {
    /// The wallet's private key.
    pub(crate) key: CK_OBJECT_HANDLE,
    /// Its descriptor.
    pub(crate) descriptor: String,
    /// The private key that signs digests.
    pub(crate) digest_key: CK_OBJECT_HANDLE,
    /// Its public key.
    pub(crate) digest_public: PublicKey,
}

impl Shared {
    /// Signs a fresh digest in a session, as a message of its own, and checks the signature.
    pub(crate) fn sign_digest(
        &self,
        raw: &Raw,
        session: CK_SESSION_HANDLE,
        record: &[u8],
    ) -> Result<(), CK_RV> {
        let digest = fresh_digest();
        assert_rv!(raw.message_sign_init(session, CKM_COUNTERSIGN_DIGEST, self.digest_key), CKR_OK);
        let signed = raw.sign_message(session, record, &digest);
        assert_rv!(raw.message_sign_final(session), CKR_OK);
        verify_digest(&self.digest_public, &digest, &signed?);
        Ok(())
    }

    /// Signs a transaction of the wallet, and checks the signature.
    pub(crate) fn sign_psbt(
        &self,
        raw: &Raw,
        session: CK_SESSION_HANDLE,
        record: &[u8],
        psbt: &[u8],
    ) -> Result<(), CK_RV> {
        verify_signed(psbt, &raw.countersign(session, self.key, record, psbt)?);
        Ok(())
    }
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
        let (wallet, key) = (format!("wallet-{number}"), format!("key-{number}"));
        let shared = Arc::new(Shared {
            key: raw.wallet_key(session, &wallet),
            descriptor: boundary.noted(&wallet),
            digest_key: raw.wallet_key(session, &key),
            digest_public: digest_public_key(raw, session, &key),
        });
        wallets.extend(std::iter::repeat_n(shared, USERS_OF_A_WALLET.min(users - first)));
    }
    wallets
}
