//! Events from the log, and pages of them from the lists of parts.

use super::{Cursor, Listing, Snapshot};
use crate::core::decision::{Effect, EventEffect};
use crate::core::rows::{NameKey, NameKind, Posting};
use crate::core::session::session_row;
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, PartNo, TypeNo};
use crate::model::{Page, ReadError, StoredEvent};
use crate::request::TrackRequest;
use crate::store::codec::KeyBytes;
use crate::store::index::{Order, TableId};
use crate::store::layers::number_at;
use crate::store::log::Record;
use crate::store::record::RecordView;
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

/// A part with the time of its last event; sorts by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedPart {
    /// Event time of its last event.
    pub last: Timestamp,
    /// The part.
    pub part: PartNo,
}

/// An event found in a part's list; sorts by event time, then sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found(Posting);

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Found {
    const fn place(self) -> Cursor {
        Cursor(self.0.time.0.unsigned_abs(), self.0.seq.0)
    }
}

/// Which postings a page takes.
struct Filter {
    event_type: Option<TypeNo>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<Cursor>,
}

impl Filter {
    fn takes(&self, found: Found) -> bool {
        let posting = found.0;
        self.event_type.is_none_or(|event_type| event_type == posting.event_type)
            && self.from.is_none_or(|from| posting.time >= from)
            && self.to.is_none_or(|to| posting.time < to)
            && self.after.is_none_or(|after| found.place() < after)
    }
}

impl Snapshot {
    /// The parts of some fragments, the one with the latest event first. Parts that changed since the last
    /// checkpoint come from memory, the others from the index in its order.
    pub(crate) fn parts_of_fragments<'a>(
        &'a self,
        members: &[FragmentNo],
    ) -> Result<impl Iterator<Item = Result<ListedPart, Error>> + use<'a>, Error> {
        let version = self.version()?;
        let mut changed: Vec<ListedPart> = Vec::new();
        let mut seen = HashSet::new();
        let layers = &version.layers;
        let mut streams = Vec::with_capacity(members.len());
        for member in members {
            for generation in layers.frozen.iter().chain([&layers.active]) {
                for part in generation.touched_parts.get(member) {
                    if !seen.insert(part) {
                        continue;
                    }
                    if let Some(last) = version.parts(&part)?.and_then(|row| row.numbers.last) {
                        changed.push(ListedPart { last: last.time, part });
                    }
                }
            }
            let (from, to) = (member.key_bytes(), member.next().key_bytes());
            let rows =
                layers.base.reader().range(TableId::FragmentParts, &from, Some(&to), Order::Ascending)?;
            streams.push(rows);
        }
        changed.sort_unstable();
        Ok(Merge { changed, seen, streams: streams.into_iter().map(|rows| (None, rows)).collect() })
    }

    /// A page of the events of some parts, which come latest first. A part is opened only when its last
    /// event is due, so that a page costs the parts that it shows.
    pub(crate) fn events_of_parts(
        &self,
        parts: impl IntoIterator<Item = Result<ListedPart, Error>>,
        listing: Listing<'_>,
    ) -> Result<Page<StoredEvent>, ReadError> {
        let mut page = Page { items: Vec::new(), cursor: None };
        let Some(filter) = self.filter(listing)? else { return Ok(page) };
        let version = self.version()?;
        let mut parts = parts.into_iter().peekable();
        let mut found: BinaryHeap<Found> = BinaryHeap::new();
        let mut last_place = None;
        loop {
            let top = found.peek().map(|found| found.0.time);
            let open = match parts.peek() {
                Some(Ok(next)) => {
                    filter.from.is_none_or(|from| next.last >= from) && top.is_none_or(|top| next.last >= top)
                }
                Some(Err(_)) => true,
                None => false,
            };
            if open {
                let Some(listed) = parts.next().transpose()? else { break };
                let events = version.layers.postings(listed.part, version.counters.seq.0)?;
                found.extend(events.into_iter().map(Found).filter(|found| filter.takes(*found)));
                continue;
            }
            let Some(next) = found.pop() else { break };
            if page.items.len() == listing.limit {
                page.cursor = last_place.map(|place| listing.cursor_text(place));
                break;
            }
            page.items.extend(self.event(next.0.seq)?);
            last_place = Some(next.place());
        }
        Ok(page)
    }

    /// `None` if nothing can pass, since no event has that type.
    fn filter(&self, listing: Listing<'_>) -> Result<Option<Filter>, ReadError> {
        let Listing { request, after, .. } = listing;
        let event_type = match &request.event_type {
            Some(text) => {
                let key = NameKey { kind: NameKind::EventType, text: text.as_str().into() };
                match self.version()?.names(&key)? {
                    Some(row) => Some(TypeNo(row.no)),
                    None => return Ok(None),
                }
            }
            None => None,
        };
        Ok(Some(Filter { event_type, from: request.from, to: request.to, after }))
    }

    /// One event by its sequence number.
    pub(crate) fn event(&self, seq: EventSeq) -> Result<Option<StoredEvent>, Error> {
        let version = self.version()?;
        if seq > version.counters.seq {
            return Ok(None);
        }
        let Some(record) = version.log.record(seq)? else { return Ok(None) };
        Ok(self.events_in(&record)?.into_iter().find(|event| event.seq == seq))
    }

    /// The request and the effect of an event.
    pub(crate) fn request_at(&self, seq: EventSeq) -> Result<Option<(TrackRequest, EventEffect)>, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(None) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        let place = usize::try_from(seq.0 - record.first_seq().0).unwrap_or(usize::MAX);
        let effects = view.decision(&version.path)?.effects.into_iter();
        let mut events = effects.filter_map(|effect| match effect {
            Effect::Event(event) => Some(event),
            _ => None,
        });
        let request = view.command(&version.path)?;
        Ok(request.zip(events.nth(place)))
    }

    /// All events after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error`] if the log could not be read.
    pub fn events_after(&self, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        let version = self.version()?;
        let mut events = Vec::new();
        for record in version.log.records_from(EventSeq(after.saturating_add(1))) {
            let record = record?;
            if events.len() >= limit || record.first_seq() > version.counters.seq {
                break;
            }
            events.extend(self.events_in(&record)?.into_iter().filter(|event| event.seq.0 > after));
        }
        events.truncate(limit);
        Ok(events)
    }

    /// The events of one record.
    pub(crate) fn events_in(&self, record: &Record) -> Result<Vec<StoredEvent>, Error> {
        let path = &self.version()?.path;
        let view = RecordView::parse(record.bytes(), path)?;
        let Some(request) = view.command(path)? else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        let mut seq = record.first_seq();
        for effect in view.decision(path)?.effects {
            if let Effect::Event(effect) = effect {
                events.extend(self.stored_event(&request, view.stamp.received, seq, &effect)?);
                seq = seq.next();
            }
        }
        Ok(events)
    }

    pub(super) fn stored_event(
        &self,
        request: &TrackRequest,
        received: Timestamp,
        seq: EventSeq,
        effect: &EventEffect,
    ) -> Result<Option<StoredEvent>, Error> {
        let version = self.version()?;
        let Some(event) = request.events.get(usize::from(effect.index)) else { return Ok(None) };
        let part = effect.part.map(|part| version.parts(&part)).transpose()?.flatten();
        let session = match part.as_ref().and_then(|part| part.session) {
            Some(session) => session_row(version, session)?.1.id.to_string(),
            None => format!("implicit:{}", seq.0),
        };
        let profile = part.and_then(|part| part.fragment).map(|fragment| self.fragment_id(fragment));
        Ok(Some(StoredEvent {
            seq,
            id: event.id.clone().unwrap_or_default(),
            event_type: event.event_type.clone(),
            time: effect.time,
            received_at: Timestamp(received.0 + i64::from(effect.index)),
            source: request.source.clone().unwrap_or_else(|| crate::settings::DEFAULT_SOURCE.to_owned()),
            session,
            profile: profile.transpose()?,
            properties: event.properties.clone(),
            context: request.context.clone(),
            event_context: event.context.clone(),
            identifiers: event.identifiers.clone(),
        }))
    }
}

/// Several lists in one order: what changed in memory, and a range of the index per fragment.
struct Merge<R> {
    /// Ascending: the next is the last.
    changed: Vec<ListedPart>,
    /// Parts whose place in the index is out of date.
    seen: HashSet<PartNo>,
    streams: Vec<(Option<ListedPart>, R)>,
}

impl<R, B> Merge<R>
where
    R: Iterator<Item = Result<(B, B), Error>>,
    B: AsRef<[u8]>,
{
    /// The next part of a stream that is not in memory.
    fn advance(seen: &HashSet<PartNo>, rows: &mut R) -> Result<Option<ListedPart>, Error> {
        for row in rows {
            let (key, _) = row?;
            let key = key.as_ref();
            let part = PartNo(number_at(key, 16));
            if !seen.contains(&part) {
                let last = u64::MAX - number_at(key, 8);
                return Ok(Some(ListedPart { last: Timestamp(last.cast_signed()), part }));
            }
        }
        Ok(None)
    }

    fn take(&mut self) -> Result<Option<ListedPart>, Error> {
        for (head, rows) in &mut self.streams {
            if head.is_none() {
                *head = Self::advance(&self.seen, rows)?;
            }
        }
        self.streams.retain(|(head, _)| head.is_some());
        let latest = self.streams.iter_mut().max_by_key(|(head, _)| *head);
        match (latest, self.changed.last()) {
            (Some((head, _)), Some(changed)) if head.is_some_and(|head| head > *changed) => Ok(head.take()),
            (_, Some(_)) => Ok(self.changed.pop()),
            (Some((head, _)), None) => Ok(head.take()),
            (None, None) => Ok(None),
        }
    }
}

impl<R, B> Iterator for Merge<R>
where
    R: Iterator<Item = Result<(B, B), Error>>,
    B: AsRef<[u8]>,
{
    type Item = Result<ListedPart, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}
