//! Both doors of a served boundary, for a test that is first the administrator and then the backend.
//!
//! A module is a client of one door. If the test is configured for the administrators' door, with the
//! backends' configuration beside it, a copy of the module is loaded, which the loader takes for another
//! library. Calls go to one or the other. If the engine is in the same process, there is one door, and
//! nothing of this applies.

#![allow(unsafe_code, reason = "the environment of the process is changed")]

use core::ptr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use cryptoki_sys::*;

use super::raw::Raw;
use super::{Boundary, module, target_folder};

/// The configuration of the administrators' door.
pub const ADMINISTRATORS: &str = "client.toml";
/// The configuration of the backends' door.
pub const BACKENDS: &str = "backend.toml";
const CONF: &str = "COUNTERSIGN_CONF";

/// A way into a served boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Door {
    /// The door that the test is configured for, by the module under test itself.
    AsConfigured,
    /// The administrators' door.
    Administrators,
    /// The backends' door.
    Backends,
}

static CURRENT: AtomicU8 = AtomicU8::new(Door::AsConfigured as u8);
/// The two modules, once there are two.
static MODULES: Mutex<Option<[Raw; 2]>> = Mutex::new(None);

/// The module of the current door, if a test has chosen one.
pub fn current() -> Option<Raw> {
    let current = CURRENT.load(Ordering::SeqCst);
    if current == Door::AsConfigured as u8 {
        return None;
    }
    let modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    modules.as_ref().map(|modules| modules[usize::from(current == Door::Backends as u8)])
}

/// Enters by a door, if this boundary has two.
pub fn come_in(door: Door) {
    if CURRENT.load(Ordering::SeqCst) == door as u8 {
        return;
    }
    let Some(folder) = folder_of_two() else { return };
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let [administrators, backends] =
        *modules.get_or_insert_with(|| [Raw::load_from(&module()), Raw::load_from(&copy_of_module())]);
    drop(modules);
    let (raw, name) = match door {
        Door::Backends => (backends, BACKENDS),
        Door::Administrators | Door::AsConfigured => (administrators, ADMINISTRATORS),
    };
    // SAFETY: no other thread of a body reads the environment meanwhile: only `C_Initialize` does.
    unsafe { env::set_var(CONF, folder.join(name)) };
    let initialize = raw.v2_40.C_Initialize.expect("every place of the table is filled");
    // SAFETY: null is what the function takes.
    let rv = unsafe { initialize(ptr::null_mut()) };
    assert!([CKR_OK, CKR_CRYPTOKI_ALREADY_INITIALIZED].contains(&rv), "C_Initialize answered {rv:#x}");
    CURRENT.store(door as u8, Ordering::SeqCst);
}

/// The configuration of a process whose administrator goes straight to the boundary, and whose backend goes
/// through the socket `name` in the boundary's folder.
pub fn configure_backends_behind(boundary: &Boundary, name: &str) -> PathBuf {
    let (from, to) = (boundary.folder(), boundary.folder().join("behind"));
    fs::create_dir(&to).expect("the folder is ours");
    for file in [ADMINISTRATORS, BACKENDS] {
        let text = fs::read_to_string(from.join(file)).expect("it was written");
        fs::write(to.join(file), text.replace("backend.sock", name)).expect("the folder is ours");
    }
    to.join(ADMINISTRATORS)
}

/// Makes the next `C_Initialize` of this process use the backends' door, if this boundary has two.
pub fn configure_backends() {
    if let Some(folder) = folder_of_two() {
        // SAFETY: as above.
        unsafe { env::set_var(CONF, folder.join(BACKENDS)) };
    }
}

/// Makes the module under test itself use the backends' door from here on, if this boundary has two: for
/// tests that call the tables of that module.
pub fn stay_with_backends(raw: &Raw) {
    let Some(folder) = folder_of_two() else { return };
    assert_eq!(raw.finalize(), CKR_OK, "it was initialised");
    CURRENT.store(Door::AsConfigured as u8, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe {
        env::set_var(CONF, folder.join(BACKENDS));
        env::set_var(AS_BACKEND, "1");
    }
    assert_eq!(raw.initialize(), CKR_OK, "it comes in by the other door");
}

/// Finalises the module of the other door.
pub fn finalize_others(raw: &Raw) {
    let modules = *MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let here = raw.here().v2_40;
    for other in modules.into_iter().flatten().filter(|other| !ptr::eq(other.v2_40, here)) {
        let finalize = other.v2_40.C_Finalize.expect("every place of the table is filled");
        // SAFETY: null is what the function takes. It need not have been initialised.
        let _ = unsafe { finalize(ptr::null_mut()) };
    }
}

/// The folder with the configurations for both doors.
fn folder_of_two() -> Option<PathBuf> {
    let conf = PathBuf::from(env::var_os(CONF)?);
    let is_of_a_door = [ADMINISTRATORS, BACKENDS].iter().any(|name| conf.ends_with(name));
    let folder = conf.parent().filter(|_| is_of_a_door)?;
    // A process that was started as a backend stays one: see `Boundary::command_as_backend`.
    let may_administer = env::var_os(AS_BACKEND).is_none();
    (may_administer && folder.join(ADMINISTRATORS).exists() && folder.join(BACKENDS).exists())
        .then(|| folder.to_path_buf())
}

/// Set for a process that has only the backends' configuration.
pub const AS_BACKEND: &str = "COUNTERSIGN_TEST_AS_BACKEND";

/// A copy of the module, as new as the module itself.
fn copy_of_module() -> PathBuf {
    let (module, copy) = (module(), target_folder().join("libcountersign.second.so"));
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if changed(&copy) < changed(&module) {
        // Written whole or not at all, because other tests load the copy, too.
        let draft = copy.with_extension(format!("{}.so", std::process::id()));
        fs::copy(&module, &draft).expect("there is room beside the module");
        fs::rename(&draft, &copy).expect("it is ours");
    }
    copy
}
