//! `countersign act show`: what an act changes.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::file::ActFile;
use crate::error::CommandError;
use crate::output::Report;

/// Show what an act changes, old beside new.
///
/// Everything comes from the file, which carries the document in force and the new one. The boundary carries the act out only if nobody has
/// changed its subject since it was written: then the act is void for ever, even if the same document is in force again. The line "seen" is
/// what its proposer claims to have seen of the audit; the boundary does not check it.
#[derive(Args)]
pub(crate) struct Show {
    /// The file of the act
    file: PathBuf,
}

impl Show {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let file = ActFile::read(&self.file)?;
        file.warn_if_expired();
        Ok(Report::new(file.shown(), json!({ "act": file.to_json() })))
    }
}
