//! Sockets that systemd passes on (`sd_listen_fds(3)`).
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

use countersign_server::door::Passed;

use crate::error::CommandError;

/// The sockets that were passed on.
#[derive(Default)]
pub(super) struct Activated {
    /// For the doors.
    pub(super) doors: Passed,
    /// For the monitoring.
    pub(super) monitoring: Option<OwnedFd>,
}

/// Takes the sockets that were passed on to this process. Called once.
pub(super) fn passed() -> Result<Activated, CommandError> {
    let wrong = |what: String| {
        CommandError::new(
            what,
            "name the sockets in their .socket units: FileDescriptorName=backend, administrators, desk or monitoring, each once",
        )
    };
    let passed = sd_notify::listen_fds_with_names()
        .map_err(|error| wrong(format!("cannot take the sockets that systemd passed on: {error}")))?;
    let mut activated = Activated::default();
    for (descriptor, name) in passed {
        // SAFETY: the service manager opened it for this process alone (LISTEN_PID is ours), nothing else in
        // the process knows its number, and each number occurs once. So the value below is its only owner.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let place = match name.as_str() {
            "backend" => &mut activated.doors.backend,
            "administrators" => &mut activated.doors.administrators,
            "desk" => &mut activated.doors.desk,
            "monitoring" => &mut activated.monitoring,
            _ => {
                return Err(wrong(format!("systemd passed on a socket with the unknown name {name:?}")));
            }
        };
        if place.replace(socket).is_some() {
            return Err(wrong(format!("systemd passed on two sockets with the name {name:?}")));
        }
    }
    Ok(activated)
}
