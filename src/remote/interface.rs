//! The interface between `countersign serve` and the module that it loads. `C_GetInterface` finds it by [`NAME`] (PKCS#11 v3.2,
//! `C_GetInterface`: vendors' names begin with "Vendor ").
//!
//! `C_GetInterfaceList` does not list it, because it is of no use to an application and allows no more than
//! the C interface. Requests and answers are bytes here. Only the module, whose signatures were verified,
//! knows what they mean.

#![allow(unsafe_code)]

use core::ffi::{CStr, c_void};
use core::{ptr, slice};
use std::path::Path;

use cryptoki_sys::*;
use zeroize::Zeroizing;

use super::standing::{Standing, Trouble};
use super::{Boundary, CkRv, PeerRole};
use crate::kernel::act::ActCount;

/// Its name.
pub const NAME: &CStr = c"Vendor Countersign Boundary";
/// Its version.
pub const VERSION: CK_VERSION = CK_VERSION { major: 2, minor: 0 };
/// [`PeerRole::Backend`] in [`Functions::begin`].
pub const BACKEND: CK_ULONG = 0;
/// [`PeerRole::Administrator`] in [`Functions::begin`].
pub const ADMINISTRATOR: CK_ULONG = 1;
/// [`PeerRole::Desk`] in [`Functions::begin`].
pub const DESK: CK_ULONG = 2;
/// The greatest length of a peer's name in [`Functions::begin`]. (A DNS name has at most 255 bytes.)
pub const MAX_IDENTITY_LEN: usize = 320;

/// `C_GetInterface`.
pub type GetInterface =
    unsafe extern "C" fn(*mut CK_UTF8CHAR, *mut CK_VERSION, *mut *mut CK_INTERFACE, CK_FLAGS) -> CK_RV;

/// Takes an answer. The bytes are valid until it returns.
pub type Deliver = unsafe extern "C" fn(context: *mut c_void, answer: *const u8, len: CK_ULONG);

/// The functions of the interface. Like every function list it begins with its version.
#[repr(C)]
pub struct Functions {
    /// [`VERSION`].
    pub version: CK_VERSION,
    /// The version of the module, padded with spaces. The manifest must have the same version.
    pub release: [u8; 32],
    /// Opens the engine of the configuration.
    pub open: unsafe extern "C" fn() -> CK_RV,
    /// Begins an application: first handle, role, name of the peer (UTF-8, at most [`MAX_IDENTITY_LEN`] bytes) and its length, and
    /// the place for the application's number.
    pub begin: unsafe extern "C" fn(CK_ULONG, CK_ULONG, *const u8, CK_ULONG, *mut CK_ULONG) -> CK_RV,
    /// Answers a request: the application's number, the request and its length, and a function that takes the
    /// answer, with its context.
    pub call: unsafe extern "C" fn(CK_ULONG, *const u8, CK_ULONG, Deliver, *mut c_void) -> CK_RV,
    /// Ends an application.
    pub end: unsafe extern "C" fn(CK_ULONG) -> CK_RV,
    /// Closes the engine after the calls under way.
    pub close: unsafe extern "C" fn() -> CK_RV,
    /// The faults that keep the module from working: the place for the bits of [`Standing`].
    pub standing: unsafe extern "C" fn(*mut CK_ULONG) -> CK_RV,
    /// Counts administration: a function that takes [`Administration`] (postcard), with its context.
    pub administration: unsafe extern "C" fn(Deliver, *mut c_void) -> CK_RV,
    /// The newest line of the log about a refusal or failure in this process: a function that takes it, with
    /// its context. Each line is delivered once; without a new line, nothing is. It needs no engine.
    pub newest_line: unsafe extern "C" fn(Deliver, *mut c_void) -> CK_RV,
}

/// The counts of administration. New fields go to the end: a reader ignores the fields of a newer module, and gets empty lists from an
/// older one.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Administration {
    /// The acts since the module was opened, by kind and end.
    pub acts: Vec<ActCount>,
    /// How many things of each kind are frozen, by the kind's name.
    pub frozen: Vec<(String, u64)>,
    /// How many proposed acts are in each state, by the state's name.
    pub proposals: Vec<(String, u64)>,
    /// How many proposed transactions are in each state, by the state's name.
    pub consents: Vec<(String, u64)>,
    /// What has become of proposed transactions since the module was opened, by the audit's name for it.
    pub consent_events: Vec<(String, u64)>,
}

impl Administration {
    fn decode(bytes: &[u8]) -> Administration {
        let mut rest = bytes;
        Administration {
            acts: next_of(&mut rest),
            frozen: next_of(&mut rest),
            proposals: next_of(&mut rest),
            consents: next_of(&mut rest),
            consent_events: next_of(&mut rest),
        }
    }
}

/// The next field. Empty if there is none: then none follows either.
fn next_of<T: Default + serde::de::DeserializeOwned>(rest: &mut &[u8]) -> T {
    match postcard::take_from_bytes(rest) {
        Ok((field, after)) => {
            *rest = after;
            field
        }
        Err(_) => {
            *rest = &[];
            T::default()
        }
    }
}

/// The newest line about a refusal or failure from the module in `library`, which this process has loaded.
/// The line explains more than a return value. Each line is returned once. `None`: there is no new line, or
/// the module is of another version.
pub fn newest_line(library: &Path) -> Option<String> {
    // SAFETY: the library is loaded already, so none of its code runs now. The caller knows that it is Countersign's.
    let library = unsafe { libloading::Library::new(library) }.ok()?;
    // SAFETY: a PKCS#11 module has this export, of this type (PKCS#11 v3.2, `C_GetInterface`).
    let get_interface = unsafe { library.get::<GetInterface>(b"C_GetInterface\0") }.ok()?;
    // SAFETY: the library is loaded for as long as this lasts.
    let functions = unsafe { find(*get_interface) }?;
    if String::from_utf8_lossy(&functions.release).trim_end() != env!("CARGO_PKG_VERSION") {
        return None;
    }
    let mut answer: Zeroizing<Vec<u8>> = Zeroizing::default();
    // SAFETY: the context is what `take` expects, and outlives the call.
    let rv = unsafe { (functions.newest_line)(take, (&raw mut answer).cast()) };
    let line = String::from_utf8(answer.to_vec()).ok()?;
    (rv == CKR_OK && !line.is_empty()).then_some(line)
}

/// The functions of a module, if it has this version of them.
///
/// # Safety
/// `get_interface` is the function of that name of a PKCS#11 module that stays loaded for as long as the answer is used.
unsafe fn find<'a>(get_interface: GetInterface) -> Option<&'a Functions> {
    let (mut version, mut interface) = (VERSION, ptr::null_mut::<CK_INTERFACE>());
    let name = NAME.as_ptr().cast_mut().cast();
    // SAFETY: a C string, a version and a place for a pointer, as `C_GetInterface` asks for.
    let rv = unsafe { get_interface(name, &raw mut version, &raw mut interface, 0) };
    if rv != CKR_OK || interface.is_null() {
        return None;
    }
    // SAFETY: not null, and static like everything that a module lists; of this name and version it is this list.
    Some(unsafe { &*(*interface).pFunctionList.cast::<Functions>() })
}

/// A loaded module with an open engine.
pub struct LoadedModule(&'static Functions);

impl LoadedModule {
    /// Opens the engine of the module that exports this `C_GetInterface` and has the version `release`.
    ///
    /// # Safety
    /// `get_interface` is the function of that name of a PKCS#11 module that stays loaded until the process ends.
    pub unsafe fn open(get_interface: GetInterface, release: &str) -> Result<LoadedModule, LoadError> {
        // SAFETY: the caller promises that it stays loaded.
        let functions: &'static Functions = unsafe { find(get_interface) }.ok_or(LoadError::NoInterface)?;
        let found = String::from_utf8_lossy(&functions.release).trim_end().to_owned();
        if found != release {
            return Err(LoadError::Release { found, named: release.into() });
        }
        // SAFETY: the function has no arguments.
        match unsafe { (functions.open)() } {
            CKR_OK => Ok(LoadedModule(functions)),
            rv => {
                let mut line: Zeroizing<Vec<u8>> = Zeroizing::default();
                // SAFETY: the context is what `take` expects, and outlives the call.
                unsafe { (functions.newest_line)(take, (&raw mut line).cast()) };
                Err(LoadError::Closed { rv, why: String::from_utf8_lossy(&line).into_owned() })
            }
        }
    }
}

impl LoadedModule {
    /// A module whose engine is open already.
    pub(crate) fn of(functions: &'static Functions) -> LoadedModule {
        LoadedModule(functions)
    }
}

impl Boundary for LoadedModule {
    fn open(&self, first_handle: u64, role: PeerRole, identity: &str) -> Result<u64, CkRv> {
        let role = match role {
            PeerRole::Backend => BACKEND,
            PeerRole::Administrator => ADMINISTRATOR,
            PeerRole::Desk => DESK,
        };
        let mut application = 0;
        let (name, len) = (identity.as_ptr(), identity.len() as CK_ULONG);
        // SAFETY: the name is valid for its length, and the place is ours.
        let rv = unsafe { (self.0.begin)(first_handle, role, name, len, &raw mut application) };
        if rv == CKR_OK { Ok(application) } else { Err(rv) }
    }

    fn answer(&self, application: u64, request: &[u8]) -> Result<Zeroizing<Vec<u8>>, CkRv> {
        let mut answer: Zeroizing<Vec<u8>> = Zeroizing::default();
        let context = (&raw mut answer).cast();
        // SAFETY: the request is valid for its length, the context is what `take` expects, and both outlive the call.
        let rv =
            unsafe { (self.0.call)(application, request.as_ptr(), request.len() as CK_ULONG, take, context) };
        if rv == CKR_OK { Ok(answer) } else { Err(rv) }
    }

    fn close(&self, application: u64) {
        // SAFETY: the function takes a number. It refuses one that is not an application's, and nothing depends on that.
        unsafe { (self.0.end)(application) };
    }

    fn standing(&self) -> Standing {
        let mut bits = 0;
        // SAFETY: the place is ours.
        match unsafe { (self.0.standing)(&raw mut bits) } {
            CKR_OK => Standing::from_bits(bits),
            _ => Standing::WELL.with(Trouble::StoreClosed),
        }
    }

    fn administration(&self) -> Administration {
        let mut answer: Zeroizing<Vec<u8>> = Zeroizing::default();
        // SAFETY: the context is what `take` expects, and outlives the call.
        let rv = unsafe { (self.0.administration)(take, (&raw mut answer).cast()) };
        if rv == CKR_OK { Administration::decode(&answer) } else { Administration::default() }
    }
}

impl Drop for LoadedModule {
    fn drop(&mut self) {
        // SAFETY: the function has no arguments.
        unsafe { (self.0.close)() };
    }
}

/// Copies an answer into the `Zeroizing<Vec<u8>>` at `context`.
unsafe extern "C" fn take(context: *mut c_void, answer: *const u8, len: CK_ULONG) {
    // SAFETY: `LoadedModule::call` passes its own vector, which nobody else uses until the call returns.
    let place = unsafe { &mut *context.cast::<Zeroizing<Vec<u8>>>() };
    if let (false, Ok(len)) = (answer.is_null(), usize::try_from(len)) {
        // SAFETY: not null, and valid for `len` bytes until this returns.
        *place = Zeroizing::new(unsafe { slice::from_raw_parts(answer, len) }.to_vec());
    }
}

/// The reason why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It has another version of the interface.
    #[error("the module is of another release than `countersign serve`; install both from one release")]
    NoInterface,
    /// It is not the version that its manifest names.
    #[error(
        "the module has version {found}, and its manifest names {named}; have the officers sign a manifest that names {found}"
    )]
    Release {
        /// The module's version.
        found: String,
        /// The manifest's version.
        named: String,
    },
    /// Its engine did not open.
    #[error("the module stays closed (CK_RV {rv:#010x}): {why}")]
    Closed {
        /// Its return value.
        rv: CkRv,
        /// Its line of the log.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::act::Outcome;

    #[test]
    fn what_is_counted_is_read_of_an_older_module_and_of_a_newer_one() {
        let acts = vec![ActCount { act: "pin-lost".into(), outcome: Outcome::Loosened, count: 3 }];
        let frozen = vec![("wallet".to_owned(), 2)];
        let of = |name: &str, count| vec![(name.to_owned(), count)];
        let counted = Administration {
            acts: acts.clone(),
            frozen: frozen.clone(),
            proposals: of("waiting", 4),
            consents: of("open", 5),
            consent_events: of("consent-given", 6),
        };
        let bytes = postcard::to_allocvec(&counted).expect("it is written");
        let read = |bytes: &[u8]| {
            let Administration { acts, frozen, proposals, consents, consent_events } =
                Administration::decode(bytes);
            (acts, frozen, proposals, consents, consent_events)
        };
        let all = (acts.clone(), frozen.clone(), of("waiting", 4), of("open", 5), of("consent-given", 6));
        assert_eq!(read(&bytes), all);
        assert_eq!(read(&[&bytes[..], &[7]].concat()), all, "a newer one gives more");
        // Older ones give the acts alone, or those and the freezes, or the proposed acts, too, and take what they give.
        let oldest = postcard::to_allocvec(&acts).expect("it is written");
        assert_eq!(read(&oldest), (acts.clone(), vec![], vec![], vec![], vec![]));
        let older = postcard::to_allocvec(&(&acts, &frozen)).expect("it is written");
        assert_eq!(read(&older), (acts.clone(), frozen.clone(), vec![], vec![], vec![]));
        let old = postcard::to_allocvec(&(&acts, &frozen, of("waiting", 4))).expect("it is written");
        assert_eq!(read(&old), (acts.clone(), frozen, of("waiting", 4), vec![], vec![]));
        assert_eq!(postcard::from_bytes::<Vec<ActCount>>(&bytes), Ok(acts));
        assert_eq!(read(&[]), (vec![], vec![], vec![], vec![], vec![]));
    }
}
