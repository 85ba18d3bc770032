//! The links of one person as a graph: what joins what, and what would part it.
//!
//! Nodes are fragments and identifiers, edges are links that join. All of it is worked out from the rows when it is
//! asked for, on a snapshot, so that nothing has to be kept up to date.
//!
//! *Tree*: the links in the order in which they came to join, each a union if its ends are two persons by then. That
//! is what the parent pointers are, live, as long as no link was taken away; after that, they are set to it.
//!
//! *Cut*: the fewest links (or identifiers) whose removal parts two fragments are a minimum cut, found by the largest
//! flow (L. Ford and D. Fulkerson, 1956), by shortest paths (Y. Dinitz, 1970). Which of several is decided by the
//! capacities: one for the link, and in lower digits what it takes to be preferred.

use super::apply::missing;
use super::decision::Ends;
use super::root::{fragment_row, members_of};
use super::rows::{LinkKey, LinkRow, ListKey, ListKind, PairKey, Standing};
use super::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A link that joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// What it joins.
    pub ends: Ends,
    /// Its place in the order in which links came to join.
    pub order: u64,
    /// Since when it joins, but for a time during which its identifier was blocked.
    pub since: EventSeq,
    /// Whether somebody vouches for it.
    pub verified: bool,
}

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A fragment.
    Fragment(FragmentNo),
    /// An identifier.
    Identifier(IdentifierNo),
}

impl Ends {
    /// The two nodes.
    #[must_use]
    pub const fn nodes(self) -> (Node, Node) {
        match self {
            Self::Identifier(key) => (Node::Fragment(key.fragment), Node::Identifier(key.identifier)),
            Self::Pair(pair) => (Node::Fragment(pair.one), Node::Fragment(pair.other)),
        }
    }
}

/// The row of a link.
///
/// # Errors
/// [`Error`] if it could not be read, or is not there.
pub fn link_row<V: View>(view: &V, ends: Ends) -> Result<Arc<LinkRow>, Error> {
    let row = match ends {
        Ends::Identifier(key) => view.links(&key)?,
        Ends::Pair(pair) => view.directs(&pair)?,
    };
    row.ok_or_else(|| missing("link"))
}

/// All links of a fragment, whatever holds of them.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn links_of<V: View>(view: &V, fragment: FragmentNo) -> Result<Vec<(Ends, Arc<LinkRow>)>, Error> {
    let mut links = Vec::new();
    for no in view.list(ListKey { kind: ListKind::Identifiers, of: fragment.0 }, usize::MAX)? {
        let ends = Ends::Identifier(LinkKey { fragment, identifier: IdentifierNo(no) });
        links.push((ends, link_row(view, ends)?));
    }
    for no in view.list(ListKey { kind: ListKind::Directs, of: fragment.0 }, usize::MAX)? {
        let ends = Ends::Pair(PairKey::of(fragment, FragmentNo(no)));
        links.push((ends, link_row(view, ends)?));
    }
    Ok(links)
}

/// The links that join the fragments of some persons, in the order in which they came to.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn edges_of<V: View>(view: &V, fragments: &[FragmentNo]) -> Result<Vec<Edge>, Error> {
    let mut edges = BTreeMap::new();
    for fragment in fragments {
        for (ends, row) in links_of(view, *fragment)? {
            if row.standing != Standing::Joins {
                continue;
            }
            let since = row.spans.last().map(|span| span.since).unwrap_or_default();
            edges.insert(row.order, Edge { ends, order: row.order, since, verified: row.verified });
        }
    }
    Ok(edges.into_values().collect())
}

/// The fragments that were one person with `fragment` at a position, sorted: by the links that joined then.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn members_at<V: View>(view: &V, fragment: FragmentNo, at: EventSeq) -> Result<Vec<FragmentNo>, Error> {
    let mut found = BTreeSet::from([fragment]);
    let mut met: BTreeSet<IdentifierNo> = BTreeSet::new();
    let mut next = vec![fragment];
    while let Some(fragment) = next.pop() {
        for (ends, row) in links_of(view, fragment)? {
            if !joined_at(&row, at) {
                continue;
            }
            match ends {
                Ends::Pair(pair) => {
                    let other = if pair.one == fragment { pair.other } else { pair.one };
                    next.extend(found.insert(other).then_some(other));
                }
                Ends::Identifier(key) if met.insert(key.identifier) => {
                    for carrier in carriers_at(view, key.identifier, at)? {
                        next.extend(found.insert(carrier).then_some(carrier));
                    }
                }
                Ends::Identifier(_) => {}
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Whether a link joined at a position.
#[must_use]
pub fn joined_at(row: &LinkRow, at: EventSeq) -> bool {
    row.spans.iter().any(|span| span.joins && span.from <= at && span.to.is_none_or(|to| to > at))
}

/// Whether a link held at a position, joining or not.
#[must_use]
pub fn held_at(row: &LinkRow, at: EventSeq) -> bool {
    row.spans.iter().any(|span| span.from <= at && span.to.is_none_or(|to| to > at))
}

/// The fragments that carried an identifier by a joining link at a position.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn carriers_at<V: View>(
    view: &V,
    identifier: IdentifierNo,
    at: EventSeq,
) -> Result<Vec<FragmentNo>, Error> {
    let mut carriers = Vec::new();
    for no in view.list(ListKey { kind: ListKind::Carriers, of: identifier.0 }, usize::MAX)? {
        let fragment = FragmentNo(no);
        if joined_at(&*link_row(view, Ends::Identifier(LinkKey { fragment, identifier }))?, at) {
            carriers.push(fragment);
        }
    }
    Ok(carriers)
}

/// The parents that links give.
#[derive(Debug, Default)]
pub struct Tree {
    parents: BTreeMap<FragmentNo, (FragmentNo, EventSeq)>,
    sizes: BTreeMap<FragmentNo, usize>,
    carriers: BTreeMap<IdentifierNo, FragmentNo>,
}

impl Tree {
    /// The tree of some links, in their order.
    #[must_use]
    pub fn of(edges: &[Edge]) -> Self {
        let mut tree = Self::default();
        for edge in edges {
            tree.add(*edge);
        }
        tree
    }

    /// Adds a link; a union if its ends are two persons.
    pub fn add(&mut self, edge: Edge) {
        let (one, other) = match edge.ends {
            Ends::Pair(pair) => (pair.one, pair.other),
            Ends::Identifier(key) => match self.carriers.get(&key.identifier) {
                Some(carrier) => (key.fragment, *carrier),
                None => {
                    self.carriers.insert(key.identifier, key.fragment);
                    return;
                }
            },
        };
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return;
        }
        let (one_size, other_size) = (self.size(one), self.size(other));
        let (parent, child) = larger((one, one_size), (other, other_size));
        self.parents.insert(child, (parent, edge.since));
        self.sizes.insert(parent, one_size + other_size);
    }

    fn size(&self, root: FragmentNo) -> usize {
        self.sizes.get(&root).copied().unwrap_or(1)
    }

    /// The root of a fragment.
    #[must_use]
    pub fn root(&self, fragment: FragmentNo) -> FragmentNo {
        let mut at = fragment;
        while let Some((parent, _)) = self.parents.get(&at) {
            at = *parent;
        }
        at
    }

    /// Position of the union that joined two fragments: the latest on the way between them.
    #[must_use]
    pub fn joined(&self, one: FragmentNo, other: FragmentNo) -> EventSeq {
        let path = |from: FragmentNo| {
            let mut path = vec![(from, EventSeq(0))];
            while let Some((parent, since)) = path.last().and_then(|(at, _)| self.parents.get(at)) {
                path.push((*parent, *since));
            }
            path
        };
        let (left, right) = (path(one), path(other));
        let mut latest = EventSeq(0);
        for (path, other) in [(&left, &right), (&right, &left)] {
            for (place, (fragment, since)) in path.iter().enumerate() {
                latest = if place == 0 { latest } else { latest.max(*since) };
                if other.iter().any(|(met, _)| met == fragment) {
                    break;
                }
            }
        }
        latest
    }

    /// The parent of a fragment, and since when.
    #[must_use]
    pub fn parent(&self, fragment: FragmentNo) -> Option<(FragmentNo, EventSeq)> {
        self.parents.get(&fragment).copied()
    }
}

/// Which of two roots stays, and which ends: that of fewer fragments; among equals the younger.
#[must_use]
pub fn larger(one: (FragmentNo, usize), other: (FragmentNo, usize)) -> (FragmentNo, FragmentNo) {
    let one_stays = (one.1, other.0) > (other.1, one.0);
    if one_stays { (one.0, other.0) } else { (other.0, one.0) }
}

/// What the links of some persons give now, as the fields of a regrouping: moves and new roots.
///
/// # Errors
/// [`Error`] if a row could not be read.
#[expect(clippy::type_complexity, reason = "the fields of an effect")]
pub fn regrouping<V: View>(
    view: &V,
    roots: &[FragmentNo],
) -> Result<(Vec<(FragmentNo, Option<(FragmentNo, EventSeq)>)>, Vec<FragmentNo>), Error> {
    let mut fragments = Vec::new();
    for root in roots {
        fragments.extend(members_of(view, *root)?);
    }
    let tree = Tree::of(&edges_of(view, &fragments)?);
    let mut moves = Vec::new();
    let mut new_roots = Vec::new();
    for fragment in fragments {
        let (before, now) = (fragment_row(view, fragment)?.parent, tree.parent(fragment));
        if before != now {
            moves.push((fragment, now));
        }
        if now.is_none() && before.is_some() {
            new_roots.push(fragment);
        }
    }
    Ok((moves, new_roots))
}

/// The shortest chain of links between two nodes; `None` if there is none.
#[must_use]
pub fn chain(edges: &[Edge], from: Node, to: Node) -> Option<Vec<Edge>> {
    let mut around: BTreeMap<Node, Vec<(Node, Edge)>> = BTreeMap::new();
    for edge in edges {
        let (one, other) = edge.ends.nodes();
        around.entry(one).or_default().push((other, *edge));
        around.entry(other).or_default().push((one, *edge));
    }
    let mut came: BTreeMap<Node, Option<(Node, Edge)>> = BTreeMap::from([(from, None)]);
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node == to {
            break;
        }
        for (next, edge) in around.get(&node).into_iter().flatten() {
            if !came.contains_key(next) {
                came.insert(*next, Some((node, *edge)));
                queue.push_back(*next);
            }
        }
    }
    let mut chain = Vec::new();
    let mut at = to;
    while let Some((before, edge)) = came.get(&at)? {
        chain.push(*edge);
        at = *before;
    }
    chain.reverse();
    Some(chain)
}

/// Digits of a capacity: how many links fit under each.
const DIGIT_BITS: u32 = 20;
/// A capacity that no cut takes.
const UNCUTTABLE: u128 = 1 << 126;

/// The fewest links whose removal parts two fragments; empty if they are not joined. At a tie those not verified,
/// then those whose identifier is carried by most fragments, then the newest.
#[must_use]
pub fn fewest_links(edges: &[Edge], from: FragmentNo, to: FragmentNo) -> Vec<Edge> {
    let mut carriers: BTreeMap<IdentifierNo, u128> = BTreeMap::new();
    for edge in edges {
        if let Ends::Identifier(key) = edge.ends {
            *carriers.entry(key.identifier).or_default() += 1;
        }
    }
    let mut flow = Flow::default();
    let mut arcs = Vec::with_capacity(edges.len());
    let most = (1_u128 << DIGIT_BITS) - 1;
    for (place, edge) in edges.iter().enumerate() {
        let carried = match edge.ends {
            Ends::Identifier(key) => carriers.get(&key.identifier).copied().unwrap_or(0),
            Ends::Pair(_) => 0,
        };
        // Edges are in order: the later ones are the newer.
        let age = (edges.len() - 1 - place) as u128;
        let capacity = (((1 << (DIGIT_BITS + 1)) + u128::from(edge.verified)) << (2 * DIGIT_BITS))
            + (most - carried.min(most));
        let capacity = (capacity << (2 * DIGIT_BITS)) + age.min(most);
        let (one, other) = edge.ends.nodes();
        arcs.push(flow.both_ways(one.into(), other.into(), capacity));
    }
    let reached = flow.cut(Place::from(Node::Fragment(from)), Place::from(Node::Fragment(to)));
    let cut = |(edge, (one, other)): (&Edge, (usize, usize))| {
        let parted = reached.get(one) != reached.get(other);
        parted.then_some(*edge)
    };
    edges.iter().zip(arcs).filter_map(cut).collect()
}

/// The fewest identifiers whose removal parts two fragments; `None` if no identifiers do. At a tie those carried by
/// most fragments.
#[must_use]
pub fn fewest_identifiers(edges: &[Edge], from: FragmentNo, to: FragmentNo) -> Option<Vec<IdentifierNo>> {
    let mut carriers: BTreeMap<IdentifierNo, u128> = BTreeMap::new();
    let mut flow = Flow::default();
    for edge in edges {
        match edge.ends {
            Ends::Pair(pair) => {
                let (one, other) = (Node::Fragment(pair.one), Node::Fragment(pair.other));
                flow.both_ways(one.into(), other.into(), UNCUTTABLE);
            }
            Ends::Identifier(key) => {
                *carriers.entry(key.identifier).or_default() += 1;
                let fragment = Place::from(Node::Fragment(key.fragment));
                flow.one_way(fragment, Place::In(key.identifier), UNCUTTABLE);
                flow.one_way(Place::Out(key.identifier), fragment, UNCUTTABLE);
            }
        }
    }
    let most = (1_u128 << DIGIT_BITS) - 1;
    for (identifier, carried) in &carriers {
        let capacity = (1 << (2 * DIGIT_BITS)) + most - carried.min(&most);
        flow.one_way(Place::In(*identifier), Place::Out(*identifier), capacity);
    }
    let (from, to) = (Place::from(Node::Fragment(from)), Place::from(Node::Fragment(to)));
    let reached = flow.cut(from, to);
    if flow.total >= UNCUTTABLE {
        return None;
    }
    let is = |place: Place| flow.places.get(&place).and_then(|at| reached.get(*at)).copied().unwrap_or(false);
    Some(carriers.into_keys().filter(|no| is(Place::In(*no)) && !is(Place::Out(*no))).collect())
}

/// A node of a network; an identifier is two, so that it can be cut itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Fragment(FragmentNo),
    In(IdentifierNo),
    Out(IdentifierNo),
}

impl From<Node> for Place {
    fn from(node: Node) -> Self {
        match node {
            Node::Fragment(no) => Self::Fragment(no),
            Node::Identifier(no) => Self::In(no),
        }
    }
}

/// A network: arcs in pairs, each the way back of the other.
#[derive(Debug, Default)]
struct Flow {
    places: BTreeMap<Place, usize>,
    around: Vec<Vec<usize>>,
    heads: Vec<usize>,
    left: Vec<u128>,
    total: u128,
}

impl Flow {
    fn place(&mut self, place: Place) -> usize {
        let next = self.places.len();
        let at = *self.places.entry(place).or_insert(next);
        if at == next {
            self.around.push(Vec::new());
        }
        at
    }

    fn arcs(&mut self, from: Place, to: Place, there: u128, back: u128) -> (usize, usize) {
        let (from, to) = (self.place(from), self.place(to));
        for (at, head, capacity) in [(from, to, there), (to, from, back)] {
            let arc = self.heads.len();
            self.heads.push(head);
            self.left.push(capacity);
            if let Some(around) = self.around.get_mut(at) {
                around.push(arc);
            }
        }
        (from, to)
    }

    fn both_ways(&mut self, one: Place, other: Place, capacity: u128) -> (usize, usize) {
        self.arcs(one, other, capacity, capacity)
    }

    fn one_way(&mut self, from: Place, to: Place, capacity: u128) {
        self.arcs(from, to, capacity, 0);
    }

    fn room(&self, arc: usize) -> u128 {
        self.left.get(arc).copied().unwrap_or(0)
    }

    /// Sends as much as goes; then, for each place, whether it is on the side of `from`.
    fn cut(&mut self, from: Place, to: Place) -> Vec<bool> {
        let (from, to) = (self.place(from), self.place(to));
        loop {
            let levels = self.levels(from);
            if from == to || levels.get(to).is_none_or(Option::is_none) || self.total >= UNCUTTABLE {
                return levels.iter().map(Option::is_some).collect();
            }
            let mut next = vec![0; self.around.len()];
            while let Some(sent) = self.send(from, to, &levels, &mut next) {
                self.total = self.total.saturating_add(sent);
            }
        }
    }

    fn levels(&self, from: usize) -> Vec<Option<usize>> {
        let mut levels = vec![None; self.around.len()];
        let mut queue = VecDeque::from([(from, 0)]);
        if let Some(level) = levels.get_mut(from) {
            *level = Some(0);
        }
        while let Some((at, level)) = queue.pop_front() {
            for arc in self.around.get(at).into_iter().flatten() {
                let Some(head) = self.heads.get(*arc).copied() else { continue };
                if self.room(*arc) > 0
                    && let Some(unset @ None) = levels.get_mut(head)
                {
                    *unset = Some(level + 1);
                    queue.push_back((head, level + 1));
                }
            }
        }
        levels
    }

    /// Sends along one path, level by level; without recursion, since paths may be long.
    fn send(&mut self, from: usize, to: usize, levels: &[Option<usize>], next: &mut [usize]) -> Option<u128> {
        let mut path: Vec<usize> = Vec::new();
        let mut at = from;
        while at != to {
            let arc = next.get(at).and_then(|place| self.around.get(at)?.get(*place)).copied();
            let Some(arc) = arc else {
                // A dead end: one step back, and never here again.
                let back = path.pop()?;
                at = self.heads.get(back ^ 1).copied()?;
                if let Some(place) = next.get_mut(at) {
                    *place += 1;
                }
                continue;
            };
            let head = self.heads.get(arc).copied()?;
            let deeper = levels.get(head).copied().flatten()
                == levels.get(at).copied().flatten().map(|level| level + 1);
            if deeper && self.room(arc) > 0 {
                path.push(arc);
                at = head;
            } else if let Some(place) = next.get_mut(at) {
                *place += 1;
            }
        }
        let sent = path.iter().map(|arc| self.room(*arc)).min()?;
        for arc in path {
            if let Some(left) = self.left.get_mut(arc) {
                *left -= sent;
            }
            if let Some(left) = self.left.get_mut(arc ^ 1) {
                *left = left.saturating_add(sent);
            }
        }
        Some(sent)
    }
}
