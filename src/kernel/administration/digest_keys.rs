//! Acts on keys that sign digests, the part that is theirs alone ([`super::keys`] has the rest).

use bitcoin::secp256k1::{All, Secp256k1};

use super::{Fresh, KeyId, Moment, NewDigestKey, Present, Refused, keys};
use crate::digest_key::{DigestKey, DigestKeyParts, DigestKeyRecord};
use crate::key::KeyChange;
use crate::receipt::Batch;
use crate::state::KeyRecord;

/// Bytes of a secret key.
pub(super) const SECRET_LEN: usize = 32;

/// The record of a new key, and the opened key.
pub(super) fn new(
    new: NewDigestKey,
    fresh: &mut Fresh,
    secp: &Secp256k1<All>,
) -> Result<(KeyId, DigestKeyRecord, DigestKey), Refused> {
    let NewDigestKey { terms, mechanisms } = new;
    let (id, terms) = keys::new(terms, fresh)?;
    if !mechanisms.digest && !mechanisms.ecdsa {
        return Err(Refused::Parameter("a key needs at least one mechanism".into()));
    }
    let parts = DigestKeyParts { terms, mechanisms };
    let record = DigestKeyRecord::new(parts, &fresh.take::<SECRET_LEN>()?);
    let key = DigestKey::open(&record, secp)?;
    Ok((id, record, key))
}

pub(super) fn change<P: Present>(
    id: &KeyId,
    change: &KeyChange,
    moment: &Moment,
    present: &P,
    secp: &Secp256k1<All>,
) -> Result<Batch, P::Error> {
    let (old, state) = present.key::<DigestKeyRecord>(id)?;
    let new = old.value.with(keys::changed(old.value.terms(), change, present)?);
    let since = DigestKey::open(&new, secp).map_err(Refused::from)?;
    keys::write::<_, P>((&old, &new, &since), (&state, &state.value), vec![], (moment, present), secp)
}
