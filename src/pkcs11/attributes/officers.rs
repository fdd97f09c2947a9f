//! The attributes of the officers (`include/countersign.h`, "Officers' acts").

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, ulong};
use crate::kernel::act::class::Class;
use crate::kernel::officer::Council;

/// An attribute of the one object for the officers, which is there before there are any.
pub(in crate::pkcs11) fn of_officers(council: Option<&Council>, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_COUNTERSIGN_OFFICERS),
        CKA_TOKEN | CKA_MODIFIABLE => bool(true),
        CKA_PRIVATE | CKA_COPYABLE | CKA_DESTROYABLE => bool(false),
        CKA_LABEL => vec![],
        CKA_UNIQUE_ID => b"officers".to_vec(),
        CKA_COUNTERSIGN_COUNCIL => council.map(Council::to_string).unwrap_or_default().into_bytes(),
        _ => return Err(Hidden::Unknown),
    })
}

/// The number of a class of acts.
pub(in crate::pkcs11) fn class_number(class: Class) -> CK_ULONG {
    match class {
        Class::Tightens => CS_RULE_ACT_TIGHTENS,
        Class::Neutral => CS_RULE_ACT_NEUTRAL,
        Class::Loosens => CS_RULE_ACT_LOOSENS,
        Class::Vouchless => CS_RULE_ACT_VOUCHLESS,
    }
}
