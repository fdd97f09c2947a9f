//! `countersign key …`: the keys that sign digests, for transactions of other chains, which the module cannot
//! read.

mod create;
mod policy;
mod set;
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
use crate::freeze::FreezeOne;
use crate::kind::{Kind, List};
use crate::meaning::Act;
use crate::names;
use crate::output::{Report, details, yes_no};
use crate::terms::{HasTerms, Show};

/// Create, list, change and freeze keys that sign digests, for other chains.
#[derive(Subcommand)]
pub(crate) enum Key {
    Create(create::Create),
    /// List the keys that sign digests.
    List(List),
    /// Show one key that signs digests.
    Show(Show<Record>),
    Set(set::Set),
    /// Freeze a key, at once: it signs nothing until you thaw it.
    ///
    /// No code that is given for it is looked at, nothing is spent, and what it signed within the last two minutes is not given again.
    Freeze(FreezeOne<Record>),
    /// End the freeze of a key.
    Thaw(FreezeOne<Record>),
    Sign(sign::Sign),
}

impl Key {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Key::Create(verb) => verb.run(global),
            Key::List(verb) => verb.run::<Record>(global),
            Key::Show(verb) => verb.run(global),
            Key::Set(verb) => verb.run(global),
            Key::Freeze(verb) => verb.freeze(global),
            Key::Thaw(verb) => verb.thaw(global),
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
pub(crate) struct Record {
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
    fn of(session: &Session, key: ObjectHandle) -> Result<Record, CommandError> {
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
}

impl Kind for Record {
    const ONE: &'static str = "key";
    const ALL: &'static str = "keys";
    const NAME: &'static str = "LABEL";
    const NAME_HELP: &'static str = "The key's label";
    const COLUMNS: &'static [&'static str] = &["LABEL", "MECHANISMS", "FROZEN", "USERS"];
    const NONE: (&'static str, &'static str) =
        ("There are no keys that sign digests.\n", "next: countersign key create --help");

    fn check_name(label: &str) -> Result<String, String> {
        names::key_label(label)
    }

    /// Finds only keys for digests: a wallet's keys are made by another mechanism.
    fn template() -> Vec<Attribute> {
        let made_by = number(CKA_KEY_GEN_MECHANISM, CKM_EC_KEY_PAIR_GEN);
        vec![Attribute::Class(ObjectClass::PUBLIC_KEY), made_by]
    }

    fn read(
        session: &Session,
        objects: &[ObjectHandle],
        _: Option<&str>,
    ) -> Result<Vec<Record>, CommandError> {
        objects.iter().map(|key| Record::of(session, *key)).collect()
    }

    fn changing(label: &str) -> Act<'_> {
        Act::SetKey(label)
    }

    fn name(&self) -> &str {
        &self.label
    }

    fn row(&self) -> Vec<String> {
        let (mechanisms, users) = (self.mechanism_names().join("\n"), self.users.join("\n"));
        vec![self.label.clone(), mechanisms, yes_no(self.frozen), users]
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
}

impl HasTerms for Record {
    fn users(&self) -> &[String] {
        &self.users
    }

    fn policy(&self) -> &str {
        &self.policy
    }

    fn refusal(&self, policy: &str, users: usize) -> Option<String> {
        policy::refusal(policy, users)
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
        let mut wanted = Record::template();
        wanted.extend([Attribute::Label(label.as_bytes().to_vec()), allowed(list)]);
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
