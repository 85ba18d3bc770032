//! What happened to who a profile is: made, joined, parted, and why.
//!
//! Positions at which something happened are listed per fragment; what it was is read from the records there. An entry
//! is about one fragment and says the same for ever, whoever that fragment is one profile with by now. Knows no link
//! as it is now.

use super::{Cursor, Listing, Snapshot};
use crate::act::Act;
use crate::acting::effects_at;
use crate::core::decision::{Effect, Ends, EventEffect, JoinCause, LinkCode, LinkResult};
use crate::core::graph::members_at;
use crate::core::root::fragment_row;
use crate::core::rows::{LinkKey, ListKey, ListKind, PairKey, Standing};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use crate::model::{HistoryEntry, Page, PageRequest, ReadError};
use crate::reply::LinkOutcome;
use crate::store::record::RecordView;
use crate::time::Timestamp;
use crate::words::{identifier_text, merge_id};
use std::collections::BTreeMap;

impl Snapshot {
    /// What happened to who a profile is, newest first.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_history(&self, id: &str, request: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let listing = Listing::of("profile-history", id, request)?;
        let Listing { limit, after, .. } = listing;
        let version = self.version()?;
        let members = self.members(self.fragment_of(id)?)?;
        let mut places = Vec::new();
        for member in &members {
            places.push(fragment_row(version, *member)?.created.0);
            places.extend(version.list(ListKey { kind: ListKind::History, of: member.0 }, usize::MAX)?);
        }
        places.sort_unstable_by(|one, other| other.cmp(one));
        places.dedup();
        let mut page = Page { items: Vec::new(), cursor: None };
        let mut last = Cursor(0, 0);
        for place in places {
            if after.is_some_and(|after| place > after.0) {
                continue;
            }
            let seen = after.filter(|after| place == after.0).map(|after| after.1);
            for happening in self.happened(EventSeq(place))?.into_iter().rev() {
                if !happening.concerns(&members) || seen.is_some_and(|seen| happening.number >= seen) {
                    continue;
                }
                if page.items.len() == limit {
                    page.cursor = Some(listing.cursor_text(last));
                    return Ok(page);
                }
                last = Cursor(place, happening.number);
                page.items.push(self.entry(happening)?);
            }
        }
        Ok(page)
    }

    /// All that happened at one position, in its order, to whomever.
    fn happened(&self, seq: EventSeq) -> Result<Vec<Happening>, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(Vec::new()) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        let decision = view.decision(&version.path)?;
        let effects: Vec<&Effect> = effects_at(&decision, record.first_seq(), seq).collect();
        let mut happenings = match view.act(&version.path)? {
            Some(act) => self.happened_by_act(seq, &act, &effects)?,
            None => {
                let event = effects.iter().find_map(|effect| match effect {
                    Effect::Event(event) => Some(event),
                    _ => None,
                });
                let request = view.command(&version.path)?;
                let event = event.and_then(|event: &EventEffect| {
                    request.as_ref()?.events.get(usize::from(event.index))?.id.clone()
                });
                self.happened_by_event(seq, event.as_deref(), &effects)?
            }
        };
        for (number, happening) in (0..).zip(&mut happenings) {
            (happening.number, happening.seq, happening.at) = (number, seq, view.stamp.received);
        }
        Ok(happenings)
    }

    fn happened_by_event(
        &self,
        seq: EventSeq,
        event: Option<&str>,
        effects: &[&Effect],
    ) -> Result<Vec<Happening>, Error> {
        let mut happenings = Vec::new();
        let mut merges = 0;
        for effect in effects {
            match effect {
                Effect::Device { fragment, .. } | Effect::Fragment { fragment, .. } => {
                    happenings.push(Happening::of("created", *fragment));
                }
                Effect::Direct { one, other, .. } => happenings.push(Happening {
                    other: Some(*other),
                    merge: Some(merge_id(seq, merges)),
                    sides: Some(Sides::of(*one, *other, EventSeq(seq.0 - 1))),
                    ..Happening::of("merged", *one)
                }),
                Effect::Join { .. } => merges += 1,
                Effect::Loosen { ends: Ends::Identifier(key), standing: Standing::Expired } => {
                    happenings.push(Happening {
                        identifier: Some(self.identifier_text_of(key.identifier)?),
                        ..Happening::of("expired", key.fragment)
                    });
                }
                Effect::Identified { fragment: Some(fragment), results } => {
                    for result in results.iter().filter(|result| is_history(result, seq)) {
                        happenings.push(Happening {
                            other: result.from.or_else(|| joined_to(effects, result.merge)),
                            identifier: Some(identifier_text(&result.namespace, &result.value)),
                            code: result.code.map(LinkCode::as_str),
                            merge: result.merge.map(|merge| merge_id(seq, merge)),
                            sides: result.sides.map(|(one, other)| Sides { one, other, at: None }),
                            ..Happening::of(result.outcome.as_str(), *fragment)
                        });
                    }
                }
                _ => {}
            }
        }
        for happening in &mut happenings {
            happening.event = event.map(str::to_owned);
        }
        Ok(happenings)
    }

    /// An act is told of each fragment whose links it changed; an undo of the two that it parted.
    fn happened_by_act(
        &self,
        seq: EventSeq,
        act: &Act,
        effects: &[&Effect],
    ) -> Result<Vec<Happening>, Error> {
        let kind = name_of(act);
        if let Act::Undo { merge, .. } = act {
            return self.undone(seq, merge);
        }
        let mut happenings: Vec<Happening> = Vec::new();
        let mut places: BTreeMap<FragmentNo, usize> = BTreeMap::new();
        for fragment in effects.iter().flat_map(|effect| changed_by(act, effect)).flatten() {
            places.entry(fragment).or_insert_with(|| {
                happenings.push(Happening::of(kind, fragment));
                happenings.len() - 1
            });
        }
        let joins = effects.iter().filter_map(|effect| match effect {
            Effect::Join { cause, .. } => Some(cause),
            _ => None,
        });
        for (number, cause) in (0..).zip(joins) {
            let (one, other) = ends_of(cause, effects);
            for (of, with) in [(one, other), (other, one)] {
                let joined = places.get(&of).and_then(|place| happenings.get_mut(*place));
                if let Some(joined) = joined.filter(|joined| joined.merge.is_none()) {
                    joined.other = Some(with);
                    joined.merge = Some(merge_id(seq, number));
                    joined.sides = Some(Sides::of(one, other, EventSeq(seq.0 - 1)));
                    break;
                }
            }
        }
        if let Some(identifier) = effects.iter().find_map(|effect| identifier_in(effect)) {
            let text = self.identifier_text_of(identifier)?;
            for happening in &mut happenings {
                happening.identifier = Some(text.clone());
            }
        }
        Ok(happenings)
    }

    fn undone(&self, seq: EventSeq, merge: &str) -> Result<Vec<Happening>, Error> {
        let Some((_, cause)) = self.join_of(merge)? else { return Ok(Vec::new()) };
        let (near, far, identifier) = match cause {
            JoinCause::Direct(pair) => (pair.one, pair.other, None),
            JoinCause::Link { link, carrier } => {
                (link.fragment, carrier, Some(self.identifier_text_of(link.identifier)?))
            }
        };
        let of = |fragment| Happening {
            merge: Some(merge.to_owned()),
            identifier: identifier.clone(),
            sides: Some(Sides::of(near, far, seq)),
            ..Happening::of("undone", fragment)
        };
        Ok(vec![of(near), of(far)])
    }

    /// The primary ids of two profiles.
    fn primary_ids(&self, sides: Sides) -> Result<Vec<String>, Error> {
        let version = self.version()?;
        let primary = |fragment| {
            let oldest = match sides.at {
                Some(at) => members_at(version, fragment, at)?.first().copied(),
                None => None,
            };
            self.fragment_id(oldest.unwrap_or(fragment))
        };
        [sides.one, sides.other].into_iter().map(primary).collect()
    }

    fn identifier_text_of(&self, no: IdentifierNo) -> Result<String, Error> {
        let (namespace, value) = self.identifier_name(no)?;
        Ok(identifier_text(&namespace, &value))
    }

    fn entry(&self, happening: Happening) -> Result<HistoryEntry, Error> {
        let Happening { number: _, seq, at, kind, fragment, other: _, .. } = happening;
        Ok(HistoryEntry {
            seq,
            at,
            kind,
            profile: self.fragment_id(fragment)?,
            identifier: happening.identifier,
            code: happening.code,
            merge: happening.merge,
            profiles: happening.sides.map(|sides| self.primary_ids(sides)).transpose()?.unwrap_or_default(),
            event: happening.event,
        })
    }
}

/// Something that happened to a fragment.
#[derive(Debug, Default)]
struct Happening {
    /// Its place among all of its position.
    number: u64,
    seq: EventSeq,
    at: Timestamp,
    kind: &'static str,
    fragment: FragmentNo,
    /// Another fragment that it is about: of a merge its other end, of a switch who held the device.
    other: Option<FragmentNo>,
    identifier: Option<String>,
    code: Option<&'static str>,
    merge: Option<String>,
    /// The profiles that were joined or parted.
    sides: Option<Sides>,
    event: Option<String>,
}

/// Two profiles of which one was made, or which were one. Whose they were at a position is worked out only for what is
/// shown: it costs their links.
#[derive(Debug, Clone, Copy)]
struct Sides {
    one: FragmentNo,
    other: FragmentNo,
    /// The position at which they are looked at; `None` if these are their oldest fragments.
    at: Option<EventSeq>,
}

impl Sides {
    const fn of(one: FragmentNo, other: FragmentNo, at: EventSeq) -> Self {
        Self { one, other, at: Some(at) }
    }
}

impl Happening {
    fn of(kind: &'static str, fragment: FragmentNo) -> Self {
        Self { kind, fragment, ..Self::default() }
    }

    /// Whether it is about a profile of these fragments, which are sorted.
    fn concerns(&self, members: &[FragmentNo]) -> bool {
        [Some(self.fragment), self.other]
            .into_iter()
            .flatten()
            .any(|fragment| members.binary_search(&fragment).is_ok())
    }
}

/// Whether a result changed who is who, or tells of somebody else.
fn is_history(result: &LinkResult, seq: EventSeq) -> bool {
    match result.outcome {
        LinkOutcome::Attached | LinkOutcome::Merged => true,
        _ => result.is_decided_at(seq),
    }
}

/// The fragment by which the other profile of a merge had the value.
fn joined_to(effects: &[&Effect], merge: Option<u16>) -> Option<FragmentNo> {
    let joins = effects.iter().filter_map(|effect| match effect {
        Effect::Join { cause, .. } => Some(ends_of(cause, effects).1),
        _ => None,
    });
    joins.into_iter().nth(usize::from(merge?))
}

/// The two fragments that a link joined; of a link without an identifier in the order in which they were named.
pub(super) fn ends_of(cause: &JoinCause, effects: &[&Effect]) -> (FragmentNo, FragmentNo) {
    match cause {
        JoinCause::Link { link, carrier } => (link.fragment, *carrier),
        JoinCause::Direct(pair) => {
            let named = effects.iter().find_map(|effect| match effect {
                Effect::Direct { one, other, .. } if PairKey::of(*one, *other) == *pair => {
                    Some((*one, *other))
                }
                _ => None,
            });
            named.unwrap_or((pair.one, pair.other))
        }
    }
}

/// The fragments that an effect of an act is about; of a merge by hand the one that was named first.
fn changed_by(act: &Act, effect: &Effect) -> [Option<FragmentNo>; 2] {
    match effect {
        Effect::Loosen { ends: Ends::Identifier(key), .. } => [Some(key.fragment), None],
        Effect::Loosen { ends: Ends::Pair(pair), .. } => [Some(pair.one), Some(pair.other)],
        Effect::Link { fragment, .. } | Effect::Restore { fragment, .. } => [Some(*fragment), None],
        Effect::Direct { one, .. } if matches!(act, Act::Merge { .. }) => [Some(*one), None],
        Effect::Direct { one, other, .. } => [Some(*one), Some(*other)],
        _ => [None, None],
    }
}

/// The identifier that an effect of an act is about.
const fn identifier_in(effect: &Effect) -> Option<IdentifierNo> {
    match effect {
        Effect::Blocked { identifier, .. }
        | Effect::Link { identifier, .. }
        | Effect::Restore { identifier, .. }
        | Effect::Loosen { ends: Ends::Identifier(LinkKey { identifier, .. }), .. } => Some(*identifier),
        _ => None,
    }
}

/// The word for an act.
pub(super) const fn name_of(act: &Act) -> &'static str {
    match act {
        Act::Undo { .. } => "undone",
        Act::Merge { .. } => "merged",
        Act::Detach { .. } => "detached",
        Act::Attach { .. } => "attached",
        Act::Decide { approve: true, .. } => "approved",
        Act::Decide { approve: false, .. } => "rejected",
        Act::Block { .. } => "blocked",
        Act::Unblock { .. } => "unblocked",
    }
}
