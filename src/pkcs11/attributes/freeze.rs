//! The attributes of the freeze of everything, a hardware feature of ours (PKCS#11 v3.2 section 4.3: `CKH_VENDOR_DEFINED`).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, ulong};

/// An attribute of the freeze of everything.
pub(in crate::pkcs11) fn of_freeze(is_frozen: bool, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_HW_FEATURE),
        CKA_HW_FEATURE_TYPE => ulong(CKH_COUNTERSIGN_FREEZE),
        CKA_COUNTERSIGN_FROZEN => bool(is_frozen),
        _ => return Err(Hidden::Unknown),
    })
}
