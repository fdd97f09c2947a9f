//! What was in force after a link, found by following the chain from its beginning.
//!
//! A link of an older version names an object and has no document. Then the audit does not show what the
//! object was, until its next change has the whole document again.

use std::collections::BTreeMap;

use super::{Event, Link};
use crate::act::{Deed, Document, DocumentDigest, RecordedAct};
use crate::freeze::place_of;
use crate::seal::{Kind, RecordKey};

/// What is in force at one place, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The link that put it in force.
    pub link: u64,
    /// Unix time of that link.
    pub time: u64,
    /// The deed that put it in force.
    pub deed: Deed,
    /// What is in force.
    pub document: Document,
    /// The reach of a wallet as the administrator raised it last: the next indices of its two chains.
    /// Signatures extend it further without an act.
    pub reach: Option<[u32; 2]>,
}

/// An object that an older version made or changed without keeping a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undocumented {
    /// The newest link about it.
    pub link: u64,
    /// Unix time of that link.
    pub time: u64,
}

/// A link that does not continue what was in force: somebody changed the records without the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "link {link} says that document {said} was in force before it, but by the links up to there it was {known}"
)]
pub struct Discontinuity {
    /// The link.
    pub link: u64,
    /// The digest in the link.
    pub said: DocumentDigest,
    /// The digest according to the chain.
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

    /// Everything that exists without a document, by kind and name.
    pub fn undocumented(&self) -> impl Iterator<Item = (Kind, &str, &Undocumented)> {
        self.undocumented.iter().map(|((kind, name), told)| (*kind, name.as_str(), told))
    }

    /// Follows the chain by one link.
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
        if *deed == Deed::UserRemoved {
            // A user's freeze and credentials end with the enrolment.
            self.standing.remove(&place_of(&place));
            self.standing.remove(&RecordKey { kind: Kind::Credentials, id: *id });
        }
        let reach = act.raised_reach().or(known.as_ref().and_then(|known| known.reach));
        if let Some(document) = document {
            self.standing
                .insert(place, Standing { link, time, deed: *deed, document: document.clone(), reach });
        }
        match (known, before) {
            // The machine's own clock is trusted without an act after each boot.
            (Some(known), Some(said)) if kind != Kind::Clock && known.document.digest() != *said => {
                Err(Discontinuity { link, said: *said, known: known.document.digest() })
            }
            _ => Ok(()),
        }
    }
}

fn kind_of(deed: Deed) -> Kind {
    match deed {
        Deed::Initialised
        | Deed::PinSet(_)
        | Deed::PinChanged(_)
        | Deed::PinLost
        | Deed::PinUnlocked
        | Deed::SoPinLost => Kind::Token,
        Deed::UserAdded | Deed::UserConfirmed | Deed::UserUnlocked | Deed::UserRemoved => Kind::User,
        Deed::WalletCreated | Deed::WalletUpdated => Kind::Wallet,
        Deed::KeyCreated | Deed::KeyUpdated => Kind::DigestKey,
        Deed::ClockTaken => Kind::Clock,
        Deed::Frozen(_) | Deed::Thawed(_) => Kind::Freeze,
        Deed::OfficersSet => Kind::Council,
        Deed::DeviceAdded | Deed::DeviceRemoved => Kind::Credentials,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Change;
    use crate::act::tests::{act, link, token, user, wallet};
    use crate::pin::Role;

    #[test]
    fn the_links_alone_show_what_is_in_force() {
        let of = |name: &str| crate::seal::RecordKey::user(name).id;
        let mut in_force = InForce::default();
        let mut follow = |sequence, act| in_force.follow(&link(sequence, act)).expect("it goes on");
        let (new, confirmed) = (user("alice", false), user("alice", true));
        let alice = |deed, document: Option<Document>, before: Option<&Document>| RecordedAct {
            id: of("alice"),
            name: "alice".into(),
            before: before.map(Document::digest),
            ..act(deed, document)
        };
        follow(0, act(Deed::Initialised, Some(token())));
        follow(1, alice(Deed::UserAdded, Some(new.clone()), None));
        follow(2, alice(Deed::UserConfirmed, Some(confirmed.clone()), Some(&new)));
        let alices = |in_force: &InForce| -> Vec<(u64, Document)> {
            let users = in_force.standing().filter(|(place, _)| place.kind == Kind::User);
            users.map(|(_, standing)| (standing.link, standing.document.clone())).collect()
        };
        assert_eq!(alices(&in_force), [(2, confirmed.clone())]);
        let mut removed = in_force.clone();
        removed
            .follow(&link(3, alice(Deed::UserRemoved, None, Some(&confirmed))))
            .expect("what was in force before");
        assert_eq!(alices(&removed), []);
        assert_eq!(removed.standing().count(), 1, "the token");
        // A reach that the administrator raised still shows after another change.
        let wallet_act = |sequence, changes: Vec<Change>| {
            let document = Some(wallet("p", None));
            link(sequence, RecordedAct { changes, ..act(Deed::WalletUpdated, document) })
        };
        let mut raised = in_force.clone();
        let reach = vec![Change::Reach { before: [0, 0], after: [7, 8] }];
        raised.follow(&wallet_act(3, reach)).expect("it goes on");
        raised.follow(&wallet_act(4, vec![Change::Label("l".into())])).expect("it goes on");
        let wallets = raised.standing().filter(|(place, _)| place.kind == Kind::Wallet);
        assert_eq!(wallets.map(|(_, standing)| standing.reach).collect::<Vec<_>>(), [Some([7, 8])]);
        // A link that continues from something else.
        let broken =
            in_force.follow(&link(3, alice(Deed::UserRemoved, None, Some(&new)))).expect_err("another one");
        assert_eq!((broken.link, broken.said, broken.known), (3, new.digest(), confirmed.digest()));
    }

    #[test]
    fn objects_of_an_older_version_are_listed_until_their_first_document() {
        let older = |sequence, event| Link { event, ..link(sequence, act(Deed::Initialised, None)) };
        let mut in_force = InForce::default();
        for (sequence, event) in [
            (0, Event::Initialised),
            (1, Event::UserAdded("alice".into())),
            (2, Event::UserAdded("bob".into())),
            (3, Event::WalletCreated("hot".into())),
            (4, Event::UserRemoved("bob".into())),
        ] {
            in_force.follow(&older(sequence, event)).expect("it goes on");
        }
        let named = |in_force: &InForce| -> Vec<(Kind, String)> {
            in_force.undocumented().map(|(kind, name, _)| (kind, name.to_owned())).collect()
        };
        let expected = [(Kind::Token, ""), (Kind::User, "alice"), (Kind::Wallet, "hot")];
        assert_eq!(named(&in_force), expected.map(|(kind, name)| (kind, name.to_owned())));
        let renamed = RecordedAct {
            name: "cold".into(),
            before: Some(wallet("old", None).digest()),
            changes: vec![Change::Label("hot".into())],
            ..act(Deed::WalletUpdated, Some(wallet("new", None)))
        };
        in_force.follow(&link(5, renamed)).expect("nothing is known of before");
        in_force.follow(&link(6, act(Deed::PinSet(Role::User), Some(token())))).expect("likewise");
        assert_eq!(named(&in_force), [(Kind::User, "alice".to_owned())]);
        assert_eq!(in_force.standing().count(), 2);
    }
}
