//! `spoor merge`, `undo`, `detach`, `attach`, `block`, `unblock` and `quarantine`: a person decides who is who.
//!
//! Each is one act: done here if this process has the directory, else by its server. What it did is printed as JSON.

use super::{CommandError, Place, arguments, reach, reads};
use crate::http::answer;
use crate::protocol::write;
use crate::settings::Configuration;
use clap::{Args, Subcommand};
use spoor::{Act, ActError};
use std::process::ExitCode;

/// Shared by all acts.
#[derive(Debug, Args)]
pub(super) struct Preview {
    /// Only print what it would do
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `spoor merge`.
#[derive(Debug, Args)]
pub(super) struct MergeArguments {
    /// An id of one profile
    #[arg(value_parser = arguments::id)]
    profile: String,
    /// An id of the other
    #[arg(value_parser = arguments::id)]
    other: String,
    /// Even if each has a value of a unique namespace, or they were told apart
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    preview: Preview,
}

/// Arguments of `spoor undo`.
#[derive(Debug, Args)]
pub(super) struct UndoArguments {
    /// The merge's id, such as m4711-0; `spoor history` lists them
    #[arg(value_parser = arguments::id)]
    merge: String,
    /// And never let the two become one again
    #[arg(long)]
    keep_apart: bool,
    #[command(flatten)]
    preview: Preview,
}

/// Arguments of `spoor detach` and `spoor attach`.
#[derive(Debug, Args)]
pub(super) struct IdentifierArguments {
    /// An id of the profile
    #[arg(value_parser = arguments::id)]
    id: String,
    /// Such as email:ada@example.com
    #[arg(value_name = "NS:VALUE", value_parser = arguments::identifier)]
    identifier: String,
    #[command(flatten)]
    preview: Preview,
}

/// Arguments of `spoor block` and `spoor unblock`.
#[derive(Debug, Args)]
pub(super) struct ValueArguments {
    /// Such as email:info@shop.example
    #[arg(value_name = "NS:VALUE", value_parser = arguments::identifier)]
    identifier: String,
    #[command(flatten)]
    preview: Preview,
}

/// What can be done with links in quarantine.
#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// Print all that wait, newest first, as JSON lines
    List,
    /// Resolve a link anew, without the limit that held it
    Approve(EntryArguments),
    /// Refuse a link from now on
    Reject(EntryArguments),
}

/// Arguments of `spoor quarantine approve` and `reject`.
#[derive(Debug, Args)]
pub(super) struct EntryArguments {
    /// The entry's id, such as q4711-0
    #[arg(value_parser = arguments::id)]
    id: String,
    #[command(flatten)]
    preview: Preview,
}

pub(super) fn merge(
    configuration: &Configuration,
    arguments: MergeArguments,
) -> Result<ExitCode, CommandError> {
    let MergeArguments { profile, other, force, preview } = arguments;
    run(configuration, Act::Merge { profile, other, force }, &preview)
}

pub(super) fn undo(
    configuration: &Configuration,
    arguments: UndoArguments,
) -> Result<ExitCode, CommandError> {
    let UndoArguments { merge, keep_apart, preview } = arguments;
    run(configuration, Act::Undo { merge, keep_apart }, &preview)
}

pub(super) fn detach(
    configuration: &Configuration,
    arguments: IdentifierArguments,
) -> Result<ExitCode, CommandError> {
    let IdentifierArguments { id: profile, identifier, preview } = arguments;
    run(configuration, Act::Detach { profile, identifier }, &preview)
}

pub(super) fn attach(
    configuration: &Configuration,
    arguments: IdentifierArguments,
) -> Result<ExitCode, CommandError> {
    let IdentifierArguments { id: profile, identifier, preview } = arguments;
    run(configuration, Act::Attach { profile, identifier }, &preview)
}

pub(super) fn block(
    configuration: &Configuration,
    arguments: ValueArguments,
) -> Result<ExitCode, CommandError> {
    run(configuration, Act::Block { identifier: arguments.identifier }, &arguments.preview)
}

pub(super) fn unblock(
    configuration: &Configuration,
    arguments: ValueArguments,
) -> Result<ExitCode, CommandError> {
    run(configuration, Act::Unblock { identifier: arguments.identifier }, &arguments.preview)
}

pub(super) fn quarantine(configuration: &Configuration, what: Quarantine) -> Result<ExitCode, CommandError> {
    let (EntryArguments { id: quarantine, preview }, approve) = match what {
        Quarantine::List => return reads::quarantine(configuration),
        Quarantine::Approve(arguments) => (arguments, true),
        Quarantine::Reject(arguments) => (arguments, false),
    };
    run(configuration, Act::Decide { quarantine, approve }, &preview)
}

fn run(configuration: &Configuration, act: Act, preview: &Preview) -> Result<ExitCode, CommandError> {
    let place = reach(configuration, false)?;
    let text = match &place {
        Place::Here(opened) => answer::act(&**opened.store()?, act, preview.dry_run).map_err(failed)?,
        Place::Server(client) => client.act(&act, preview.dry_run)?,
    };
    place.leave()?;
    println!("{}", write::indented(&String::from_utf8_lossy(&text)));
    Ok(ExitCode::SUCCESS)
}

fn failed(error: ActError) -> CommandError {
    CommandError::Failed(match error {
        ActError::NotFound(rejection) | ActError::Conflict(rejection) | ActError::Rejected(rejection) => {
            rejection.to_string()
        }
        ActError::Failed(error) => error.to_string(),
    })
}
