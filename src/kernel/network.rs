//! The Bitcoin networks.

use core::str::FromStr;

use bitcoin::NetworkKind;
use serde::{Deserialize, Serialize};

/// A Bitcoin network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Bitcoin.
    Mainnet,
    /// The test network.
    Testnet,
    /// The signed test network (BIP 325).
    Signet,
    /// A private chain for tests.
    Regtest,
}

impl Network {
    /// The coin type of SLIP 44: 0 on mainnet, 1 elsewhere.
    pub const fn coin_type(self) -> u32 {
        match self {
            Network::Mainnet => 0,
            Network::Testnet | Network::Signet | Network::Regtest => 1,
        }
    }

    /// Whether extended keys are `xpub` or `tpub`.
    pub const fn kind(self) -> NetworkKind {
        match self {
            Network::Mainnet => NetworkKind::Main,
            Network::Testnet | Network::Signet | Network::Regtest => NetworkKind::Test,
        }
    }

    /// The network for addresses.
    pub const fn addresses(self) -> bitcoin::Network {
        match self {
            Network::Mainnet => bitcoin::Network::Bitcoin,
            Network::Testnet => bitcoin::Network::Testnet,
            Network::Signet => bitcoin::Network::Signet,
            Network::Regtest => bitcoin::Network::Regtest,
        }
    }

    /// The name, as in wallets' settings.
    pub const fn name(self) -> &'static str {
        match self {
            Network::Mainnet => "mainnet",
            Network::Testnet => "testnet",
            Network::Signet => "signet",
            Network::Regtest => "regtest",
        }
    }
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(name: &str) -> Result<Network, UnknownNetwork> {
        [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest]
            .into_iter()
            .find(|network| network.name() == name)
            .ok_or(UnknownNetwork)
    }
}

/// A name that is no network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network is mainnet, testnet, signet or regtest")]
pub struct UnknownNetwork;
