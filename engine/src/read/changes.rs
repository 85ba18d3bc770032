//! What happened, position by position, from the records of the log.
//!
//! A change must be the same whenever it is read: before and after a checkpoint, a rebuild, a merge that came later.
//! So it rests on what the record holds, on rows that never change, and on what rows say of its position; never on
//! what is so now. Knows no subscriber.

use super::Snapshot;
use super::history::{ends_of, name_of};
use crate::act::Act;
use crate::change::{
    Acted, Change, EventStored, ExpiredLink, Happened, Merged, ProfileIds, SessionEnded, SessionsJoined,
};
use crate::core::apply::missing;
use crate::core::decision::{Effect, Ends, EventEffect, LinkCode, LinkResult};
use crate::core::graph::members_at;
use crate::core::rows::NameKind;
use crate::core::traits::TraitOperation;
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, SessionNo};
use crate::json::Json;
use crate::limits::CHANGES_MAX_BYTES;
use crate::reply::{LinkOutcome, LinkReply};
use crate::request::{TrackRequest, TraitOperations};
use crate::store::log::Record;
use crate::store::record::RecordView;
use crate::time::Timestamp;
use crate::words::{identifier_text, key_text, merge_id, quarantine_id};
use std::collections::BTreeSet;

/// What the changes of one record share.
struct Cause<'a> {
    received: Timestamp,
    request: Option<&'a TrackRequest>,
    act: Option<&'a Act>,
}

impl Snapshot {
    /// All that happened after the position `after`, oldest first: one change for each position. At most `limit`, and
    /// fewer once the events in them have [`CHANGES_MAX_BYTES`]; none only if nothing happened since.
    ///
    /// Costs what the records hold, and for a merge without an identifier, and for what a person decided, the links
    /// of the profiles in question.
    ///
    /// # Errors
    /// [`Error`] if the log or the index could not be read.
    pub fn changes_after(&self, after: u64, limit: usize) -> Result<Vec<Change>, Error> {
        let version = self.version()?;
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for record in version.log.records_from(EventSeq(after.saturating_add(1))) {
            let record = record?;
            if record.first_seq() > version.counters.seq {
                break;
            }
            self.add_changes(&record, after, limit, (&mut changes, &mut bytes))?;
            if changes.len() >= limit || bytes >= CHANGES_MAX_BYTES {
                break;
            }
        }
        Ok(changes)
    }

    fn add_changes(
        &self,
        record: &Record,
        after: u64,
        limit: usize,
        (changes, bytes): (&mut Vec<Change>, &mut usize),
    ) -> Result<(), Error> {
        let path = &self.version()?.path;
        let view = RecordView::parse(record.bytes(), path)?;
        let decision = view.decision(path)?;
        let (request, act) = (view.command(path)?, view.act(path)?);
        let cause = Cause { received: view.stamp.received, request: request.as_ref(), act: act.as_ref() };
        let mut seq = record.first_seq();
        for effects in decision.effects.split_inclusive(Effect::takes_seq) {
            if seq.0 > after {
                if changes.len() >= limit || *bytes >= CHANGES_MAX_BYTES {
                    return Ok(());
                }
                let change = self.change(seq, effects, &cause)?;
                *bytes += size_of_text(&change);
                changes.push(change);
            }
            seq = seq.next();
        }
        Ok(())
    }

    fn change(&self, seq: EventSeq, effects: &[Effect], cause: &Cause<'_>) -> Result<Change, Error> {
        let (happened, at) = match (effects.last(), cause) {
            (Some(Effect::Event(event)), Cause { request: Some(request), .. }) => {
                let stored = self.event_stored(seq, event, effects, request, cause.received)?;
                let at = stored.event.received_at;
                (Happened::Event(Box::new(stored)), at)
            }
            (Some(Effect::Ended { session, at }), _) => (self.session_ended(*session, *at)?, cause.received),
            (Some(Effect::Acted), Cause { act: Some(act), .. }) => {
                let acted = Acted { kind: name_of(act), act: (*act).clone() };
                (Happened::Act(acted), cause.received)
            }
            (Some(Effect::Expired), _) => (self.links_expired(effects)?, cause.received),
            _ => return Err(missing("request or an act")),
        };
        let mut change = Change {
            seq,
            at,
            happened,
            created: Vec::new(),
            merges: self.merges(seq, effects)?,
            profiles: self.profiles_after(seq, effects)?,
            sessions_joined: Vec::new(),
            rules: None,
        };
        for effect in effects {
            match effect {
                Effect::Device { key, .. } | Effect::Fragment { key, .. } => {
                    change.created.push(key_text(key));
                }
                Effect::Bridge { kept, alias } => change.sessions_joined.push(SessionsJoined {
                    session: self.session_id_at(*alias, EventSeq(0))?,
                    into: self.session_id_at(*kept, EventSeq(0))?,
                }),
                Effect::Ruled(rules) => change.rules = Some(rules.clone()),
                _ => {}
            }
        }
        Ok(change)
    }

    fn event_stored(
        &self,
        seq: EventSeq,
        effect: &EventEffect,
        effects: &[Effect],
        request: &TrackRequest,
        received: Timestamp,
    ) -> Result<EventStored, Error> {
        let version = self.version()?;
        let mut event = self
            .stored_event(request, received, seq, effect)?
            .ok_or_else(|| missing("member of a request"))?;
        let part = effect.part.map(|part| version.parts(&part)).transpose()?.flatten();
        if let Some(session) = part.and_then(|part| part.session) {
            event.session = self.session_id_at(session, seq)?;
        }
        let mut consents = Vec::with_capacity(effect.consents.len());
        for (purpose, answer) in &effect.consents {
            consents.push((self.text(NameKind::Consent, purpose.0)?.to_string(), *answer));
        }
        Ok(EventStored {
            event,
            traits: self.accepted(effect)?,
            consents,
            links: self.links_told(seq, effects)?,
            ends_session: effect.has(EventEffect::SESSION_END),
        })
    }

    /// The trait operations of an event that were accepted, as they are sent.
    fn accepted(&self, effect: &EventEffect) -> Result<TraitOperations, Error> {
        let mut accepted = TraitOperations::default();
        for (no, _, operation) in &effect.traits {
            let name = self.text(NameKind::Trait, no.0)?.to_string();
            match operation {
                TraitOperation::Set(value) => accepted.set.push((name, value.clone())),
                TraitOperation::SetOnce(value) => accepted.set_once.push((name, value.clone())),
                TraitOperation::Unset => accepted.unset.push(name),
                TraitOperation::Add(number) => {
                    // A decimal is written as JSON writes numbers.
                    accepted.add.extend(Json::parse(&number.to_string()).ok().map(|number| (name, number)));
                }
                TraitOperation::Append(items) => accepted.append.push((name, items.clone())),
                TraitOperation::Remove(items) => accepted.remove.push((name, items.clone())),
            }
        }
        Ok(accepted)
    }

    fn links_told(&self, seq: EventSeq, effects: &[Effect]) -> Result<Vec<LinkReply>, Error> {
        let told = |result: &LinkResult| -> Result<LinkReply, Error> {
            let profiles = result.sides.iter().flat_map(|(one, other)| [*one, *other]);
            Ok(LinkReply {
                identifier: identifier_text(&result.namespace, &result.value),
                outcome: result.outcome,
                code: result.code.map(LinkCode::as_str),
                merge: result.merge.map(|merge| merge_id(seq, merge)),
                profiles: profiles.map(|side| self.fragment_id(side)).collect::<Result<_, Error>>()?,
                quarantine: result.entry.map(|(seq, place)| quarantine_id(seq, place)),
            })
        };
        results_in(effects).iter().map(told).collect()
    }

    /// A session's id, whatever it was joined to later.
    fn session_id_at(&self, session: SessionNo, seq: EventSeq) -> Result<String, Error> {
        let version = self.version()?;
        let mut at = session;
        loop {
            let row = version.sessions(&at)?.ok_or_else(|| missing("session"))?;
            match (row.alias_of, row.alias_since) {
                (Some(kept), Some(since)) if since <= seq => at = kept,
                _ => return Ok(row.id.to_string()),
            }
        }
    }

    fn session_ended(&self, session: SessionNo, last_seen: Timestamp) -> Result<Happened, Error> {
        let row = self.version()?.sessions(&session)?.ok_or_else(|| missing("session"))?;
        Ok(Happened::SessionEnded(SessionEnded {
            session: row.id.to_string(),
            source: self.text(NameKind::Source, row.source.0)?.to_string(),
            profile: row.first.fragment.map(|fragment| self.fragment_id(fragment)).transpose()?,
            last_seen,
        }))
    }

    fn links_expired(&self, effects: &[Effect]) -> Result<Happened, Error> {
        let mut links = Vec::new();
        for effect in effects {
            if let Effect::Loosen { ends: Ends::Identifier(key), .. } = effect {
                let (namespace, value) = self.identifier_name(key.identifier)?;
                links.push(ExpiredLink {
                    profile: self.fragment_id(key.fragment)?,
                    identifier: identifier_text(&namespace, &value),
                });
            }
        }
        Ok(Happened::LinksExpired(links))
    }

    fn merges(&self, seq: EventSeq, effects: &[Effect]) -> Result<Vec<Merged>, Error> {
        let joins = effects.iter().filter_map(|effect| match effect {
            Effect::Join { cause, .. } => Some(cause),
            _ => None,
        });
        let mut merges = Vec::new();
        for (number, cause) in (0..).zip(joins) {
            // Those of a switch are the one who sat there and the one who sits down, which no merge joins.
            let mut results = results_in(effects).iter();
            let recorded =
                results.find(|result| result.merge == Some(number) && result.outcome == LinkOutcome::Merged);
            let (one, other) = match recorded.and_then(|result| result.sides) {
                Some(sides) => sides,
                None => {
                    let (one, other) = ends_of(cause, &effects.iter().collect::<Vec<_>>());
                    let before = EventSeq(seq.0.saturating_sub(1));
                    (self.oldest_at(one, before)?, self.oldest_at(other, before)?)
                }
            };
            merges.push(Merged {
                merge: merge_id(seq, number),
                profiles: [self.fragment_id(one)?, self.fragment_id(other)?],
                // Numbers are given in the order of creation.
                primary_id: self.fragment_id(one.min(other))?,
            });
        }
        Ok(merges)
    }

    fn oldest_at(&self, fragment: FragmentNo, at: EventSeq) -> Result<FragmentNo, Error> {
        Ok(members_at(self.version()?, fragment, at)?.first().copied().unwrap_or(fragment))
    }

    /// The profiles that an act, or an expiry, joined or parted. An event only joins, which its merges say.
    fn profiles_after(&self, seq: EventSeq, effects: &[Effect]) -> Result<Vec<ProfileIds>, Error> {
        let mut profiles = Vec::new();
        if !matches!(effects.last(), Some(Effect::Acted | Effect::Expired)) {
            return Ok(profiles);
        }
        let mut told: BTreeSet<FragmentNo> = BTreeSet::new();
        for fragment in effects.iter().flat_map(regrouped) {
            if told.contains(&fragment) {
                continue;
            }
            let members = members_at(self.version()?, fragment, seq)?;
            let ids = members.iter().map(|member| self.fragment_id(*member));
            let ids = ids.collect::<Result<Vec<_>, Error>>()?;
            profiles.push(ProfileIds { primary_id: ids.first().cloned().unwrap_or_default(), ids });
            told.extend(members);
        }
        profiles.sort_unstable_by(|one, other| one.primary_id.cmp(&other.primary_id));
        Ok(profiles)
    }
}

fn results_in(effects: &[Effect]) -> &[LinkResult] {
    let results = effects.iter().find_map(|effect| match effect {
        Effect::Identified { results, .. } => Some(results.as_slice()),
        _ => None,
    });
    results.unwrap_or_default()
}

/// Fragments of all profiles that an effect joins or parts.
fn regrouped(effect: &Effect) -> Vec<FragmentNo> {
    match effect {
        Effect::Join { child, parent, .. } => vec![*child, *parent],
        Effect::Regroup { roots, new_roots, .. } => roots.iter().chain(new_roots).copied().collect(),
        _ => Vec::new(),
    }
}

/// About what a change takes in memory beyond its own fields: what clients may have made large.
fn size_of_text(change: &Change) -> usize {
    let Happened::Event(stored) = &change.happened else { return 0 };
    let event = &stored.event;
    let texts = [&event.properties, &event.context, &event.event_context];
    let texts: usize = texts.into_iter().flatten().map(|json| json.as_str().len()).sum();
    let TraitOperations { set, set_once, unset: _, add: _, append, remove } = &stored.traits;
    let values = [set, set_once, append, remove].into_iter().flatten();
    texts + values.map(|(_, value)| value.as_str().len()).sum::<usize>()
}
