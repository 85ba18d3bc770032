//! The command line: `spoor serve`, `import`, `export`, `key`, `check`, `rebuild`, and what is asked and decided of persons.
//!
//! Each command has a file, but for those that are one call of the interface: `reads` and `acts` have them all. What they share is here: arguments, how the store is reached, and how they end. A command
//! works on the directory itself, or, while a server has it open, on that server over HTTP.

pub mod import;
pub mod lines;

mod acts;
mod arguments;
mod check;
mod client;
mod export;
mod keys;
mod preview;
mod progress;
mod reads;
mod rebuild;
mod serve;

use crate::http::ServeError;
use crate::http::address::Address;
use crate::settings::{self, Effective, Flags, SettingsError};
use crate::store::Store;
use clap::{Args, Parser, Subcommand};
use client::Client;
use spoor::Engine;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Spoor, a tracking database: customer events, sessions and profiles in one durable step.
#[derive(Debug, Parser)]
#[command(name = "spoor", version)]
pub struct CommandLine {
    #[command(flatten)]
    shared: Shared,
    #[command(flatten)]
    serve: ServeArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Shared {
    /// The data directory [default: ./spoor-data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print the settings that hold and whence, and do nothing else
    #[arg(long, global = true)]
    print_config: bool,
}

#[derive(Debug, Args, Default)]
struct ServeArguments {
    /// Where to listen [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM or SIGINT; what is done when no command is named
    Serve(ServeArguments),
    /// Store tracking requests from JSON lines, plain or gzip; may be stopped and run again if events have ids
    Import(import::Arguments),
    /// Write all events as JSON lines, in the order of the log
    Export(export::Arguments),
    /// Print the profile that any of its ids, or an identifier, finds
    Profile(reads::ProfileArguments),
    /// Print the links of a profile, newest first, as JSON lines: which identifiers it has, and who said so
    Links(reads::IdArgument),
    /// Print what happened to who a profile is, newest first, as JSON lines
    History(reads::IdArgument),
    /// Print how two ids are joined, and what would part them
    Explain(reads::ExplainArguments),
    /// Make one profile of two
    Merge(acts::MergeArguments),
    /// Take a merge back
    Undo(acts::UndoArguments),
    /// Take an identifier from a profile
    Detach(acts::IdentifierArguments),
    /// Give a profile an identifier, also one that was taken from it
    Attach(acts::IdentifierArguments),
    /// List and decide links that wait, since a limit stands in their way
    #[command(subcommand)]
    Quarantine(acts::Quarantine),
    /// Suspend all links of a value: it identifies nobody from now on
    Block(acts::ValueArguments),
    /// Restore the links of a blocked value
    Unblock(acts::ValueArguments),
    /// List the values that were blocked so
    Blocked,
    /// Say who may call the server
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Verify every invariant of the store and print its digests
    Check,
    /// Print what other rules would have made of all that is stored; changes nothing
    Preview(preview::Arguments),
    /// Throw the index away and make it anew from the log
    Rebuild,
}

/// Why a command came to nothing.
#[derive(Debug)]
pub enum CommandError {
    /// The settings.
    Settings(SettingsError),
    /// The server.
    Serve(ServeError),
    /// The store, here or behind a server, or a file: one sentence for a person.
    Failed(String),
}

impl CommandError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Failed(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<ServeError> for CommandError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Settings(error) => Self::Settings(error),
            error => Self::Serve(error),
        }
    }
}

impl From<spoor::Error> for CommandError {
    fn from(error: spoor::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs what the arguments of this process say. Ends with 0; with 1 if something failed, was rejected or is not
/// sound; with 2 if the arguments or settings are wrong.
#[must_use]
pub fn run() -> ExitCode {
    decline_huge_pages();
    let line = CommandLine::parse();
    match line.execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("spoor: {error}");
            ExitCode::from(if matches!(error, CommandError::Settings(_)) { 2 } else { 1 })
        }
    }
}

/// Has the system give this process no pages of 2 MiB unasked. Whatever is left of one when most of it was freed stays
/// with the process, and the memory under load is a fifth more.
fn decline_huge_pages() {
    // A system that does not know them gives none.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

impl CommandLine {
    fn execute(self) -> Result<ExitCode, CommandError> {
        let Self { shared, serve, command } = self;
        let command = command.unwrap_or(Command::Serve(ServeArguments::default()));
        let listen = match &command {
            Command::Serve(arguments) => arguments.listen.clone().or(serve.listen),
            _ if serve.listen.is_some() => {
                return Err(CommandError::Failed("--listen is for serve only".to_owned()));
            }
            _ => None,
        };
        let flags = Flags { config: shared.config, data: shared.data, listen };
        let effective = settings::load(&flags)?;
        if shared.print_config {
            print!("{}", settings::print(&effective));
            return Ok(ExitCode::SUCCESS);
        }
        command.execute(&effective)
    }
}

impl Command {
    fn execute(self, effective: &Effective) -> Result<ExitCode, CommandError> {
        let configuration = &effective.configuration;
        match self {
            Self::Serve(_) => serve::run(configuration),
            Self::Import(arguments) => import::run(configuration, &arguments),
            Self::Export(arguments) => export::run(configuration, &arguments),
            Self::Profile(arguments) => reads::profile(configuration, arguments),
            Self::Links(argument) => reads::links(configuration, &argument),
            Self::History(argument) => reads::history(configuration, &argument),
            Self::Explain(arguments) => reads::explain(configuration, arguments),
            Self::Merge(arguments) => acts::merge(configuration, arguments),
            Self::Undo(arguments) => acts::undo(configuration, arguments),
            Self::Detach(arguments) => acts::detach(configuration, arguments),
            Self::Attach(arguments) => acts::attach(configuration, arguments),
            Self::Quarantine(what) => acts::quarantine(configuration, what),
            Self::Block(arguments) => acts::block(configuration, arguments),
            Self::Unblock(arguments) => acts::unblock(configuration, arguments),
            Self::Blocked => reads::blocked(configuration),
            Self::Key(what) => keys::run(configuration, what),
            Self::Check => check::run(configuration),
            Self::Preview(arguments) => preview::run(configuration, &arguments),
            Self::Rebuild => rebuild::run(configuration),
        }
    }
}

/// Where the store is.
enum Place {
    /// In this process, which closes it in the end.
    Here(Opened),
    /// Behind a server.
    Server(Client),
}

impl Place {
    /// Closes the store if it is here.
    fn leave(self) -> Result<(), CommandError> {
        match self {
            Self::Here(opened) => opened.close(),
            Self::Server(_) => Ok(()),
        }
    }
}

/// A store that this process opened; closed when it is dropped, if not before.
struct Opened(Option<Arc<dyn Store>>);

impl Opened {
    fn store(&self) -> Result<&Arc<dyn Store>, CommandError> {
        self.0.as_ref().ok_or_else(|| CommandError::Failed("the store is closed".to_owned()))
    }

    fn close(mut self) -> Result<(), CommandError> {
        match self.0.take() {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(store) = self.0.take()
            && let Err(error) = store.close()
        {
            eprintln!("spoor: the store was not closed cleanly: {error}");
        }
    }
}

/// Opens the directory, or finds the server that has it open. Only an import may make a new store.
fn reach(configuration: &settings::Configuration, create: bool) -> Result<Place, CommandError> {
    let dir = &configuration.data_dir;
    if !create && !dir.is_dir() {
        return Err(CommandError::Failed(format!("there is no store in {}", dir.display())));
    }
    match Engine::open(dir, configuration.engine.clone()) {
        Ok(engine) => Ok(Place::Here(Opened(Some(Arc::new(engine))))),
        Err(spoor::Error::Locked { .. }) => match Address::read(dir) {
            Some(address) => Ok(Place::Server(Client::connect(&address)?)),
            None => Err(CommandError::Failed(format!(
                "{} is open in another process that is no server; wait until it is done",
                dir.display()
            ))),
        },
        Err(error) => Err(error.into()),
    }
}

/// SIGTERM and SIGINT, which end the process no longer by themselves once this is made.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// The terminal is gone; `None` where this signal means something else.
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Listens from here on, to SIGHUP too if it is to stop. Inside a runtime only.
    pub(crate) fn listen(hangup_stops: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hangup_stops.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Returns once one of them arrives, or has arrived since it was last asked.
    pub(crate) async fn arrived(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = hung_up => {}
        }
    }
}
