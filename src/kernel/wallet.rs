//! Wallets: BIP 32 keys made inside, BIP 84 accounts, descriptors (BIP 380, 381, 389).
//!
//! Invariants:
//! - W1. "Ours" is proved by deriving the key from our own node and rebuilding the exact scriptPubKey.
//! - W2. The secrets of a wallet are wiped on drop and have no `Debug`.

use core::fmt;
use core::str::FromStr;

use bitcoin::NetworkKind;
use bitcoin::ScriptBuf;
use bitcoin::bip32::{ChildNumber, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1, SecretKey, Signing};
use miniscript::descriptor::{Descriptor, DescriptorPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::policy::{Policy, PolicyError};

/// Bytes of the seed of a BIP 32 master, made inside: 512 bits.
pub const SEED_LEN: usize = 64;
/// How far past the highest address used an output still counts as reachable, so as ours.
pub const GAP_LIMIT: u32 = 1000;

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

    /// The name, as in the configuration of wallets.
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
    type Err = WalletError;

    fn from_str(name: &str) -> Result<Network, WalletError> {
        [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest]
            .into_iter()
            .find(|network| network.name() == name)
            .ok_or(WalletError::Network)
    }
}

/// A wallet as it is kept, sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct WalletRecord {
    /// Its label, unique in the token.
    pub label: String,
    /// `CKA_ID`.
    pub cka_id: Vec<u8>,
    /// Its network.
    pub network: Network,
    /// Names of the users whose code signs.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// The BIP 32 seed.
    seed: Zeroizing<Vec<u8>>,
}

impl WalletRecord {
    /// A wallet of a fresh seed.
    pub fn new(
        label: String,
        cka_id: Vec<u8>,
        network: Network,
        users: Vec<String>,
        policy: String,
        seed: Zeroizing<[u8; SEED_LEN]>,
    ) -> WalletRecord {
        WalletRecord { label, cka_id, network, users, policy, seed: Zeroizing::new(seed.to_vec()) }
    }
}

/// The two chains of a BIP 44 account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Addresses given out.
    External = 0,
    /// Change.
    Internal = 1,
}

/// A wallet ready to recognise and to sign: the account's nodes are derived once.
pub struct Wallet {
    label: String,
    network: Network,
    users: Vec<String>,
    policy: Policy,
    policy_document: String,
    cka_id: Vec<u8>,
    master_fingerprint: Fingerprint,
    account: Xpub,
    descriptor: String,
    chains: [ChainNode; 2],
}

impl Wallet {
    /// Derives the account of `record`: m/84'/coin'/0' (BIP 84).
    pub fn open(record: &WalletRecord, secp: &Secp256k1<All>) -> Result<Wallet, WalletError> {
        let master =
            Erased(Xpriv::new_master(record.network.kind(), &record.seed).map_err(|_| WalletError::Seed)?);
        let account =
            Erased(master.0.derive_priv(secp, &account_path(record.network)).map_err(|_| WalletError::Seed)?);
        let master_fingerprint = master.0.fingerprint(secp);
        let account_xpub = Xpub::from_priv(secp, &account.0);
        let chains = [
            ChainNode::derive(&account.0, Chain::External, secp)?,
            ChainNode::derive(&account.0, Chain::Internal, secp)?,
        ];
        Ok(Wallet {
            label: record.label.clone(),
            network: record.network,
            users: record.users.clone(),
            policy: Policy::parse(&record.policy)?,
            policy_document: record.policy.clone(),
            cka_id: record.cka_id.clone(),
            master_fingerprint,
            descriptor: descriptor(master_fingerprint, record.network, &account_xpub),
            account: account_xpub,
            chains,
        })
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// `CKA_ID`.
    pub fn cka_id(&self) -> &[u8] {
        &self.cka_id
    }

    /// Its network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Names of the users whose code signs.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its policy as the TOML document it was given as.
    pub fn policy_document(&self) -> &str {
        &self.policy_document
    }

    /// The fingerprint of the master key (BIP 32, "Key identifiers").
    pub fn master_fingerprint(&self) -> Fingerprint {
        self.master_fingerprint
    }

    /// The account's extended public key.
    pub fn account(&self) -> &Xpub {
        &self.account
    }

    /// The account's derivation path, as in `m/84'/0'/0'`.
    pub fn account_path(&self) -> String {
        format!("m/84'/{}'/0'", self.network.coin_type())
    }

    /// The output descriptor with its checksum: both chains, any index.
    pub fn descriptor(&self) -> &str {
        &self.descriptor
    }

    /// Where `path` (from the master) leads in this wallet.
    pub fn locate(&self, path: &[ChildNumber]) -> Result<Location, Elsewhere> {
        let account = account_path(self.network);
        let [purpose, coin, rest @ ..] = path else { return Err(Elsewhere::Path) };
        if *purpose == account[0] && *coin != account[1] && coin.is_hardened() {
            return Err(Elsewhere::Network);
        }
        let [account_index, chain, index] = rest else { return Err(Elsewhere::Path) };
        if [*purpose, *coin, *account_index] != account {
            return Err(Elsewhere::Path);
        }
        let chain = match chain {
            ChildNumber::Normal { index: 0 } => Chain::External,
            ChildNumber::Normal { index: 1 } => Chain::Internal,
            _ => return Err(Elsewhere::Path),
        };
        match index {
            ChildNumber::Normal { index } => Ok(Location { chain, index: *index }),
            ChildNumber::Hardened { .. } => Err(Elsewhere::Path),
        }
    }

    /// The public key at `location` (BIP 32, public parent to public child).
    pub fn public_key(&self, location: Location, secp: &Secp256k1<All>) -> Result<PublicKey, WalletError> {
        let node = &self.chains[location.chain as usize];
        let (tweak, _) = node.xpub.ckd_pub_tweak(location.child()).map_err(|_| WalletError::Derivation)?;
        let tweak = bitcoin::secp256k1::Scalar::from(tweak);
        node.xpub.public_key.add_exp_tweak(secp, &tweak).map_err(|_| WalletError::Derivation)
    }

    /// The private key at `location` (BIP 32, private parent to private child). Wiped on drop.
    pub(in crate::kernel) fn secret_key(&self, location: Location) -> Result<ErasedKey, WalletError> {
        let node = &self.chains[location.chain as usize];
        // The HMAC of a normal child takes the parent's public key: the node keeps it, so this is one addition.
        let (tweak, _) = node.xpub.ckd_pub_tweak(location.child()).map_err(|_| WalletError::Derivation)?;
        let tweak = bitcoin::secp256k1::Scalar::from(tweak);
        node.secret.0.add_tweak(&tweak).map(ErasedKey).map_err(|_| WalletError::Derivation)
    }
}

/// The script that pays to `key`: P2WPKH (BIP 141, BIP 84).
pub fn script_pubkey(key: &PublicKey) -> ScriptBuf {
    ScriptBuf::new_p2wpkh(&bitcoin::CompressedPublicKey(*key).wpubkey_hash())
}

/// An address of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// External or internal.
    pub chain: Chain,
    /// Its index, below 2^31.
    pub index: u32,
}

impl Location {
    fn child(self) -> ChildNumber {
        ChildNumber::from_normal_idx(self.index).expect("a location has an index below 2^31")
    }
}

/// Why a path from our master leads to no address of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The coin type is another network's.
    Network,
    /// Another purpose, account, chain or hardening, or another length.
    Path,
}

/// Why a wallet cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// Unknown network.
    #[error("the network is mainnet, testnet, signet or regtest")]
    Network,
    /// The seed gives no valid key (a chance of 1 in 2^127).
    #[error("the seed gives no valid key")]
    Seed,
    /// The index gives no valid key (a chance of 1 in 2^127).
    #[error("the index gives no valid key")]
    Derivation,
    /// The policy is none.
    #[error("the policy is not valid: {0}")]
    Policy(#[from] PolicyError),
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("label", &self.label).finish_non_exhaustive()
    }
}

/// One chain of the account: its secret, and its public key with chain code.
struct ChainNode {
    secret: ErasedKey,
    xpub: Xpub,
}

impl ChainNode {
    fn derive<C: Signing>(
        account: &Xpriv,
        chain: Chain,
        secp: &Secp256k1<C>,
    ) -> Result<ChainNode, WalletError> {
        let child = ChildNumber::from_normal_idx(chain as u32).expect("0 and 1 are below 2^31");
        let node = Erased(account.derive_priv(secp, &[child]).map_err(|_| WalletError::Derivation)?);
        Ok(ChainNode { secret: ErasedKey(node.0.private_key), xpub: Xpub::from_priv(secp, &node.0) })
    }
}

/// A secret key that is overwritten on drop.
pub(in crate::kernel) struct ErasedKey(pub(in crate::kernel) SecretKey);

impl Drop for ErasedKey {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

/// An extended key whose secret is overwritten on drop.
struct Erased(Xpriv);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.private_key.non_secure_erase();
    }
}

fn account_path(network: Network) -> [ChildNumber; 3] {
    [84, network.coin_type(), 0]
        .map(|index| ChildNumber::from_hardened_idx(index).expect("a purpose and a coin type are below 2^31"))
}

fn descriptor(fingerprint: Fingerprint, network: Network, account: &Xpub) -> String {
    let text = format!("wpkh([{fingerprint}/84'/{}'/0']{account}/<0;1>/*)", network.coin_type());
    // Through miniscript, which adds the checksum and would refuse what no wallet can import.
    Descriptor::<DescriptorPublicKey>::from_str(&text)
        .expect("a wpkh of an extended key is a descriptor")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::bip32::DerivationPath;

    /// BIP 84 test vectors: "abandon … about".
    const BIP84_SEED: &str = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                              9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";

    fn wallet(network: Network) -> Wallet {
        let seed: [u8; SEED_LEN] = hex::decode(BIP84_SEED).expect("hex").try_into().expect("64 bytes");
        let record = WalletRecord::new(
            "w".into(),
            vec![],
            network,
            vec!["alice".into()],
            "unlimited = true".into(),
            Zeroizing::new(seed),
        );
        Wallet::open(&record, &Secp256k1::new()).expect("opens")
    }

    #[test]
    fn bip84_test_vectors() {
        let (secp, wallet) = (Secp256k1::new(), wallet(Network::Mainnet));
        // The vector prints the account as zpub; the same key under the version bytes of xpub:
        let zpub = "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs";
        let zpub = bitcoin::base58::decode_check(zpub).expect("base58");
        assert_eq!(wallet.account().encode()[4..], zpub[4..]);
        for (chain, index, key, address) in [
            (
                Chain::External,
                0,
                "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
                "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu",
            ),
            (
                Chain::External,
                1,
                "03e775fd51f0dfb8cd865d9ff1cca2a158cf651fe997fdc9fee9c1d3b5e995ea77",
                "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g",
            ),
            (
                Chain::Internal,
                0,
                "03025324888e429ab8e3dbaf1f7802648b9cd01e9b418485c5fa4c1b9b5700e1a6",
                "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el",
            ),
        ] {
            let location = Location { chain, index };
            let public = wallet.public_key(location, &secp).expect("derives");
            assert_eq!(public.to_string(), key);
            assert_eq!(wallet.secret_key(location).expect("derives").0.public_key(&secp), public);
            let address = bitcoin::Address::from_str(address).expect("address").assume_checked();
            assert_eq!(script_pubkey(&public), address.script_pubkey());
        }
    }

    #[test]
    fn bip32_our_derivation_equals_the_library_s() {
        let secp = Secp256k1::new();
        let wallet = wallet(Network::Signet);
        for index in [0, 1, 999, 0x7fff_ffff] {
            let path = DerivationPath::from_str(&format!("m/1/{index}")).expect("path");
            let expected = wallet.account().derive_pub(&secp, &path).expect("derives").public_key;
            let location = Location { chain: Chain::Internal, index };
            assert_eq!(wallet.public_key(location, &secp).expect("derives"), expected);
        }
    }

    #[test]
    fn the_descriptor_derives_the_wallet_s_scripts() {
        let secp = Secp256k1::new();
        for network in [Network::Mainnet, Network::Testnet, Network::Signet, Network::Regtest] {
            let wallet = wallet(network);
            let descriptor =
                Descriptor::<DescriptorPublicKey>::from_str(wallet.descriptor()).expect("checksum");
            let chains = descriptor.into_single_descriptors().expect("multipath");
            for (chain, descriptor) in [Chain::External, Chain::Internal].into_iter().zip(chains) {
                let ours =
                    script_pubkey(&wallet.public_key(Location { chain, index: 7 }, &secp).expect("derives"));
                assert_eq!(
                    descriptor
                        .at_derivation_index(7)
                        .expect("in range")
                        .derived_descriptor(&secp)
                        .script_pubkey(),
                    ours
                );
            }
        }
    }

    #[test]
    fn only_the_account_s_two_chains_are_located() {
        let wallet = wallet(Network::Mainnet);
        let locate = |path: &str| wallet.locate(DerivationPath::from_str(path).expect("path").as_ref());
        assert_eq!(locate("m/84'/0'/0'/1/5"), Ok(Location { chain: Chain::Internal, index: 5 }));
        assert_eq!(locate("m/84'/1'/0'/1/5"), Err(Elsewhere::Network));
        for path in [
            "m",
            "m/84'",
            "m/84'/0'/0'",
            "m/84'/0'/0'/1",
            "m/84'/0'/0'/1/5/0",
            "m/84'/0'/1'/1/5",
            "m/84/0'/0'/1/5",
            "m/84'/0/0'/1/5",
            "m/84'/0'/0/1/5",
            "m/84'/0'/0'/1'/5",
            "m/84'/0'/0'/1/5'",
            "m/84'/0'/0'/2/5",
            "m/49'/0'/0'/1/5",
            "m/49'/1'/0'/1/5",
        ] {
            assert_eq!(locate(path), Err(Elsewhere::Path), "{path}");
        }
    }
}
