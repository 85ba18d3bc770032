//! What other rules would have made of all that is stored: a preview, since a change of the rules changes nothing
//! that was decided before it.
//!
//! It reads the log and changes nothing. Each request is decided anew by the other rules, with the stamp of its
//! record, on a state in memory that the requests before it made; then the ids of the two states are compared. What
//! people decided by hand is left out and counted: their decisions were about profiles that the other rules may not
//! have made. So is the end of sessions, which moves nobody. Links expire once, at the end. A device that handed itself
//! over does so by other rules too.

use crate::act::Act;
use crate::core::acts::{Deed, plan};
use crate::core::agents::Agents;
use crate::core::apply::missing;
use crate::core::decide::Stamp;
use crate::core::memory::MemoryState;
use crate::core::prepare::prepare;
use crate::core::root::{fragment_row, oldest_of, root_of};
use crate::core::rows::NameKind;
use crate::core::sources::Registry;
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{EventSeq, FragmentNo, ProfileKey};
use crate::model::RulesPreview;
use crate::store::layers::Version;
use crate::store::record::RecordView;
use crate::time::Timestamp;
use crate::words::key_text;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Primary id by id.
type Profiles = BTreeMap<String, String>;

/// Decides all requests up to `version` by `registry` and compares who is who.
pub(crate) fn preview(
    version: &Version,
    registry: &Registry,
    agents: &Agents,
    now: Timestamp,
    listed_max: usize,
) -> Result<RulesPreview, Error> {
    let (mut state, acts_left_out, requests_refused) = replayed(version, registry, agents)?;
    expire(&mut state, registry, now)?;
    let (before, after) = (profiles(version)?, profiles(&state)?);
    let joined = several(&before, &after);
    let parted = several(&after, &before);
    Ok(RulesPreview {
        events: state.counters().events,
        acts_left_out,
        requests_refused,
        profiles_before: count(&before),
        profiles_after: count(&after),
        ids_only_before: before.keys().filter(|id| !after.contains_key(*id)).count() as u64,
        ids_only_after: after.keys().filter(|id| !before.contains_key(*id)).count() as u64,
        joined_profiles: joined.len() as u64,
        parted_profiles: parted.len() as u64,
        joined: joined.into_values().take(listed_max).collect(),
        parted: parted.into_values().take(listed_max).collect(),
    })
}

/// Takes away what has expired at `now`. In the replay links held longer than they would have: whoever said something
/// again later is joined all the same, and whoever did not comes apart here.
fn expire(state: &mut MemoryState, registry: &Registry, now: Timestamp) -> Result<(), Error> {
    if registry.expires_soonest_ms().is_none() {
        return Ok(());
    }
    let deed = Deed::Expire { links: state.link_keys() };
    let stamp = Stamp { received: now, entropy: 0 };
    match plan(state, registry, &deed, stamp)? {
        Ok(plan) => state.apply(now, &plan.decision),
        Err(_) => Ok(()),
    }
}

/// The state that the requests make by `registry`, how many acts were left out, and how many requests these rules
/// would not have taken.
fn replayed(
    version: &Version,
    registry: &Registry,
    agents: &Agents,
) -> Result<(MemoryState, u64, u64), Error> {
    let mut state = MemoryState::default();
    let (mut acts, mut refused) = (0, 0);
    for record in version.log.records_from(EventSeq(1)) {
        let record = record?;
        if record.first_seq() > version.counters.seq {
            break;
        }
        let view = RecordView::parse(record.bytes(), &version.path)?;
        if let Some(act) = view.act(&version.path)? {
            acts += u64::from(!hand_over(&mut state, registry, &act, view.stamp)?);
        }
        let Some(request) = view.command(&version.path)? else { continue };
        // Ids of events were drawn and stored with them.
        match prepare(request, registry, agents, &mut Uuid::nil) {
            Ok(command) => drop(state.decide(registry, &command, view.stamp)?),
            Err(_) => refused += 1,
        }
    }
    Ok((state, acts, refused))
}

/// Does a hand-over by other rules; false if the act is another, or nothing has the id by these rules.
fn hand_over(state: &mut MemoryState, registry: &Registry, act: &Act, stamp: Stamp) -> Result<bool, Error> {
    let Some(deed) = Deed::of_handover(state, act)? else { return Ok(false) };
    let Ok(plan) = plan(state, registry, &deed, stamp)? else { return Ok(false) };
    state.apply(stamp.received, &plan.decision)?;
    Ok(true)
}

fn profiles<V: View>(view: &V) -> Result<Profiles, Error> {
    let mut profiles = Profiles::new();
    for no in 1..=view.counters().fragment.0 {
        let fragment = FragmentNo(no);
        let oldest = oldest_of(view, root_of(view, fragment)?)?;
        profiles.insert(id_of(view, fragment)?, id_of(view, oldest)?);
    }
    Ok(profiles)
}

/// The id of a fragment; that which a source brought with its id space before it, since two spaces may have the same.
fn id_of<V: View>(view: &V, fragment: FragmentNo) -> Result<String, Error> {
    let row = fragment_row(view, fragment)?;
    let ProfileKey::Client { space, id } = &row.key else { return Ok(key_text(&row.key)) };
    let space = view.texts(&(NameKind::Space, space.0))?.ok_or_else(|| missing("name"))?;
    Ok(format!("{}:{id}", space.text))
}

fn count(profiles: &Profiles) -> u64 {
    profiles.values().collect::<BTreeSet<_>>().len() as u64
}

/// The profiles of `after` whose ids are of several of `before`, with those, sorted.
fn several(before: &Profiles, after: &Profiles) -> BTreeMap<String, Vec<String>> {
    let mut of: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (id, primary) in after {
        if let Some(was) = before.get(id) {
            of.entry(primary).or_default().insert(was);
        }
    }
    let several = of.into_iter().filter(|(_, were)| were.len() > 1);
    several.map(|(primary, were)| (primary.clone(), were.into_iter().cloned().collect())).collect()
}
