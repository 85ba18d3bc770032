//! Applies effects to the state: the one place that changes it, live and on replay.
//!
//! Nothing is chosen here. An effect that names a row that is not there is damage of the log or a bug;
//! it is told as [`Error::Damaged`] by the caller through [`missing`].

use super::decision::{Effect, EventEffect};
use super::numbers::Numbers;
use super::person::{answer_for_person, change_person_tally, joined_root, note_split as note_person_split};
use super::regroup::{apply_identity, apply_join};
use super::root::root_of;
use super::rows::{
    ClientIdRow, ConsentsRow, Counters, DeviceRow, FragmentRow, GapKey, ListKey, ListKind, Mark, NameKey,
    NameKind, NameRow, PartOf, PartRow, Posting, RepeatKey, SessionKey, SessionRow, TallyRow, TextRow,
    TraitsRow,
};
use super::sources::rules_hash;
use super::traits::Order;
use super::view::State;
use crate::error::Error;
use crate::ids::{DeviceNo, EventSeq, FragmentNo, PartNo, ProfileKey, SessionNo};
use crate::time::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;

/// Applies one effect. `received` is the stamp of the record.
///
/// # Errors
/// [`Error`] if a row could not be read, or is not there.
pub fn apply<S: State>(state: &mut S, received: Timestamp, effect: &Effect) -> Result<(), Error> {
    match effect {
        Effect::Event(event) => apply_event(state, received, event),
        Effect::Name { kind, no, text, trait_kind } => {
            apply_name(state, *kind, *no, text, *trait_kind);
            Ok(())
        }
        Effect::Device { device, fragment, key, provisional, device_key } => {
            let (first, provisional) = (*fragment, *provisional);
            state.put_devices(*device, DeviceRow { holder: first, first, provisional });
            if let Some(key) = device_key {
                state.put_device_keys(key.clone(), *device);
            }
            count(state, |counters| counters.device = *device);
            make_fragment(state, received, *fragment, *device, key)
        }
        Effect::Session { session, space, source, id, made, part, fragment, timeout_ms } => {
            let of = PartOf { part: *part, fragment: *fragment };
            let row = SessionRow {
                space: *space,
                source: *source,
                id: id.clone(),
                made: *made,
                created: state.counters().seq.next(),
                first: of,
                current: of,
                parts: 1,
                met: Vec::new(),
                shared: false,
                silent_at: None,
                alias_of: None,
                alias_since: None,
            };
            state.put_session_ids(SessionKey { space: *space, id: id.clone() }, *session);
            state.put_sessions(*session, row);
            open_part(state, *part, Some(*session), *fragment, *timeout_ms)?;
            count(state, |counters| counters.session = *session);
            Ok(())
        }
        Effect::Part { part, session, fragment, timeout_ms } => {
            apply_part(state, *part, *session, *fragment, *timeout_ms)
        }
        Effect::ImplicitPart { part, fragment } => {
            let mut row = owned(state.fragments(fragment)?, "fragment")?;
            row.implicit_part = Some(*part);
            state.put_fragments(*fragment, row);
            open_part(state, *part, None, Some(*fragment), 0)
        }
        Effect::Current { session, part, fragment } => change_session(state, *session, |row| {
            row.current = PartOf { part: *part, fragment: *fragment };
        }),
        Effect::Settled { device } => {
            let mut row = owned(state.devices(device)?, "device")?;
            row.provisional = false;
            state.put_devices(*device, row);
            Ok(())
        }
        Effect::Join { child, parent, cause: _ } => apply_join(state, *child, *parent),
        Effect::Met { session, fragment, shared } => change_session(state, *session, |row| {
            row.met.push(*fragment);
            row.shared |= shared;
        }),
        Effect::Gap { fragment, source, day, session } => {
            let key = GapKey { fragment: *fragment, source: *source, day: *day };
            let mut row = state.gaps(&key)?.map(Arc::unwrap_or_clone).unwrap_or_default();
            row.0.push(*session);
            state.put_gaps(key, row);
            Ok(())
        }
        Effect::Bridge { kept, alias } => apply_bridge(state, *kept, *alias),
        Effect::Ended { session, at } => {
            change_session(state, *session, |row| row.silent_at = Some(*at))?;
            take_seq(state, received);
            Ok(())
        }
        Effect::Acted | Effect::Expired => {
            take_seq(state, received);
            Ok(())
        }
        Effect::Ruled(rules) => {
            count(state, |counters| counters.rules = rules_hash(rules));
            Ok(())
        }
        Effect::Fragment { fragment, device, key } => {
            state.add_to_list(ListKey { kind: ListKind::Seats, of: device.0 }, fragment.0);
            make_fragment(state, received, *fragment, *device, key)
        }
        identity => apply_identity(state, identity),
    }
}

fn take_seq<S: State>(state: &mut S, received: Timestamp) {
    count(state, |counters| {
        counters.seq = counters.seq.next();
        counters.received = counters.received.max(received);
    });
}

fn make_fragment<S: State>(
    state: &mut S,
    received: Timestamp,
    fragment: FragmentNo,
    device: DeviceNo,
    key: &ProfileKey,
) -> Result<(), Error> {
    put_profile_key(state, key, fragment)?;
    let row = FragmentRow {
        device,
        key: key.clone(),
        created: state.counters().seq.next(),
        created_at: received,
        parent: None,
        joined: false,
        implicit_part: None,
        split_sessions: Vec::new(),
        after: state.devices(&device)?.map(|device| device.holder).filter(|holder| *holder != fragment),
    };
    state.put_fragments(fragment, row);
    count(state, |counters| counters.fragment = fragment);
    Ok(())
}

/// The error for a row that an effect names and that is not there.
#[must_use]
pub fn missing(what: &str) -> Error {
    Error::Damaged {
        path: PathBuf::from("log"),
        offset: 0,
        reason: format!("an effect names a {what} that is not there"),
    }
}

pub(super) fn owned<R: Clone>(row: Option<Arc<R>>, what: &str) -> Result<R, Error> {
    row.map(Arc::unwrap_or_clone).ok_or_else(|| missing(what))
}

pub(super) fn count<S: State>(state: &mut S, change: impl FnOnce(&mut Counters)) {
    let mut counters = state.counters();
    change(&mut counters);
    state.put_counters(counters);
}

fn change_session<S: State>(
    state: &mut S,
    session: SessionNo,
    change: impl FnOnce(&mut SessionRow),
) -> Result<(), Error> {
    let mut row = owned(state.sessions(&session)?, "session")?;
    change(&mut row);
    state.put_sessions(session, row);
    Ok(())
}

fn apply_name<S: State>(
    state: &mut S,
    kind: NameKind,
    no: u32,
    text: &str,
    trait_kind: Option<crate::settings::TraitKind>,
) {
    state.put_names(NameKey { kind, text: text.into() }, NameRow { no, trait_kind });
    state.put_texts((kind, no), TextRow { text: text.into(), trait_kind });
    count(state, |counters| {
        if let Some(last) = counters.names.get_mut(kind.index()) {
            *last = no;
        }
    });
}

fn put_profile_key<S: State>(state: &mut S, key: &ProfileKey, fragment: FragmentNo) -> Result<(), Error> {
    match key {
        ProfileKey::Server(id) => state.put_server_ids(*id, fragment),
        ProfileKey::Client { space, id } => {
            let mut spaces =
                state.client_ids(id)?.map_or_else(|| ClientIdRow(Vec::new()), Arc::unwrap_or_clone);
            spaces.0.push((*space, fragment));
            state.put_client_ids(id.clone(), spaces);
        }
    }
    Ok(())
}

/// A new, empty part; counted as a session of its fragment if it is one.
fn open_part<S: State>(
    state: &mut S,
    part: PartNo,
    session: Option<SessionNo>,
    fragment: Option<FragmentNo>,
    timeout_ms: u32,
) -> Result<(), Error> {
    let row = PartRow { session, fragment, numbers: Numbers { timeout_ms, ..Numbers::default() }, due_ms: 0 };
    state.put_parts(part, row);
    if let Some(fragment) = fragment {
        state.touch_part(fragment, part);
    }
    count(state, |counters| counters.part = part);
    if let (Some(fragment), Some(session)) = (fragment, session) {
        let several = state.sessions(&session)?.is_some_and(|row| row.parts > 1);
        let counted = several && note_person_split(state, fragment, session)?;
        change_own_tally(state, fragment, |tally| tally.sessions += 1)?;
        if !counted {
            change_person_tally(state, fragment, |tally| tally.sessions += 1)?;
        }
    }
    Ok(())
}

/// Changes the counters of a fragment and of its person.
fn change_tally<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    change: impl Fn(&mut TallyRow),
) -> Result<(), Error> {
    change_own_tally(state, fragment, &change)?;
    change_person_tally(state, fragment, change)
}

fn change_own_tally<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    change: impl FnOnce(&mut TallyRow),
) -> Result<(), Error> {
    let mut tally = state.tallies(&fragment)?.map_or_else(TallyRow::default, |row| *row);
    change(&mut tally);
    state.put_tallies(fragment, tally);
    Ok(())
}

/// A further part: the session's list gets it, and each fragment in the session learns that the session
/// may count for others too.
fn apply_part<S: State>(
    state: &mut S,
    part: PartNo,
    session: SessionNo,
    fragment: Option<FragmentNo>,
    timeout_ms: u32,
) -> Result<(), Error> {
    let mut row = owned(state.sessions(&session)?, "session")?;
    if row.parts == 1 {
        note_split(state, row.first.fragment, session)?;
        if let Some(first) = row.first.fragment {
            note_person_split(state, first, session)?;
        }
    }
    note_split(state, fragment, session)?;
    row.parts += 1;
    if fragment.is_some() {
        row.current = PartOf { part, fragment };
    }
    state.put_sessions(session, row);
    state.put_part_keys((session, fragment.unwrap_or_default()), part);
    state.add_session_part(session, part);
    open_part(state, part, Some(session), fragment, timeout_ms)
}

fn note_split<S: State>(
    state: &mut S,
    fragment: Option<FragmentNo>,
    session: SessionNo,
) -> Result<(), Error> {
    let Some(fragment) = fragment else { return Ok(()) };
    let mut row = owned(state.fragments(&fragment)?, "fragment")?;
    if !row.split_sessions.contains(&session) {
        row.split_sessions.push(session);
        state.put_fragments(fragment, row);
    }
    Ok(())
}

/// The parts of the alias are parts of the session that stays; both were one fragment's, which counted two.
fn apply_bridge<S: State>(state: &mut S, kept: SessionNo, alias: SessionNo) -> Result<(), Error> {
    let absorbed = owned(state.sessions(&alias)?, "session")?;
    let parts = super::session::parts_of(state, alias, &absorbed)?;
    let since = state.counters().seq.next();
    change_session(state, alias, |row| (row.alias_of, row.alias_since) = (Some(kept), Some(since)))?;
    for part in &parts {
        state.add_session_part(kept, *part);
    }
    let added = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    change_session(state, kept, |row| {
        row.parts = row.parts.saturating_add(added);
        // If the one with the last event had fallen silent, a late event between the two wakes nobody.
        row.silent_at = row.silent_at.max(absorbed.silent_at);
    })?;
    if let Some(fragment) = absorbed.first.fragment {
        change_tally(state, fragment, |tally| tally.sessions = tally.sessions.saturating_sub(1))?;
    }
    count(state, |counters| counters.bridged += 1);
    Ok(())
}

fn apply_event<S: State>(state: &mut S, received: Timestamp, event: &EventEffect) -> Result<(), Error> {
    let seq = state.counters().seq.next();
    let stamp = Timestamp(received.0.saturating_add(i64::from(event.index)));
    count(state, |counters| {
        counters.seq = seq;
        counters.events += 1;
        counters.received = stamp;
    });
    if let Some((scope, step)) = event.repeat {
        let hash = event.id_hash.wrapping_add(u64::from(step));
        state.put_repeat(RepeatKey { scope, hash }, seq);
    }
    let Some(part) = event.part else { return Ok(()) };
    let page_view = event.has(EventEffect::PAGE_VIEW);
    state.add_posting(part, Posting { seq, event_type: event.event_type, time: event.time, page_view });
    let fragment = count_in_part(state, part, event, seq, stamp)?;
    let Some(fragment) = fragment else { return Ok(()) };
    if !event.traits.is_empty() || !event.consents.is_empty() {
        state.add_to_list(ListKey { kind: ListKind::Operations, of: fragment.0 }, seq.0);
    }
    apply_traits(state, fragment, event, seq)?;
    apply_consents(state, fragment, event, seq)
}

/// Adds the event to the numbers of its part and of its fragment; returns the fragment.
fn count_in_part<S: State>(
    state: &mut S,
    part: PartNo,
    event: &EventEffect,
    seq: EventSeq,
    stamp: Timestamp,
) -> Result<Option<FragmentNo>, Error> {
    let mut row = owned(state.parts(&part)?, "part")?;
    let mark = Mark { time: event.time, tie: event.tie(), seq };
    row.numbers.add_event(event, mark, stamp);
    if let Some(session) = row.session {
        // One entry at a time: whoever looks at it and finds the session alive makes the next.
        let now_ms = u64::try_from(stamp.millis()).unwrap_or(0);
        if row.due_ms <= now_ms {
            row.due_ms = now_ms.saturating_add(u64::from(row.numbers.timeout_ms));
            state.add_due(row.due_ms, session);
        }
    }
    let (fragment, implicit) = (row.fragment, row.session.is_none());
    state.put_parts(part, row);
    let Some(fragment) = fragment else { return Ok(None) };
    state.touch_part(fragment, part);
    change_tally(state, fragment, |tally| {
        tally.events += 1;
        tally.page_views += u64::from(event.has(EventEffect::PAGE_VIEW));
        tally.implicit_sessions += u64::from(implicit);
        tally.first = Some(tally.first.map_or(event.time, |first| first.min(event.time)));
        tally.last = Some(tally.last.map_or(event.time, |last| last.max(event.time)));
    })?;
    Ok(Some(fragment))
}

fn apply_traits<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    event: &EventEffect,
    seq: EventSeq,
) -> Result<(), Error> {
    if event.traits.is_empty() {
        return Ok(());
    }
    let row = state.traits(&fragment)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    let row = with_operations(row, event, seq);
    state.put_traits(fragment, row);
    if let Some(root) = joined_root(state, fragment)? {
        let row = state.person_traits(&root)?.map(Arc::unwrap_or_clone).unwrap_or_default();
        let row = with_operations(row, event, seq);
        state.put_person_traits(root, row);
    }
    Ok(())
}

/// It was accepted by the limits that held when it was decided, whatever they are now; and a person may hold more
/// than a fragment.
fn with_operations(mut row: TraitsRow, event: &EventEffect, seq: EventSeq) -> TraitsRow {
    for (no, index, operation) in &event.traits {
        let order = Order { time: event.time, tie: event.tie(), seq, index: *index };
        row.apply(*no, order, operation);
    }
    row
}

fn apply_consents<S: State>(
    state: &mut S,
    fragment: FragmentNo,
    event: &EventEffect,
    seq: EventSeq,
) -> Result<(), Error> {
    if event.consents.is_empty() {
        return Ok(());
    }
    let mut row = state.consents(&fragment)?.map(Arc::unwrap_or_clone).unwrap_or_default();
    for (purpose, consent) in &event.consents {
        row.0.apply(*purpose, seq, *consent);
    }
    state.put_consents(fragment, ConsentsRow(row.0));
    answer_for_person(state, fragment, seq, &event.consents)
}

/// The root of a fragment and, for callers that have it at hand, nothing else.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn same_person<V: super::view::View>(
    view: &V,
    one: FragmentNo,
    other: FragmentNo,
) -> Result<bool, Error> {
    Ok(one == other || root_of(view, one)? == root_of(view, other)?)
}
