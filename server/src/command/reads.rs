//! `spoor profile`, `links`, `history`, `explain`, `blocked` and `quarantine list`: what is known of a person, and why.
//!
//! Each is one read of the interface: answered here if this process has the directory, else by its server. What is one
//! thing is printed with indents; what is a list, as JSON lines, all of it.

use super::{CommandError, Place, arguments, reach};
use crate::http::answer;
use crate::http::routes::Read;
use crate::protocol::write;
use crate::settings::Configuration;
use serde::Deserialize;
use serde_json::value::RawValue;
use spoor::Timestamp;
use spoor::limits::PAGE_MAX_ITEMS;
use spoor::model::{AsOf, PageRequest, ReadError};
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Arguments of `spoor profile`.
#[derive(Debug, clap::Args)]
pub(super) struct ProfileArguments {
    /// Any id of the profile; space:id for one that a source brought
    #[arg(required_unless_present = "identifier", conflicts_with = "identifier", value_parser = arguments::id)]
    id: Option<String>,
    /// An identifier of the profile instead, such as email:ada@example.com
    #[arg(long, value_name = "NS:VALUE", value_parser = arguments::identifier)]
    identifier: Option<String>,
    /// As it was known at this time of receipt (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Only what happened up to this event time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl ProfileArguments {
    fn read(self) -> Read {
        let as_of = AsOf { at: self.at, until: self.until };
        match self.identifier {
            Some(identifier) => Read::ProfileOf(identifier, as_of),
            None => Read::Profile(self.id.unwrap_or_default(), as_of),
        }
    }
}

/// The argument of `spoor links` and `spoor history`.
#[derive(Debug, clap::Args)]
pub(super) struct IdArgument {
    /// Any id of the profile
    #[arg(value_parser = arguments::id)]
    id: String,
}

/// Arguments of `spoor explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// An id
    #[arg(value_parser = arguments::id)]
    from: String,
    /// Another
    #[arg(value_parser = arguments::id)]
    to: String,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time such as 2026-01-31T09:30:00Z is expected".to_owned())
}

/// Prints one profile.
pub(super) fn profile(
    configuration: &Configuration,
    arguments: ProfileArguments,
) -> Result<ExitCode, CommandError> {
    one(configuration, &arguments.read())
}

/// Prints how two ids are joined.
pub(super) fn explain(
    configuration: &Configuration,
    arguments: ExplainArguments,
) -> Result<ExitCode, CommandError> {
    one(configuration, &Read::Explain { from: arguments.from, to: arguments.to })
}

/// Prints the links of a profile.
pub(super) fn links(configuration: &Configuration, argument: &IdArgument) -> Result<ExitCode, CommandError> {
    all(configuration, |page| Read::ProfileLinks(argument.id.clone(), page))
}

/// Prints what happened to who a profile is.
pub(super) fn history(
    configuration: &Configuration,
    argument: &IdArgument,
) -> Result<ExitCode, CommandError> {
    all(configuration, |page| Read::ProfileHistory(argument.id.clone(), page))
}

/// Prints the links that wait for a decision.
pub(super) fn quarantine(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    all(configuration, Read::Quarantine)
}

/// Prints the values that are blocked by hand.
pub(super) fn blocked(configuration: &Configuration) -> Result<ExitCode, CommandError> {
    all(configuration, Read::Blocked)
}

fn one(configuration: &Configuration, read: &Read) -> Result<ExitCode, CommandError> {
    let place = reach(configuration, false)?;
    let text = ask(&place, read)?;
    place.leave()?;
    println!("{}", write::indented(&String::from_utf8_lossy(&text)));
    Ok(ExitCode::SUCCESS)
}

fn all(configuration: &Configuration, read: impl Fn(PageRequest) -> Read) -> Result<ExitCode, CommandError> {
    let place = reach(configuration, false)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut request = PageRequest { limit: PAGE_MAX_ITEMS, ..PageRequest::default() };
    loop {
        let text = ask(&place, &read(request.clone()))?;
        let page: PageText<'_> = serde_json::from_slice(&text)
            .map_err(|error| CommandError::Failed(format!("the page is not understood: {error}")))?;
        for item in &page.items {
            if !printed(out.write_all(&write::line(item)))? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        match page.cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => break,
        }
    }
    printed(out.flush())?;
    place.leave()?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
pub(super) struct PageText<'a> {
    #[serde(borrow)]
    pub(super) items: Vec<&'a RawValue>,
    cursor: Option<String>,
}

/// Whether somebody still reads: `spoor links ID | head` is no failure.
pub(super) fn printed(outcome: io::Result<()>) -> Result<bool, CommandError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CommandError::Failed(format!("standard output: {error}"))),
    }
}

fn ask(place: &Place, read: &Read) -> Result<Vec<u8>, CommandError> {
    match place {
        Place::Here(opened) => answer::read(&**opened.store()?, read).map_err(failed),
        Place::Server(client) => Ok(client.read(read)?),
    }
}

fn failed(error: ReadError) -> CommandError {
    CommandError::Failed(match error {
        ReadError::NotFound => "nothing here has this id (not_found)".to_owned(),
        ReadError::AmbiguousId { candidates } => {
            format!(
                "this stands for several profiles: ask for one of {} (ambiguous_id)",
                candidates.join(", ")
            )
        }
        ReadError::Rejected(rejection) => rejection.to_string(),
        ReadError::Failed(error) => error.to_string(),
    })
}
