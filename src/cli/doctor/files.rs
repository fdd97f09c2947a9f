//! The checks of files. They read names and permissions, and never the store while the module holds it: closing a second handle would drop
//! the locks of the first one.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use countersign::paths::with_suffix;
use countersign::shell::config::PinSource;
use countersign::shell::ownership::{self, OwnershipError};

use super::checks::{Check, State, good, wrong};

/// A library that is loaded: anybody who can write to it can do what the process can.
pub(super) fn code(subject: &'static str, path: &Path) -> Check {
    if path.is_absolute() {
        not_writable_by_others(subject, path)
    } else {
        wrong(subject, format!("{} is not an absolute path", path.display()), "write the absolute path")
    }
}

pub(super) fn pin(source: &PinSource) -> Check {
    let subject = "backing PIN";
    match source {
        PinSource::Env(name) if std::env::var_os(name).is_some() => {
            good(subject, format!("in the environment variable {name}, which is set"))
        }
        PinSource::Env(name) => wrong(
            subject,
            format!("in the environment variable {name}, which is not set"),
            &format!("set {name}, or name a file with backing.pin_file"),
        ),
        PinSource::File(path) => match metadata(subject, path) {
            Ok(file) if mode(&file) & 0o077 != 0 => wrong(
                subject,
                format!("in {} (mode {:04o}), which others can use", path.display(), mode(&file)),
                &format!("chmod 600 {}", path.display()),
            ),
            Ok(file) => match ownership::check_file(path) {
                Ok(()) => good(subject, format!("in {} (mode {:04o})", path.display(), mode(&file))),
                Err(error) => of_another(subject, error),
            },
            Err(check) => check,
        },
    }
}

pub(super) fn store(path: &Path) -> Vec<Check> {
    let folder = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder_of_ours("store folder", folder),
        None => wrong(
            "store folder",
            format!("{} is not an absolute path", path.display()),
            "write the absolute path",
        ),
    };
    let file = path.exists().then(|| not_writable_by_others("store", path));
    std::iter::once(folder).chain(file).collect()
}

/// The meaning of a missing store. If the backing token remembers one, the module does not open and does not
/// make a new one.
pub(super) fn missing_store(path: &Path, module_works: bool, is_in_use: bool) -> Check {
    let subject = "store";
    let what = format!("{} does not exist", path.display());
    if module_works {
        let finding = format!("{what}, and the backing token remembers none: countersign init makes one");
        return Check { subject, state: State::Noted, finding, next: None };
    }
    if is_in_use {
        return wrong(
            subject,
            format!("{what}, but a running process has it open: somebody removed or moved it"),
            "do not stop that process: put the file back if it was moved, or run \"countersign state rescue\" as root",
        );
    }
    wrong(
        subject,
        what,
        "correct store.path, or put the newest store back; while the backing token remembers a store, the module makes no new one",
    )
}

/// The folder of a file that the boundary writes.
pub(super) fn written(subject: &'static str, file: &Path) -> Check {
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.into());
    folder_of_ours(subject, whole.parent().unwrap_or(Path::new("/")))
}

/// Longer than any line that the holder of a lock writes.
const LOCK_MAX: u64 = 4096;

/// Opens the lock's file only if this process does not hold the lock itself.
pub(super) fn lock(store: &Path, module_works: bool) -> Check {
    let path = with_suffix(store, ".lock");
    if module_works {
        return good("lock", format!("{}: free; this command held it a moment ago", path.display()));
    }
    let mut text = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(LOCK_MAX).read_to_end(&mut text));
    let holder = read.ok().map(|_| {
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
        line.chars().take(200).collect::<String>()
    });
    let finding = match holder {
        Some(line) if !line.is_empty() => format!("{}: last taken by {line}", path.display()),
        Some(_) => format!("{} is there", path.display()),
        None => format!("{} does not exist", path.display()),
    };
    Check { subject: "lock", state: State::Noted, finding, next: None }
}

/// Nobody else may be able to change the file or its path, by the rules of `countersign serve`.
pub(super) fn not_writable_by_others(subject: &'static str, path: &Path) -> Check {
    judged(subject, path, ownership::check_file(path))
}

/// The same for a folder in which files are made.
fn folder_of_ours(subject: &'static str, path: &Path) -> Check {
    judged(subject, path, ownership::check_folder(path))
}

fn judged(subject: &'static str, path: &Path, found: Result<(), OwnershipError>) -> Check {
    match (metadata(subject, path), found) {
        (Err(check), _) => check,
        (_, Err(error)) => of_another(subject, error),
        (Ok(file), Ok(())) => good(subject, format!("{} (mode {:04o})", path.display(), mode(&file))),
    }
}

fn of_another(subject: &'static str, error: OwnershipError) -> Check {
    wrong(subject, format!("{} (backing-owner)", error.what), &error.next)
}

fn metadata(subject: &'static str, path: &Path) -> Result<Metadata, Check> {
    std::fs::metadata(path).map_err(|reason| {
        wrong(
            subject,
            format!("{}: {reason}", path.display()),
            "correct the path, or install what is missing",
        )
    })
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(bits: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(bits)).expect("set");
        file
    }

    #[test]
    fn a_pin_file_that_others_can_read_is_wrong() {
        for (bits, state) in
            [(0o600, State::Good), (0o400, State::Good), (0o640, State::Wrong), (0o604, State::Wrong)]
        {
            let file = with_mode(bits);
            assert!(pin(&PinSource::File(file.path().into())).state == state, "{bits:o}");
        }
        assert!(pin(&PinSource::File("/nonexistent/pin".into())).state == State::Wrong);
    }

    #[test]
    fn a_file_that_others_can_write_is_wrong() {
        assert!(not_writable_by_others("store", with_mode(0o644).path()).state == State::Good);
        assert!(not_writable_by_others("store", with_mode(0o664).path()).state == State::Wrong);
    }

    #[test]
    fn backing_owner_a_folder_that_others_can_write_is_wrong_for_what_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let set = |bits| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(bits));
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("ours");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("ours");
        for (bits, state) in [(0o700, State::Good), (0o777, State::Wrong), (0o770, State::Wrong)] {
            set(bits).expect("ours");
            assert!(code("backing module", &file).state == state, "{bits:o}");
            assert!(pin(&PinSource::File(file.clone())).state == state, "{bits:o}");
            for check in store(&file).into_iter().chain([written("log folder", &file)]) {
                assert!(check.state == state, "{}: {bits:o}", check.subject);
            }
        }
    }

    #[test]
    fn a_missing_store_is_made_only_if_the_token_remembers_none() {
        let path = Path::new("/nowhere/store.db");
        let first = missing_store(path, true, false);
        assert!(
            first.state == State::Noted && first.finding.contains("countersign init"),
            "{}",
            first.finding
        );
        for is_in_use in [false, true] {
            let missing = missing_store(path, false, is_in_use);
            assert!(
                missing.state == State::Wrong && !missing.finding.contains("init"),
                "{}",
                missing.finding
            );
        }
        let under_way = missing_store(path, false, true);
        assert!(under_way.next.is_some_and(|next| next.contains("state rescue")));
    }

    #[test]
    fn a_relative_module_is_wrong() {
        assert!(code("backing module", Path::new("libsofthsm2.so")).state == State::Wrong);
    }
}
