//! The general-purpose entry functions (PKCS#11 v3.2 section 5.4), and the rest of parallel function
//! management (5.20).

use cryptoki_sys::*;

use super::enter;
use crate::pkcs11::instance::{self, current};
use crate::pkcs11::raw;
use crate::pkcs11::rv::Rv;

entries! {
    fn c_initialize(arguments: CK_VOID_PTR) {
        instance::initialize(&raw::initialize_arguments(arguments))
    }

    fn c_finalize(reserved: CK_VOID_PTR) {
        if !reserved.is_null() {
            return Err(Rv(CKR_ARGUMENTS_BAD));
        }
        instance::finalize()
    }

    fn c_get_info_2_40(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 2, minor: 40 }))
    }

    fn c_get_info_3_0(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 3, minor: 0 }))
    }

    fn c_get_info_3_2(info: CK_INFO_PTR) {
        current()?;
        raw::put(info, instance::info(CK_VERSION { major: 3, minor: 2 }))
    }

    // 5.20: always this answer, whatever the session.

    fn c_get_function_status(_session: CK_SESSION_HANDLE) {
        current()?;
        Err(Rv(CKR_FUNCTION_NOT_PARALLEL))
    }

    fn c_cancel_function(_session: CK_SESSION_HANDLE) {
        current()?;
        Err(Rv(CKR_FUNCTION_NOT_PARALLEL))
    }
}
