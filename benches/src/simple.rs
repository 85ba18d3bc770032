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
use crate::layout::{Counted, Layout, store};
use bincode::{Decode, Encode};
use redb::{
    Database, Durability, MultimapTable, MultimapTableDefinition, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};
use spoor::store::record::encode_command;
use spoor::{Event, Json, TrackRequest};
use std::collections::BTreeMap;
use std::path::Path;

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
struct Group<'t, 'n> {
    next: &'n mut Numbers,
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

impl Simple {
    /// Opens what [`Simple::create`] made.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let database = Database::open(path)?;
        let read = database.begin_read()?;
        let event = read.open_table(EVENTS)?.last()?.map_or(0, |row| row.0.value());
        // The number of a profile that was merged may be given again: nothing leads to it.
        let profile = read.open_table(PROFILES)?.last()?.map_or(0, |row| row.0.value());
        let stored = read.open_table(EVENTS)?.len()?;
        Ok(Self { database, next: Numbers { event: event + 1, profile: profile + 1, stored } })
    }
}

impl GroupStore for Simple {
    fn commit(&mut self, requests: &[TrackRequest]) -> Result<Vec<String>, Fault> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut given = Vec::with_capacity(requests.len());
        {
            let mut group = Group::open(&transaction, &mut self.next)?;
            for request in requests {
                let (id, stored) = store(&mut group, request)?;
                group.next.stored += stored;
                given.push(id);
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

impl<'t, 'n> Group<'t, 'n> {
    fn open(transaction: &'t WriteTransaction, next: &'n mut Numbers) -> Result<Self, Fault> {
        Ok(Self {
            next,
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

impl Layout for Group<'_, '_> {
    type Session = String;
    type Profile = u64;

    fn session(&mut self, id: &str) -> Result<Option<(String, u64)>, Fault> {
        if !self.read_session(id)? {
            return Ok(None);
        }
        let profile = self.session_rows.get(id).map_or(0, |row| row.profile);
        self.read_profile(profile)?;
        Ok(Some((id.to_owned(), profile)))
    }

    fn profile(&mut self, id: &str) -> Result<Option<u64>, Fault> {
        let number = self.profile_ids.get(id)?.map(|number| number.value());
        number.map_or(Ok(()), |number| self.read_profile(number))?;
        Ok(number)
    }

    fn new_profile(&mut self, id: &str, now: i64) -> Result<u64, Fault> {
        let number = self.next.profile;
        self.next.profile += 1;
        self.profile_ids.insert(id, number)?;
        self.profile_aliases.insert(number, id)?;
        let row = ProfileRow { id: id.to_owned(), created: now, first: i64::MAX, ..ProfileRow::default() };
        self.profile_rows.insert(number, row);
        Ok(number)
    }

    fn new_session(&mut self, id: &str, profile: u64, _: i64) -> Result<String, Fault> {
        self.profile_sessions.insert(profile, id)?;
        let row = SessionRow { profile, started: i64::MAX, ..SessionRow::default() };
        self.session_rows.insert(id.to_owned(), row);
        Ok(id.to_owned())
    }

    /// Each event keeps the request that it came in, since here a request has one.
    fn insert(
        &mut self,
        session: &String,
        request: &TrackRequest,
        event: &Event,
        _: i64,
    ) -> Result<bool, Fault> {
        let event_id = event.id.as_deref().unwrap_or_default();
        if self.repeats.get((session.as_str(), event_id))?.is_some() {
            return Ok(false);
        }
        let number = self.next.event;
        self.next.event += 1;
        self.repeats.insert((session.as_str(), event_id), number)?;
        self.events.insert(number, encode_command(request).as_slice())?;
        Ok(true)
    }

    fn count(&mut self, session: &String, profile: u64, counted: &Counted) -> Result<(), Fault> {
        let (Some(session), Some(profile)) =
            (self.session_rows.get_mut(session), self.profile_rows.get_mut(&profile))
        else {
            return Err("no session, or no profile".into());
        };
        let time = counted.time;
        (session.started, session.last) = (session.started.min(time), session.last.max(time));
        (profile.first, profile.last) = (profile.first.min(time), profile.last.max(time));
        session.events += 1;
        profile.events += 1;
        profile.sessions += u64::from(counted.new_session);
        session.conversions += u64::from(counted.conversion);
        if counted.view {
            session.page_views += 1;
            profile.page_views += 1;
            session.entry = session.entry.take().or_else(|| counted.page.clone());
            session.exit.clone_from(&counted.page);
        }
        Ok(())
    }

    fn owner(&mut self, namespace: &str, value: &str) -> Result<Option<u64>, Fault> {
        Ok(self.identifiers.get((namespace, value))?.map(|owner| owner.value()))
    }

    fn own(&mut self, namespace: &str, value: &str, profile: u64) -> Result<(), Fault> {
        self.identifiers.insert((namespace, value), profile)?;
        self.profile_identifiers.insert(profile, (namespace, value))?;
        Ok(())
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

    /// It keeps none.
    fn set_traits(&mut self, _: u64, _: &[(String, Json)]) -> Result<(), Fault> {
        Ok(())
    }

    fn profile_id(&mut self, profile: u64) -> Result<String, Fault> {
        Ok(self.profile_rows.get(&profile).ok_or("no profile")?.id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grouped::run;
    use crate::traffic::{Shape, Traffic};

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
