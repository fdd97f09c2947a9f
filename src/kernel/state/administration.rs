//! The transitions of administration: users, wallets, the clock.

use super::records::{ClockRecord, Epoch, NobodyRecord, TokenRecord, UserRecord, WalletState};
use crate::act::{self, Deed, Document, PolicyChange, RecordedAct};
use crate::audit::Event;
use crate::clock::Believed;
use crate::digest_key::{DigestKey, DigestKeyRecord};
use crate::direction::Direction;
use crate::policy::changed_keys;
use crate::receipt::{Batch, Change, Content, Write};
use crate::record::{Stored, Versioned};
use crate::rule::Rule;
use crate::seal::{Kind, RecordKey};
use crate::wallet::{Reach, Wallet, WalletRecord};

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
    Batch { writes, event, time: believed.wall }
}

/// Trusts the wall clock from here on, at its first reading in this run of the machine.
pub fn believe_clock(old: Option<&Versioned<ClockRecord>>, believed: Believed) -> Change<Recorded> {
    Change::new(record_clock(old, believed, Event::ClockTaken { moved: None }), Recorded)
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
    Batch { writes: vec![write], event, time: believed.wall }
}

/// Records that for the time being no code is checked.
pub fn stop(failures: u32, now: u64) -> Change<Recorded> {
    Change::new(Batch { writes: vec![], event: Event::Stopped { failures }, time: now }, Recorded)
}

/// Records a PSBT that a rule refused before any code was checked.
pub fn decline(wallet: &str, rule: Rule, now: u64) -> Change<Recorded> {
    let event = Event::PsbtRefused { wallet: wallet.into(), rule: rule.tag().into() };
    Change::new(Batch { writes: vec![], event, time: now }, Recorded)
}

/// Accepts a store that did not fit its anchor.
pub(crate) fn restore(old: Option<&Versioned<Epoch>>, store: u64, anchor: Option<u64>, now: u64) -> Batch {
    let number = old.map_or(0, |old| old.value.number).saturating_add(1);
    let epoch = Epoch { number, at: now };
    let write = match old {
        Some(old) => old.put(&epoch),
        None => Write {
            place: RecordKey::single(Kind::Epoch),
            expected: None,
            content: Content::Put(epoch.encode()),
        },
    };
    let event = Event::Restored { epoch: number, store, anchor };
    Batch { writes: vec![write], event, time: now }
}

/// Enrols a user. The place follows from the name, so a second user with the same name cannot be written.
pub(crate) fn add_user(user: &UserRecord, now: u64) -> Batch {
    let place = RecordKey::user(&user.name);
    let writes = vec![Write { place, expected: None, content: Content::Put(user.encode()) }];
    let event = of_user(Deed::UserAdded, None, Some(user));
    Batch { writes, event, time: now }
}

/// Removes a user. The caller has made sure, with no other act of administration in between, that no wallet
/// lists the user.
pub(crate) fn remove_user(user: &Versioned<UserRecord>, now: u64) -> Batch {
    let event = of_user(Deed::UserRemoved, Some(&user.value), None);
    Batch { writes: vec![user.remove()], event, time: now }
}

/// Unlocks a user: ends the row of wrong tries and the wait, never the 30-day budget.
pub(crate) fn unlock_user(user: &Versioned<UserRecord>, now: u64) -> Batch {
    let unlocked = UserRecord { budget: user.value.budget.row_ended(), ..user.value.clone() };
    let event = of_user(Deed::UserUnlocked, Some(&user.value), Some(&unlocked));
    Batch { writes: vec![user.put(&unlocked)], event, time: now }
}

/// Creates the wallet `id` and its state. `opened` is the opened wallet.
pub(crate) fn add_wallet(id: [u8; 16], wallet: &WalletRecord, opened: &Wallet, now: u64) -> Batch {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes =
        vec![first(Kind::Wallet, wallet.encode()), first(Kind::WalletState, WalletState::default().encode())];
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::WalletCreated,
        id,
        name: wallet.label.clone(),
        document: Some(Document::from(opened)),
        before: None,
        changes: vec![],
    }));
    Batch { writes, event, time: now }
}

/// Changes label, users or policy of a wallet, and its reach, which is never lowered. `opened` are the opened
/// old and new wallets. The state is always written, too. So a signature that was judged by the old wallet
/// finds another version of the state, and is not given.
pub(crate) fn change_wallet(
    wallet: &Versioned<WalletRecord>,
    new: &WalletRecord,
    opened: (&Wallet, &Wallet),
    (state, reach): (&Versioned<WalletState>, Reach),
    now: u64,
) -> Batch {
    let (old, since) = opened;
    let direction = || old.policy().compare(since.policy());
    let reached = WalletState { reach: state.value.reach.joined(reach), ..state.value.clone() };
    let mut changes = changes(
        (old.label(), since.label()),
        (old.users(), since.users()),
        (old.policy_document(), since.policy_document()),
        direction,
    );
    if old.keys().is_none() && since.keys().is_some() {
        changes.push(act::Change::Registration);
    }
    if reached.reach != state.value.reach {
        let (before, after) = (state.value.reach.numbers(), reached.reach.numbers());
        changes.push(act::Change::Reach { before, after });
    }
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::WalletUpdated,
        id: wallet.place.id,
        name: new.label.clone(),
        document: Some(Document::from(since)),
        before: Some(Document::from(old).digest()),
        changes,
    }));
    let writes = vec![wallet.put(new), state.put(&reached)];
    Batch { writes, event, time: now }
}

/// Creates the key `id` that signs digests, and its state. `opened` is the opened key.
pub(crate) fn add_digest_key(id: [u8; 16], key: &DigestKeyRecord, opened: &DigestKey, now: u64) -> Batch {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes = vec![
        first(Kind::DigestKey, key.encode()),
        first(Kind::DigestKeyState, WalletState::default().encode()),
    ];
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::KeyCreated,
        id,
        name: key.label.clone(),
        document: Some(Document::from(opened)),
        before: None,
        changes: vec![],
    }));
    Batch { writes, event, time: now }
}

/// Changes label, users or policy of a key that signs digests. As in [`change_wallet`], its state is written,
/// too.
pub(crate) fn change_digest_key(
    key: &Versioned<DigestKeyRecord>,
    new: &DigestKeyRecord,
    opened: (&DigestKey, &DigestKey),
    state: &Versioned<WalletState>,
    now: u64,
) -> Batch {
    let (old, since) = opened;
    let direction = || old.policy().compare(since.policy());
    let changes = changes(
        (old.label(), since.label()),
        (old.users(), since.users()),
        (old.policy_document(), since.policy_document()),
        direction,
    );
    let event = Event::Act(Box::new(RecordedAct {
        deed: Deed::KeyUpdated,
        id: key.place.id,
        name: new.label.clone(),
        document: Some(Document::from(since)),
        before: Some(Document::from(old).digest()),
        changes,
    }));
    let writes = vec![key.put(new), state.put(&state.value)];
    Batch { writes, event, time: now }
}

/// The names that are in the first list and not in the second.
fn only_in(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().filter(|user| !other.contains(user)).cloned().collect()
}

/// The differences between the old and the new wallet or key. Each pair is the old and the new value.
fn changes(
    label: (&str, &str),
    users: (&[String], &[String]),
    policy: (&str, &str),
    direction: impl FnOnce() -> Direction,
) -> Vec<act::Change> {
    let mut changes = Vec::new();
    if label.0 != label.1 {
        changes.push(act::Change::Label(label.0.into()));
    }
    let (added, removed) = (only_in(users.1, users.0), only_in(users.0, users.1));
    if !added.is_empty() {
        changes.push(act::Change::UsersAdded(added));
    }
    if !removed.is_empty() {
        changes.push(act::Change::UsersRemoved(removed));
    }
    if policy.0 != policy.1 {
        let rules = changed_keys(policy.0, policy.1);
        changes.push(act::Change::Policy(PolicyChange::new(policy.0, policy.1, direction(), rules)));
    }
    changes
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
