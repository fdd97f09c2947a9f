//! Rights that the process gives up before it holds any secret.
//!
//! No other process of its user can read its memory, which is written to no core file and to no swap. It
//! gains no rights by executing a file. Only its own user can use files that it, or the backing module, makes
//! without naming a mode.

use countersign::shell::config::ServeLimits;
use rustix::fs::Mode;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

use crate::error::CommandError;

/// Open files other than connections.
const OTHER_FILES: u64 = 256;

/// Hardens this process, or fails with what the system must allow for it.
pub(super) fn harden(limits: &ServeLimits) -> Result<(), CommandError> {
    let refused = |what: &str, error: rustix::io::Errno| {
        CommandError::new(
            format!("the system does not let this process {what}: {error}"),
            "allow it in the unit or the container that starts it",
        )
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| refused("keep its memory to itself", error))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| refused("do without core files", error))?;
    umask(Mode::from_raw_mode(0o077));
    set_no_new_privs(true).map_err(|error| refused("give up gaining rights", error))?;
    lock_memory()?;
    allow_files(limits)?;
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "running as root: give the boundary its own user, so that it can do no more than it must"
        );
    }
    Ok(())
}

/// Keeps its pages out of swap. Pages are locked when they are first used, so reserved memory costs nothing.
fn lock_memory() -> Result<(), CommandError> {
    let next =
        "start it with LimitMEMLOCK=infinity (a systemd unit), or under \"prlimit --memlock=unlimited\"";
    let limit = getrlimit(Resource::Memlock).current;
    // With a limit, an allocation would fail later, in the middle of a call.
    if let Some(bytes) = limit.filter(|_| !may_lock_all()) {
        return Err(CommandError::new(
            format!("cannot keep the memory out of the swap: only {} KiB may be locked", bytes / 1024),
            next,
        ));
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(|error| CommandError::new(format!("cannot keep the memory out of the swap: {error}"), next))
}

fn may_lock_all() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Each connection is a file, of backends and of administrators.
fn allow_files(limits: &ServeLimits) -> Result<(), CommandError> {
    let needed = 2 * limits.max_connections as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if let Some(most) = limit.maximum.filter(|most| *most < needed) {
        return Err(CommandError::new(
            format!(
                "serve.max_connections = {} needs {needed} open files, and the limit is {most}",
                limits.max_connections
            ),
            "raise LimitNOFILE (a systemd unit; \"ulimit -Hn\" elsewhere), or lower serve.max_connections",
        ));
    }
    if limit.current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(
            |error| {
                CommandError::new(
                    format!("cannot raise the limit of open files: {error}"),
                    "raise LimitNOFILE",
                )
            },
        )?;
    }
    Ok(())
}
