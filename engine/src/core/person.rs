//! A person: what all fragments of a root give together, kept so that neither a decision nor a read visits each
//! fragment.
//!
//! A root that is alone has a [`PersonRow`] only if it has identifiers or guards; its counters, traits and consents
//! are those of its one fragment. Once a second fragment joins, all of them are kept at the root: a union joins the
//! two sides' rows, an event changes its fragment's row and its person's, and a regrouping works them out anew from
//! the fragments. Rows that stood at a root that was joined to another mean nothing.

use super::apply::missing;
use super::consents::ConsentStates;
use super::root::{fragment_row, joined_at, members_of, root_of};
use super::rows::{ListKey, ListKind, PersonConsentsRow, PersonRow, StandingRefusals, TallyRow, TraitsRow};
use super::traits::TraitState;
use super::view::{State, View};
use crate::error::Error;
use crate::ids::{ConsentNo, EventSeq, FragmentNo, IdentifierNo, SessionNo, TraitNo};
use crate::limits::STANDING_REFUSALS_MAX;
use crate::request::Consent;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of the person of a root.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn person_of<V: View>(view: &V, root: FragmentNo) -> Result<Arc<PersonRow>, Error> {
    match view.persons(&root)? {
        Some(row) => Ok(row),
        None => Ok(Arc::new(PersonRow { fragments: 1, oldest: root, ..PersonRow::default() })),
    }
}

/// Counters of the person of a root.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn tally_of<V: View>(view: &V, root: FragmentNo) -> Result<TallyRow, Error> {
    let row = if is_alone(view, root)? { view.tallies(&root)? } else { view.person_tallies(&root)? };
    Ok(row.map_or_else(TallyRow::default, |row| *row))
}

/// Traits of the person of a root; `None` if there are none.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn traits_of<V: View>(view: &V, root: FragmentNo) -> Result<Option<Arc<TraitsRow>>, Error> {
    if is_alone(view, root)? { view.traits(&root) } else { view.person_traits(&root) }
}

/// Consents of the person of a root.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn consents_of<V: View>(view: &V, root: FragmentNo) -> Result<Vec<(ConsentNo, Consent)>, Error> {
    let standing = standing_of(view, root)?;
    let answer = |refusals: &StandingRefusals| {
        let refused = refusals.more || !refusals.by.is_empty();
        if refused { Consent::Refused } else { Consent::Granted }
    };
    Ok(standing.0.iter().map(|(purpose, refusals)| (*purpose, answer(refusals))).collect())
}

fn is_alone<V: View>(view: &V, root: FragmentNo) -> Result<bool, Error> {
    Ok(fragment_row(view, root)?.is_alone())
}

fn standing_of<V: View>(view: &V, root: FragmentNo) -> Result<PersonConsentsRow, Error> {
    if !is_alone(view, root)? {
        let row = view.person_consents(&root)?;
        return Ok(row.map(Arc::unwrap_or_clone).unwrap_or_default());
    }
    let Some(row) = view.consents(&root)? else { return Ok(PersonConsentsRow::default()) };
    let of = |purpose: ConsentNo| {
        let refused = row.0.get(purpose).is_some_and(|state| state.latest == Consent::Refused);
        let by = if refused { vec![root] } else { Vec::new() };
        (purpose, StandingRefusals { by, more: false })
    };
    Ok(PersonConsentsRow(row.0.purposes().map(of).collect()))
}

/// Sessions of more than one part in which the person of a root has one, sorted.
fn splits_of<V: View>(view: &V, root: FragmentNo) -> Result<Vec<SessionNo>, Error> {
    let row = fragment_row(view, root)?;
    if !row.is_alone() {
        return Ok(person_of(view, root)?.split_sessions.clone());
    }
    let mut sessions = row.split_sessions.clone();
    sessions.sort_unstable();
    Ok(sessions)
}

/// Changes the row of a person.
///
/// # Errors
/// [`Error`] if it could not be read.
pub fn change_person<S: State>(
    state: &mut S,
    root: FragmentNo,
    change: impl FnOnce(&mut PersonRow),
) -> Result<(), Error> {
    let mut row = Arc::unwrap_or_clone(person_of(state, root)?);
    change(&mut row);
    state.put_persons(root, row);
    Ok(())
}

/// Changes the counters of a fragment's person, where they are kept apart from the fragment's own.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn change_person_tally<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    change: impl FnOnce(&mut TallyRow),
) -> Result<(), Error> {
    let Some(root) = joined_root(state, fragment)? else { return Ok(()) };
    let mut tally = state.person_tallies(&root)?.map_or_else(TallyRow::default, |row| *row);
    change(&mut tally);
    state.put_person_tallies(root, tally);
    Ok(())
}

/// The root of a fragment, if its person's rows are kept there.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn joined_root<V: View>(view: &V, fragment: FragmentNo) -> Result<Option<FragmentNo>, Error> {
    if fragment_row(view, fragment)?.is_alone() {
        return Ok(None);
    }
    root_of(view, fragment).map(Some)
}

/// A fragment has a part, by now, in a session of several: the person notes it. Returns whether the session counts
/// for the person already.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn note_split<S: State>(state: &mut S, fragment: FragmentNo, session: SessionNo) -> Result<bool, Error> {
    let Some(root) = joined_root(state, fragment)? else { return Ok(false) };
    let person = person_of(state, root)?;
    let Err(place) = person.split_sessions.binary_search(&session) else { return Ok(true) };
    change_person(state, root, |person| person.split_sessions.insert(place, session))?;
    Ok(false)
}

/// An answer was received: it stands at the person, where that is kept apart from the fragment.
///
/// A grant lifts every refusal but those of fragments that were joined by this very event.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn answer_for_person<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    seq: EventSeq,
    answers: &[(ConsentNo, Consent)],
) -> Result<(), Error> {
    let Some(root) = joined_root(state, fragment)? else { return Ok(()) };
    let changed = person_of(state, root)?.changed;
    let mut row = state.person_consents(&root)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    // Of two answers in one event the refusal holds.
    let mut answers = answers.to_vec();
    answers.sort_unstable();
    for (purpose, consent) in answers {
        let refusals = standing_for(&mut row, purpose);
        match consent {
            Consent::Refused => add_refusal(refusals, fragment),
            Consent::Granted if changed < seq => *refusals = StandingRefusals::default(),
            Consent::Granted => {
                let mut kept = Vec::new();
                for by in &refusals.by {
                    if *by != fragment && joined_at(state, *by, fragment)? >= seq {
                        kept.push(*by);
                    }
                }
                refusals.by = kept;
            }
        }
    }
    state.put_person_consents(root, row);
    Ok(())
}

fn standing_for(row: &mut PersonConsentsRow, purpose: ConsentNo) -> &mut StandingRefusals {
    let place = match row.0.binary_search_by_key(&purpose, |(purpose, _)| *purpose) {
        Ok(place) => place,
        Err(place) => {
            row.0.insert(place, (purpose, StandingRefusals::default()));
            place
        }
    };
    #[expect(clippy::indexing_slicing, reason = "found or inserted just above")]
    &mut row.0[place].1
}

fn add_refusal(refusals: &mut StandingRefusals, by: FragmentNo) {
    let Err(place) = refusals.by.binary_search(&by) else { return };
    if refusals.by.len() < STANDING_REFUSALS_MAX {
        refusals.by.insert(place, by);
    } else {
        refusals.more = true;
    }
}

/// Two persons become one: the rows of both are joined at the root that stays. Costs what the two rows hold, and
/// nothing per fragment or event.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn join_persons<S: State>(
    state: &mut S,
    child: FragmentNo,
    parent: FragmentNo,
    seq: EventSeq,
) -> Result<(), Error> {
    let (gone, kept) = (person_of(state, child)?, person_of(state, parent)?);
    let (gone_splits, kept_splits) = (splits_of(state, child)?, splits_of(state, parent)?);
    let (gone_tally, kept_tally) = (tally_of(state, child)?, tally_of(state, parent)?);
    let twice = gone_splits.iter().filter(|session| kept_splits.binary_search(session).is_ok()).count();
    let mut tally = add_tallies(kept_tally, gone_tally);
    tally.sessions = tally.sessions.saturating_sub(twice as u64);
    let traits = join_traits(traits_of(state, parent)?, traits_of(state, child)?);
    let consents = join_standing(standing_of(state, parent)?, standing_of(state, child)?);
    state.put_persons(
        parent,
        PersonRow {
            fragments: kept.fragments + gone.fragments,
            oldest: kept.oldest.min(gone.oldest),
            identifiers: union(&kept.identifiers, &gone.identifiers),
            guards: union(&kept.guards, &gone.guards),
            split_sessions: union(&kept_splits, &gone_splits),
            changed: seq,
        },
    );
    put_joined(state, parent, tally, traits, consents)
}

/// No row says the same as an empty one, so none is made.
fn put_joined<S: State>(
    state: &mut S,
    root: FragmentNo,
    tally: TallyRow,
    traits: TraitsRow,
    consents: PersonConsentsRow,
) -> Result<(), Error> {
    state.put_person_tallies(root, tally);
    if !traits.0.is_empty() || state.person_traits(&root)?.is_some() {
        state.put_person_traits(root, traits);
    }
    if !consents.0.is_empty() || state.person_consents(&root)?.is_some() {
        state.put_person_consents(root, consents);
    }
    Ok(())
}

fn union<T: Ord + Copy>(one: &[T], other: &[T]) -> Vec<T> {
    let mut all: Vec<T> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn add_tallies(one: TallyRow, other: TallyRow) -> TallyRow {
    TallyRow {
        events: one.events + other.events,
        page_views: one.page_views + other.page_views,
        sessions: one.sessions + other.sessions,
        implicit_sessions: one.implicit_sessions + other.implicit_sessions,
        first: [one.first, other.first].into_iter().flatten().min(),
        last: one.last.max(other.last),
    }
}

fn join_traits(one: Option<Arc<TraitsRow>>, other: Option<Arc<TraitsRow>>) -> TraitsRow {
    let mut joined: BTreeMap<TraitNo, TraitState> = BTreeMap::new();
    for row in [one, other].into_iter().flatten() {
        add_traits(&mut joined, &row);
    }
    TraitsRow(joined.into_iter().collect())
}

fn add_traits(sum: &mut BTreeMap<TraitNo, TraitState>, row: &TraitsRow) {
    for (no, state) in &row.0 {
        match sum.get_mut(no) {
            Some(held) => held.merge(state),
            None => drop(sum.insert(*no, state.clone())),
        }
    }
}

fn join_standing(mut one: PersonConsentsRow, other: PersonConsentsRow) -> PersonConsentsRow {
    for (purpose, refusals) in other.0 {
        let standing = standing_for(&mut one, purpose);
        refusals.by.iter().for_each(|by| add_refusal(standing, *by));
        standing.more |= refusals.more;
    }
    one
}

/// A person of several fragments, or of one that is a root anew, worked out from its fragments.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The root.
    pub root: FragmentNo,
    /// Its row.
    pub person: PersonRow,
    /// Its counters.
    pub tally: TallyRow,
    /// Its traits.
    pub traits: TraitsRow,
    /// Its consents.
    pub consents: PersonConsentsRow,
}

/// The person of a root worked out anew from its fragments: after links were taken away. `guards` are those of the
/// persons that it was a part of. Costs what its fragments hold, unless that was prepared.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn rebuild_person<S: State>(
    state: &mut S,
    root: FragmentNo,
    guards: &[(FragmentNo, FragmentNo)],
    seq: EventSeq,
) -> Result<(), Error> {
    let prepared = match state.prepared(root) {
        Some(prepared) => prepared,
        None => prepare_person(state, root, guards)?,
    };
    let Prepared { person, tally, traits, consents, .. } = prepared;
    let several = person.fragments > 1;
    let mut row = Arc::unwrap_or_clone(fragment_row(state, root)?);
    row.joined = several;
    state.put_fragments(root, row);
    state.put_persons(root, PersonRow { changed: seq, ..person });
    if several {
        put_joined(state, root, tally, traits, consents)?;
    }
    Ok(())
}

fn prepare_person<V: View>(
    view: &V,
    root: FragmentNo,
    guards: &[(FragmentNo, FragmentNo)],
) -> Result<Prepared, Error> {
    let members = members_of(view, root)?;
    let sum = sum_of(view, &members)?;
    let several = members.len() > 1;
    Ok(Prepared {
        root,
        person: PersonRow {
            fragments: members.len() as u64,
            oldest: members.first().copied().unwrap_or(root),
            identifiers: sum.identifiers,
            guards: guards.iter().filter(|(mine, _)| members.binary_search(mine).is_ok()).copied().collect(),
            split_sessions: if several { sum.split_sessions } else { Vec::new() },
            changed: EventSeq(0),
        },
        tally: sum.tally,
        traits: TraitsRow(sum.traits.into_iter().collect()),
        consents: PersonConsentsRow(standing_among(view, &sum.consents)?),
    })
}

/// The person of a root as its rows say.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn prepared_of<V: View>(view: &V, root: FragmentNo) -> Result<Prepared, Error> {
    Ok(Prepared {
        root,
        person: (*person_of(view, root)?).clone(),
        tally: tally_of(view, root)?,
        traits: traits_of(view, root)?.map(Arc::unwrap_or_clone).unwrap_or_default(),
        consents: standing_of(view, root)?,
    })
}

/// What some fragments give together.
#[derive(Debug, Default)]
pub struct PersonSum {
    /// Identifiers by links that hold, sorted.
    pub identifiers: Vec<IdentifierNo>,
    /// Sessions of more than one part, sorted.
    pub split_sessions: Vec<SessionNo>,
    /// Counters; a session with parts in several of them counts once.
    pub tally: TallyRow,
    /// Traits.
    pub traits: BTreeMap<TraitNo, TraitState>,
    consents: Vec<(FragmentNo, ConsentStates)>,
}

/// Sums fragments.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn sum_of<V: View>(view: &V, members: &[FragmentNo]) -> Result<PersonSum, Error> {
    let mut sum = PersonSum::default();
    let mut twice = 0_u64;
    for member in members {
        sum.identifiers.extend(identifiers_of(view, *member)?);
        for session in &fragment_row(view, *member)?.split_sessions {
            sum.split_sessions.push(*session);
            twice += 1;
        }
        if let Some(tally) = view.tallies(member)? {
            sum.tally = add_tallies(sum.tally, *tally);
        }
        if let Some(row) = view.traits(member)? {
            add_traits(&mut sum.traits, &row);
        }
        if let Some(row) = view.consents(member)? {
            sum.consents.push((*member, row.0.clone()));
        }
    }
    sum.identifiers.sort_unstable();
    sum.identifiers.dedup();
    sum.split_sessions.sort_unstable();
    sum.split_sessions.dedup();
    twice -= sum.split_sessions.len() as u64;
    sum.tally.sessions = sum.tally.sessions.saturating_sub(twice);
    Ok(sum)
}

/// Identifiers that a fragment has by links that hold.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn identifiers_of<V: View>(view: &V, fragment: FragmentNo) -> Result<Vec<IdentifierNo>, Error> {
    let mut held = Vec::new();
    for no in view.list(ListKey { kind: ListKind::Identifiers, of: fragment.0 }, usize::MAX)? {
        let identifier = IdentifierNo(no);
        let key = super::rows::LinkKey { fragment, identifier };
        let row = view.links(&key)?.ok_or_else(|| missing("link"))?;
        if row.standing.holds() {
            held.push(identifier);
        }
    }
    Ok(held)
}

/// The refusals that stand among fragments of one person: see [`super::consents::profile_consents`].
fn standing_among<V: View>(
    view: &V,
    fragments: &[(FragmentNo, ConsentStates)],
) -> Result<Vec<(ConsentNo, StandingRefusals)>, Error> {
    let mut purposes: Vec<ConsentNo> = fragments.iter().flat_map(|(_, states)| states.purposes()).collect();
    purposes.sort_unstable();
    purposes.dedup();
    let mut standing = Vec::with_capacity(purposes.len());
    for purpose in purposes {
        let answered = || fragments.iter().filter_map(|(no, states)| Some((*no, states.get(purpose)?)));
        let mut grants: Vec<_> =
            answered().filter_map(|(no, state)| Some((state.granted_seq?, no))).collect();
        grants.sort_unstable_by(|one, other| other.cmp(one));
        let mut refusals = StandingRefusals::default();
        for (by, state) in answered().filter(|(_, state)| state.latest == Consent::Refused) {
            let mut lifted = false;
            for (granted, granting) in grants.iter().take_while(|(granted, _)| *granted > state.latest_seq) {
                lifted |= *granting != by && *granted > joined_at(view, by, *granting)?;
            }
            if !lifted {
                add_refusal(&mut refusals, by);
            }
        }
        standing.push((purpose, refusals));
    }
    Ok(standing)
}
