//! Acts of administration, as the audit keeps them: what was done, the whole document that is in force since then, and the digest of
//! the one before. So the chain alone shows what was in force at any time ([`super::audit::in_force`]).
//!
//! Invariants:
//! - A1. No act is in force before the link with its document: both are one commit.
//! - A2. A document is whole or the act is refused: [`RecordedAct::is_bounded`].
//! - A3. No secret is in a document. PINs and OTP keys are named by digests from which they do not follow.
//!
//! These formats are read for ever. In each enumeration a new variant goes to the end, and no document gains a field: a document with
//! more to say is a new variant.

pub mod class;
pub mod document;

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::direction::Direction;
use super::freeze::Freezable;
use super::pin::Role;
pub use document::{Document, DocumentDigest};

/// The most bytes of an act: enough for the longest policy, and a descriptor that repeats its keys in very
/// many places.
pub const MAX_ACT_LEN: usize = 256 * 1_024;

/// One act of administration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAct {
    /// What was done.
    pub deed: Deed,
    /// The id of the object for its whole life: the place of its record.
    pub id: [u8; 16],
    /// Name or label of the object; after a change, the new one.
    pub name: String,
    /// What is in force since then, or none if the object is gone.
    pub document: Option<Document>,
    /// The digest of what was in force before, or none if there was nothing.
    pub before: Option<DocumentDigest>,
    /// The differences between the two.
    pub changes: Vec<Change>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// The token was initialised.
    Initialised,
    /// The security officer set a PIN.
    PinSet(Role),
    /// The owner of a PIN changed it.
    PinChanged(Role),
    /// A user was enrolled.
    UserAdded,
    /// A first code was right: from here on the user's codes sign.
    UserConfirmed,
    /// A user was unlocked, which ended their row of wrong tries.
    UserUnlocked,
    /// A user was removed.
    UserRemoved,
    /// A wallet was created.
    WalletCreated,
    /// Registration, users, policy or label of a wallet were changed.
    WalletUpdated,
    /// A key that signs digests was created.
    KeyCreated,
    /// Users, policy or label of such a key were changed.
    KeyUpdated,
    /// The security officer accepted the clock.
    ClockTaken,
    /// The security officer declared the backends' PIN lost: from here on nobody can log in with it.
    PinLost,
    /// The security officer cleared the wrong tries of all peers at the backends' PIN.
    PinUnlocked,
    /// Something was frozen.
    Frozen(Freezable),
    /// A freeze was ended.
    Thawed(Freezable),
    /// The officers were set, or the settings that only they can weaken.
    OfficersSet,
    /// The security officer's PIN was declared lost: from here on nobody can log in with it.
    SoPinLost,
    /// A device with a screen of its own was registered for a user.
    DeviceAdded,
    /// A user's device was removed.
    DeviceRemoved,
}

impl Deed {
    /// Its name, in the audit, the log and the metrics.
    pub const fn tag(self) -> &'static str {
        match self {
            Deed::Initialised => "initialised",
            Deed::PinSet(_) => "pin-set",
            Deed::PinChanged(_) => "pin-changed",
            Deed::UserAdded => "user-added",
            Deed::UserConfirmed => "user-confirmed",
            Deed::UserUnlocked => "user-unlocked",
            Deed::UserRemoved => "user-removed",
            Deed::WalletCreated => "wallet-created",
            Deed::WalletUpdated => "wallet-updated",
            Deed::KeyCreated => "digest-key-created",
            Deed::KeyUpdated => "digest-key-updated",
            Deed::ClockTaken => "clock-taken",
            Deed::PinLost => "pin-lost",
            Deed::PinUnlocked => "pin-unlocked",
            Deed::Frozen(Freezable::Everything) => "everything-frozen",
            Deed::Frozen(Freezable::Wallet) => "wallet-frozen",
            Deed::Frozen(Freezable::DigestKey) => "digest-key-frozen",
            Deed::Frozen(Freezable::User) => "user-frozen",
            Deed::Thawed(Freezable::Everything) => "everything-thawed",
            Deed::Thawed(Freezable::Wallet) => "wallet-thawed",
            Deed::Thawed(Freezable::DigestKey) => "digest-key-thawed",
            Deed::Thawed(Freezable::User) => "user-thawed",
            Deed::OfficersSet => "officers-set",
            Deed::SoPinLost => "so-pin-lost",
            Deed::DeviceAdded => "device-added",
            Deed::DeviceRemoved => "device-removed",
        }
    }
}

/// How an act of administration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done, and allows, or may allow, something that was not allowed before.
    Loosened,
    /// It was done, and allows nothing more than before.
    Tightened,
    /// It was refused.
    Refused,
}

impl Outcome {
    /// Its name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Loosened => "loosened",
            Outcome::Tightened => "tightened",
            Outcome::Refused => "refused",
        }
    }
}

/// How many acts of one kind had one outcome since the engine was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActCount {
    /// The kind, as the audit names it.
    pub act: String,
    /// The outcome.
    pub outcome: Outcome,
    /// The number.
    pub count: u64,
}

/// A difference between a document and the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The label; this was the old one.
    Label(String),
    /// The wallet was registered.
    Registration,
    /// The codes of these users sign from now on.
    UsersAdded(Vec<String>),
    /// The codes of these users no longer sign.
    UsersRemoved(Vec<String>),
    /// The policy.
    Policy(PolicyChange),
    /// The clock differs by so many seconds from the one that was trusted.
    Clock(i64),
    /// Change further ahead counts as the wallet's: the next indices of its two chains (external, internal).
    Reach {
        /// The old indices.
        before: [u32; 2],
        /// The new indices.
        after: [u32; 2],
    },
    /// Officers, threshold, delays or settings. Without this change there were no officers before.
    Council(Direction),
}

/// How a policy was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// Whether the new one allows less, or more.
    pub direction: Direction,
    /// The keys of the document whose values differ.
    pub rules: Vec<String>,
    /// SHA-256 of the old document.
    pub before: [u8; 32],
    /// SHA-256 of the new document.
    pub after: [u8; 32],
}

impl PolicyChange {
    /// The change from one document to another.
    pub fn new(old: &str, new: &str, direction: Direction, rules: Vec<String>) -> PolicyChange {
        let digest = |text: &str| Sha256::digest(text).into();
        PolicyChange { direction, rules, before: digest(old), after: digest(new) }
    }
}

impl RecordedAct {
    /// The object's name before.
    pub fn name_before(&self) -> &str {
        let label = |change: &Change| matches!(change, Change::Label(_));
        match self.changes.iter().find(|change| label(change)) {
            Some(Change::Label(before)) => before,
            _ => &self.name,
        }
    }

    /// The reach of the wallet, if the act raised it.
    pub fn raised_reach(&self) -> Option<[u32; 2]> {
        self.changes.iter().find_map(|change| match change {
            Change::Reach { after, .. } => Some(*after),
            _ => None,
        })
    }

    /// Whether the audit can keep it whole.
    pub fn is_bounded(&self) -> bool {
        postcard::experimental::serialized_size(self).is_ok_and(|len| len <= MAX_ACT_LEN)
    }
}

/// One line for the log.
impl fmt::Display for RecordedAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordedAct { deed, name, .. } = self;
        match deed {
            Deed::Initialised => write!(f, "token {name:?} was initialised")?,
            Deed::PinSet(role) => write!(f, "the security officer set the PIN of the {}", role_name(*role))?,
            Deed::PinChanged(role) => write!(f, "the {} changed their PIN", role_name(*role))?,
            Deed::UserAdded => write!(f, "user {name:?} was enrolled")?,
            Deed::UserConfirmed => write!(f, "user {name:?} was confirmed by a first code")?,
            Deed::UserUnlocked => write!(f, "user {name:?} was unlocked")?,
            Deed::UserRemoved => write!(f, "user {name:?} was removed")?,
            Deed::WalletCreated => write!(f, "wallet {name:?} was created")?,
            Deed::WalletUpdated => write!(f, "wallet {name:?} was changed")?,
            Deed::KeyCreated => write!(f, "key {name:?} was created")?,
            Deed::KeyUpdated => write!(f, "key {name:?} was changed")?,
            Deed::ClockTaken => f.write_str("the clock was accepted")?,
            Deed::PinLost => f.write_str("the security officer declared the PIN of the backends lost")?,
            Deed::PinUnlocked => f.write_str("the wrong tries at the PIN of the backends were cleared")?,
            Deed::Frozen(Freezable::Everything) => f.write_str("everything was frozen")?,
            Deed::Thawed(Freezable::Everything) => f.write_str("everything was thawed")?,
            Deed::Frozen(what) => write!(f, "{} {name:?} was frozen", what.name())?,
            Deed::Thawed(what) => write!(f, "{} {name:?} was thawed", what.name())?,
            Deed::OfficersSet if self.before.is_none() => {
                f.write_str("the store has officers from now on")?
            }
            Deed::SoPinLost => f.write_str("the PIN of the security officer was declared lost")?,
            Deed::OfficersSet => f.write_str("the officers or their settings were changed")?,
            Deed::DeviceAdded => write!(f, "a device of user {name:?} was registered")?,
            Deed::DeviceRemoved => write!(f, "a device of user {name:?} was removed")?,
        }
        for change in &self.changes {
            write!(f, "; {change}")?;
        }
        if let Some(document) = &self.document {
            write!(f, "; document {}", document.digest())?;
        }
        if let Some(before) = &self.before {
            write!(f, "; before it {before}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Label(before) => write!(f, "its label was {before:?}"),
            Change::Registration => f.write_str("its script was registered"),
            Change::UsersAdded(users) => write_names(f, "users added", users),
            Change::UsersRemoved(users) => write_names(f, "users removed", users),
            Change::Policy(PolicyChange { direction, rules, .. }) => {
                let Direction { tightens, loosens } = direction;
                f.write_str(match (tightens, loosens) {
                    (true, false) => "its policy allows less",
                    (false, true) => "its policy allows more",
                    (true, true) => "its policy allows less in some cases and more in others",
                    (false, false) => "its policy is worded differently and means the same",
                })?;
                if rules.is_empty() { Ok(()) } else { write!(f, " ({})", rules.join(", ")) }
            }
            Change::Council(Direction { loosens: false, .. }) => f.write_str("the settings allow less"),
            Change::Council(_) => {
                f.write_str("somebody else decides, or after another delay, or the settings allow more")
            }
            Change::Clock(moved) => write!(f, "it differs by {moved} s from the clock trusted before"),
            Change::Reach { before: [external, internal], after: [external_since, internal_since] } => {
                write!(
                    f,
                    "its reach was raised from {external} to {external_since} (external) and from {internal} to {internal_since} \
                 (internal)"
                )
            }
        }
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, what: &str, names: &[String]) -> fmt::Result {
    write!(f, "{what}:")?;
    names.iter().try_for_each(|name| write!(f, " {name:?}"))
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::So => "security officer",
        Role::User => "backend",
    }
}

/// Lower-case hex.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| f.write_fmt(format_args!("{byte:02x}")))
}

#[cfg(test)]
pub(crate) mod tests;
