//! Acts on wallets and on keys that sign digests: the part that is the same for both. A wallet or
//! key that could not be opened is never written.

use bitcoin::secp256k1::{All, Secp256k1};

use super::naming::{check_are_enrolled, check_cka_id, check_is_free, check_policy_len, check_users};
use super::{Fresh, KeyId, Moment, Present, Refused};
use crate::act;
use crate::key::{KeyChange, KeyTerms};
use crate::name::{UserId, check_label};
use crate::receipt::{Batch, Content, Write};
use crate::record::{Stored, Versioned};
use crate::seal::RecordKey;
use crate::state::{self, FormerUsers, KeyRecord, WalletState};

/// A fresh id for a wallet or key to create, and its terms. Without a `CKA_ID` of their own they get that id.
pub(super) fn new(terms: KeyTerms, fresh: &mut Fresh) -> Result<(KeyId, KeyTerms), Refused> {
    check_label(&terms.label)?;
    check_users(&terms.users)?;
    check_policy_len(&terms.policy)?;
    check_cka_id(&terms.cka_id)?;
    let id: KeyId = *fresh.take()?;
    let cka_id = if terms.cka_id.is_empty() { id.to_vec() } else { terms.cka_id };
    Ok((id, KeyTerms { cka_id, ..terms }))
}

pub(super) fn make<K: KeyRecord, P: Present>(
    id: &KeyId,
    (record, opened): (&K, &K::Opened),
    moment: &Moment,
    present: &P,
) -> Result<Batch, P::Error> {
    check_is_free(&record.terms().label, present)?;
    check_are_enrolled(&record.terms().users, present)?;
    Ok(state::add_key(*id, record, opened, moment.now()?))
}

/// Refuses changes that no wallet or key can have.
pub(super) fn check_change(change: &KeyChange) -> Result<(), Refused> {
    if let Some(label) = &change.label {
        check_label(label)?;
    }
    change.users.as_deref().map_or(Ok(()), check_users)?;
    change.policy.as_deref().map_or(Ok(()), check_policy_len)
}

/// The terms after the change.
pub(super) fn changed<P: Present>(
    old: &KeyTerms,
    change: &KeyChange,
    present: &P,
) -> Result<KeyTerms, P::Error> {
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

/// Writes the wallet or key after a change: `new`, which opens to `since`.
pub(super) fn write<K: KeyRecord, P: Present>(
    (old, new, since): (&Versioned<K>, &K, &K::Opened),
    states: (&Versioned<WalletState>, &WalletState),
    further: Vec<act::Change>,
    (moment, present): (&Moment, &P),
    secp: &Secp256k1<All>,
) -> Result<Batch, P::Error>
where
    Refused: From<K::Error>,
{
    let before = old.value.open(secp).map_err(Refused::from)?;
    let former = former_users(old, new, moment, present)?;
    let mut batch = state::change_key(old, new, (&before, since), states, further, moment.now()?);
    batch.writes.extend(former);
    Ok(batch)
}

/// The record of the users who are taken off, if somebody is, and if there are officers: without them there is nothing to veto.
fn former_users<K: KeyRecord, P: Present>(
    old: &Versioned<K>,
    new: &K,
    moment: &Moment,
    present: &P,
) -> Result<Option<Write>, P::Error> {
    let mut taken_off = Vec::new();
    for name in old.value.terms().users.iter().filter(|name| !new.terms().users.contains(name)) {
        let user = present.user(name)?;
        taken_off.extend(user.map(|user| UserId { name: name.clone(), key: user.value.factor.key_id() }));
    }
    if taken_off.is_empty() || present.council()?.is_none() {
        return Ok(None);
    }
    let now = moment.now()?;
    Ok(Some(match present.former_users(&old.place.id)? {
        Some(former) => former.put(&former.value.with(&taken_off, now)),
        None => Write {
            place: RecordKey::former_users(&old.place.id),
            expected: None,
            content: Content::Put(FormerUsers::default().with(&taken_off, now).encode()),
        },
    }))
}
