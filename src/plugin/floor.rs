//! The floor: the lowest version that may still run here, in a file that is only ever raised.
//!
//! F1. It is durable before the code that raises it runs. The new file is written beside the old one, synced,
//! and moved into place, and then the folder is synced. A process that finds the file syncs it again, because
//! the writer may have been killed in between.
//! F2. Nothing lowers it or makes it again. A file that is missing, damaged, another user's or writable by
//! others refuses. Only `countersign plugin pin` makes one, if there is none.
//! F3. One process at a time raises it (under a lock on its folder), and compares again while it holds the
//! lock.
//!
//! The file is no secret and proves nothing: anybody who can write to it, or to its folder, can lower it, for
//! example with an older copy. Its check value detects damage.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use countersign::paths::with_suffix;
use countersign::shell::file;
use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use super::manifest::{Manifest, PluginVersion};

/// A file is shorter than this, whatever its version.
const MAX_FLOOR_LEN: usize = 1024;
/// The check value covers this text and the version.
const CHECK_LABEL: &str = "countersign plugin floor 1\n";

/// The floor in `file`, if `version` may run under it.
pub(super) fn check(file: &Path, version: &PluginVersion) -> Result<PluginVersion, FloorError> {
    let floor = parse(&read(file, &open(file)?)?).ok_or_else(|| FloorError::Damaged { file: file.into() })?;
    if *version < floor {
        return Err(FloorError::Below { file: file.into(), version: version.clone(), floor });
    }
    Ok(floor)
}

/// Raises the floor in `file` to that of `manifest`, whose library may run only after that. The file's
/// present content counts.
pub(super) fn raise(file: &Path, manifest: &Manifest) -> Result<(), FloorError> {
    let folder = lock(file)?;
    let old = check(file, manifest.version())?;
    let unwritable = unwritable(file);
    if *manifest.floor() > old {
        let draft = write_draft(file, manifest.floor()).map_err(unwritable)?;
        fs::rename(draft, file).map_err(unwritable)?;
    } else {
        // The writer may have been killed before it was durable.
        open(file)?.sync_all().map_err(unwritable)?;
    }
    folder.0.sync_all().map_err(unwritable)
}

/// Makes the file, with the floor of `manifest`.
pub(super) fn pin(file: &Path, manifest: &Manifest) -> Result<(), FloorError> {
    let folder = lock(file)?;
    refuse_another_owner(file, &folder.0)?;
    let unwritable = unwritable(file);
    let draft = write_draft(file, manifest.floor()).map_err(unwritable)?;
    // Unlike a move, a link never replaces another file.
    let linked = fs::hard_link(&draft, file);
    fs::remove_file(draft).map_err(unwritable)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(FloorError::Exists { file: file.into() })
        }
        linked => linked.and_then(|()| folder.0.sync_all()).map_err(unwritable),
    }
}

fn open(path: &Path) -> Result<File, FloorError> {
    let unreadable = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => FloorError::Missing { file: path.into() },
        _ => FloorError::Unreadable { file: path.into(), problem: error.to_string() },
    };
    // Through a symbolic link, the link itself would be replaced.
    let file = file::open(path, OFlags::NOFOLLOW).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let (mode, owner) = (found.permissions().mode() & 0o777, found.uid());
    // The owner can write to it, whatever its mode.
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(FloorError::Foreign { file: path.into(), owner });
    }
    if mode & 0o022 != 0 {
        return Err(FloorError::Writable { file: path.into(), mode });
    }
    Ok(file)
}

fn read(path: &Path, file: &File) -> Result<Vec<u8>, FloorError> {
    file::read_opened(file, MAX_FLOOR_LEN)
        .map_err(|error| FloorError::Unreadable { file: path.into(), problem: error.to_string() })
}

/// The file's text, exactly one for each version.
fn render(floor: &PluginVersion) -> String {
    let check = Sha256::digest(format!("{CHECK_LABEL}{floor}"));
    format!("floor = \"{floor}\"\ncheck = \"{}\"\n", HEXLOWER.encode(&check))
}

fn parse(bytes: &[u8]) -> Option<PluginVersion> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (floor, _) = text.strip_prefix("floor = \"")?.split_once('"')?;
    floor.parse().ok().filter(|floor| render(floor) == text)
}

/// The lock on the floor's folder. While it exists, no other process raises the floor.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it is not enough: a process that another thread is just starting has it open until it runs
        // its program. If this fails, the next process gets an error that says to try again.
        let _ = self.0.unlock();
    }
}

fn lock(file: &Path) -> Result<Locked, FloorError> {
    let folder = File::open(folder_of(file)).map_err(unwritable(file))?;
    match folder.try_lock() {
        Ok(()) => Ok(Locked(folder)),
        Err(TryLockError::WouldBlock) => Err(FloorError::Busy { file: file.into() }),
        Err(TryLockError::Error(error)) => Err(unwritable(file)(error)),
    }
}

/// If root made the file in a folder of the boundary's user, that user could not read it.
fn refuse_another_owner(file: &Path, folder: &File) -> Result<(), FloorError> {
    let owner = folder.metadata().map_err(unwritable(file))?.uid();
    if rustix::process::geteuid().is_root() && owner != 0 {
        return Err(FloorError::Owner { file: file.into(), owner });
    }
    Ok(())
}

/// Writes the text of `floor` to a new file beside, durably.
fn write_draft(file: &Path, floor: &PluginVersion) -> io::Result<PathBuf> {
    let path = with_suffix(file, ".part");
    // We hold the lock, so a draft that exists was left by a process that was killed.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut draft = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    draft.write_all(render(floor).as_bytes())?;
    draft.sync_all()?;
    Ok(path)
}

fn folder_of(file: &Path) -> &Path {
    // For a bare file name the folder is empty.
    file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

fn unwritable(file: &Path) -> impl Fn(io::Error) -> FloorError + Copy + '_ {
    move |error| FloorError::Unwritable { file: file.into(), problem: error.to_string() }
}

/// The reason why the floor does not let a version run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloorError {
    /// There is no file.
    #[error("the floor file {} is missing", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be read.
    #[error("the floor file {} cannot be read: {problem}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// Its content is not what was written.
    #[error("the floor file {} is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// Others could have lowered it.
    #[error("others can write to the floor file {} (mode {mode:o})", file.display())]
    Writable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another user could have lowered it.
    #[error("others can write to the floor file {}: it belongs to user {owner}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The version may not run here any more.
    #[error("version {version} may not run: it is below the floor {floor} of the file {}", file.display())]
    Below {
        /// The file.
        file: PathBuf,
        /// The version.
        version: PluginVersion,
        /// The floor.
        floor: PluginVersion,
    },
    /// The file is made only once.
    #[error("the floor file {} exists already, and is never overwritten", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// Another process is about to write it.
    #[error("another process is raising the floor in {}", file.display())]
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// It cannot be written.
    #[error("the floor file {} cannot be written: {problem}", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: String,
    },
    /// The file would belong to another user than its folder.
    #[error("the floor file {} would belong to root, but its folder belongs to user {owner}", file.display())]
    Owner {
        /// The file.
        file: PathBuf,
        /// The owner of the folder.
        owner: u32,
    },
}

impl FloorError {
    /// What to do next.
    pub fn next(&self) -> String {
        const AGAIN: &str = "If it is gone for good, find out what ran here last, remove what is left of it, and run \
                             \"countersign plugin pin\" with that version in place";
        match self {
            FloorError::Missing { .. } => format!(
                "run \"countersign plugin pin\" once, at installation. If the file existed before, put it back. {AGAIN}"
            ),
            FloorError::Damaged { .. } => format!("put it back from a copy. {AGAIN}"),
            FloorError::Unreadable { .. } => {
                "let the user who runs the boundary read it: it must be that user's file, not a link".into()
            }
            FloorError::Writable { file, .. } => {
                format!("check its content, then: chmod 600 {}", file.display())
            }
            FloorError::Foreign { file, owner } => format!(
                "run this as the user who runs the boundary; if that is not user {owner}, check the file's content, then give it \
                 to that user: chown USER {}",
                file.display()
            ),
            FloorError::Below { floor, .. } => {
                format!("install version {floor} or a higher one; the floor keeps older ones out on purpose")
            }
            FloorError::Exists { .. } => "leave it alone: loading a release raises the floor".into(),
            FloorError::Busy { .. } => "try again".into(),
            FloorError::Unwritable { .. } => {
                "let the user who runs the boundary write to its folder, and check the disk".into()
            }
            FloorError::Owner { owner, .. } => {
                format!(
                    "run this as the user who runs the boundary, as in: setpriv --reuid {owner} --clear-groups …"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::{Uid, set_thread_res_uid};

    use super::*;
    use countersign::shell::image::LibraryDigest;

    fn version(text: &str) -> PluginVersion {
        text.parse().expect("a version")
    }

    fn manifest(of: &str, floor: &str) -> Manifest {
        Manifest::new(version(of), LibraryDigest::of(b""), version(floor)).expect("the floor is not above")
    }

    fn floor_file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plugin.floor");
        (folder, file)
    }

    #[test]
    fn the_file_has_one_form() {
        let text = "floor = \"1.2.0\"\n\
                    check = \"9f89e8f90d9e32859f2d9f18188a3ec6c009b403be41850b473dba1158ca7767\"\n";
        assert_eq!(render(&version("1.2.0")), text);
        assert_eq!(parse(text.as_bytes()), Some(version("1.2.0")));
    }

    #[test]
    fn a_file_with_any_byte_changed_added_or_missing_is_damaged() {
        let (_folder, file) = floor_file();
        pin(&file, &manifest("1.2.0", "1.2.0")).expect("there is none");
        let whole = fs::read(&file).expect("it was written");
        let mut wrong: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        wrong.push([&whole[..], b"\n"].concat());
        wrong.push(vec![b'x'; MAX_FLOOR_LEN]);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                wrong.push(bytes);
            }
        }
        for bytes in wrong {
            fs::write(&file, &bytes).expect("the folder is ours");
            let damaged = Err(FloorError::Damaged { file: file.clone() });
            assert_eq!(check(&file, &version("9.0.0")), damaged, "{:?}", String::from_utf8_lossy(&bytes));
            assert_eq!(
                raise(&file, &manifest("9.0.0", "9.0.0")),
                Err(FloorError::Damaged { file: file.clone() })
            );
            assert_eq!(fs::read(&file).expect("it is there"), bytes, "it is left as it is");
        }
        fs::write(&file, vec![b'x'; MAX_FLOOR_LEN + 1]).expect("the folder is ours");
        let error = check(&file, &version("9.0.0")).expect_err("too long").to_string();
        assert!(error.contains("more than 1024 bytes"), "{error}");
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_one_of_root_is_not() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tried: only root can give a file to another user");
            return;
        }
        let (folder, file) = floor_file();
        pin(&file, &manifest("1.0.0", "1.0.0")).expect("there is none");
        for path in [folder.path(), &file] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
        }
        let nobody = 65534;
        let as_nobody = || {
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    // For this thread alone, as the system call does.
                    let user = Uid::from_raw(nobody);
                    set_thread_res_uid(user, user, user).expect("root may");
                    check(&file, &version("1.0.0"))
                });
                other.join().expect("it does not panic")
            })
        };
        assert_eq!(as_nobody(), Ok(version("1.0.0")), "root's");
        std::os::unix::fs::chown(&file, Some(nobody), None).expect("root may");
        assert_eq!(as_nobody(), Ok(version("1.0.0")), "its own");
        let foreign = FloorError::Foreign { file: file.clone(), owner: nobody };
        assert_eq!(check(&file, &version("1.0.0")), Err(foreign.clone()));
        assert_eq!(raise(&file, &manifest("2.0.0", "2.0.0")), Err(foreign));
    }

    #[test]
    fn it_is_raised_and_never_lowered() {
        let (folder, file) = floor_file();
        pin(&file, &manifest("1.0.0", "1.0.0")).expect("there is none");
        for (of, floor, then) in [
            ("1.0.0", "0.9.0", "1.0.0"),
            ("1.0.0", "1.0.0", "1.0.0"),
            ("1.2.0", "1.1.0", "1.1.0"),
            ("1.1.0", "1.0.0", "1.1.0"),
            ("2.0.0", "2.0.0", "2.0.0"),
        ] {
            raise(&file, &manifest(of, floor)).expect("not below");
            assert_eq!(check(&file, &version("9.0.0")), Ok(version(then)), "{of}");
        }
        let below = Err(FloorError::Below {
            file: file.clone(),
            version: version("2.0.0-rc.1"),
            floor: version("2.0.0"),
        });
        assert_eq!(raise(&file, &manifest("2.0.0-rc.1", "0.1.0")), below);
        assert_eq!(check(&file, &version("2.0.0")), Ok(version("2.0.0")), "equal to the floor");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no draft stays");
    }

    #[test]
    fn it_is_pinned_once_and_made_by_nothing_else() {
        let (folder, file) = floor_file();
        let missing = FloorError::Missing { file: file.clone() };
        assert!(missing.next().contains("countersign plugin pin"));
        assert_eq!(check(&file, &version("1.0.0")), Err(missing.clone()));
        assert_eq!(raise(&file, &manifest("1.0.0", "1.0.0")), Err(missing));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "nothing was made");
        for content in [&b""[..], b"damaged", render(&version("3.0.0")).as_bytes()] {
            fs::write(&file, content).expect("the folder is ours");
            let exists = FloorError::Exists { file: file.clone() };
            assert_eq!(pin(&file, &manifest("1.0.0", "1.0.0")), Err(exists));
            assert_eq!(fs::read(&file).expect("it is there"), content);
        }
        fs::remove_file(&file).expect("the folder is ours");
        std::os::unix::fs::symlink("nowhere", &file).expect("the folder is ours");
        assert_eq!(pin(&file, &manifest("1.0.0", "1.0.0")), Err(FloorError::Exists { file: file.clone() }));
        assert!(matches!(check(&file, &version("1.0.0")), Err(FloorError::Unreadable { .. })), "a link");
    }

    #[test]
    fn a_draft_that_a_killed_process_left_is_in_nobodys_way() {
        let (folder, file) = floor_file();
        fs::write(folder.path().join("plugin.floor.part"), "half").expect("the folder is ours");
        pin(&file, &manifest("1.0.0", "1.0.0")).expect("there is none");
        fs::write(folder.path().join("plugin.floor.part"), "half").expect("the folder is ours");
        raise(&file, &manifest("1.1.0", "1.1.0")).expect("not below");
        assert_eq!(check(&file, &version("1.1.0")), Ok(version("1.1.0")));
    }

    #[test]
    fn a_file_that_others_can_write_to_is_refused() {
        let (_folder, file) = floor_file();
        pin(&file, &manifest("1.0.0", "1.0.0")).expect("there is none");
        for (mode, believed) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("chmod");
            let wrong = FloorError::Writable { file: file.clone(), mode };
            let expected = if believed { Ok(version("1.0.0")) } else { Err(wrong) };
            assert_eq!(check(&file, &version("1.0.0")), expected, "{mode:o}");
        }
    }

    #[test]
    fn one_process_at_a_time_raises_it() {
        let (folder, file) = floor_file();
        pin(&file, &manifest("1.0.0", "1.0.0")).expect("there is none");
        let other = File::open(folder.path()).expect("the folder is ours");
        other.lock().expect("nobody has it");
        let busy = FloorError::Busy { file: file.clone() };
        assert_eq!(raise(&file, &manifest("2.0.0", "2.0.0")), Err(busy));
        assert_eq!(check(&file, &version("1.0.0")), Ok(version("1.0.0")), "looking at it needs no lock");
        drop(other);
        raise(&file, &manifest("2.0.0", "2.0.0")).expect("the lock is free");
        // As a process that was started meanwhile would have it.
        let locked = lock(&file).expect("free");
        let inherited = locked.0.try_clone().expect("a descriptor");
        drop(locked);
        drop(lock(&file).expect("it was given back, and not only closed"));
        drop(inherited);
    }
}
