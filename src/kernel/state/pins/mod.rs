//! The token's PINs: who may try them how often, and what a right PIN ends.
//!
//! A try is charged to the peer that makes it, before the PIN is compared. So a peer that guesses locks only
//! itself out, and the PIN's owner can go on. PKCS#11 v3.2 (`CK_TOKEN_INFO`) has flags for how close a PIN is
//! to its lock (`CKF_USER_PIN_COUNT_LOW` and the others).
//!
//! - The backends' PIN: [`PEER_TRIES`] for each peer, until an administrator clears them, and [`PIN_BUDGET`]
//!   for all peers together in 30 days, which only a new PIN clears.
//! - The security officer's PIN: no lock, but a wait that doubles up to an hour. It is measured by the clock
//!   that nobody sets, because the officer must be able to log in under a wrong wall clock.

mod heir;

use serde::{Deserialize, Serialize};

use super::administration::of_token;
use super::budget::{BUDGET_PERIOD, wait_after};
use super::records::TokenRecord;
use crate::act::Deed;
use crate::audit::Event;
use crate::clock::Believed;
use crate::pin::{PinName, PinRecord, Role};
use crate::receipt::{Batch, Decision, Receipt};
use crate::record::Versioned;

pub use heir::{HeirFound, verify_heir};
pub(crate) use heir::{inherit_so_pin, lose_so_pin};

/// Wrong tries in a row at the backends' PIN that each peer has.
pub const PEER_TRIES: u32 = 5;
/// Wrong tries at the backends' PIN that all peers together have in 30 days.
pub const PIN_BUDGET: usize = 100;
/// Peers whose tries are counted separately. The rest share one count.
pub const MAX_PEERS: usize = 64;

/// Wrong tries in a row that the first format allowed.
const FIRST_TRIES: u8 = 10;

/// The peer that tries a PIN, as its door identified it. `None` without a door, in a process that has loaded
/// the engine itself.
pub type Peer<'a> = Option<&'a str>;

/// Wrong tries in a row, for each peer.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Tries {
    /// Of the peers that have any, with their names.
    of_peers: Vec<(String, Row)>,
    /// Of everybody else.
    of_the_rest: Row,
}

/// Wrong tries in a row.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Row {
    count: u32,
    /// The readings of the clocks at the last one.
    last: Option<Believed>,
}

impl Tries {
    fn place_of(&self, peer: Peer<'_>) -> Option<usize> {
        let peer = peer?;
        self.of_peers.iter().position(|(name, _)| name == peer)
    }

    fn of(&self, peer: Peer<'_>) -> Row {
        match (self.place_of(peer), peer) {
            (Some(place), _) => self.of_peers[place].1,
            (None, Some(_)) if self.of_peers.len() < MAX_PEERS => Row::default(),
            (None, _) => self.of_the_rest,
        }
    }

    fn charged(&self, peer: Peer<'_>, now: Believed) -> Tries {
        let row = Row { count: self.of(peer).count.saturating_add(1), last: Some(now) };
        let mut tries = self.clone();
        match (self.place_of(peer), peer) {
            (Some(place), _) => tries.of_peers[place].1 = row,
            (None, Some(peer)) if self.of_peers.len() < MAX_PEERS => {
                tries.of_peers.push((peer.to_owned(), row));
            }
            (None, _) => tries.of_the_rest = row,
        }
        tries
    }

    fn cleared(&self, peer: Peer<'_>) -> Tries {
        let mut tries = self.clone();
        match self.place_of(peer) {
            Some(place) => drop(tries.of_peers.remove(place)),
            None => tries.of_the_rest = Row::default(),
        }
        tries
    }
}

impl Row {
    /// Seconds until the next try is accepted.
    fn wait(self, now: Believed) -> u64 {
        // In another run of the machine the wait counts from its boot, because nobody knows how long the
        // machine was off.
        let since = match self.last {
            Some(last) if last.boot_id == now.boot_id && last.boot <= now.boot => now.boot - last.boot,
            _ => now.boot,
        };
        wait_after(self.count).saturating_sub(since)
    }
}

/// A PIN as the first format kept it, with the tries of everybody together.
#[derive(Serialize, Deserialize)]
pub(super) struct FirstFormat {
    pin: PinRecord,
    tries: u8,
}

/// The security officer's PIN.
#[derive(Clone, Serialize, Deserialize)]
pub struct OfficerPin {
    pin: PinRecord,
    tries: Tries,
}

impl OfficerPin {
    /// A new PIN.
    pub fn new(pin: PinRecord) -> OfficerPin {
        OfficerPin { pin, tries: Tries::default() }
    }

    pub(super) fn upgrade(first: FirstFormat) -> OfficerPin {
        let row = Row { count: first.tries.into(), last: None };
        OfficerPin { pin: first.pin, tries: Tries { of_the_rest: row, ..Tries::default() } }
    }

    pub(crate) fn name(&self) -> PinName {
        self.pin.name()
    }

    /// Whether officers declared it lost, so that nobody can log in with it.
    pub fn is_lost(&self) -> bool {
        self.pin.is_of_nobody()
    }

    /// How close the PIN is to its lock for this peer.
    pub fn standing(&self, peer: Peer<'_>, now: Believed) -> PinStanding {
        let row = self.tries.of(peer);
        match row.count {
            _ if row.wait(now) > 0 => PinStanding::Locked,
            0 => PinStanding::Clean,
            count if wait_after(count + 1) > 0 => PinStanding::FinalTry,
            _ => PinStanding::CountLow,
        }
    }

    /// Whether some peer, or those who share the rest's row, must wait.
    pub fn is_waiting_for_any(&self, now: Believed) -> bool {
        let Tries { of_peers, of_the_rest } = &self.tries;
        of_peers.iter().map(|(_, row)| row).chain([of_the_rest]).any(|row| row.wait(now) > 0)
    }

    fn charged(&self, peer: Peer<'_>, now: Believed) -> Result<OfficerPin, PinClosed> {
        match self.tries.of(peer).wait(now) {
            0 => Ok(OfficerPin { tries: self.tries.charged(peer, now), ..self.clone() }),
            seconds => Err(PinClosed::Waiting { seconds }),
        }
    }
}

/// The backends' PIN.
#[derive(Clone, Serialize, Deserialize)]
pub struct UserPin {
    pin: PinRecord,
    tries: Tries,
    /// Unix times of the wrong tries in the last 30 days.
    charged: Vec<u64>,
    /// Whether nobody can log in with it any more.
    closed: Option<Closed>,
}

/// Why nobody can log in with a PIN until a new one is set.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Closed {
    /// The security officer declared it lost.
    Lost,
    /// It was locked when the tries of all peers were still counted together.
    LockedByFirstFormat,
}

impl UserPin {
    /// A new PIN.
    pub fn new(pin: PinRecord) -> UserPin {
        UserPin { pin, tries: Tries::default(), charged: vec![], closed: None }
    }

    /// Reading must not lock a PIN, so at least one of its tries is left.
    pub(super) fn upgrade(first: FirstFormat) -> UserPin {
        let count = u32::from(first.tries).min(PEER_TRIES - 1);
        let closed = (first.tries >= FIRST_TRIES).then_some(Closed::LockedByFirstFormat);
        let tries = Tries { of_the_rest: Row { count, last: None }, ..Tries::default() };
        UserPin { tries, closed, ..UserPin::new(first.pin) }
    }

    /// Its name, or none if it was declared lost.
    pub(crate) fn name(&self) -> Option<PinName> {
        (!self.is_lost()).then(|| self.pin.name())
    }

    /// Its name, if it let peers in at `now` and ever since then: it is not closed, and no row of wrong tries that several peers share
    /// is full or was.
    pub fn usable_since(&self, since: u64, now: u64) -> Option<PinName> {
        let charged = self.charged.iter().filter(|at| **at >= since).count();
        let row = charged.max(self.tries.of(None).count as usize);
        (!self.is_closed(now) && row < PEER_TRIES as usize).then(|| self.pin.name())
    }

    /// How close the PIN is to its lock for this peer.
    pub fn standing(&self, peer: Peer<'_>, now: u64) -> PinStanding {
        let (row, failures) = (self.tries.of(peer).count, self.failures(now));
        match row {
            _ if self.is_closed(now) || row >= PEER_TRIES => PinStanding::Locked,
            0 => PinStanding::Clean,
            _ if row + 1 == PEER_TRIES || failures + 1 == PIN_BUDGET => PinStanding::FinalTry,
            _ => PinStanding::CountLow,
        }
    }

    /// Wrong tries of all peers in the 30 days before `now`.
    pub fn failures(&self, now: u64) -> usize {
        self.charged.iter().filter(|at| is_recent(**at, now)).count()
    }

    /// Whether it was declared lost.
    pub fn is_lost(&self) -> bool {
        self.closed == Some(Closed::Lost)
    }

    /// Whether nobody can log in with it.
    pub fn is_closed(&self, now: u64) -> bool {
        self.closed.is_some() || self.failures(now) >= PIN_BUDGET
    }

    /// Whether some peer, or those who share the rest's row, have used up their tries.
    pub fn has_locked_peers(&self) -> bool {
        self.peers().any(|(_, count)| count >= PEER_TRIES)
    }

    /// The wrong tries in a row of each peer that has any. The entry without a name is for the rest.
    pub fn peers(&self) -> impl Iterator<Item = (Peer<'_>, u32)> {
        let named = self.tries.of_peers.iter().map(|(name, row)| (Some(name.as_str()), row.count));
        named.chain([(None, self.tries.of_the_rest.count)]).filter(|(_, count)| *count > 0)
    }

    fn charged(&self, peer: Peer<'_>, at: Believed, now: u64) -> Result<UserPin, PinClosed> {
        if self.is_closed(now) || self.tries.of(peer).count >= PEER_TRIES {
            return Err(PinClosed::Locked);
        }
        let mut charged: Vec<u64> =
            self.charged.iter().copied().filter(|charged| is_recent(*charged, now)).collect();
        charged.push(now);
        Ok(UserPin { tries: self.tries.charged(peer, at), charged, ..self.clone() })
    }

    /// The PIN was right: the peer's row ends, and its own charge leaves the budget. All other charges stay.
    fn accepted(&self, peer: Peer<'_>, charged_at: u64) -> UserPin {
        let mut charged = self.charged.clone();
        if let Some(own) = charged.iter().rposition(|at| *at == charged_at) {
            charged.remove(own);
        }
        UserPin { tries: self.tries.cleared(peer), charged, ..self.clone() }
    }
}

fn is_recent(at: u64, now: u64) -> bool {
    at.saturating_add(BUDGET_PERIOD) > now
}

/// How close a PIN is to its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinStanding {
    /// No wrong try since the last right one.
    Clean,
    /// At least one wrong try.
    CountLow,
    /// One more wrong try locks it for this peer.
    FinalTry,
    /// No try of this peer is accepted.
    Locked,
}

/// The reason why a PIN is not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinClosed {
    /// Locked, for this peer or for all.
    Locked,
    /// The next try is accepted after so many seconds.
    Waiting {
        /// The seconds.
        seconds: u64,
    },
    /// Never set.
    NotSet,
}

/// Evidence: a try at a PIN is charged.
pub struct PinCharged {
    role: Role,
    peer: Option<String>,
    at: u64,
    /// The PIN to compare with, for which the try was charged.
    pin: Option<PinRecord>,
}

/// Charges one try at the PIN of `role` to `peer`. `now` is the trusted time, `clocks` the present readings.
pub fn charge_pin(
    token: &Versioned<TokenRecord>,
    role: Role,
    peer: Peer<'_>,
    clocks: Believed,
    now: u64,
) -> Result<Decision<PinCharged>, PinClosed> {
    let old = &token.value;
    let new = match role {
        Role::So => TokenRecord { so: old.so.charged(peer, clocks)?, ..old.clone() },
        Role::User => {
            let user = old.user.as_ref().ok_or(PinClosed::NotSet)?.charged(peer, clocks, now)?;
            TokenRecord { user: Some(user), ..old.clone() }
        }
    };
    let pin = pin_of(old, role).cloned();
    let evidence = PinCharged { role, peer: peer.map(str::to_owned), at: now, pin };
    let batch = Batch::new(vec![token.put(&new)], Event::PinCharged(role), now);
    Ok(Decision::new(batch, evidence).in_store_of(token.authority))
}

/// Evidence: the PIN of a charged try was right. This is not yet recorded.
pub struct PinMatched {
    charged: PinCharged,
    /// The PIN that it matched.
    pin: PinRecord,
}

/// Compares a PIN whose try was charged.
pub fn verify_pin(charged: Receipt<PinCharged>, pin: &[u8]) -> Option<PinMatched> {
    let mut charged = charged.into_evidence();
    let record = charged.pin.take()?;
    record.matches(pin).then_some(PinMatched { charged, pin: record })
}

impl PinMatched {
    /// The role of the PIN.
    pub fn role(&self) -> Role {
        self.charged.role
    }

    /// Evidence about the PIN that it was changed to.
    pub(crate) fn changed_to(self, new: &PinRecord) -> PinKnown {
        PinKnown { role: self.charged.role, peer: self.charged.peer, pin: new.name() }
    }
}

/// Evidence, once it is durable: a peer knows the PIN of a role.
pub struct PinKnown {
    role: Role,
    peer: Option<String>,
    pin: PinName,
}

impl PinKnown {
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn into_parts(self) -> (Role, Option<String>, PinName) {
        (self.role, self.peer, self.pin)
    }
}

/// Clears the tries of a PIN that was right. None if another one was set since then, or this one was declared
/// lost: then it is not right any more.
pub fn accept_pin(
    matched: &PinMatched,
    token: &Versioned<TokenRecord>,
    now: u64,
) -> Option<Decision<PinKnown>> {
    let PinCharged { role, peer, .. } = &matched.charged;
    let writes = vec![token.put(&accepted(matched, &token.value, None)?)];
    let known = PinKnown { role: *role, peer: peer.clone(), pin: matched.pin.name() };
    Some(Decision::new(Batch::new(writes, Event::PinAccepted(*role), now), known))
}

/// The same, and sets a new PIN.
pub(crate) fn change_pin(
    matched: &PinMatched,
    token: &Versioned<TokenRecord>,
    new: PinRecord,
    now: u64,
) -> Option<Batch> {
    let record = accepted(matched, &token.value, Some(new))?;
    let event = of_token(Deed::PinChanged(matched.role()), Some(&token.value), &record);
    Some(Batch::new(vec![token.put(&record)], event, now))
}

fn accepted(matched: &PinMatched, old: &TokenRecord, new: Option<PinRecord>) -> Option<TokenRecord> {
    let PinCharged { role, peer, at, .. } = &matched.charged;
    let peer = peer.as_deref();
    let pin = pin_of(old, *role).filter(|pin| pin.is_of_same_pin(&matched.pin))?;
    let pin = new.unwrap_or_else(|| pin.clone());
    Some(match role {
        Role::So => {
            let so = OfficerPin { pin, tries: old.so.tries.cleared(peer) };
            TokenRecord { so, ..old.clone() }
        }
        Role::User => {
            let user = old.user.as_ref().filter(|user| user.closed.is_none())?;
            TokenRecord { user: Some(UserPin { pin, ..user.accepted(peer, *at) }), ..old.clone() }
        }
    })
}

fn pin_of(token: &TokenRecord, role: Role) -> Option<&PinRecord> {
    match role {
        Role::So => Some(&token.so.pin),
        Role::User => token.user.as_ref().map(|user| &user.pin),
    }
}

/// The backends' PIN is set, and neither locked nor lost, so the security officer cannot replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinStands;

/// Sets the backends' PIN. The security officer, who came in as `peer`, is logged in. Once it was set, it can
/// be set again only if it is locked or was declared lost: an administrator must not become a backend unseen.
pub(crate) fn set_user_pin(
    token: &Versioned<TokenRecord>,
    pin: PinRecord,
    peer: Peer<'_>,
    now: u64,
) -> Result<Batch, PinStands> {
    if let Some(user) = &token.value.user {
        // Without a door, a full row locks everybody.
        let is_locked = user.is_closed(now) || (peer.is_none() && user.tries.of(None).count >= PEER_TRIES);
        if !is_locked {
            return Err(PinStands);
        }
    }
    let record = TokenRecord { user: Some(UserPin::new(pin)), ..token.value.clone() };
    let event = of_token(Deed::PinSet(Role::User), Some(&token.value), &record);
    Ok(Batch::new(vec![token.put(&record)], event, now))
}

/// Declares the backends' PIN lost: nobody can log in with it any more, and another one may be set. None if
/// it was never set.
pub(crate) fn lose_user_pin(token: &Versioned<TokenRecord>, now: u64) -> Option<Batch> {
    change_user_pin(token, Deed::PinLost, now, |user| UserPin { closed: Some(Closed::Lost), ..user })
}

/// Clears the wrong tries of all peers. The budget of 30 days stays, and so does a declared loss. None if the
/// PIN was never set.
pub(crate) fn unlock_user_pin(token: &Versioned<TokenRecord>, now: u64) -> Option<Batch> {
    change_user_pin(token, Deed::PinUnlocked, now, |user| UserPin { tries: Tries::default(), ..user })
}

fn change_user_pin(
    token: &Versioned<TokenRecord>,
    deed: Deed,
    now: u64,
    change: impl FnOnce(UserPin) -> UserPin,
) -> Option<Batch> {
    let user = token.value.user.clone()?;
    let record = TokenRecord { user: Some(change(user)), ..token.value.clone() };
    let event = of_token(deed, Some(&token.value), &record);
    Some(Batch::new(vec![token.put(&record)], event, now))
}

/// Whether `pin` is the security officer's, or the secret that may set it after a loss. For the restoration of a store, which must be
/// accepted before a try could be charged in it.
pub(crate) fn is_so_pin(token: &TokenRecord, pin: &[u8]) -> bool {
    token.so.pin.matches(pin) || token.so.pin.is_inherited_by(&token.serial, pin)
}

#[cfg(test)]
mod tests;
