//! The attributes of the profile object (PKCS#11 v3.2 section 4.14).

use cryptoki_sys::*;

use super::{Hidden, Value, bool, ulong};

/// An attribute of the one profile of the token, the Baseline Provider (PKCS#11 Profiles, "Baseline
/// Provider").
pub(in crate::pkcs11) fn of_profile(kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_PROFILE),
        CKA_PROFILE_ID => ulong(CKP_BASELINE_PROVIDER),
        CKA_TOKEN => bool(true),
        CKA_PRIVATE | CKA_MODIFIABLE | CKA_COPYABLE | CKA_DESTROYABLE => bool(false),
        CKA_LABEL => vec![],
        CKA_UNIQUE_ID => b"profile.baseline-provider".to_vec(),
        _ => return Err(Hidden::Unknown),
    })
}
