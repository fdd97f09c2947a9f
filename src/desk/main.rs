//! The desk: a user reads there what the boundary wrote about a proposed transaction, and approves or refuses it by a code that no backend
//! sees, because TLS ends here.
//!
//! ```text
//! browser ── HTTPS ──► countersign-desk ── PKCS#11, [connect] ──► the boundary's door [serve.desk]
//! ```
//!
//! - D1. The desk decides nothing and keeps nothing. It shows the boundary's words, and carries a user's word to it. Killing it loses nothing.
//! - D2. The boundary takes nothing else from it (`[serve.desk]`). Whoever takes the desk over can lie to users who approve by codes typed
//!   there; that is the most they can do.
//! - D3. No code is written anywhere, and none is in memory for longer than its call, as far as the desk's own copies go. The buffers of the
//!   libraries for HTTP and TLS are not wiped. The system gives nobody else a look at them; they may be swapped out, unlike the boundary's.
//! - D4. Every answer of ours has the same strict headers; the library's own to a malformed request have no body. Nothing on a page comes from elsewhere, and no page needs JavaScript ([`answer`]).
//! - D5. A form counts only with the cookie that came with it and from our own pages ([`guard`]). Requests are limited in number, size and
//!   time ([`limits`], [`server`]).
//! - D6. The desk's log has no code, user's name or ticket: whoever has a ticket sees what it pays.

mod answer;
mod boundary;
mod catalogue;
mod desk;
mod facts;
mod form;
mod guard;
mod limits;
mod page;
mod qr;
mod server;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use clap::Parser;
use countersign::shell::config::{CONF_VARIABLE, Config};
use countersign::shell::{log, ownership};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::boundary::Boundary;
use crate::desk::Desk;

/// Serve the desk: users read there what the boundary wrote about a transaction, and approve or refuse it.
///
/// The configuration has [connect], with the boundary's [serve.desk] socket, and [desk], with the address, the origin and the certificate of
/// the pages. The desk must run as the user that the boundary's serve.desk.user names, and as no other service's user.
#[derive(Parser)]
#[command(name = "countersign-desk", version)]
struct Arguments {
    /// The configuration file (sets COUNTERSIGN_CONF for the module)
    #[arg(long, value_name = "FILE", env = CONF_VARIABLE)]
    config: PathBuf,
    /// The module to load
    #[arg(
        long,
        value_name = "FILE",
        env = "COUNTERSIGN_MODULE",
        default_value = "/usr/lib/countersign/libcountersign.so"
    )]
    module: PathBuf,
}

fn main() -> ExitCode {
    keep_memory_to_ourselves();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let path = hand_configuration_to_the_module(&arguments.config)?;
    ownership::check_file(&path).map_err(|error| format!("{error}; {}", error.next))?;
    let config = match Config::load(&path).map_err(|error| error.to_string())? {
        Config::Connect(config) => config,
        Config::Engine(_) => {
            return Err(format!(
                "{} describes the boundary itself; a desk is a client and needs [connect]",
                path.display()
            ));
        }
    };
    let Some(desk) = &config.desk else {
        return Err(format!("the configuration {} has no table [desk]; add it", path.display()));
    };
    log::start(&config.log).map_err(|error| error.to_string())?;
    let tls = server::tls(desk).map_err(|error| error.to_string())?;
    let boundary = Boundary::open(&arguments.module)?;
    let desk_at = Desk::new(boundary, &desk.origin).map_err(|error| format!("no randomness: {error}"))?;
    server::run(desk.address, tls, Arc::new(desk_at))
        .map_err(|error| format!("cannot serve at {} (desk.address): {error}", desk.address))
}

/// Codes pass through this process. A crash must not write them to a disk, and no other process of this user may read them.
fn keep_memory_to_ourselves() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    if let Err(reason) = set_dumpable_behavior(DumpableBehavior::NotDumpable).and(limited) {
        eprintln!("warning: core dumps stay possible: {reason}");
    }
}

/// The module finds its configuration only through `COUNTERSIGN_CONF`. To set the variable, the program replaces itself, because the
/// environment of a running process cannot be changed safely.
fn hand_configuration_to_the_module(config: &Path) -> Result<PathBuf, String> {
    let failed =
        |reason: std::io::Error| format!("cannot use the configuration {}: {reason}", config.display());
    let config = std::path::absolute(config).map_err(failed)?;
    if std::env::var_os(CONF_VARIABLE).is_some_and(|current| current == *config) {
        return Ok(config);
    }
    let program = std::env::current_exe().map_err(failed)?;
    let arguments = std::env::args_os().skip(1);
    Err(failed(Command::new(program).args(arguments).env(CONF_VARIABLE, &config).exec()))
}
