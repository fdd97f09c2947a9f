//! `countersign wallet …`: the keys that sign, and whose codes they want.

mod create;
mod list;
mod policy;
mod set;
mod show;

use clap::Subcommand;
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{Attributes, kind};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::{Report, details};

/// Create, list and change wallets.
#[derive(Subcommand)]
pub(crate) enum Wallet {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Set(set::Set),
}

impl Wallet {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Wallet::Create(verb) => verb.run(global),
            Wallet::List(verb) => verb.run(global),
            Wallet::Show(verb) => verb.run(global),
            Wallet::Set(verb) => verb.run(global),
        }
    }
}

/// The labels of the wallets that the user's codes sign for.
pub(crate) fn wallets_of(session: &Session, user: &str) -> Result<Vec<String>, CommandError> {
    let wallets = read_wallets(session, None)?;
    let theirs = wallets.into_iter().filter(|wallet| wallet.users.iter().any(|name| name == user));
    Ok(theirs.map(|wallet| wallet.label).collect())
}

/// The object of the wallet of that label, of the given class.
pub(crate) fn find_wallet(
    session: &Session,
    class: ObjectClass,
    label: &str,
) -> Result<ObjectHandle, CommandError> {
    let objects = session.find_objects(&template(class, Some(label))).during(Act::Read)?;
    objects.first().copied().ok_or_else(|| no_such_wallet(label))
}

/// What the module tells of a wallet.
struct Record {
    label: String,
    network: String,
    users: Vec<String>,
    /// 8 hexadecimal digits.
    fingerprint: String,
    path: String,
    xpub: String,
    descriptor: String,
    policy: String,
}

impl Record {
    fn read(session: &Session, wallet: ObjectHandle) -> Result<Self, CommandError> {
        let types = [
            AttributeType::Label,
            kind(v::CKA_COUNTERSIGN_NETWORK),
            kind(v::CKA_COUNTERSIGN_USERS),
            kind(v::CKA_COUNTERSIGN_POLICY),
            kind(v::CKA_COUNTERSIGN_DESCRIPTOR),
            kind(v::CKA_COUNTERSIGN_XPUB),
            kind(v::CKA_COUNTERSIGN_FINGERPRINT),
            kind(v::CKA_COUNTERSIGN_PATH),
        ];
        let attributes = Attributes::read(session, wallet, &types, Act::Read)?;
        let fingerprint = attributes.bytes(v::CKA_COUNTERSIGN_FINGERPRINT).unwrap_or_default();
        Ok(Record {
            label: attributes.label(),
            network: attributes.text(v::CKA_COUNTERSIGN_NETWORK),
            users: attributes.text(v::CKA_COUNTERSIGN_USERS).lines().map(str::to_owned).collect(),
            fingerprint: fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
            path: attributes.text(v::CKA_COUNTERSIGN_PATH),
            xpub: attributes.text(v::CKA_COUNTERSIGN_XPUB),
            descriptor: attributes.text(v::CKA_COUNTERSIGN_DESCRIPTOR),
            policy: attributes.text(v::CKA_COUNTERSIGN_POLICY),
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "label": self.label,
            "network": self.network,
            "users": self.users,
            "fingerprint": self.fingerprint,
            "path": self.path,
            "xpub": self.xpub,
            "descriptor": self.descriptor,
            "policy": self.policy,
        })
    }

    fn to_text(&self) -> String {
        details(&[
            ("label", self.label.clone()),
            ("network", self.network.clone()),
            ("users", self.users.join("\n")),
            ("fingerprint", self.fingerprint.clone()),
            ("path", self.path.clone()),
            ("xpub", self.xpub.clone()),
            ("descriptor", self.descriptor.clone()),
            ("policy", self.policy.clone()),
        ])
    }
}

/// The wallets, or the one of that label, by label.
fn read_wallets(session: &Session, label: Option<&str>) -> Result<Vec<Record>, CommandError> {
    let objects = session.find_objects(&template(ObjectClass::PUBLIC_KEY, label)).during(Act::Read)?;
    let wallets: Result<Vec<Record>, CommandError> =
        objects.into_iter().map(|wallet| Record::read(session, wallet)).collect();
    let mut wallets = wallets?;
    wallets.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(wallets)
}

fn no_such_wallet(label: &str) -> CommandError {
    CommandError::new(
        format!("there is no wallet {label}"),
        "\"countersign wallet list\" shows the wallets there are",
    )
}

fn template(class: ObjectClass, label: Option<&str>) -> Vec<Attribute> {
    let class = Attribute::Class(class);
    std::iter::once(class).chain(label.map(|label| Attribute::Label(label.as_bytes().to_vec()))).collect()
}

/// Where the module refused a value, finds out which it was as far as a client can.
fn name_the_bad_value(session: &Session, users: &[String], mut error: CommandError) -> CommandError {
    if !error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
        return error;
    }
    let known = |name: &str| {
        let user = [Attribute::Class(ObjectClass::OTP_KEY), Attribute::Label(name.as_bytes().to_vec())];
        session.find_objects(&user).is_ok_and(|objects| !objects.is_empty())
    };
    if let Some(name) = users.iter().find(|name| !known(name)) {
        error.what = format!("there is no user {name}");
        error.next = format!("enrol the user first: countersign user add {}", crate::names::quoted(name));
    }
    error
}
