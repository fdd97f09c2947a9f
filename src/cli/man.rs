//! `countersign man`: the manual pages of section 1, generated from the help texts. For packaging.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use serde_json::json;

use crate::Cli;
use crate::error::CommandError;
use crate::output::Report;

/// Write a manual page for this program and one for each verb into a folder.
#[derive(Args)]
pub(crate) struct Man {
    /// The folder, which must exist
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let mut program = Cli::command().disable_help_subcommand(true);
        // This passes names and global options down to all verbs.
        program.build();
        write_pages(&program, &self.folder).map_err(|reason| {
            CommandError::new(
                format!("cannot write the manual pages to {}: {reason}", self.folder.display()),
                "name an existing folder that you may write to",
            )
        })?;
        let folder = self.folder.display().to_string();
        Ok(Report::new(format!("The manual pages are in {folder}.\n"), json!({ "folder": folder })))
    }
}

/// The page of `command`, and those of its subcommands. Hidden commands have none.
fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone())
        .source(concat!("countersign ", env!("CARGO_PKG_VERSION")))
        .manual("Countersign")
        .generate_to(folder)?;
    command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .try_for_each(|verb| write_pages(verb, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_that_is_shown_has_its_page() {
        let folder = tempfile::tempdir().expect("a folder");
        Man { folder: folder.path().into() }.run().expect("written");
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name));
        for name in
            ["countersign.1", "countersign-user.1", "countersign-user-add.1", "countersign-completions.1"]
        {
            let page = page(name).expect(name);
            assert!(page.contains(env!("CARGO_PKG_VERSION")), "{name}: {page}");
        }
        assert!(page("countersign-user-add.1").expect("above").contains(r"\-\-issuer"));
        assert!(page("countersign-man.1").is_err(), "it is hidden");
        let missing = folder.path().join("missing");
        let error = Man { folder: missing.clone() }.run().err().expect("there is no such folder");
        assert!(error.what.contains(missing.to_str().expect("UTF-8")), "{error}");
    }
}
