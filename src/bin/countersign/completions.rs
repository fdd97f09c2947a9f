//! `countersign completions`: what a shell needs to complete this command line.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use crate::Cli;
use crate::error::CommandError;
use crate::output::Report;

/// Print the script by which a shell completes this command line.
///
/// The Debian package has all three in their places. Without it, redirect the output to the shell's own folder.
#[derive(Args)]
#[command(after_help = "In bash: source <(countersign completions bash)")]
pub(crate) struct Completions {
    /// The shell
    shell: Known,
}

/// The shells that this is tested with.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let (shell, name) = match self.shell {
            Known::Bash => (Shell::Bash, "bash"),
            Known::Zsh => (Shell::Zsh, "zsh"),
            Known::Fish => (Shell::Fish, "fish"),
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
        let json = json!({ "shell": name, "script": String::from_utf8_lossy(&script) });
        Ok(Report::raw(script, json))
    }
}
