//! What a person decides about who is who, planned: the effects of an act, or why it cannot be done.
//!
//! Pure, like the decision of a request, and by the same code: an act is tried on a scratch state over a snapshot,
//! off the writer's thread, and the plan says what it rests upon, so that the writer can tell whether it still holds.
//!
//! 1. What the act names has been looked up before ([`Deed`]): fragments, identifiers, the link of a merge.
//! 2. Its effects are applied to the scratch state one by one; links that are taken away first, then the regrouping
//!    of the persons that they were in.
//! 3. The plan names the roots of all persons that it looked at, with the position of their last change.

use super::decide::{Decider, Stamp};
use super::decision::{Decision, Effect, Ends, JoinCause, LinkCode};
use super::graph::{edges_of, fewest_links, link_row, regrouping};
use super::identifiers::CommandIdentifier;
use super::identity::{Evidence, Lifted, Resolved};
use super::person::{Prepared, person_of, prepared_of, tally_of};
use super::prepare::Command;
use super::root::{fragment_row, members_of, root_of};
use super::rows::{
    Counters, DirectKind, IdentifierRow, LinkKey, LinkRow, ListKey, ListKind, PairKey, Standing, TallyRow,
};
use super::scratch::Scratch;
use super::sources::Registry;
use super::view::View;
use crate::act::Act;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo, ProfileKey};
use crate::reply::LinkOutcome;
use crate::settings::Merges;
use std::sync::Arc;
use uuid::Uuid;

/// An act, with what it names looked up.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Takes back the union that a link made of two roots.
    Undo {
        /// The link.
        cause: JoinCause,
        /// The position of the union.
        seq: EventSeq,
        /// Whether it was taken back before.
        undone: bool,
        /// Whether they must not become one again.
        keep_apart: bool,
        /// Guards that it lifted: they stand again where what they part is apart.
        lifted: Vec<(FragmentNo, FragmentNo)>,
    },
    /// Makes one person of two.
    Merge {
        /// A fragment of one.
        one: FragmentNo,
        /// A fragment of the other.
        other: FragmentNo,
        /// Whatever stands between.
        force: bool,
    },
    /// Takes an identifier from a person.
    Detach {
        /// A fragment of the person.
        fragment: FragmentNo,
        /// The identifier.
        identifier: IdentifierNo,
    },
    /// Gives a fragment an identifier.
    Attach {
        /// The fragment.
        fragment: FragmentNo,
        /// The identifier.
        identifier: CommandIdentifier,
    },
    /// Decides a link in quarantine.
    Decide {
        /// The link.
        link: LinkKey,
        /// Its identifier in words.
        identifier: CommandIdentifier,
        /// Whether what the source of the event says may join.
        source_merges: Merges,
        /// Which way.
        approve: bool,
    },
    /// Suspends a value's links.
    Block {
        /// The value; it gets a number if it has none.
        identifier: CommandIdentifier,
    },
    /// Restores a value's links.
    Unblock {
        /// The value.
        identifier: IdentifierNo,
    },
    /// Makes a device beside the holder of another.
    Handover {
        /// A fragment of the device that hands over.
        fragment: FragmentNo,
    },
    /// Takes links away that were not said again in time: nobody's act, and planned as one. Others of these stay.
    Expire {
        /// The links.
        links: Vec<LinkKey>,
    },
}

/// Why a deed cannot be done: a code and a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: &'static str,
    /// The reason.
    pub message: &'static str,
}

/// What a deed comes to.
#[derive(Debug)]
pub struct Plan {
    /// The effects.
    pub decision: Decision,
    /// The roots of the persons that it is about, and the position of their last change.
    pub rests_on: Vec<(FragmentNo, EventSeq)>,
    /// The identifiers whose carriers it is about, as they were: with one carrier more it would be another plan.
    pub identifiers: Vec<(IdentifierNo, Arc<IdentifierRow>)>,
    /// The last numbers given when it was made, if it gives any: others may have been given since.
    pub numbered: Option<Counters>,
    /// The same persons as they are.
    pub before: Vec<Size>,
    /// Their fragments' persons afterwards.
    pub after: Vec<Size>,
    /// What those persons counted when it was made: more since means that what was prepared does not hold.
    pub counted: Vec<TallyRow>,
    /// The persons that regroupings leave, in their order.
    pub prepared: Vec<Prepared>,
    /// Links that it took away.
    pub removed: Vec<Ends>,
    /// Links that it made or restored, as they are then.
    pub added: Vec<(Ends, Arc<LinkRow>)>,
    /// Whether it made a merge.
    pub merged: bool,
    /// Whether an id was drawn.
    pub drew: bool,
}

/// How large a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The oldest fragment.
    pub oldest: FragmentNo,
    /// How many fragments.
    pub fragments: u64,
    /// What they count.
    pub tally: TallyRow,
}

fn size_of_person<V: View>(view: &V, root: FragmentNo) -> Result<Size, Error> {
    let person = person_of(view, root)?;
    Ok(Size { oldest: person.oldest, fragments: person.fragments, tally: tally_of(view, root)? })
}

/// A plan, or why there is none.
pub type Planned = Result<Plan, Refusal>;

impl Plan {
    /// Whether the persons and identifiers that it rests on are as they were, and the numbers that it gives are the
    /// next. Where it regroups, no event may have come to those persons either.
    ///
    /// # Errors
    /// [`Error`] if the store could not be read.
    pub fn still_holds<V: View>(&self, view: &V) -> Result<bool, Error> {
        if self.numbered.is_some_and(|counters| !same_numbers(&counters, &view.counters())) {
            return Ok(false);
        }
        for (no, row) in &self.identifiers {
            if view.identifiers(no)?.is_none_or(|now| now != *row) {
                return Ok(false);
            }
        }
        for ((root, changed), counted) in self.rests_on.iter().zip(&self.counted) {
            let same = fragment_row(view, *root)?.parent.is_none()
                && person_of(view, *root)?.changed == *changed
                && (self.prepared.is_empty() || tally_of(view, *root)? == *counted);
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether the numbers that a plan may give are the next in both.
fn same_numbers(one: &Counters, other: &Counters) -> bool {
    let numbers = |counters: &Counters| {
        let Counters { names, identifier, device, fragment, rules, .. } = *counters;
        (names, identifier, device, fragment, rules)
    };
    numbers(one) == numbers(other)
}

/// Whether an effect gives a number, or notes the rules, which is done once.
const fn gives_number(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Name { .. }
            | Effect::Identifier { .. }
            | Effect::Device { .. }
            | Effect::Fragment { .. }
            | Effect::Ruled(_)
    )
}

impl Deed {
    /// What an act comes to that names nothing but an id that the server made: a hand-over. `None` if it is another
    /// act, or nothing has the id.
    ///
    /// # Errors
    /// [`Error`] if the store could not be read.
    pub fn of_handover<V: View>(view: &V, act: &Act) -> Result<Option<Self>, Error> {
        let Act::Handover { profile } = act else { return Ok(None) };
        let Ok(id) = Uuid::parse_str(profile.trim()) else { return Ok(None) };
        Ok(view.server_ids(&id)?.map(|fragment| Self::Handover { fragment: *fragment }))
    }

    /// Whether planning it may take long: it is then done before the writer is asked.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        matches!(self, Self::Undo { .. } | Self::Detach { .. } | Self::Block { .. } | Self::Unblock { .. })
    }
}

/// Plans a deed on a view. Costs what the links of the persons that it is about do.
///
/// # Errors
/// [`Error`] if the store could not be read.
pub fn plan<V: View>(view: &V, registry: &Registry, deed: &Deed, stamp: Stamp) -> Result<Planned, Error> {
    let mut scratch = Scratch::over(view);
    let command = Command::of_an_act();
    let mut planner = Planner {
        decider: Decider::new(&mut scratch, registry, &command, stamp),
        before: view,
        touched: Vec::new(),
        identifiers: Vec::new(),
        new_roots: Vec::new(),
        prepared: Vec::new(),
        removed: Vec::new(),
        added: Vec::new(),
    };
    planner.decider.note_rules()?;
    if let Err(refusal) = planner.act(deed)? {
        return Ok(Err(refusal));
    }
    let end = if matches!(deed, Deed::Expire { .. }) { Effect::Expired } else { Effect::Acted };
    planner.finish(end).map(Ok)
}

pub(super) struct Planner<'a, 'b, V> {
    pub(super) decider: Decider<'a, Scratch<'b, V>>,
    before: &'b V,
    /// Fragments whose persons are concerned.
    pub(super) touched: Vec<FragmentNo>,
    /// Identifiers whose carriers were looked at, as they are.
    identifiers: Vec<(IdentifierNo, Arc<IdentifierRow>)>,
    /// Fragments that became roots.
    new_roots: Vec<FragmentNo>,
    prepared: Vec<Prepared>,
    removed: Vec<Ends>,
    pub(super) added: Vec<Ends>,
}

pub(super) const fn refuse(code: &'static str, message: &'static str) -> Result<(), Refusal> {
    Err(Refusal { code, message })
}

pub(super) type Done = Result<Result<(), Refusal>, Error>;

impl<V: View> Planner<'_, '_, V> {
    fn act(&mut self, deed: &Deed) -> Done {
        match deed {
            Deed::Undo { cause, seq, undone, keep_apart, lifted } => {
                match self.undo(cause, *seq, *undone, *keep_apart)? {
                    Ok(()) => self.guard_again(lifted).map(Ok),
                    refused => Ok(refused),
                }
            }
            Deed::Merge { one, other, force } => self.merge(*one, *other, *force),
            Deed::Detach { fragment, identifier } => self.detach(*fragment, *identifier),
            Deed::Attach { fragment, identifier } => {
                let lifted = Lifted { decided: true, limit: None };
                self.attach(*fragment, identifier, lifted, Merges::Always)
            }
            Deed::Decide { link, identifier, source_merges, approve } => {
                self.decide(*link, identifier, *source_merges, *approve)
            }
            Deed::Block { identifier } => self.block(identifier),
            Deed::Unblock { identifier } => self.unblock(*identifier),
            Deed::Handover { fragment } => self.hand_over(*fragment),
            Deed::Expire { links } => self.expire(links),
        }
    }

    fn finish(mut self, end: Effect) -> Result<Plan, Error> {
        self.decider.emit(end)?;
        let mut rests_on = Vec::new();
        let mut roots_after = Vec::new();
        for fragment in &self.touched {
            let root = root_of(self.before, *fragment)?;
            rests_on.push((root, person_of(self.before, root)?.changed));
        }
        rests_on.sort_unstable();
        rests_on.dedup();
        let concerned = self.touched.iter().chain(&self.new_roots).copied();
        for fragment in concerned.chain(rests_on.iter().map(|(root, _)| *root)) {
            roots_after.push(root_of(self.decider.state, fragment)?);
        }
        roots_after.sort_unstable();
        roots_after.dedup();
        let mut before = Vec::with_capacity(rests_on.len());
        for (root, _) in &rests_on {
            before.push(size_of_person(self.before, *root)?);
        }
        let mut after = Vec::with_capacity(roots_after.len());
        for root in roots_after {
            after.push(size_of_person(self.decider.state, root)?);
        }
        let counted = before.iter().map(|size: &Size| size.tally).collect();
        let prepared = self.prepared;
        let (merged, drew) = (self.decider.merges > 0, self.decider.drew());
        let removed = self.removed;
        let row = |ends: &Ends| link_row(self.decider.state, *ends).map(|row| (*ends, row));
        let added = self.added.iter().map(row).collect::<Result<_, _>>()?;
        let identifiers = self.identifiers;
        let decision = Decision { effects: self.decider.into_effects() };
        let numbered = decision.effects.iter().any(gives_number).then(|| self.before.counters());
        Ok(Plan {
            decision,
            rests_on,
            identifiers,
            numbered,
            before,
            after,
            counted,
            prepared,
            removed,
            added,
            merged,
            drew,
        })
    }

    pub(super) fn root(&self, fragment: FragmentNo) -> Result<FragmentNo, Error> {
        root_of(self.decider.state, fragment)
    }

    pub(super) fn loosen(&mut self, ends: Ends, standing: Standing) -> Result<(), Error> {
        self.removed.push(ends);
        self.decider.emit(Effect::Loosen { ends, standing })
    }

    /// What the remaining links of the persons of some fragments give.
    pub(super) fn regroup(&mut self, fragments: &[FragmentNo]) -> Result<(), Error> {
        let mut roots = Vec::new();
        for fragment in fragments {
            roots.push(self.root(*fragment)?);
        }
        roots.sort_unstable();
        roots.dedup();
        let (moves, new_roots) = regrouping(self.decider.state, &roots)?;
        let now: Vec<FragmentNo> = roots.iter().chain(&new_roots).copied().collect();
        self.new_roots.extend(&new_roots);
        self.decider.emit(Effect::Regroup { roots, moves, new_roots })?;
        for root in now {
            if fragment_row(self.decider.state, root)?.parent.is_none() {
                self.prepared.push(prepared_of(self.decider.state, root)?);
            }
        }
        Ok(())
    }

    fn undo(&mut self, cause: &JoinCause, seq: EventSeq, undone: bool, keep_apart: bool) -> Done {
        let (ends, near, far) = match cause {
            JoinCause::Link { link, carrier } => (Ends::Identifier(*link), link.fragment, *carrier),
            JoinCause::Direct(pair) => (Ends::Pair(*pair), pair.one, pair.other),
        };
        let row = link_row(self.decider.state, ends)?;
        let since = row.spans.last().map(|span| span.since);
        let holds = row.standing == Standing::Joins && since.is_some_and(|since| since <= seq);
        // Its link may have gone in another way, and the two be joined by others.
        if undone || (!holds && self.root(near)? != self.root(far)?) {
            return Ok(refuse("merge_undone", "the merge was undone, or its link was taken away"));
        }
        self.touched.extend([near, far]);
        if holds {
            self.loosen(ends, Standing::Cut)?;
        }
        let members = members_of(self.decider.state, self.root(near)?)?;
        for edge in fewest_links(&edges_of(self.decider.state, &members)?, near, far) {
            self.loosen(edge.ends, Standing::Cut)?;
        }
        self.regroup(&[near])?;
        if keep_apart {
            self.decider.emit(Effect::Guard { one: near, other: far, stands: true })?;
        }
        Ok(Ok(()))
    }

    /// Puts up guards that a forced merge lifted. Where something else has joined the two since, none can stand.
    fn guard_again(&mut self, lifted: &[(FragmentNo, FragmentNo)]) -> Result<(), Error> {
        for (one, other) in lifted {
            if self.root(*one)? != self.root(*other)? {
                self.touched.extend([*one, *other]);
                self.decider.emit(Effect::Guard { one: *one, other: *other, stands: true })?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, one: FragmentNo, other: FragmentNo, force: bool) -> Done {
        let (left, right) = (self.root(one)?, self.root(other)?);
        if left == right {
            return Ok(refuse("same_profile", "the two ids are of one profile"));
        }
        self.touched.extend([one, other]);
        let persons = (person_of(self.decider.state, left)?, person_of(self.decider.state, right)?);
        if self.decider.guarded(&persons.0, right)? {
            if !force {
                return Ok(refuse("kept_apart", "a guard stands between the two; force lifts it"));
            }
            for (mine, theirs) in &persons.0.guards {
                if self.root(*theirs)? == right {
                    self.decider.emit(Effect::Guard { one: *mine, other: *theirs, stands: false })?;
                }
            }
        }
        if !force && self.decider.share_no_unique(&persons.0, &persons.1)? {
            return Ok(refuse(
                "unique_conflict",
                "each has another value of a unique namespace; force joins them all the same",
            ));
        }
        let pair = PairKey::of(one, other);
        self.added.push(Ends::Pair(pair));
        let time = self.decider.stamp.received;
        self.decider.emit(Effect::Direct { one, other, kind: DirectKind::Hand, time })?;
        self.decider.unite(left, right, JoinCause::Direct(pair))?;
        Ok(Ok(()))
    }

    /// Nothing can stand between a person and a device that nobody has seen: no guard, no value, no limit.
    fn hand_over(&mut self, fragment: FragmentNo) -> Done {
        let device = fragment_row(self.decider.state, fragment)?.device;
        let holder = self.holder_beside(fragment)?;
        // Whoever can hand it over has its id.
        self.decider.settle(device)?;
        let root = self.root(holder)?;
        self.touched.push(holder);
        let key = ProfileKey::Server(self.decider.draw_id());
        let made = self.decider.make_device(key, false, None)?;
        let pair = PairKey::of(holder, made);
        self.added.push(Ends::Pair(pair));
        let time = self.decider.stamp.received;
        self.decider.emit(Effect::Direct { one: holder, other: made, kind: DirectKind::Handover, time })?;
        self.decider.unite(root, made, JoinCause::Direct(pair))?;
        Ok(Ok(()))
    }

    fn detach(&mut self, fragment: FragmentNo, identifier: IdentifierNo) -> Done {
        let root = self.root(fragment)?;
        self.touched.push(fragment);
        let carriers = self.carriers(identifier, |standing| standing.holds())?;
        let mut found = false;
        for (carrier, _) in carriers {
            if self.root(carrier)? == root {
                found = true;
                let ends = Ends::Identifier(LinkKey { fragment: carrier, identifier });
                self.loosen(ends, Standing::Cut)?;
            }
        }
        if !found {
            return Ok(refuse("identifier_unknown", "the profile has no such identifier"));
        }
        self.regroup(&[fragment])?;
        Ok(Ok(()))
    }

    /// Fragments with a link to an identifier of which something holds, in order of number.
    pub(super) fn carriers(
        &mut self,
        identifier: IdentifierNo,
        of: impl Fn(Standing) -> bool,
    ) -> Result<Vec<(FragmentNo, Standing)>, Error> {
        if !self.identifiers.iter().any(|(no, _)| *no == identifier)
            && let Some(row) = self.before.identifiers(&identifier)?
        {
            self.identifiers.push((identifier, row));
        }
        let key = ListKey { kind: ListKind::Carriers, of: identifier.0 };
        let mut carriers = Vec::new();
        for no in self.decider.state.list(key, usize::MAX)? {
            let fragment = FragmentNo(no);
            let ends = Ends::Identifier(LinkKey { fragment, identifier });
            let standing = link_row(self.decider.state, ends)?.standing;
            if of(standing) {
                carriers.push((fragment, standing));
            }
        }
        Ok(carriers)
    }

    fn attach(
        &mut self,
        fragment: FragmentNo,
        identifier: &CommandIdentifier,
        lifted: Lifted,
        source_merges: Merges,
    ) -> Done {
        if let Some(code) = identifier.fault {
            return Ok(refuse(code.as_str(), "the value identifies nobody"));
        }
        let Some(settings) = self.decider.registry.namespaces.get(&*identifier.namespace) else {
            return Ok(refuse(LinkCode::UnknownNamespace.as_str(), "no namespace has this name"));
        };
        self.touched.push(fragment);
        let evidence = Evidence {
            identifier,
            settings,
            source_merges,
            time: self.decider.stamp.received,
            lifted,
            may_switch: false,
        };
        let resolved = self.decider.resolve(fragment, evidence)?;
        self.touched.extend(resolved.sides.map(|(_, other)| other));
        self.attached(fragment, identifier, &resolved)
    }

    fn attached(
        &mut self,
        fragment: FragmentNo,
        identifier: &CommandIdentifier,
        resolved: &Resolved,
    ) -> Done {
        let code = resolved.code.map_or("refused", LinkCode::as_str);
        match resolved.outcome {
            LinkOutcome::Refused => {
                return Ok(refuse(code, "the rules of identity refuse it: docs/identity.md says when"));
            }
            LinkOutcome::Quarantined => {
                return Ok(refuse(code, "another limit stands in the way"));
            }
            _ => {}
        }
        if let Some(no) = self.decider.known_identifier(identifier)? {
            self.added.push(Ends::Identifier(LinkKey { fragment, identifier: no }));
        }
        Ok(Ok(()))
    }

    fn decide(
        &mut self,
        link: LinkKey,
        identifier: &CommandIdentifier,
        source_merges: Merges,
        approve: bool,
    ) -> Done {
        let ends = Ends::Identifier(link);
        let Standing::Quarantined(limit) = link_row(self.decider.state, ends)?.standing else {
            return Ok(refuse("quarantine_decided", "the link does not wait for a decision any more"));
        };
        if approve {
            let lifted = Lifted { decided: false, limit: Some(limit) };
            return self.attach(link.fragment, identifier, lifted, source_merges);
        }
        self.touched.push(link.fragment);
        // It never held: nothing is taken away.
        self.decider.emit(Effect::Loosen { ends, standing: Standing::Rejected })?;
        Ok(Ok(()))
    }
}
