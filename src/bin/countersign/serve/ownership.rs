//! Whose a file is: what decides who may connect, and which officers count, nobody else may be able to change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::CommandError;

/// Only root and the user that runs this can change `file`, or put another one in its place.
pub(super) fn check(file: &Path) -> Result<(), CommandError> {
    let unseen = |error: std::io::Error| {
        CommandError::new(
            format!("the configuration {}: {error}", file.display()),
            "let the user who runs the boundary read it, or name another file by --config or COUNTERSIGN_CONF",
        )
    };
    let whole = fs::canonicalize(file).map_err(unseen)?;
    judge(&whole)?;
    // Where it is, and, if it was named by a link, where that is.
    let named_in = fs::canonicalize(file.parent().unwrap_or(Path::new("/"))).map_err(unseen)?;
    whole.ancestors().skip(1).chain(named_in.ancestors()).try_for_each(judge)
}

fn judge(place: &Path) -> Result<(), CommandError> {
    let found = fs::metadata(place).map_err(|error| {
        CommandError::new(
            format!("{} cannot be looked at: {error}", place.display()),
            "let the user who runs the boundary reach its configuration",
        )
    })?;
    let place = place.display();
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(CommandError::new(
            format!(
                "{place} belongs to another user (number {}), who could change what the boundary does",
                found.uid()
            ),
            format!("look at what it says, then: chown root {place}"),
        ));
    }
    // The sticky bit keeps in its place what is others' (`/tmp`).
    let kept = found.is_dir() && found.mode() & 0o1000 != 0;
    if found.mode() & 0o022 != 0 && !kept {
        return Err(CommandError::new(
            format!(
                "{place} can be written by others (mode {:o}), who could change what the boundary does",
                found.mode() & 0o7777
            ),
            format!("look at what it says, then: chmod go-w {place}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_others_can_change_is_told_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("ours");
        let file = inner.join("c.toml");
        fs::write(&file, "").expect("ours");
        let set =
            |place: &Path, mode| fs::set_permissions(place, Permissions::from_mode(mode)).expect("ours");
        set(&inner, 0o755);
        for (mode, wrong) in [(0o600, false), (0o644, false), (0o755, false), (0o664, true), (0o602, true)] {
            set(&file, mode);
            let found = check(&file).err();
            assert_eq!(found.is_some(), wrong, "{mode:o}");
            assert!(found.is_none_or(|error| error.next.ends_with("inner/c.toml")), "{mode:o}");
        }
        set(&file, 0o644);
        for (mode, wrong) in [(0o700, false), (0o1777, false), (0o770, true), (0o707, true)] {
            set(&inner, mode);
            let found = check(&file).err();
            assert_eq!(found.is_some(), wrong, "{mode:o}");
            assert!(found.is_none_or(|error| error.next.ends_with("/inner")), "{mode:o}");
        }
        // A file with a sticky bit is a file.
        set(&inner, 0o755);
        set(&file, 0o1666);
        assert!(check(&file).is_err());
        set(&file, 0o644);
        // The folder of a link to it counts as well.
        let other = folder.path().join("other");
        fs::create_dir(&other).expect("ours");
        symlink(&file, other.join("c.toml")).expect("ours");
        set(&other, 0o755);
        assert!(check(&other.join("c.toml")).is_ok());
        set(&other, 0o777);
        assert!(check(&other.join("c.toml")).is_err());
        assert!(check(&inner.join("none")).is_err_and(|error| error.what.contains("inner/none")));
    }
}
