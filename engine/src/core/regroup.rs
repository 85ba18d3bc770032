//! What effects of identity do to the rows: links, unions, and persons that come apart.
//!
//! A part of [`super::apply`]: nothing is chosen here.
//!
//! 1. A union hangs one root under another and joins the two persons' rows.
//! 2. A link that is loosened keeps its row, with the time during which it held; who carries the identifier for its
//!    person is another fragment then.
//! 3. A regrouping sets the parents that the remaining links give, and works the persons out anew.

use super::apply::{count, missing, owned};
use super::decision::{Effect, Ends, LinkCode};
use super::person::{change_person, join_persons, person_of, rebuild_person};
use super::root::root_of;
use super::rows::{
    DirectKind, IdentifierKey, IdentifierRow, LinkKey, LinkRow, ListKey, ListKind, PairKey, Span, Standing,
};
use super::view::{State, View};
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, IdentifierNo};
use crate::time::Timestamp;
use std::sync::Arc;

/// How many carriers of an identifier are looked at first for one that still joins.
const CARRIERS_FIRST: usize = 64;

/// Applies an effect that is about who is who.
///
/// # Errors
/// [`Error`] if a row could not be read, or is not there.
pub(super) fn apply_identity<S: State>(state: &mut S, effect: &Effect) -> Result<(), Error> {
    match effect {
        Effect::Identifier { no, namespace, value } => {
            let key = IdentifierKey { namespace: *namespace, value: value.clone() };
            state.put_identifier_nos(key.clone(), *no);
            state.put_identifiers(*no, IdentifierRow { key, owner: None, links: 0, blocked: None });
            count(state, |counters| counters.identifier = *no);
            Ok(())
        }
        Effect::Link { fragment, identifier, joins, verified, time } => {
            let key = LinkKey { fragment: *fragment, identifier: *identifier };
            apply_link(state, key, Said { joins: *joins, verified: *verified, time: *time })
        }
        Effect::Direct { one, other, kind, time } => {
            let pair = PairKey::of(*one, *other);
            let seq = here(state);
            let mut row = match state.directs(&pair)? {
                Some(row) => Arc::unwrap_or_clone(row),
                None => new_link(seq, *time, Standing::Cut),
            };
            (row.kind, row.last_seq) = (Some(*kind), seq);
            row.first_seen = row.first_seen.min(*time);
            row.last_seen = row.last_seen.max(*time);
            row.verified |= *kind == DirectKind::Hand;
            begin(state, &mut row, true);
            state.put_directs(pair, row);
            for (of, item) in [(*one, *other), (*other, *one)] {
                state.add_to_list(ListKey { kind: ListKind::Directs, of: of.0 }, item.0);
                note(state, of);
                touch_person(state, of)?;
            }
            Ok(())
        }
        Effect::Holder { device, fragment } => {
            let mut row = owned(state.devices(device)?, "device")?;
            row.holder = *fragment;
            state.put_devices(*device, row);
            note(state, *fragment);
            Ok(())
        }
        Effect::Quarantine { fragment, identifier, limit, place, verified, time } => {
            let key = LinkKey { fragment: *fragment, identifier: *identifier };
            let seq = here(state);
            // One that only attached, and was to join now, does not hold until it is decided.
            if state.links(&key)?.is_some_and(|row| row.standing.holds()) {
                loosen(state, key, Standing::Quarantined(*limit))?;
                drop_from_person(state, key)?;
            }
            let row = match state.links(&key)? {
                Some(row) => LinkRow {
                    standing: Standing::Quarantined(*limit),
                    last_seq: seq,
                    first_seen: row.first_seen.min(*time),
                    last_seen: row.last_seen.max(*time),
                    ..Arc::unwrap_or_clone(row)
                },
                None => new_link(seq, *time, Standing::Quarantined(*limit)),
            };
            let entry = Some((seq, *place));
            state.put_links(key, LinkRow { verified: row.verified || *verified, entry, ..row });
            list_link(state, key);
            state.add_to_list(ListKey { kind: ListKind::Quarantine, of: 0 }, seq.0);
            state.add_to_list(ListKey { kind: ListKind::Operations, of: fragment.0 }, seq.0);
            note(state, *fragment);
            Ok(())
        }
        Effect::Loosen { ends: Ends::Identifier(key), standing } => loosen(state, *key, *standing),
        Effect::Loosen { ends: Ends::Pair(pair), standing } => {
            let mut row = owned(state.directs(pair)?, "link")?;
            end(state, &mut row, *standing);
            state.put_directs(*pair, row);
            note(state, pair.one);
            note(state, pair.other);
            Ok(())
        }
        Effect::Restore { fragment, identifier, joins } => {
            restore(state, LinkKey { fragment: *fragment, identifier: *identifier }, *joins)
        }
        Effect::Blocked { identifier, blocked } => {
            let mut row = owned(state.identifiers(identifier)?, "identifier")?;
            let seq = here(state);
            row.blocked = blocked.then_some(seq);
            state.put_identifiers(*identifier, row);
            if *blocked {
                state.add_to_list(ListKey { kind: ListKind::Blocked, of: 0 }, seq.0);
            }
            Ok(())
        }
        Effect::Guard { one, other, stands } => apply_guard(state, *one, *other, *stands),
        Effect::Regroup { roots, moves, new_roots } => regroup(state, roots, moves, new_roots),
        Effect::Identified { fragment: Some(fragment), results } => {
            if results.iter().any(|result| result.code.is_some_and(LinkCode::is_conflict)) {
                note(state, *fragment);
            }
            // A switch is a matter of both people.
            for from in results.iter().filter_map(|result| result.from) {
                note(state, from);
            }
            Ok(())
        }
        // What was answered; the effects beside it did it. Everything else is the business of `apply`.
        _ => Ok(()),
    }
}

/// What an event says of a link.
#[derive(Debug, Clone, Copy)]
struct Said {
    joins: bool,
    verified: bool,
    time: Timestamp,
}

/// The position of what is being applied.
fn here<S: View>(state: &S) -> EventSeq {
    state.counters().seq.next()
}

fn note<S: State>(state: &mut S, fragment: FragmentNo) {
    let seq = here(state);
    state.add_to_list(ListKey { kind: ListKind::History, of: fragment.0 }, seq.0);
}

const fn new_link(seq: EventSeq, time: Timestamp, standing: Standing) -> LinkRow {
    LinkRow {
        standing,
        order: 0,
        spans: Vec::new(),
        verified: false,
        first_seq: seq,
        last_seq: seq,
        first_seen: time,
        last_seen: time,
        kind: None,
        entry: None,
    }
}

fn list_link<S: State>(state: &mut S, key: LinkKey) {
    state.add_to_list(ListKey { kind: ListKind::Identifiers, of: key.fragment.0 }, key.identifier.0);
    state.add_to_list(ListKey { kind: ListKind::Carriers, of: key.identifier.0 }, key.fragment.0);
}

/// The link holds from here on.
fn begin<S: State>(state: &mut S, row: &mut LinkRow, joins: bool) {
    let seq = here(state);
    close_span(row, seq);
    row.spans.push(Span { from: seq, since: seq, to: None, joins });
    row.standing = if joins { Standing::Joins } else { Standing::Attaches };
    if joins {
        count(state, |counters| counters.links += 1);
        row.order = state.counters().links;
    }
}

/// The link holds again, as before its identifier was blocked: in its place among the others, and whatever rests on
/// when it came to join is as it was.
fn go_on<S: View>(state: &S, row: &mut LinkRow, joins: bool) {
    let from = here(state);
    let since = row.spans.last().map_or(from, |span| span.since);
    row.spans.push(Span { from, since, to: None, joins });
    row.standing = if joins { Standing::Joins } else { Standing::Attaches };
}

/// The link does not hold any more.
fn end<S: View>(state: &S, row: &mut LinkRow, standing: Standing) {
    close_span(row, here(state));
    row.standing = standing;
}

fn close_span(row: &mut LinkRow, seq: EventSeq) {
    if let Some(span) = row.spans.last_mut()
        && span.to.is_none()
    {
        span.to = Some(seq);
    }
}

fn apply_link<S: State>(state: &mut S, key: LinkKey, said: Said) -> Result<(), Error> {
    let seq = here(state);
    let known = state.links(&key)?;
    let is_new = known.is_none();
    let mut row = known.map_or_else(|| new_link(seq, said.time, Standing::Cut), Arc::unwrap_or_clone);
    row.verified |= said.verified;
    row.last_seq = seq;
    row.first_seen = row.first_seen.min(said.time);
    row.last_seen = row.last_seen.max(said.time);
    let held = row.standing.holds();
    let begins = !held || (said.joins && row.standing == Standing::Attaches);
    if begins {
        begin(state, &mut row, said.joins);
        carry(state, key, !held, said.joins)?;
    }
    state.put_links(key, row);
    if is_new {
        list_link(state, key);
    }
    if begins {
        note(state, key.fragment);
        let root = root_of(state, key.fragment)?;
        change_person(state, root, |person| {
            if let Err(place) = person.identifiers.binary_search(&key.identifier) {
                person.identifiers.insert(place, key.identifier);
            }
            person.changed = seq;
        })?;
    }
    state.add_to_list(ListKey { kind: ListKind::Operations, of: key.fragment.0 }, seq.0);
    Ok(())
}

/// A fragment carries an identifier from here on.
fn carry<S: State>(state: &mut S, key: LinkKey, is_more: bool, joins: bool) -> Result<(), Error> {
    let mut row = owned(state.identifiers(&key.identifier)?, "identifier")?;
    row.links += u64::from(is_more);
    if joins && row.owner.is_none() {
        row.owner = Some(key.fragment);
    }
    state.put_identifiers(key.identifier, row);
    Ok(())
}

fn touch_person<S: State>(state: &mut S, fragment: FragmentNo) -> Result<(), Error> {
    let (root, seq) = (root_of(state, fragment)?, here(state));
    change_person(state, root, |person| person.changed = seq)
}

/// Hangs one root under another.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub(super) fn apply_join<S: State>(
    state: &mut S,
    child: FragmentNo,
    parent: FragmentNo,
) -> Result<(), Error> {
    let seq = here(state);
    join_persons(state, child, parent, seq)?;
    let mut row = owned(state.fragments(&child)?, "fragment")?;
    row.parent = Some((parent, seq));
    state.put_fragments(child, row);
    let mut row = owned(state.fragments(&parent)?, "fragment")?;
    row.joined = true;
    state.put_fragments(parent, row);
    state.add_to_list(ListKey { kind: ListKind::Children, of: parent.0 }, child.0);
    note(state, child);
    note(state, parent);
    count(state, |counters| counters.unions += 1);
    Ok(())
}

fn loosen<S: State>(state: &mut S, key: LinkKey, standing: Standing) -> Result<(), Error> {
    let mut row = owned(state.links(&key)?, "link")?;
    let held = row.standing.holds();
    end(state, &mut row, standing);
    state.put_links(key, row);
    note(state, key.fragment);
    if !held {
        return Ok(());
    }
    let mut identifier = owned(state.identifiers(&key.identifier)?, "identifier")?;
    identifier.links = identifier.links.saturating_sub(1);
    if identifier.owner == Some(key.fragment) {
        identifier.owner = another_owner(state, key.identifier)?;
    }
    state.put_identifiers(key.identifier, identifier);
    Ok(())
}

/// A person has an identifier no longer, unless another of its fragments carries it.
fn drop_from_person<S: State>(state: &mut S, key: LinkKey) -> Result<(), Error> {
    let root = root_of(state, key.fragment)?;
    for fragment in state.list(ListKey { kind: ListKind::Carriers, of: key.identifier.0 }, usize::MAX)? {
        let fragment = FragmentNo(fragment);
        let link = state.links(&LinkKey { fragment, ..key })?;
        if link.is_some_and(|link| link.standing.holds()) && root_of(state, fragment)? == root {
            return Ok(());
        }
    }
    let seq = here(state);
    change_person(state, root, |person| {
        person.changed = seq;
        if let Ok(place) = person.identifiers.binary_search(&key.identifier) {
            person.identifiers.remove(place);
        }
    })
}

fn another_owner<S: View>(state: &S, identifier: IdentifierNo) -> Result<Option<FragmentNo>, Error> {
    let of = ListKey { kind: ListKind::Carriers, of: identifier.0 };
    for max in [CARRIERS_FIRST, usize::MAX] {
        for fragment in state.list(of, max)? {
            let fragment = FragmentNo(fragment);
            let row = state.links(&LinkKey { fragment, identifier })?;
            if row.is_some_and(|row| row.standing == Standing::Joins) {
                return Ok(Some(fragment));
            }
        }
    }
    Ok(None)
}

fn restore<S: State>(state: &mut S, key: LinkKey, joins: bool) -> Result<(), Error> {
    let mut row = owned(state.links(&key)?, "link")?;
    go_on(state, &mut row, joins);
    state.put_links(key, row);
    carry(state, key, true, joins)?;
    note(state, key.fragment);
    let (root, seq) = (root_of(state, key.fragment)?, here(state));
    change_person(state, root, |person| {
        if let Err(place) = person.identifiers.binary_search(&key.identifier) {
            person.identifiers.insert(place, key.identifier);
        }
        person.changed = seq;
    })
}

fn apply_guard<S: State>(
    state: &mut S,
    one: FragmentNo,
    other: FragmentNo,
    stands: bool,
) -> Result<(), Error> {
    let seq = here(state);
    for guard in [(one, other), (other, one)] {
        let root = root_of(state, guard.0)?;
        change_person(state, root, |person| {
            person.changed = seq;
            match person.guards.binary_search(&guard) {
                Err(place) if stands => person.guards.insert(place, guard),
                Ok(place) if !stands => drop(person.guards.remove(place)),
                _ => {}
            }
        })?;
        note(state, guard.0);
    }
    Ok(())
}

fn regroup<S: State>(
    state: &mut S,
    roots: &[FragmentNo],
    moves: &[(FragmentNo, Option<(FragmentNo, EventSeq)>)],
    new_roots: &[FragmentNo],
) -> Result<(), Error> {
    let seq = here(state);
    let mut guards = Vec::new();
    for root in roots {
        guards.extend(person_of(state, *root)?.guards.iter().copied());
    }
    for (fragment, parent) in moves {
        let mut row = owned(state.fragments(fragment)?, "fragment")?;
        row.parent = *parent;
        state.put_fragments(*fragment, row);
        note(state, *fragment);
        if let Some((parent, _)) = parent {
            let mut row = owned(state.fragments(parent)?, "fragment")?;
            row.joined = true;
            state.put_fragments(*parent, row);
            state.add_to_list(ListKey { kind: ListKind::Children, of: parent.0 }, fragment.0);
        }
    }
    let mut now = Vec::new();
    for root in roots.iter().chain(new_roots) {
        if state.fragments(root)?.ok_or_else(|| missing("fragment"))?.parent.is_none() {
            now.push(*root);
        }
    }
    now.sort_unstable();
    now.dedup();
    for root in &now {
        rebuild_person(state, *root, &guards, seq)?;
        // Those who keep their root were parted as well.
        note(state, *root);
    }
    let (before, after) = (roots.len() as u64, now.len() as u64);
    count(state, |counters| counters.unions = (counters.unions + before).saturating_sub(after));
    Ok(())
}
