//! The transitions of wallets and of keys that sign digests: made and changed in the same way.

use bitcoin::secp256k1::{All, Secp256k1};

use super::records::WalletState;
use crate::act::{self, Deed, Document, PolicyChange, RecordedAct};
use crate::audit::Event;
use crate::digest_key::{DigestKey, DigestKeyError, DigestKeyRecord};
use crate::direction::Direction;
use crate::key::KeyTerms;
use crate::policy::changed_keys;
use crate::receipt::{Batch, Content, Write};
use crate::record::{Stored, Versioned};
use crate::seal::{Kind, RecordKey};
use crate::wallet::{Wallet, WalletError, WalletRecord};

/// The record of a wallet or of a key that signs digests. Whatever is the same for both takes it.
pub trait KeyRecord: Stored + Clone + sealed::Sealed {
    /// What it opens to.
    type Opened;
    /// Why it does not open.
    type Error;

    /// The kind of its record.
    const RECORD: Kind;
    /// The kind of its state.
    const STATE: Kind;
    /// The deed of making one, in the audit.
    const MADE: Deed;
    /// The deed of changing one, in the audit.
    const CHANGED: Deed;

    /// Its terms.
    fn terms(&self) -> &KeyTerms;

    /// The same with other terms.
    #[must_use]
    fn with(&self, terms: KeyTerms) -> Self;

    /// Opens it, to be looked at: it cannot sign.
    fn open(&self, secp: &Secp256k1<All>) -> Result<Self::Opened, Self::Error>;

    /// Opens one that is sealed, so that it can sign.
    fn open_sealed(record: &Versioned<Self>, secp: &Secp256k1<All>) -> Result<Self::Opened, Self::Error>;

    /// What the audit keeps of it.
    fn document(opened: &Self::Opened) -> Document;

    /// In which direction a change of its policy goes.
    fn direction(old: &Self::Opened, new: &Self::Opened) -> Direction;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::WalletRecord {}
    impl Sealed for super::DigestKeyRecord {}
}

impl KeyRecord for WalletRecord {
    type Opened = Wallet;
    type Error = WalletError;

    const RECORD: Kind = Kind::Wallet;
    const STATE: Kind = Kind::WalletState;
    const MADE: Deed = Deed::WalletCreated;
    const CHANGED: Deed = Deed::WalletUpdated;

    fn terms(&self) -> &KeyTerms {
        &self.terms
    }

    fn with(&self, terms: KeyTerms) -> WalletRecord {
        let mut changed = self.clone();
        changed.terms = terms;
        changed
    }

    fn open(&self, secp: &Secp256k1<All>) -> Result<Wallet, WalletError> {
        Wallet::open(self, secp)
    }

    fn open_sealed(record: &Versioned<WalletRecord>, secp: &Secp256k1<All>) -> Result<Wallet, WalletError> {
        Wallet::of(record, secp)
    }

    fn document(opened: &Wallet) -> Document {
        opened.into()
    }

    fn direction(old: &Wallet, new: &Wallet) -> Direction {
        old.policy().compare(new.policy())
    }
}

impl KeyRecord for DigestKeyRecord {
    type Opened = DigestKey;
    type Error = DigestKeyError;

    const RECORD: Kind = Kind::DigestKey;
    const STATE: Kind = Kind::DigestKeyState;
    const MADE: Deed = Deed::KeyCreated;
    const CHANGED: Deed = Deed::KeyUpdated;

    fn terms(&self) -> &KeyTerms {
        &self.terms
    }

    fn with(&self, terms: KeyTerms) -> DigestKeyRecord {
        let mut changed = self.clone();
        changed.terms = terms;
        changed
    }

    fn open(&self, secp: &Secp256k1<All>) -> Result<DigestKey, DigestKeyError> {
        DigestKey::open(self, secp)
    }

    fn open_sealed(
        record: &Versioned<DigestKeyRecord>,
        secp: &Secp256k1<All>,
    ) -> Result<DigestKey, DigestKeyError> {
        DigestKey::of(record, secp)
    }

    fn document(opened: &DigestKey) -> Document {
        opened.into()
    }

    fn direction(old: &DigestKey, new: &DigestKey) -> Direction {
        old.policy().compare(new.policy())
    }
}

/// Creates the wallet or key `id` and its state. `opened` is the opened record.
pub(crate) fn add_key<K: KeyRecord>(id: [u8; 16], record: &K, opened: &K::Opened, now: u64) -> Batch {
    let first = |kind, content| Write {
        place: RecordKey { kind, id },
        expected: None,
        content: Content::Put(content),
    };
    let writes = vec![first(K::RECORD, record.encode()), first(K::STATE, WalletState::default().encode())];
    let event = Event::Act(Box::new(RecordedAct {
        deed: K::MADE,
        id,
        name: record.terms().label.clone(),
        document: Some(K::document(opened)),
        before: None,
        changes: vec![],
    }));
    Batch::new(writes, event, now)
}

/// Changes a wallet or key to `new`. `before` and `since` are the opened old and new ones. The state is always
/// written, too. So a signature that was judged by the old key finds another version of the state, and is not
/// given. `further` has the changes that are none of its terms.
pub(crate) fn change_key<K: KeyRecord>(
    old: &Versioned<K>,
    new: &K,
    (before, since): (&K::Opened, &K::Opened),
    (state, reached): (&Versioned<WalletState>, &WalletState),
    further: Vec<act::Change>,
    now: u64,
) -> Batch {
    let mut changes = changes(old.value.terms(), new.terms(), || K::direction(before, since));
    changes.extend(further);
    let event = Event::Act(Box::new(RecordedAct {
        deed: K::CHANGED,
        id: old.place.id,
        name: new.terms().label.clone(),
        document: Some(K::document(since)),
        before: Some(K::document(before).digest()),
        changes,
    }));
    let writes = vec![old.put(new), state.put(reached)];
    Batch::new(writes, event, now)
}

/// The differences between the old and the new terms.
pub(crate) fn changes(
    old: &KeyTerms,
    new: &KeyTerms,
    direction: impl FnOnce() -> Direction,
) -> Vec<act::Change> {
    let mut changes = Vec::new();
    if old.label != new.label {
        changes.push(act::Change::Label(old.label.clone()));
    }
    let (added, removed) = (only_in(&new.users, &old.users), only_in(&old.users, &new.users));
    if !added.is_empty() {
        changes.push(act::Change::UsersAdded(added));
    }
    if !removed.is_empty() {
        changes.push(act::Change::UsersRemoved(removed));
    }
    if old.policy != new.policy {
        let rules = changed_keys(&old.policy, &new.policy);
        changes.push(act::Change::Policy(PolicyChange::new(&old.policy, &new.policy, direction(), rules)));
    }
    changes
}

/// The names that are in the first list and not in the second.
fn only_in(one: &[String], other: &[String]) -> Vec<String> {
    one.iter().filter(|user| !other.contains(user)).cloned().collect()
}
