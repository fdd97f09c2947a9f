//! `countersign wallet …`: the wallets' keys, and whose codes they require.

mod create;
mod freeze;
mod list;
mod policy;
mod register;
mod registration_file;
mod script;
mod set;
mod show;
mod without_us;

use std::str::FromStr;

use bitcoin::bip32::{Fingerprint, Xpub};
use bitcoin::secp256k1::Secp256k1;
use clap::Subcommand;
use countersign::kernel::network::Network;
use countersign::kernel::wallet::{Reach, WatchOnly};
use countersign::pkcs11::vendor as v;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::CKA_KEY_GEN_MECHANISM;
use serde_json::{Value, json};

use crate::Global;
use crate::attributes::{Attributes, kind, number};
use crate::error::{CommandError, During};
use crate::meaning::Act;
use crate::output::{Report, details, yes_no};

/// Create, list, change and freeze wallets.
#[derive(Subcommand)]
pub(crate) enum Wallet {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Set(set::Set),
    Register(register::Register),
    Freeze(freeze::Freeze),
    Thaw(freeze::Thaw),
}

impl Wallet {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Wallet::Create(verb) => verb.run(global),
            Wallet::List(verb) => verb.run(global),
            Wallet::Show(verb) => verb.run(global),
            Wallet::Set(verb) => verb.run(global),
            Wallet::Register(verb) => verb.run(global),
            Wallet::Freeze(verb) => verb.run(global),
            Wallet::Thaw(verb) => verb.run(global),
        }
    }
}

/// The labels of the wallets that sign on this user's codes.
pub(crate) fn wallets_of(session: &Session, user: &str) -> Result<Vec<String>, CommandError> {
    let wallets = read_wallets(session, None)?;
    let theirs = wallets.into_iter().filter(|wallet| wallet.users.iter().any(|name| name == user));
    Ok(theirs.map(|wallet| wallet.label).collect())
}

/// The object of the wallet with this label, in the given class.
pub(crate) fn find_wallet(
    session: &Session,
    class: ObjectClass,
    label: &str,
) -> Result<ObjectHandle, CommandError> {
    let objects = session.find_objects(&template(class, Some(label))).during(Act::Read)?;
    objects.first().copied().ok_or_else(|| no_such_wallet(label))
}

/// What the module shows of a wallet.
struct Record {
    label: String,
    network: String,
    users: Vec<String>,
    /// 8 hexadecimal digits.
    fingerprint: String,
    path: String,
    xpub: String,
    /// Empty until the wallet is registered, like the two fields after it.
    descriptor: String,
    wallet_policy: String,
    id: String,
    policy: String,
    reach: Option<(u32, u32)>,
    frozen: Option<bool>,
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
            kind(v::CKA_COUNTERSIGN_WALLET_POLICY),
            kind(v::CKA_COUNTERSIGN_WALLET_ID),
            kind(v::CKA_COUNTERSIGN_REACH),
            kind(v::CKA_COUNTERSIGN_FROZEN),
        ];
        let attributes = Attributes::read(session, wallet, &types, Act::Read)?;
        let hex = |number| -> String {
            let bytes = attributes.bytes(number).unwrap_or_default();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Ok(Record {
            label: attributes.label(),
            network: attributes.text(v::CKA_COUNTERSIGN_NETWORK),
            users: attributes.text(v::CKA_COUNTERSIGN_USERS).lines().map(str::to_owned).collect(),
            fingerprint: hex(v::CKA_COUNTERSIGN_FINGERPRINT),
            path: attributes.text(v::CKA_COUNTERSIGN_PATH),
            xpub: attributes.text(v::CKA_COUNTERSIGN_XPUB),
            descriptor: attributes.text(v::CKA_COUNTERSIGN_DESCRIPTOR),
            wallet_policy: attributes.text(v::CKA_COUNTERSIGN_WALLET_POLICY),
            id: hex(v::CKA_COUNTERSIGN_WALLET_ID),
            policy: attributes.text(v::CKA_COUNTERSIGN_POLICY),
            reach: attributes.numbers(v::CKA_COUNTERSIGN_REACH),
            frozen: attributes.truth(v::CKA_COUNTERSIGN_FROZEN),
        })
    }

    fn registered<'a>(&self, value: &'a str) -> Option<&'a str> {
        (!value.is_empty()).then_some(value)
    }

    /// How far change counts as the wallet's.
    fn reach_text(&self) -> String {
        let text = |(external, internal)| {
            format!("external addresses below {external} and internal ones below {internal} count as used")
        };
        self.reach.filter(|reach| *reach != (0, 0)).map_or_else(|| "no address counts as used".into(), text)
    }

    fn without_us(&self) -> String {
        without_us::without_us(&self.descriptor, &self.xpub).unwrap_or_else(|| "not registered yet".into())
    }

    /// The wrappings of its script, for example `sh(wsh)`.
    fn script_type(&self) -> String {
        let words: Vec<&str> = self.descriptor.split('(').take(3).collect();
        match words[..] {
            ["sh", inner @ ("wsh" | "wpkh"), _] => format!("sh({inner})"),
            [outer, _, ..] => outer.into(),
            _ => "not registered yet".into(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "label": self.label,
            "network": self.network,
            "users": self.users,
            "fingerprint": self.fingerprint,
            "path": self.path,
            "xpub": self.xpub,
            "descriptor": self.registered(&self.descriptor),
            "wallet_policy": self.registered(&self.wallet_policy),
            "id": self.registered(&self.id),
            "reach": self.reach.map(|(external, internal)| json!({ "external": external, "internal": internal })),
            "without_us": without_us::without_us(&self.descriptor, &self.xpub),
            "policy": self.policy,
            "frozen": self.frozen,
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
            ("descriptor", self.registered(&self.descriptor).unwrap_or("not registered yet").into()),
            ("wallet policy", self.registered(&self.wallet_policy).unwrap_or("not registered yet").into()),
            ("id", self.registered(&self.id).unwrap_or("not registered yet").into()),
            ("without us", self.without_us()),
            ("reach", self.reach_text()),
            ("frozen", yes_no(self.frozen)),
            ("policy", self.policy.clone()),
        ])
    }
}

/// A wallet as the signer sees it, without its secrets.
pub(crate) struct Watched {
    pub(crate) watch: WatchOnly,
    pub(crate) policy: String,
    pub(crate) reach: Reach,
    /// It is, or everything is.
    pub(crate) is_frozen: bool,
    /// The master fingerprints of the token's other wallets.
    pub(crate) siblings: Vec<Fingerprint>,
}

/// The module shows everything that the checks of a wallet need.
pub(crate) fn watched(session: &Session, label: &str) -> Result<Watched, CommandError> {
    let (ours, others): (Vec<_>, Vec<_>) =
        read_wallets(session, None)?.into_iter().partition(|wallet| wallet.label == label);
    let wallet = ours.first().ok_or_else(|| no_such_wallet(label))?;
    if wallet.descriptor.is_empty() {
        return Err(CommandError::new(
            format!("wallet {label} is not registered yet, so it signs nothing"),
            format!("countersign wallet register {} --wallet-policy FILE", crate::names::quoted(label)),
        ));
    }
    let rebuilt = || {
        let network = Network::from_str(&wallet.network).ok()?;
        let origin = (Fingerprint::from_str(&wallet.fingerprint).ok()?, &wallet.path.parse().ok()?);
        let xpub = Xpub::from_str(&wallet.xpub).ok()?;
        let secp = Secp256k1::new();
        let watch = WatchOnly::register(label, &wallet.descriptor, origin, &xpub, network, &secp).ok()?;
        Some((watch, wallet.reach?))
    };
    let (watch, (external, internal)) = rebuilt().ok_or_else(|| {
        CommandError::new(
            format!("this program cannot read what the module shows of wallet {label}"),
            "use the program that came with the module",
        )
    })?;
    Ok(Watched {
        watch,
        policy: wallet.policy.clone(),
        reach: Reach::at(external, internal),
        is_frozen: wallet.frozen == Some(true) || crate::freeze::is_all_frozen(session)?,
        siblings: others.iter().filter_map(|other| Fingerprint::from_str(&other.fingerprint).ok()).collect(),
    })
}

/// All wallets, or the one with this label, sorted by label.
fn read_wallets(session: &Session, label: Option<&str>) -> Result<Vec<Record>, CommandError> {
    let objects = session.find_objects(&template(ObjectClass::PUBLIC_KEY, label)).during(Act::Read)?;
    let wallets: Result<Vec<Record>, CommandError> =
        objects.into_iter().map(|wallet| Record::read(session, wallet)).collect();
    let mut wallets = wallets?;
    wallets.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(wallets)
}

fn no_such_wallet(label: &str) -> CommandError {
    CommandError::new(format!("there is no wallet {label}"), "\"countersign wallet list\" lists the wallets")
}

/// Finds only wallets: a key that signs digests is made by another mechanism.
fn template(class: ObjectClass, label: Option<&str>) -> Vec<Attribute> {
    let made_by = number(CKA_KEY_GEN_MECHANISM, v::CKM_COUNTERSIGN_WALLET_KEY_GEN);
    let label = label.map(|label| Attribute::Label(label.as_bytes().to_vec()));
    [Attribute::Class(class), made_by].into_iter().chain(label).collect()
}

/// After the module refused a value, finds out whether it was a user who does not exist.
pub(crate) fn name_the_bad_user(
    session: &Session,
    users: &[String],
    mut error: CommandError,
) -> CommandError {
    if !error.is("CKR_ATTRIBUTE_VALUE_INVALID") {
        return error;
    }
    let known = |name: &str| {
        let user = [Attribute::Class(ObjectClass::OTP_KEY), Attribute::Label(name.as_bytes().to_vec())];
        session.find_objects(&user).is_ok_and(|objects| !objects.is_empty())
    };
    if let Some(name) = users.iter().find(|name| !known(name)) {
        error.what = format!("--user: there is no user {name}");
        error.next = format!("enrol the user first: countersign user add {}", crate::names::quoted(name));
    }
    error
}
