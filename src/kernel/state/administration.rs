//! The transitions of administration: the token, users, the clock.

use super::records::{ClockRecord, Epoch, NobodyRecord, TokenRecord, UserRecord};
use crate::act::{self, Deed, Document, RecordedAct};
use crate::audit::Event;
use crate::clock::Believed;
use crate::credential::Credentials;
use crate::freeze::Freeze;
use crate::officer::Council;
use crate::receipt::{Batch, Content, Decision, Write};
use crate::record::{Stored, Versioned};
use crate::rule::Rule;
use crate::seal::{Kind, RecordKey};

/// Evidence: an event without a decision was recorded.
pub struct Recorded;

/// The first batch of a store.
pub(crate) fn initialise(token: &TokenRecord, believed: Believed) -> Batch {
    let first = |kind, content| Write {
        place: RecordKey::single(kind),
        expected: None,
        content: Content::Put(content),
    };
    let writes = vec![
        first(Kind::Token, token.encode()),
        first(Kind::Nobody, NobodyRecord::default().encode()),
        first(Kind::Clock, ClockRecord { believed }.encode()),
    ];
    let event = of_token(Deed::Initialised, None, token);
    Batch::new(writes, event, believed.wall)
}

/// Trusts the wall clock from here on, at its first reading in this run of the machine.
pub fn believe_clock(old: Option<&Versioned<ClockRecord>>, believed: Believed) -> Decision<Recorded> {
    Decision::new(record_clock(old, believed, Event::ClockTaken { moved: None }), Recorded)
}

/// The same, approved by the security officer. `moved` is the difference from the clock trusted before.
pub(crate) fn take_clock(
    old: Option<&Versioned<ClockRecord>>,
    believed: Believed,
    moved: Option<i64>,
) -> Batch {
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::ClockTaken,
        id: RecordKey::single(Kind::Clock).id,
        name: String::new(),
        document: Some(Document::from(believed)),
        before: old.map(|old| Document::from(old.value.believed).digest()),
        changes: moved.map(act::Change::Clock).into_iter().collect(),
    }));
    record_clock(old, believed, event)
}

fn record_clock(old: Option<&Versioned<ClockRecord>>, believed: Believed, event: Event) -> Batch {
    let record = ClockRecord { believed };
    let write = match old {
        Some(old) => old.put(&record),
        None => Write {
            place: RecordKey::single(Kind::Clock),
            expected: None,
            content: Content::Put(record.encode()),
        },
    };
    Batch::new(vec![write], event, believed.wall)
}

/// Records that for the time being no code is checked.
pub fn stop(failures: u32, now: u64) -> Decision<Recorded> {
    Decision::new(Batch::new(vec![], Event::Stopped { failures }, now), Recorded)
}

/// Records a PSBT that a rule refused before any code was checked.
pub fn decline(wallet: &str, rule: Rule, now: u64) -> Decision<Recorded> {
    let event = Event::PsbtRefused { wallet: wallet.into(), rule: rule.tag().into() };
    Decision::new(Batch::new(vec![], event, now), Recorded)
}

/// Accepts a store that did not fit its anchor: the links of both, the records of the epoch and of the council, the council in force
/// since then, and the officers who agreed.
pub(crate) fn restore(
    (store, anchor): (u64, Option<u64>),
    old: Option<&Versioned<Epoch>>,
    (council, in_force): (Option<&Versioned<Council>>, Option<&Council>),
    officers: &[[u8; 32]],
    now: u64,
) -> Batch {
    let number = old.map_or(0, |old| old.value.number).saturating_add(1);
    // The time is its name, so two restorations within a second must not share it.
    let at = old.map_or(now, |old| now.max(old.value.at.saturating_add(1)));
    let epoch = Epoch { number, at };
    let write = match old {
        Some(old) => old.put(&epoch),
        None => Write {
            place: RecordKey::single(Kind::Epoch),
            expected: None,
            content: Content::Put(epoch.encode()),
        },
    };
    let mut writes = vec![write];
    // A copy may be from before there were officers, or from when they were others.
    if let Some(in_force) = in_force.filter(|in_force| council.is_none_or(|old| old.value != **in_force)) {
        writes.push(match council {
            Some(old) => old.put(in_force),
            None => Write {
                place: RecordKey::single(Kind::Council),
                expected: None,
                content: Content::Put(in_force.encode()),
            },
        });
    }
    let event = if officers.is_empty() {
        Event::Restored { epoch: number, store, anchor }
    } else {
        let (officers, council) = (officers.to_vec(), in_force.map(Council::to_string));
        Event::RestoredByOfficers { epoch: number, store, anchor, officers, council }
    };
    Batch::new(writes, event, now)
}

/// Enrols a user. The place follows from the name, so a second user with the same name cannot be written.
pub(crate) fn add_user(user: &UserRecord, now: u64) -> Batch {
    let place = RecordKey::user(&user.name);
    let writes = vec![Write { place, expected: None, content: Content::Put(user.encode()) }];
    let event = of_user(Deed::UserAdded, None, Some(user));
    Batch::new(writes, event, now)
}

/// Replaces what a user approves with besides the OTP key, as long as the user's record is what it is. The record goes with the last
/// credential.
pub(crate) fn set_credentials(
    deed: Deed,
    user: &Versioned<UserRecord>,
    old: Option<&Versioned<Credentials>>,
    next: &Credentials,
    now: u64,
) -> Batch {
    let place = RecordKey::credentials(&user.value.name);
    let is_last = next.list().is_empty();
    let write = match old {
        Some(old) if is_last => old.remove(),
        Some(old) => old.put(next),
        None => Write { place, expected: None, content: Content::Put(next.encode()) },
    };
    let event = Event::Act(Box::new(RecordedAct {
        deed,
        id: place.id,
        name: user.value.name.clone(),
        document: (!is_last).then(|| Document::from(next)),
        before: old.map(|old| Document::from(&old.value).digest()),
        changes: vec![],
    }));
    Batch::new(vec![write], event, now).while_unchanged(user.unchanged())
}

/// Removes a user, and the user's freeze and credentials if there are any. The caller has made sure, with no other act of administration
/// in between, that no wallet lists the user.
pub(crate) fn remove_user(
    user: &Versioned<UserRecord>,
    freeze: Option<&Versioned<Freeze>>,
    credentials: Option<&Versioned<Credentials>>,
    now: u64,
) -> Batch {
    let event = of_user(Deed::UserRemoved, Some(&user.value), None);
    let with = freeze.map(Versioned::remove).into_iter().chain(credentials.map(Versioned::remove));
    let writes = [user.remove()].into_iter().chain(with).collect();
    Batch::new(writes, event, now)
}

/// Records a freeze at `place`.
pub(crate) fn freeze(place: RecordKey, freeze: &Freeze, now: u64) -> Batch {
    let writes = vec![Write { place, expected: None, content: Content::Put(freeze.encode()) }];
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::Frozen(freeze.what),
        id: place.id,
        name: freeze.name.clone(),
        document: Some(Document::Freeze(freeze.clone())),
        before: None,
        changes: vec![],
    }));
    Batch::new(writes, event, now)
}

/// Ends a freeze. `name` is the name or label that the thing has now.
pub(crate) fn thaw(freeze: &Versioned<Freeze>, name: String, now: u64) -> Batch {
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::Thawed(freeze.value.what),
        id: freeze.place.id,
        name,
        document: None,
        before: Some(Document::Freeze(freeze.value.clone()).digest()),
        changes: vec![],
    }));
    Batch::new(vec![freeze.remove()], event, now)
}

/// Sets the officers.
pub(crate) fn set_officers(old: Option<&Versioned<Council>>, new: &Council, now: u64) -> Batch {
    let place = RecordKey::single(Kind::Council);
    let write = match old {
        Some(old) => old.put(new),
        None => Write { place, expected: None, content: Content::Put(new.encode()) },
    };
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::OfficersSet,
        id: place.id,
        name: String::new(),
        document: Some(Document::from(new)),
        before: old.map(|old| Document::from(&old.value).digest()),
        changes: old.map(|old| act::Change::Council(old.value.compare(new))).into_iter().collect(),
    }));
    Batch::new(vec![write], event, now)
}

/// Unlocks a user: ends the row of wrong tries and the wait, never the 30-day budget.
pub(crate) fn unlock_user(user: &Versioned<UserRecord>, now: u64) -> Batch {
    let unlocked = UserRecord { budget: user.value.budget.row_ended(), ..user.value.clone() };
    let event = of_user(Deed::UserUnlocked, Some(&user.value), Some(&unlocked));
    Batch::new(vec![user.put(&unlocked)], event, now)
}

/// An act on the token's record.
pub(super) fn of_token(deed: Deed, before: Option<&TokenRecord>, since: &TokenRecord) -> Event {
    Event::Act(Box::new(RecordedAct {
        deed,
        id: RecordKey::single(Kind::Token).id,
        name: since.label.clone(),
        document: Some(Document::from(since)),
        before: before.map(|before| Document::from(before).digest()),
        changes: vec![],
    }))
}

fn of_user(deed: Deed, before: Option<&UserRecord>, since: Option<&UserRecord>) -> Event {
    Event::Act(Box::new(act_of_user(deed, before, since)))
}

/// An act on a user's record. At least one of the two is given.
pub(super) fn act_of_user(
    deed: Deed,
    before: Option<&UserRecord>,
    since: Option<&UserRecord>,
) -> RecordedAct {
    let name = since.or(before).map(|user| user.name.clone()).unwrap_or_default();
    RecordedAct {
        deed,
        id: RecordKey::user(&name).id,
        name,
        document: since.map(Document::from),
        before: before.map(|before| Document::from(before).digest()),
        changes: vec![],
    }
}
