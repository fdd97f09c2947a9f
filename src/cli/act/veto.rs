//! `countersign act veto`: an officer's word that ends a proposal.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;
use countersign::kernel::proposal::veto_text;
use countersign::paths::with_suffix;
use serde_json::json;

use super::file::ActFile;
use super::sign::OfficersKey;
use crate::error::CommandError;
use crate::new_file::NewFile;
use crate::output::Report;

/// Veto an act as an officer.
///
/// One officer's veto ends an act for ever, until it is carried out. A veto is a signature of a short text of its own, which names the act:
/// no signature of an act is a veto, and none of a veto is one of the act.
#[derive(Args)]
pub(crate) struct Veto {
    /// The file of the act
    file: PathBuf,
    /// Write the text of the veto and its signature beside the file, and send nothing
    #[arg(long, required = true)]
    sign_only: bool,
    #[command(flatten)]
    key: OfficersKey,
}

const SUFFIX: &str = ".veto";

impl Veto {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let act = ActFile::read(&self.file)?;
        let text = veto_text(&act.act).map_err(|error| {
            CommandError::new(error.to_string(), "name the file of an act, as the boundary wrote it")
        })?;
        let pair = self.key.after_showing("a veto against this act", &act)?;
        let (text_file, path) = (with_suffix(act.path(), SUFFIX), act.signature_file(SUFFIX, &pair));
        let file = NewFile::create("signature", &path, 0o644)?;
        write_text(&text_file, &text)?;
        let signature = pair.sign(text.as_bytes(), &act.comment("veto"))?;
        file.commit(signature.as_bytes())?;
        let told = format!(
            "{} is vetoed by {}.\nThe veto is {}, its signature is {}.\n",
            act.path().display(),
            pair.officer,
            text_file.display(),
            path.display()
        );
        let json = json!({
            "act": act.to_json(),
            "key_id": pair.officer.id().to_string(),
            "public_key": pair.officer.line(),
            "veto_file": text_file.display().to_string(),
            "signature_file": path.display().to_string(),
        });
        Ok(Report::new(told, json).note("next: send the signature to the boundary; nothing has ended yet"))
    }
}

/// Each officer who vetoes on this machine signs the same text.
fn write_text(path: &Path, text: &str) -> Result<(), CommandError> {
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => Ok(()),
        Err(reason) if reason.kind() != ErrorKind::NotFound => Err(CommandError::new(
            format!("cannot read the veto {}: {reason}; nothing was signed", path.display()),
            "move that file away",
        )),
        _ => NewFile::create("veto", path, 0o644)?.commit(text.as_bytes()),
    }
}
