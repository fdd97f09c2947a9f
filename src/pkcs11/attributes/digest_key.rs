//! The attributes of keys that sign digests, as far as they differ from other EC key pairs (see
//! [`super::ec_pair`]).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::ec_pair::{EcPair, of_ec_private, of_ec_public};
use super::{Value, bool, ulong};
use crate::engine::DigestKeyId;
use crate::kernel::digest_key::DigestKey;

/// An attribute of the private side.
pub(in crate::pkcs11) fn of_digest_private(
    id: &DigestKeyId,
    key: &DigestKey,
    kind: CK_ATTRIBUTE_TYPE,
) -> Value {
    match kind {
        CKA_ALLOWED_MECHANISMS => Ok(allowed_mechanisms(key)),
        _ => of_ec_private(&pair(id, key), kind),
    }
}

/// An attribute of the public side.
pub(in crate::pkcs11) fn of_digest_public(
    id: &DigestKeyId,
    key: &DigestKey,
    kind: CK_ATTRIBUTE_TYPE,
) -> Value {
    match kind {
        CKA_VERIFY => Ok(bool(true)),
        CKA_ALLOWED_MECHANISMS => Ok(allowed_mechanisms(key)),
        _ => of_ec_public(&pair(id, key), kind),
    }
}

/// The mechanisms that it was made for.
fn allowed_mechanisms(key: &DigestKey) -> Vec<u8> {
    let made_for = key.mechanisms();
    [(made_for.digest, CKM_COUNTERSIGN_DIGEST), (made_for.ecdsa, CKM_ECDSA)]
        .into_iter()
        .filter(|(is_allowed, _)| *is_allowed)
        .flat_map(|(_, mechanism)| ulong(mechanism))
        .collect()
}

fn pair<'a>(id: &'a DigestKeyId, key: &'a DigestKey) -> EcPair<'a> {
    EcPair {
        id,
        label: key.label(),
        cka_id: key.cka_id(),
        public_key: key.public_key(),
        made_by: CKM_EC_KEY_PAIR_GEN,
        users: key.users(),
        policy_document: key.policy_document(),
    }
}
