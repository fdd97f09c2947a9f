//! The fields of an act of administration.

use countersign::kernel::act::{Change, Deed, RecordedAct};
use countersign::kernel::freeze::Freezable;
use countersign::kernel::pin::Role;
use data_encoding::HEXLOWER;

use super::Facts;
use crate::audit::document;

impl<'a> Facts<'a> {
    pub(super) fn of_act(act: &'a RecordedAct) -> Facts<'a> {
        let RecordedAct { deed, id, name, document, before, changes } = act;
        let facts = match deed {
            Deed::Initialised
            | Deed::ClockTaken
            | Deed::OfficersSet
            | Deed::Frozen(Freezable::Everything)
            | Deed::Thawed(Freezable::Everything) => Facts::default(),
            Deed::SoPinLost => Facts::of_role(Role::So),
            Deed::PinLost | Deed::PinUnlocked => Facts::of_role(Role::User),
            Deed::PinSet(role) | Deed::PinChanged(role) => Facts::of_role(*role),
            Deed::UserAdded
            | Deed::UserConfirmed
            | Deed::UserUnlocked
            | Deed::UserRemoved
            | Deed::DeviceAdded
            | Deed::DeviceRemoved
            | Deed::Frozen(Freezable::User)
            | Deed::Thawed(Freezable::User) => Facts::of_users(std::slice::from_ref(name)),
            Deed::WalletCreated | Deed::Frozen(Freezable::Wallet) | Deed::Thawed(Freezable::Wallet) => {
                Facts::of_wallet(name)
            }
            Deed::KeyCreated | Deed::Frozen(Freezable::DigestKey) | Deed::Thawed(Freezable::DigestKey) => {
                Facts::of_key(name)
            }
            Deed::WalletUpdated => Facts::of_wallet(name).changed(&[], &[], None),
            Deed::KeyUpdated => Facts::of_key(name).changed(&[], &[], None),
        };
        let facts = Facts {
            id: Some(HEXLOWER.encode(id)),
            document_digest: document.as_ref().map(|document| document.digest().to_string()),
            document: document.as_ref().map(document::to_json),
            before_digest: before.as_ref().map(ToString::to_string),
            ..facts
        };
        changes.iter().fold(facts, Facts::with_change)
    }

    fn with_change(self, change: &'a Change) -> Facts<'a> {
        match change {
            Change::Label(before) => Facts { label_before: Some(before), ..self },
            Change::Registration => Facts { registered: Some(true), ..self },
            Change::UsersAdded(users) => Facts { users_added: Some(users), ..self },
            Change::UsersRemoved(users) => Facts { users_removed: Some(users), ..self },
            Change::Policy(policy) => Facts {
                policy_tightens: Some(policy.direction.tightens),
                policy_loosens: Some(policy.direction.loosens),
                rules: Some(&policy.rules),
                policy_sha256: Some(HEXLOWER.encode(&policy.after)),
                policy_before_sha256: Some(HEXLOWER.encode(&policy.before)),
                ..self
            },
            Change::Council(direction) => Facts {
                policy_tightens: Some(direction.tightens),
                policy_loosens: Some(direction.loosens),
                ..self
            },
            Change::Clock(moved) => Facts { moved_s: Some(*moved), ..self },
            Change::Reach { before, after } => {
                Facts { reach: Some(*after), reach_before: Some(*before), ..self }
            }
        }
    }
}
