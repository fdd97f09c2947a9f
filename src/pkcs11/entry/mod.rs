//! The entry functions: catch, convert, call. Each is what its section of PKCS#11 v3.2 section 5 says it is.
//!
//! Pointers go straight to [`super::raw`]. The SAFETY argument is the same for all of them: PKCS#11 obliges the caller to
//! give pointers that are null or valid for the length that comes with them, until the call returns.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use super::instance::Instance;
use super::reply::Reply;
use super::request::Request;
use super::rv::{Answer, Rv};

/// Runs one call. A panic is `CKR_GENERAL_ERROR`, and never crosses into the caller.
fn enter(call: impl FnOnce() -> Answer) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(rv))) => rv,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// What is expected of a call: this reply, or none. Another one is no answer to it.
macro_rules! expect {
    ($reply:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $reply {
            $pattern $(if $guard)? => $value,
            _ => return Err(Rv(CKR_DEVICE_ERROR)),
        }
    };
}

impl Instance {
    /// A call that gives nothing but its success.
    fn perform(&self, request: Request) -> Answer {
        expect!(self.answer(request)?, Reply::Done => Ok(()))
    }

    /// Refuses a handle that is no session's.
    fn has_session(&self, session: CK_SESSION_HANDLE) -> Answer {
        expect!(self.answer(Request::SessionInfo { session })?, Reply::Session(_) => Ok(()))
    }
}

/// Defines entry functions whose bodies may convert pointers, all under the one argument of this file.
macro_rules! entries {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)+) => {
        $(
            $(#[$doc])*
            #[allow(unused_unsafe)]
            pub(in crate::pkcs11) unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                // SAFETY: the pointers are as PKCS#11 obliges the caller to give them (see the head of this file).
                enter(|| unsafe { $body })
            }
        )+
    };
}

// Behind the macros, which it has from here.
mod boundary;
mod general;
mod key_management;
mod object;
mod random;
mod session;
mod sign;
mod slot_token;

pub(super) use boundary::*;
pub(super) use general::*;
pub(super) use key_management::*;
pub(super) use object::*;
pub(super) use random::*;
pub(super) use session::*;
pub(super) use sign::*;
pub(super) use slot_token::*;
