//! Attacks on PKCS#11 interfaces, each of which worked on some token. The module refuses each with the named
//! answer, and the attacker gains nothing.
//!
//! - J. Clulow, "On the Security of PKCS #11", CHES 2003: wrapping and decrypting with one key, weakened and related keys,
//!   parallel search.
//! - M. Bortolozzo, M. Centenaro, R. Focardi, G. Steel, "Attacking and Fixing PKCS#11 Security Tokens", CCS 2010 (Tookan):
//!   attributes set, unset and in conflict, on keys that are there, in templates, by copying, by unwrapping.
//!
//! | file | who gains |
//! |---|---|
//! | `keys` | a different key, or another use of a key |
//! | `templates` | a known or weak key |
//! | `secrets` | a key's value, piece by piece |
//! | `session_objects` | trust in a key, by an object that looks like it |
//! | `codes`, `messages` | a signature without a code for it |
//! | `digests` | a wallet's signature, made by a key that signs digests |
//! | `officer` | the user's rights, for the security officer |
//! | `rogue` | the officers' rights, for the security officer |

#![allow(unsafe_code, reason = "the function tables of PKCS#11 are tables of unsafe functions")]

mod codes;
mod digests;
mod keys;
mod messages;
mod officer;
mod rogue;
mod secrets;
mod session_objects;
mod templates;

use core::ptr;

use bitcoin::psbt::Psbt;
use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use serde_json::Value;

use harness::module::cli::Cli;
use harness::module::raw::{Attribute, Mechanism, Raw, Template, call};
use harness::module::{Boundary, Finished, LIMITS, Stage, assert_rv, ulong};

/// The attributes that are compared for every key before and after an attack.
const WATCHED: [CK_ATTRIBUTE_TYPE; 28] = [
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_ID,
    CKA_SENSITIVE,
    CKA_ALWAYS_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_NEVER_EXTRACTABLE,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_VERIFY,
    CKA_WRAP,
    CKA_UNWRAP,
    CKA_DERIVE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_TRUSTED,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_ALLOWED_MECHANISMS,
    CKA_COPYABLE,
    CKA_MODIFIABLE,
    CKA_LOCAL,
    CKA_COUNTERSIGN_USERS,
    CKA_COUNTERSIGN_POLICY,
    CKA_COUNTERSIGN_DESCRIPTOR,
];

/// Every object that a session sees, with its handle and the watched attributes.
type Snapshot = Vec<(CK_OBJECT_HANDLE, Vec<Result<Vec<u8>, CK_RV>>)>;

fn snapshot(raw: &Raw, session: CK_SESSION_HANDLE) -> Snapshot {
    let objects = raw.find(session, &[]).unwrap_or_else(|rv| panic!("C_FindObjects answered {rv:#x}"));
    let shown = |object| WATCHED.iter().map(|kind| raw.attribute(session, object, *kind)).collect();
    objects.into_iter().map(|object| (object, shown(object))).collect()
}

/// Runs an attack, which must leave every object unchanged and add none.
fn gaining_nothing(raw: &Raw, session: CK_SESSION_HANDLE, attack: impl FnOnce()) {
    let before = snapshot(raw, session);
    assert!(before.len() >= 3, "there is something to gain: {} objects", before.len());
    attack();
    assert_eq!(snapshot(raw, session), before, "an object was changed, added or removed");
}

/// Runs an attack in the backend's session and then in the security officer's: its session, and whether that is the
/// officer's. Neither gains anything.
fn in_either_role(stage: &Stage, attack: impl Fn(CK_SESSION_HANDLE, bool)) {
    for so_is_in in [false, true] {
        let session = if so_is_in { as_officer(&stage.raw) } else { stage.session };
        gaining_nothing(&stage.raw, session, || attack(session, so_is_in));
    }
}

/// The links of the audit so far, parsed.
fn audit(boundary: &Boundary) -> Vec<Value> {
    let mut command = Cli(boundary).command(&[], &["audit", "export"]);
    command.env("COUNTERSIGN_CONF", boundary.folder().join("countersign.toml"));
    let lines = Finished::of(&mut command).expect_success().stdout;
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The transactions that were countersigned, in their order.
fn countersigned(boundary: &Boundary) -> Vec<String> {
    let links = audit(boundary);
    let signed = links.iter().filter(|link| link["event"] == "countersigned");
    signed.map(|link| link["txid"].as_str().expect("a text").to_owned()).collect()
}

/// The transaction of a PSBT.
fn txid(psbt: &[u8]) -> String {
    Psbt::deserialize(psbt).expect("a PSBT").unsigned_tx.compute_txid().to_string()
}

/// `C_WrapKey`; the buffer must stay as it was.
fn wrap(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    by: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let (mut wrapped, mut len) = ([0x5a; 512], 512);
    let mut mechanism = Mechanism::new(mechanism, &[]);
    let rv = call!(raw, C_WrapKey(session, mechanism.pointer(), by, key, wrapped.as_mut_ptr(), &mut len));
    assert_eq!((wrapped, len), ([0x5a; 512], 512), "something was written");
    rv
}

/// `C_UnwrapKey`.
fn unwrap(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    by: CK_OBJECT_HANDLE,
    template: &[Attribute],
) -> CK_RV {
    let (mut wrapped, mut key) = ([0x11; 40], 0);
    let mut mechanism = Mechanism::new(mechanism, &[]);
    let mut template = Template::of(template);
    let (attributes, count) = (template.pointer(), template.count());
    let rv = call!(
        raw,
        C_UnwrapKey(session, mechanism.pointer(), by, wrapped.as_mut_ptr(), 40, attributes, count, &mut key)
    );
    assert_eq!(key, 0, "a handle was given");
    rv
}

/// `C_DeriveKey`.
fn derive(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    parameter: &[u8],
    base: CK_OBJECT_HANDLE,
) -> CK_RV {
    let mut key = 0;
    let mut mechanism = Mechanism::new(mechanism, parameter);
    let mut template = Template::of(&[(CKA_SENSITIVE, vec![CK_FALSE]), (CKA_EXTRACTABLE, vec![CK_TRUE])]);
    let (attributes, count) = (template.pointer(), template.count());
    let rv = call!(raw, C_DeriveKey(session, mechanism.pointer(), base, attributes, count, &mut key));
    assert_eq!(key, 0, "a handle was given");
    rv
}

/// Attributes that an attacker would like a key to have. Each of them removes one of the key's protections.
fn weakened() -> Vec<Attribute> {
    let yes = |kind| (kind, vec![CK_TRUE]);
    let no = |kind| (kind, vec![CK_FALSE]);
    vec![
        no(CKA_SENSITIVE),
        yes(CKA_EXTRACTABLE),
        no(CKA_PRIVATE),
        no(CKA_TOKEN),
        yes(CKA_DECRYPT),
        yes(CKA_UNWRAP),
        yes(CKA_DERIVE),
        yes(CKA_COPYABLE),
    ]
}

/// The label of objects that an attacker makes.
const MADE: &str = "made";

/// The label of the key that signs digests.
const SIDECHAIN: &str = "sidechain";

/// The object identifier of secp256k1, in DER.
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// A stage with a key that signs digests for all of the users.
fn stage(users: &[&str]) -> Stage {
    let mut stage = Stage::new(users);
    stage.as_so(|raw, so| {
        let [public, private] = digest_key(SIDECHAIN, &users.join("\n"));
        let made = raw.generate_key_pair(so, CKM_EC_KEY_PAIR_GEN, &public, &private);
        assert!(made.is_ok(), "{made:x?}");
    });
    stage
}

/// The template of a wallet for alice.
fn wallet(label: &str) -> Vec<Attribute> {
    vec![
        (CKA_LABEL, label.into()),
        (CKA_COUNTERSIGN_NETWORK, b"regtest".to_vec()),
        (CKA_COUNTERSIGN_USERS, b"alice".to_vec()),
        (CKA_COUNTERSIGN_POLICY, LIMITS.into()),
    ]
}

/// The templates of a key that signs digests.
fn digest_key(label: &str, users: &str) -> [Vec<Attribute>; 2] {
    let private = vec![
        (CKA_LABEL, label.into()),
        (CKA_COUNTERSIGN_USERS, users.into()),
        (CKA_COUNTERSIGN_POLICY, b"unlimited = true".to_vec()),
        (CKA_ALLOWED_MECHANISMS, [ulong(CKM_COUNTERSIGN_DIGEST), ulong(CKM_ECDSA)].concat()),
    ];
    [vec![(CKA_EC_PARAMS, SECP256K1.to_vec())], private]
}

/// The keys of the token that the session sees.
struct Keys {
    wallet: CK_OBJECT_HANDLE,
    wallet_public: CK_OBJECT_HANDLE,
    user: CK_OBJECT_HANDLE,
    digest: CK_OBJECT_HANDLE,
    digest_public: CK_OBJECT_HANDLE,
}

impl Keys {
    fn seen_by(raw: &Raw, session: CK_SESSION_HANDLE) -> Keys {
        Keys {
            wallet: raw.wallet_key(session, "treasury"),
            wallet_public: raw.wallet_public(session, "treasury"),
            user: raw.user_key(session, "alice"),
            digest: raw.wallet_key(session, SIDECHAIN),
            digest_public: raw.wallet_public(session, SIDECHAIN),
        }
    }

    fn all(&self) -> [CK_OBJECT_HANDLE; 5] {
        [self.wallet, self.wallet_public, self.user, self.digest, self.digest_public]
    }
}

/// The answer to setting an attribute that nobody can set. A backend can set none; the security officer
/// learns whether the key has it.
fn refusal_to_set(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    kind: CK_ATTRIBUTE_TYPE,
) -> CK_RV {
    match (raw.state(session), raw.attribute(session, key, kind)) {
        (Ok(CKS_RW_SO_FUNCTIONS), Err(CKR_ATTRIBUTE_TYPE_INVALID)) => CKR_TEMPLATE_INCONSISTENT,
        (Ok(CKS_RW_SO_FUNCTIONS), _) => CKR_ATTRIBUTE_READ_ONLY,
        _ => CKR_USER_NOT_LOGGED_IN,
    }
}

/// Checks that a code is still good after an attack with it was refused: the attack spent nothing.
fn still_signs(boundary: &Boundary, stage: &Stage, user: &str, code: &str) {
    let before = countersigned(boundary).len();
    let psbt = stage.psbt();
    let signed = stage.sign(user, code, &psbt).unwrap_or_else(|rv| panic!("refused by {rv:#x}"));
    harness::module::wallet::verify_signed(&psbt, &signed);
    assert_eq!(countersigned(boundary)[before..], [txid(&psbt)]);
}

/// A session of the security officer, after the backend has logged out.
fn as_officer(raw: &Raw) -> CK_SESSION_HANDLE {
    assert_rv!(raw.close_all(), CKR_OK);
    raw.so()
}

/// The operations that the module does not have, so no key is an oracle for them.
fn no_such_operations(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> Vec<(&'static str, CK_RV)> {
    let mut mechanism = Mechanism::new(CKM_ECDSA, &[]);
    let mechanism = mechanism.pointer();
    let (mut data, mut out, mut len) = ([7u8; 32], [0x5a; 512], 512);
    let (input, output) = (data.as_mut_ptr(), out.as_mut_ptr());
    let answers = vec![
        ("C_EncryptInit", call!(raw, C_EncryptInit(session, mechanism, key))),
        ("C_Encrypt", call!(raw, C_Encrypt(session, input, 32, output, &mut len))),
        ("C_DecryptInit", call!(raw, C_DecryptInit(session, mechanism, key))),
        ("C_Decrypt", call!(raw, C_Decrypt(session, input, 32, output, &mut len))),
        ("C_DigestInit", call!(raw, C_DigestInit(session, mechanism))),
        ("C_DigestKey", call!(raw, C_DigestKey(session, key))),
        ("C_DigestFinal", call!(raw, C_DigestFinal(session, output, &mut len))),
        ("C_SignRecoverInit", call!(raw, C_SignRecoverInit(session, mechanism, key))),
        ("C_SignRecover", call!(raw, C_SignRecover(session, input, 32, output, &mut len))),
        ("C_VerifyRecoverInit", call!(raw, C_VerifyRecoverInit(session, mechanism, key))),
        ("C_SignEncryptUpdate", call!(raw, C_SignEncryptUpdate(session, input, 32, output, &mut len))),
        ("C_DecryptDigestUpdate", call!(raw, C_DecryptDigestUpdate(session, input, 32, output, &mut len))),
        ("C_Encrypt, its length", call!(raw, C_Encrypt(session, input, 32, ptr::null_mut(), &mut len))),
    ];
    assert_eq!((out, len), ([0x5a; 512], 512), "something was written");
    answers
}

/// A `CK_ULONG` attribute.
fn of_number(kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Attribute {
    (kind, ulong(value))
}
