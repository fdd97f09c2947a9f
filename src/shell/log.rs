//! The log: one line per refusal or failure, on standard error or in a file. Never a secret, a code, a PIN or a PSBT.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt;

use super::config::{ConfigError, LogConfig, LogLevel};

/// Starts the log as configured. Only the first call in a process counts.
pub fn start(config: &LogConfig) -> Result<(), ConfigError> {
    let level = match config.level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        // Otherwise it would report on standard error that a line could not be written, and panic if standard
        // error is what is broken.
        .log_internal_errors(false);
    // A second initialisation in the same process keeps the first one's log: there is one log for each
    // process.
    let _ = match &config.file {
        None => {
            let lines = lines.without_time().with_writer(std::io::stderr).event_format(Line);
            registry().with(Newest.with_filter(LevelFilter::WARN)).with(lines.with_filter(level)).try_init()
        }
        Some(path) => {
            let file =
                OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| {
                    ConfigError::Unreadable {
                        file: path.clone(),
                        problem: format!("cannot write the log: {error}"),
                    }
                })?;
            let lines = lines.with_writer(Mutex::new(file));
            registry().with(Newest.with_filter(LevelFilter::WARN)).with(lines.with_filter(level)).try_init()
        }
    };
    Ok(())
}

/// The newest line about a refusal or failure, whatever the level of the log: for the caller in this process.
static NEWEST: Mutex<Option<String>> = Mutex::new(None);

/// The newest line about a refusal or failure since the last call.
pub fn take_newest() -> Option<String> {
    NEWEST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Keeps the newest line about a refusal or failure.
struct Newest;

/// The beginning of every refusal.
const REFUSED: &str = "refused: ";

impl<S: tracing::Subscriber> Layer<S> for Newest {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let Message(message) = message;
        let is_failure = *event.metadata().level() == tracing::Level::ERROR;
        let refused = message.strip_prefix(REFUSED).map(str::to_owned);
        if let Some(line) = refused.or_else(|| is_failure.then_some(message)) {
            *NEWEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    }
}

/// The text of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// `countersign: LEVEL message`.
struct Line;

impl<S, N> tracing_subscriber::fmt::FormatEvent<S, N> for Line
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    N: for<'a> tracing_subscriber::fmt::FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &tracing_subscriber::fmt::FmtContext<'_, S, N>,
        mut writer: tracing_subscriber::fmt::format::Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        write!(writer, "countersign: {} ", event.metadata().level())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
