//! The attributes of keys that sign digests (PKCS#11 v3.0 sections 4.8 and 4.9; v3.2 section 6.3).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, SECP256K1, Value, bool, ec_point, public_key_info, ulong, unique_id};
use crate::engine::DigestKeyId;
use crate::kernel::digest_key::DigestKey;

/// An attribute of the private side.
pub(in crate::pkcs11) fn of_digest_private(
    id: &DigestKeyId,
    key: &DigestKey,
    kind: CK_ATTRIBUTE_TYPE,
) -> Value {
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
        _ => return of_both(key, kind),
    })
}

/// An attribute of the public side.
pub(in crate::pkcs11) fn of_digest_public(
    id: &DigestKeyId,
    key: &DigestKey,
    kind: CK_ATTRIBUTE_TYPE,
) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PUBLIC_KEY),
        CKA_VERIFY => bool(true),
        CKA_PRIVATE | CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE | CKA_TRUSTED => {
            bool(false)
        }
        CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(id, "public"),
        CKA_EC_POINT => ec_point(key.public_key()),
        _ => return of_both(key, kind),
    })
}

/// An attribute that both sides have.
fn of_both(key: &DigestKey, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_KEY_TYPE => ulong(CKK_EC),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_LOCAL => bool(true),
        CKA_COPYABLE | CKA_DESTROYABLE | CKA_DERIVE => bool(false),
        CKA_LABEL => key.label().as_bytes().to_vec(),
        CKA_ID => key.cka_id().to_vec(),
        CKA_START_DATE | CKA_END_DATE | CKA_SUBJECT => vec![],
        CKA_KEY_GEN_MECHANISM => ulong(CKM_EC_KEY_PAIR_GEN),
        CKA_ALLOWED_MECHANISMS => {
            let made_for = key.mechanisms();
            [(made_for.digest, CKM_COUNTERSIGN_DIGEST), (made_for.ecdsa, CKM_ECDSA)]
                .into_iter()
                .filter(|(is_allowed, _)| *is_allowed)
                .flat_map(|(_, mechanism)| ulong(mechanism))
                .collect()
        }
        CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
        CKA_EC_PARAMS => SECP256K1.to_vec(),
        CKA_PUBLIC_KEY_INFO => public_key_info(key.public_key()),
        CKA_COUNTERSIGN_USERS => key.users().join("\n").into_bytes(),
        CKA_COUNTERSIGN_POLICY => key.policy_document().into(),
        _ => return Err(Hidden::Unknown),
    })
}
