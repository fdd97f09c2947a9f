//! The log: one line per refusal or failure, on standard error or in a file. Never a secret, a code, a PIN or a PSBT.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;

use super::config::{ConfigError, LogConfig, LogLevel};

/// Starts the log as configured. Only the first call in a process counts.
pub fn start(config: &LogConfig) -> Result<(), ConfigError> {
    let level = match config.level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        // It would say on standard error that a line could not be written, and panic where that is what is broken.
        .log_internal_errors(false);
    // A second initialisation in the same process keeps the first one's log: there is one per process.
    let _ = match &config.file {
        None => builder.without_time().with_writer(std::io::stderr).event_format(Line).try_init(),
        Some(path) => {
            let file =
                OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(|error| {
                    ConfigError::Unreadable {
                        file: path.clone(),
                        problem: format!("the log cannot be written: {error}"),
                    }
                })?;
            builder.with_writer(Mutex::new(file)).try_init()
        }
    };
    Ok(())
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
