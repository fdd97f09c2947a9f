//! The transitions of administration: PINs, users, wallets.

use super::records::{NobodyRecord, Stored, TokenRecord, UserRecord, Versioned, WalletState};
use crate::kernel::audit::{Event, Role};
use crate::kernel::pin::PinRecord;
use crate::kernel::policy::{Direction, Policy};
use crate::kernel::receipt::{Batch, Change, Content, Receipt, Write};
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
}

/// Compares a PIN whose try is charged.
pub fn verify_pin(charged: Receipt<PinCharged>, token: &TokenRecord, pin: &[u8]) -> Option<PinMatched> {
    let PinCharged { role } = charged.into_evidence();
    pin_of(token, role).is_some_and(|record| record.matches(pin)).then_some(PinMatched { role })
}

/// Clears the tries of a PIN that was right, and sets a new one where given.
pub fn accept_pin(
    matched: &PinMatched,
    token: &Versioned<TokenRecord>,
    new: Option<PinRecord>,
    now: u64,
) -> Option<Change<Recorded>> {
    let role = matched.role;
    let event = if new.is_some() { Event::PinSet(role) } else { Event::PinAccepted(role) };
    let pin = match new {
        Some(pin) => pin,
        None => pin_of(&token.value, role)?.cleared(),
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
pub fn initialise(token: &TokenRecord, now: u64) -> Change<Recorded> {
    let first = |kind, content| Write {
        place: RecordKey::single(kind),
        expected: None,
        content: Content::Put(content),
    };
    let writes =
        vec![first(Kind::Token, token.encode()), first(Kind::Nobody, NobodyRecord::default().encode())];
    Change::new(Batch { writes, event: Event::Initialised, time: now }, Recorded)
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
    let only_in = |one: &[String], other: &[String]| {
        one.iter().filter(|user| !other.contains(user)).cloned().collect::<Vec<_>>()
    };
    let event = Event::WalletUpdated {
        wallet: new.label.clone(),
        users_added: only_in(&new.users, &old.users),
        users_removed: only_in(&old.users, &new.users),
        policy: (new.policy != old.policy).then(|| direction(old, new)),
    };
    let writes = vec![wallet.put(new), state.put(&state.value)];
    Change::new(Batch { writes, event, time: now }, Recorded)
}

fn direction(old: &WalletRecord, new: &WalletRecord) -> Direction {
    let policies = (Policy::parse(&old.policy, old.network), Policy::parse(&new.policy, new.network));
    let (Ok(old), Ok(new)) = policies else { return Direction::UNKNOWN };
    old.compare(&new)
}
