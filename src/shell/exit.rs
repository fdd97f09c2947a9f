//! Handles the end of a process that does not finalise and has threads in calls.
//!
//! SoftHSM2 and its OpenSSL clean up in exit handlers, and a thread that is inside them then crashes the
//! process. Handlers run in the reverse order of their registration (atexit(3)). Ours is registered after
//! theirs, so it runs first and keeps all threads out of the token.

#![allow(unsafe_code)]

use core::ffi::c_int;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use super::backing::Backing;

unsafe extern "C" {
    /// From the C library. Takes any function that may run at the end of the process.
    safe fn atexit(handler: extern "C" fn()) -> c_int;
}

/// The tokens that are open in this process.
static OPEN: Mutex<Vec<Weak<Backing>>> = Mutex::new(Vec::new());
static REGISTERED: Once = Once::new();

/// Keeps all threads out of this token when the process ends.
pub(super) fn guard(backing: &Arc<Backing>) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|there| there.strong_count() > 0);
    open.push(Arc::downgrade(backing));
    // The library is never unmapped, so the handler stays valid. If it cannot be registered, only this
    // protection is lost.
    REGISTERED.call_once(|| {
        let _ = atexit(keep_out);
    });
}

extern "C" fn keep_out() {
    // A forked child runs this, too, and there a lock that was held during the fork is never released.
    if let Ok(open) = OPEN.try_lock() {
        for backing in open.iter().filter_map(Weak::upgrade) {
            backing.keep_out();
            // Nobody closes its sessions any more.
            core::mem::forget(backing);
        }
    }
}
