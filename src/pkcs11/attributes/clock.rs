//! The attributes of the clock (PKCS#11 v3.2 section 4.3, "Clock").

use cryptoki_sys::*;

use super::super::vendor::*;
use super::{Hidden, Value, ulong};
use crate::kernel::clock::ClockError;
use crate::kernel::utc;

/// An attribute of the clock, which shows the Unix time `now`. A hardware feature is no storage object, so it
/// has no label and is no token object (section 4.3).
pub(in crate::pkcs11) fn of_clock(now: u64, refusal: Option<ClockError>, kind: CK_ATTRIBUTE_TYPE) -> Value {
    Ok(match kind {
        CKA_CLASS => ulong(CKO_HW_FEATURE),
        CKA_HW_FEATURE_TYPE => ulong(CKH_CLOCK),
        CKA_VALUE => utc::to_digits(now).into_bytes(),
        CKA_COUNTERSIGN_CLOCK_REFUSAL => refusal.map(|error| error.to_string()).unwrap_or_default().into(),
        _ => return Err(Hidden::Unknown),
    })
}
