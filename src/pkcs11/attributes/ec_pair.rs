//! The attributes that are the same for every EC key pair made inside, whatever it signs (PKCS#11 v3.2
//! sections 4.9, 4.10 and 6.3).
//!
//! Wallets and keys that sign digests look at their own attributes first, and leave the rest to this file.

use bitcoin::secp256k1::PublicKey;
use cryptoki_sys::*;

use super::super::vendor::{CKA_COUNTERSIGN_POLICY, CKA_COUNTERSIGN_USERS};
use super::{Hidden, SECP256K1, Value, bool, ec_point, public_key_info, ulong, unique_id};

/// A key pair made inside.
pub(super) struct EcPair<'a> {
    /// The id of the record behind both sides.
    pub(super) id: &'a [u8; 16],
    pub(super) label: &'a str,
    pub(super) cka_id: &'a [u8],
    pub(super) public_key: &'a PublicKey,
    pub(super) made_by: CK_MECHANISM_TYPE,
    pub(super) users: &'a [String],
    pub(super) policy_document: &'a str,
}

/// An attribute of the private side.
pub(super) fn of_ec_private(pair: &EcPair<'_>, kind: CK_ATTRIBUTE_TYPE) -> Value {
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
        CKA_UNIQUE_ID => unique_id(pair.id, "private"),
        CKA_VALUE => return Err(Hidden::Sensitive),
        _ => return of_both(pair, kind),
    })
}

/// An attribute of the public side. Each kind of pair decides whether it can verify.
pub(super) fn of_ec_public(pair: &EcPair<'_>, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PUBLIC_KEY),
        CKA_PRIVATE | CKA_ENCRYPT | CKA_VERIFY_RECOVER | CKA_WRAP | CKA_ENCAPSULATE | CKA_TRUSTED => {
            bool(false)
        }
        CKA_WRAP_TEMPLATE | CKA_ENCAPSULATE_TEMPLATE => vec![],
        CKA_UNIQUE_ID => unique_id(pair.id, "public"),
        CKA_EC_POINT => ec_point(pair.public_key),
        _ => return of_both(pair, kind),
    })
}

/// An attribute that both sides have.
fn of_both(pair: &EcPair<'_>, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_KEY_TYPE => ulong(CKK_EC),
        CKA_TOKEN | CKA_MODIFIABLE | CKA_LOCAL => bool(true),
        CKA_COPYABLE | CKA_DESTROYABLE | CKA_DERIVE => bool(false),
        CKA_LABEL => pair.label.into(),
        CKA_ID => pair.cka_id.to_vec(),
        CKA_START_DATE | CKA_END_DATE | CKA_SUBJECT => vec![],
        CKA_KEY_GEN_MECHANISM => ulong(pair.made_by),
        CKA_OBJECT_VALIDATION_FLAGS => ulong(0),
        CKA_EC_PARAMS => SECP256K1.to_vec(),
        CKA_PUBLIC_KEY_INFO => public_key_info(pair.public_key),
        CKA_COUNTERSIGN_USERS => pair.users.join("\n").into_bytes(),
        CKA_COUNTERSIGN_POLICY => pair.policy_document.into(),
        _ => return Err(Hidden::Unknown),
    })
}
