//! What must hold of any state in memory, by what it is made of and nothing else: no model is asked.
//!
//! 1. People are what the links connect that stand, and the parents are what these give in their order.
//! 2. What is kept at a root is what its fragments give.
//! 3. An identifier's owner carries it, and its links are counted.
//! 4. Nobody has two values of a unique namespace.
//! 5. Guards are between two persons.
//! 6. Nothing is counted twice or not at all.

use spoor::Settings;
use spoor::core::decision::Ends;
use spoor::core::graph::{Node, edges_of, links_of, regrouping};
use spoor::core::memory::MemoryState;
use spoor::core::person::{person_of, sum_of, tally_of, traits_of};
use spoor::core::root::{fragment_row, members_of, root_of};
use spoor::core::rows::{NameKind, Standing};
use spoor::core::view::View;
use spoor::ids::{DeviceNo, FragmentNo, IdentifierNo};
use std::collections::{BTreeMap, BTreeSet};

/// What does not hold; empty if the state is sound.
///
/// # Panics
/// If a row is not there that another names.
#[must_use]
pub fn faults(state: &MemoryState, settings: &Settings) -> Vec<String> {
    let mut look = Look { state, settings, faults: Vec::new() };
    let fragments: Vec<FragmentNo> = (1..=state.counters().fragment.0).map(FragmentNo).collect();
    look.people(&fragments);
    let roots: BTreeSet<FragmentNo> = fragments.iter().map(|no| root(state, *no)).collect();
    for root in &roots {
        look.person(*root);
        look.values(*root);
    }
    look.identifiers();
    look.devices(&fragments);
    look.sums(&roots);
    look.faults
}

fn root(state: &MemoryState, fragment: FragmentNo) -> FragmentNo {
    root_of(state, fragment).expect("a root")
}

struct Look<'a> {
    state: &'a MemoryState,
    settings: &'a Settings,
    faults: Vec<String>,
}

impl Look<'_> {
    fn expect(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(fault());
        }
    }

    /// The components of the graph of what joins, worked out by painting: all ends of a link get the lesser colour.
    fn people(&mut self, fragments: &[FragmentNo]) {
        let mut colours: BTreeMap<Node, usize> = BTreeMap::new();
        let mut joining = Vec::new();
        for (colour, fragment) in fragments.iter().enumerate() {
            colours.insert(Node::Fragment(*fragment), colour);
            for (ends, row) in links_of(self.state, *fragment).expect("its links") {
                joining.extend((row.standing == Standing::Joins).then(|| ends.nodes()));
            }
        }
        loop {
            let mut changed = false;
            for (one, other) in &joining {
                let colour = |node: &Node| colours.get(node).copied().unwrap_or(usize::MAX);
                let (of_one, of_other) = (colour(one), colour(other));
                changed |= of_one != of_other;
                colours.insert(*one, of_one.min(of_other));
                colours.insert(*other, of_one.min(of_other));
            }
            if !changed {
                break;
            }
        }
        for one in fragments {
            for other in fragments {
                let joined = root(self.state, *one) == root(self.state, *other);
                let connected = colours[&Node::Fragment(*one)] == colours[&Node::Fragment(*other)];
                self.expect(joined == connected, || {
                    format!("{one:?} and {other:?}: {joined}, links say {connected}")
                });
            }
        }
    }

    fn person(&mut self, root: FragmentNo) {
        let members = members_of(self.state, root).expect("members");
        let (moves, _) = regrouping(self.state, &[root]).expect("regrouping");
        self.expect(moves.is_empty(), || format!("the links of {root:?} give other parents: {moves:?}"));
        let person = person_of(self.state, root).expect("a person");
        let sum = sum_of(self.state, &members).expect("a sum");
        let size = (person.fragments, person.oldest);
        let right = (members.len() as u64, members[0]);
        self.expect(size == right, || format!("{root:?} has {size:?}, not {right:?}"));
        let held = &person.identifiers;
        self.expect(*held == sum.identifiers, || format!("{root:?} has {held:?}, not {:?}", sum.identifiers));
        let tally = tally_of(self.state, root).expect("counters");
        self.expect(tally == sum.tally, || format!("{root:?} counts {tally:?}, not {:?}", sum.tally));
        let traits =
            traits_of(self.state, root).expect("traits").map(|row| row.0.clone()).unwrap_or_default();
        let right: Vec<_> = sum.traits.into_iter().collect();
        self.expect(traits == right, || format!("{root:?} holds {traits:?}, not {right:?}"));
        for (mine, theirs) in &person.guards {
            let apart = members.contains(mine) && !members.contains(theirs);
            self.expect(apart, || format!("{root:?} has a guard between {mine:?} and {theirs:?}"));
        }
    }

    /// How many values of each namespace a person has.
    fn values(&mut self, root: FragmentNo) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for identifier in &person_of(self.state, root).expect("a person").identifiers {
            let row = self.state.identifiers(identifier).expect("memory").expect("an identifier");
            let name = self.state.texts(&(NameKind::Namespace, row.key.namespace.0)).expect("memory");
            *counts.entry(name.expect("its namespace").text.to_string()).or_default() += 1;
        }
        for (name, count) in counts {
            let unique = self.settings.identifiers[&name].unique;
            self.expect(count == 1 || !unique, || format!("{root:?} has {count} of {name}"));
        }
    }

    fn identifiers(&mut self) {
        let mut carriers: BTreeMap<IdentifierNo, Vec<(FragmentNo, Standing)>> = BTreeMap::new();
        for fragment in (1..=self.state.counters().fragment.0).map(FragmentNo) {
            for (ends, row) in links_of(self.state, fragment).expect("its links") {
                if let Ends::Identifier(key) = ends {
                    carriers.entry(key.identifier).or_default().push((fragment, row.standing));
                }
            }
        }
        for (no, carriers) in carriers {
            let row = self.state.identifiers(&no).expect("memory").expect("an identifier");
            let held = carriers.iter().filter(|(_, standing)| standing.holds()).count() as u64;
            self.expect(row.links == held, || format!("{no:?} counts {} links, not {held}", row.links));
            let joins = carriers.iter().filter(|(_, standing)| *standing == Standing::Joins);
            let joins: Vec<FragmentNo> = joins.map(|(fragment, _)| *fragment).collect();
            let right = row.owner.map_or(joins.is_empty(), |owner| joins.contains(&owner));
            self.expect(right, || format!("{no:?} is owned by {:?}, of {joins:?}", row.owner));
        }
    }

    fn devices(&mut self, fragments: &[FragmentNo]) {
        for no in (1..=self.state.counters().device.0).map(DeviceNo) {
            let row = self.state.devices(&no).expect("memory").expect("devices are numbered without gaps");
            for fragment in [row.first, row.holder] {
                let own = fragments.contains(&fragment)
                    && fragment_row(self.state, fragment).expect("a row").device == no;
                self.expect(own, || format!("{no:?} has {fragment:?}, which is not its"));
            }
        }
    }

    fn sums(&mut self, roots: &BTreeSet<FragmentNo>) {
        let counters = self.state.counters();
        let counted: u64 =
            roots.iter().map(|root| tally_of(self.state, *root).expect("counters").events).sum();
        self.expect(counted == counters.events, || format!("{counted} of {} events", counters.events));
        let expected = counters.fragment.0 - counters.unions;
        self.expect(roots.len() as u64 == expected, || format!("{} roots, not {expected}", roots.len()));
        let edges = roots.iter().flat_map(|root| {
            edges_of(self.state, &members_of(self.state, *root).expect("members")).expect("links")
        });
        let mut orders: Vec<u64> = edges.map(|edge| edge.order).collect();
        let count = orders.len();
        orders.sort_unstable();
        orders.dedup();
        let numbered = orders.len() == count && orders.first().is_none_or(|first| *first > 0);
        self.expect(numbered, || format!("links are not numbered one by one: {orders:?}"));
    }
}
