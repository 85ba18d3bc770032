//! `spoor serve`: from settings to a server that runs until it is told to stop.

use super::CommandError;
use crate::http;
use crate::settings::{Configuration, LogFormat, LogLevel, ServerSettings};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

pub(super) fn run(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    log(&configuration.server);
    let server = http::serve(configuration)?;
    let signals = server.listen_for_signals()?;
    tracing::info!(
        address = %server.address(),
        data = %configuration.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    server.wait_for(signals);
    tracing::info!("stopping: what was accepted is finished first");
    server.shutdown()?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Writes the log to standard error. Only our own lines: those of libraries may hold what clients sent.
fn log(settings: &ServerSettings) {
    let level = match settings.log {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("spoor={level},spoor_server={level}")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second subscriber in one process is refused, and the first is as good.
    let _ = match settings.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
