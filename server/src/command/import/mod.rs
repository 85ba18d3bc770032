//! `spoor import`: JSON lines of tracking requests into the store, as history.
//!
//! Lines are read and parsed on this thread, in order, and handed to a [`Sink`]: the store itself, with thousands of
//! requests on their way at once, or a running server, in batches. What becomes of each arrives at the [`Tally`].
//! Nothing is dropped: what finds the mailbox full is sent again before anything behind it.

mod into_store;
mod tally;
mod to_server;

pub use into_store::StoreSink;
pub use tally::{Failed, Rejected, Tally};

use super::lines::{Line, Lines};
use super::progress::{Progress, Unit};
use super::{CommandError, Place, StopSignals, reach};
use crate::settings::Configuration;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use to_server::ServerSink;

/// Arguments of `spoor import`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// JSON lines of tracking requests, plain or gzip; - for standard input
    file: PathBuf,
    /// Where to write all that was rejected, as JSON lines
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
}

/// Whether two names lead to one file, which is there.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

pub(super) fn run(configuration: &Configuration, arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let name = arguments.file.as_path();
    let mut lines = Lines::open(name).map_err(CommandError::file(name))?;
    let rejected = match &arguments.rejected {
        Some(path) if same_file(path, name) => {
            return Err(CommandError::Failed(format!(
                "{}: --rejected names the file that is imported, which would be overwritten",
                path.display()
            )));
        }
        Some(path) => Some(BufWriter::new(File::create(path).map_err(CommandError::file(path))?)),
        None => None,
    };
    let stopped = stop_on_signal();
    let tally = match reach(configuration, true)? {
        Place::Here(opened) => {
            let sink = StoreSink::new(Arc::clone(opened.store()?), Tally::new(rejected));
            let outcome = import(&mut lines, sink, &stopped);
            let tally = outcome.map_err(|failed| failed.said(name))?;
            opened.close()?;
            tally
        }
        Place::Server(client) => {
            let sink = ServerSink::new(client, Tally::new(rejected));
            import(&mut lines, sink, &stopped).map_err(|failed| failed.said(name))?
        }
    };
    println!("{}", tally.summary());
    Ok(if stopped.load(Ordering::Relaxed) {
        println!("stopped before the end; run it again to go on: events with ids are stored once");
        ExitCode::from(INTERRUPTED)
    } else if tally.rejected > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What shells say of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Turns true at the first signal; the second ends the process, whose store is sound all the same.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopped);
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let Ok(mut signals) = StopSignals::listen(true) else { return };
            for _ in 0..2 {
                signals.arrived().await;
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        });
    });
    stopped
}

/// Where requests go.
pub trait Sink {
    /// Hands over the requests of one line, which need not be sound.
    ///
    /// # Errors
    /// Why nothing can be handed over any more.
    fn put(&mut self, line: u64, text: &[u8]) -> Result<(), String>;

    /// Notes a line that cannot be handed over.
    fn reject(&mut self, rejected: Rejected);

    /// What has come of it so far, in words.
    fn done(&self) -> String;

    /// Waits for all that was handed over.
    fn finish(self, outcome: Result<(), String>) -> Result<Tally, Failed>;
}

/// Imports all lines, or those up to the moment when `stopped` turns true.
///
/// # Errors
/// [`Failed`] if the lines cannot be read or the store takes no more. What was stored by then stays.
pub fn import<S: Sink>(lines: &mut Lines, mut sink: S, stopped: &AtomicBool) -> Result<Tally, Failed> {
    let mut progress = Progress::new("import", Unit::Bytes, lines.total());
    let outcome = loop {
        if stopped.load(Ordering::Relaxed) {
            break Ok(());
        }
        match lines.next_line() {
            Err(error) => break Err(error.to_string()),
            Ok(None) => break Ok(()),
            Ok(Some((_, Line::Whole(text)))) if text.trim_ascii().is_empty() => {}
            Ok(Some((line, Line::Whole(text)))) => {
                if let Err(reason) = sink.put(line, text) {
                    break Err(reason);
                }
            }
            Ok(Some((line, Line::TooLong))) => {
                sink.reject(Rejected::new(
                    line,
                    None,
                    "line_too_long",
                    "the line is longer than a line may be",
                ));
            }
        }
        progress.set(lines.position(), || sink.done());
    };
    progress.finish();
    sink.finish(outcome)
}
