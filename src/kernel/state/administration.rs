//! The transitions of administration: PINs, users, wallets.

use super::records::{
    ClockRecord, Epoch, NobodyRecord, Stored, TokenRecord, UserRecord, Versioned, WalletState,
};
use crate::kernel::audit::{Event, Role};
use crate::kernel::clock::Believed;
use crate::kernel::digest_key::DigestKeyRecord;
use crate::kernel::pin::PinRecord;
use crate::kernel::policy::{DigestPolicy, Direction, Policy};
use crate::kernel::receipt::{Batch, Change, Content, Receipt, Write};
use crate::kernel::rule::Rule;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::wallet::WalletRecord;

/// Evidence: a try at a PIN is charged.
pub struct PinCharged {
    role: Role,
}

/// Evidence: an act of administration is recorded.
pub struct Recorded;

/// Why a PIN is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinClosed {
    /// Locked.
    Locked,
    /// Never set.
    NotSet,
}

fn pin_of(token: &TokenRecord, role: Role) -> Option<&PinRecord> {
    match role {
        Role::So => Some(&token.so),
        Role::User => token.user.as_ref(),
    }
}

fn with_pin(token: &TokenRecord, role: Role, pin: PinRecord) -> TokenRecord {
    match role {
        Role::So => TokenRecord { so: pin, ..token.clone() },
        Role::User => TokenRecord { user: Some(pin), ..token.clone() },
    }
}

/// Charges one try at the PIN of `role`.
pub fn charge_pin(
    token: &Versioned<TokenRecord>,
    role: Role,
    now: u64,
) -> Result<Change<PinCharged>, PinClosed> {
    let pin = pin_of(&token.value, role).ok_or(PinClosed::NotSet)?.charged().ok_or(PinClosed::Locked)?;
    let writes = vec![token.put(&with_pin(&token.value, role, pin))];
    Ok(Change::new(Batch { writes, event: Event::PinCharged(role), time: now }, PinCharged { role }))
}

/// Evidence: the PIN that was charged for was right. Not yet recorded.
pub struct PinMatched {
    role: Role,
    /// What it matched.
    pin: PinRecord,
}

/// Compares a PIN whose try is charged.
pub fn verify_pin(charged: Receipt<PinCharged>, token: &TokenRecord, pin: &[u8]) -> Option<PinMatched> {
    let PinCharged { role } = charged.into_evidence();
    let record = pin_of(token, role)?;
    record.matches(pin).then(|| PinMatched { role, pin: record.clone() })
}

/// Clears the tries of a PIN that was right, and sets a new one where given. None where another one was set since: what was
/// right is not any more.
pub fn accept_pin(
    matched: &PinMatched,
    token: &Versioned<TokenRecord>,
    new: Option<PinRecord>,
    now: u64,
) -> Option<Change<Recorded>> {
    let role = matched.role;
    let old = pin_of(&token.value, role).filter(|pin| pin.is_of_same_pin(&matched.pin))?;
    let event = if new.is_some() { Event::PinSet(role) } else { Event::PinAccepted(role) };
    let pin = match new {
        Some(pin) => pin,
        None => old.cleared(),
    };
    let writes = vec![token.put(&with_pin(&token.value, role, pin))];
    Some(Change::new(Batch { writes, event, time: now }, Recorded))
}

/// Sets the backend's PIN; the security officer is logged in.
pub fn set_user_pin(token: &Versioned<TokenRecord>, pin: PinRecord, now: u64) -> Change<Recorded> {
    let writes = vec![token.put(&with_pin(&token.value, Role::User, pin))];
    Change::new(Batch { writes, event: Event::PinSet(Role::User), time: now }, Recorded)
}

/// The first batch of a store.
pub fn initialise(token: &TokenRecord, believed: Believed) -> Change<Recorded> {
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
    Change::new(Batch { writes, event: Event::Initialised, time: believed.wall }, Recorded)
}

/// Believes the wall clock from here on. `moved` is by how much it differs from the one believed before.
pub fn take_clock(
    old: Option<&Versioned<ClockRecord>>,
    believed: Believed,
    moved: Option<i64>,
) -> Change<Recorded> {
    let record = ClockRecord { believed };
    let write = match old {
        Some(old) => old.put(&record),
        None => Write {
            place: RecordKey::single(Kind::Clock),
            expected: None,
            content: Content::Put(record.encode()),
        },
    };
    let event = Event::ClockTaken { moved };
    Change::new(Batch { writes: vec![write], event, time: believed.wall }, Recorded)
}

/// Records that no code is looked at for the time being.
pub fn stop(failures: u32, now: u64) -> Change<Recorded> {
    Change::new(Batch { writes: vec![], event: Event::Stopped { failures }, time: now }, Recorded)
}

/// Records a PSBT that a rule refused before any code was looked at.
pub fn decline(wallet: &str, rule: Rule, now: u64) -> Change<Recorded> {
    let event = Event::PsbtRefused { wallet: wallet.into(), rule: rule.tag().into() };
    Change::new(Batch { writes: vec![], event, time: now }, Recorded)
}

/// Whether `pin` is the security officer's. For the restoration of a store, which has to be taken before a try at it could
/// be charged: a locked PIN is not compared.
pub fn is_officer(token: &TokenRecord, pin: &[u8]) -> bool {
    token.so.charged().is_some_and(|so| so.matches(pin))
}

/// Takes a store that did not fit its anchor.
pub fn restore(
    old: Option<&Versioned<Epoch>>,
    store: u64,
    anchor: Option<u64>,
    now: u64,
) -> Change<Recorded> {
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
    Change::new(Batch { writes: vec![write], event, time: now }, Recorded)
}

/// Enrols a user. The place is that of its name: a second user of the same name cannot be written.
pub fn add_user(user: &UserRecord, now: u64) -> Change<Recorded> {
    let place = RecordKey::user(&user.name);
    let writes = vec![Write { place, expected: None, content: Content::Put(user.encode()) }];
    Change::new(Batch { writes, event: Event::UserAdded(user.name.clone()), time: now }, Recorded)
}

/// Removes a user. The caller has made sure, with no other act of administration in between, that no wallet lists it.
pub fn remove_user(user: &Versioned<UserRecord>, now: u64) -> Change<Recorded> {
    let event = Event::UserRemoved(user.value.name.clone());
    Change::new(Batch { writes: vec![user.remove()], event, time: now }, Recorded)
}

/// Unlocks a user: ends the row of failures and the wait, never the 30-day budget.
pub fn unlock_user(user: &Versioned<UserRecord>, now: u64) -> Change<Recorded> {
    let unlocked = UserRecord { codes: user.value.codes.unlocked(), ..user.value.clone() };
    let event = Event::UserUnlocked(user.value.name.clone());
    Change::new(Batch { writes: vec![user.put(&unlocked)], event, time: now }, Recorded)
}

/// Creates the wallet `id`, with its state beside it.
pub fn add_wallet(id: [u8; 16], wallet: &WalletRecord, now: u64) -> Change<Recorded> {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes =
        vec![first(Kind::Wallet, wallet.encode()), first(Kind::WalletState, WalletState::default().encode())];
    Change::new(Batch { writes, event: Event::WalletCreated(wallet.label.clone()), time: now }, Recorded)
}

/// Changes label, users or policy of a wallet. Its state is written, too, as it is: a signature that was judged by the
/// wallet as it was finds another version there, and is not given.
pub fn change_wallet(
    wallet: &Versioned<WalletRecord>,
    new: &WalletRecord,
    state: &Versioned<WalletState>,
    now: u64,
) -> Change<Recorded> {
    let old = &wallet.value;
    let event = Event::WalletUpdated {
        wallet: new.label.clone(),
        users_added: only_in(&new.users, &old.users),
        users_removed: only_in(&old.users, &new.users),
        policy: (new.policy != old.policy).then(|| direction(old, new)),
    };
    let writes = vec![wallet.put(new), state.put(&state.value)];
    Change::new(Batch { writes, event, time: now }, Recorded)
}

/// Creates the key `id` that signs digests, with its state beside it.
pub fn add_digest_key(id: [u8; 16], key: &DigestKeyRecord, now: u64) -> Change<Recorded> {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes = vec![
        first(Kind::DigestKey, key.encode()),
        first(Kind::DigestKeyState, WalletState::default().encode()),
    ];
    Change::new(Batch { writes, event: Event::DigestKeyCreated(key.label.clone()), time: now }, Recorded)
}

/// Changes label, users or policy of a key that signs digests. Its state is written, too, as [`change_wallet`] does.
pub fn change_digest_key(
    key: &Versioned<DigestKeyRecord>,
    new: &DigestKeyRecord,
    state: &Versioned<WalletState>,
    now: u64,
) -> Change<Recorded> {
    let old = &key.value;
    let direction = || match (DigestPolicy::parse(&old.policy), DigestPolicy::parse(&new.policy)) {
        (Ok(old), Ok(new)) => old.compare(&new),
        _ => Direction::UNKNOWN,
    };
    let event = Event::DigestKeyUpdated {
        key: new.label.clone(),
        users_added: only_in(&new.users, &old.users),
        users_removed: only_in(&old.users, &new.users),
        policy: (new.policy != old.policy).then(direction),
    };
    let writes = vec![key.put(new), state.put(&state.value)];
    Change::new(Batch { writes, event, time: now }, Recorded)
}

/// The names that are in one list and not in the other.
fn only_in(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().filter(|user| !other.contains(user)).cloned().collect()
}

fn direction(old: &WalletRecord, new: &WalletRecord) -> Direction {
    let policies = (Policy::parse(&old.policy, old.network), Policy::parse(&new.policy, new.network));
    let (Ok(old), Ok(new)) = policies else { return Direction::UNKNOWN };
    old.compare(&new)
}
