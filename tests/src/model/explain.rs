//! Questions about who is who.

use super::reads::cut;
use super::{Identifier, LinkRow, LinkTo, Model, State};
use spoor::ids::EventSeq;
use spoor::model::{
    BlockedValue, Explanation, HistoryEntry, Link, LinkEnds, LinkState, Page, PageRequest, QuarantinedLink,
    ReadError,
};
use std::cmp::Reverse;

/// How gladly links are taken: few that are verified, then many carriers, then few that are newer.
type Weight = (usize, Reverse<usize>, usize);

/// What a link joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End<'a> {
    Fragment(usize),
    Identifier(&'a Identifier),
}

impl LinkRow {
    /// Where a link leads to from one of its ends.
    fn across(&self, from: End<'_>) -> Option<End<'_>> {
        let own = End::Fragment(self.fragment);
        let other = match &self.to {
            LinkTo::Identifier(identifier) => End::Identifier(identifier),
            LinkTo::Fragment { other, .. } => End::Fragment(*other),
        };
        if from == own { Some(other) } else { (from == other).then_some(own) }
    }
}

impl Model {
    /// The links of a profile, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_links(&self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        let person = self.person(self.fragment_by_id(id)?);
        let mut rows: Vec<usize> = (0..self.links.len())
            .filter(|&row| person.iter().any(|&fragment| self.links[row].touches(fragment)))
            .collect();
        rows.sort_by_key(|&row| (Reverse(self.links[row].last), row));
        cut(rows.into_iter().map(|row| self.shown_link(row)).collect(), page)
    }

    /// What happened to who a profile is, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_history(&self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let person = self.person(self.fragment_by_id(id)?);
        let rows = self.happened.iter().rev().filter(|row| {
            // A switch is a matter of both people.
            let from = row.before.filter(|_| row.kind == "switched");
            [Some(row.fragment), row.other, from].into_iter().flatten().any(|end| person.contains(&end))
        });
        let entries = rows.map(|row| HistoryEntry {
            seq: EventSeq(row.sequence),
            at: row.at,
            kind: row.kind,
            profile: self.fragments[row.fragment].id.clone(),
            identifier: row.identifier.clone(),
            code: row.code,
            merge: row.merge.clone(),
            profiles: row.profiles.clone(),
            event: row.event.clone(),
        });
        cut(entries.collect(), page)
    }

    /// The links that wait for a decision, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn quarantine(&self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let mut waiting: Vec<_> = self.quarantined.iter().filter(|entry| !entry.decided).collect();
        waiting.sort_by_key(|entry| Reverse(entry.sequence));
        let shown = waiting.into_iter().map(|entry| {
            let link = &self.links[entry.link];
            let LinkTo::Identifier(identifier) = &link.to else { panic!("no direct link waits") };
            let own = self.primary_id(link.fragment);
            let owner = self.owner(identifier).map(|owner| self.fragments[owner[0]].id.clone());
            QuarantinedLink {
                id: entry.id.clone(),
                profile: self.fragments[link.fragment].id.clone(),
                identifier: identifier.to_string(),
                code: entry.code,
                seq: EventSeq(entry.sequence),
                at: entry.at,
                other: owner.filter(|other| *other != own),
                primary_id: own,
            }
        });
        cut(shown.collect(), page)
    }

    /// The values that acts blocked, the latest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn blocked_values(&self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        let shown = self.blocked.iter().rev().map(|row| {
            let suspended = |link: &&LinkRow| link.state == State::Suspended && link.is_of(&row.identifier);
            BlockedValue {
                identifier: row.identifier.to_string(),
                seq: EventSeq(row.sequence),
                at: row.at,
                suspended: self.links.iter().filter(suspended).count() as u64,
            }
        });
        cut(shown.collect(), page)
    }

    /// How two ids are joined, and what would part them.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        let (from, to) = (self.fragment_by_id(from)?, self.fragment_by_id(to)?);
        let same = self.same_person(from, to);
        if !same || from == to {
            return Ok(Explanation { same, chain: Vec::new(), cut_links: Vec::new(), cut_identifiers: None });
        }
        let shown = |rows: Vec<usize>| rows.into_iter().map(|row| self.shown_link(row)).collect();
        Ok(Explanation {
            same,
            chain: shown(self.chain(from, to, &|_| true).unwrap_or_default()),
            cut_links: shown(self.fewest_links(from, to)),
            cut_identifiers: self.fewest_identifiers(from, to),
        })
    }

    /// The fewest links from one fragment to another that count, in that order.
    ///
    /// Of several such chains the one whose first link came first, then whose second did, and so on.
    fn chain(&self, from: usize, to: usize, counts: &dyn Fn(usize) -> bool) -> Option<Vec<usize>> {
        let mut rows: Vec<usize> =
            (0..self.links.len()).filter(|&row| self.links[row].joins() && counts(row)).collect();
        rows.sort_by_key(|&row| self.links[row].order);
        let mut seen = vec![End::Fragment(from)];
        let mut ways: Vec<(End<'_>, Vec<usize>)> = vec![(End::Fragment(from), Vec::new())];
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for (at, way) in &ways {
                for &row in &rows {
                    let Some(reached) = self.links[row].across(*at) else { continue };
                    if seen.contains(&reached) {
                        continue;
                    }
                    seen.push(reached);
                    let way = [way.clone(), vec![row]].concat();
                    if reached == End::Fragment(to) {
                        return Some(way);
                    }
                    longer.push((reached, way));
                }
            }
            ways = longer;
        }
        None
    }

    /// The fewest links without which two fragments are two people.
    ///
    /// At a tie those not verified, then those whose identifier most fragments carry, then the newest.
    pub(super) fn fewest_links(&self, from: usize, to: usize) -> Vec<usize> {
        let person = self.person(from);
        let mut best = (0..=self.links.len()).find_map(|size| {
            let cuts = self.cuts(from, to, size, &[]);
            cuts.into_iter().min_by_key(|gone| self.weight(gone, &person))
        });
        best.iter_mut().for_each(|best| best.sort_unstable());
        best.unwrap_or_default()
    }

    /// All sets of so many links, beside those gone already, without which two fragments are two people.
    ///
    /// Whatever chain there is between the two, one link of it must be in the set: so the links of one are tried.
    fn cuts(&self, from: usize, to: usize, size: usize, gone: &[usize]) -> Vec<Vec<usize>> {
        let Some(chain) = self.chain(from, to, &|row| !gone.contains(&row)) else {
            return vec![gone.to_vec()];
        };
        let mut found = Vec::new();
        if size > 0 {
            for link in chain {
                found.extend(self.cuts(from, to, size - 1, &[gone, &[link]].concat()));
            }
        }
        found
    }

    fn weight(&self, gone: &[usize], person: &[usize]) -> Weight {
        let verified = gone.iter().filter(|&&row| self.links[row].verified).count();
        let carried = gone.iter().map(|&row| self.carried(&self.links[row])).sum();
        let newer = |&of: &usize| {
            let others = 0..self.links.len();
            let counts = |&row: &usize| {
                let link = &self.links[row];
                link.joins() && person.contains(&link.fragment) && link.order > self.links[of].order
            };
            others.filter(counts).count()
        };
        (verified, Reverse(carried), gone.iter().map(newer).sum())
    }

    fn carried(&self, link: &LinkRow) -> usize {
        match &link.to {
            LinkTo::Identifier(identifier) => {
                self.links.iter().filter(|link| link.joins() && link.is_of(identifier)).count()
            }
            LinkTo::Fragment { .. } => 0,
        }
    }

    /// The fewest identifiers without which two fragments are two people, if identifiers alone can part them.
    fn fewest_identifiers(&self, from: usize, to: usize) -> Option<Vec<String>> {
        let person = self.person(from);
        let mut best = (1..=self.links.len()).find_map(|size| {
            let cuts = self.identifier_cuts(from, to, size, &[]);
            cuts.into_iter().min_by_key(|gone| {
                let rows = 0..self.links.len();
                self.weight(&rows.filter(|&row| self.goes_with(row, gone)).collect::<Vec<_>>(), &person)
            })
        })?;
        best.sort();
        Some(best)
    }

    /// As [`Model::cuts`], of identifiers: each takes all its links along, and a direct link stays.
    fn identifier_cuts(&self, from: usize, to: usize, size: usize, gone: &[String]) -> Vec<Vec<String>> {
        let Some(chain) = self.chain(from, to, &|row| !self.goes_with(row, gone)) else {
            return vec![gone.to_vec()];
        };
        let mut found = Vec::new();
        if size > 0 {
            for link in chain {
                if let LinkTo::Identifier(identifier) = &self.links[link].to {
                    let more = [gone, &[identifier.to_string()]].concat();
                    found.extend(self.identifier_cuts(from, to, size - 1, &more));
                }
            }
        }
        found
    }

    fn goes_with(&self, row: usize, identifiers: &[String]) -> bool {
        let link = &self.links[row];
        matches!(&link.to, LinkTo::Identifier(own) if link.joins() && identifiers.contains(&own.to_string()))
    }

    pub(super) fn shown_link(&self, row: usize) -> Link {
        let link = &self.links[row];
        let profile = self.fragments[link.fragment].id.clone();
        Link {
            ends: match &link.to {
                LinkTo::Identifier(identifier) => {
                    LinkEnds::Identifier { profile, identifier: identifier.to_string() }
                }
                LinkTo::Fragment { other, kind } => {
                    // The older one first.
                    let [one, two] = [link.fragment.min(*other), link.fragment.max(*other)]
                        .map(|end| self.fragments[end].id.clone());
                    LinkEnds::Profiles { profile: one, other: two, kind }
                }
            },
            state: match link.state {
                State::Holds if link.joining => LinkState::Joined,
                State::Holds => LinkState::Attached,
                State::Cut => LinkState::Cut,
                State::Suspended => LinkState::Suspended,
                State::Quarantined => LinkState::Quarantined,
                State::Rejected => LinkState::Rejected,
                State::Expired => LinkState::Expired,
            },
            verified: link.verified,
            first_seq: EventSeq(link.first),
            last_seq: EventSeq(link.last),
            first_seen: link.first_seen,
            last_seen: link.last_seen,
        }
    }
}
