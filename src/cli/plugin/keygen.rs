//! `countersign plugin keygen`: a key pair in minisign's format for an officer.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::error::CommandError;
use crate::new_file::NewFile;
use crate::officer::KeyPair;
use crate::output::{Report, details};
use crate::secret::{OFFICER_PASSWORD, Secret};

/// Make an officer's key pair.
///
/// Each officer does this once, on their own machine. The command encrypts the secret key under a password (scrypt); the key leaves that
/// machine only as a backup. The line of the public key goes into the boundary's configuration, under [plugin] officers. Keys made by
/// "minisign -G" work as well. The command overwrites no file.
#[derive(Args)]
pub(crate) struct Keygen {
    /// Where the encrypted secret key goes (mode 600)
    #[arg(long, value_name = "FILE")]
    secret_key: PathBuf,
    /// Where the public key goes
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// Read the password from this file (else COUNTERSIGN_OFFICER_PASSWORD, else a prompt)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Keygen {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        NewFile::try_out("secret key", &self.secret_key, 0o600)?;
        NewFile::try_out("public key", &self.public_key, 0o644)?;
        let password = OFFICER_PASSWORD.choose(self.password_file.as_deref())?;
        check_length(&password)?;
        let (officer, public, secret) = KeyPair::generate(&password)?;
        let secret_file = NewFile::create("secret key", &self.secret_key, 0o600)?;
        let public_file = NewFile::create("public key", &self.public_key, 0o644)?;
        secret_file.commit(secret.as_bytes())?;
        public_file.commit(public.as_bytes())?;
        let text = details(&[
            ("key id", officer.id().to_string()),
            ("public key", officer.line().into()),
            ("secret key", format!("{}, encrypted under the password", self.secret_key.display())),
        ]);
        let json = json!({ "officer": {
            "key_id": officer.id().to_string(),
            "public_key": officer.line(),
            "secret_key_file": self.secret_key.display().to_string(),
            "public_key_file": self.public_key.display().to_string(),
        } });
        Ok(Report::new(text, json).note(
            "next: put the public key under [plugin] officers in the boundary's configuration; keep a copy of the secret key",
        ))
    }
}

/// minisign's own prompt could not take a longer password.
fn check_length(password: &Secret) -> Result<(), CommandError> {
    const MAX: usize = 1024;
    if password.len() <= MAX {
        return Ok(());
    }
    Err(CommandError::new(
        format!("the password has more than {MAX} bytes; nothing was made"),
        "choose a shorter one: minisign accepts no longer password",
    ))
}
