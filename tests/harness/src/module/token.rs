//! The backing token of a boundary, made once and copied for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::copy_folder;
use crate::{root, target_folder};

/// The files of a boundary that contain the path of its folder.
const NAMING: [&str; 3] = ["softhsm2.conf", "countersign.toml", "env"];

/// Makes the folder of a boundary with a copy of the token. All copies have the same serial number and PINs,
/// and hold none of our objects.
pub(super) fn copy_to(folder: &Path) {
    let kept = kept();
    copy_folder(kept, folder);
    rename_within(folder, kept, folder);
}

/// Makes the folder of a boundary with a token of its own.
pub(super) fn make_in(folder: &Path) {
    let done = Command::new("bash")
        .arg(root().join("softhsm/setup.sh"))
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    assert!(done.status.success(), "softhsm/setup.sh: {}", String::from_utf8_lossy(&done.stderr));
}

/// Changes the folder `old` to `new` in the files of `folder` that name it.
pub(super) fn rename_within(folder: &Path, old: &Path, new: &Path) {
    let (old, new) = (format!("{}/", old.display()), format!("{}/", new.display()));
    for file in NAMING.map(|name| folder.join(name)) {
        let text = fs::read_to_string(&file).expect("setup.sh wrote it");
        assert!(text.contains(&old), "{} names no file of {old}", file.display());
        fs::write(&file, text.replace(&old, &new)).expect("the folder is ours");
    }
}

/// The original, kept beside the tests for as long as the scripts that made it do not change.
fn kept() -> &'static Path {
    static KEPT: OnceLock<PathBuf> = OnceLock::new();
    KEPT.get_or_init(|| {
        let mut scripts = Sha256::new();
        for script in ["softhsm/setup.sh", "softhsm/lib.sh"] {
            scripts.update(fs::read(root().join(script)).expect("it is part of the checkout"));
        }
        let name = data_encoding::HEXLOWER.encode(&scripts.finalize()[..8]);
        let kept = target_folder().join(format!("backing-{name}"));
        if !kept.exists() {
            keep(&kept);
        }
        kept
    })
}

/// Makes the original whole or not at all, because other processes do the same at the same time.
fn keep(kept: &Path) {
    let draft = kept.with_extension(std::process::id().to_string());
    let _ = fs::remove_dir_all(&draft);
    make_in(&draft);
    rename_within(&draft, &draft, kept);
    if fs::rename(&draft, kept).is_err() {
        assert!(kept.exists(), "{} cannot be made", kept.display());
        fs::remove_dir_all(&draft).expect("it is ours");
    }
}
