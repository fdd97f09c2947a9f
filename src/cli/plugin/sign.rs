//! `countersign plugin sign`: an officer's signature of a release.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use countersign::paths::with_suffix;
use countersign_plugin::{self as plugin, Manifest};
use serde_json::json;

use super::{manifest_json, manifest_lines, refused};
use crate::error::CommandError;
use crate::new_file::NewFile;
use crate::officer::{KeyFile, KeyPair};
use crate::output::{Report, details};

/// Sign the manifest beside a library.
///
/// The command hashes your library, compares it with the manifest, and shows what you sign before it asks for your password. Build the
/// library yourself (softhsm/reproduce.sh): only then does your signature add anything. The signature goes beside the manifest, named by
/// your key's id; "minisign -V" verifies it.
#[derive(Args)]
pub(crate) struct Sign {
    /// Your encrypted secret key
    #[arg(long, value_name = "FILE")]
    secret_key: PathBuf,
    /// The library that you built
    #[arg(long, value_name = "FILE")]
    library: PathBuf,
    /// Read the password from this file (else COUNTERSIGN_OFFICER_PASSWORD, else a prompt)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Sign {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let (bytes, manifest) = plugin::read_manifest(&self.library).map_err(refused)?;
        plugin::read_library(&self.library, &manifest).map_err(not_what_the_manifest_says)?;
        check_sbom(&self.library, &manifest)?;
        let key_file = KeyFile::read(&self.secret_key)?;
        // On standard error, before the password, because standard output is for the result.
        eprint!("You are about to sign:\n{}", details(&manifest_lines(&manifest)));
        let pair = key_file.decrypt(self.password_file.as_deref())?;
        let path = signature_file(&self.library, &pair);
        let file = NewFile::create("signature", &path, 0o644)?;
        let signature = pair.sign(&bytes, &comment(&self.library, &manifest))?;
        file.commit(signature.as_bytes())?;
        let text = format!(
            "Version {} is signed by {}.\nThe signature is {}.\n",
            manifest.version(),
            pair.officer,
            path.display()
        );
        let json = json!({
            "manifest": manifest_json(&manifest),
            "key_id": pair.officer.id().to_string(),
            "public_key": pair.officer.line(),
            "signature_file": path.display().to_string(),
        });
        Ok(Report::new(text, json).note("next: send the signature to whoever installs the release"))
    }
}

/// The bill of materials beside the library must be the manifest's, if the manifest names one.
fn check_sbom(library: &Path, manifest: &Manifest) -> Result<(), CommandError> {
    let Some(signed) = manifest.sbom() else { return Ok(()) };
    let file = plugin::sbom_file(library);
    match plugin::sbom_digest(library).map_err(refused)? {
        Some(found) if found == signed => Ok(()),
        Some(found) => Err(CommandError::new(
            format!(
                "the bill of materials {} does not match the manifest: its sha256 is {found}, the manifest says {signed}; nothing was signed",
                file.display()
            ),
            "make it with softhsm/reproduce.sh. If it still differs, do not sign: ask the officer who made the manifest",
        )),
        None => Err(CommandError::new(
            format!(
                "the manifest names a bill of materials, and {} is missing; nothing was signed",
                file.display()
            ),
            "make it with softhsm/reproduce.sh, which puts it beside the library",
        )),
    }
}

fn not_what_the_manifest_says(error: plugin::PluginError) -> CommandError {
    match &error {
        plugin::PluginError::Digest { .. } => CommandError::new(
            format!("{error}; nothing was signed"),
            "build the library of that version with softhsm/reproduce.sh. If it still differs, do not sign: ask the \
             officer who made the manifest",
        ),
        _ => refused(error),
    }
}

/// The path of this key's signature.
fn signature_file(library: &Path, pair: &KeyPair) -> PathBuf {
    with_suffix(&plugin::manifest_file(library), format!(".{}.minisig", pair.officer.id()))
}

/// The signature's comment, which is signed with it. It has one line.
fn comment(library: &Path, manifest: &Manifest) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let file = plugin::manifest_file(library);
    let file = file.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "timestamp:{seconds}\tfile:{}\tversion:{}\tsha256:{}",
        file.escape_debug(),
        manifest.version(),
        manifest.digest()
    )
}
