//! `spoor import`: JSON lines of tracking requests into the store, as history.
//!
//! Lines are read and parsed on this thread, in order, and handed to a [`Sink`]: the store itself, with thousands of
//! requests on their way at once, or a running server, in batches. What becomes of each arrives at the [`Tally`].
//! Nothing is dropped: what finds the mailbox full is sent again before anything behind it.

use super::client::{CallError, Client};
use super::lines::{Line, Lines};
use super::progress::{Progress, Unit};
use super::{CommandError, Place, reach, stop_signal};
use crate::limits::{
    IMPORT_ATTEMPTS_MAX, IMPORT_BATCH_BYTES, IMPORT_BATCH_MAX_REQUESTS, IMPORT_IN_FLIGHT_MAX,
    IMPORT_RETRY_MS, IMPORT_SHOWN_REJECTED,
};
use crate::protocol::json::{self, Body};
use crate::protocol::write::{self, ErrorBody};
use crate::settings::Configuration;
use crate::store::{LazyReply, Store};
use serde::{Deserialize, Serialize};
use spoor::{Error, EventStatus, Origin, TrackError, TrackRequest};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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
            for _ in 0..2 {
                if stop_signal().await.is_err() {
                    return;
                }
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        });
    });
    stopped
}

/// An import that came to nothing, and what it had done by then.
#[derive(Debug)]
pub struct Failed {
    reason: String,
    done: Option<String>,
}

impl Failed {
    fn said(self, name: &Path) -> CommandError {
        if let Some(done) = &self.done {
            println!("{done}");
        }
        CommandError::Failed(format!("{}: {}", name.display(), self.reason))
    }
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

/// A request that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The line, from 1.
    line: u64,
    /// Which request of it, from 0, if it is an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<usize>,
    #[serde(flatten)]
    error: ErrorBody,
}

impl Rejected {
    fn new(line: u64, item: Option<usize>, code: &str, message: impl Into<String>) -> Self {
        let error =
            ErrorBody { code: code.to_owned(), message: message.into(), field: None, retry_after_ms: None };
        Self { line, item, error }
    }

    fn text(&self) -> String {
        let item = self.item.map(|item| format!(", request {item}")).unwrap_or_default();
        let field = self.error.field.as_deref().map(|field| format!(" ({field})")).unwrap_or_default();
        format!("line {}{item}: {}{field}: {}", self.line, self.error.code, self.error.message)
    }
}

/// What has become of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were answered.
    pub requests: u64,
    /// Events stored now.
    pub stored: u64,
    /// Events stored before.
    pub duplicate: u64,
    /// Requests that were not stored.
    pub rejected: u64,
    /// The first of them.
    pub shown: Vec<Rejected>,
    file: Option<BufWriter<File>>,
    /// What writing the file said first.
    file_error: Option<String>,
}

impl Tally {
    /// An empty tally, which writes what is rejected to `file`.
    #[must_use]
    pub fn new(file: Option<BufWriter<File>>) -> Self {
        Self { file, ..Self::default() }
    }

    fn answered(&mut self, statuses: impl Iterator<Item = EventStatus>) {
        self.requests += 1;
        for status in statuses {
            match status {
                EventStatus::Stored => self.stored += 1,
                EventStatus::Duplicate => self.duplicate += 1,
            }
        }
    }

    fn reject(&mut self, rejected: Rejected) {
        self.requests += 1;
        self.rejected += 1;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&write::line(&rejected))
        {
            self.file_error.get_or_insert_with(|| error.to_string());
        }
        if self.shown.len() < IMPORT_SHOWN_REJECTED {
            self.shown.push(rejected);
        }
    }

    fn numbers(&self) -> String {
        let Self { requests, stored, duplicate, rejected, .. } = self;
        format!(
            "{requests} requests: {stored} events stored, {duplicate} duplicate; {rejected} requests rejected"
        )
    }

    /// All of it, for a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = vec![self.numbers()];
        lines.extend(self.shown.iter().map(|rejected| format!("  {}", rejected.text())));
        let more = self.rejected.saturating_sub(self.shown.len() as u64);
        if more > 0 {
            lines.push(format!("  and {more} more; --rejected FILE writes all"));
        }
        lines.join("\n")
    }

    /// Ends it: the file of what was rejected is whole, or an error says that it is not.
    fn close(mut self, outcome: Result<(), String>) -> Result<Self, Failed> {
        if let Some(mut file) = self.file.take()
            && let Err(error) = file.flush()
        {
            self.file_error.get_or_insert_with(|| error.to_string());
        }
        let outcome = outcome.and(match &self.file_error {
            Some(error) => Err(format!("what was rejected cannot be written: {error}")),
            None => Ok(()),
        });
        match outcome {
            Ok(()) => Ok(self),
            Err(reason) => Err(Failed { reason, done: Some(self.summary()) }),
        }
    }
}

/// A request on its way: line, and item if the line is an array.
type Origination = (u64, Option<usize>);
type Outcome = (Origination, Result<LazyReply, TrackError>);

/// Straight into the store.
pub struct StoreSink {
    store: Arc<dyn Store>,
    flight: Arc<Flight>,
    outcomes: Sender<Outcome>,
    tally: Arc<Mutex<Tally>>,
    tallier: JoinHandle<()>,
}

/// Requests on their way, bounded, and those that the store had no room for.
#[derive(Debug, Default)]
struct Flight {
    state: Mutex<FlightState>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct FlightState {
    under_way: usize,
    /// Told *overloaded*.
    turned_away: Vec<Origination>,
    /// Why the store takes no more.
    failed: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    /// Waits for room, and takes it.
    fn take_off(&self) -> Result<(), String> {
        let mut state = locked(&self.state);
        while state.under_way >= IMPORT_IN_FLIGHT_MAX && state.failed.is_none() {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &state.failed {
            return Err(reason.clone());
        }
        state.under_way += 1;
        Ok(())
    }

    fn land(&self, change: impl FnOnce(&mut FlightState)) {
        let mut state = locked(&self.state);
        state.under_way = state.under_way.saturating_sub(1);
        change(&mut state);
        drop(state);
        self.landed.notify_all();
    }

    /// Whether this one was turned away; it is not afterwards.
    fn was_turned_away(&self, origination: Origination) -> bool {
        let turned_away = &mut locked(&self.state).turned_away;
        let found = turned_away.iter().position(|other| *other == origination);
        found.map(|index| turned_away.swap_remove(index)).is_some()
    }
}

impl StoreSink {
    /// Into `store`, counted by `tally`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tally: Tally) -> Self {
        let (outcomes, received) = mpsc::channel();
        let flight = Arc::new(Flight::default());
        let tally = Arc::new(Mutex::new(tally));
        let (counted, landing) = (Arc::clone(&tally), Arc::clone(&flight));
        let tallier = std::thread::spawn(move || count(&received, &counted, &landing));
        Self { store, flight, outcomes, tally, tallier }
    }

    /// Hands one request over until the store has room for it; `again` makes it anew.
    ///
    /// That there is no room is said before `submit` returns, so that nothing behind it has been handed over yet.
    fn submit(
        &self,
        origination: Origination,
        request: TrackRequest,
        again: impl Fn() -> Option<TrackRequest>,
    ) -> Result<(), String> {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            self.flight.take_off()?;
            let (outcomes, flight) = (self.outcomes.clone(), Arc::clone(&self.flight));
            let done = move |outcome| match outcome {
                Err(TrackError::Failed(Error::Overloaded)) => {
                    flight.land(|state| state.turned_away.push(origination));
                }
                // The receiver lives as long as there are senders.
                outcome => drop(outcomes.send((origination, outcome))),
            };
            self.store.submit(TrackRequest { origin: Origin::Import, ..request }, Box::new(done));
            if self.flight.was_turned_away(origination) {
                std::thread::sleep(Duration::from_millis(IMPORT_RETRY_MS));
                next = again();
            }
        }
        Ok(())
    }
}

/// Reads a request once more: keeping a copy of each would cost more than the few that need it.
fn reread(text: &[u8], item: Option<usize>) -> Option<TrackRequest> {
    match (json::read(text).ok()?, item) {
        (Body::One(request), None) => Some(*request),
        (Body::Many(items), Some(index)) => items.into_iter().nth(index)?.ok(),
        _ => None,
    }
}

/// Puts replies into words and counts them, off the writer's thread.
fn count(received: &Receiver<Outcome>, tally: &Mutex<Tally>, flight: &Flight) {
    while let Ok(((line, item), outcome)) = received.recv() {
        let mut failed = None;
        match outcome {
            Ok(reply) => locked(tally).answered(reply().events.into_iter().map(|event| event.status)),
            Err(TrackError::Rejected(rejection)) => {
                locked(tally).reject(Rejected { line, item, error: rejection.into() });
            }
            Err(TrackError::Failed(error)) => failed = Some(error.to_string()),
        }
        flight.land(|state| state.failed = state.failed.take().or(failed));
    }
}

impl Sink for StoreSink {
    fn put(&mut self, line: u64, text: &[u8]) -> Result<(), String> {
        match json::read(text) {
            Ok(Body::One(request)) => self.submit((line, None), *request, || reread(text, None)),
            Ok(Body::Many(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    match item {
                        Ok(request) => {
                            let item = Some(index);
                            self.submit((line, item), request, || reread(text, item))?;
                        }
                        Err(rejection) => {
                            self.reject(Rejected { line, item: Some(index), error: rejection.into() });
                        }
                    }
                }
                Ok(())
            }
            Err(rejection) => {
                self.reject(Rejected { line, item: None, error: rejection.into() });
                Ok(())
            }
        }
    }

    fn reject(&mut self, rejected: Rejected) {
        locked(&self.tally).reject(rejected);
    }

    fn done(&self) -> String {
        locked(&self.tally).numbers()
    }

    fn finish(self, outcome: Result<(), String>) -> Result<Tally, Failed> {
        let Self { store, flight, outcomes, tally, tallier } = self;
        // The last callback drops the last sender, and with it the thread ends.
        drop((store, outcomes));
        let counted = tallier.join().map_err(|_| "counting failed".to_owned());
        let state = std::mem::take(&mut *locked(&flight.state));
        let mut tally = std::mem::take(&mut *locked(&tally));
        for (line, item) in state.turned_away {
            tally.reject(Rejected::new(line, item, "overloaded", "the store had no room; import it again"));
        }
        tally.close(outcome.and(counted).and(state.failed.map_or(Ok(()), Err)))
    }
}

/// To a running server, in arrays.
pub(super) struct ServerSink {
    client: Client,
    tally: Tally,
    batch: Vec<Posted>,
    batch_bytes: usize,
}

/// A request as text, and where it comes from.
struct Posted {
    origination: Origination,
    text: Box<str>,
}

/// What the server says of one request.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Error { error: ErrorBody },
    Reply { events: Vec<ToldEvent> },
}

#[derive(Deserialize)]
struct ToldEvent {
    status: String,
}

impl ServerSink {
    fn new(client: Client, tally: Tally) -> Self {
        Self { client, tally, batch: Vec::new(), batch_bytes: 0 }
    }

    fn add(&mut self, origination: Origination, text: &str) -> Result<(), String> {
        self.batch_bytes += text.len();
        self.batch.push(Posted { origination, text: text.into() });
        if self.batch.len() >= IMPORT_BATCH_MAX_REQUESTS || self.batch_bytes >= IMPORT_BATCH_BYTES {
            self.post_all()?;
        }
        Ok(())
    }

    /// Posts the batch, in order, until the server has said something final of each.
    fn post_all(&mut self) -> Result<(), String> {
        self.batch_bytes = 0;
        let mut rest = std::mem::take(&mut self.batch);
        let mut most = rest.len();
        let mut attempts = 0;
        while !rest.is_empty() {
            let count = most.clamp(1, rest.len());
            let part = rest.get(..count).unwrap_or(&rest);
            match self.client.import::<Vec<Told>>(&array(part)) {
                Ok(told) if told.len() == count => {
                    let taken = self.count(part, told);
                    rest.drain(..taken);
                    attempts = 0;
                    if taken < count {
                        pause(1);
                    }
                }
                Ok(_) => {
                    return Err("the server answered with another number of items than it got".to_owned());
                }
                Err(CallError::Refused { body, .. }) if body.code == "overloaded" => pause(1),
                Err(CallError::Refused { status: 400..=499, .. }) if count > 1 => most = count / 2,
                Err(CallError::Refused { status: 400..=499, body }) => {
                    let posted = rest.remove(0);
                    let (line, item) = posted.origination;
                    self.tally.reject(Rejected { line, item, error: body });
                }
                Err(CallError::Unreachable(_) | CallError::Refused { .. })
                    if attempts < IMPORT_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                    pause(attempts);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Counts answers up to the first that was told *overloaded*; those behind it were too. Returns how many.
    fn count(&mut self, part: &[Posted], told: Vec<Told>) -> usize {
        for (index, (posted, told)) in part.iter().zip(told).enumerate() {
            match told {
                Told::Error { error } if error.retry_after_ms.is_some() => return index,
                Told::Error { error } => {
                    let (line, item) = posted.origination;
                    self.tally.reject(Rejected { line, item, error });
                }
                Told::Reply { events } => {
                    self.tally.answered(events.iter().map(|event| match event.status.as_str() {
                        "duplicate" => EventStatus::Duplicate,
                        _ => EventStatus::Stored,
                    }));
                }
            }
        }
        part.len()
    }
}

fn pause(attempts: u32) {
    std::thread::sleep(Duration::from_millis(IMPORT_RETRY_MS) * attempts.min(20));
}

fn array(part: &[Posted]) -> Vec<u8> {
    let texts: Vec<&str> = part.iter().map(|posted| &*posted.text).collect();
    format!("[{}]", texts.join(",")).into_bytes()
}

impl Sink for ServerSink {
    /// Only the syntax is looked at here, so that a broken line does not break the array it would stand in.
    fn put(&mut self, line: u64, text: &[u8]) -> Result<(), String> {
        let sound = std::str::from_utf8(text)
            .ok()
            .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        match sound {
            Some(text) if text.trim_start().starts_with('[') => match json::split(text) {
                Ok(items) => {
                    for (index, item) in items.into_iter().enumerate() {
                        self.add((line, Some(index)), item)?;
                    }
                }
                Err(rejection) => self.reject(Rejected { line, item: None, error: rejection.into() }),
            },
            Some(text) => self.add((line, None), text)?,
            None => match json::read(text) {
                Err(rejection) => self.reject(Rejected { line, item: None, error: rejection.into() }),
                Ok(_) => self.reject(Rejected::new(line, None, "json_invalid", "not JSON")),
            },
        }
        Ok(())
    }

    fn reject(&mut self, rejected: Rejected) {
        self.tally.reject(rejected);
    }

    fn done(&self) -> String {
        self.tally.numbers()
    }

    fn finish(mut self, outcome: Result<(), String>) -> Result<Tally, Failed> {
        let outcome = outcome.and_then(|()| self.post_all());
        self.tally.close(outcome)
    }
}
