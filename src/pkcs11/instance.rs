//! The module of this process: `C_Initialize`, `C_Finalize`, `C_GetInfo` (PKCS#11 v3.2 section 5.4).

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use cryptoki_sys::*;

use super::application::{Application, Caller, SLOT};
use super::connected::Connected;
use super::raw::padded;
use super::reply::{MechanismInfo, Reply, SessionInfo, TokenInfo};
use super::request::Request;
use super::rv::{Answer, Rv};
use crate::engine::Engine;
use crate::kernel::pin;
use crate::open::{Opened, open};

/// What answers the calls of this process.
pub(super) enum Instance {
    /// The engine, in this process.
    Engine(Application),
    /// The boundary, in another process.
    Connected(Connected),
}

impl Instance {
    /// Answers a call.
    pub(super) fn answer(&self, request: Request) -> Answer<Reply> {
        match self {
            Instance::Engine(application) => application.answer(request),
            Instance::Connected(connected) => connected.answer(request),
        }
    }

    fn close(&self) {
        match self {
            Instance::Engine(application) => application.close_all_sessions(),
            // The boundary closes its sessions with the connection.
            Instance::Connected(_) => {}
        }
    }
}

/// The library's state in one process.
///
/// A child after `fork` has its own new state, and never takes a lock of its parent's: the thread that holds
/// it may not exist in the child. Processes are distinguished by their id. If the system gives the id again
/// to a grandchild, while the child in between lives, this is not noticed.
struct Process {
    id: u32,
    /// Never dropped by accident: a child must not run the destructors of its parent's files and sessions.
    instance: RwLock<Option<ManuallyDrop<Arc<Instance>>>>,
    /// Allows one initialisation at a time. Another thread waits for it.
    initialising: Mutex<()>,
    /// The child's state, in a child.
    child: OnceLock<Box<Process>>,
}

static FIRST: OnceLock<Process> = OnceLock::new();

thread_local! {
    /// Whether this thread is initialising. A second initialisation inside the first one is refused: a
    /// backing module may load this library and initialise it in the same thread.
    static IS_INITIALISING: Cell<bool> = const { Cell::new(false) };
}

impl Process {
    fn new(id: u32) -> Process {
        Process { id, instance: RwLock::default(), initialising: Mutex::default(), child: OnceLock::new() }
    }

    /// The state of this process, and the states that it descends from.
    fn lineage() -> (&'static Process, Vec<&'static Process>) {
        let (id, mut parents) = (std::process::id(), Vec::new());
        let mut process = FIRST.get_or_init(|| Process::new(id));
        while process.id != id {
            parents.push(process);
            process = process.child.get_or_init(|| Box::new(Process::new(id)));
        }
        (process, parents)
    }

    fn current() -> &'static Process {
        Process::lineage().0
    }
}

/// What an application can ask of `C_Initialize`, converted from its arguments.
pub(super) struct InitializeArguments {
    /// It gave mutex functions of its own and does not allow the system's.
    pub(super) own_mutexes_only: bool,
    /// It gave some mutex functions but not all, or something in `pReserved`.
    pub(super) malformed: bool,
}

/// The application of this process.
pub(super) fn current() -> Answer<Arc<Instance>> {
    let instance = Process::current().instance.read().unwrap_or_else(PoisonError::into_inner);
    instance.as_deref().map(Arc::clone).ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))
}

/// `C_Initialize`: opens everything, so that this call reports what is wrong.
pub(super) fn initialize(arguments: &InitializeArguments) -> Answer {
    if arguments.malformed {
        return Err(Rv(CKR_ARGUMENTS_BAD));
    }
    if arguments.own_mutexes_only {
        return Err(Rv(CKR_CANT_LOCK));
    }
    if IS_INITIALISING.replace(true) {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    let _inside = Inside;
    let _turn = Process::current().initialising.lock().unwrap_or_else(PoisonError::into_inner);
    initialize_once()
}

/// Marks that this thread is initialising, until this is dropped.
struct Inside;

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INITIALISING.set(false);
    }
}

fn initialize_once() -> Answer {
    if current().is_ok() {
        return Err(Rv(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    match open()? {
        Opened::Engine(engine) => install(*engine),
        Opened::Connect(config) => become_instance(Instance::Connected(Connected::open(config)?)),
    }
    Ok(())
}

/// Puts this engine behind the C interface of this process, for benches that build one themselves.
/// `C_Initialize` opens the configured engine. The shared library has no symbol for this.
pub fn install(engine: Engine) {
    let application = Application::new(Arc::new(engine), Arc::default(), Caller::Process, 1);
    become_instance(Instance::Engine(application));
}

fn become_instance(instance: Instance) {
    let (process, parents) = Process::lineage();
    for parent in parents {
        // What a parent process left here is not dropped. Only its connections are abandoned. If another
        // thread held the lock when this process was forked, they stay open.
        if let Ok(inherited) = parent.instance.try_read()
            && let Some(Instance::Connected(connected)) = inherited.as_deref().map(Arc::as_ref)
        {
            connected.abandon();
        }
    }
    let mut current = process.instance.write().unwrap_or_else(PoisonError::into_inner);
    *current = Some(ManuallyDrop::new(Arc::new(instance)));
}

/// `C_Finalize`: closes everything that this process opened.
pub(super) fn finalize() -> Answer {
    let taken = Process::current().instance.write().unwrap_or_else(PoisonError::into_inner).take();
    let instance = ManuallyDrop::into_inner(taken.ok_or(Rv(CKR_CRYPTOKI_NOT_INITIALIZED))?);
    // The last call that still runs closes the files or the connection.
    instance.close();
    Ok(())
}

/// `C_GetInfo`, for the interface of this version.
pub(super) fn info(cryptoki: CK_VERSION) -> CK_INFO {
    let version = |part: &str| part.parse().unwrap_or(0);
    CK_INFO {
        cryptokiVersion: cryptoki,
        manufacturerID: padded("Countersign"),
        flags: 0,
        libraryDescription: padded("Countersigns PSBTs on a code"),
        libraryVersion: CK_VERSION {
            major: version(env!("CARGO_PKG_VERSION_MAJOR")),
            minor: version(env!("CARGO_PKG_VERSION_MINOR")),
        },
    }
}

/// `C_GetSlotInfo` for the one slot.
pub(super) fn slot_info() -> CK_SLOT_INFO {
    CK_SLOT_INFO {
        slotDescription: padded("Countersign"),
        manufacturerID: padded("Countersign"),
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: CK_VERSION { major: 0, minor: 0 },
    }
}

/// `C_GetTokenInfo`.
pub(super) fn token_info(token: &TokenInfo) -> CK_TOKEN_INFO {
    CK_TOKEN_INFO {
        label: padded(&token.label),
        manufacturerID: padded("Countersign"),
        model: padded("countersign"),
        serialNumber: padded(&token.serial),
        flags: token.flags,
        ulMaxSessionCount: token.max_sessions,
        ulSessionCount: token.sessions,
        ulMaxRwSessionCount: token.max_sessions,
        ulRwSessionCount: token.read_write_sessions,
        ulMaxPinLen: pin::MAX_LEN as CK_ULONG,
        ulMinPinLen: pin::MIN_LEN as CK_ULONG,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: CK_VERSION { major: 0, minor: 0 },
        firmwareVersion: CK_VERSION { major: 0, minor: 0 },
        utcTime: padded(&token.utc_time),
    }
}

/// `C_GetMechanismInfo`.
pub(super) fn mechanism_info(info: MechanismInfo) -> CK_MECHANISM_INFO {
    CK_MECHANISM_INFO { ulMinKeySize: info.min_key_size, ulMaxKeySize: info.max_key_size, flags: info.flags }
}

/// `C_GetSessionInfo`.
pub(super) fn session_info(info: SessionInfo, rule: CK_ULONG) -> CK_SESSION_INFO {
    CK_SESSION_INFO { slotID: SLOT, state: info.state, flags: info.flags, ulDeviceError: rule }
}
