//! `countersign key …`: the keys that sign digests, for transactions of other chains, which the module cannot
//! read.

mod create;
mod freeze;
mod list;
mod policy;
mod set;
mod show;
mod sign;

use clap::{Subcommand, ValueEnum};
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::{
    CK_MECHANISM_TYPE, CKA_ALLOWED_MECHANISMS, CKA_KEY_GEN_MECHANISM, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA,
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{Attributes, kind, number, numbers};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::{Report, details, yes_no};

/// Create, list, change and freeze keys that sign digests, for other chains.
#[derive(Subcommand)]
pub(crate) enum Key {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Set(set::Set),
    Freeze(freeze::Freeze),
    Thaw(freeze::Thaw),
    Sign(sign::Sign),
}

impl Key {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Key::Create(verb) => verb.run(global),
            Key::List(verb) => verb.run(global),
            Key::Show(verb) => verb.run(global),
            Key::Set(verb) => verb.run(global),
            Key::Freeze(verb) => verb.run(global),
            Key::Thaw(verb) => verb.run(global),
            Key::Sign(verb) => verb.run(global),
        }
    }
}

/// The mechanisms that a key can be made for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mechanism {
    /// CKM_COUNTERSIGN_DIGEST: the code comes with the mechanism's parameter, or by a context-specific login
    Digest,
    /// CKM_ECDSA: the code comes by a context-specific login
    Ecdsa,
}

impl Mechanism {
    fn number(self) -> CK_MECHANISM_TYPE {
        match self {
            Mechanism::Digest => v::CKM_COUNTERSIGN_DIGEST,
            Mechanism::Ecdsa => CKM_ECDSA,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mechanism::Digest => "digest",
            Mechanism::Ecdsa => "ecdsa",
        }
    }
}

/// What the module shows of a key.
struct Record {
    label: String,
    users: Vec<String>,
    policy: String,
    /// SEC 1, uncompressed, hexadecimal.
    public_key: String,
    mechanisms: Vec<Mechanism>,
    frozen: Option<bool>,
}

impl Record {
    /// Reads the public side of a key.
    fn read(session: &Session, key: ObjectHandle) -> Result<Self, CommandError> {
        let types = [
            AttributeType::Label,
            AttributeType::EcPoint,
            kind(v::CKA_COUNTERSIGN_USERS),
            kind(v::CKA_COUNTERSIGN_POLICY),
            kind(v::CKA_COUNTERSIGN_FROZEN),
        ];
        let attributes = Attributes::read(session, key, &types, Act::Read)?;
        // Two bytes of the OCTET STRING come before the point.
        let point = attributes.ec_point().get(2..).unwrap_or_default();
        let label = attributes.label();
        Ok(Record {
            mechanisms: made_for(session, &label)?,
            label,
            users: attributes.text(v::CKA_COUNTERSIGN_USERS).lines().map(str::to_owned).collect(),
            policy: attributes.text(v::CKA_COUNTERSIGN_POLICY),
            public_key: HEXLOWER.encode(point),
            frozen: attributes.truth(v::CKA_COUNTERSIGN_FROZEN),
        })
    }

    fn mechanism_names(&self) -> Vec<&'static str> {
        self.mechanisms.iter().map(|mechanism| mechanism.name()).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "label": self.label,
            "users": self.users,
            "public_key": self.public_key,
            "mechanisms": self.mechanism_names(),
            "policy": self.policy,
            "frozen": self.frozen,
        })
    }

    fn to_text(&self) -> String {
        details(&[
            ("label", self.label.clone()),
            ("users", self.users.join("\n")),
            ("public key", self.public_key.clone()),
            ("mechanisms", self.mechanism_names().join(", ")),
            ("frozen", yes_no(self.frozen)),
            ("policy", self.policy.clone()),
        ])
    }
}

/// The mechanisms that the key with this label was made for. This searches for each possible list, because
/// the crate cannot read one that contains a vendor's mechanism.
fn made_for(session: &Session, label: &str) -> Result<Vec<Mechanism>, CommandError> {
    for list in [&[Mechanism::Digest][..], &[Mechanism::Ecdsa], &[Mechanism::Digest, Mechanism::Ecdsa]] {
        let mut wanted = template(ObjectClass::PUBLIC_KEY, Some(label));
        wanted.push(allowed(list));
        if !session.find_objects(&wanted).during(Act::Read)?.is_empty() {
            return Ok(list.to_vec());
        }
    }
    Ok(vec![])
}

/// `CKA_ALLOWED_MECHANISMS`, in the order in which the module shows it.
fn allowed(mechanisms: &[Mechanism]) -> Attribute {
    let all = Mechanism::value_variants().iter().filter(|there| mechanisms.contains(there));
    numbers(CKA_ALLOWED_MECHANISMS, &all.map(|mechanism| mechanism.number()).collect::<Vec<_>>())
}

/// All keys, or the one with this label, sorted by label.
fn read_keys(session: &Session, label: Option<&str>) -> Result<Vec<Record>, CommandError> {
    let objects = session.find_objects(&template(ObjectClass::PUBLIC_KEY, label)).during(Act::Read)?;
    let keys: Result<Vec<Record>, CommandError> =
        objects.into_iter().map(|key| Record::read(session, key)).collect();
    let mut keys = keys?;
    keys.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(keys)
}

/// The labels of the keys that sign on this user's codes.
pub(crate) fn keys_of(session: &Session, user: &str) -> Result<Vec<String>, CommandError> {
    let keys = read_keys(session, None)?;
    let theirs = keys.into_iter().filter(|key| key.users.iter().any(|name| name == user));
    Ok(theirs.map(|key| key.label).collect())
}

/// The object of the key with this label, in the given class.
fn find_key(session: &Session, class: ObjectClass, label: &str) -> Result<ObjectHandle, CommandError> {
    let objects = session.find_objects(&template(class, Some(label))).during(Act::Read)?;
    objects.first().copied().ok_or_else(|| no_such_key(label))
}

fn no_such_key(label: &str) -> CommandError {
    CommandError::new(format!("there is no key {label}"), "\"countersign key list\" lists the keys")
}

/// Finds only keys for digests: a wallet's keys are made by another mechanism.
fn template(class: ObjectClass, label: Option<&str>) -> Vec<Attribute> {
    let made_by = number(CKA_KEY_GEN_MECHANISM, CKM_EC_KEY_PAIR_GEN);
    let label = label.map(|label| Attribute::Label(label.as_bytes().to_vec()));
    [Attribute::Class(class), made_by].into_iter().chain(label).collect()
}
