//! Questions to the model.

use super::{DeviceKey, EventRow, Fragment, Identifier, LinkRow, LinkTo, Model, Place, SessionRow, State};
use spoor::ids::EventSeq;
use spoor::limits::PAGE_DEFAULT_ITEMS;
use spoor::model::{
    Page, PageRequest, Profile, ProfileCounters, ProfileIdentifier, ReadError, Session, StoredEvent,
};
use spoor::{LinkOutcome, Rejection, Timestamp};
use std::borrow::Cow;
use std::collections::BTreeMap;

impl Model {
    /// The profile that an id finds.
    ///
    /// # Errors
    /// Not found, or ambiguous.
    pub fn profile(&self, id: &str) -> Result<Profile, ReadError> {
        Ok(self.profile_of(self.fragment_by_id(id)?, None))
    }

    /// The profile of a fragment, of events up to an event time.
    pub(super) fn profile_of(&self, asked: usize, until: Option<Timestamp>) -> Profile {
        let person = self.person(asked);
        let of_then = match until {
            None => Cow::Borrowed(self),
            Some(until) => {
                let mut of_then = self.clone();
                of_then.events.retain(|event| event.time <= until);
                Cow::Owned(of_then)
            }
        };
        let events = of_then.events_of(&person);
        let ids: Vec<String> = person.iter().map(|&fragment| self.fragments[fragment].id.clone()).collect();
        Profile {
            id: self.fragments[asked].id.clone(),
            primary_id: ids[0].clone(),
            fragments: ids.len() as u64,
            ids,
            identifiers: self.identifiers_of(&person, until),
            traits: of_then.traits_of(&person),
            consents: of_then.consents_of(&person),
            counters: self.counters(&events),
            created_at: self.fragments[person[0]].created_at,
            first_seen: events.iter().map(|event| event.time).min(),
            last_seen: events.iter().map(|event| event.time).max(),
        }
    }

    /// What is counted of some events.
    pub(super) fn counters(&self, events: &[&EventRow]) -> ProfileCounters {
        let implicit = events.iter().filter(|event| event.place == Place::Implicit).count() as u64;
        ProfileCounters {
            events: events.len() as u64,
            sessions: rows_of(events).len() as u64 + implicit,
            implicit_sessions: implicit,
            page_views: events.iter().filter(|event| self.is_page_view(event)).count() as u64,
        }
    }

    fn identifiers_of(&self, person: &[usize], until: Option<Timestamp>) -> Vec<ProfileIdentifier> {
        let mut known: BTreeMap<Identifier, (Timestamp, Timestamp)> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.state == State::Holds) {
            if let LinkTo::Identifier(identifier) = &link.to
                && person.contains(&link.fragment)
                && until.is_none_or(|until| link.first_seen <= until)
            {
                let last = self.last_seen(link, until);
                let seen = known.entry(identifier.clone()).or_insert((link.first_seen, last));
                *seen = (seen.0.min(link.first_seen), seen.1.max(last));
            }
        }
        known
            .into_iter()
            .map(|(identifier, (first_seen, last_seen))| ProfileIdentifier {
                namespace: identifier.namespace,
                value: identifier.value,
                first_seen,
                last_seen,
            })
            .collect()
    }

    /// A page of the profile's events, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let person = self.person(self.fragment_by_id(id)?);
        self.page_of_events(self.events_of(&person), page)
    }

    /// A page of the profile's sessions, newest first by last event.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_sessions(&self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        let person = self.person(self.fragment_by_id(id)?);
        let mut rows = rows_of(&self.events_of(&person));
        rows.sort_by_key(|&row| self.events_of_session(row).last().map(|event| event.order()));
        rows.reverse();
        cut(rows.into_iter().map(|row| self.session_of_row(row)).collect(), page)
    }

    /// One session.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn session(&self, id: &str) -> Result<Session, ReadError> {
        Ok(self.session_of_row(self.row_by_id(id)?))
    }

    /// A page of the session's events, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn session_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.page_of_events(self.events_of_session(self.row_by_id(id)?), page)
    }

    /// How many events are stored.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The last time up to an event time at which a fragment's events brought an identifier.
    fn last_seen(&self, link: &LinkRow, until: Option<Timestamp>) -> Timestamp {
        let Some(until) = until.filter(|until| link.last_seen > *until) else { return link.last_seen };
        let LinkTo::Identifier(identifier) = &link.to else { return link.last_seen };
        let brings = |event: &&EventRow| {
            event.fragment == Some(link.fragment)
                && event.time <= until
                && event.links.iter().any(|reply| {
                    reply.identifier == identifier.to_string() && reply.outcome != LinkOutcome::Refused
                })
        };
        let last = self.events.iter().filter(brings).map(|event| event.time).max();
        last.unwrap_or(link.first_seen)
    }

    /// The fragment that has an id which was drawn.
    pub(super) fn by_drawn_id(&self, id: &str) -> Option<usize> {
        self.fragments.iter().position(|fragment| fragment.id == id && self.client_key(fragment).is_none())
    }

    pub(super) fn fragment_by_id(&self, id: &str) -> Result<usize, ReadError> {
        match self.by_drawn_id(id) {
            Some(fragment) => Ok(fragment),
            None => only(id, self.fragments.iter().map(|fragment| self.client_key(fragment))),
        }
    }

    /// Id space and id of a fragment whose id a trusted source brought.
    fn client_key(&self, fragment: &Fragment) -> Option<(String, String)> {
        let device = &self.devices[fragment.device];
        let first = self.fragments[device.first].id == fragment.id;
        match &device.key {
            DeviceKey::Client { space, id } if first => Some((space.clone(), id.clone())),
            _ => None,
        }
    }

    fn row_by_id(&self, id: &str) -> Result<usize, ReadError> {
        let key = |row: &SessionRow| Some((row.space.clone(), row.id.clone()));
        only(id, self.sessions.iter().map(key)).map(|row| self.resolve(row))
    }

    fn page_of_events(
        &self,
        mut events: Vec<&EventRow>,
        page: &PageRequest,
    ) -> Result<Page<StoredEvent>, ReadError> {
        events.retain(|event| {
            page.event_type.as_ref().is_none_or(|wanted| event.sent.event_type == *wanted)
                && page.from.is_none_or(|from| event.time >= from)
                && page.to.is_none_or(|to| event.time < to)
        });
        events.sort_by_key(|event| (event.time, event.sequence));
        events.reverse();
        cut(events.into_iter().map(|event| self.stored(event)).collect(), page)
    }

    fn stored(&self, event: &EventRow) -> StoredEvent {
        StoredEvent {
            seq: EventSeq(event.sequence),
            id: event.id.clone(),
            event_type: event.sent.event_type.clone(),
            time: event.time,
            received_at: event.received,
            source: event.source.clone(),
            session: match event.place {
                Place::Session(row) => self.sessions[row].id.clone(),
                Place::Implicit => format!("implicit:{}", event.sequence),
            },
            profile: event.fragment.map(|fragment| self.fragments[fragment].id.clone()),
            properties: event.sent.properties.clone(),
            context: event.request_context.clone(),
            event_context: event.sent.context.clone(),
            identifiers: event.sent.identifiers.clone(),
        }
    }
}

/// The sessions that some events are of.
fn rows_of(events: &[&EventRow]) -> Vec<usize> {
    let place = |event: &&EventRow| match event.place {
        Place::Session(row) => Some(row),
        Place::Implicit => None,
    };
    let mut rows: Vec<usize> = events.iter().filter_map(place).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The one thing that an id names, bare or as `space:id`.
fn only(id: &str, keys: impl Iterator<Item = Option<(String, String)>>) -> Result<usize, ReadError> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (index, key) in keys.enumerate() {
        let Some((space, own)) = key else { continue };
        let full = format!("{space}:{own}");
        if full == id {
            return Ok(index);
        }
        if own == id {
            found.push((index, full));
        }
    }
    match found.as_slice() {
        [] => Err(ReadError::NotFound),
        [(index, _)] => Ok(*index),
        _ => Err(ReadError::AmbiguousId { candidates: found.into_iter().map(|(_, full)| full).collect() }),
    }
}

/// The items that a page asks for; the model's cursor is how many came before.
pub(super) fn cut<T>(items: Vec<T>, page: &PageRequest) -> Result<Page<T>, ReadError> {
    let limit = if page.limit == 0 { PAGE_DEFAULT_ITEMS } else { page.limit };
    let skip = match page.cursor.as_deref().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => {
            return Err(ReadError::Rejected(Rejection::new("cursor_invalid", "cursor", "no cursor")));
        }
    };
    let more = items.len() > skip + limit;
    let items = items.into_iter().skip(skip).take(limit).collect();
    Ok(Page { items, cursor: more.then(|| (skip + limit).to_string()) })
}
