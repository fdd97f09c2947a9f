//! The attributes of wallets and of keys that sign digests: key pairs on secp256k1 that were made inside
//! (PKCS#11 v3.2 sections 4.9, 4.10 and 6.3).
//!
//! Each kind of pair knows its own attributes ([`EcPair::own`]). The rest, which is in this file, is the same for
//! all of them.

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::super::vendor::{CKA_COUNTERSIGN_POLICY, CKA_COUNTERSIGN_USERS};
use super::{Hidden, SECP256K1, Side, Value, bool, ec_point, public_key_info, ulong, unique_id};
use crate::engine::KeyId;
use crate::kernel::key::KeyTerms;

/// A wallet or a key that signs digests, as a key pair.
pub(in crate::pkcs11) trait EcPair {
    /// Its label, `CKA_ID`, users and policy.
    fn terms(&self) -> &KeyTerms;

    /// The public key that it shows.
    fn public_key(&self) -> &PublicKey;

    /// The mechanism that made it.
    fn made_by(&self) -> CK_MECHANISM_TYPE;

    /// An attribute of one side whose value depends on the kind of the pair. Every kind has
    /// `CKA_ALLOWED_MECHANISMS`, and `CKA_VERIFY` on the public side.
    fn own(&self, side: Side, kind: CK_ATTRIBUTE_TYPE) -> Option<Vec<u8>>;
}

/// An attribute of one side of the pair whose record has this id.
pub(in crate::pkcs11) fn of_pair(
    id: &KeyId,
    pair: &dyn EcPair,
    side: Side,
    kind: CK_ATTRIBUTE_TYPE,
) -> Value {
    match (pair.own(side, kind), side) {
        (Some(own), _) => Ok(own),
        (None, Side::Private) => of_private(id, pair, kind),
        (None, Side::Public) => of_public(id, pair, kind),
    }
}

fn of_private(id: &KeyId, pair: &dyn EcPair, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PRIVATE_KEY),
        CKA_PRIVATE
        | CKA_SENSITIVE
        | CKA_ALWAYS_SENSITIVE
        | CKA_NEVER_EXTRACTABLE
        | CKA_SIGN
        | CKA_ALWAYS_AUTHENTICATE => bool(true),
        CKA_EXTRACTABLE
        | CKA_DECRYPT
        | CKA_SIGN_RECOVER
        | CKA_UNWRAP
        | CKA_DECAPSULATE
        | CKA_WRAP_WITH_TRUSTED => bool(false),
        CKA_UNWRAP_TEMPLATE | CKA_DECAPSULATE_TEMPLATE | CKA_DERIVE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(id, "private"),
        CKA_VALUE => return Err(Hidden::Sensitive),
        _ => return of_both(pair, kind),
    })
}

fn of_public(id: &KeyId, pair: &dyn EcPair, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PUBLIC_KEY),
        CKA_PRIVATE | CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE | CKA_TRUSTED => {
            bool(false)
        }
        CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(id, "public"),
        CKA_EC_POINT => ec_point(pair.public_key()),
        _ => return of_both(pair, kind),
    })
}

fn of_both(pair: &dyn EcPair, kind: CK_ATTRIBUTE_TYPE) -> Value {
    let KeyTerms { label, cka_id, users, policy } = pair.terms();
    Ok(match kind {
        CKA_KEY_TYPE => ulong(CKK_EC),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_LOCAL => bool(true),
        CKA_COPYABLE | CKA_DESTROYABLE | CKA_DERIVE => bool(false),
        CKA_LABEL => label.as_bytes().to_vec(),
        CKA_ID => cka_id.clone(),
        CKA_START_DATE | CKA_END_DATE | CKA_SUBJECT => vec![],
        CKA_KEY_GEN_MECHANISM => ulong(pair.made_by()),
        CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
        CKA_EC_PARAMS => SECP256K1.to_vec(),
        CKA_PUBLIC_KEY_INFO => public_key_info(pair.public_key()),
        CKA_COUNTERSIGN_USERS => users.join("\n").into_bytes(),
        CKA_COUNTERSIGN_POLICY => policy.as_bytes().to_vec(),
        _ => return Err(Hidden::Unknown),
    })
}
