//! How much one address may ask for, and all together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign::kernel::factor::TicketId;
use countersign::ration::{Ration, Stock};

/// The most connections at a time, of all addresses and of one.
const MAX_CONNECTIONS: usize = 512;
const MAX_OF_ADDRESS: usize = 32;
/// Requests of one address.
const REQUESTS: Ration = Ration { max: 120, every: Duration::from_secs(1) };
/// Codes that come from one address. The boundary counts wrong ones against their user.
const CODES: Ration = Ration { max: 10, every: Duration::from_secs(10) };
/// Codes for one proposal, from anywhere. Whoever has its link and a name could else have that user locked, whom ten wrong codes lock.
const CODES_FOR_ONE: Ration = Ration { max: 6, every: Duration::from_secs(60) };
const _: () = assert!(CODES_FOR_ONE.max < 10, "ten in a row lock a user");
/// The most proposals that are remembered.
const MAX_PROPOSALS: usize = 1 << 14;
/// The most addresses that are remembered, and for how long at least.
const MAX_ADDRESSES: usize = 1 << 16;
const REMEMBERED: Duration = Duration::from_secs(150);

/// Whoever has an address. Who has one of IPv6 has 2^64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(IpAddr);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

/// What each address has used up.
#[derive(Default)]
pub(crate) struct Limits(Mutex<Table>);

#[derive(Default)]
struct Table {
    connections: usize,
    by_address: HashMap<Address, Used>,
    by_proposal: HashMap<TicketId, (Stock, Instant)>,
}

struct Used {
    connections: usize,
    requests: Stock,
    codes: Stock,
    last: Instant,
}

/// A connection's place.
pub(crate) struct Place(Arc<Limits>, Address);

impl Limits {
    /// A place for a connection, if there is one.
    pub(crate) fn enter(self: &Arc<Limits>, address: Address) -> Option<Place> {
        let mut table = self.table();
        if table.connections >= MAX_CONNECTIONS {
            return None;
        }
        let used = table.used(address, Instant::now())?;
        if used.connections >= MAX_OF_ADDRESS {
            return None;
        }
        used.connections += 1;
        table.connections += 1;
        Some(Place(Arc::clone(self), address))
    }

    /// Whether the address may ask for something more.
    pub(crate) fn take_request(&self, address: Address) -> bool {
        let now = Instant::now();
        self.table().used(address, now).is_some_and(|used| used.requests.take(now))
    }

    /// Whether the address may bring one more code.
    pub(crate) fn take_code(&self, address: Address) -> bool {
        let now = Instant::now();
        self.table().used(address, now).is_some_and(|used| used.codes.take(now))
    }

    /// Whether one more code may come for this proposal, which is there.
    pub(crate) fn take_code_for(&self, ticket: &TicketId) -> bool {
        let (now, mut table) = (Instant::now(), self.table());
        let all = &mut table.by_proposal;
        if all.len() >= MAX_PROPOSALS && !all.contains_key(ticket) {
            // By then the stock is whole again.
            let whole = CODES_FOR_ONE.every * CODES_FOR_ONE.max;
            all.retain(|_, (_, last)| now.duration_since(*last) < whole);
            if all.len() >= MAX_PROPOSALS {
                return false;
            }
        }
        let (stock, last) = all.entry(*ticket).or_insert_with(|| (Stock::whole(CODES_FOR_ONE, now), now));
        *last = now;
        stock.take(now)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What an address has used up. None: there is no room to remember it.
    fn used(&mut self, address: Address, now: Instant) -> Option<&mut Used> {
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&address) {
            // By then both stocks are whole again.
            self.by_address
                .retain(|_, used| used.connections > 0 || now.duration_since(used.last) < REMEMBERED);
            if self.by_address.len() >= MAX_ADDRESSES {
                return None;
            }
        }
        let used = self.by_address.entry(address).or_insert_with(|| Used {
            connections: 0,
            requests: Stock::whole(REQUESTS, now),
            codes: Stock::whole(CODES, now),
            last: now,
        });
        used.last = now;
        Some(used)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.connections -= 1;
        if let Some(used) = table.by_address.get_mut(&self.1) {
            used.connections -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn an_address_that_asks_without_end_is_refused_and_no_other_is() {
        let limits = Limits::default();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        assert!((0..CODES.max).all(|_| limits.take_code(one)));
        assert!(!limits.take_code(one) && limits.take_code(other));
        assert!((0..REQUESTS.max).all(|_| limits.take_request(one)));
        assert!((0..3).any(|_| !limits.take_request(one)), "a second may pass meanwhile");
    }

    #[test]
    fn a_proposal_for_which_codes_come_without_end_is_closed_to_them_and_no_other_is() {
        let limits = Limits::default();
        assert!((0..CODES_FOR_ONE.max).all(|_| limits.take_code_for(&[1; 16])));
        assert!(!limits.take_code_for(&[1; 16]) && limits.take_code_for(&[2; 16]));
    }

    #[test]
    fn whoever_has_an_address_of_ipv6_has_the_whole_network_behind_it() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn connections_are_bounded_for_each_address_and_in_all() {
        let limits = Arc::new(Limits::default());
        let all: Vec<_> = (0..MAX_CONNECTIONS / MAX_OF_ADDRESS)
            .flat_map(|host| {
                let from = address(&format!("192.0.2.{host}"));
                let places: Vec<_> = (0..MAX_OF_ADDRESS).filter_map(|_| limits.enter(from)).collect();
                assert_eq!(places.len(), MAX_OF_ADDRESS);
                assert!(limits.enter(from).is_none());
                places
            })
            .collect();
        assert!(limits.enter(address("198.51.100.1")).is_none());
        drop(all);
        assert!(limits.enter(address("198.51.100.1")).is_some());
    }
}
