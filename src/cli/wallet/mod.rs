//! `countersign wallet …`: the wallets' keys, and whose codes they require.

mod create;
mod policy;
mod register;
mod registration_file;
mod script;
mod set;
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
use crate::error::CommandError;
use crate::freeze::FreezeOne;
use crate::kind::{Kind, List, read_all, unknown};
use crate::meaning::Act;
use crate::names;
use crate::output::{Report, details, yes_no};
use crate::terms::{HasTerms, Show};

/// Create, list, change and freeze wallets.
#[derive(Subcommand)]
pub(crate) enum Wallet {
    Create(create::Create),
    /// List the wallets.
    List(List),
    /// Show one wallet.
    Show(Show<Record>),
    Set(set::Set),
    Register(register::Register),
    /// Freeze a wallet, at once: it signs nothing until you thaw it.
    ///
    /// No code that is given for it is looked at, nothing is spent, and what it signed within the last two minutes is not given again. You can
    /// change the wallet meanwhile. Any signature that left before the freeze stays valid.
    Freeze(FreezeOne<Record>),
    /// End the freeze of a wallet.
    Thaw(FreezeOne<Record>),
}

impl Wallet {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        match self {
            Wallet::Create(verb) => verb.run(global),
            Wallet::List(verb) => verb.run::<Record>(global),
            Wallet::Show(verb) => verb.run(global),
            Wallet::Set(verb) => verb.run(global),
            Wallet::Register(verb) => verb.run(global),
            Wallet::Freeze(verb) => verb.freeze(global),
            Wallet::Thaw(verb) => verb.thaw(global),
        }
    }
}

/// What the module shows of a wallet.
pub(crate) struct Record {
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
    /// Reads the public side of a wallet.
    fn of(session: &Session, wallet: ObjectHandle) -> Result<Record, CommandError> {
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
}

impl Kind for Record {
    const ONE: &'static str = "wallet";
    const ALL: &'static str = "wallets";
    const NAME: &'static str = "LABEL";
    const NAME_HELP: &'static str = "The wallet's label";
    const COLUMNS: &'static [&'static str] =
        &["LABEL", "NETWORK", "SCRIPT", "FINGERPRINT", "PATH", "FROZEN", "USERS"];
    const NONE: (&'static str, &'static str) =
        ("There are no wallets.\n", "next: countersign wallet create --help");

    fn check_name(label: &str) -> Result<String, String> {
        names::wallet_label(label)
    }

    /// Finds only wallets: a key that signs digests is made by another mechanism.
    fn template() -> Vec<Attribute> {
        let made_by = number(CKA_KEY_GEN_MECHANISM, v::CKM_COUNTERSIGN_WALLET_KEY_GEN);
        vec![Attribute::Class(ObjectClass::PUBLIC_KEY), made_by]
    }

    fn read(
        session: &Session,
        objects: &[ObjectHandle],
        _: Option<&str>,
    ) -> Result<Vec<Record>, CommandError> {
        objects.iter().map(|wallet| Record::of(session, *wallet)).collect()
    }

    fn changing(label: &str) -> Act<'_> {
        Act::SetWallet(label)
    }

    fn name(&self) -> &str {
        &self.label
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.label.clone(),
            self.network.clone(),
            self.script_type(),
            self.fingerprint.clone(),
            self.path.clone(),
            yes_no(self.frozen),
            self.users.join("\n"),
        ]
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
}

impl HasTerms for Record {
    fn users(&self) -> &[String] {
        &self.users
    }

    fn policy(&self) -> &str {
        &self.policy
    }

    fn refusal(&self, policy: &str, users: usize) -> Option<String> {
        policy::refusal(policy, &self.network, users)
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
        read_all::<Record>(session)?.into_iter().partition(|wallet| wallet.label == label);
    let wallet = ours.first().ok_or_else(|| unknown::<Record>(label))?;
    if wallet.descriptor.is_empty() {
        return Err(CommandError::new(
            format!("wallet {label} is not registered yet, so it signs nothing"),
            format!("countersign wallet register {} --wallet-policy FILE", names::quoted(label)),
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
