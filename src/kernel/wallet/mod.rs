//! Wallets: BIP 32 keys made inside, in scripts registered once (BIP 388), for descriptors of BIP 380 to 389.
//!
//! - [`registration`] reads a security officer's registration, and refuses what is not safe to register;
//! - [`WatchOnly`] is the public side: it rebuilds scripts, which is all that the checks of a PSBT need;
//! - [`WalletRecord`] is the wallet as it is sealed, [`Wallet`] the wallet in memory.
//!
//! Invariants:
//! - W1. "Ours" is proved by deriving every key of the registered script and rebuilding the exact
//!   scriptPubKey ([`watch`]).
//! - W2. The secrets of a wallet are wiped on drop and have no `Debug`.

mod branch;
mod generator;
mod location;
mod nobody;
mod reach;
mod rebuilt;
mod record;
pub mod registration;
mod text;
pub mod watch;
mod weight;

use core::fmt;

use bitcoin::bip32::{DerivationPath, Fingerprint, Xpriv, Xpub};
use bitcoin::secp256k1::{All, Scalar, Secp256k1, SecretKey};

use super::key::KeyTerms;
use super::network::Network;
use super::policy::{Policy, PolicyError};
use super::record::Versioned;
use super::seal::Authority;
pub use branch::{Branch, Locks, Place, Spend, Taproot};
pub use location::{Chain, Elsewhere, Location};
pub use nobody::nobody_has;
pub use reach::Reach;
pub use rebuilt::{Rebuilt, Sketch};
pub use record::{SEED_LEN, WalletParts, WalletRecord};
pub use registration::RegistrationError;
pub use watch::WatchOnly;

/// How far after the highest used address an output still counts as reachable, and so as ours.
pub const GAP_LIMIT: u32 = 1000;

/// A wallet that is ready to recognise and to sign. The nodes of its chains are derived once.
pub struct Wallet {
    terms: KeyTerms,
    network: Network,
    policy: Policy,
    master_fingerprint: Fingerprint,
    path: DerivationPath,
    xpub: Xpub,
    keys: Option<WalletKeys>,
}

/// A registered wallet with its secrets.
pub struct WalletKeys {
    watch: WatchOnly,
    /// The two chains of each of our places in the script.
    chains: Vec<[ErasedKey; 2]>,
    /// The store in which they are sealed. `None` if they are not sealed, or not yet: then they sign nothing.
    authority: Option<Authority>,
}

impl Wallet {
    /// Opens `record` for inspection: derives the two chains of its account. The result cannot sign
    /// ([`Wallet::of`]).
    pub fn open(record: &WalletRecord, secp: &Secp256k1<All>) -> Result<Wallet, WalletError> {
        let account = Account::open(record, secp)?;
        let policy = Policy::parse(&record.terms.policy, record.network)?;
        let (required, users) = (policy.most_approvals(), record.terms.users.len());
        if users < required {
            return Err(WalletError::TooFewUsers { required, users });
        }
        let keys = record.descriptor.as_ref().map(|text| account.keys(record, text, secp)).transpose()?;
        if let Some(keys) = &keys {
            keys.watch.check_cosigner(policy.require_cosigner())?;
        }
        Ok(Wallet {
            terms: record.terms.clone(),
            network: record.network,
            policy,
            master_fingerprint: account.master_fingerprint,
            path: account.path,
            xpub: account.xpub,
            keys,
        })
    }

    /// Opens a wallet that is sealed, so that it can sign.
    pub fn of(record: &Versioned<WalletRecord>, secp: &Secp256k1<All>) -> Result<Wallet, WalletError> {
        let mut wallet = Wallet::open(&record.value, secp)?;
        if let Some(keys) = &mut wallet.keys {
            keys.authority = Some(record.authority);
        }
        Ok(wallet)
    }

    /// A check for a wallet that is being registered or gets a policy, and not for a sealed one: the required
    /// cosigner must be somebody.
    pub fn check_new(&self) -> Result<(), WalletError> {
        self.keys
            .as_ref()
            .map_or(Ok(()), |keys| keys.watch.check_somebody_cosigns(self.policy.require_cosigner()))
    }

    /// Its terms.
    pub fn terms(&self) -> &KeyTerms {
        &self.terms
    }

    /// Its label.
    pub fn label(&self) -> &str {
        &self.terms.label
    }

    /// `CKA_ID`.
    pub fn cka_id(&self) -> &[u8] {
        &self.terms.cka_id
    }

    /// Its network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The users whose codes sign.
    pub fn users(&self) -> &[String] {
        &self.terms.users
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its policy as the original TOML document.
    pub fn policy_document(&self) -> &str {
        &self.terms.policy
    }

    /// The fingerprint of the master key (BIP 32, "Key identifiers").
    pub fn master_fingerprint(&self) -> Fingerprint {
        self.master_fingerprint
    }

    /// The account's extended public key.
    pub fn account(&self) -> &Xpub {
        &self.xpub
    }

    /// The account's derivation path, for example `m/84'/0'/0'`.
    pub fn account_path(&self) -> String {
        format!("m/{}", self.path)
    }

    /// Its keys in their script, or `None` while the wallet is not registered.
    pub fn keys(&self) -> Option<&WalletKeys> {
        self.keys.as_ref()
    }
}

impl WalletKeys {
    /// The public side.
    pub fn watch(&self) -> &WatchOnly {
        &self.watch
    }

    pub(crate) fn authority(&self) -> Option<Authority> {
        self.authority
    }

    /// The private key of `branch` at an address on `chain` (BIP 32, private parent to private child). Wiped
    /// on drop.
    ///
    /// The HMAC of a normal child uses the parent's public key, and was computed when the address was
    /// rebuilt. So this is one addition.
    pub(crate) fn secret_key(
        &self,
        place: Place,
        chain: Chain,
        tweak: &SecretKey,
    ) -> Result<ErasedKey, WalletError> {
        let secret = &self.chains[place.number()][chain as usize].0;
        secret.add_tweak(&Scalar::from(*tweak)).map(ErasedKey).map_err(|_| WalletError::Derivation)
    }
}

/// The account of a wallet while it is opened.
struct Account {
    master_fingerprint: Fingerprint,
    path: DerivationPath,
    xpub: Xpub,
    xpriv: Erased,
}

impl Account {
    fn open(record: &WalletRecord, secp: &Secp256k1<All>) -> Result<Account, WalletError> {
        let (master_fingerprint, path, xpriv) = record.account()?;
        Ok(Account { master_fingerprint, path, xpub: Xpub::from_priv(secp, &xpriv.0), xpriv })
    }

    fn watch(
        &self,
        label: &str,
        text: &str,
        network: Network,
        secp: &Secp256k1<All>,
    ) -> Result<WatchOnly, WalletError> {
        WatchOnly::register(label, text, (self.master_fingerprint, &self.path), &self.xpub, network, secp)
    }

    fn keys(
        &self,
        record: &WalletRecord,
        text: &str,
        secp: &Secp256k1<All>,
    ) -> Result<WalletKeys, WalletError> {
        let watch = self.watch(&record.terms.label, text, record.network, secp)?;
        let chain = |place, chain| {
            let number = watch.our_chain(place, chain);
            let node = self.xpriv.0.derive_priv(secp, &[number]).map_err(|_| WalletError::Derivation)?;
            Ok::<_, WalletError>(ErasedKey(Erased(node).0.private_key))
        };
        let chains = |place| Ok([chain(place, Chain::External)?, chain(place, Chain::Internal)?]);
        let chains = watch.places().map(chains).collect::<Result<_, WalletError>>()?;
        Ok(WalletKeys { watch, chains, authority: None })
    }
}

/// The reason why a wallet cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// The seed gives no valid key (a chance of 1 in 2^127).
    #[error("the seed gives no valid key")]
    Seed,
    /// The index gives no valid key (a chance of 1 in 2^127).
    #[error("the index gives no valid key")]
    Derivation,
    /// The policy is invalid.
    #[error("the policy is not valid: {0}")]
    Policy(#[from] PolicyError),
    /// The policy requires the codes of more users than the wallet has.
    #[error("the policy requires the approvals of {required} users, and the wallet has {users}")]
    TooFewUsers {
        /// Users who must approve.
        required: usize,
        /// Users of the wallet.
        users: usize,
    },
    /// The script may not be registered.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The policy requires a cosigner that the wallet does not have.
    #[error("the policy requires cosigner {0}, and no key of the wallet has this master fingerprint")]
    NoSuchCosigner(Fingerprint),
    /// The policy requires a cosigner who cannot exist.
    #[error("the policy requires cosigner {0}, whose key nobody can have, so its signature would never come")]
    NobodyCosigns(Fingerprint),
    /// The policy requires a cosigner, and several keys claim to be its.
    #[error(
        "the policy requires cosigner {0}, and several extended keys claim this master fingerprint: one of them may be \
         somebody else's"
    )]
    SeveralCosigners(Fingerprint),
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("label", &self.terms.label).finish_non_exhaustive()
    }
}

/// A secret key that is overwritten on drop.
pub(crate) struct ErasedKey(pub(crate) SecretKey);

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

#[cfg(test)]
mod tests;
