//! A wallet as it is sealed.

use bitcoin::NetworkKind;
use bitcoin::bip32::{ChildNumber, DerivationPath, Fingerprint, Xpriv};
use bitcoin::secp256k1::{All, Secp256k1, Signing};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{Erased, WalletError, registration};
use crate::key::KeyTerms;
use crate::network::Network;
use crate::record::{Stored, decode_body};

/// Bytes of the seed of a BIP 32 master key, made inside: 512 bits.
pub const SEED_LEN: usize = 64;

/// A wallet as it is sealed.
#[derive(Clone, Deserialize)]
#[serde(from = "ReadWallet")]
pub struct WalletRecord {
    /// Its terms.
    pub terms: KeyTerms,
    /// Its network.
    pub network: Network,
    /// The registered descriptor; `None` while the wallet waits for cosigners' keys.
    pub descriptor: Option<String>,
    account: AccountRecord,
    /// The BIP 32 seed. Nothing is derived from it any more, but a new account could be.
    seed: Zeroizing<Vec<u8>>,
}

/// A wallet as it is written: with its network between its terms.
#[derive(Serialize)]
struct WrittenWallet<'a> {
    label: &'a str,
    cka_id: &'a [u8],
    network: Network,
    users: &'a [String],
    policy: &'a str,
    descriptor: Option<&'a str>,
    account: &'a AccountRecord,
    seed: &'a Zeroizing<Vec<u8>>,
}

impl Serialize for WalletRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WalletRecord { terms, network, descriptor, account, seed } = self;
        let KeyTerms { label, cka_id, users, policy } = terms;
        let (network, descriptor) = (*network, descriptor.as_deref());
        WrittenWallet { label, cka_id, network, users, policy, descriptor, account, seed }
            .serialize(serializer)
    }
}

/// The same, as it is read.
#[derive(Deserialize)]
struct ReadWallet {
    label: String,
    cka_id: Vec<u8>,
    network: Network,
    users: Vec<String>,
    policy: String,
    descriptor: Option<String>,
    account: AccountRecord,
    seed: Zeroizing<Vec<u8>>,
}

impl From<ReadWallet> for WalletRecord {
    fn from(read: ReadWallet) -> WalletRecord {
        let ReadWallet { label, cka_id, network, users, policy, descriptor, account, seed } = read;
        let terms = KeyTerms { label, cka_id, users, policy };
        WalletRecord { terms, network, descriptor, account, seed }
    }
}

/// The account's node, from which opening a wallet starts, instead of the seed.
#[derive(Clone, Serialize, Deserialize)]
struct AccountRecord {
    master_fingerprint: [u8; 4],
    path: Vec<u32>,
    /// The extended private key in the serialization of BIP 32.
    xpriv: Zeroizing<Vec<u8>>,
}

impl AccountRecord {
    fn derive<C: Signing>(
        seed: &[u8],
        network: NetworkKind,
        path: &DerivationPath,
        secp: &Secp256k1<C>,
    ) -> Result<AccountRecord, WalletError> {
        let master = Erased(Xpriv::new_master(network, seed).map_err(|_| WalletError::Seed)?);
        let account = Erased(master.0.derive_priv(secp, path).map_err(|_| WalletError::Seed)?);
        let encoded = Zeroizing::new(account.0.encode());
        Ok(AccountRecord {
            master_fingerprint: master.0.fingerprint(secp).to_bytes(),
            path: path.into_iter().copied().map(u32::from).collect(),
            xpriv: Zeroizing::new(encoded.to_vec()),
        })
    }
}

/// Everything about a wallet except its seed.
pub struct WalletParts {
    /// Its terms.
    pub terms: KeyTerms,
    /// Its network.
    pub network: Network,
    /// The account's path.
    pub path: DerivationPath,
}

impl WalletRecord {
    /// A wallet with a fresh seed, and without a registered script.
    pub fn new<C: Signing>(
        parts: WalletParts,
        seed: &Zeroizing<[u8; SEED_LEN]>,
        secp: &Secp256k1<C>,
    ) -> Result<WalletRecord, WalletError> {
        let WalletParts { terms, network, path } = parts;
        let account = AccountRecord::derive(&seed[..], network.kind(), &path, secp)?;
        let seed = Zeroizing::new(seed.to_vec());
        Ok(WalletRecord { terms, network, descriptor: None, account, seed })
    }

    /// Converts a record of the first format, which is BIP 84, account 0.
    fn upgrade(first: FirstFormat) -> Result<WalletRecord, WalletError> {
        let FirstFormat { label, cka_id, network, users, policy, seed } = first;
        let secp = Secp256k1::new();
        let path = registration::standard_path(registration::DEFAULT_POLICY, network)?;
        let account = AccountRecord::derive(&seed, network.kind(), &path, &secp)?;
        let terms = KeyTerms { label, cka_id, users, policy };
        let mut record = WalletRecord { terms, network, descriptor: None, account, seed };
        record.descriptor = Some(record.descriptor_for(registration::DEFAULT_POLICY, &secp)?);
        Ok(record)
    }

    /// The descriptor that this wallet would have if `text` were registered.
    pub fn descriptor_for(&self, text: &str, secp: &Secp256k1<All>) -> Result<String, WalletError> {
        registration::check_len(text)?;
        let watch = super::Account::open(self, secp)?.watch(&self.terms.label, text, self.network, secp)?;
        watch.check_spendable()?;
        Ok(watch.descriptor().into())
    }

    pub(super) fn account(&self) -> Result<(Fingerprint, DerivationPath, Erased), WalletError> {
        let AccountRecord { master_fingerprint, path, xpriv } = &self.account;
        let path = path.iter().copied().map(ChildNumber::from).collect();
        let xpriv = Xpriv::decode(xpriv).map_err(|_| WalletError::Seed)?;
        Ok((Fingerprint::from(*master_fingerprint), path, Erased(xpriv)))
    }
}

impl Stored for WalletRecord {
    const FORMAT: u8 = 2;

    fn decode(bytes: &[u8]) -> Option<WalletRecord> {
        match bytes.split_first()? {
            (1, body) => WalletRecord::upgrade(decode_body(body)?).ok(),
            (&Self::FORMAT, body) => decode_body(body),
            _ => None,
        }
    }
}

/// The record as version 0.1 first wrote it.
#[derive(Serialize, Deserialize)]
pub(super) struct FirstFormat {
    pub(super) label: String,
    pub(super) cka_id: Vec<u8>,
    pub(super) network: Network,
    pub(super) users: Vec<String>,
    pub(super) policy: String,
    pub(super) seed: Zeroizing<Vec<u8>>,
}
