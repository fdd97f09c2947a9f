//! The entry functions: catch, convert, call. Each does what its section of PKCS#11 v3.2 section 5 describes.
//!
//! Pointers go straight to [`super::raw`]. One SAFETY argument covers all of them: PKCS#11 obliges the caller
//! to pass pointers that are null or valid for their length until the call returns.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::*;

use super::instance::Instance;
use super::reply::Reply;
use super::request::Request;
use super::rv::{Answer, Rv};

/// Runs one call. A panic becomes `CKR_GENERAL_ERROR`, and never crosses into the caller.
fn enter(call: impl FnOnce() -> Answer) -> CK_RV {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => CKR_OK,
        Ok(Err(Rv(rv))) => rv,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// The expected reply of a call, or an error if it is another one.
macro_rules! expect {
    ($reply:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        match $reply {
            $pattern $(if $guard)? => $value,
            _ => return Err(Rv(CKR_DEVICE_ERROR)),
        }
    };
}

impl Instance {
    /// A call whose only result is success.
    fn perform(&self, request: Request) -> Answer {
        expect!(self.answer(request)?, Reply::Done => Ok(()))
    }

    /// Refuses a handle that belongs to no session.
    fn has_session(&self, session: CK_SESSION_HANDLE) -> Answer {
        expect!(self.answer(Request::SessionInfo { session })?, Reply::Session(_) => Ok(()))
    }
}

/// Defines entry functions whose bodies may convert pointers, all under this file's one argument.
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

// After the macros, which it uses.
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
