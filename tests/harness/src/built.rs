//! What `cargo build` made: the module and the program.
//!
//! `cargo test` rebuilds neither. It builds the executables of tests and what they link, and packages of
//! their own build module and program. So each is compared with its sources, as Cargo listed them at the
//! build (`FILE.d`). A file older than one of its sources is not tested.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Names a module to test instead of the one that was built.
pub(crate) const MODULE: &str = "COUNTERSIGN_MODULE";

/// The module under test: the `cdylib` near this test's executable.
pub fn module() -> PathBuf {
    env::var_os(MODULE).map_or_else(|| up_to_date("libcountersign.so"), PathBuf::from)
}

/// The program under test, `countersign`.
pub fn program() -> PathBuf {
    up_to_date("countersign")
}

/// The desk under test, `countersign-desk`.
pub fn desk() -> PathBuf {
    up_to_date("countersign-desk")
}

/// `target/debug`, or the folder that this executable is in instead.
pub fn target_folder() -> PathBuf {
    let executable = env::current_exe().expect("the system names the running executable");
    executable.ancestors().nth(2).expect("it is in deps/").into()
}

/// Puts a file of the build at another place: as a second name of it where that is possible, which takes no room, else as a copy. A second
/// name has the owner of the file, and the boundary refuses to run what an ordinary user owns. So it must be ours.
pub(crate) fn place(from: &Path, to: &Path) {
    let is_ours = fs::metadata(from).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
    if !is_ours || fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap_or_else(|error| panic!("{} is not copied: {error}", from.display()));
    }
}

fn up_to_date(name: &str) -> PathBuf {
    let file = target_folder().join(name);
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let built =
        changed(&file).unwrap_or_else(|_| panic!("{} is not there; run `cargo build` first", file.display()));
    for source in sources(&file.with_extension("d")) {
        // A source that is gone was renamed or is not needed any more. The source that named it has changed
        // as well.
        if changed(&source).is_ok_and(|changed| changed > built) {
            panic!("{} is newer than {}; run `cargo build` first", source.display(), file.display());
        }
    }
    file
}

/// The sources in a list of dependencies for make: `FILE: SOURCE SOURCE …`, with spaces as `\ `.
fn sources(list: &Path) -> Vec<PathBuf> {
    const BLANK: &str = "\0";
    let list = fs::read_to_string(list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let list = list.replace("\\ ", BLANK);
    let (_, sources) = list.split_once(": ").expect("it lists the sources of one file");
    sources.split_whitespace().map(|source| source.replace(BLANK, " ").into()).collect()
}
