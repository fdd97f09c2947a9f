//! The module: verified, loaded, and its engine opened.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::remote::Boundary;
use countersign::remote::interface::{GetInterface, LoadError, LoadedModule};
use countersign_plugin::{self as plugin, Loaded, PluginConfig, PluginError};
use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_PIN_INCORRECT};

use crate::error::{CommandError, FAILED, PIN_REFUSED, START_ANEW};

/// How long threads whose connections have ended may take to release the module.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Verifies the library of `[plugin]` in the configuration at `path`, loads it and opens its engine.
pub(super) fn load(path: &Path, config: Option<&PluginConfig>) -> Result<Arc<dyn Boundary>, CommandError> {
    let config = config.ok_or_else(|| {
        CommandError::new(
            format!("the configuration {} has no table [plugin]", path.display()),
            "add it, with library, officers, threshold and floor_file: the boundary runs only what the officers signed",
        )
    })?;
    let verified = plugin::verify(config).map_err(refused)?;
    let signers: Vec<String> = verified.signers().iter().map(|signer| signer.officer.to_string()).collect();
    let Loaded { library, manifest } = verified.load().map_err(refused)?;
    let version = manifest.version().to_string();
    tracing::info!(
        "{} {version} is loaded, as signed by {}",
        config.library.display(),
        signers.join(" and ")
    );
    // It is never unloaded, because its threads and its state exist until the process ends.
    let library = ManuallyDrop::new(library);
    // SAFETY: a library with the manifest of a Countersign has this export, of this type (PKCS#11 v3.2, `C_GetInterface`).
    let get_interface = unsafe { library.get::<GetInterface>(b"C_GetInterface\0") }
        .map_err(|_| explain(&LoadError::NoInterface))?;
    // SAFETY: this is the export of a module that was just loaded, and that stays loaded.
    let module = unsafe { LoadedModule::open(*get_interface, &version) }.map_err(|error| explain(&error))?;
    Ok(Arc::new(module))
}

/// Closes the module after its last call, once nobody else has it. False if calls are still inside it.
pub(super) fn close(boundary: Arc<dyn Boundary>) -> bool {
    let begun = Instant::now();
    while Arc::strong_count(&boundary) > 1 {
        if begun.elapsed() > LAST_MOMENT {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(boundary);
    true
}

/// Ends the process at once, without destructors or exit handlers. Calls are still inside the module, and the
/// exit handlers of its libraries would take away what these calls use while they write.
pub(super) fn abandon(status: u8) -> ! {
    // SAFETY: the function takes a number, and nothing of this process runs after it.
    unsafe { libc::_exit(i32::from(status)) }
}

fn refused(error: PluginError) -> CommandError {
    let next = error.next();
    CommandError::new(error.to_string(), next)
}

fn explain(error: &LoadError) -> CommandError {
    let status = match error {
        // The disk or the token failed, and may work at a later start.
        LoadError::Closed { rv: CKR_DEVICE_ERROR, .. } => START_ANEW,
        LoadError::Closed { rv: CKR_PIN_INCORRECT, .. } => PIN_REFUSED,
        _ => FAILED,
    };
    let next = match error {
        LoadError::NoInterface | LoadError::Release { .. } => {
            "install library, manifest and signatures of one release"
        }
        LoadError::Closed { .. } => "run \"countersign doctor\" with the same configuration",
    };
    CommandError { status, ..CommandError::new(error.to_string(), next) }
}
