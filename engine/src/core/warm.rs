//! What a caller's thread does before a request queues: it answers repeats by itself, and looks up what the
//! writer will want and does not have in memory yet.
//!
//! What the writer has in memory anyway is left to it: looked up here as well, it would cost twice. So of a
//! request in a known session only the first event is looked for; if it is new, so is the request. The rows
//! of a session are looked up once for each checkpoint, and not at all if it was opened after the last one.

use super::names::{KnownNames, Names};
use super::outcome::Outcome;
use super::prepare::Command;
use super::repeats::{Lookup, answer_repeats};
use super::root::{fragment_row, root_of};
use super::rows::{Counters, IdentifierKey, LinkKey, NameKind, RepeatKey, RepeatScope, SessionKey};
use super::session::session_row;
use super::sources::Registry;
use super::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, NamespaceNo, SessionNo, SpaceNo};
use crate::limits::SESSIONS_WARM_MAX;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was found before a request queued.
#[derive(Debug)]
pub enum Found {
    /// The request is nothing but repeats, all of which are visible: its answer.
    Repeats(Outcome),
    /// It has something new.
    New {
        /// The key under which a repeat of its first event would be: nothing was.
        absent: Option<RepeatKey>,
    },
}

/// Sessions whose rows were looked up lately, each with the checkpoint after which that was.
#[derive(Debug)]
pub struct Warmed(Box<[AtomicU64]>);

impl Default for Warmed {
    fn default() -> Self {
        Self((0..SESSIONS_WARM_MAX).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Warmed {
    /// Notes a session, and says whether it was noted before, after the same checkpoint.
    fn note(&self, session: SessionNo, checkpoint: EventSeq) -> bool {
        let place = usize::try_from(session.0 % SESSIONS_WARM_MAX as u64).unwrap_or(0);
        // Two that look alike would only leave rows to the writer.
        let mark = session.0.rotate_left(32) ^ checkpoint.0;
        self.0.get(place).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
    }
}

/// Looks at a request that will queue. `checkpoint` are the numbers as of the last one: what came after is in
/// memory.
///
/// # Errors
/// [`Error`] if the store could not be read; the writer will tell.
pub fn warm<V: View + Clone>(
    view: &V,
    registry: &Registry,
    names: &Names,
    warmed: &Warmed,
    checkpoint: &Counters,
    command: &mut Command,
) -> Result<Found, Error> {
    command.names = known_names(view, names, command)?;
    warm_identifiers(view, names, command)?;
    if let (Some(session), Some(event)) = (command.names.session, command.events.first()) {
        let key = RepeatKey { scope: RepeatScope::Session(session).code(), hash: event.id_hash };
        if view.repeat(key)?.is_none() {
            if session <= checkpoint.session && !warmed.note(session, checkpoint.seq) {
                warm_rows(view, session)?;
            }
            return Ok(Found::New { absent: Some(key) });
        }
    }
    match answer_repeats(&mut view.clone(), registry, command)? {
        Lookup::Repeats(outcome) => Ok(Found::Repeats(outcome)),
        Lookup::New => Ok(Found::New { absent: None }),
    }
}

fn known_names<V: View>(view: &V, names: &Names, command: &Command) -> Result<KnownNames, Error> {
    let source = names.number(view, NameKind::Source, &command.source.name)?;
    let space = names.number(view, NameKind::Space, &command.source.space)?;
    let agent = match &command.agent {
        Some(packed) => names.number(view, NameKind::Agent, packed)?,
        None => None,
    };
    let mut event_types = Vec::with_capacity(command.request.events.len());
    for event in &command.request.events {
        event_types.push(names.number(view, NameKind::EventType, &event.event_type)?);
    }
    let session = match (command.request.session.as_deref(), space) {
        (Some(id), Some(space)) => view.session_ids(&SessionKey { space: SpaceNo(space), id: id.into() })?,
        _ => None,
    };
    Ok(KnownNames { source, space, agent, event_types, session: session.map(|session| *session) })
}

/// Reads what deciding about identifiers reads: outside values lie anywhere in the index, and so does who has them.
fn warm_identifiers<V: View>(view: &V, names: &Names, command: &mut Command) -> Result<(), Error> {
    if command.events.iter().all(|event| event.identifiers.is_empty()) {
        return Ok(());
    }
    let fragment = match command.names.session {
        Some(session) => session_row(view, session)?.1.current.fragment,
        None => None,
    };
    if let Some(fragment) = fragment {
        view.persons(&root_of(view, fragment)?)?;
    }
    for identifier in command.events.iter_mut().flat_map(|event| &mut event.identifiers) {
        if identifier.fault.is_some() {
            continue;
        }
        let Some(no) = names.number(view, NameKind::Namespace, &identifier.namespace)? else { continue };
        let namespace = NamespaceNo(no);
        identifier.namespace_no = Some(namespace);
        let key = IdentifierKey { namespace, value: identifier.value.clone() };
        let Some(no) = view.identifier_nos(&key)? else { continue };
        let Some(row) = view.identifiers(&no)? else { continue };
        if let Some(fragment) = fragment {
            view.links(&LinkKey { fragment, identifier: *no })?;
        }
        if let Some(owner) = row.owner {
            let root = root_of(view, owner)?;
            view.persons(&root)?;
        }
    }
    Ok(())
}

/// Reads what deciding about a known session reads.
fn warm_rows<V: View>(view: &V, session: SessionNo) -> Result<(), Error> {
    let (_, row) = session_row(view, session)?;
    view.parts(&row.current.part)?;
    if let Some(fragment) = row.current.fragment {
        view.devices(&fragment_row(view, fragment)?.device)?;
        view.tallies(&fragment)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_looked_up_once_for_each_checkpoint() {
        let warmed = Warmed::default();
        let (one, other) = (SessionNo(7), SessionNo(7 + SESSIONS_WARM_MAX as u64));
        assert!(!warmed.note(one, EventSeq(100)));
        assert!(warmed.note(one, EventSeq(100)));
        assert!(!warmed.note(one, EventSeq(200)), "the rows at hand went with the checkpoint");
        assert!(!warmed.note(other, EventSeq(200)), "another session in the same place");
        assert!(!warmed.note(one, EventSeq(200)));
    }
}
