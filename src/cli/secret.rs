//! PINs and codes: from a file, or else from the environment, or else from a prompt. Never from an argument,
//! where every process of the machine could read them.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::error::CommandError;

/// A secret's text. Zeroized on drop.
pub(crate) type Secret = Zeroizing<String>;

/// The sources of one kind of secret.
pub(crate) struct Origin {
    /// Its name in a prompt, for example "SO PIN".
    pub(crate) name: &'static str,
    /// The option with a file.
    option: &'static str,
    /// The environment variable.
    variable: &'static str,
}

pub(crate) const SO_PIN: Origin =
    Origin { name: "SO PIN", option: "--so-pin-file", variable: "COUNTERSIGN_SO_PIN" };
/// The secret on which officers agreed, which becomes the SO PIN.
pub(crate) const HEIR: Origin =
    Origin { name: "secret of the next SO PIN", option: "--so-pin-file", variable: "COUNTERSIGN_SO_PIN" };
pub(crate) const USER_PIN: Origin =
    Origin { name: "user PIN", option: "--user-pin-file", variable: "COUNTERSIGN_USER_PIN" };
pub(crate) const CODE: Origin =
    Origin { name: "one-time code", option: "--code-file", variable: "COUNTERSIGN_CODE" };
/// The code after it.
pub(crate) const SECOND_CODE: Origin =
    Origin { name: "next one-time code", option: "--second-code-file", variable: "COUNTERSIGN_SECOND_CODE" };
pub(crate) const OFFICER_PASSWORD: Origin = Origin {
    name: "password of the officer's key",
    option: "--password-file",
    variable: "COUNTERSIGN_OFFICER_PASSWORD",
};

/// The SO's PIN, for verbs that only the SO may use.
#[derive(Args)]
pub(crate) struct SoPin {
    /// Read the SO PIN from this file (else COUNTERSIGN_SO_PIN, else a prompt)
    #[arg(long, value_name = "FILE")]
    pub(crate) so_pin_file: Option<PathBuf>,
}

/// The user's PIN, for verbs that only the User role may use.
#[derive(Args)]
pub(crate) struct UserPin {
    /// Read the user PIN from this file (else COUNTERSIGN_USER_PIN, else a prompt)
    #[arg(long, value_name = "FILE")]
    pub(crate) user_pin_file: Option<PathBuf>,
}

/// Either PIN, for verbs that both roles may use.
#[derive(Args)]
pub(crate) struct EitherPin {
    /// Log in as user with the PIN in this file (else COUNTERSIGN_USER_PIN, else the SO's, else a prompt)
    #[arg(long, value_name = "FILE", conflicts_with = "so_pin_file")]
    pub(crate) user_pin_file: Option<PathBuf>,
    /// Log in as SO with the PIN in this file (else COUNTERSIGN_SO_PIN)
    #[arg(long, value_name = "FILE")]
    pub(crate) so_pin_file: Option<PathBuf>,
}

/// A user's one-time code.
#[derive(Args)]
pub(crate) struct CodeFile {
    /// Read the code from this file (else COUNTERSIGN_CODE, else a prompt)
    #[arg(long, value_name = "FILE")]
    pub(crate) code_file: Option<PathBuf>,
}

/// Whether and where a person can be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// On standard input, if that is a terminal.
    OnStdin,
    /// On the controlling terminal, if there is one, because standard input carries something else.
    OnTerminal,
}

impl Origin {
    /// The secret, from the first source that has it.
    pub(crate) fn obtain(&self, file: Option<&Path>, ask: Ask) -> Result<Secret, CommandError> {
        match self.given(file)? {
            Some(secret) => Ok(secret),
            None => self.prompt(self.name, ask),
        }
    }

    /// A secret that is being chosen: a prompt asks twice.
    pub(crate) fn choose(&self, file: Option<&Path>) -> Result<Secret, CommandError> {
        if let Some(secret) = self.given(file)? {
            return Ok(secret);
        }
        let first = self.prompt(&format!("New {}", self.name), Ask::OnStdin)?;
        let second = self.prompt(&format!("New {} again", self.name), Ask::OnStdin)?;
        if *first == *second {
            return Ok(first);
        }
        Err(CommandError::new(
            format!("the two entries of the {} differ", self.name),
            "run the command again",
        ))
    }

    /// The secret from its file, if one is named.
    pub(crate) fn in_file(&self, file: Option<&Path>) -> Result<Option<Secret>, CommandError> {
        file.map(|path| read_file(self, path)).transpose()
    }

    /// The secret from the environment, if it is set.
    pub(crate) fn in_environment(&self) -> Result<Option<Secret>, CommandError> {
        let Some(value) = std::env::var_os(self.variable) else { return Ok(None) };
        let text = value.into_string().map_err(|_| {
            CommandError::new(format!("{} is not UTF-8", self.variable), "set it again, or unset it")
        })?;
        if text.is_empty() {
            return Err(CommandError::new(
                format!("{} is set, but empty", self.variable),
                format!("set it to the {}, or unset it", self.name),
            ));
        }
        Ok(Some(Secret::new(text)))
    }

    fn given(&self, file: Option<&Path>) -> Result<Option<Secret>, CommandError> {
        match self.in_file(file)? {
            Some(secret) => Ok(Some(secret)),
            None => self.in_environment(),
        }
    }

    fn prompt(&self, prompt: &str, ask: Ask) -> Result<Secret, CommandError> {
        let next = format!("name a file with {} or set {}", self.option, self.variable);
        if ask == Ask::OnStdin && !std::io::stdin().is_terminal() {
            return Err(CommandError::new(
                format!("the command needs the {}, and has no terminal to ask for it", self.name),
                next,
            ));
        }
        let typed = rpassword::prompt_password(format!("{prompt}: ")).map_err(|reason| {
            CommandError::new(format!("cannot ask for the {}: {reason}", self.name), next.clone())
        })?;
        if typed.is_empty() {
            return Err(CommandError::new(format!("no {} was given", self.name), next));
        }
        Ok(Secret::new(typed))
    }
}

/// Longer than any PIN or code, so a larger file is a mistake.
const FILE_MAX: u64 = 4096;

/// The file's text without its line end.
fn read_file(origin: &Origin, path: &Path) -> Result<Secret, CommandError> {
    let failed = |why: &str| {
        CommandError::new(
            format!("cannot read the {} from {}: {why}", origin.name, path.display()),
            format!("check the file that {} names", origin.option),
        )
    };
    let file = File::open(path).map_err(|reason| failed(&reason.to_string()))?;
    if let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.permissions().mode() & 0o077 != 0
    {
        eprintln!("warning: others can read {0}; next: chmod 600 {0}", path.display());
    }
    // Allocated at once, because a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 1));
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|reason| failed(&reason.to_string()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(failed("it is larger than 4096 bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed("it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(failed("it is empty"));
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<Secret, CommandError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), content).expect("written");
        read_file(&SO_PIN, file.path())
    }

    #[test]
    fn one_line_end_is_stripped_and_nothing_else() {
        for (content, secret) in [
            (&b"1234"[..], "1234"),
            (b"1234\n", "1234"),
            (b"1234\r\n", "1234"),
            (b" 12 34 \n", " 12 34 "),
            (b"1234\n\n", "1234\n"),
        ] {
            assert_eq!(from_file(content).map(|s| s.to_string()).ok().as_deref(), Some(secret));
        }
    }

    #[test]
    fn files_that_hold_no_secret_are_errors() {
        for content in [&b""[..], b"\n", b"\xff\xfe", &[b'x'; 4097]] {
            let error = from_file(content).expect_err("refused");
            assert!(error.what.contains("SO PIN") && error.next.contains("--so-pin-file"));
        }
        assert!(read_file(&CODE, Path::new("/nonexistent/code")).is_err());
    }

    #[test]
    fn no_secret_is_in_an_error() {
        let error = from_file(b"geheim\xff").expect_err("refused");
        assert!(!format!("{error:?}").contains("geheim"));
    }
}
