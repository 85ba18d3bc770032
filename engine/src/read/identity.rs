//! Who is who: links, quarantine, explanations.

use super::{Cursor, Listing, Snapshot};
use crate::acting::effects_at;
use crate::core::acts::Plan;
use crate::core::decision::{Effect, Ends};
use crate::core::graph::{
    Node, carriers_at, chain, edges_of, fewest_identifiers, fewest_links, held_at, link_row, links_of,
    members_at,
};
use crate::core::root::{members_of, oldest_of, root_of};
use crate::core::rows::{LinkKey, LinkRow, ListKey, ListKind, NameKind, Standing};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use crate::limits::AMBIGUOUS_MAX_IDS;
use crate::model::{
    AsOf, Explanation, Link, LinkEnds, LinkState, Page, PageRequest, Profile, QuarantinedLink, ReadError,
};
use crate::store::record::RecordView;
use crate::words::{identifier_text, quarantine_id};
use std::collections::BTreeSet;

impl Snapshot {
    /// The profile that has an identifier, `namespace:value`, as of a past.
    ///
    /// # Errors
    /// As [`Snapshot::profile_as_of`]; [`ReadError::AmbiguousId`] if several profiles have it, since none of them may
    /// join by it; [`ReadError::Rejected`] for an identifier that cannot be one.
    pub fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let version = self.version()?;
        let at = self.position_of(as_of.at)?;
        let no = self.identifier_read(identifier)?;
        if let Some(carrier) = carriers_at(version, no, at)?.first() {
            return self.fragment_as_of(*carrier, as_of);
        }
        let mut found = Vec::new();
        let mut theirs: BTreeSet<FragmentNo> = BTreeSet::new();
        for fragment in version.list(ListKey { kind: ListKind::Carriers, of: no.0 }, usize::MAX)? {
            let fragment = FragmentNo(fragment);
            let row = link_row(version, Ends::Identifier(LinkKey { fragment, identifier: no }))?;
            if !held_at(&row, at) || theirs.contains(&fragment) {
                continue;
            }
            let oldest = match as_of.at {
                Some(_) => {
                    let members = members_at(version, fragment, at)?;
                    theirs.extend(&members);
                    members.first().copied().unwrap_or(fragment)
                }
                None => oldest_of(version, root_of(version, fragment)?)?,
            };
            if !found.contains(&oldest) {
                found.push(oldest);
            }
            if found.len() == AMBIGUOUS_MAX_IDS {
                break;
            }
        }
        match found.as_slice() {
            [] => Err(ReadError::NotFound),
            [one] => self.fragment_as_of(*one, as_of),
            several => {
                let candidates = several.iter().map(|oldest| self.fragment_id(*oldest));
                Err(ReadError::AmbiguousId { candidates: candidates.collect::<Result<_, _>>()? })
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
        places.dedup();
        let mut page = Page { items: Vec::new(), cursor: None };
        let mut last = Cursor(0, 0);
        for position in places {
            if after.is_some_and(|after| position > after.0) {
                continue;
            }
            let seen = after.filter(|after| position == after.0).map(|after| after.1);
            // One more than fits says whether there is another page.
            let most = limit + 1 - page.items.len();
            for (place, waiting) in self.waiting_at(EventSeq(position), seen, most)? {
                if page.items.len() == limit {
                    page.cursor = Some(listing.cursor_text(last));
                    return Ok(page);
                }
                page.items.push(waiting);
                last = Cursor(position, u64::from(place));
            }
        }
        Ok(page)
    }

    /// The links that one position brought into quarantine and that wait still, after the place `seen` there, at
    /// most so many.
    fn waiting_at(
        &self,
        seq: EventSeq,
        seen: Option<u64>,
        most: usize,
    ) -> Result<Vec<(u16, QuarantinedLink)>, Error> {
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
            if seen.is_some_and(|seen| u64::from(place) <= seen) {
                continue;
            }
            if waiting.len() == most {
                break;
            }
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
            let link = QuarantinedLink {
                id: quarantine_id(seq, place),
                profile: self.fragment_id(key.fragment)?,
                primary_id: primary(key.fragment)?,
                identifier: identifier_text(&namespace, &value),
                code: limit.code(),
                seq,
                at: view.stamp.received,
                other: owner.map(primary).transpose()?,
            };
            waiting.push((place, link));
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
            Standing::Expired => LinkState::Expired,
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
