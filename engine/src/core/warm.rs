//! What a caller's thread does before a request queues: it answers repeats by itself, and looks up the rows
//! that the writer will want, so that they are at hand.

use super::names::{KnownNames, Names};
use super::outcome::Outcome;
use super::prepare::Command;
use super::repeats::{Lookup, answer_repeats};
use super::root::fragment_row;
use super::rows::NameKind;
use super::sources::Registry;
use super::view::View;
use crate::error::Error;

/// The outcome of a request of nothing but repeats, all of which are visible; else `None`, and the rows that
/// deciding will look up have been read.
///
/// # Errors
/// [`Error`] if the store could not be read; the writer will tell.
pub fn warm<V: View>(
    view: &mut V,
    registry: &Registry,
    names: &Names,
    command: &mut Command,
) -> Result<Option<Outcome>, Error> {
    command.names = KnownNames {
        source: names.number(view, NameKind::Source, &command.source.name)?,
        space: names.number(view, NameKind::Space, &command.source.space)?,
        agent: match &command.agent {
            Some(packed) => names.number(view, NameKind::Agent, packed)?,
            None => None,
        },
        event_types: Vec::with_capacity(command.request.events.len()),
    };
    for event in &command.request.events {
        command.names.event_types.push(names.number(view, NameKind::EventType, &event.event_type)?);
    }
    let session = match answer_repeats(view, registry, command)? {
        Lookup::Repeats(outcome) => return Ok(Some(outcome)),
        Lookup::New { session } => session,
    };
    if let Some((_, row)) = session {
        view.parts(&row.current.part)?;
        if let Some(fragment) = row.current.fragment {
            fragment_row(view, fragment)?;
            view.tallies(&fragment)?;
        }
    }
    Ok(None)
}
