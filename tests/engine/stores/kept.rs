//! A boundary's files, kept in the repository and taken out again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::module::{Boundary, copy_folder};

/// When kept stores were made, Unix seconds: 2025-06-01T12:00:00Z.
pub(crate) const MADE_AT: u64 = 1_748_779_200;

/// Stands for the folder, and for SoftHSM2's library, in a kept configuration.
const FOLDER: &str = "@FOLDER@";
const MODULE: &str = "@MODULE@";

/// The files of the configuration.
const CONFIGURATION: [&str; 2] = ["softhsm2.conf", "countersign.toml"];
/// The files that a store needs, and the secrets of its users.
const NOTES: [&str; 6] = ["backing-user.pin", "countersign.db", "alice", "bob", "descriptor", "audit.jsonl"];

/// Keeps a boundary that nobody uses in `folder`.
pub(crate) fn keep(boundary: &Boundary, folder: &Path) {
    copy_folder(&boundary.tokens(), &folder.join("tokens"));
    for name in NOTES {
        fs::copy(boundary.folder().join(name), folder.join(name)).expect("it was made");
    }
    let here = boundary.folder().display().to_string();
    for name in CONFIGURATION {
        let text = boundary.noted(name).replace(&here, FOLDER).replace(&boundary.backing_module(), MODULE);
        fs::write(folder.join(name), text).expect("the folder is ours");
    }
}

/// Replaces this boundary with a kept one.
pub(crate) fn take_in(boundary: &Boundary, kept: &Path) {
    let module = boundary.backing_module();
    fs::remove_dir_all(boundary.folder()).expect("the folder is ours");
    copy_folder(kept, boundary.folder());
    let here = boundary.folder().display().to_string();
    for name in CONFIGURATION {
        let text = boundary.noted(name).replace(FOLDER, &here).replace(MODULE, &module);
        boundary.note(name, &text);
    }
    close_to_others(boundary.folder());
}

/// A checkout loses modes, so this closes all files to others again.
fn close_to_others(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("it is ours");
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            close_to_others(&path);
        } else {
            fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
        }
    }
}
