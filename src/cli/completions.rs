//! `countersign completions`: the script with which a shell completes this command line.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use crate::Cli;
use crate::error::CommandError;
use crate::output::Report;

/// Print the completion script for a shell.
///
/// The Debian package installs all three. Without it, redirect the output to the shell's own folder.
#[derive(Args)]
#[command(after_help = "In bash: source <(countersign completions bash)")]
pub(crate) struct Completions {
    /// The shell
    shell: Known,
}

/// The shells that are tested.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let (shell, script) = self.script();
        let json = json!({ "shell": shell.to_string(), "script": script });
        Ok(Report::new(script, json))
    }

    fn script(&self) -> (Shell, String) {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
        (shell, String::from_utf8(script).expect("names and help of this program are UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn bash_zsh_and_fish_are_known_and_nothing_else() {
        for shell in Known::value_variants() {
            let name = shell.to_possible_value().expect("none is hidden");
            assert!(Cli::try_parse_from(["countersign", "completions", name.get_name()]).is_ok());
            let script = Completions { shell: *shell }.script().1;
            assert!(script.contains("issuer") && script.contains("so-pin-file"), "{script}");
        }
        assert_eq!(Known::value_variants().len(), 3);
        assert!(Cli::try_parse_from(["countersign", "completions", "elvish"]).is_err());
    }
}
