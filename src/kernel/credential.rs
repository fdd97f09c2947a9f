//! Credentials: what a user approves proposals with besides the OTP key. That is a device with a screen of its own, which signs a device text
//! ([`crate::consent::DeviceText`]) as a message, or a passkey, which signs the digest of what is approved.
//!
//! One record has all credentials of one user, beside the user's own record.
//!
//! Invariants:
//! - K1. The record belongs to one enrolment. A user who is enrolled again begins without credentials, and the commit that removes a user
//!   removes them.
//! - K2. A credential is one user's. An address whose key another user registered is refused, in whatever form it is written, and on
//!   whatever network: else one device would approve for two. So is a passkey whose id or key another user registered.
//! - K3. Each has a name of its own among those of its user, and there are at most [`MAX_CREDENTIALS`].
//! - K4. The record has no secret: only what a signature is verified with.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::message::{AddressError, SigningAddress};
use crate::name::{NotAllowed, UserId, check_label};
use crate::network::Network;
use crate::otp::OtpKeyId;
use crate::passkey::{Asserted, CredentialId, Passkey, PasskeyError, PublicKey};
use crate::record::Stored;

/// The most credentials of one user.
pub const MAX_CREDENTIALS: usize = 8;

/// The credentials of one enrolment of a user, in the order in which they were registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Credentials {
    user: UserId,
    list: Vec<NamedCredential>,
}

/// A credential of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCredential {
    /// What the user calls it.
    pub name: String,
    /// What it is.
    pub credential: Credential,
    /// When it was registered, Unix time in seconds.
    pub since: u64,
}

/// What a user approves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A device with a screen of its own, by the address whose key it signs messages with.
    Device(SigningAddress),
    /// A passkey.
    Passkey(Passkey),
}

impl Credentials {
    /// Of a user who has none yet.
    pub fn none_of(user: UserId) -> Credentials {
        Credentials { user, list: vec![] }
    }

    /// Whose they are.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// All of them.
    pub fn list(&self) -> &[NamedCredential] {
        &self.list
    }

    /// The devices that sign on this network, with their names.
    pub fn devices(&self, network: Network) -> impl Iterator<Item = (&str, &SigningAddress)> {
        self.list.iter().filter_map(move |NamedCredential { name, credential, .. }| match credential {
            Credential::Device(address) if address.network() == network => Some((name.as_str(), address)),
            Credential::Device(_) | Credential::Passkey(_) => None,
        })
    }

    /// The passkeys, with their names.
    pub fn passkeys(&self) -> impl Iterator<Item = (&str, &Passkey)> {
        self.list.iter().filter_map(|NamedCredential { name, credential, .. }| match credential {
            Credential::Passkey(passkey) => Some((name.as_str(), passkey)),
            Credential::Device(_) => None,
        })
    }

    /// With the new counter of a passkey that just signed.
    pub(crate) fn counted(&self, asserted: Asserted) -> Credentials {
        let (next, mut all) = (asserted.into_passkey(), self.clone());
        for known in &mut all.list {
            if matches!(&known.credential, Credential::Passkey(passkey) if passkey.id == next.id) {
                known.credential = Credential::Passkey(next.clone());
            }
        }
        all
    }

    /// With one more. `others` are those of all users.
    pub fn with<'a>(
        &self,
        new: NamedCredential,
        mut others: impl Iterator<Item = &'a Credentials>,
    ) -> Result<Credentials, CredentialError> {
        check_label(&new.name)?;
        if self.list.iter().any(|known| known.name == new.name) {
            return Err(CredentialError::Name(new.name));
        }
        if self.list.len() >= MAX_CREDENTIALS {
            return Err(CredentialError::Number);
        }
        let is_known = |all: &Credentials| {
            all.list.iter().any(|known| known.credential.shares_a_key_with(&new.credential))
        };
        let is_other = |other: &Credentials| other.user != self.user && is_known(other);
        if others.any(is_other) {
            return Err(CredentialError::OfAnother);
        }
        let is_again = match &new.credential {
            // One user may register one key twice: it still approves for that user alone.
            Credential::Device(_) => self.list.iter().any(|known| known.credential == new.credential),
            // Two counters of one passkey would contradict each other.
            Credential::Passkey(_) => is_known(self),
        };
        if is_again {
            return Err(CredentialError::Twice);
        }
        let mut next = self.clone();
        next.list.push(new);
        Ok(next)
    }

    /// Without the one of this name.
    pub fn without(&self, name: &str) -> Result<Credentials, CredentialError> {
        let mut next = self.clone();
        next.list.retain(|known| known.name != name);
        if next.list.len() == self.list.len() {
            return Err(CredentialError::Unknown(name.into()));
        }
        Ok(next)
    }
}

impl Credential {
    /// A device, by an address of this network.
    pub fn device(address: &str, network: Network) -> Result<Credential, CredentialError> {
        Ok(Credential::Device(SigningAddress::parse(address, network)?))
    }

    /// Whether whoever has the one can sign as the other.
    fn shares_a_key_with(&self, other: &Credential) -> bool {
        match (self, other) {
            (Credential::Device(one), Credential::Device(other)) => one.shares_a_key_with(other),
            (Credential::Passkey(one), Credential::Passkey(other)) => {
                one.id == other.id || one.key == other.key
            }
            (Credential::Device(_), Credential::Passkey(_))
            | (Credential::Passkey(_), Credential::Device(_)) => false,
        }
    }
}

/// One line for people.
impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Device(address) => write!(f, "device {} {address}", address.network().name()),
            Credential::Passkey(Passkey { id, key, .. }) => write!(f, "passkey {} {id}", key.algorithm().1),
        }
    }
}

/// The stored form. Each credential has the number of its variant, so a new kind goes to the end.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    enrolment: OtpKeyId,
    list: Vec<(String, WrittenCredential, u64)>,
}

#[derive(Serialize, Deserialize)]
enum WrittenCredential {
    Device {
        network: Network,
        address: String,
    },
    Passkey {
        id: Vec<u8>,
        /// As a SubjectPublicKeyInfo.
        key: Vec<u8>,
        /// Big-endian, so that the length of a record says nothing about it.
        counter: [u8; 4],
        is_shared: bool,
    },
}

impl From<Credentials> for Written {
    fn from(credentials: Credentials) -> Written {
        let Credentials { user: UserId { name, key }, list } = credentials;
        let list = list.into_iter().map(|NamedCredential { name, credential, since }| {
            let written = match credential {
                Credential::Device(address) => {
                    WrittenCredential::Device { network: address.network(), address: address.to_string() }
                }
                Credential::Passkey(Passkey { id, key, counter, is_shared }) => WrittenCredential::Passkey {
                    id: id.as_bytes().to_vec(),
                    key: key.to_spki(),
                    counter: counter.to_be_bytes(),
                    is_shared,
                },
            };
            (name, written, since)
        });
        Written { name, enrolment: key, list: list.collect() }
    }
}

impl TryFrom<Written> for Credentials {
    type Error = CredentialError;

    fn try_from(written: Written) -> Result<Credentials, CredentialError> {
        let Written { name, enrolment, list } = written;
        let mut credentials = Credentials::none_of(UserId { name, key: enrolment });
        for (name, written, since) in list {
            let credential = match written {
                WrittenCredential::Device { network, address } => Credential::device(&address, network)?,
                WrittenCredential::Passkey { id, key, counter, is_shared } => Credential::Passkey(Passkey {
                    id: CredentialId::new(id)?,
                    key: PublicKey::from_spki(&key)?,
                    counter: u32::from_be_bytes(counter),
                    is_shared,
                }),
            };
            credentials =
                credentials.with(NamedCredential { name, credential, since }, core::iter::empty())?;
        }
        Ok(credentials)
    }
}

impl Stored for Credentials {}

/// Why a credential is not registered, or not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// An address that cannot be a device's.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What cannot be a passkey.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// A name that is not allowed.
    #[error("{0}")]
    NotAllowed(String),
    /// A name that is in use.
    #[error("the user has a device or passkey {0:?} already: give this one another name")]
    Name(String),
    /// The user has as many as a user can have.
    #[error("a user has at most {MAX_CREDENTIALS} devices and passkeys: remove one first")]
    Number,
    /// The user has it already.
    #[error("the user has this address or passkey already, under another name")]
    Twice,
    /// Another user has it.
    #[error(
        "another user registered this address or passkey, or another one of the same key: a device or passkey approves for one user, so register one of a key that this user alone has"
    )]
    OfAnother,
    /// There is none of this name.
    #[error("the user has no device or passkey {0:?}")]
    Unknown(String),
}

impl From<NotAllowed> for CredentialError {
    fn from(NotAllowed(problem): NotAllowed) -> CredentialError {
        CredentialError::NotAllowed(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passkey::tests::soft::{SoftKey, SoftPasskey};

    const ADDRESSES: [&str; 3] = [
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l",
        "bc1qkntwc3c4dzxh9xh6875l03fn3vkk023jgak3u7",
    ];

    fn none_of(name: &str) -> Credentials {
        Credentials::none_of(UserId { name: name.into(), key: [0x16; 16] })
    }

    fn named(name: &str, address: &str) -> NamedCredential {
        let credential = Credential::device(address, Network::Mainnet).expect("an address");
        NamedCredential { name: name.into(), credential, since: 1_796_040_000 }
    }

    fn with(credentials: &Credentials, name: &str, address: &str) -> Result<Credentials, CredentialError> {
        credentials.with(named(name, address), core::iter::empty())
    }

    #[test]
    fn devices_are_registered_under_names_and_removed_by_them() {
        let one = with(&none_of("alice"), "ledger", ADDRESSES[0]).expect("the first one");
        let two = with(&one, "coldcard", ADDRESSES[1]).expect("another one");
        let names: Vec<_> = two.devices(Network::Mainnet).map(|(name, _)| name).collect();
        assert_eq!(names, ["ledger", "coldcard"]);
        assert_eq!(two.devices(Network::Signet).count(), 0, "of another network");
        assert_eq!(two.without("coldcard"), Ok(one));
        assert_eq!(two.without("trezor"), Err(CredentialError::Unknown("trezor".into())));
    }

    #[test]
    fn a_user_has_each_name_and_address_once_and_eight_devices() {
        let mut all = none_of("alice");
        for number in 0..MAX_CREDENTIALS {
            let key = bitcoin::secp256k1::SecretKey::from_slice(&[number as u8 + 1; 32]).expect("a key");
            let secp = bitcoin::secp256k1::Secp256k1::new();
            let public = bitcoin::CompressedPublicKey(key.public_key(&secp));
            let address = bitcoin::Address::p2wpkh(&public, bitcoin::Network::Bitcoin).to_string();
            if number > 0 {
                assert_eq!(with(&all, "0", &address), Err(CredentialError::Name("0".into())));
            }
            all = with(&all, &number.to_string(), &address).expect("one more");
            assert!(with(&all, "again", &address).is_err(), "the same address");
        }
        assert_eq!(with(&all, "nine", ADDRESSES[0]), Err(CredentialError::Number));
        for name in ["", "a\nb", &"x".repeat(129)] {
            assert!(matches!(
                with(&none_of("alice"), name, ADDRESSES[0]),
                Err(CredentialError::NotAllowed(_))
            ));
        }
    }

    #[test]
    fn consent_device_of_another_no_key_is_registered_for_two_users() {
        let bob = with(&none_of("bob"), "ledger", ADDRESSES[0]).expect("the first one");
        let refused = |user: &Credentials, address: &str, network| {
            let credential = Credential::device(address, network).expect("an address");
            let new = NamedCredential { name: "mine".into(), credential, since: 0 };
            user.with(new, [&none_of("carol"), &bob].into_iter()).err()
        };
        let of_another = Some(CredentialError::OfAnother);
        let alice = none_of("alice");
        assert_eq!(refused(&alice, ADDRESSES[0], Network::Mainnet), of_another);
        // The same key as P2PKH, as P2SH-P2WPKH, and on another network.
        assert_eq!(refused(&alice, "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", Network::Mainnet), of_another);
        assert_eq!(refused(&alice, "3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN", Network::Mainnet), of_another);
        assert_eq!(
            refused(&alice, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", Network::Signet),
            of_another
        );
        assert_eq!(refused(&alice, ADDRESSES[1], Network::Mainnet), None);
        // Nor for another enrolment of the same user, as long as the old one's record is there.
        let enrolled_again = Credentials::none_of(UserId { name: "bob".into(), key: [0x17; 16] });
        assert_eq!(refused(&enrolled_again, ADDRESSES[0], Network::Mainnet), of_another);
    }

    fn passkey(name: &str, of: &SoftPasskey) -> NamedCredential {
        NamedCredential { name: name.into(), credential: Credential::Passkey(of.passkey()), since: 0x80 }
    }

    #[test]
    fn consent_passkey_of_another_no_id_and_no_key_is_registered_for_two_users_or_twice() {
        let first = SoftPasskey::of("bob", SoftKey::Es256, 7);
        let bob = none_of("bob").with(passkey("phone", &first), core::iter::empty()).expect("the first one");
        let same_id = SoftPasskey::of("alice", SoftKey::EdDsa, 0).with_id(first.id.clone());
        let id = CredentialId::new(vec![9; 16]).expect("an id");
        let same_key = first.clone().with_id(id);
        for other in [&first, &same_id, &same_key] {
            let of_another = none_of("alice").with(passkey("phone", other), [&bob].into_iter());
            assert_eq!(of_another, Err(CredentialError::OfAnother));
            let twice = bob.with(passkey("laptop", other), core::iter::empty());
            assert_eq!(twice, Err(CredentialError::Twice));
        }
        let free = SoftPasskey::of("alice", SoftKey::EdDsa, 0);
        let alice = none_of("alice").with(passkey("phone", &free), [&bob].into_iter()).expect("its own");
        assert_eq!(alice.passkeys().map(|(name, _)| name).collect::<Vec<_>>(), ["phone"]);
        assert_eq!(alice.devices(Network::Mainnet).count(), 0);
        // With a device beside it, they have names of their own and one limit.
        assert_eq!(with(&alice, "phone", ADDRESSES[0]), Err(CredentialError::Name("phone".into())));
        assert!(with(&alice, "ledger", ADDRESSES[0]).is_ok());
    }

    #[test]
    fn passkeys_keep_their_layout_and_the_length_of_their_record() {
        let soft = SoftPasskey::of("alice", SoftKey::EdDsa, 7);
        let one = none_of("alice").with(passkey("phone", &soft), core::iter::empty()).expect("the first one");
        let bytes = one.encode();
        assert_eq!(Credentials::decode(&bytes), Some(one.clone()));
        let spki = soft.passkey().key.to_spki();
        let layout = [
            &[1, 5][..],
            b"alice",
            &[0x16; 16],
            // One credential: its name, its kind, the id, the key, the counter, whether it is shared, and since when.
            &[1, 5],
            b"phone",
            &[1, 21],
            soft.id.as_bytes(),
            &[44],
            &spki,
            &[0, 0, 0, 7, 0],
            &[0x80, 1],
        ];
        assert_eq!(hex::encode(&*bytes), hex::encode(layout.concat()));
        let mut counted = one.clone();
        if let Credential::Passkey(passkey) = &mut counted.list[0].credential {
            passkey.counter = u32::MAX;
        }
        assert_eq!(counted.encode().len(), bytes.len());
        let at = bytes.len() - 2 - 5 - 44;
        let mut other = bytes.to_vec();
        other[at] ^= 1;
        assert_eq!(Credentials::decode(&other), None, "no key of ours");
    }

    #[test]
    fn credentials_read_back_and_keep_their_layout() {
        let all = with(&none_of("alice"), "ledger", ADDRESSES[0]).expect("the first one");
        let bytes = all.encode();
        assert_eq!(Credentials::decode(&bytes), Some(all));
        let layout = [
            &[1, 5][..],
            b"alice",
            &[0x16; 16],
            // One credential: its name, its kind, the network, the address, and since when.
            &[1, 6],
            b"ledger",
            &[0, 0, 42],
            ADDRESSES[0].as_bytes(),
            &[0xc0, 0xca, 0xb5, 0xd8, 0x06],
        ];
        assert_eq!(hex::encode(&*bytes), hex::encode(layout.concat()));
        let mut other = bytes.to_vec();
        other[25 + 6] = 2;
        assert_eq!(Credentials::decode(&other), None, "a kind that this version does not know");
        assert_eq!(Credentials::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Credentials::decode(&[]), None);
    }
}
