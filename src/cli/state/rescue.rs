//! `countersign state rescue`: copies a store that was removed or replaced under a running boundary, from the
//! files that the boundary still has open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use clap::Args;
use countersign::paths::with_suffix;
use countersign::ports::LedgerError;
use countersign::shell::inspection;
use countersign::shell::lock::StoreLock;
use countersign::shell::sqlite::Sqlite;
use serde_json::json;

use crate::error::CommandError;
use crate::inside::{Inside, explain};
use crate::output::Report;

/// Copy a store that was removed or replaced under a running boundary, from the files that the boundary still has open.
///
/// The boundary has closed the store and signs nothing any more, but the file exists as long as the process does: do not stop it first.
/// Run this command as root inside the boundary, with its configuration. It finds the files in /proc, copies them, and checks that the
/// copy fits its anchor in the backing token.
#[derive(Args)]
pub(crate) struct Rescue {
    /// Where the copy goes: a file that does not exist yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The process that has the store open [default: the one that its lock names]
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
}

impl Rescue {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let inside = Inside::open()?;
        let process = self.process.map_or_else(|| holder(&inside.store), Ok)?;
        let open = Open::find(process, &inside.store)?;
        open.check_is_lost(&inside.store)?;
        let copied = copy(&open.store, &self.to).and_then(|()| match &open.journal {
            Some(journal) => copy(journal, &with_suffix(&self.to, "-wal")),
            None => Ok(()),
        });
        copied.map_err(|error| {
            CommandError::new(
                format!("cannot copy the store of process {process} to {}: {error}", self.to.display()),
                "name a file that does not exist yet, on a disk with room for it; the process still has the store open",
            )
        })?;
        let checked = put_together(&self.to).and_then(|()| {
            let lock = StoreLock::take(&self.to)?;
            inspection::check(&self.to, &lock, &inside.backing)
        });
        // The copy's lock is of no use.
        let _ = fs::remove_file(with_suffix(&self.to, ".lock"));
        checked.map_err(|error| {
            let CommandError { what, next, .. } = explain(error);
            CommandError::new(
                format!("{} is a copy of what process {process} has open, but {what}", self.to.display()),
                next,
            )
        })?;
        let (to, store) = (self.to.display().to_string(), inside.store.display().to_string());
        Ok(Report::new(
            format!("{to} has the whole store of process {process}, and fits its anchor in the backing token.\n"),
            json!({ "rescued": { "process": process, "to": to, "store": store } }),
        )
        .note(format!(
            "next: stop the boundary, remove what is left of {store}, {store}-wal and {store}-shm, move {to} there, start it again"
        )))
    }
}

/// Moves the content of the copy's journal into the copy.
fn put_together(copy: &Path) -> Result<(), LedgerError> {
    let sqlite = Sqlite::open(copy)?;
    sqlite.sync()?;
    sqlite.close()
}

/// The process named in the store's lock.
fn holder(store: &Path) -> Result<u32, CommandError> {
    let lock = with_suffix(store, ".lock");
    let text = fs::read_to_string(&lock).unwrap_or_default();
    text.trim().parse().map_err(|_| {
        CommandError::new(
            format!("{} names no process that has the store open", lock.display()),
            "name it with --process: \"pidof countersign\" lists the candidates",
        )
    })
}

/// The store's files that a process has open, with their paths in /proc.
struct Open {
    store: PathBuf,
    journal: Option<PathBuf>,
}

impl Open {
    fn find(process: u32, store: &Path) -> Result<Open, CommandError> {
        let folder = PathBuf::from(format!("/proc/{process}/fd"));
        let denied = |error: io::Error| {
            let next = match error.kind() {
                ErrorKind::PermissionDenied => {
                    "run this as root: no other user can look into a boundary, not even the boundary's own"
                }
                _ => "name the process that has the store open with --process",
            };
            CommandError::new(format!("cannot look into process {process}: {error}"), next)
        };
        let (mut found, journal_at) = ((None, None), with_suffix(store, "-wal"));
        for entry in fs::read_dir(&folder).map_err(denied)? {
            let path = entry.map_err(denied)?.path();
            // A descriptor that was closed meanwhile is not one of the store's.
            let Ok(target) = fs::read_link(&path) else { continue };
            if is_at(&target, store) {
                found.0 = Some(path);
            } else if is_at(&target, &journal_at) {
                found.1 = Some(path);
            }
        }
        let (store_file, journal) = found;
        let store_file = store_file.ok_or_else(|| {
            CommandError::new(
                format!("process {process} has no file open that is or was {}", store.display()),
                "name the process that has it open with --process; a store that was moved away is still where it was moved to",
            )
        })?;
        Ok(Open { store: store_file, journal })
    }

    /// Refuses a store that is still in its place, because somebody writes it.
    fn check_is_lost(&self, store: &Path) -> Result<(), CommandError> {
        let is_there = |open: &Path, path: &Path| match (fs::metadata(open), fs::metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        };
        let journal = self.journal.as_ref().is_none_or(|open| is_there(open, &with_suffix(store, "-wal")));
        if is_there(&self.store, store) && journal {
            return Err(CommandError::new(
                format!("{} is the file that is open: there is nothing to rescue", store.display()),
                "check that file with countersign audit verify",
            ));
        }
        Ok(())
    }
}

/// Whether a descriptor leads to the present or former file at `path` (proc_pid_fd(5)).
fn is_at(target: &Path, path: &Path) -> bool {
    target == path || target == with_suffix(path, " (deleted)")
}

/// Copies an open file to a new one, for the same owner and nobody else.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let owner = from.metadata()?;
    io::copy(&mut from, &mut copy)?;
    fchown(&copy, Some(owner.uid()), Some(owner.gid()))?;
    copy.sync_all()
}
