//! How far a wallet's addresses were used.

use serde::{Deserialize, Serialize};

use super::{Chain, GAP_LIMIT, Location};

/// How far the addresses of a wallet were used: the next index for each chain.
///
/// It bounds where change counts as ours. A backend that could send the change of a real payment to an index
/// of its choice would hold it to ransom: the coins belong to the wallet, and only the backend knows where to
/// look. So the reach is what the wallet's owner would find by scanning with our gap limit. It grows
/// - by signing: to the highest address that a transaction used within the reach, so by at most one gap for
///   each signature. An address beyond it never counts, because its transaction may be invented
///   ([`Reach::extended`]);
/// - by the administrator, who knows how far the owner scans ([`Reach::joined`]).
///
/// Within one transaction an input proved ours widens it ([`Reach::admitting`]). That is forgotten
/// afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach([u32; 2]);

impl Reach {
    /// The highest index that the administrator can raise it to: indices are below 2^31 (BIP 32, "Extended
    /// keys").
    pub const MOST: u32 = 0x7fff_ffff;

    /// A reach with these next indices.
    pub fn at(external: u32, internal: u32) -> Reach {
        Reach([external, internal])
    }

    /// The next index of a chain, after the highest used one.
    pub fn next(self, chain: Chain) -> u32 {
        self.0[chain as usize]
    }

    /// The next indices of both chains.
    pub fn numbers(self) -> [u32; 2] {
        self.0
    }

    /// Whether a wallet that scans with our gap limit would find `location`.
    pub fn covers(self, location: Location) -> bool {
        location.index < self.end(location.chain)
    }

    /// The first index of a chain that a wallet with our gap limit would not find by scanning.
    pub fn end(self, chain: Chain) -> u32 {
        self.next(chain).saturating_add(GAP_LIMIT)
    }

    /// The reach for the outputs of a transaction that spends `location`, which is proved ours: on its chain
    /// up to its index and our gap limit, on the other chain up to the same index (software with one address
    /// for each customer uses the customer's index on both).
    ///
    /// An invented coin does not allow anybody to send change far ahead. We sign the whole transaction (ALL,
    /// DEFAULT): if one of its inputs does not exist, it is void with all its outputs, and our signatures are
    /// worth nothing in any other transaction. The same holds for an input that already has a signature of
    /// ours, which verifies for this transaction. A coin that exists was found out there by somebody who
    /// scans that far. But it may be a tiny coin that a backend has sent there on purpose. So change beyond
    /// the lasting reach counts as leaving, as far as it is worth more than what was spent from beyond it
    /// (see `CheckedPsbt::leaves`), and the lasting reach does not follow.
    #[must_use]
    pub fn admitting(self, location: Location) -> Reach {
        let mut admitted = [location.index.saturating_add(1).saturating_sub(GAP_LIMIT); 2];
        admitted[location.chain as usize] = location.index.saturating_add(1);
        self.joined(Reach(admitted))
    }

    /// The greater of both reaches, for each chain.
    #[must_use]
    pub fn joined(self, other: Reach) -> Reach {
        Reach([self.0[0].max(other.0[0]), self.0[1].max(other.0[1])])
    }

    /// The reach after `location` was used. An address beyond the reach does not extend it, because its
    /// transaction may be invented.
    #[must_use]
    pub fn extended(mut self, location: Location) -> Reach {
        if self.covers(location) {
            let next = &mut self.0[location.chain as usize];
            *next = (*next).max(location.index + 1);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_path_the_reach_grows_step_by_step() {
        let at = |index| Location { chain: Chain::Internal, index };
        let reach = Reach::default();
        assert!(reach.covers(at(999)) && !reach.covers(at(1_000)));
        let extended = reach.extended(at(999));
        assert!(extended.covers(at(1_999)) && !extended.covers(at(2_000)));
        assert!(!extended.covers(Location { chain: Chain::External, index: 1_000 }), "each chain for itself");
        assert_eq!(reach.extended(at(1_000)), reach, "what is out of reach does not extend it");
        assert_eq!(extended.extended(at(3)), extended, "it never shrinks");
        assert!(Reach([u32::MAX, 0]).covers(Location { chain: Chain::External, index: 0x7fff_ffff }));
    }
}
