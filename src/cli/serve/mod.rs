//! `countersign serve`: the boundary. It loads the module and carries the calls of its clients to it.

mod activation;
mod hardening;
mod memory;
mod module;
mod monitoring;
mod signals;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign::remote::Boundary;
use countersign::remote::standing::Trouble;
use countersign::shell::config::{Config, ConfigError, EngineConfig, ServeConfig};
use countersign::shell::log;
use countersign::shell::ownership::{self, OwnershipError};
use countersign_server::{ServeError, Server, door};
use sd_notify::NotifyState;
use serde_json::json;

use self::monitoring::Monitoring;
use self::signals::{Asked, Signals};
use self::watch::Watch;
use crate::Global;
use crate::error::{self, CommandError};
use crate::output::{self, Report};

/// Serve the module to backends and administrators, from inside the boundary.
///
/// It reads [serve] of the configuration. On SIGTERM and SIGINT it stops once the calls under way have ended. On SIGHUP it reads
/// certificates, keys and names again, and makes removed socket files again. It reports to systemd, and takes sockets from it that are
/// named backend, administrators, desk and monitoring. Exit status 75 means that a new start may help, which its unit tries every 30 seconds:
/// the store or the backing token failed for longer than store.reopen_seconds. Exit status 77 means that the backing token refuses its
/// PIN. Its unit then starts nothing, because each start costs one of the token's tries.
#[derive(Args)]
pub(crate) struct Serve {}

impl Serve {
    pub(crate) fn run(&self, global: &Global) -> Result<Report, CommandError> {
        let (path, config) = configuration()?;
        let serve = serve_table(&path, &config)?;
        log::start(&config.log).map_err(explain_config)?;
        memory::give_back();
        hardening::harden(&serve.limits)?;
        serve_until_stopped(&path, &config, global.json, || module::load(&path, config.plugin.as_ref()))
    }
}

/// Everything from loading the module to the end: doors, readiness, signals, stopping.
fn serve_until_stopped(
    path: &Path,
    config: &EngineConfig,
    json: bool,
    load: impl FnOnce() -> Result<Arc<dyn Boundary>, CommandError>,
) -> Result<Report, CommandError> {
    // From here on a signal ends the process only in the way below. During a login it could damage the
    // backing token.
    let mut signals = Signals::listen()?;
    let serve = serve_table(path, config)?;
    let boundary = load()?;
    if signals.asks_to_stop() {
        tracing::info!("stopping: a signal came during the start");
        notify(&[NotifyState::Stopping, NotifyState::Status("closing the module")]);
        drop(boundary);
        return Ok(Report::new("", json!({ "served": { "unfinished_connections": 0 } })));
    }
    let passed = activation::passed()?;
    let listeners = door::open(&serve, passed.doors).map_err(explain)?;
    let server = Server::start(&serve, listeners, Arc::clone(&boundary)).map_err(explain)?;
    let monitoring =
        Monitoring::start(serve.monitoring.as_deref(), passed.monitoring, server.metrics(), server.health())?;
    let watch = Watch::start(Arc::clone(server.health()), config.store.reopening, signals.ender())?;
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    tracing::info!("serving, as configured in {}", path.display());
    while let Asked::Reload = signals.next()? {
        notify_reloading();
        reload(&server, path, config);
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }
    let failed = watch.ended().map(ended_by);
    drop(watch);
    tracing::info!("stopping");
    notify(&[NotifyState::Stopping, NotifyState::Status("ending the calls under way")]);
    monitoring.stopping();
    let left = server.stop();
    drop(monitoring);
    let closed = module::close(boundary);
    let ended = match (failed, left) {
        (Some(failed), _) => Err(failed),
        (None, 0) if closed => Ok(Report::new("", json!({ "served": { "unfinished_connections": 0 } }))),
        (None, left) => Err(CommandError::new(
            format!(
                "stopped with {} connections whose calls had not ended within serve.stop_seconds",
                left.max(1)
            ),
            "no answered call is lost; raise serve.stop_seconds if calls take that long",
        )),
    };
    if !closed {
        // After this, no code of an orderly exit may run.
        let status = ended.as_ref().err().map_or(error::FAILED, |error| error.status);
        output::print(ended, json);
        module::abandon(status);
    }
    ended
}

/// Applies a new configuration as a whole, or keeps the old one.
fn reload(server: &Server, path: &Path, started_with: &EngineConfig) {
    let new = configuration_at(path).and_then(|new| Ok((serve_table(path, &new)?, new))).and_then(|new| {
        ownership::check_doors(&new.0).map_err(explain_owner)?;
        Ok(new)
    });
    let taken = new.map_err(|error| error.to_string()).and_then(|(serve, new)| match server.reload(&serve) {
        Ok(ended) => Ok((new, ended)),
        Err(error) => Err(error.to_string()),
    });
    match taken {
        Ok((new, ended)) => {
            tracing::info!(
                "reloaded users, names, context ids and certificates; this ended {ended} connections"
            );
            if waits_for_the_next_start(&new, started_with) {
                tracing::warn!("{} has other changes, too; those count from the next start", path.display());
            }
        }
        Err(error) => {
            tracing::error!("the new configuration is refused as a whole, and the old one stays: {error}")
        }
    }
}

/// Whether more has changed than who may connect and what we show them.
fn waits_for_the_next_start(new: &EngineConfig, started_with: &EngineConfig) -> bool {
    fn rest(config: &EngineConfig) -> impl PartialEq + '_ {
        // Named one by one, so that a new table must be added here or to what a reload applies.
        let EngineConfig { backing, store, limits, serve, plugin, log } = config;
        (backing, store, limits, plugin, log, serve.as_ref().map(rest_of_doors))
    }
    fn rest_of_doors(config: &ServeConfig) -> impl PartialEq + '_ {
        (
            config.limits,
            &config.monitoring,
            config.backend.as_ref().map(|door| &door.socket),
            config.administrators.as_ref().map(|door| &door.socket),
            config.desk.as_ref().map(|door| &door.socket),
            config.tcp.as_ref().map(|door| door.address),
            config.vsock.as_ref().map(|door| door.port),
        )
    }
    rest(new) != rest(started_with)
}

fn configuration() -> Result<(PathBuf, EngineConfig), CommandError> {
    let path = Config::locate().map_err(explain_config)?;
    let config = configuration_at(&path)?;
    ownership::check_named(&config).map_err(explain_owner)?;
    Ok((path, config))
}

/// The configuration at `path`, if nobody else can change it.
fn configuration_at(path: &Path) -> Result<EngineConfig, CommandError> {
    ownership::check_file(path).map_err(explain_owner)?;
    let config = EngineConfig::load(path).map_err(explain_config)?;
    Ok(config)
}

fn explain_owner(error: OwnershipError) -> CommandError {
    CommandError::new(error.what, error.next)
}

fn serve_table(path: &Path, config: &EngineConfig) -> Result<ServeConfig, CommandError> {
    config.serve.clone().ok_or_else(|| {
        CommandError::new(
            format!("the configuration {} has no table [serve]", path.display()),
            "add it, with the doors that backends and administrators come in by: [serve.backend], [serve.administrators], [serve.tcp], [serve.vsock]",
        )
    })
}

/// The reason for the end, and whether a new process may do better.
fn ended_by(trouble: Trouble) -> CommandError {
    let what = format!("ended: {trouble}");
    if trouble == Trouble::PinRefused {
        let next = "no answered call is lost. The unit does not start the boundary again before you do: each start \
                    would be one more login by a PIN that is wrong";
        return CommandError { status: error::PIN_REFUSED, ..CommandError::new(what, next) };
    }
    let next = "no answered call is lost. The unit starts the boundary again; if it keeps ending like this, the log \
                says what fails: the disk, or the backing token";
    CommandError { status: error::START_ANEW, ..CommandError::new(what, next) }
}

fn explain_system(error: std::io::Error) -> CommandError {
    CommandError::new(
        format!("the system refuses: {error}"),
        "free what the system is short of, then start again",
    )
}

fn explain_config(error: ConfigError) -> CommandError {
    CommandError::new(error.to_string(), "correct the configuration (--config or COUNTERSIGN_CONF names it)")
}

fn explain(error: ServeError) -> CommandError {
    let next = match &error {
        ServeError::System(_) => "free what the system is short of, then start again",
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

/// Without a service manager, nobody is notified.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests;
