//! A profile in the past: what was known at a receive time, or what had happened by an event time.
//!
//! Nothing is kept for it but what links hold anyway, since when and until when, and per fragment the places of the
//! events that its traits, consents and identifiers come from. So a past costs the profile's links, those events, and
//! the lists of its sessions' events.

use super::Snapshot;
use super::profile::Facts;
use crate::acting::effects_at;
use crate::core::consents::{ConsentStates, profile_consents};
use crate::core::decision::{Effect, Ends};
use crate::core::graph::{Edge, Tree, held_at, joined_at, link_row, links_of, members_at};
use crate::core::root::{fragment_row, members_of, root_of};
use crate::core::rows::{LinkKey, ListKey, ListKind, TallyRow, TraitsRow};
use crate::core::traits::Order;
use crate::core::view::View;
use crate::error::{Error, Rejection};
use crate::ids::{EventSeq, FragmentNo, IdentifierNo, SessionNo};
use crate::model::{AsOf, Profile, ReadError};
use crate::store::record::RecordView;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Up to where is looked.
#[derive(Debug, Clone, Copy)]
struct Until {
    /// Position.
    seq: EventSeq,
    /// Event time.
    time: Timestamp,
}

/// What the events of one fragment gave.
#[derive(Debug, Default)]
struct Gathered {
    traits: TraitsRow,
    consents: ConsentStates,
    seen: BTreeMap<IdentifierNo, (Timestamp, Timestamp)>,
}

impl Snapshot {
    /// The profile that an id finds, as of a past.
    ///
    /// # Errors
    /// As [`Snapshot::profile`]; [`ReadError::Rejected`] with `at_before_beginning`.
    pub fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let fragment = self.fragment_of(id)?;
        self.fragment_as_of(fragment, as_of)
    }

    pub(super) fn fragment_as_of(&self, fragment: FragmentNo, as_of: AsOf) -> Result<Profile, ReadError> {
        if as_of == AsOf::default() {
            return Ok(self.profile_of(fragment)?);
        }
        let version = self.version()?;
        let seq = self.position_of(as_of.at)?;
        let until = Until { seq, time: as_of.until.unwrap_or(Timestamp(i64::MAX)) };
        if fragment_row(version, fragment)?.created > seq {
            return Err(ReadError::NotFound);
        }
        let members = match as_of.at {
            Some(_) => members_at(version, fragment, seq)?,
            None => members_of(version, root_of(version, fragment)?)?,
        };
        Ok(self.profile_then(fragment, &members, until)?)
    }

    /// The last position that was received by a time.
    pub(super) fn position_of(&self, at: Option<Timestamp>) -> Result<EventSeq, ReadError> {
        let version = self.version()?;
        let Some(at) = at else { return Ok(version.counters.seq) };
        let received = |seq: u64| -> Result<Timestamp, Error> {
            let Some(record) = version.log.record(EventSeq(seq))? else { return Ok(Timestamp(i64::MAX)) };
            let view = RecordView::parse(record.bytes(), &version.path)?;
            // The events of a request are stamped one microsecond apart.
            let place = i64::try_from(seq - record.first_seq().0).unwrap_or(0);
            Ok(Timestamp(view.stamp.received.0.saturating_add(place)))
        };
        // Receive times never go back: of positions 1 to n, the last whose time is not beyond.
        let (mut known, mut beyond) = (0, version.counters.seq.0 + 1);
        while known + 1 < beyond {
            let middle = known + (beyond - known) / 2;
            if received(middle)? <= at { known = middle } else { beyond = middle }
        }
        if known == 0 {
            let message = "nothing had been received by then";
            return Err(ReadError::Rejected(Rejection::new("at_before_beginning", "at", message)));
        }
        Ok(EventSeq(known))
    }

    fn profile_then(
        &self,
        fragment: FragmentNo,
        members: &[FragmentNo],
        until: Until,
    ) -> Result<Profile, Error> {
        let mut gathered = Vec::with_capacity(members.len());
        for member in members {
            gathered.push((*member, self.gather(*member, until)?));
        }
        let mut seen: BTreeMap<IdentifierNo, (Timestamp, Timestamp)> = BTreeMap::new();
        for (no, (first, last)) in gathered.iter().flat_map(|(_, of)| &of.seen) {
            let entry = seen.entry(*no).or_insert((*first, *last));
            *entry = (entry.0.min(*first), entry.1.max(*last));
        }
        let identifiers = seen.into_iter().map(|(no, (first, last))| self.named_identifier(no, first, last));
        let identifiers = identifiers.collect::<Result<_, _>>()?;
        let tree = self.tree_then(members, until.seq)?;
        let consents: Vec<_> = gathered.iter().map(|(member, of)| (*member, &of.consents)).collect();
        let consents = profile_consents(&consents, |one, other| tree.joined(one, other));
        self.profile_from(Facts {
            fragment,
            members,
            fragments: members.len() as u64,
            tally: self.tally_then(members, until)?,
            traits: self.traits_of_rows(gathered.iter().map(|(_, of)| &of.traits))?,
            consents,
            identifiers,
        })
    }

    /// Traits, consents and identifiers of a fragment from the events that they come from.
    fn gather(&self, fragment: FragmentNo, until: Until) -> Result<Gathered, Error> {
        let version = self.version()?;
        let mut gathered = Gathered::default();
        for seq in version.list(ListKey { kind: ListKind::Operations, of: fragment.0 }, usize::MAX)? {
            let seq = EventSeq(seq);
            if seq > until.seq {
                break;
            }
            let Some((first, decision)) = self.decision_at(seq)? else { continue };
            for effect in effects_at(&decision, first, seq) {
                match effect {
                    Effect::Event(event) if event.time <= until.time => {
                        // It may have gone to whoever sat down here with the next identifier.
                        let part = event.part.map(|part| version.parts(&part)).transpose()?.flatten();
                        if part.is_none_or(|part| part.fragment != Some(fragment)) {
                            continue;
                        }
                        for (no, index, operation) in &event.traits {
                            let order = Order { time: event.time, tie: event.tie(), seq, index: *index };
                            gathered.traits.apply(*no, order, operation);
                        }
                        for (purpose, consent) in &event.consents {
                            gathered.consents.apply(*purpose, seq, *consent);
                        }
                    }
                    Effect::Link { fragment: of, identifier, time, .. }
                    | Effect::Quarantine { fragment: of, identifier, time, .. }
                        if *of == fragment && *time <= until.time =>
                    {
                        let entry = gathered.seen.entry(*identifier).or_insert((*time, *time));
                        *entry = (entry.0.min(*time), entry.1.max(*time));
                    }
                    _ => {}
                }
            }
        }
        let mut held = BTreeMap::new();
        for (identifier, seen) in gathered.seen {
            let row = link_row(version, Ends::Identifier(LinkKey { fragment, identifier }))?;
            if held_at(&row, until.seq) {
                held.insert(identifier, seen);
            }
        }
        gathered.seen = held;
        Ok(gathered)
    }

    fn tree_then(&self, members: &[FragmentNo], at: EventSeq) -> Result<Tree, Error> {
        let mut edges = BTreeMap::new();
        for member in members {
            for (ends, row) in links_of(self.version()?, *member)? {
                let span = row.spans.iter().rev().find(|span| span.joins && span.from <= at);
                let Some(span) = span.filter(|_| joined_at(&row, at)) else { continue };
                let edge = Edge { ends, order: row.order, since: span.since, verified: row.verified };
                edges.insert((span.since, row.order, ends), edge);
            }
        }
        Ok(Tree::of(&edges.into_values().collect::<Vec<_>>()))
    }

    fn tally_then(&self, members: &[FragmentNo], until: Until) -> Result<TallyRow, Error> {
        let version = self.version()?;
        let mut tally = TallyRow::default();
        let mut sessions: BTreeSet<SessionNo> = BTreeSet::new();
        for listed in self.parts_of_fragments(members)? {
            let part = listed?.part;
            let Some(row) = version.parts(&part)? else { continue };
            let mut any = false;
            for event in version.layers.postings(part, until.seq.0)? {
                // What the index holds of a part is not asked when it came.
                if event.time > until.time || event.seq > until.seq {
                    continue;
                }
                any = true;
                tally.events += 1;
                tally.page_views += u64::from(event.page_view);
                tally.implicit_sessions += u64::from(row.session.is_none());
                tally.first = Some(tally.first.map_or(event.time, |first| first.min(event.time)));
                tally.last = tally.last.max(Some(event.time));
            }
            if let (true, Some(session)) = (any, row.session) {
                sessions.insert(self.session_then(session, until.seq)?);
            }
        }
        tally.sessions = sessions.len() as u64;
        Ok(tally)
    }

    /// The session that a session was an alias of at a position.
    fn session_then(&self, session: SessionNo, at: EventSeq) -> Result<SessionNo, Error> {
        let mut now = session;
        while let Some(row) = self.version()?.sessions(&now)? {
            match (row.alias_of, row.alias_since) {
                (Some(kept), Some(since)) if since <= at => now = kept,
                _ => break,
            }
        }
        Ok(now)
    }
}
