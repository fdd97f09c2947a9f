//! `countersign serve`: the boundary. It loads the module and carries the calls of its clients to it.

mod activation;
mod hardening;
mod memory;
mod module;
mod monitoring;
mod ownership;
mod signals;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign::remote::Boundary;
use countersign::remote::server::{ServeError, Server, door};
use countersign::shell::config::{Config, ConfigError, EngineConfig, ServeConfig};
use countersign::shell::log;
use sd_notify::NotifyState;
use serde_json::json;

use self::monitoring::Monitoring;
use self::signals::{Asked, Signals};
use crate::error::CommandError;
use crate::output::Report;

/// Serve the module to backends and administrators, from inside the boundary.
///
/// Reads [serve] of the configuration. Stops on SIGTERM and SIGINT, when the calls under way have ended; takes
/// certificates, keys and names anew on SIGHUP. Tells systemd what it does, and takes sockets from it that are named
/// backend, administrators and monitoring.
#[derive(Args)]
pub(crate) struct Serve {}

impl Serve {
    pub(crate) fn run(&self) -> Result<Report, CommandError> {
        let (path, config) = configuration()?;
        let serve = serve_table(&path, &config)?;
        log::start(&config.log).map_err(explain_config)?;
        memory::give_back();
        hardening::harden(&serve.limits)?;
        let boundary = module::load(&path, config.plugin.as_ref())?;
        serve_until_stopped(&path, &serve, boundary)
    }
}

/// Everything between a module that is loaded and the end: doors, readiness, signals, stopping.
fn serve_until_stopped(
    path: &Path,
    config: &ServeConfig,
    boundary: Box<dyn Boundary>,
) -> Result<Report, CommandError> {
    // From here on no signal ends the process but by the way below.
    let mut signals = Signals::listen()?;
    let passed = activation::passed()?;
    let listeners = door::open(config, passed.doors).map_err(explain)?;
    let server = Server::start(config, listeners, Arc::from(boundary)).map_err(explain)?;
    let monitoring = Monitoring::start(config.monitoring.as_deref(), passed.monitoring, server.metrics())?;
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    tracing::info!("serving, as configured in {}", path.display());
    while let Asked::Reload = signals.next()? {
        notify_reloading();
        reload(&server, path, config);
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping, NotifyState::Status("ending the calls under way")]);
    monitoring.stopping();
    let left = server.stop();
    drop(monitoring);
    match left {
        0 => Ok(Report::new("", json!({ "served": { "unfinished_connections": 0 } }))),
        left => Err(CommandError::new(
            format!("stopped with {left} connections whose calls had not ended within serve.stop_seconds"),
            "nothing is lost that was answered; raise serve.stop_seconds if calls take that long",
        )),
    }
}

/// A new configuration is taken as a whole, or the old one stays.
fn reload(server: &Server, path: &Path, started_with: &ServeConfig) {
    let new = EngineConfig::load(path).and_then(|config| {
        config.serve.ok_or_else(|| ConfigError::Wrong {
            file: path.into(),
            key: "serve".into(),
            problem: "this table is missing".into(),
        })
    });
    let taken = ownership::check(path).map_err(|error| format!("{error}; next: {}", error.next));
    let taken = taken.and_then(|()| new.map_err(|error| error.to_string()));
    let taken = taken.and_then(|new| match server.reload(&new) {
        Ok(ended) => Ok((new, ended)),
        Err(error) => Err(error.to_string()),
    });
    match taken {
        Ok((new, ended)) => {
            tracing::info!(
                "users, names, context ids and certificates were read anew; {ended} connections ended by it"
            );
            if waits_for_the_next_start(&new, started_with) {
                tracing::warn!(
                    "limits, sockets and addresses in {} are others than at the start: they count from the next start on",
                    path.display()
                );
            }
        }
        Err(error) => {
            tracing::error!("nothing of the new configuration is taken, the old one stays: {error}")
        }
    }
}

/// Whether more has changed than who may connect and what we show them.
fn waits_for_the_next_start(new: &ServeConfig, started_with: &ServeConfig) -> bool {
    fn rest(config: &ServeConfig) -> impl PartialEq + '_ {
        (
            config.limits,
            &config.monitoring,
            config.backend.as_ref().map(|door| &door.socket),
            config.administrators.as_ref().map(|door| &door.socket),
            config.tcp.as_ref().map(|door| door.address),
            config.vsock.as_ref().map(|door| door.port),
        )
    }
    rest(new) != rest(started_with)
}

fn configuration() -> Result<(PathBuf, EngineConfig), CommandError> {
    let path = Config::locate().map_err(explain_config)?;
    ownership::check(&path)?;
    let config = EngineConfig::load(&path).map_err(explain_config)?;
    Ok((path, config))
}

fn serve_table(path: &Path, config: &EngineConfig) -> Result<ServeConfig, CommandError> {
    config.serve.clone().ok_or_else(|| {
        CommandError::new(
            format!("the configuration {} has no table [serve]", path.display()),
            "add it, with the doors that backends and administrators come in by: [serve.backend], [serve.administrators], [serve.tcp], [serve.vsock]",
        )
    })
}

fn explain_config(error: ConfigError) -> CommandError {
    CommandError::new(error.to_string(), "correct the configuration (--config or COUNTERSIGN_CONF names it)")
}

fn explain(error: ServeError) -> CommandError {
    let next = match &error {
        ServeError::System(_) => "free what the system lacks, then start again",
        _ => "correct it, then start again",
    };
    CommandError::new(error.to_string(), next)
}

fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the system's clock cannot be read: {error}"),
    }
}

/// Where no service manager listens, nobody is told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

#[cfg(test)]
mod tests;
