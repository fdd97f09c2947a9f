//! Whether p11-kit offers the backing module to applications, too (pkcs11.conf(5)).
//!
//! A login belongs to a process and a token, not to the caller that made it. Suppose that an application has
//! Countersign with `[backing]` and p11-kit's proxy in one process, and that p11-kit offers the backing
//! module. Then the application can use the backing token through the engine's login.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use countersign::shell::config;

use super::checks::{Check, State};

/// The greatest length of a module's file. A larger file is none.
const FILE_MAX: u64 = 64 << 10;

/// What p11-kit's configuration says about the module at `backing`, if anything.
pub(super) fn check(backing: &Path) -> Option<Check> {
    let own = config::user_folder().map(|folder| folder.join("pkcs11/modules"));
    let folders = [PathBuf::from("/usr/share/p11-kit/modules"), PathBuf::from("/etc/pkcs11/modules")];
    finding(backing, &folders.into_iter().chain(own).collect::<Vec<_>>())
}

fn finding(backing: &Path, folders: &[PathBuf]) -> Option<Check> {
    let registered = registrations(folders).into_iter().find(|(_, module)| module.is(backing))?;
    let (name, Registration { file, programs, .. }) = registered;
    let whom = match &programs {
        Some(programs) => format!("for {programs}"),
        None => "for every application".into(),
    };
    Some(Check {
        subject: "p11-kit",
        state: State::Noted,
        finding: format!(
            "{} offers the backing module {whom}: one that loads p11-kit's proxy and, with [backing], Countersign in one process \
             uses the backing token under our login",
            file.display()
        ),
        next: Some(format!(
            "run the engine in \"countersign serve\", apart from applications; or keep them off the module by \"enable-in: p11tool\" \
             in /etc/pkcs11/modules/{}",
            name.to_string_lossy()
        )),
    })
}

/// A module as p11-kit sees it.
#[derive(Default)]
struct Registration {
    /// The last file that configures it.
    file: PathBuf,
    module: String,
    /// The only programs that get it.
    programs: Option<String>,
}

impl Registration {
    /// Whether this is the module at `backing`, and some program gets it. A relative path is one in p11-kit's
    /// own folder, where packages put links.
    fn is(&self, backing: &Path) -> bool {
        let module = Path::new(&self.module);
        if self.module.is_empty() || self.programs.as_deref() == Some("") {
            return false;
        }
        let file = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        if module.is_absolute() {
            file(module) == file(backing)
        } else {
            module.file_name() == backing.file_name()
        }
    }
}

/// The modules by the names of their files. A file in a later folder changes the keys that it has.
fn registrations(folders: &[PathBuf]) -> BTreeMap<OsString, Registration> {
    let mut modules: BTreeMap<OsString, Registration> = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "module") {
                continue;
            }
            let mut text = String::new();
            if !File::open(&path).is_ok_and(|file| file.take(FILE_MAX).read_to_string(&mut text).is_ok()) {
                continue;
            }
            let registration = modules.entry(entry.file_name()).or_default();
            registration.file = path;
            for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
                match key.trim() {
                    "module" => registration.module = value.trim().into(),
                    "enable-in" => registration.programs = Some(value.trim().into()),
                    _ => {}
                }
            }
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The finding with these files in the folders of the package and of the administrator.
    fn found(package: &[(&str, &str)], administrator: &[(&str, &str)]) -> Option<String> {
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        for (folder, files) in folders.iter().zip([package, administrator]) {
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).expect("written");
            }
        }
        let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path().into()).collect();
        let check = finding(Path::new("/usr/lib/softhsm/libsofthsm2.so"), &paths)?;
        assert!(
            check.state == State::Noted && check.next.is_some_and(|next| next.contains("countersign serve"))
        );
        Some(check.finding)
    }

    #[test]
    fn a_backing_module_that_p11_kit_offers_is_noted() {
        for text in [
            "module: /usr/lib/softhsm/libsofthsm2.so\n",
            "# SoftHSM\nmodule: libsofthsm2.so\npriority: 1\n",
            "  module :libsofthsm2.so",
        ] {
            let finding = found(&[("softhsm2.module", text)], &[]).expect("it is offered");
            assert!(
                finding.contains("softhsm2.module") && finding.contains("every application"),
                "{finding}"
            );
        }
        let only = found(&[("s.module", "module: libsofthsm2.so\nenable-in: p11tool")], &[]);
        assert!(only.is_some_and(|finding| finding.contains("for p11tool")));
        // The administrator's file takes precedence.
        let package = [("softhsm2.module", "module: libsofthsm2.so")];
        assert!(
            found(&package, &[("softhsm2.module", "enable-in: p11tool")])
                .is_some_and(|f| f.contains("p11tool"))
        );
    }

    #[test]
    fn a_module_that_p11_kit_does_not_offer_is_not_noted() {
        assert_eq!(found(&[], &[]), None);
        assert_eq!(found(&[("opensc.module", "module: opensc-pkcs11.so")], &[]), None);
        assert_eq!(found(&[("softhsm2.conf", "module: libsofthsm2.so")], &[]), None);
        let package = [("softhsm2.module", "module: libsofthsm2.so")];
        assert_eq!(found(&package, &[("softhsm2.module", "module:")]), None);
        assert_eq!(found(&package, &[("softhsm2.module", "enable-in:")]), None);
        assert_eq!(finding(Path::new("/m.so"), &["/nonexistent".into()]).map(|check| check.finding), None);
    }
}
