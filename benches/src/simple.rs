//! The simple layout, as a sensible team would write it on redb in a week: session, profile, profile id,
//! event, repeat and identifier rows, read and written in the very transaction that stores the events.
//!
//! It does less than the engine: it counts, and keeps first and last pages and times, and an identifier that
//! another profile has merges the two for good; it parses no user agent, normalises nothing, keeps no traits,
//! no reasons and no past, ends no sessions, and its snapshots are redb's. Rows that several events of a group
//! touch are read and written once a group, in the order of their keys, which is the best that redb can be
//! given.

use crate::Fault;
use crate::grouped::GroupStore;
use bincode::{Decode, Encode};
use redb::{
    Database, Durability, MultimapTable, MultimapTableDefinition, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use spoor::store::record::encode_command;
use spoor::{Clock, Event, Json, SystemClock, Timestamp, TrackRequest};
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
const PROFILES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("profiles");
const PROFILE_IDS: TableDefinition<'_, &str, u64> = TableDefinition::new("profile_ids");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const REPEATS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("repeats");

/// Namespace and value, and the profile that has them.
const IDENTIFIERS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("identifiers");
/// Profile, and its sessions: for a merge, which moves them, and to show them.
const PROFILE_SESSIONS: MultimapTableDefinition<'_, u64, &str> =
    MultimapTableDefinition::new("profile_sessions");
/// Profile, and its identifiers.
const PROFILE_IDENTIFIERS: MultimapTableDefinition<'_, u64, (&str, &str)> =
    MultimapTableDefinition::new("profile_identifiers");
/// Profile, and its ids: its own, and those of the profiles that it took over.
const PROFILE_ALIASES: MultimapTableDefinition<'_, u64, &str> =
    MultimapTableDefinition::new("profile_aliases");

#[derive(Debug, Default, Encode, Decode)]
struct SessionRow {
    profile: u64,
    started: i64,
    last: i64,
    events: u64,
    page_views: u64,
    conversions: u64,
    entry: Option<String>,
    exit: Option<String>,
}

#[derive(Debug, Default, Encode, Decode)]
struct ProfileRow {
    id: String,
    created: i64,
    first: i64,
    last: i64,
    events: u64,
    sessions: u64,
    page_views: u64,
}

/// A database in the simple layout.
#[derive(Debug)]
pub struct Simple {
    database: Database,
    next: Numbers,
}

/// The numbers that are given next.
#[derive(Debug)]
struct Numbers {
    event: u64,
    profile: u64,
    stored: u64,
}

/// The tables of one transaction, and the rows that it has read or changed.
struct Group<'t> {
    sessions: Table<'t, &'static str, &'static [u8]>,
    profiles: Table<'t, u64, &'static [u8]>,
    profile_ids: Table<'t, &'static str, u64>,
    events: Table<'t, u64, &'static [u8]>,
    repeats: Table<'t, (&'static str, &'static str), u64>,
    session_rows: BTreeMap<String, SessionRow>,
    profile_rows: BTreeMap<u64, ProfileRow>,
    identifiers: Table<'t, (&'static str, &'static str), u64>,
    profile_sessions: MultimapTable<'t, u64, &'static str>,
    profile_identifiers: MultimapTable<'t, u64, (&'static str, &'static str)>,
    profile_aliases: MultimapTable<'t, u64, &'static str>,
}

impl Simple {
    /// Makes it. The page cache is redb's default, 1 GiB.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let database = Database::create(path)?;
        Ok(Self { database, next: Numbers { event: 1, profile: 1, stored: 0 } })
    }
}

impl GroupStore for Simple {
    fn commit(&mut self, requests: &[TrackRequest]) -> Result<Vec<String>, Fault> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut given = Vec::with_capacity(requests.len());
        {
            let mut group = Group::open(&transaction)?;
            for request in requests {
                given.push(group.store(request, &mut self.next)?);
            }
            group.write()?;
        }
        transaction.commit()?;
        Ok(given)
    }

    fn stored(&self) -> u64 {
        self.next.stored
    }
}

impl<'t> Group<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            profiles: transaction.open_table(PROFILES)?,
            profile_ids: transaction.open_table(PROFILE_IDS)?,
            events: transaction.open_table(EVENTS)?,
            repeats: transaction.open_table(REPEATS)?,
            session_rows: BTreeMap::new(),
            profile_rows: BTreeMap::new(),
            identifiers: transaction.open_table(IDENTIFIERS)?,
            profile_sessions: transaction.open_multimap_table(PROFILE_SESSIONS)?,
            profile_identifiers: transaction.open_multimap_table(PROFILE_IDENTIFIERS)?,
            profile_aliases: transaction.open_multimap_table(PROFILE_ALIASES)?,
        })
    }

    /// Stores a request; returns the id of its profile.
    fn store(&mut self, request: &TrackRequest, next: &mut Numbers) -> Result<String, Fault> {
        let id = request.session.as_deref().unwrap_or_default();
        let now = SystemClock.now();
        let known = self.read_session(id)?;
        let number = if known {
            self.session_rows.get(id).map_or(0, |row| row.profile)
        } else {
            self.profile_of(request, now, &mut next.profile)?
        };
        self.read_profile(number)?;
        let mut new = Vec::new();
        for event in &request.events {
            let event_id = event.id.as_deref().unwrap_or_default();
            if self.repeats.get((id, event_id))?.is_none() {
                self.repeats.insert((id, event_id), next.event)?;
                new.push(event);
            }
        }
        if !new.is_empty() {
            if !known {
                self.profile_sessions.insert(number, id)?;
            }
            self.count(id, number, known, &new, now)?;
            next.event += new.len() as u64;
            next.stored += new.len() as u64;
            self.events.insert(next.event - 1, encode_command(request).as_slice())?;
        }
        let mut owner = number;
        for (namespace, value) in new.iter().flat_map(|event| &event.identifiers) {
            owner = self.identify(owner, namespace, value)?;
        }
        Ok(self.profile_rows.get(&owner).map(|row| row.id.clone()).unwrap_or_default())
    }

    /// Counts the new events of a request in its session and its profile.
    fn count(
        &mut self,
        id: &str,
        number: u64,
        known: bool,
        new: &[&Event],
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(profile) = self.profile_rows.get_mut(&number) else { return Err("no profile".into()) };
        let session = self.session_rows.entry(id.to_owned()).or_insert_with(|| SessionRow {
            profile: number,
            started: i64::MAX,
            ..SessionRow::default()
        });
        profile.sessions += u64::from(!known);
        for event in new {
            let time = event.time.unwrap_or(now).0;
            (session.started, session.last) = (session.started.min(time), session.last.max(time));
            (profile.first, profile.last) = (profile.first.min(time), profile.last.max(time));
            session.events += 1;
            profile.events += 1;
            session.conversions += u64::from(event.event_type == "purchase");
            if event.event_type == "page-view" {
                session.page_views += 1;
                profile.page_views += 1;
                let page = event.properties.as_ref().and_then(page);
                session.entry = session.entry.take().or_else(|| page.clone());
                session.exit = page;
            }
        }
        Ok(())
    }

    /// Gives profile `number` an identifier. If another has it, the younger of the two becomes a part of the
    /// older. Returns the profile that has it then.
    fn identify(&mut self, number: u64, namespace: &str, value: &str) -> Result<u64, Fault> {
        let owner = self.identifiers.get((namespace, value))?.map(|owner| owner.value());
        match owner {
            Some(owner) if owner == number => Ok(number),
            Some(owner) => {
                let (winner, loser) = (owner.min(number), owner.max(number));
                self.merge(winner, loser)?;
                Ok(winner)
            }
            None => {
                self.identifiers.insert((namespace, value), number)?;
                self.profile_identifiers.insert(number, (namespace, value))?;
                Ok(number)
            }
        }
    }

    fn merge(&mut self, winner: u64, loser: u64) -> Result<(), Fault> {
        self.read_profile(winner)?;
        self.read_profile(loser)?;
        let sessions: Vec<String> = self
            .profile_sessions
            .remove_all(loser)?
            .map(|id| Ok(id?.value().to_owned()))
            .collect::<Result<_, Fault>>()?;
        for id in &sessions {
            self.profile_sessions.insert(winner, id.as_str())?;
            self.read_session(id)?;
            if let Some(session) = self.session_rows.get_mut(id) {
                session.profile = winner;
            }
        }
        let identifiers: Vec<(String, String)> = self
            .profile_identifiers
            .remove_all(loser)?
            .map(|row| {
                let row = row?;
                let (namespace, value) = row.value();
                Ok((namespace.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, Fault>>()?;
        for (namespace, value) in &identifiers {
            self.identifiers.insert((namespace.as_str(), value.as_str()), winner)?;
            self.profile_identifiers.insert(winner, (namespace.as_str(), value.as_str()))?;
        }
        let aliases: Vec<String> = self
            .profile_aliases
            .remove_all(loser)?
            .map(|id| Ok(id?.value().to_owned()))
            .collect::<Result<_, Fault>>()?;
        for id in &aliases {
            self.profile_aliases.insert(winner, id.as_str())?;
            self.profile_ids.insert(id.as_str(), winner)?;
        }
        let Some(gone) = self.profile_rows.remove(&loser) else { return Err("no profile".into()) };
        self.profiles.remove(loser)?;
        let Some(row) = self.profile_rows.get_mut(&winner) else { return Err("no profile".into()) };
        (row.first, row.last) = (row.first.min(gone.first), row.last.max(gone.last));
        row.events += gone.events;
        row.sessions += gone.sessions;
        row.page_views += gone.page_views;
        Ok(())
    }

    /// Whether there is such a session; its row is at hand then.
    fn read_session(&mut self, id: &str) -> Result<bool, Fault> {
        if self.session_rows.contains_key(id) {
            return Ok(true);
        }
        let Some(row) = self.sessions.get(id)? else { return Ok(false) };
        let (row, _) = bincode::decode_from_slice(row.value(), bincode::config::standard())?;
        self.session_rows.insert(id.to_owned(), row);
        Ok(true)
    }

    fn read_profile(&mut self, number: u64) -> Result<(), Fault> {
        if self.profile_rows.contains_key(&number) {
            return Ok(());
        }
        if let Some(row) = self.profiles.get(number)? {
            let (row, _) = bincode::decode_from_slice(row.value(), bincode::config::standard())?;
            self.profile_rows.insert(number, row);
        }
        Ok(())
    }

    /// The profile of the id that was sent, or a new one.
    fn profile_of(
        &mut self,
        request: &TrackRequest,
        now: Timestamp,
        next_profile: &mut u64,
    ) -> Result<u64, Fault> {
        if let Some(sent) = request.profile.as_deref()
            && let Some(number) = self.profile_ids.get(sent)?
        {
            return Ok(number.value());
        }
        let id = request.profile.clone().unwrap_or_else(|| Uuid::from_u128(rand::random()).to_string());
        let number = *next_profile;
        *next_profile += 1;
        self.profile_ids.insert(id.as_str(), number)?;
        self.profile_aliases.insert(number, id.as_str())?;
        let row = ProfileRow { id, created: now.0, first: i64::MAX, ..ProfileRow::default() };
        self.profile_rows.insert(number, row);
        Ok(number)
    }

    fn write(mut self) -> Result<(), Fault> {
        let config = bincode::config::standard();
        for (id, row) in &self.session_rows {
            self.sessions.insert(id.as_str(), bincode::encode_to_vec(row, config)?.as_slice())?;
        }
        for (number, row) in &self.profile_rows {
            self.profiles.insert(number, bincode::encode_to_vec(row, config)?.as_slice())?;
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Page {
    path: Option<String>,
}

fn page(properties: &Json) -> Option<String> {
    serde_json::from_str::<Page>(properties.as_str()).ok()?.path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouped::run;
    use crate::traffic::{Shape, Traffic};
    use redb::ReadableDatabase;
    use redb::ReadableTableMetadata;

    #[test]
    fn repeats_are_stored_once_merges_move_everything_and_rows_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { seed: 3, sessions: 50, identify_per_mille: 300, ..Shape::default() };
        let mut traffic = Traffic::new(shape).unwrap();
        let mut simple = Simple::create(&dir.path().join("simple.redb")).unwrap();
        run(&mut simple, &mut traffic, 3_000, 64, |_| ()).unwrap();
        let read = simple.database.begin_read().unwrap();
        let events = simple.stored();
        assert_eq!(read.open_table(EVENTS).unwrap().len().unwrap(), events);
        assert!(events >= 3_000);
        let (mut by_session, mut by_profile, mut sessions) = (0, 0, 0);
        let mut rows = BTreeMap::new();
        for row in read.open_table(PROFILES).unwrap().iter().unwrap() {
            let row = row.unwrap();
            let (profile, _): (ProfileRow, _) =
                bincode::decode_from_slice(row.1.value(), bincode::config::standard()).unwrap();
            by_profile += profile.events;
            sessions += profile.sessions;
            rows.insert(row.0.value(), profile);
        }
        for row in read.open_table(SESSIONS).unwrap().iter().unwrap() {
            let (row, _): (SessionRow, _) =
                bincode::decode_from_slice(row.unwrap().1.value(), bincode::config::standard()).unwrap();
            assert!(rows.contains_key(&row.profile), "a session of a profile that is gone");
            by_session += row.events;
        }
        assert_eq!((by_session, by_profile), (events, events));
        assert_eq!(read.open_table(SESSIONS).unwrap().len().unwrap(), sessions);
        // The client was told ids that profiles have, each its own and those of the ones that it took over.
        let ids = read.open_table(PROFILE_IDS).unwrap();
        assert!(ids.iter().unwrap().all(|row| rows.contains_key(&row.unwrap().1.value())));
        let merged = ids.len().unwrap() - rows.len() as u64;
        assert!(merged > 50, "{merged} merges");
    }
}
