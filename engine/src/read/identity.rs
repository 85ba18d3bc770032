//! Who is who: links, history, quarantine, explanations.

use super::{Cursor, Listing, Snapshot};
use crate::act::{Act, ActError};
use crate::acting::effects_at;
use crate::core::acts::Plan;
use crate::core::decision::{Effect, Ends, EventEffect, LinkCode, LinkResult};
use crate::core::graph::{
    Node, carriers_at, chain, edges_of, fewest_identifiers, fewest_links, link_row, links_of,
};
use crate::core::root::{fragment_row, members_of, oldest_of, root_of};
use crate::core::rows::{LinkKey, LinkRow, ListKey, ListKind, NameKind, Standing};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use crate::model::{
    AsOf, Explanation, HistoryEntry, Link, LinkEnds, LinkState, Page, PageRequest, Profile, QuarantinedLink,
    ReadError,
};
use crate::reply::LinkOutcome;
use crate::store::record::RecordView;
use crate::words::{identifier_text, merge_id, quarantine_id};

impl Snapshot {
    /// The profile that has an identifier, `namespace:value`, as of a past.
    ///
    /// # Errors
    /// As [`Snapshot::profile_as_of`]; [`ReadError::AmbiguousId`] if several profiles have it, since none of them may
    /// join by it; [`ReadError::Rejected`] for an identifier that cannot be one.
    pub fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let parsed = self.parsed_identifier(identifier).map_err(|error| match error {
            ActError::NotFound(_) => ReadError::NotFound,
            ActError::Conflict(rejection) | ActError::Rejected(rejection) => ReadError::Rejected(rejection),
            ActError::Failed(error) => ReadError::Failed(error),
        })?;
        let version = self.version()?;
        let at = self.position_of(as_of.at)?;
        let Some(no) = self.identifier_no(&parsed.namespace, &parsed.value)? else {
            return Err(ReadError::NotFound);
        };
        if let Some(carrier) = carriers_at(version, no, at)?.first() {
            return self.fragment_as_of(*carrier, as_of);
        }
        let mut found = Vec::new();
        for fragment in version.list(ListKey { kind: ListKind::Carriers, of: no.0 }, usize::MAX)? {
            let fragment = FragmentNo(fragment);
            let row = link_row(version, Ends::Identifier(LinkKey { fragment, identifier: no }))?;
            if crate::core::graph::held_at(&row, at) {
                let profile = self.fragment_as_of(fragment, as_of)?;
                if found.iter().all(|other: &Profile| other.primary_id != profile.primary_id) {
                    found.push(profile);
                }
            }
        }
        match found.len() {
            0 => Err(ReadError::NotFound),
            1 => found.pop().ok_or(ReadError::NotFound),
            _ => {
                let candidates = found.into_iter().map(|profile| profile.primary_id).collect();
                Err(ReadError::AmbiguousId { candidates })
            }
        }
    }

    /// The links of a profile's fragments, newest first by the position that said so last.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_links(&self, id: &str, request: &PageRequest) -> Result<Page<Link>, ReadError> {
        let listing = Listing::of("profile-links", id, request)?;
        let Listing { limit, after, .. } = listing;
        let mut found: Vec<(Cursor, Ends)> = Vec::new();
        let members = self.members(self.fragment_of(id)?)?;
        for member in &members {
            for (ends, row) in links_of(self.version()?, *member)? {
                // A link between two fragments of the profile is listed once, at the first.
                let again =
                    matches!(ends, Ends::Pair(pair) if pair.one != *member && members.contains(&pair.one));
                if !again {
                    found.push((Cursor(row.last_seq.0, place_of(ends)), ends));
                }
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.retain(|(place, _)| after.is_none_or(|after| *place < after));
        let cursor = (found.len() > limit).then(|| found.get(limit.saturating_sub(1))).flatten();
        let cursor = cursor.map(|(place, _)| listing.cursor_text(*place));
        found.truncate(limit);
        let items = found.into_iter().map(|(_, ends)| self.link(ends)).collect::<Result<_, _>>()?;
        Ok(Page { items, cursor })
    }

    /// A link in words.
    pub(crate) fn link(&self, ends: Ends) -> Result<Link, Error> {
        let row = link_row(self.version()?, ends)?;
        Ok(link_from(self.link_ends(ends, &row)?, &row))
    }

    /// The links that a plan adds, as they would be: an identifier may get its number by it.
    pub(crate) fn planned_links(&self, plan: &Plan) -> Result<Vec<Link>, Error> {
        let version = self.version()?;
        let mut links = Vec::new();
        for (ends, row) in &plan.added {
            let ends = match ends {
                Ends::Identifier(key) if version.identifiers(&key.identifier)?.is_none() => {
                    LinkEnds::Identifier {
                        profile: self.fragment_id(key.fragment)?,
                        identifier: self.planned_identifier(plan, key.identifier)?,
                    }
                }
                _ => self.link_ends(*ends, row)?,
            };
            links.push(link_from(ends, row));
        }
        Ok(links)
    }

    fn planned_identifier(&self, plan: &Plan, identifier: IdentifierNo) -> Result<String, Error> {
        let effects = || plan.decision.effects.iter();
        let found = effects().find_map(|effect| match effect {
            Effect::Identifier { no, namespace, value } if *no == identifier => Some((*namespace, value)),
            _ => None,
        });
        let Some((namespace, value)) = found else { return Ok(String::new()) };
        let named = effects().find_map(|effect| match effect {
            Effect::Name { kind: NameKind::Namespace, no, text, .. } if *no == namespace.0 => Some(&**text),
            _ => None,
        });
        Ok(match named {
            Some(name) => identifier_text(name, value),
            None => identifier_text(&self.text(NameKind::Namespace, namespace.0)?, value),
        })
    }

    fn link_ends(&self, ends: Ends, row: &LinkRow) -> Result<LinkEnds, Error> {
        Ok(match ends {
            Ends::Identifier(key) => {
                let (namespace, value) = self.identifier_name(key.identifier)?;
                LinkEnds::Identifier {
                    profile: self.fragment_id(key.fragment)?,
                    identifier: identifier_text(&namespace, &value),
                }
            }
            Ends::Pair(pair) => LinkEnds::Profiles {
                profile: self.fragment_id(pair.one)?,
                other: self.fragment_id(pair.other)?,
                kind: row.kind.map_or("hand", |kind| kind.as_str()),
            },
        })
    }

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
        for place in places {
            if after.is_some_and(|after| place >= after.0) {
                continue;
            }
            // What happened at one position stays on one page.
            if page.items.len() >= limit {
                let last = page.items.last().map(|last: &HistoryEntry| Cursor(last.seq.0, 0));
                page.cursor = last.map(|last| listing.cursor_text(last));
                break;
            }
            page.items.extend(self.happened(EventSeq(place), &members)?);
        }
        Ok(page)
    }

    /// What happened at one position to some fragments, the last first.
    fn happened(&self, seq: EventSeq, members: &[FragmentNo]) -> Result<Vec<HistoryEntry>, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(Vec::new()) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        let decision = view.decision(&version.path)?;
        let act = view.act(&version.path)?;
        let request = view.command(&version.path)?;
        let here = || effects_at(&decision, record.first_seq(), seq);
        let event = here().find_map(|effect| match effect {
            Effect::Event(event) => Some(event),
            _ => None,
        });
        let event_id = event.and_then(|event: &EventEffect| {
            request.as_ref()?.events.get(usize::from(event.index))?.id.clone()
        });
        let entry = |kind, fragment| -> Result<HistoryEntry, Error> {
            Ok(HistoryEntry {
                seq,
                at: view.stamp.received,
                kind,
                profile: self.fragment_id(fragment)?,
                identifier: None,
                code: None,
                merge: None,
                profiles: Vec::new(),
                event: event_id.clone(),
            })
        };
        let ids = |sides: (FragmentNo, FragmentNo)| -> Result<Vec<String>, Error> {
            Ok(vec![self.fragment_id(sides.0)?, self.fragment_id(sides.1)?])
        };
        let mut entries = Vec::new();
        let mut merges = 0;
        for effect in here() {
            match effect {
                Effect::Device { fragment, .. } | Effect::Fragment { fragment, .. }
                    if members.contains(fragment) =>
                {
                    entries.push(entry("created", *fragment)?);
                }
                Effect::Direct { one, other, .. } if act.is_none() => {
                    let merge = Some(merge_id(seq, merges));
                    entries.push(HistoryEntry {
                        merge,
                        profiles: ids((*one, *other))?,
                        ..entry("merged", *one)?
                    });
                }
                Effect::Join { .. } => merges += 1,
                Effect::Identified { fragment: Some(fragment), results } => {
                    for result in results.iter().filter(|result| is_history(result, seq)) {
                        entries.push(HistoryEntry {
                            identifier: Some(identifier_text(&result.namespace, &result.value)),
                            code: result.code.map(LinkCode::as_str),
                            merge: result.merge.map(|merge| merge_id(seq, merge)),
                            profiles: result.sides.map(ids).transpose()?.unwrap_or_default(),
                            ..entry(result.outcome.as_str(), *fragment)?
                        });
                    }
                }
                _ => {}
            }
        }
        if let Some(act) = act {
            let about = members.iter().copied().min().unwrap_or_default();
            let merge = (merges > 0).then(|| merge_id(seq, 0));
            entries.push(HistoryEntry {
                merge,
                identifier: identifier_of(&act),
                ..entry(name_of(&act), about)?
            });
        }
        entries.reverse();
        Ok(entries)
    }

    /// The links that wait for a decision, newest first.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn quarantine(&self, request: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let listing = Listing::of("quarantine", "", request)?;
        let Listing { limit, after, .. } = listing;
        let version = self.version()?;
        let mut places = version.list(ListKey { kind: ListKind::Quarantine, of: 0 }, usize::MAX)?;
        places.reverse();
        let mut page = Page { items: Vec::new(), cursor: None };
        let mut last = None;
        for place in places {
            if after.is_some_and(|after| place >= after.0) {
                continue;
            }
            if page.items.len() >= limit {
                page.cursor = last.map(|last| listing.cursor_text(Cursor(last, 0)));
                break;
            }
            page.items.extend(self.waiting_at(EventSeq(place))?);
            last = Some(place);
        }
        Ok(page)
    }

    fn waiting_at(&self, seq: EventSeq) -> Result<Vec<QuarantinedLink>, Error> {
        let version = self.version()?;
        let Some(record) = version.log.record(seq)? else { return Ok(Vec::new()) };
        let view = RecordView::parse(record.bytes(), &version.path)?;
        let decision = view.decision(&version.path)?;
        let quarantined = effects_at(&decision, record.first_seq(), seq).filter_map(|effect| match effect {
            Effect::Quarantine { fragment, identifier, .. } => {
                Some(LinkKey { fragment: *fragment, identifier: *identifier })
            }
            _ => None,
        });
        let mut waiting = Vec::new();
        for (place, key) in (0_u16..).zip(quarantined) {
            let row = link_row(version, Ends::Identifier(key))?;
            let Standing::Quarantined(limit) = row.standing else { continue };
            // It may have been decided, and been held back again since.
            if row.entry != Some((seq, place)) {
                continue;
            }
            let (namespace, value) = self.identifier_name(key.identifier)?;
            let owner = version.identifiers(&key.identifier)?.and_then(|row| row.owner);
            let own = root_of(version, key.fragment)?;
            let owner = match owner {
                Some(owner) if root_of(version, owner)? != own => Some(owner),
                _ => None,
            };
            let primary = |fragment| self.fragment_id(oldest_of(version, root_of(version, fragment)?)?);
            waiting.push(QuarantinedLink {
                id: quarantine_id(seq, place),
                profile: self.fragment_id(key.fragment)?,
                primary_id: primary(key.fragment)?,
                identifier: identifier_text(&namespace, &value),
                code: limit.code(),
                seq,
                at: view.stamp.received,
                other: owner.map(primary).transpose()?,
            });
        }
        Ok(waiting)
    }

    /// How two ids are joined, and what would part them. Costs what the links of the profile do.
    ///
    /// # Errors
    /// As [`Snapshot::profile`].
    pub fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        let version = self.version()?;
        let (from, to) = (self.fragment_of(from)?, self.fragment_of(to)?);
        let root = root_of(version, from)?;
        if root != root_of(version, to)? {
            let cut_identifiers = None;
            return Ok(Explanation {
                same: false,
                chain: Vec::new(),
                cut_links: Vec::new(),
                cut_identifiers,
            });
        }
        if from == to {
            let cut_identifiers = None;
            return Ok(Explanation { same: true, chain: Vec::new(), cut_links: Vec::new(), cut_identifiers });
        }
        let edges = edges_of(version, &members_of(version, root)?)?;
        let links = |edges: Vec<crate::core::graph::Edge>| {
            edges.into_iter().map(|edge| self.link(edge.ends)).collect::<Result<Vec<_>, Error>>()
        };
        let chain = chain(&edges, Node::Fragment(from), Node::Fragment(to)).unwrap_or_default();
        let identifiers = fewest_identifiers(&edges, from, to);
        let named = |no: IdentifierNo| {
            self.identifier_name(no).map(|(namespace, value)| identifier_text(&namespace, &value))
        };
        let cut_identifiers = identifiers
            .map(|found| found.into_iter().map(named).collect::<Result<_, Error>>())
            .transpose()?;
        Ok(Explanation {
            same: true,
            chain: links(chain)?,
            cut_links: links(fewest_links(&edges, from, to))?,
            cut_identifiers,
        })
    }
}

fn link_from(ends: LinkEnds, row: &LinkRow) -> Link {
    Link {
        ends,
        state: match row.standing {
            Standing::Joins => LinkState::Joined,
            Standing::Attaches => LinkState::Attached,
            Standing::Cut => LinkState::Cut,
            Standing::Suspended(_) => LinkState::Suspended,
            Standing::Quarantined(_) => LinkState::Quarantined,
            Standing::Rejected => LinkState::Rejected,
        },
        verified: row.verified,
        first_seq: row.first_seq,
        last_seq: row.last_seq,
        first_seen: row.first_seen,
        last_seen: row.last_seen,
    }
}

/// A number for the order of links of one position.
const fn place_of(ends: Ends) -> u64 {
    match ends {
        Ends::Identifier(key) => key.identifier.0.wrapping_mul(2).wrapping_add(key.fragment.0 << 32),
        Ends::Pair(pair) => pair.other.0.wrapping_mul(2).wrapping_add((pair.one.0 << 32) + 1),
    }
}

/// Whether a result changed who is who, or tells of somebody else.
fn is_history(result: &LinkResult, seq: EventSeq) -> bool {
    match result.outcome {
        LinkOutcome::Attached | LinkOutcome::Merged => true,
        _ => result.is_decided_at(seq),
    }
}

const fn name_of(act: &Act) -> &'static str {
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

fn identifier_of(act: &Act) -> Option<String> {
    match act {
        Act::Detach { identifier, .. }
        | Act::Attach { identifier, .. }
        | Act::Block { identifier }
        | Act::Unblock { identifier } => Some(identifier.clone()),
        Act::Undo { .. } | Act::Merge { .. } | Act::Decide { .. } => None,
    }
}
