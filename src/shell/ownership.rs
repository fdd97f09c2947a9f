//! Who can change a file: only root and the boundary's own user may be able to change files that decide what
//! the boundary does. Rule `backing-owner`.
//!
//! A user can change a file if they own it, can write to it, or can replace it. So every folder on the way
//! counts and, for a link, every folder on the way to its target.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::config::{EngineConfig, PinSource, ServeConfig};

/// The most links on the way to a file (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Mode bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// The reason why a file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct OwnershipError {
    /// The finding, and the place.
    pub what: String,
    /// What to do next.
    pub next: String,
}

/// Only root and this user can change or replace `file`.
pub fn check_file(file: &Path) -> Result<(), OwnershipError> {
    places(file)?.iter().try_for_each(|place| judge(place, true))
}

/// Only root and this user can change what is in `folder`, add to it, or replace it.
pub fn check_folder(folder: &Path) -> Result<(), OwnershipError> {
    let places = places(folder)?;
    let (itself, above) = places.split_last().expect("the root at least is passed");
    // In the other folders the sticky bit keeps our files in place. In this one it would let others create
    // the file first.
    above.iter().try_for_each(|place| judge(place, true)).and_then(|()| judge(itself, false))
}

/// Checks every configured file that runs in the boundary, opens its token, or is written by it. An error has
/// the key.
pub fn check_named(config: &EngineConfig) -> Result<(), OwnershipError> {
    check_backing(config)?;
    check_written("store.path", &config.store.path)?;
    if let Some(plugin) = &config.plugin {
        // The floor checks its file itself.
        check_folder_of(&plugin.floor_file).map_err(|error| error.of("plugin.floor_file"))?;
    }
    if let Some(file) = &config.log.file {
        // Only the folder, because the file may be a device that everybody can write to.
        check_folder_of(file).map_err(|error| error.of("log.file"))?;
    }
    config.serve.as_ref().map_or(Ok(()), check_doors)
}

/// Checks the files that decide who connects from elsewhere, and who we claim to be. They are read again at a
/// reload.
pub fn check_doors(serve: &ServeConfig) -> Result<(), OwnershipError> {
    let Some(tcp) = &serve.tcp else { return Ok(()) };
    for (key, file) in [
        ("serve.tcp.client_authority_file", &tcp.client_authority_file),
        ("serve.tcp.certificate_file", &tcp.certificate_file),
        ("serve.tcp.key_file", &tcp.key_file),
    ] {
        check_file(file).map_err(|error| error.of(key))?;
    }
    Ok(())
}

/// Nobody else can put another file in the place of `file`, whether it exists or not.
pub fn check_folder_of(file: &Path) -> Result<(), OwnershipError> {
    let whole = std::path::absolute(file).map_err(|error| unseen(file, &error))?;
    check_folder(whole.parent().unwrap_or(Path::new("/")))
}

/// The backing token's module, which runs in the boundary, and the file that opens the token.
fn check_backing(config: &EngineConfig) -> Result<(), OwnershipError> {
    check_file(&config.backing.module).map_err(|error| error.of("backing.module"))?;
    match &config.backing.pin {
        PinSource::File(file) => check_file(file).map_err(|error| error.of("backing.pin_file")),
        PinSource::Env(_) => Ok(()),
    }
}

/// A file that the boundary writes, whether it exists or not.
fn check_written(key: &str, file: &Path) -> Result<(), OwnershipError> {
    check_folder_of(file).map_err(|error| error.of(key))?;
    if file.exists() { check_file(file).map_err(|error| error.of(key)) } else { Ok(()) }
}

impl OwnershipError {
    fn of(self, key: &str) -> OwnershipError {
        OwnershipError { what: format!("{key}: {} (backing-owner)", self.what), next: self.next }
    }
}

fn unseen(place: &Path, error: &io::Error) -> OwnershipError {
    let place = place.display();
    OwnershipError {
        what: format!("cannot look at {place}: {error}"),
        next: format!("correct the path, or let the user who runs the boundary reach {place}"),
    }
}

/// Every folder and link that the system passes on the way to `path`, and its target.
fn places(path: &Path) -> Result<Vec<PathBuf>, OwnershipError> {
    let whole = std::path::absolute(path).map_err(|error| unseen(path, &error))?;
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    let mut passed = vec![here.clone()];
    let mut left: VecDeque<PathBuf> = parts(&whole);
    while let Some(part) = left.pop_front() {
        match part.components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::Normal(_)) => {
                let next = here.join(&part);
                let found = fs::symlink_metadata(&next).map_err(|error| unseen(&next, &error))?;
                passed.push(next.clone());
                if !found.is_symlink() {
                    here = next;
                    continue;
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(unseen(&next, &io::Error::other("too many links")));
                }
                let target = fs::read_link(&next).map_err(|error| unseen(&next, &error))?;
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            }
            _ => {}
        }
    }
    // If the way ended with "..", the target is not the last place passed.
    passed.push(here);
    Ok(passed)
}

fn parts(path: &Path) -> VecDeque<PathBuf> {
    path.components().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// In a folder with the sticky bit (`/tmp`) our files stay in place.
fn judge(place: &Path, sticky_keeps: bool) -> Result<(), OwnershipError> {
    let found = fs::symlink_metadata(place).map_err(|error| unseen(place, &error))?;
    let place = place.display();
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(OwnershipError {
            what: format!(
                "{place} belongs to another user (number {}), who could change what the boundary does",
                found.uid()
            ),
            next: format!("check its content, then: chown root {place}"),
        });
    }
    let kept = sticky_keeps && found.is_dir() && found.mode() & STICKY != 0;
    // Every link can be "written" by all, and is changed by nobody but its owner.
    if found.mode() & OTHERS_WRITE != 0 && !kept && !found.is_symlink() {
        return Err(OwnershipError {
            what: format!(
                "others can write to {place} (mode {:o}), and so change what the boundary does",
                found.mode() & 0o7777
            ),
            next: format!("check its content, then: chmod go-w {place}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder with a folder in it, with a file in it.
    struct Place {
        folder: tempfile::TempDir,
        inner: PathBuf,
        file: PathBuf,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("ours");
        let file = inner.join("c.toml");
        fs::write(&file, "").expect("ours");
        set(&inner, 0o755);
        set(&file, 0o644);
        Place { folder, inner, file }
    }

    fn set(place: &Path, mode: u32) {
        fs::set_permissions(place, Permissions::from_mode(mode)).expect("ours");
    }

    #[test]
    fn backing_owner_a_file_that_others_can_change_is_named_with_its_place() {
        let Place { folder: _folder, inner, file } = place();
        for (mode, wrong) in [(0o600, false), (0o644, false), (0o755, false), (0o664, true), (0o602, true)] {
            set(&file, mode);
            let found = check_file(&file).err();
            assert_eq!(found.is_some(), wrong, "{mode:o}");
            assert!(found.is_none_or(|error| error.next.ends_with("inner/c.toml")), "{mode:o}");
        }
        set(&file, 0o644);
        for (mode, wrong) in [(0o700, false), (0o1777, false), (0o770, true), (0o707, true)] {
            set(&inner, mode);
            let found = check_file(&file).err();
            assert_eq!(found.is_some(), wrong, "{mode:o}");
            assert!(found.is_none_or(|error| error.next.ends_with("/inner")), "{mode:o}");
        }
        // On a file, a sticky bit means nothing.
        set(&inner, 0o755);
        set(&file, 0o1666);
        assert!(check_file(&file).is_err());
        assert!(check_file(&inner.join("none")).is_err_and(|error| error.what.contains("inner/none")));
    }

    #[test]
    fn backing_owner_every_folder_behind_every_link_counts() {
        let Place { folder, inner, file } = place();
        // other/c.toml -> between/c.toml -> inner/c.toml
        let [other, between] = ["other", "between"].map(|name| folder.path().join(name));
        for folder in [&other, &between] {
            fs::create_dir(folder).expect("ours");
            set(folder, 0o755);
        }
        symlink(&file, between.join("c.toml")).expect("ours");
        symlink("../between/./c.toml", other.join("c.toml")).expect("ours");
        let named = other.join("c.toml");
        assert_eq!(check_file(&named), Ok(()));
        for folder in [&other, &between, &inner] {
            set(folder, 0o777);
            let error = check_file(&named).expect_err("others can change the link, or what it leads to");
            assert!(error.what.contains(&format!(" {} (mode", folder.display())), "{error}");
            set(folder, 0o755);
        }
        symlink("round", other.join("round")).expect("ours");
        assert!(check_file(&other.join("round")).is_err_and(|error| error.what.contains("too many links")));
    }

    #[test]
    fn backing_owner_a_folder_to_write_to_must_be_closed_to_others_even_if_it_is_sticky() {
        let Place { folder, inner, .. } = place();
        assert_eq!(check_folder(&inner), Ok(()));
        for mode in [0o1777, 0o777, 0o775] {
            set(&inner, mode);
            assert!(check_folder(&inner).is_err_and(|error| error.next.ends_with("/inner")), "{mode:o}");
        }
        set(&inner, 0o755);
        set(folder.path(), 0o1777);
        assert_eq!(check_folder(&inner), Ok(()), "further up the sticky bit keeps it in its place");
        assert_eq!(check_folder(&inner.join("..").join("inner")), Ok(()));
        assert!(check_folder(&inner.join("..")).is_err(), "it is the folder itself");
    }

    #[test]
    fn backing_owner_a_file_of_another_user_is_refused() {
        let Place { folder: _folder, file, .. } = place();
        if !rustix::process::geteuid().is_root() {
            // There is no file of a third user here: this user's files are its own, or root's.
            assert_eq!(check_file(&file), Ok(()));
            return;
        }
        std::os::unix::fs::chown(&file, Some(65_534), None).expect("root may");
        let error = check_file(&file).expect_err("its owner can write to it");
        assert!(error.what.contains("belongs to another user (number 65534)"), "{error}");
    }
}
