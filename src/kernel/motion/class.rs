//! The class of an act, as it follows from the two documents in its text.

use data_encoding::HEXLOWER;

use super::{DigestKeyTerms, Motion, WalletTerms};
use crate::act::class::Class;
use crate::act::{Change, Deed};
use crate::direction::Direction;
use crate::key::KeyTerms;
use crate::name::UserId;
use crate::policy::{DigestPolicy, Policy};
use crate::state::changes;

impl Motion {
    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Motion::WalletSet(set) => {
                let terms =
                    |WalletTerms { label, users, policy, .. }: &WalletTerms| compared(label, users, policy);
                let parse = |text: &str| Policy::parse(text, set.old.fixed.network).ok();
                let direction =
                    || Direction::between(parse(&set.old.policy), parse(&set.new.policy), Policy::compare);
                let mut changes = changes(&terms(&set.old), &terms(&set.new), direction);
                changes.extend(set.reach.map(|raise| Change::Reach { before: raise.from, after: raise.to }));
                Class::of(Deed::WalletUpdated, &changes, set.old.fixed.descriptor.is_some())
            }
            Motion::KeySet(set) => {
                let terms = |DigestKeyTerms { label, users, policy, .. }: &DigestKeyTerms| {
                    compared(label, users, policy)
                };
                let parse = |text: &str| DigestPolicy::parse(text).ok();
                let direction = || {
                    Direction::between(parse(&set.old.policy), parse(&set.new.policy), DigestPolicy::compare)
                };
                let changes = changes(&terms(&set.old), &terms(&set.new), direction);
                Class::of(Deed::KeyUpdated, &changes, true)
            }
            // Where there are no officers, there is nobody who could be asked.
            Motion::OfficersSet { old, new } => {
                let changes = old.as_ref().map(|old| Change::Council(old.compare(new)));
                Class::of(Deed::OfficersSet, changes.as_slice(), true)
            }
            Motion::SoPinLost { .. } | Motion::Thaw { .. } => Class::Loosens,
            Motion::DeviceAdd(_) => Class::of(Deed::DeviceAdded, &[], true),
            Motion::Freeze { .. } => Class::Tightens,
            Motion::ClockTake { .. } | Motion::Restore { .. } => Class::Vouchless,
        }
    }
}

/// What is compared. Users are told by name and enrolment: one who is enrolled anew is another.
fn compared(label: &str, users: &[UserId], policy: &str) -> KeyTerms {
    let users = users.iter().map(|UserId { name, key }| format!("{}:{name}", HEXLOWER.encode(key))).collect();
    KeyTerms { label: label.into(), cka_id: vec![], users, policy: policy.into() }
}

#[cfg(test)]
mod tests;
