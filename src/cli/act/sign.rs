//! `countersign act sign`: an officer's signature of an act.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::file::ActFile;
use crate::error::CommandError;
use crate::new_file::NewFile;
use crate::officer::{KeyFile, KeyPair};
use crate::output::Report;

/// Sign an act as an officer.
///
/// The command shows what the act changes before it asks for your password. It needs no module and no network. The signature goes beside
/// the file, named by your key's id. "minisign -S" signs the same file as well, and "minisign -V" verifies it.
#[derive(Args)]
pub(crate) struct Sign {
    /// The file of the act
    file: PathBuf,
    /// Your encrypted secret key
    #[arg(long, value_name = "FILE")]
    secret_key: PathBuf,
    /// Read the password from this file (else COUNTERSIGN_OFFICER_PASSWORD, else a prompt)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// The key, after showing what is about to be signed: on standard error, because standard output is for the result.
pub(super) fn decrypt_after_showing(
    key: &Path,
    password_file: Option<&Path>,
    what: &str,
    act: &ActFile,
) -> Result<KeyPair, CommandError> {
    let key_file = KeyFile::read(key)?;
    eprintln!("You are about to sign {what}:\n{}", act.shown());
    act.warn_if_expired();
    key_file.decrypt(password_file)
}

impl Sign {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        let password_file = self.password_file.as_deref();
        let pair = decrypt_after_showing(&self.secret_key, password_file, "this act", &act)?;
        let path = act.signature_file("", &pair);
        let file = NewFile::create("signature", &path, 0o644)?;
        let signature = pair.sign(act.text.as_bytes(), &act.comment("act"))?;
        file.commit(signature.as_bytes())?;
        let text = format!(
            "{} is signed by {}.\nThe signature is {}.\n",
            act.path().display(),
            pair.officer,
            path.display()
        );
        let json = json!({
            "act": act.to_json(),
            "key_id": pair.officer.id().to_string(),
            "public_key": pair.officer.line(),
            "signature_file": path.display().to_string(),
        });
        Ok(Report::new(text, json).note("next: send the signature to whoever proposes the act"))
    }
}
