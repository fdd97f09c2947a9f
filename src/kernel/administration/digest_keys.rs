//! Acts on keys that sign digests. A key that could not be opened is never written.

use bitcoin::secp256k1::{All, Secp256k1};

use super::naming::{
    check_are_enrolled, check_cka_id, check_is_free, check_label, check_policy_len, check_users,
};
use super::{DigestKeyChange, Fresh, KeyId, Moment, NewDigestKey, Present, Refused};
use crate::digest_key::{DigestKey, DigestKeyParts, DigestKeyRecord};
use crate::receipt::Batch;
use crate::state;

/// Bytes of a secret key.
pub(super) const SECRET_LEN: usize = 32;

/// The record of a new key, and the opened key.
pub(super) fn new(
    new: NewDigestKey,
    fresh: &mut Fresh,
    secp: &Secp256k1<All>,
) -> Result<(KeyId, DigestKeyRecord, DigestKey), Refused> {
    let NewDigestKey { label, cka_id, users, policy, mechanisms } = new;
    check_label(&label)?;
    check_users(&users)?;
    check_policy_len(&policy)?;
    if !mechanisms.digest && !mechanisms.ecdsa {
        return Err(Refused::Parameter("a key needs at least one mechanism".into()));
    }
    check_cka_id(&cka_id)?;
    let id: KeyId = *fresh.take()?;
    let cka_id = if cka_id.is_empty() { id.to_vec() } else { cka_id };
    let parts = DigestKeyParts { label, cka_id, users, policy, mechanisms };
    let record = DigestKeyRecord::new(parts, &fresh.take::<SECRET_LEN>()?);
    let key = DigestKey::open(&record, secp)?;
    Ok((id, record, key))
}

pub(super) fn make<P: Present>(
    id: &KeyId,
    (record, key): (&DigestKeyRecord, &DigestKey),
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    check_is_free(&record.label, present)?;
    check_are_enrolled(&record.users, present)?;
    Ok(state::add_digest_key(*id, record, key, moment.now()?))
}

/// Refuses changes that no key can have.
pub(super) fn check_change(change: &DigestKeyChange) -> Result<(), Refused> {
    change.label.as_deref().map_or(Ok(()), check_label)?;
    change.users.as_deref().map_or(Ok(()), check_users)?;
    change.policy.as_deref().map_or(Ok(()), check_policy_len)
}

pub(super) fn change<P: Present>(
    id: &KeyId,
    change: &DigestKeyChange,
    moment: &Moment,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Batch, P::Error> {
    let (old, state) = present.digest_key(id)?;
    let new = changed(&old.value, change, present)?;
    let open = |record| DigestKey::open(record, secp).map_err(Refused::from);
    let opened = (&open(&old.value)?, &open(&new)?);
    Ok(state::change_digest_key(&old, &new, opened, &state, moment.now()?))
}

/// The key after the change.
fn changed<P: Present>(
    old: &DigestKeyRecord,
    change: &DigestKeyChange,
    present: &P,
) -> Result<DigestKeyRecord, P::Error> {
    let mut new = old.clone();
    if let Some(label) = change.label.as_ref().filter(|label| **label != new.label) {
        check_is_free(label, present)?;
        new.label.clone_from(label);
    }
    if let Some(users) = &change.users {
        check_are_enrolled(users, present)?;
        new.users.clone_from(users);
    }
    if let Some(policy) = &change.policy {
        new.policy.clone_from(policy);
    }
    Ok(new)
}
