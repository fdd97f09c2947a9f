//! The module of this process: `C_Initialize`, `C_Finalize`, `C_GetInfo` (PKCS#11 v2.40 section 5.4).

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cryptoki_sys::*;

use super::module::Module;
use super::raw::padded;
use super::rv::{Answer, Rv};
use crate::engine::Engine;
use crate::open::open;

/// The module, with the process that initialised it: a child after `fork` is another application.
///
/// Never dropped by accident: the child must not run the destructors of its parent's files and sessions.
static INSTANCE: RwLock<Option<(u32, ManuallyDrop<Arc<Module>>)>> = RwLock::new(None);
/// One initialisation at a time, and none from inside another.
static INITIALISING: AtomicBool = AtomicBool::new(false);

/// What an application may ask of `C_Initialize`, converted from its arguments.
pub(super) struct InitializeArguments {
    /// It gave mutex functions of its own and does not allow the system's.
    pub(super) own_mutexes_only: bool,
    /// It gave some mutex functions and not all, or something in `pReserved`.
    pub(super) malformed: bool,
}

/// The module of this process.
pub(super) fn current() -> Answer<Arc<Module>> {
    let instance = INSTANCE.read().unwrap_or_else(PoisonError::into_inner);
    match &*instance {
        Some((process, module)) if *process == std::process::id() => Ok(Arc::clone(module)),
        _ => Err(Rv(CKR_CRYPTOKI_NOT_INITIALIZED)),
    }
}

/// `C_Initialize`: opens everything, so that what is wrong is said here.
pub(super) fn initialize(arguments: &InitializeArguments) -> Answer {
    if arguments.malformed {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    if arguments.own_mutexes_only {
        return Err(Rv(CKR_CANT_LOCK));
    }
    if INITIALISING.swap(true, Ordering::Acquire) {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    let _turn = Turn;
    initialize_once()
}

/// The turn to initialise, given back however it ends.
struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        INITIALISING.store(false, Ordering::Release);
    }
}

fn initialize_once() -> Answer {
    if current().is_ok() {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    install(open()?);
    Ok(())
}

/// Makes this engine the one behind the C interface of this process. `C_Initialize` opens the configured one; a bench may
/// put one together otherwise. A library that is loaded has no symbol for it.
pub fn install(engine: Engine) {
    let module = Module::new(engine);
    let mut instance = INSTANCE.write().unwrap_or_else(PoisonError::into_inner);
    // What a parent process left here is overwritten and, being `ManuallyDrop`, not dropped.
    *instance = Some((std::process::id(), ManuallyDrop::new(Arc::new(module))));
}

/// `C_Finalize`: closes everything that this process opened.
pub(super) fn finalize() -> Answer {
    current()?;
    let mut instance = INSTANCE.write().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = instance.take() {
        // The last call that still runs closes the files.
        module.close_all_sessions();
        drop(ManuallyDrop::into_inner(module));
    }
    Ok(())
}

/// `C_GetInfo`.
pub(super) fn info() -> CK_INFO {
    let version = |part: &str| part.parse().unwrap_or(0);
    CK_INFO {
        cryptokiVersion: CK_VERSION { major: 2, minor: 40 },
        manufacturerID: padded("Countersign"),
        flags: 0,
        libraryDescription: padded("Countersigns PSBTs on a code"),
        libraryVersion: CK_VERSION {
            major: version(env!("CARGO_PKG_VERSION_MAJOR")),
            minor: version(env!("CARGO_PKG_VERSION_MINOR")),
        },
    }
}
