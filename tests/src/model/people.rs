//! Who is one person: what the links that hold connect, worked out from nothing each time.

use super::{Happened, Identifier, LinkRow, LinkTo, MergeRow, Model, State};
use spoor::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

impl Model {
    /// All fragments of the person who has this one, oldest first.
    pub(super) fn person(&self, fragment: usize) -> Vec<usize> {
        self.person_by(fragment, &|_| true)
    }

    /// The same, if only those links joined that are told.
    pub(super) fn person_by(&self, fragment: usize, counts: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let joining: Vec<&LinkRow> = (0..self.links.len())
            .filter(|&row| self.links[row].joins() && counts(row))
            .map(|row| &self.links[row])
            .collect();
        let mut members = vec![fragment];
        let mut next = 0;
        while let Some(&member) = members.get(next) {
            next += 1;
            for link in joining.iter().filter(|link| link.touches(member)) {
                let mut others: Vec<usize> = match &link.to {
                    LinkTo::Fragment { other, .. } => vec![link.fragment, *other],
                    LinkTo::Identifier(_) => {
                        joining.iter().filter(|own| own.to == link.to).map(|own| own.fragment).collect()
                    }
                };
                others.retain(|other| !members.contains(other));
                members.extend(others);
                members.dedup();
            }
        }
        members.sort_unstable();
        members.dedup();
        members
    }

    pub(super) fn same_person(&self, a: usize, b: usize) -> bool {
        self.person(a).contains(&b)
    }

    pub(super) fn primary_id(&self, fragment: usize) -> String {
        self.fragments[self.person(fragment)[0]].id.clone()
    }

    /// The place in the log at which two fragments of one person became one; 0 for a fragment and itself.
    pub(super) fn joined_at(&self, a: usize, b: usize) -> u64 {
        if a == b {
            return 0;
        }
        let mut places: Vec<u64> =
            self.links.iter().filter(|link| link.joins()).map(|link| link.came).collect();
        places.sort_unstable();
        places.dedup();
        let one_by = |place: &u64| self.person_by(a, &|row| self.links[row].came <= *place).contains(&b);
        places.into_iter().find(one_by).unwrap_or(u64::MAX)
    }

    /// The person who has an identifier by a joining link.
    pub(super) fn owner(&self, identifier: &Identifier) -> Option<Vec<usize>> {
        let link = self.links.iter().find(|link| link.joins() && link.is_of(identifier))?;
        Some(self.person(link.fragment))
    }

    /// By which fragment whoever has an identifier has it: the first whose link joined, and, once that link is gone,
    /// the oldest that has one still.
    pub(super) fn note_carriers(&mut self) {
        let mut joining: Vec<&LinkRow> = self.links.iter().filter(|link| link.joins()).collect();
        self.carriers.retain(|(identifier, _)| joining.iter().any(|link| link.is_of(identifier)));
        for (identifier, fragment) in &mut self.carriers {
            let of: Vec<usize> =
                joining.iter().filter(|link| link.is_of(identifier)).map(|link| link.fragment).collect();
            if !of.contains(fragment) {
                *fragment = of.into_iter().min().unwrap_or(*fragment);
            }
        }
        joining.sort_by_key(|link| link.order);
        for link in joining {
            if let LinkTo::Identifier(identifier) = &link.to
                && !self.carriers.iter().any(|(known, _)| known == identifier)
            {
                self.carriers.push((identifier.clone(), link.fragment));
            }
        }
    }

    /// Whether a person has an identifier by any link that holds.
    pub(super) fn has(&self, person: &[usize], identifier: &Identifier) -> bool {
        self.links.iter().any(|link| {
            link.state == State::Holds && link.is_of(identifier) && person.contains(&link.fragment)
        })
    }

    /// The values that people have, by namespace.
    pub(super) fn values(&self, people: &[&[usize]]) -> BTreeMap<String, BTreeSet<String>> {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.state == State::Holds) {
            if let LinkTo::Identifier(identifier) = &link.to
                && people.iter().any(|person| person.contains(&link.fragment))
            {
                let of_namespace = values.entry(identifier.namespace.clone()).or_default();
                of_namespace.insert(identifier.value.clone());
            }
        }
        values
    }

    /// How many fragments carry a value, not counting one.
    pub(super) fn carriers(&self, identifier: &Identifier, but: Option<usize>) -> usize {
        let carries = |link: &&LinkRow| {
            link.state == State::Holds && link.is_of(identifier) && Some(link.fragment) != but
        };
        self.links.iter().filter(carries).count()
    }

    /// Whether the union of two people would hold two values of a unique namespace, of which each has one.
    ///
    /// What somebody forced together before does not keep others out.
    pub(super) fn two_unique_values(&self, a: &[usize], b: &[usize]) -> bool {
        let (of_a, of_b) = (self.values(&[a]), self.values(&[b]));
        of_a.iter().any(|(namespace, values)| {
            let other = of_b.get(namespace);
            self.is_unique(namespace) && other.is_some_and(|other| other.union(values).count() > 1)
        })
    }

    pub(super) fn is_unique(&self, namespace: &str) -> bool {
        self.settings.identifiers.get(namespace).is_some_and(|settings| settings.unique)
    }

    /// Whether a guard stands between two people.
    pub(super) fn kept_apart(&self, a: &[usize], b: &[usize]) -> bool {
        self.guards
            .iter()
            .any(|[one, other]| a.contains(one) && b.contains(other) || a.contains(other) && b.contains(one))
    }

    /// The row of the link between a fragment and an identifier, whatever has become of it.
    pub(super) fn link_row(&self, fragment: usize, identifier: &Identifier) -> Option<usize> {
        self.links.iter().position(|link| link.fragment == fragment && link.is_of(identifier))
    }

    /// The row of the link between two fragments, if there ever was one.
    pub(super) fn direct_row(&self, fragment: usize, other: usize) -> Option<usize> {
        self.links.iter().position(|link| {
            matches!(&link.to, LinkTo::Fragment { other: end, .. }
                if [[link.fragment, *end], [*end, link.fragment]].contains(&[fragment, other]))
        })
    }

    /// The row for a direct link between two fragments, of a kind from here on; `None` if it was cut.
    pub(super) fn direct_link(
        &mut self,
        fragment: usize,
        other: usize,
        kind: &'static str,
        time: Timestamp,
    ) -> Option<usize> {
        let row = match self.direct_row(fragment, other) {
            Some(row) if self.links[row].state == State::Cut => return None,
            Some(row) => row,
            None => {
                let to = LinkTo::Fragment { other, kind };
                self.links.push(LinkRow::new(fragment, to, self.sequence, time));
                self.links.len() - 1
            }
        };
        let link = &mut self.links[row];
        if let LinkTo::Fragment { kind: of, .. } = &mut link.to {
            *of = kind;
        }
        link.last = self.sequence;
        link.first_seen = link.first_seen.min(time);
        link.last_seen = link.last_seen.max(time);
        Some(row)
    }

    /// Whether a fragment was given back to another, since the value that it was made for is blocked.
    pub(super) fn gives_back(&self, fragment: usize, before: usize) -> Option<usize> {
        let row = self.direct_row(fragment, before)?;
        let of_device = matches!(self.links[row].to, LinkTo::Fragment { kind: "device", .. });
        (of_device && self.links[row].joins()).then_some(row)
    }

    /// The fragment where the events of one go: its own, or that of who held the device before.
    pub(super) fn given_back(&self, fragment: usize) -> usize {
        match &self.fragments[fragment].switched {
            Some((_, before)) if self.gives_back(fragment, *before).is_some() => self.given_back(*before),
            _ => fragment,
        }
    }

    /// Lets a link hold from here on.
    pub(super) fn hold(&mut self, row: usize) {
        self.links[row].state = State::Holds;
        self.begin(row, true);
    }

    /// A link is new, or joins only now: from here on.
    pub(super) fn begin(&mut self, row: usize, joins: bool) {
        let link = &mut self.links[row];
        link.came = self.sequence;
        link.joining = joins;
        if joins {
            self.joined += 1;
            link.order = self.joined;
        }
    }

    /// Notes that a link made one profile of two; returns the merge's id.
    pub(super) fn merged(&mut self, link: usize, ends: [usize; 2]) -> String {
        let here = self.merges.iter().filter(|merge| merge.sequence == self.sequence).count();
        let id = format!("m{}-{here}", self.sequence);
        self.merges.push(MergeRow {
            id: id.clone(),
            sequence: self.sequence,
            link,
            ends,
            lifted: Vec::new(),
            undone: false,
        });
        id
    }

    /// Notes that something happened to who a fragment is.
    pub(super) fn note(
        &mut self,
        at: Timestamp,
        kind: &'static str,
        fragment: usize,
        more: impl FnOnce(&mut Happened),
    ) {
        let mut row = Happened {
            sequence: self.sequence,
            at,
            kind,
            fragment,
            other: None,
            before: None,
            identifier: None,
            code: None,
            merge: None,
            profiles: Vec::new(),
            event: None,
        };
        more(&mut row);
        self.happened.push(row);
    }
}

impl LinkRow {
    /// A link that does not hold yet.
    pub(super) const fn new(fragment: usize, to: LinkTo, sequence: u64, time: Timestamp) -> Self {
        Self {
            fragment,
            to,
            verified: false,
            joining: false,
            state: State::Suspended,
            came: sequence,
            order: 0,
            first: sequence,
            last: sequence,
            first_seen: time,
            last_seen: time,
        }
    }

    /// Whether it makes one profile of what it links.
    pub(super) fn joins(&self) -> bool {
        self.state == State::Holds && self.joining
    }

    pub(super) fn is_of(&self, identifier: &Identifier) -> bool {
        matches!(&self.to, LinkTo::Identifier(own) if own == identifier)
    }

    pub(super) fn touches(&self, fragment: usize) -> bool {
        self.fragment == fragment || matches!(self.to, LinkTo::Fragment { other, .. } if other == fragment)
    }
}
