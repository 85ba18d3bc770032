//! Sending again is safe: where an event id is unique, how a repeat is found, what it is answered with.

use super::apply::missing;
use super::choose::Sent;
use super::decide::{Decider, Stamp};
use super::decision::{Effect, EventEffect, LinkResult};
use super::outcome::{EventOutcome, LinkTold, Outcome, SessionName, SessionOutcome};
use super::prepare::Command;
use super::root::fragment_row;
use super::rows::{ProfileAt, RepeatKey, RepeatScope, SessionRow};
use super::session::session_row;
use super::sources::Registry;
use super::view::{KnownEvent, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, SessionNo};
use crate::json::Json;
use crate::reply::{EventStatus, Reason};
use crate::request::{Consent, Event, TrackRequest, TraitOperations};
use crate::time::Timestamp;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Events of one hash that are told apart within one scope; further ones are stored without protection
/// against repeats. Only ids made to collide get this far.
pub const REPEAT_STEPS: u8 = 8;

/// What looking for repeats came to.
#[derive(Debug)]
pub enum Lookup {
    /// There is nothing else in the request: it is answered.
    Repeats(Outcome),
    /// There is.
    New,
}

/// The firsts of a request's events.
pub(super) enum Firsts {
    /// All events are repeats of these.
    All(Vec<EventSeq>),
    /// Some event is new. What was found of the first event, if that is the one and its scope is there.
    Some(Option<Repeat>),
}

/// What was found of a repeat.
pub(super) enum Repeat {
    /// It is stored already, there.
    Stored(EventSeq),
    /// It is not; it can be noted so many steps from its hash. `reused` says that its id is known with
    /// another type.
    New { step: Option<u8>, reused: bool },
}

/// Hash of what an event says, the same in every store: all that its sender would send again unchanged, and so not
/// `sent_at`, nor what the connection says of itself.
fn content_hash(source: &str, request: &TrackRequest, event: &Event) -> u64 {
    let mut hash = Content(Xxh3::new());
    hash.text(source);
    hash.maybe(request.profile.as_deref());
    hash.number(u64::from(request.profile_less));
    hash.maybe(request.context.as_ref().map(Json::as_str));
    hash.text(event.id.as_deref().unwrap_or_default());
    hash.text(&event.event_type);
    hash.number(event.time.map_or(0, |time| time.0.cast_unsigned().wrapping_add(1)));
    hash.maybe(event.properties.as_ref().map(Json::as_str));
    hash.maybe(event.context.as_ref().map(Json::as_str));
    hash.pairs(event.identifiers.iter().map(|(namespace, value)| (namespace.as_str(), value.as_str())));
    let TraitOperations { set, set_once, unset, add, append, remove } = &event.traits;
    for list in [set, set_once, add, append, remove] {
        hash.pairs(list.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }
    hash.pairs(unset.iter().map(|name| (name.as_str(), "")));
    let answer = |consent| if consent == Consent::Granted { "granted" } else { "refused" };
    hash.pairs(event.consents.iter().map(|(purpose, consent)| (purpose.as_str(), answer(*consent))));
    hash.0.digest()
}

/// Parts of a content, each so that it cannot run into the next.
struct Content(Xxh3);

impl Content {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn pairs<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
        self.number(pairs.len() as u64);
        for (one, other) in pairs {
            self.text(one);
            self.text(other);
        }
    }
}

/// Answers a request of nothing but repeats, with session and profile as they are now.
///
/// # Errors
/// [`Error`] if the store could not be read.
pub fn answer_repeats<V: View>(
    view: &mut V,
    registry: &Registry,
    command: &Command,
) -> Result<Lookup, Error> {
    if command.events.is_empty() {
        return Ok(Lookup::Repeats(Outcome::default()));
    }
    let stamp = Stamp { received: Timestamp(0), entropy: 0 };
    let mut decider = Decider::new(view, registry, command, stamp);
    let session = decider.find_session()?;
    let sent = decider.find_profile(session.as_ref())?;
    match decider.find_repeats(session.as_ref(), &sent)? {
        Firsts::All(firsts) => decider.answer_repeats(&firsts, &sent).map(Lookup::Repeats),
        Firsts::Some(_) => Ok(Lookup::New),
    }
}

/// The event at a place among those of a decision, and what became of its identifiers.
#[must_use]
pub fn event_at(effects: &[Effect], place: usize) -> Option<(&EventEffect, &[LinkResult])> {
    let mut links: &[LinkResult] = &[];
    let mut left = place;
    for effect in effects {
        match effect {
            Effect::Identified { results, .. } => links = results,
            Effect::Event(event) if left == 0 => return Some((event, links)),
            Effect::Event(_) => {
                links = &[];
                left -= 1;
            }
            _ => {}
        }
    }
    None
}

impl<S: View> Decider<'_, S> {
    /// Looks for an event that is new.
    pub(super) fn find_repeats(
        &self,
        session: Option<&(SessionNo, Arc<SessionRow>)>,
        by_id: &Sent,
    ) -> Result<Firsts, Error> {
        let mut firsts = Vec::with_capacity(self.command.events.len());
        for index in 0..self.command.events.len() {
            let sent = self.sent_for(by_id, index)?;
            let scope = self.scope(session.map(|(no, _)| *no), &sent, index);
            match scope.map(|scope| self.find_repeat(scope, index)).transpose()? {
                Some(Repeat::Stored(first)) => firsts.push(first),
                found => return Ok(Firsts::Some(found.filter(|_| index == 0))),
            }
        }
        Ok(Firsts::All(firsts))
    }

    pub(super) fn find_repeat(&self, scope: RepeatScope, index: usize) -> Result<Repeat, Error> {
        let none = Repeat::New { step: None, reused: false };
        let (Some(event), Some(parsed)) =
            (self.command.request.events.get(index), self.command.events.get(index))
        else {
            return Ok(none);
        };
        let Some(id) = event.id.as_deref() else { return Ok(none) };
        let mut reused = false;
        for step in 0..REPEAT_STEPS {
            let key = RepeatKey { scope: scope.code(), hash: parsed.id_hash.wrapping_add(u64::from(step)) };
            let Some(seq) = self.state.repeat(key)? else {
                return Ok(Repeat::New { step: Some(step), reused });
            };
            let known = self.known_event(seq)?;
            if &*known.id == id {
                if *known.event_type == *event.event_type {
                    return Ok(Repeat::Stored(seq));
                }
                reused = true;
            }
        }
        Ok(Repeat::New { step: None, reused })
    }

    /// Where an event's id is unique: the first of these that was sent and names somebody: session, profile id or
    /// device key. `None` where that is not there yet; once it is, the same rule gives the scope under which the
    /// event is noted. `sent` is what names the device of the event at `index`.
    ///
    /// An event that names nobody repeats only one that says the same: two strangers who both count their events
    /// from 1 are two, and a first request that is sent again because its answer was lost is one.
    pub(super) fn scope(&self, session: Option<SessionNo>, sent: &Sent, index: usize) -> Option<RepeatScope> {
        if self.command.request.session.is_some() {
            return session.map(RepeatScope::Session);
        }
        match sent {
            Sent::Known { device, .. } => Some(RepeatScope::Device(*device)),
            Sent::ToMake | Sent::ToMakeFor { .. } => None,
            Sent::Unknown | Sent::Nothing => Some(self.content_scope(index)),
        }
    }

    /// The scope of an event that names nobody.
    pub(super) fn content_scope(&self, index: usize) -> RepeatScope {
        let Command { request, source, .. } = self.command;
        let event = request.events.get(index);
        RepeatScope::Content(event.map_or(0, |event| content_hash(&source.name, request, event)))
    }

    /// An event that is stored, perhaps by this very request.
    pub(super) fn known_event(&self, seq: EventSeq) -> Result<KnownEvent, Error> {
        let Some(place) = seq.0.checked_sub(self.first_seq.0) else {
            return self.state.known_event(seq)?.ok_or_else(|| missing("first event"));
        };
        let found = usize::try_from(place).ok().and_then(|place| event_at(&self.effects, place));
        let (effect, links) = found.ok_or_else(|| missing("first event"))?;
        let sent = self.command.request.events.get(usize::from(effect.index));
        let sent = sent.ok_or_else(|| missing("first event"))?;
        Ok(KnownEvent {
            id: sent.id.as_deref().unwrap_or_default().into(),
            event_type: sent.event_type.as_str().into(),
            part: effect.part,
            links: links.to_vec(),
        })
    }

    /// Results with the ids of the profiles that they name.
    pub(super) fn link_outcomes(&self, links: Vec<LinkResult>) -> Result<Vec<LinkTold>, Error> {
        let key = |fragment| Ok::<_, Error>(fragment_row(self.state, fragment)?.key.clone());
        let told = |result: LinkResult| {
            let profiles = match result.sides {
                Some((one, other)) => Some((key(one)?, key(other)?)),
                None => None,
            };
            Ok(LinkTold { result, profiles })
        };
        links.into_iter().map(told).collect()
    }

    pub(super) fn answer_repeats(&mut self, firsts: &[EventSeq], by_id: &Sent) -> Result<Outcome, Error> {
        let mut events = Vec::with_capacity(firsts.len());
        for (index, first) in firsts.iter().enumerate() {
            let sent = self.sent_for(by_id, index)?;
            events.push(self.repeat_outcome(*first, &sent)?);
        }
        Ok(self.outcome(events))
    }

    /// The result for a repeat: the first's place, with session and profile as they are now. Its reason is how
    /// the profile would be found now, unless this request has just found it.
    pub(super) fn repeat_outcome(&self, first: EventSeq, sent: &Sent) -> Result<EventOutcome, Error> {
        let mut outcome = EventOutcome {
            seq: first,
            status: EventStatus::Duplicate,
            session: Some(SessionOutcome {
                name: SessionName::Implicit(first),
                created: first >= self.first_seq,
            }),
            profile: None,
            links: self.link_outcomes(self.known_event(first)?.links)?,
            refused: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(session) = self.session_outcome(first)? {
            outcome.session = Some(session);
        }
        let Some(part) = self.known_event(first)?.part else { return Ok(outcome) };
        let part = self.state.parts(&part)?.ok_or_else(|| missing("part"))?;
        if let Some(fragment) = part.fragment {
            let at = match self.chosen.iter().rfind(|at| at.fragment == fragment) {
                Some(at) => *at,
                None => ProfileAt { fragment, reason: self.repeat_reason(fragment, sent)? },
            };
            outcome.profile = Some(self.profile_outcome(at)?);
        }
        Ok(outcome)
    }

    /// The session of a stored event as it is now; `None` if it is implicit.
    pub(super) fn session_outcome(&self, seq: EventSeq) -> Result<Option<SessionOutcome>, Error> {
        let Some(part) = self.known_event(seq)?.part else { return Ok(None) };
        let part = self.state.parts(&part)?.ok_or_else(|| missing("part"))?;
        let Some(session) = part.session else { return Ok(None) };
        let (_, row) = session_row(self.state, session)?;
        let created = row.created >= self.first_seq;
        Ok(Some(SessionOutcome { name: SessionName::Id(row.id.clone()), created }))
    }

    pub(super) fn repeat_reason(&self, fragment: FragmentNo, sent: &Sent) -> Result<Reason, Error> {
        let Sent::Known { fragment: known, .. } = sent else { return Ok(Reason::Recovered) };
        let device = |fragment| Ok::<_, Error>(fragment_row(self.state, fragment)?.device);
        let same = device(*known)? == device(fragment)? || self.same_person(*known, fragment)?;
        Ok(if same { Reason::Sent } else { Reason::SessionOwner })
    }
}
