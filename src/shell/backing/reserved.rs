//! `C_Initialize` with a string in `pReserved`.
//!
//! PKCS#11 reserves that pointer (v3.2, `C_Initialize`). NSS's softokn takes a C string there, with the
//! folder of its databases, and does not start without it.

#![allow(unsafe_code)]

use core::ptr::NonNull;
use std::ffi::CStr;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;

/// Initialises the module, and allows it to lock with the system's primitives.
pub(super) fn initialise(pkcs11: &Pkcs11, reserved: Option<&CStr>) -> Result<(), Error> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let arguments = match reserved {
        None => CInitializeArgs::new(flags),
        // SAFETY: the string outlives the call, and the call is the only use of the arguments, which do not
        // leave this function. `backing.init_args` is set only for a module that takes a C string there.
        Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, NonNull::from(text).cast()) },
    };
    pkcs11.initialize(arguments)
}
