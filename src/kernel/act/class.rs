//! The class of an act: whether an administrator does it alone, or officers must sign it. It follows from what the act changes, and
//! nobody claims it.

use super::{Change, Deed, Document, PolicyChange, RecordedAct};
use crate::direction::Direction;

/// The class of an act: that of its loosest part. Each class comes before the looser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It allows nothing that was not allowed before. An administrator does it alone, and any one officer can.
    Tightens,
    /// It allows nothing more with what is there. An administrator does it alone.
    Neutral,
    /// It allows more, or may. Officers sign it, and then it waits.
    Loosens,
    /// It settles what everything else is measured by, so nothing is left that could vouch for a delay. Officers sign it.
    Vouchless,
}

impl Class {
    /// The class of what is done to an object. `is_registered`: coins can be there already.
    pub fn of(deed: Deed, changes: &[Change], is_registered: bool) -> Class {
        match deed {
            // A device that was lost or stolen must be removed at once. What asks for it then waits for another one.
            Deed::UserRemoved | Deed::DeviceRemoved | Deed::Frozen(_) => Class::Tightens,
            // What a device signs can move coins.
            Deed::Thawed(_) | Deed::SoPinLost | Deed::DeviceAdded => Class::Loosens,
            // The first officers are no change: nobody was there to be asked.
            Deed::WalletUpdated | Deed::KeyUpdated | Deed::OfficersSet => {
                changes.iter().map(|change| change.class(is_registered)).max().unwrap_or(Class::Neutral)
            }
            // A new user is in no wallet, a new wallet has no coins, the end of a row of wrong codes leaves the 30-day budget as it is,
            // and a PIN alone signs nothing.
            Deed::Initialised
            | Deed::PinSet(_)
            | Deed::PinChanged(_)
            | Deed::UserAdded
            | Deed::UserConfirmed
            | Deed::UserUnlocked
            | Deed::WalletCreated
            | Deed::KeyCreated
            | Deed::PinLost
            | Deed::PinUnlocked => Class::Neutral,
            Deed::ClockTaken => Class::Vouchless,
        }
    }

    /// Its name, in texts and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Tightens => "tightens",
            Class::Neutral => "neutral",
            Class::Loosens => "loosens",
            Class::Vouchless => "vouchless",
        }
    }
}

impl Change {
    fn class(&self, is_registered: bool) -> Class {
        match self {
            Change::UsersRemoved(_) => Class::Tightens,
            Change::Policy(PolicyChange { direction: Direction { loosens, .. }, .. }) => {
                if *loosens {
                    Class::Loosens
                } else {
                    Class::Tightens
                }
            }
            Change::Council(Direction { loosens, .. }) => {
                if *loosens {
                    Class::Loosens
                } else {
                    Class::Tightens
                }
            }
            // A user who approves a payment from a wallet knows it by its label.
            Change::Label(_) if is_registered => Class::Loosens,
            // No coin can be there yet.
            Change::Label(_) | Change::Registration => Class::Neutral,
            Change::UsersAdded(_) | Change::Reach { .. } => Class::Loosens,
            Change::Clock(_) => Class::Vouchless,
        }
    }
}

impl RecordedAct {
    /// What it was.
    pub fn class(&self) -> Class {
        let is_registered = match &self.document {
            Some(Document::Wallet(wallet)) => {
                wallet.descriptor.is_some() && !self.changes.contains(&Change::Registration)
            }
            _ => true,
        };
        Class::of(self.deed, &self.changes, is_registered)
    }

    /// Whether nothing is allowed by it that was not allowed before.
    pub fn tightens(&self) -> bool {
        self.class() == Class::Tightens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::Role;

    #[test]
    fn act_small_steps_a_mixture_is_what_its_loosest_part_is() {
        let policy = |loosens| {
            let direction = Direction { tightens: true, loosens };
            Change::Policy(PolicyChange::new("a", "b", direction, vec![]))
        };
        let (added, removed) = (Change::UsersAdded(vec!["a".into()]), Change::UsersRemoved(vec!["b".into()]));
        let (label, reach) = (Change::Label("l".into()), Change::Reach { before: [0, 0], after: [0, 1] });
        let of = |changes: &[&Change], is_registered| {
            let changes: Vec<Change> = changes.iter().copied().cloned().collect();
            Class::of(Deed::WalletUpdated, &changes, is_registered)
        };
        assert_eq!(of(&[], true), Class::Neutral, "nothing changes");
        assert_eq!(of(&[&removed, &policy(false)], true), Class::Tightens);
        assert_eq!(of(&[&removed, &label], false), Class::Neutral, "the label of what is not registered yet");
        assert_eq!(of(&[&removed, &Change::Registration], false), Class::Neutral);
        for loosest in [&added, &policy(true), &label, &reach] {
            for changes in [[loosest, &removed], [&removed, loosest]] {
                assert_eq!(of(&changes, true), Class::Loosens, "{changes:?}");
            }
        }
        assert_eq!(of(&[&added, &Change::Registration], false), Class::Loosens);
        assert_eq!(Class::of(Deed::KeyUpdated, &[removed, label], true), Class::Loosens);
    }

    #[test]
    fn what_opens_nothing_with_what_is_there_is_neutral() {
        let neutral = [
            Deed::Initialised,
            Deed::PinSet(Role::User),
            Deed::PinChanged(Role::So),
            Deed::PinLost,
            Deed::PinUnlocked,
            Deed::UserAdded,
            Deed::UserConfirmed,
            Deed::UserUnlocked,
            Deed::WalletCreated,
            Deed::KeyCreated,
        ];
        assert!(neutral.into_iter().all(|deed| Class::of(deed, &[], true) == Class::Neutral));
        assert_eq!(Class::of(Deed::UserRemoved, &[], true), Class::Tightens);
        assert_eq!(Class::of(Deed::DeviceAdded, &[], true), Class::Loosens);
        assert_eq!(Class::of(Deed::DeviceRemoved, &[], true), Class::Tightens);
        assert_eq!(Class::of(Deed::ClockTaken, &[Change::Clock(7)], true), Class::Vouchless);
        let names = [Class::Tightens, Class::Neutral, Class::Loosens, Class::Vouchless].map(Class::name);
        assert_eq!(names, ["tightens", "neutral", "loosens", "vouchless"]);
    }

    #[test]
    fn what_is_recorded_of_a_wallet_that_is_registered_by_it_was_not_registered_before() {
        let recorded = |descriptor: Option<&str>, changes: Vec<Change>| {
            let document = super::super::document::WalletDocument {
                label: "w".into(),
                cka_id: vec![],
                network: crate::network::Network::Regtest,
                users: vec![],
                policy: String::new(),
                fingerprint: [0; 4],
                path: String::new(),
                xpub: String::new(),
                descriptor: descriptor.map(str::to_owned),
            };
            let document = Some(Document::Wallet(Box::new(document)));
            let (deed, name) = (Deed::WalletUpdated, "w".into());
            RecordedAct { deed, id: [1; 16], name, document, before: None, changes }.class()
        };
        let label = || Change::Label("l".into());
        assert_eq!(recorded(Some("wpkh()"), vec![label()]), Class::Loosens);
        assert_eq!(recorded(Some("wpkh()"), vec![label(), Change::Registration]), Class::Neutral);
        assert_eq!(recorded(None, vec![label()]), Class::Neutral);
    }
}
