//! One person: what all fragments of a root give together.

use super::{Listing, Snapshot};
use crate::core::consents::profile_consents;
use crate::core::root::{fragment_row, joined_at};
use crate::core::rows::{NameKind, TallyRow};
use crate::core::traits::{TraitState, shown_with_policy};
use crate::core::view::View;
use crate::error::Error;
use crate::ids::{FragmentNo, TraitNo};
use crate::json::Json;
use crate::model::{Page, PageRequest, Profile, ProfileCounters, ReadError, Session, StoredEvent};
use crate::request::Consent;
use std::collections::{BTreeMap, HashSet};

impl Snapshot {
    /// The profile that any of its ids finds.
    ///
    /// # Errors
    /// [`ReadError::NotFound`]; [`ReadError::AmbiguousId`]; [`ReadError::Failed`].
    pub fn profile(&self, id: &str) -> Result<Profile, ReadError> {
        let fragment = self.fragment_of(id)?;
        Ok(self.profile_of(fragment)?)
    }

    pub(crate) fn profile_of(&self, fragment: FragmentNo) -> Result<Profile, Error> {
        let version = self.version()?;
        let members = self.members(fragment)?;
        let tally = self.tally_of(&members)?;
        let oldest = members.first().copied().unwrap_or(fragment);
        Ok(Profile {
            id: self.fragment_id(fragment)?,
            primary_id: self.fragment_id(oldest)?,
            ids: members.iter().map(|member| self.fragment_id(*member)).collect::<Result<_, _>>()?,
            traits: self.traits_of(&members)?,
            consents: self.consents_of(&members)?,
            counters: ProfileCounters {
                events: tally.events,
                sessions: tally.sessions + tally.implicit_sessions,
                implicit_sessions: tally.implicit_sessions,
                page_views: tally.page_views,
            },
            created_at: fragment_row(version, oldest)?.created_at,
            first_seen: tally.first,
            last_seen: tally.last,
        })
    }

    /// Sums over fragments; a session with parts in several of them counts once.
    pub(crate) fn tally_of(&self, members: &[FragmentNo]) -> Result<TallyRow, Error> {
        let version = self.version()?;
        let mut sum = TallyRow::default();
        let mut split = HashSet::new();
        for member in members {
            if let Some(tally) = version.tallies(member)? {
                sum.events += tally.events;
                sum.page_views += tally.page_views;
                sum.sessions += tally.sessions;
                sum.implicit_sessions += tally.implicit_sessions;
                sum.first = [sum.first, tally.first].into_iter().flatten().min();
                sum.last = sum.last.max(tally.last);
            }
            for session in &fragment_row(version, *member)?.split_sessions {
                if !split.insert(*session) {
                    sum.sessions -= 1;
                }
            }
        }
        Ok(sum)
    }

    fn traits_of(&self, members: &[FragmentNo]) -> Result<Vec<(String, Json)>, Error> {
        let version = self.version()?;
        let rows = members.iter().map(|member| version.traits(member)).collect::<Result<Vec<_>, _>>()?;
        let mut states: BTreeMap<TraitNo, Vec<&TraitState>> = BTreeMap::new();
        for (no, state) in rows.iter().flatten().flat_map(|row| &row.0) {
            states.entry(*no).or_default().push(state);
        }
        let mut shown = Vec::with_capacity(states.len());
        for (no, states) in states {
            let name = self.text(NameKind::Trait, no.0)?;
            let settings = self.shared().registry.traits.get(&*name);
            let policy = settings.map(|settings| settings.policy).unwrap_or_default();
            if let Some(value) = shown_with_policy(&states, policy) {
                shown.push((name.to_string(), value));
            }
        }
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(shown)
    }

    fn consents_of(&self, members: &[FragmentNo]) -> Result<Vec<(String, Consent)>, Error> {
        let version = self.version()?;
        let mut rows = Vec::new();
        for member in members {
            if let Some(row) = version.consents(member)? {
                rows.push((*member, row));
            }
        }
        let states: Vec<_> = rows.iter().map(|(member, row)| (*member, &row.0)).collect();
        let mut joined = BTreeMap::new();
        for (index, (one, _)) in states.iter().enumerate() {
            for (other, _) in states.iter().skip(index + 1) {
                let at = joined_at(version, *one, *other)?;
                joined.insert((*one, *other), at);
                joined.insert((*other, *one), at);
            }
        }
        let at = |one, other| joined.get(&(one, other)).copied().unwrap_or_default();
        let mut shown = Vec::new();
        for (purpose, consent) in profile_consents(&states, at) {
            shown.push((self.text(NameKind::Consent, purpose.0)?.to_string(), consent));
        }
        shown.sort();
        Ok(shown)
    }

    /// The profile's events, newest first by event time.
    ///
    /// # Errors
    /// As [`Snapshot::profile`]; [`ReadError::Rejected`] for a limit or cursor that is not sound.
    pub fn profile_events(&self, id: &str, request: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        let listing = Listing::of("profile-events", id, request)?;
        let members = self.members(self.fragment_of(id)?)?;
        self.events_of_parts(self.parts_of_fragments(&members)?, listing)
    }

    /// The profile's sessions, newest first by last event; implicit ones are not listed.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_sessions(&self, id: &str, request: &PageRequest) -> Result<Page<Session>, ReadError> {
        let listing = Listing::of("profile-sessions", id, request)?;
        let members = self.members(self.fragment_of(id)?)?;
        self.sessions_of_fragments(&members, listing)
    }
}
