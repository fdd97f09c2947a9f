//! `C_Initialize` with a string in `pReserved`.
//!
//! PKCS#11 reserves that pointer (v3.2, `C_Initialize`). NSS's softokn takes a C string there, with the folder of its databases,
//! and does not start without.

#![allow(unsafe_code)]

use core::ptr::NonNull;
use std::ffi::CStr;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::Error;

/// Initialises the module, which may lock as the system does.
pub(super) fn initialise(pkcs11: &Pkcs11, reserved: Option<&CStr>) -> Result<(), Error> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let arguments = match reserved {
        None => CInitializeArgs::new(flags),
        // SAFETY: the string outlives the call, which is the one use of the arguments: they do not leave this function. That
        // the module takes a C string there is what `backing.init_args` states; it is set for such a module alone.
        Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, NonNull::from(text).cast()) },
    };
    pkcs11.initialize(arguments)
}
