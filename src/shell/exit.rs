//! The end of a process that does not finalise, with threads that are still in a call.
//!
//! SoftHSM2 and its OpenSSL clean up in exit handlers, and a thread that is inside them then crashes the process. Handlers run in the
//! reverse order of their registration (atexit(3)). Ours is registered after theirs, so it runs first and keeps all threads out of the
//! token.

#![allow(unsafe_code)]

use core::ffi::c_int;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use super::backing::Backing;

unsafe extern "C" {
    /// Of the C library: takes any function that may run as the process ends.
    safe fn atexit(handler: extern "C" fn()) -> c_int;
}

/// The tokens that are open in this process.
static OPEN: Mutex<Vec<Weak<Backing>>> = Mutex::new(Vec::new());
static REGISTERED: Once = Once::new();

/// Has the threads kept out of this token as the process ends.
pub(super) fn guard(backing: &Arc<Backing>) {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|there| there.strong_count() > 0);
    open.push(Arc::downgrade(backing));
    // A library that is never unmapped: the handler stays where it is. Where it cannot be registered, nothing is lost but this.
    REGISTERED.call_once(|| {
        let _ = atexit(keep_out);
    });
}

extern "C" fn keep_out() {
    // A forked child runs it, too: a lock that was held as it was made is never given back there.
    if let Ok(open) = OPEN.try_lock() {
        for backing in open.iter().filter_map(Weak::upgrade) {
            backing.keep_out();
            // Nobody closes its sessions any more.
            core::mem::forget(backing);
        }
    }
}
