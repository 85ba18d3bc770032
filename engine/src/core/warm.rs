//! What a caller's thread does before a request queues: it answers repeats by itself, and looks up the rows
//! that the writer will want, so that they are at hand.

use super::decide::{Outcome, answer_repeats};
use super::prepare::Command;
use super::root::{fragment_row, root_of};
use super::rows::{NameKey, NameKind, SessionKey};
use super::session::session_row;
use super::sources::Registry;
use super::view::View;
use crate::error::Error;
use crate::ids::{FragmentNo, SpaceNo};

/// The outcome of a request of nothing but repeats, all of which are visible; else `None`, and the rows that
/// deciding will look up have been read.
///
/// # Errors
/// [`Error`] if the store could not be read; the writer will tell.
pub fn warm<V: View>(view: &mut V, registry: &Registry, command: &Command) -> Result<Option<Outcome>, Error> {
    if let Some(outcome) = answer_repeats(view, registry, command)? {
        return Ok(Some(outcome));
    }
    for (kind, text) in [(NameKind::Source, &command.source.name), (NameKind::Space, &command.source.space)] {
        view.names(&NameKey { kind, text: text.clone() })?;
    }
    for event in &command.request.events {
        let text = event.event_type.as_str().into();
        view.names(&NameKey { kind: NameKind::EventType, text })?;
    }
    if let Some(id) = command.request.session.as_deref() {
        warm_session(view, command, id)?;
    }
    Ok(None)
}

fn warm_session<V: View>(view: &V, command: &Command, id: &str) -> Result<(), Error> {
    let space = view.names(&NameKey { kind: NameKind::Space, text: command.source.space.clone() })?;
    let Some(space) = space.map(|row| SpaceNo(row.no)) else { return Ok(()) };
    let Some(session) = view.session_ids(&SessionKey { space, id: id.into() })? else { return Ok(()) };
    let (_, row) = session_row(view, *session)?;
    view.parts(&row.current.part)?;
    match row.current.fragment {
        Some(fragment) => warm_fragment(view, fragment),
        None => Ok(()),
    }
}

fn warm_fragment<V: View>(view: &V, fragment: FragmentNo) -> Result<(), Error> {
    let row = fragment_row(view, fragment)?;
    view.devices(&row.device)?;
    view.tallies(&fragment)?;
    view.groups(&root_of(view, fragment)?)?;
    Ok(())
}
