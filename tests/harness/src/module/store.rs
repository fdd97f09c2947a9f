//! The store of a boundary on its disk, inspected, changed and put back from outside.

use std::fs;
use std::path::PathBuf;

use countersign::pkcs11::vendor::*;
use cryptoki_sys::*;
use rusqlite::Connection;

use super::{Boundary, assert_rv, copy_folder, token};

impl Boundary {
    /// The module of the backing token.
    pub fn backing_module(&self) -> String {
        let conf = fs::read_to_string(self.folder.join("countersign.toml")).expect("setup.sh wrote it");
        let module =
            conf.lines().find_map(|line| line.strip_prefix("module = ")).expect("it names the module");
        module.trim_matches('"').to_owned()
    }

    /// A copy of the whole boundary beside it, which works by itself: its configuration names its own files.
    pub fn duplicate(&self, name: &str) -> Boundary {
        self.duplicate_to(self.folder.with_file_name(name))
    }

    /// The same, in any folder.
    pub fn duplicate_to(&self, folder: PathBuf) -> Boundary {
        copy_folder(&self.folder, &folder);
        token::rename_within(&folder, &self.folder, &folder);
        Boundary { folder, test: self.test.clone(), role: String::new() }
    }
}

/// The store's file, opened as an attacker with the disk would.
pub fn connect(boundary: &Boundary) -> Connection {
    Connection::open(boundary.store()).expect("it opens")
}

/// Expects the module to stay closed, and to give the reason in one line that contains `word`.
pub fn expect_closed(boundary: &Boundary, what: &str, word: &str) {
    let probe = boundary.probe();
    assert_rv!(probe.rv, CKR_COUNTERSIGN_STATE, "{what}\n{}", probe.stderr);
    let errors: Vec<&str> =
        probe.stderr.lines().filter(|line| line.starts_with("countersign: ERROR ")).collect();
    assert_eq!(errors.len(), 1, "{what}: {}", probe.stderr);
    assert!(errors[0].contains(word), "{what}: {word:?} is not in {}", errors[0]);
}

/// Expects the module to open.
pub fn expect_open(boundary: &Boundary) {
    let probe = boundary.probe();
    assert_rv!(probe.rv, CKR_OK, "\n{}", probe.stderr);
}
