//! What was in force after a link: the chain followed from its beginning.
//!
//! A link of an older version names an object and keeps no document. What it was is then not known from the audit; its next
//! change has the whole document again.

use std::collections::BTreeMap;

use super::{Deed, Document, DocumentDigest, RecordedAct};
use crate::audit::{Event, Link};
use crate::seal::{Kind, RecordKey};

/// What is in force at one place, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The link that put it in force.
    pub link: u64,
    /// Unix time of that link.
    pub time: u64,
    /// What was done by it.
    pub deed: Deed,
    /// What is in force.
    pub document: Document,
    /// The reach of a wallet as the administrator raised it last: the next indices of its two chains. Signatures carry it further
    /// without an act.
    pub reach: Option<[u32; 2]>,
}

/// What an older version made or changed, and kept no document of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undocumented {
    /// The newest link that tells of it.
    pub link: u64,
    /// Unix time of that link.
    pub time: u64,
}

/// A link that does not go on from what was in force: the records were changed past the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "link {link} says that document {said} was in force before it, but by the links up to there it was {known}"
)]
pub struct Discontinuity {
    /// The link.
    pub link: u64,
    /// What it says.
    pub said: DocumentDigest,
    /// What the chain says.
    pub known: DocumentDigest,
}

/// Everything that is in force.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    standing: BTreeMap<RecordKey, Standing>,
    undocumented: BTreeMap<(Kind, String), Undocumented>,
}

impl InForce {
    /// Everything in force that has a document, by kind.
    pub fn standing(&self) -> impl Iterator<Item = (&RecordKey, &Standing)> {
        self.standing.iter()
    }

    /// What is there and has no document, by kind and name.
    pub fn undocumented(&self) -> impl Iterator<Item = (Kind, &str, &Undocumented)> {
        self.undocumented.iter().map(|((kind, name), told)| (*kind, name.as_str(), told))
    }

    /// Goes on by one link.
    pub fn follow(&mut self, link: &Link) -> Result<(), Discontinuity> {
        let Link { sequence, time, event, .. } = link;
        let told = Undocumented { link: *sequence, time: *time };
        if let Some(act) = event.act() {
            return self.act(act, *sequence, *time);
        }
        match event {
            Event::Initialised => self.note(Kind::Token, "", told),
            Event::UserAdded(name) => self.note(Kind::User, name, told),
            Event::UserRemoved(name) => {
                self.undocumented.remove(&(Kind::User, name.clone()));
            }
            Event::WalletCreated(label)
            | Event::WalletChanged(label)
            | Event::WalletUpdated { wallet: label, .. } => self.note(Kind::Wallet, label, told),
            Event::DigestKeyCreated(label) | Event::DigestKeyUpdated { key: label, .. } => {
                self.note(Kind::DigestKey, label, told);
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, kind: Kind, name: &str, told: Undocumented) {
        self.undocumented.insert((kind, name.into()), told);
    }

    fn act(&mut self, act: &RecordedAct, link: u64, time: u64) -> Result<(), Discontinuity> {
        let RecordedAct { deed, id, name, document, before, .. } = act;
        let kind = kind_of(*deed);
        let name_before = act.name_before();
        for known_as in [name.as_str(), name_before, if kind == Kind::Token { "" } else { name }] {
            self.undocumented.remove(&(kind, known_as.into()));
        }
        let place = RecordKey { kind, id: *id };
        let known = self.standing.remove(&place);
        let reach = act.raised_reach().or(known.as_ref().and_then(|known| known.reach));
        if let Some(document) = document {
            self.standing
                .insert(place, Standing { link, time, deed: *deed, document: document.clone(), reach });
        }
        match (known, before) {
            // The machine's own clock is believed without an act each time that it was started anew.
            (Some(known), Some(said)) if kind != Kind::Clock && known.document.digest() != *said => {
                Err(Discontinuity { link, said: *said, known: known.document.digest() })
            }
            _ => Ok(()),
        }
    }
}

fn kind_of(deed: Deed) -> Kind {
    match deed {
        Deed::Initialised | Deed::PinSet(_) | Deed::PinChanged(_) | Deed::PinLost | Deed::PinUnlocked => {
            Kind::Token
        }
        Deed::UserAdded | Deed::UserConfirmed | Deed::UserUnlocked | Deed::UserRemoved => Kind::User,
        Deed::WalletCreated | Deed::WalletUpdated => Kind::Wallet,
        Deed::KeyCreated | Deed::KeyUpdated => Kind::DigestKey,
        Deed::ClockTaken => Kind::Clock,
    }
}
