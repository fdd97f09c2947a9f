//! Where an address of a wallet is.

use bitcoin::bip32::ChildNumber;

/// The two chains of a wallet (BIP 44, BIP 389).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// Receive addresses.
    External = 0,
    /// Change.
    Internal = 1,
}

impl Chain {
    pub(super) const BOTH: [Chain; 2] = [Chain::External, Chain::Internal];
}

/// An address of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// External or internal.
    pub chain: Chain,
    /// Its index, below 2^31.
    pub index: u32,
}

impl Location {
    pub(super) fn child(self) -> ChildNumber {
        ChildNumber::from_normal_idx(self.index).expect("a location has an index below 2^31")
    }
}

/// The reason why a path from our master key leads to no address of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The coin type is another network's.
    Network,
    /// The numbers of an address, but hardened at other steps.
    Hardening,
    /// Another purpose, account or chain, or another length.
    Path,
}
