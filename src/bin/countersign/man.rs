//! `countersign man`: the manual pages of section 1, made from what `--help` says. For packaging.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use serde_json::json;

use crate::Cli;
use crate::error::CommandError;
use crate::output::Report;

/// Write a manual page for this program and one for each verb into a folder.
#[derive(Args)]
pub(crate) struct Man {
    /// The folder, which must be there
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let mut program = Cli::command().disable_help_subcommand(true);
        // Names of verbs and options of all verbs are handed down by this.
        program.build();
        write_pages(&program, &self.folder).map_err(|reason| {
            CommandError::new(
                format!("the manual pages cannot be written to {}: {reason}", self.folder.display()),
                "name a folder that is there and that you may write to",
            )
        })?;
        let folder = self.folder.display().to_string();
        Ok(Report::new(format!("The manual pages are in {folder}.\n"), json!({ "folder": folder })))
    }
}

/// The page of `command`, and those of the verbs below it. What is hidden has none.
fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone())
        .source(concat!("countersign ", env!("CARGO_PKG_VERSION")))
        .manual("Countersign")
        .generate_to(folder)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| write_pages(verb, folder))
}
