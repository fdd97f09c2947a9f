//! Reads the command line: the verb, or the reason why none runs.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::Cli;
use crate::output::print_json;

/// The exit status of wrong usage.
const WRONG_USAGE: u8 = 2;

/// A command line that runs no verb: a request for help, or wrong usage.
pub(crate) struct Ended {
    error: Error,
    /// Whether it asks for JSON.
    json: bool,
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Ended> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    Cli::try_parse_from(&arguments).map_err(|error| {
        // After "--" nothing is an option.
        let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
        Ended { error, json }
    })
}

impl Ended {
    /// Prints it in the requested form, and chooses the exit status.
    pub(crate) fn print(self) -> ExitCode {
        let status = if self.is_asked_for() { ExitCode::SUCCESS } else { ExitCode::from(WRONG_USAGE) };
        let written = if self.json { print_json(&self.to_json()) } else { self.error.print() };
        // If nobody reads it, there is nobody to tell.
        let _ = written;
        status
    }

    /// Whether help or the version was requested.
    fn is_asked_for(&self) -> bool {
        matches!(self.error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
    }

    fn to_json(&self) -> Value {
        let text = self.error.render().to_string();
        match self.error.kind() {
            ErrorKind::DisplayHelp => json!({ "help": text.trim_end() }),
            ErrorKind::DisplayVersion => json!({ "version": env!("CARGO_PKG_VERSION") }),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                error("no verb is named", &format!("name one of these\n{}", text.trim_end()))
            }
            _ => {
                let (what, next) = split(&text);
                error(&what, &next)
            }
        }
    }
}

/// In the form of every error.
fn error(what: &str, next: &str) -> Value {
    json!({ "error": { "what": what, "rv": null, "rule": null, "next": next } })
}

/// The first paragraph says what is wrong and with which option. The others say what is possible.
fn split(text: &str) -> (String, String) {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    (one_line(what), one_line(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Every verb, as it is typed.
    pub(crate) fn verbs() -> Vec<String> {
        fn collect(command: &clap::Command, typed: &str, verbs: &mut Vec<String>) {
            for verb in command.get_subcommands() {
                let typed = format!("{typed} {}", verb.get_name());
                collect(verb, &typed, verbs);
                if !verb.has_subcommands() {
                    verbs.push(typed.trim_start().to_owned());
                }
            }
        }
        let mut verbs = Vec::new();
        collect(&Cli::command(), "", &mut verbs);
        verbs
    }

    /// The integration test runs every verb that exists.
    #[test]
    fn the_list_of_verbs_is_complete() {
        let listed: Vec<&str> = include_str!("../../tests/vectors/verbs.txt").lines().collect();
        assert_eq!(verbs(), listed);
    }

    fn ended(line: &str) -> Ended {
        let words = line.split_whitespace().map(OsString::from);
        parse(words).err().expect("it asks for no verb")
    }

    #[test]
    fn what_is_wrong_is_told_with_the_option_and_what_is_possible() {
        let told = ended("countersign user add alice --digits 9 --json").to_json();
        let (what, next) = (told["error"]["what"].as_str(), told["error"]["next"].as_str());
        assert!(what.is_some_and(|what| what.contains("--digits") && what.contains("6..=8")), "{told}");
        assert!(next.is_some_and(|next| next.contains("--help")), "{told}");
        let told = ended("countersign user add alice --issuer Acme:X --json").to_json();
        let what = told["error"]["what"].as_str().expect("a text");
        assert!(what.contains("--issuer") && what.contains("no ':'"), "{told}");
    }

    #[test]
    fn json_is_an_option_only_before_the_dashes() {
        assert!(ended("countersign --json nonsense").json);
        assert!(!ended("countersign nonsense -- --json").json);
        assert!(!ended("countersign nonsense").json);
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert!(ended("countersign --json --help").is_asked_for());
        assert!(ended("countersign --json --version").to_json()["version"].is_string());
        assert!(!ended("countersign --json user").is_asked_for());
        assert!(ended("countersign --json user").to_json()["error"]["what"].is_string());
    }
}
