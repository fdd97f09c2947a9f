//! What is in force about one thing, as an act shows it: the same that the audit's documents have, with each user's enrolment.

use data_encoding::HEXLOWER;

use crate::digest_key::DigestMechanisms;
use crate::name::{MAX_LABEL_LEN, MAX_POLICY_LEN, MAX_SIGNERS, UserId, check_label, check_user_name};
use crate::network::Network;
use crate::text::{Reader, from_hex, print_user, quote, read_block, unquote, user, write_block};

/// What is in force about a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletTerms {
    /// Its label.
    pub label: String,
    /// Who signs, by name and enrolment.
    pub users: Vec<UserId>,
    /// The policy, a TOML document.
    pub policy: String,
    /// What no act changes.
    pub fixed: WalletFixed,
}

/// What no act changes of a wallet. It tells the reader which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletFixed {
    /// Its network.
    pub network: Network,
    /// The master fingerprint of our key.
    pub fingerprint: [u8; 4],
    /// The account's path, as in `m/84'/0'/0'`.
    pub path: String,
    /// The account's extended public key.
    pub xpub: String,
    /// The registered descriptor, with its checksum; none while the cosigners' keys are awaited.
    pub descriptor: Option<String>,
}

/// What is in force about a key that signs digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKeyTerms {
    /// Its label.
    pub label: String,
    /// Who signs, by name and enrolment.
    pub users: Vec<UserId>,
    /// The policy, a TOML document.
    pub policy: String,
    /// What it was made for. No act changes it.
    pub mechanisms: DigestMechanisms,
    /// Its public key, compressed. No act changes it.
    pub public_key: [u8; 33],
}

impl WalletTerms {
    pub(super) fn print(&self) -> String {
        let WalletTerms { label, users, policy, fixed } = self;
        let WalletFixed { network, fingerprint, path, xpub, descriptor } = fixed;
        let descriptor = descriptor.as_deref().map_or("none".into(), quote);
        let mut text = format!(
            "label {}\nnetwork {}\nkey {} {} {}\ndescriptor {descriptor}\n",
            quote(label),
            network.name(),
            HEXLOWER.encode(fingerprint),
            quote(path),
            quote(xpub)
        );
        print_rules(&mut text, users, policy);
        text
    }

    pub(super) fn read(text: &str) -> Option<WalletTerms> {
        let mut reader = Reader::new(text);
        let label = reader.quoted("label")?;
        let network = reader.value("network")?.parse().ok()?;
        let (fingerprint, key) = reader.value("key")?.split_once(' ')?;
        let (path, xpub) = unquote(key)?;
        let (xpub, "") = unquote(xpub.strip_prefix(' ')?)? else { return None };
        let descriptor = match reader.value("descriptor")? {
            "none" => None,
            quoted => {
                let (descriptor, "") = unquote(quoted)? else { return None };
                Some(descriptor)
            }
        };
        let fixed = WalletFixed { network, fingerprint: from_hex(fingerprint)?, path, xpub, descriptor };
        let (users, policy) = read_rules(reader)?;
        Some(WalletTerms { label, users, policy, fixed })
    }

    /// Whether a wallet can be so.
    pub(super) fn are_sound(&self) -> bool {
        is_sound(&self.label, &self.users, &self.policy)
    }
}

impl DigestKeyTerms {
    pub(super) fn print(&self) -> String {
        let DigestKeyTerms { label, users, policy, mechanisms, public_key } = self;
        let DigestMechanisms { digest, ecdsa } = mechanisms;
        let mut text = format!(
            "label {}\nkey {}\ndigest {}\necdsa {}\n",
            quote(label),
            HEXLOWER.encode(public_key),
            yes(*digest),
            yes(*ecdsa)
        );
        print_rules(&mut text, users, policy);
        text
    }

    pub(super) fn read(text: &str) -> Option<DigestKeyTerms> {
        let mut reader = Reader::new(text);
        let label = reader.quoted("label")?;
        let public_key = from_hex(reader.value("key")?)?;
        let (digest, ecdsa) = (reader.value("digest")? == yes(true), reader.value("ecdsa")? == yes(true));
        let (users, policy) = read_rules(reader)?;
        Some(DigestKeyTerms {
            label,
            users,
            policy,
            mechanisms: DigestMechanisms { digest, ecdsa },
            public_key,
        })
    }

    /// Whether a key can be so.
    pub(super) fn are_sound(&self) -> bool {
        is_sound(&self.label, &self.users, &self.policy)
    }
}

fn is_sound(label: &str, users: &[UserId], policy: &str) -> bool {
    let are_users = (1..=MAX_SIGNERS).contains(&users.len())
        && users.iter().all(|user| check_user_name(&user.name).is_ok())
        && users.iter().enumerate().all(|(at, user)| users[..at].iter().all(|other| other.name != user.name));
    check_label(label).is_ok() && label.len() <= MAX_LABEL_LEN && are_users && policy.len() <= MAX_POLICY_LEN
}

const fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// Users and policy, which end the terms of a wallet and of a key.
fn print_rules(text: &mut String, users: &[UserId], policy: &str) {
    users.iter().for_each(|user| text.extend(["user ", &print_user(user), "\n"]));
    text.push_str("policy\n");
    write_block(text, policy);
}

/// Reads what [`print_rules`] printed.
fn read_rules(mut reader: Reader<'_>) -> Option<(Vec<UserId>, String)> {
    let mut users = Vec::new();
    while reader.has("user ") {
        users.push(user(reader.value("user")?)?);
    }
    reader.expect("policy")?;
    Some((users, read_block(reader.into_lines()?)?))
}
