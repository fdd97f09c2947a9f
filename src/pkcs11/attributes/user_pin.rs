//! The attributes of the backends' PIN, a vendor-defined hardware feature (PKCS#11 v3.2 section 4.3:
//! `CKH_VENDOR_DEFINED`).

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, bool, ulong};
use crate::engine::UserPinView;

/// An attribute of the backends' PIN.
pub(in crate::pkcs11) fn of_user_pin(pin: &UserPinView, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_HW_FEATURE),
        CKA_HW_FEATURE_TYPE => ulong(CKH_COUNTERSIGN_USER_PIN),
        CKA_COUNTERSIGN_LOCKED => bool(pin.locked),
        CKA_COUNTERSIGN_FAILURES => ulong(pin.failures as CK_ULONG),
        CKA_COUNTERSIGN_PIN_LOST => bool(pin.lost),
        CKA_COUNTERSIGN_PIN_TRIES => lines(pin).into_bytes(),
        _ => return Err(Hidden::Unknown),
    })
}

fn lines(pin: &UserPinView) -> String {
    let line =
        |(peer, tries): &(Option<String>, u32)| format!("{tries} {}", peer.as_deref().unwrap_or("the rest"));
    pin.peers.iter().map(line).collect::<Vec<_>>().join("\n")
}
