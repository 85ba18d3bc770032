//! One session, and the sessions of a profile.

use super::events::ListedPart;
use super::{Cursor, Listing, Snapshot};
use crate::core::numbers::Numbers;
use crate::core::page::{PageFacts, page_facts};
use crate::core::rows::{NameKind, SessionRow};
use crate::core::session::{numbers_of, parts_of, session_row};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, SessionNo};
use crate::model::{Page, PageRequest, ReadError, Session, SessionCounters, SessionProfile, StoredEvent};

/// The word before the colon that names a session of one event that came without.
const IMPLICIT_SPACE: &str = "implicit";

impl Snapshot {
    /// One session: by its id, by `space:id`, or `implicit:SEQ`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`]; [`ReadError::AmbiguousId`]; [`ReadError::Failed`].
    pub fn session(&self, id: &str) -> Result<Session, ReadError> {
        if let Some(event) = self.implicit(id)? {
            return self.implicit_session(&event);
        }
        Ok(self.session_by_no(self.session_of(id)?)?)
    }

    /// The session's events, newest first by event time.
    ///
    /// # Errors
    /// As [`Snapshot::session`]; [`ReadError::Rejected`] for a limit or cursor that is not sound.
    pub fn session_events(&self, id: &str, request: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let listing = Listing::of("session-events", id, request)?;
        if let Some(event) = self.implicit(id)? {
            return Ok(Page { items: vec![event], cursor: None });
        }
        let version = self.version()?;
        let (session, row) = session_row(version, self.session_of(id)?)?;
        let mut parts = Vec::new();
        for part in parts_of(version, session, &row)? {
            let part_row = version.parts(&part)?;
            if let Some(last) = part_row.and_then(|row| row.numbers.last) {
                parts.push(ListedPart { last: last.time, part });
            }
        }
        parts.sort_unstable();
        parts.reverse();
        self.events_of_parts(parts.into_iter().map(Ok), listing)
    }

    pub(crate) fn session_by_no(&self, session: SessionNo) -> Result<Session, Error> {
        let version = self.version()?;
        let (session, row) = session_row(version, session)?;
        let numbers = numbers_of(version, session, &row)?;
        self.session_from(&row, &numbers)
    }

    fn session_from(&self, row: &SessionRow, numbers: &Numbers) -> Result<Session, Error> {
        let start = self.facts_at(numbers.start.map(|mark| mark.seq))?;
        let page = |mark: Option<crate::core::rows::Mark>| -> Result<Option<String>, Error> {
            Ok(self.facts_at(mark.map(|mark| mark.seq))?.page)
        };
        let started_at = numbers.start.map(|mark| mark.time).unwrap_or_default();
        let last_seen = numbers.last.map(|mark| mark.time).unwrap_or_default();
        let [device, os, browser] = self.agent_of(numbers.agent.0)?;
        Ok(Session {
            id: row.id.to_string(),
            source: self.text(NameKind::Source, row.source.0)?.to_string(),
            profile: row.current.fragment.map(|fragment| self.session_profile(fragment)).transpose()?,
            started_at,
            last_seen,
            ended_at: numbers.ended_at(row.silent_at),
            duration_ms: u64::try_from(last_seen.millis() - started_at.millis()).unwrap_or(0),
            counters: SessionCounters {
                events: numbers.events,
                page_views: numbers.page_views,
                conversions: numbers.conversions,
            },
            value: numbers.value.map(|value| value.to_string()),
            entry_page: page(numbers.entry)?,
            exit_page: page(numbers.exit)?,
            bounce: numbers.page_views <= 1 && numbers.conversions == 0,
            referrer: start.referrer,
            utm: start.utm.pairs(),
            device,
            os,
            browser,
            shared: row.shared,
        })
    }

    fn session_profile(&self, fragment: FragmentNo) -> Result<SessionProfile, Error> {
        Ok(SessionProfile { id: self.fragment_id(fragment)?, primary_id: self.primary_id(fragment)? })
    }

    /// Device class, operating system and browser of a user agent's number.
    fn agent_of(&self, no: u32) -> Result<[Option<String>; 3], Error> {
        if no == 0 {
            return Ok([None, None, None]);
        }
        let packed = self.text(NameKind::Agent, no)?;
        let mut fields = packed.split('\n').map(|field| (!field.is_empty()).then(|| field.to_owned()));
        Ok([fields.next().flatten(), fields.next().flatten(), fields.next().flatten()])
    }

    /// Page, referrer and UTM values of an event.
    fn facts_at(&self, seq: Option<EventSeq>) -> Result<PageFacts, Error> {
        let Some(seq) = seq else { return Ok(PageFacts::default()) };
        let Some((request, effect)) = self.request_at(seq)? else { return Ok(PageFacts::default()) };
        let event = request.events.get(usize::from(effect.index));
        let properties = event.and_then(|event| event.properties.as_ref());
        let event_context = event.and_then(|event| event.context.as_ref());
        Ok(page_facts(properties, event_context, request.context.as_ref()))
    }

    /// The event that `implicit:SEQ` names, if that is the form of `id`.
    fn implicit(&self, id: &str) -> Result<Option<StoredEvent>, ReadError> {
        let Some((IMPLICIT_SPACE, seq)) = id.split_once(':') else { return Ok(None) };
        // A client may call a session so: where no event is meant, the id is looked up like any other.
        let Ok(seq) = seq.parse() else { return Ok(None) };
        let Some((_, effect)) = self.request_at(EventSeq(seq))? else { return Ok(None) };
        let version = self.version()?;
        let part = effect.part.map(|part| version.parts(&part)).transpose()?.flatten();
        if part.is_some_and(|part| part.session.is_some()) {
            return Ok(None);
        }
        let event = self.event(EventSeq(seq))?;
        Ok(event.filter(|event| event.session == id))
    }

    fn implicit_session(&self, event: &StoredEvent) -> Result<Session, ReadError> {
        let facts = self.facts_at(Some(event.seq))?;
        let Some((_, effect)) = self.request_at(event.seq)? else { return Err(ReadError::NotFound) };
        let version = self.version()?;
        let part = effect.part.map(|part| version.parts(&part)).transpose()?.flatten();
        let fragment = part.and_then(|part| part.fragment);
        let [device, os, browser] = self.agent_of(effect.agent.0)?;
        let viewed = effect.has(crate::core::decision::EventEffect::PAGE_VIEW);
        let page = facts.page.filter(|_| viewed);
        Ok(Session {
            id: event.session.clone(),
            source: event.source.clone(),
            profile: fragment.map(|fragment| self.session_profile(fragment)).transpose()?,
            started_at: event.time,
            last_seen: event.time,
            ended_at: None,
            duration_ms: 0,
            counters: SessionCounters {
                events: 1,
                page_views: u64::from(viewed),
                conversions: u64::from(effect.has(crate::core::decision::EventEffect::CONVERSION)),
            },
            value: effect.value.map(|value| value.to_string()),
            entry_page: page.clone(),
            exit_page: page,
            bounce: false,
            referrer: facts.referrer,
            utm: facts.utm.pairs(),
            device,
            os,
            browser,
            shared: false,
        })
    }

    /// A session stands in its profile's list at the place of its latest part there, once.
    pub(crate) fn sessions_of_fragments(
        &self,
        members: &[FragmentNo],
        listing: Listing<'_>,
    ) -> Result<Page<Session>, ReadError> {
        let version = self.version()?;
        let Listing { request, after, .. } = listing;
        let mut page = Page { items: Vec::new(), cursor: None };
        let mut last_place = None;
        for listed in self.parts_of_fragments(members)? {
            let listed = listed?;
            let place = Cursor(listed.last.0.unsigned_abs(), listed.part.0);
            if after.is_some_and(|after| place >= after) || request.to.is_some_and(|to| listed.last >= to) {
                continue;
            }
            if request.from.is_some_and(|from| listed.last < from) {
                break;
            }
            let row = version.parts(&listed.part)?;
            let Some(session) = row.and_then(|row| row.session) else { continue };
            let (session, row) = session_row(version, session)?;
            if row.parts > 1 && !self.is_latest_here(session, &row, members, listed)? {
                continue;
            }
            if page.items.len() == listing.limit {
                page.cursor = last_place.map(|place| listing.cursor_text(place));
                break;
            }
            page.items.push(self.session_by_no(session)?);
            last_place = Some(place);
        }
        Ok(page)
    }

    fn is_latest_here(
        &self,
        session: SessionNo,
        row: &SessionRow,
        members: &[FragmentNo],
        listed: ListedPart,
    ) -> Result<bool, Error> {
        let version = self.version()?;
        for part in parts_of(version, session, row)? {
            let Some(other) = version.parts(&part)? else { continue };
            let here = other.fragment.is_some_and(|fragment| members.binary_search(&fragment).is_ok());
            let last = other.numbers.last.map(|last| ListedPart { last: last.time, part });
            if here && last.is_some_and(|last| last > listed) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
