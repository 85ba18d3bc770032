//! The simple layout, as a sensible team would write it on redb in a week: session, profile, profile id,
//! event and repeat rows, read and written in the very transaction that stores the events.
//!
//! It does less than the engine: it counts, and keeps first and last pages and times; it parses no user
//! agent, normalises and links no identifiers, keeps no traits, ends no sessions, finds no event by profile,
//! and its snapshots are redb's. Rows that several events of a group touch are read and written once a group,
//! in the order of their keys, which is the best that redb can be given.

use crate::Fault;
use crate::traffic::{Device, Traffic};
use bincode::{Decode, Encode};
use redb::{Database, Durability, ReadableTable, Table, TableDefinition, WriteTransaction};
use spoor::store::record::encode_command;
use spoor::{Clock, Json, SystemClock, Timestamp, TrackRequest};
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

const SESSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
const PROFILES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("profiles");
const PROFILE_IDS: TableDefinition<'_, &str, u64> = TableDefinition::new("profile_ids");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const REPEATS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("repeats");

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
    traffic: Traffic,
    next_event: u64,
    next_profile: u64,
    /// Events stored so far.
    pub stored: u64,
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
}

impl Simple {
    /// Makes it. The page cache is redb's default, 1 GiB.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path, traffic: Traffic) -> Result<Self, Fault> {
        let database = Database::create(path)?;
        Ok(Self { database, traffic, next_event: 1, next_profile: 1, stored: 0 })
    }

    /// Goes on until `events` more are stored, `group` requests in each durable commit.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn run(&mut self, events: u64, group: usize, mut progress: impl FnMut(u64)) -> Result<(), Fault> {
        let goal = self.stored + events;
        while self.stored < goal {
            let now = SystemClock.now();
            let requests: Vec<_> = (0..group).map(|_| self.traffic.next(now)).collect();
            self.commit(&requests)?;
            progress(self.stored);
        }
        Ok(())
    }

    fn commit(&mut self, requests: &[(TrackRequest, Device)]) -> Result<(), Fault> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut given = Vec::new();
        {
            let mut group = Group::open(&transaction)?;
            for (request, device) in requests {
                let id =
                    group.store(request, &mut self.next_event, &mut self.next_profile, &mut self.stored)?;
                given.push((*device, id));
            }
            group.write()?;
        }
        transaction.commit()?;
        for (device, id) in given {
            if self.traffic.waits(device) {
                self.traffic.learn(device, &id);
            }
        }
        Ok(())
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
        })
    }

    /// Stores a request; returns the id of its profile.
    fn store(
        &mut self,
        request: &TrackRequest,
        next_event: &mut u64,
        next_profile: &mut u64,
        stored: &mut u64,
    ) -> Result<String, Fault> {
        let id = request.session.as_deref().unwrap_or_default();
        let now = SystemClock.now();
        let known = self.read_session(id)?;
        let number = if known {
            self.session_rows.get(id).map_or(0, |row| row.profile)
        } else {
            self.profile_of(request, now, next_profile)?
        };
        self.read_profile(number)?;
        let mut new = Vec::new();
        for event in &request.events {
            let event_id = event.id.as_deref().unwrap_or_default();
            if self.repeats.get((id, event_id))?.is_none() {
                self.repeats.insert((id, event_id), *next_event)?;
                new.push(event);
            }
        }
        let Some(profile) = self.profile_rows.get_mut(&number) else { return Err("no profile".into()) };
        let given = profile.id.clone();
        if new.is_empty() {
            return Ok(given);
        }
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
            *next_event += 1;
            *stored += 1;
        }
        self.events.insert(*next_event - 1, encode_command(request).as_slice())?;
        Ok(given)
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
    use crate::traffic::Shape;
    use redb::ReadableDatabase;
    use redb::ReadableTableMetadata;

    #[test]
    fn repeats_are_stored_once_and_rows_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let traffic = Traffic::new(Shape { seed: 3, sessions: 50 }).unwrap();
        let mut simple = Simple::create(&dir.path().join("simple.redb"), traffic).unwrap();
        simple.run(3_000, 64, |_| ()).unwrap();
        let read = simple.database.begin_read().unwrap();
        let events = read.open_table(EVENTS).unwrap().len().unwrap();
        assert_eq!(events, simple.stored);
        assert!(events >= 3_000);
        let (mut by_session, mut by_profile, mut sessions) = (0, 0, 0);
        for row in read.open_table(SESSIONS).unwrap().iter().unwrap() {
            let (row, _): (SessionRow, _) =
                bincode::decode_from_slice(row.unwrap().1.value(), bincode::config::standard()).unwrap();
            by_session += row.events;
        }
        for row in read.open_table(PROFILES).unwrap().iter().unwrap() {
            let (row, _): (ProfileRow, _) =
                bincode::decode_from_slice(row.unwrap().1.value(), bincode::config::standard()).unwrap();
            by_profile += row.events;
            sessions += row.sessions;
        }
        assert_eq!((by_session, by_profile), (events, events));
        assert_eq!(read.open_table(SESSIONS).unwrap().len().unwrap(), sessions);
        // The client was told ids that the profiles have.
        let ids = read.open_table(PROFILE_IDS).unwrap();
        assert_eq!(ids.len().unwrap(), read.open_table(PROFILES).unwrap().len().unwrap());
    }
}
