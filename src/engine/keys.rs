//! The wallets and the keys that sign digests, opened: one register for each kind.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Engine, EngineError, KeyId, WalletId, read};
use crate::kernel::digest_key::{DigestKey, DigestKeyError, DigestKeyRecord};
use crate::kernel::key::KeyTerms;
use crate::kernel::record::Versioned;
use crate::kernel::seal::{Kind, RecordKey};
use crate::kernel::state::{KeyRecord, WalletState};
use crate::kernel::wallet::{Wallet, WalletError, WalletRecord};
use crate::ports::Ledger;

/// The id of a key that signs digests.
pub type DigestKeyId = KeyId;

/// A wallet or digest key as it is recorded, and the version of its record.
pub(crate) struct Held<T> {
    pub(crate) key: Arc<T>,
    pub(crate) version: u64,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Held<T> {
        Held { key: Arc::clone(&self.key), version: self.version }
    }
}

/// A wallet or key whose record is whole, but whose script or policy this version does not accept. It signs
/// nothing, and nothing else is affected.
pub(super) struct Closed {
    terms: KeyTerms,
    refusal: String,
}

/// The wallets, or the keys that sign digests, by their ids.
pub(crate) struct Register<T>(RwLock<HashMap<KeyId, Held<T>>>);

impl<T> Default for Register<T> {
    fn default() -> Register<T> {
        Register(RwLock::default())
    }
}

impl<T> Register<T> {
    fn get(&self, id: &KeyId) -> Option<Held<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, id: KeyId, held: Held<T>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, held);
    }

    fn all(&self) -> Vec<(KeyId, Arc<T>)> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|(id, held)| (*id, Arc::clone(&held.key))).collect()
    }

    /// The first thing that `find` finds in one of them.
    pub(super) fn find<V>(&self, find: impl FnMut(&T) -> Option<V>) -> Option<V> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        keys.values().map(|held| &*held.key).find_map(find)
    }
}

/// A kind of key that the engine has a register of.
pub(crate) trait Registered: KeyRecord {
    /// Its register.
    fn register(engine: &Engine) -> &Register<Self::Opened>;

    /// The error for a sealed one that this version does not accept.
    fn unreadable(label: String, error: Self::Error) -> EngineError;
}

impl Registered for WalletRecord {
    fn register(engine: &Engine) -> &Register<Wallet> {
        &engine.wallets
    }

    fn unreadable(wallet: String, error: WalletError) -> EngineError {
        EngineError::WalletUnreadable { wallet, error }
    }
}

impl Registered for DigestKeyRecord {
    fn register(engine: &Engine) -> &Register<DigestKey> {
        &engine.digest_keys
    }

    fn unreadable(key: String, error: DigestKeyError) -> EngineError {
        EngineError::DigestKeyUnreadable { key, error }
    }
}

impl Engine {
    /// All wallets, in any order.
    pub fn wallets(&self) -> Vec<(WalletId, Arc<Wallet>)> {
        self.wallets.all()
    }

    /// All keys that sign digests, in any order.
    pub fn digest_keys(&self) -> Vec<(DigestKeyId, Arc<DigestKey>)> {
        self.digest_keys.all()
    }

    /// One wallet.
    pub fn wallet(&self, id: &WalletId) -> Result<Arc<Wallet>, EngineError> {
        Ok(self.held::<WalletRecord>(id)?.key)
    }

    /// One key that signs digests.
    pub fn digest_key(&self, id: &DigestKeyId) -> Result<Arc<DigestKey>, EngineError> {
        Ok(self.held::<DigestKeyRecord>(id)?.key)
    }

    /// Why wallets and digest keys stay closed: one line for each.
    pub fn closed_keys(&self) -> Vec<String> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        closed.iter().map(|closed| closed.refusal.clone()).collect()
    }

    /// The first thing that `find` finds in the terms of a wallet or key, including closed ones.
    pub(crate) fn find_terms<V>(&self, mut find: impl FnMut(&KeyTerms) -> Option<V>) -> Option<V> {
        let of_wallets = self.wallets.find(|wallet| find(wallet.terms()));
        let of_keys = of_wallets.or_else(|| self.digest_keys.find(|key| find(key.terms())));
        of_keys.or_else(|| {
            let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
            closed.iter().find_map(|closed| find(&closed.terms))
        })
    }

    pub(crate) fn held<K: Registered>(&self, id: &KeyId) -> Result<Held<K::Opened>, EngineError> {
        K::register(self).get(id).ok_or_else(|| unknown(K::RECORD))
    }

    pub(crate) fn key_record<K: KeyRecord>(&self, id: &KeyId) -> Result<Versioned<K>, EngineError> {
        read(self.ledger()?, RecordKey { kind: K::RECORD, id: *id })?.ok_or_else(|| unknown(K::RECORD))
    }

    /// The state of a wallet or digest key: what was done with it.
    pub(crate) fn key_state<K: KeyRecord>(&self, id: &KeyId) -> Result<Versioned<WalletState>, EngineError> {
        let place = RecordKey { kind: K::STATE, id: *id };
        read(self.ledger()?, place)?.ok_or_else(|| super::missing(place))
    }

    /// Loads all of a kind from a ledger that was just opened or made.
    pub(super) fn adopt_keys<K: Registered>(&self, ledger: &dyn Ledger) -> Result<(), EngineError> {
        for place in ledger.places(K::RECORD)? {
            let Some(record) = read::<K>(ledger, place)? else { continue };
            if let Err(error) = self.publish(place.id, &record) {
                let closed = Closed { terms: record.value().terms().clone(), refusal: error.to_string() };
                self.closed.write().unwrap_or_else(PoisonError::into_inner).push(closed);
            }
        }
        Ok(())
    }

    /// Makes the engine sign with a wallet or key as it is now recorded.
    pub(crate) fn publish<K: Registered>(&self, id: KeyId, record: &Versioned<K>) -> Result<(), EngineError> {
        let opened = K::open_sealed(record, &self.secp)
            .map_err(|error| K::unreadable(record.value().terms().label.clone(), error))?;
        K::register(self).put(id, Held { key: Arc::new(opened), version: record.version() });
        Ok(())
    }
}

/// No record of this kind has the id that was asked for.
fn unknown(kind: Kind) -> EngineError {
    match kind {
        Kind::Wallet => EngineError::NoSuchWallet,
        _ => EngineError::NoSuchDigestKey,
    }
}
