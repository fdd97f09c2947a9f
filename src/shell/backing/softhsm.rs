//! Explains failures of SoftHSM2. It answers `CKR_GENERAL_ERROR` if it cannot read its configuration or its
//! token folder, and leaves out a token whose file a kill tore during a login.
//!
//! This code looks at that file and folder as SoftHSM2 would (softhsm2.conf(5)), and only after SoftHSM2 has
//! failed.

use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names its configuration.
const CONF_VARIABLE: &str = "SOFTHSM2_CONF";
const SYSTEM_CONF: &str = "/etc/softhsm/softhsm2.conf";
const DEFAULT_FOLDER: &str = "/var/lib/softhsm/tokens";

/// Whether the module at `path` is SoftHSM2, recognised by the variable that it reads: a module that does not
/// start cannot give its name.
pub(super) fn is_softhsm(path: &Path) -> bool {
    let name = CONF_VARIABLE.as_bytes();
    fs::read(path).is_ok_and(|module| module.windows(name.len()).any(|window| window == name))
}

/// The reason why the SoftHSM2 at `module` does not start. `None` if it is another module.
pub(super) fn why_it_does_not_start(module: &Path) -> Option<String> {
    is_softhsm(module).then(|| {
        let conf = Configuration::locate();
        match conf.folder().and_then(|folder| list(&folder).map(|_| folder)) {
            Ok(folder) => format!(
                "SoftHSM2 does not start, though its configuration {conf} and its folder {} can be read: look for what it \
                 logged (syslog)",
                folder.display()
            ),
            Err(Unreadable { path, problem }) if path == conf.path => format!(
                "SoftHSM2 cannot read its configuration {conf}: {problem}. Set {CONF_VARIABLE} to a file that this user \
                 ({}) can read",
                rustix::process::getuid().as_raw()
            ),
            Err(Unreadable { path, problem }) => format!(
                "SoftHSM2 cannot read its folder {} (directories.tokendir in {conf}): {problem}. Correct {CONF_VARIABLE} or \
                 that line, or make this user ({}) the folder's owner",
                path.display(),
                rustix::process::getuid().as_raw()
            ),
        }
    })
}

/// Where SoftHSM2 looks for its tokens, and which of them it leaves out: those whose serial numbers are not
/// in `listed`.
pub(super) fn where_it_looked(listed: &[&str]) -> String {
    let conf = Configuration::locate();
    let Ok(folder) = conf.folder() else { return format!("its configuration is {conf} ({CONF_VARIABLE})") };
    let left_out = |token: &String| serial_of(token).is_some_and(|serial| !listed.contains(&serial.as_str()));
    let token = list(&folder).unwrap_or_default().into_iter().find(left_out).map(|token| folder.join(token));
    match token.map(|token| (fs::File::open(token.join("token.object")).err(), token)) {
        Some((Some(problem), token)) if problem.kind() == std::io::ErrorKind::PermissionDenied => {
            not_for_this_user(&token, &problem)
        }
        Some((_, token)) => format!(
            "SoftHSM2 leaves out {}, whose token.object is damaged: a kill during a login can do that. Stop whatever uses \
             the token and restore that folder from its backup; do not make a new token in its place, and delete nothing",
            token.display()
        ),
        None => format!(
            "SoftHSM2 looks in {} (its configuration is {conf}, {CONF_VARIABLE}). If the token was there, restore its folder \
             from its backup; do not make a new token in its place",
            folder.display()
        ),
    }
}

fn not_for_this_user(token: &Path, problem: &std::io::Error) -> String {
    format!(
        "SoftHSM2 leaves out {}, which this user ({}) cannot read: {problem}. Run this as the folder's owner, or give this user \
         the folder and all in it",
        token.display(),
        rustix::process::getuid().as_raw()
    )
}

/// SoftHSM2's configuration.
struct Configuration {
    path: PathBuf,
}

struct Unreadable {
    path: PathBuf,
    problem: std::io::Error,
}

impl Configuration {
    fn locate() -> Configuration {
        if let Some(named) = std::env::var_os(CONF_VARIABLE) {
            return Configuration { path: named.into() };
        }
        let own =
            std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/softhsm2/softhsm2.conf"));
        Configuration { path: own.filter(|path| path.exists()).unwrap_or_else(|| SYSTEM_CONF.into()) }
    }

    fn folder(&self) -> Result<PathBuf, Unreadable> {
        let unreadable = |problem| Unreadable { path: self.path.clone(), problem };
        Ok(folder_in(&fs::read_to_string(&self.path).map_err(unreadable)?))
    }
}

impl std::fmt::Display for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The token folder in a configuration.
fn folder_in(text: &str) -> PathBuf {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(name, value)| (name.trim() == "directories.tokendir").then(|| value.trim().into()))
        .unwrap_or_else(|| DEFAULT_FOLDER.into())
}

/// The folders in the token folder.
fn list(folder: &Path) -> Result<Vec<String>, Unreadable> {
    let unreadable = |problem| Unreadable { path: folder.into(), problem };
    let entries = fs::read_dir(folder).map_err(unreadable)?.filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// The serial number of the token in a folder with this name. The name is a UUID, and the serial number its
/// last 16 digits.
fn serial_of(folder: &str) -> Option<String> {
    let digits: String = folder.chars().filter(|character| *character != '-').collect();
    let is_uuid = digits.len() == 32 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    is_uuid.then(|| digits[16..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_that_the_configuration_names() {
        let text = "# directories.tokendir = /no\nobjectstore.backend = file\ndirectories.tokendir =  /a b/tokens \n";
        assert_eq!(folder_in(text), Path::new("/a b/tokens"));
        assert_eq!(folder_in("log.level = ERROR\n"), Path::new(DEFAULT_FOLDER));
    }

    #[test]
    fn a_token_that_this_user_cannot_read_is_not_called_damaged() {
        let words = not_for_this_user(Path::new("/t/1"), &std::io::ErrorKind::PermissionDenied.into());
        assert!(words.contains("/t/1") && words.contains("owner"), "{words}");
        assert!(!words.contains("damaged") && !words.contains("backup"), "{words}");
    }

    #[test]
    fn the_serial_of_a_token_is_read_from_its_folders_name() {
        assert_eq!(serial_of("b5a7ad64-6f39-3a49-58d6-79a9a4b3ff1e").as_deref(), Some("58d679a9a4b3ff1e"));
        assert_eq!(serial_of("lost+found"), None);
        assert_eq!(serial_of("b5a7ad64-6f39-3a49-58d6-79a9a4b3ff1"), None);
    }
}
