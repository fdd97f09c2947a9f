//! The command line of Countersign: a PKCS#11 client of the module.
//!
//! Its verbs make the calls that any other client could make, so a backend in another language can do the
//! same. Five verbs differ: `audit` and `state` work inside the boundary on the store itself, whether the
//! module runs or not; `doctor` finds out there why the module stays closed; `plugin` is about the module's
//! file; `serve` is the boundary.
//!
//! 1. No secret is ever an argument: PINs and codes come from a file, the environment or a prompt.
//! 2. One object or one error: with `--json` each verb prints exactly one JSON object on standard output.
//! 3. Exit codes: 0 done, 1 refused or failed (the error says what happened and what to do next), 2 wrong
//!    usage, 75 `serve` has ended and should be started again, 77 the backing token refuses its PIN and
//!    `serve` must not be started before that is corrected.

mod act;
mod approval;
mod at_fault;
mod attributes;
mod audit;
mod clock;
mod completions;
mod destination;
mod doctor;
mod error;
mod freeze;
mod init;
mod inside;
mod key;
mod kind;
mod man;
mod meaning;
mod module;
mod names;
mod new_file;
mod next_step;
mod officer;
mod officers;
mod output;
mod paste;
mod pin;
mod plugin;
mod policy_file;
mod proposal;
mod psbt;
mod psbt_file;
mod qr;
mod secret;
mod serve;
mod sign;
mod state;
mod terms;
mod unicode;
mod usage;
mod user;
mod wallet;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::error::CommandError;
use crate::output::Report;

fn main() -> ExitCode {
    keep_memory_to_ourselves();
    let cli = match usage::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(ended) => return ended.print(),
    };
    let outcome = hand_configuration_to_the_module(&cli.global).and_then(|()| run(&cli));
    output::print(outcome, cli.global.json)
}

/// Countersign signs a Bitcoin transaction only after it has itself verified the user's one-time code.
#[derive(Parser)]
#[command(name = "countersign", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb accepts.
#[derive(Args)]
pub(crate) struct Global {
    /// The module to load [default: libcountersign.so beside this program, in ../lib or in /usr/lib/countersign]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "COUNTERSIGN_MODULE",
        help_heading = "Global options"
    )]
    pub(crate) module: Option<PathBuf>,
    /// The module's configuration file (sets COUNTERSIGN_CONF for it)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Print one JSON object, errors included
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::Init),
    #[command(subcommand)]
    Pin(pin::Pin),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Wallet(Box<wallet::Wallet>),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Psbt(psbt::Psbt),
    Sign(sign::Sign),
    Propose(proposal::Propose),
    #[command(subcommand)]
    Proposal(proposal::Proposal),
    Freeze(freeze::Freeze),
    Thaw(freeze::Thaw),
    #[command(subcommand)]
    Clock(clock::Clock),
    #[command(subcommand)]
    Officers(officers::Officers),
    #[command(subcommand)]
    Act(act::Act),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    State(state::State),
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    Serve(serve::Serve),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
}

const AFTER_HELP: &str = "\
Configuration: $COUNTERSIGN_CONF, else $XDG_CONFIG_HOME/countersign/countersign.toml
(~/.config if unset), else /etc/countersign/countersign.toml.

Secrets are never arguments. Each comes from a file (--so-pin-file, --user-pin-file,
--code-file, --password-file), else from the environment (COUNTERSIGN_SO_PIN,
COUNTERSIGN_USER_PIN, COUNTERSIGN_CODE, COUNTERSIGN_SECOND_CODE, COUNTERSIGN_OFFICER_PASSWORD), else from a prompt.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 75 serve must be started again,
77 serve ended because the backing token refuses its PIN: correct that first.";

fn run(cli: &Cli) -> Result<Report, CommandError> {
    match &cli.verb {
        Verb::Init(verb) => verb.run(&cli.global),
        Verb::Pin(verb) => verb.run(&cli.global),
        Verb::User(verb) => verb.run(&cli.global),
        Verb::Wallet(verb) => verb.run(&cli.global),
        Verb::Key(verb) => verb.run(&cli.global),
        Verb::Psbt(verb) => verb.run(&cli.global),
        Verb::Sign(verb) => verb.run(&cli.global),
        Verb::Propose(verb) => verb.run(&cli.global),
        Verb::Proposal(verb) => verb.run(&cli.global),
        Verb::Freeze(verb) => verb.run(&cli.global),
        Verb::Thaw(verb) => verb.run(&cli.global),
        Verb::Clock(verb) => verb.run(&cli.global),
        Verb::Officers(verb) => verb.run(&cli.global),
        Verb::Act(verb) => verb.run(&cli.global),
        Verb::Audit(verb) => verb.run(&cli.global),
        Verb::State(verb) => verb.run(&cli.global),
        Verb::Plugin(verb) => verb.run(&cli.global),
        Verb::Serve(verb) => verb.run(&cli.global),
        Verb::Doctor(verb) => verb.run(&cli.global),
        Verb::Completions(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
    }
}

/// PINs and codes pass through this process. A crash must not write them to a disk, and no other process of
/// this user may read them. The limit alone is not enough, because it does not apply to a core that is piped
/// to a program (core(5)).
fn keep_memory_to_ourselves() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    if let Err(reason) = set_dumpable_behavior(DumpableBehavior::NotDumpable).and(limited) {
        eprintln!("warning: core dumps stay possible: {reason}");
    }
}

/// The module finds its configuration only through `COUNTERSIGN_CONF`. To set the variable for `--config`,
/// the program replaces itself, because the environment of a running process cannot be changed safely.
fn hand_configuration_to_the_module(global: &Global) -> Result<(), CommandError> {
    let Some(config) = &global.config else { return Ok(()) };
    let failed = |reason: std::io::Error| {
        CommandError::new(
            format!("cannot use the configuration {}: {reason}", config.display()),
            "set COUNTERSIGN_CONF to the file's absolute path instead of --config",
        )
    };
    let config = std::path::absolute(config).map_err(failed)?;
    if std::env::var_os("COUNTERSIGN_CONF").is_some_and(|current| current == *config) {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(failed)?;
    let reason =
        Command::new(program).args(std::env::args_os().skip(1)).env("COUNTERSIGN_CONF", config).exec();
    Err(failed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn usage_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let long = argument.get_long().unwrap_or_default();
                assert!(
                    !["pin", "code", "so-pin", "user-pin", "otp", "password"].contains(&long),
                    "--{long} would take a secret"
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    fn usage_error(line: &str) -> bool {
        Cli::try_parse_from(line.split_whitespace()).is_err()
    }

    #[test]
    fn a_reach_is_an_index_below_two_to_the_31() {
        let set = "countersign wallet set w --reach";
        for wrong in ["0", "-1", "2147483648", "many"] {
            assert!(usage_error(&format!("{set} {wrong}")), "{wrong}");
        }
        assert!(!usage_error(&format!("{set} 2147483647")));
        assert!(!usage_error(&format!("{set} 1 --user alice")));
    }

    #[test]
    fn a_wallet_needs_exactly_one_kind_of_policy() {
        let create = "countersign wallet create w --network regtest --user alice";
        assert!(usage_error(create));
        assert!(usage_error(&format!("{create} --max-transaction-sat 1")));
        assert!(usage_error(&format!("{create} --max-fee-sat 1")));
        assert!(usage_error(&format!("{create} --unlimited --policy p.toml")));
        assert!(usage_error(&format!("{create} --unlimited --max-fee-sat 1")));
        assert!(usage_error(&format!("{create} --unlimited --max-fee-percent 1")));
        assert!(!usage_error(&format!("{create} --unlimited")));
        assert!(!usage_error(&format!("{create} --policy p.toml")));
        assert!(usage_error(&format!("{create} --max-period-sat 1")));
        assert!(!usage_error(&format!("{create} --max-period-sat 1 --max-fee-sat 1")));
        let limits = format!("{create} --max-transaction-sat 1 --max-fee-sat 1");
        assert!(!usage_error(&format!("{limits} --max-period-sat 1 --period-hours 168")));
        assert!(usage_error(&format!("{limits} --period-hours 24")), "of what?");
        assert!(!usage_error(&format!("{limits} --period-hours 24 --max-period-transactions 2")));
        assert!(usage_error(&format!("{limits} --max-period-sat 1 --period-hours 169")));
        assert!(usage_error(&format!("{limits} --max-period-sat 1 --unlimited")));
        assert!(usage_error(&format!("{create} --max-period-transactions 2 --unlimited")));
        assert!(usage_error(&format!("{create} --max-period-transactions 2 --max-fee-sat 1")));
        let others = [
            "--allow a --allow b",
            "--deny a",
            "--time-window 08:00-09:00",
            "--required-approvals 2",
            "--required-approvals 2 --approvals-from-sat 5",
        ];
        for rule in others {
            assert!(usage_error(&format!("{create} {rule}")), "{rule}");
            assert!(usage_error(&format!("{create} --policy p.toml {rule}")), "{rule}");
            assert!(!usage_error(&format!("{create} --unlimited {rule}")), "{rule}");
            assert!(!usage_error(&format!("{limits} {rule}")), "{rule}");
        }
        assert!(usage_error(&format!("{create} --unlimited --approvals-from-sat 5")));
        assert!(usage_error(&format!("{create} --unlimited --required-approvals 17")));
        assert!(!usage_error(&format!(
            "{create} --max-transaction-sat 1 --max-fee-sat 1 --max-fee-percent 3"
        )));
    }

    #[test]
    fn a_wallet_has_one_script() {
        let create = "countersign wallet create w --network regtest --user alice --unlimited";
        for script in
            ["", "--script tr", "--wallet-policy p.txt --path m/45'", "--key-only --path m/48'/1'/0'/2'"]
        {
            assert!(!usage_error(&format!("{create} {script}")), "{script}");
        }
        for script in [
            "--script wsh",
            "--key-only",
            "--script tr --wallet-policy p.txt",
            "--key-only --path m/1' --wallet-policy p",
        ] {
            assert!(usage_error(&format!("{create} {script}")), "{script}");
        }
    }

    #[test]
    fn wallet_set_needs_a_change() {
        assert!(usage_error("countersign wallet set w"));
        assert!(!usage_error("countersign wallet set w --user alice --user bob"));
        assert!(!usage_error("countersign wallet set w --unlimited"));
        assert!(!usage_error("countersign wallet set w --max-period-sat 5 --max-fee-sat 5"));
        assert!(usage_error("countersign wallet set w --allow a"));
        assert!(usage_error("countersign wallet set w --user alice --deny a"));
        assert!(!usage_error("countersign wallet set w --user alice --policy p.toml"));
    }

    #[test]
    fn a_key_counts_or_says_that_it_does_not() {
        let create = "countersign key create k --user alice";
        assert!(usage_error(create));
        assert!(usage_error(&format!("{create} --time-window 08:00-09:00")));
        assert!(usage_error(&format!("{create} --unlimited --max-period-transactions 2")));
        assert!(usage_error(&format!("{create} --unlimited --period-hours 2")));
        assert!(usage_error(&format!("{create} --unlimited --policy p.toml")));
        assert!(usage_error(&format!("{create} --policy p.toml --required-approvals 2")));
        assert!(usage_error("countersign key create k --unlimited"));
        assert!(!usage_error(&format!("{create} --unlimited --required-approvals 2")));
        assert!(!usage_error(&format!("{create} --policy p.toml")));
        assert!(!usage_error(&format!("{create} --max-period-transactions 2 --period-hours 1")));
        assert!(!usage_error(&format!("{create} --unlimited --mechanism digest --mechanism ecdsa")));
        assert!(usage_error("countersign key set k"));
        assert!(!usage_error("countersign key set k --user bob"));
        assert!(!usage_error("countersign key set k --unlimited"));
        assert!(usage_error("countersign key sign k --digest 00"));
    }

    #[test]
    fn a_time_has_only_one_notation() {
        assert!(!usage_error("countersign clock set"));
        assert!(!usage_error("countersign clock set --time 2026-11-21T12:00:00Z"));
        for time in ["2026-11-21", "12:00", "1795262400", "2026-11-21T12:00:00+01:00", "2026-11-31T12:00:00Z"]
        {
            assert!(usage_error(&format!("countersign clock set --time {time}")), "{time}");
        }
    }

    #[test]
    fn a_ticket_stands_alone_and_has_32_digits() {
        let ticket = "00112233445566778899aabbccddeeff";
        let sign = format!("countersign sign --wallet w --ticket {ticket}");
        assert!(!usage_error(&sign));
        assert!(usage_error(&format!("{sign} --user alice")));
        assert!(usage_error(&format!("{sign} --code-file f")));
        assert!(usage_error(&format!("{sign}00")));
        for verb in ["show", "withdraw", "approve --user alice", "refuse --user alice"] {
            assert!(!usage_error(&format!("countersign proposal {verb} {ticket}")), "{verb}");
            assert!(usage_error(&format!("countersign proposal {verb} {}", &ticket[1..])), "{verb}");
            assert!(usage_error(&format!("countersign proposal {verb}")), "{verb}");
        }
        for verb in ["approve", "refuse"] {
            assert!(usage_error(&format!("countersign proposal {verb} {ticket}")), "{verb}: whose word?");
        }
    }

    #[test]
    fn names_and_numbers_outside_their_range_are_usage_errors() {
        assert!(usage_error("countersign user add a:b"));
        assert!(usage_error("countersign user add alice --digits 5"));
        assert!(usage_error("countersign user add alice --period 121"));
        assert!(!usage_error("countersign user add alice --digits 8 --period 60 --hash sha256"));
    }
}
