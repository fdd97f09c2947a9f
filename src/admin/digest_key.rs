//! The acts of administration on keys that sign digests.

use zeroize::Zeroizing;

use super::{MAX_LABEL_LEN, check_policy_len};
use crate::engine::{DigestKeyId, Engine, EngineError};
use crate::kernel::act::Deed;
use crate::kernel::digest_key::{DigestKey, DigestKeyParts, DigestKeyRecord, DigestMechanisms};
use crate::kernel::state;

/// A key that signs digests, to be created.
pub struct NewDigestKey {
    /// Its label, unique among the wallets and keys of the token.
    pub label: String,
    /// `CKA_ID`; the key's own id where it is empty.
    pub cka_id: Vec<u8>,
    /// Names of the users whose code signs.
    pub users: Vec<String>,
    /// The policy, a TOML document.
    pub policy: String,
    /// What it is made for: at least one.
    pub mechanisms: DigestMechanisms,
}

/// What to change of a key that signs digests; `None` leaves it as it is.
#[derive(Default)]
pub struct DigestKeyChange {
    /// Another label.
    pub label: Option<String>,
    /// Other users.
    pub users: Option<Vec<String>>,
    /// Another policy.
    pub policy: Option<String>,
}

impl Engine {
    /// Creates a key that signs digests, of a secret made inside.
    pub fn add_digest_key(&self, new: NewDigestKey) -> Result<DigestKeyId, EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::KeyCreated.tag());
        self.check_key_label(&new.label)?;
        self.check_users(&new.users)?;
        check_policy_len(&new.policy)?;
        if !new.mechanisms.digest && !new.mechanisms.ecdsa {
            return Err(EngineError::Parameter("a key needs at least one mechanism".into()));
        }
        if new.cka_id.len() > MAX_LABEL_LEN {
            return Err(EngineError::Parameter(format!("CKA_ID has at most {MAX_LABEL_LEN} bytes")));
        }
        let mut id = [0; 16];
        self.random(&mut id)?;
        let mut secret = Zeroizing::new([0; 32]);
        self.random(&mut secret[..])?;
        let NewDigestKey { label, cka_id, users, policy, mechanisms } = new;
        let cka_id = if cka_id.is_empty() { id.to_vec() } else { cka_id };
        let parts = DigestKeyParts { label, cka_id, users, policy, mechanisms };
        let key = DigestKeyRecord::new(parts, &secret);
        // What cannot be opened is not written.
        let opened = DigestKey::open(&key, &self.secp)?;
        self.write(state::add_digest_key(id, &key, &opened, self.now()?))?;
        self.publish_digest_key(id, &self.digest_key_record(&id)?)?;
        attempt.done();
        Ok(id)
    }

    /// Changes label, users or policy of a key that signs digests.
    pub fn change_digest_key(&self, id: &DigestKeyId, change: &DigestKeyChange) -> Result<(), EngineError> {
        let _turn = self.administration();
        let attempt = self.attempt(Deed::KeyUpdated.tag());
        // It may sign meanwhile.
        self.commit_anew(|| {
            let old = self.digest_key_record(id)?;
            let (new, opened) = self.changed_digest_key(&old.value, change)?;
            let before = DigestKey::open(&old.value, &self.secp)?;
            let state = self.digest_key_state(id)?;
            Ok(state::change_digest_key(&old, &new, (&before, &opened), &state, self.now()?))
        })
        .map(|_recorded| ())?;
        self.publish_digest_key(*id, &self.digest_key_record(id)?)?;
        attempt.done();
        Ok(())
    }

    fn changed_digest_key(
        &self,
        old: &DigestKeyRecord,
        change: &DigestKeyChange,
    ) -> Result<(DigestKeyRecord, DigestKey), EngineError> {
        let mut new = old.clone();
        if let Some(label) = change.label.as_ref().filter(|label| **label != new.label) {
            self.check_key_label(label)?;
            new.label.clone_from(label);
        }
        if let Some(users) = &change.users {
            self.check_users(users)?;
            new.users.clone_from(users);
        }
        if let Some(policy) = &change.policy {
            check_policy_len(policy)?;
            new.policy.clone_from(policy);
        }
        // What cannot be opened is not written.
        let opened = DigestKey::open(&new, &self.secp)?;
        Ok((new, opened))
    }
}
