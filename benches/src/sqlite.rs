//! The same work in SQLite as a sensible team would write it: one connection, a write-ahead log that is synced at
//! each commit, statements prepared once, and rows found and written event by event.
//!
//! It does as much as the layouts of PostgreSQL and redb beside it: sessions, profiles, counters, repeats,
//! identifiers, traits, and merges that move the rows of the younger profile.

use crate::Fault;
use crate::grouped::GroupStore;
use crate::layout::{Counted, Layout, store};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use spoor::{Event, Json, TrackRequest};
use std::path::Path;
use uuid::Uuid;

/// Prepared statements that are kept.
const STATEMENTS_MAX: usize = 64;

const TABLES: &str = "
CREATE TABLE profile (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL, created_at INTEGER NOT NULL, first_seen INTEGER, last_seen INTEGER,
    events INTEGER NOT NULL DEFAULT 0, sessions INTEGER NOT NULL DEFAULT 0, page_views INTEGER NOT NULL DEFAULT 0,
    traits TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE profile_id (id BLOB PRIMARY KEY, profile INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX profile_id_profile ON profile_id (profile);
CREATE TABLE session (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, profile INTEGER NOT NULL, started_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL, events INTEGER NOT NULL DEFAULT 0, page_views INTEGER NOT NULL DEFAULT 0,
    conversions INTEGER NOT NULL DEFAULT 0, entry_page TEXT, exit_page TEXT
);
CREATE INDEX session_profile ON session (profile);
CREATE TABLE event (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL, session INTEGER NOT NULL, type TEXT NOT NULL, time INTEGER NOT NULL,
    properties TEXT, context TEXT
);
CREATE UNIQUE INDEX event_id ON event (session, id);
CREATE TABLE identifier (
    namespace TEXT NOT NULL, value TEXT NOT NULL, profile INTEGER NOT NULL, PRIMARY KEY (namespace, value)
) WITHOUT ROWID;
CREATE INDEX identifier_profile ON identifier (profile);
";

/// A database in this layout.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    stored: u64,
}

impl Sqlite {
    /// Makes it at `path`.
    ///
    /// # Errors
    /// If it cannot be made, or would not be durable.
    pub fn create(path: &Path) -> Result<Self, Fault> {
        let made = Self::connect(path)?;
        made.connection.execute_batch(TABLES)?;
        Ok(made)
    }

    /// Opens what [`Sqlite::create`] made.
    ///
    /// # Errors
    /// As [`Sqlite::create`].
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let opened = Self::connect(path)?;
        let stored: i64 = opened.connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
        Ok(Self { stored: u64::try_from(stored)?, ..opened })
    }

    fn connect(path: &Path) -> Result<Self, Fault> {
        let connection = Connection::open(path)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("SQLite has no write-ahead log here, but {mode}").into());
        }
        // The cache is as large as that of redb's layout, 1 GiB.
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -1048576;")?;
        let level: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        if level != 2 {
            return Err("SQLite does not sync its log at each commit".into());
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Ok(Self { connection, stored: 0 })
    }
}

impl GroupStore for Sqlite {
    fn commit(&mut self, requests: &[TrackRequest]) -> Result<Vec<String>, Fault> {
        let mut rows = Rows(self.connection.transaction()?);
        let mut given = Vec::with_capacity(requests.len());
        let mut all = 0;
        for request in requests {
            let (id, stored) = store(&mut rows, request)?;
            given.push(id);
            all += stored;
        }
        rows.0.commit()?;
        self.stored += all;
        Ok(given)
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}

/// The tables in one transaction.
struct Rows<'c>(Transaction<'c>);

impl Layout for Rows<'_> {
    type Session = i64;
    type Profile = i64;

    fn session(&mut self, id: &str) -> Result<Option<(i64, i64)>, Fault> {
        Ok(self
            .0
            .prepare_cached("SELECT number, profile FROM session WHERE id = ?1")?
            .query_row([Uuid::parse_str(id)?.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?)
    }

    fn profile(&mut self, id: &str) -> Result<Option<i64>, Fault> {
        Ok(self
            .0
            .prepare_cached("SELECT profile FROM profile_id WHERE id = ?1")?
            .query_row([Uuid::parse_str(id)?.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    fn new_profile(&mut self, id: &str, now: i64) -> Result<i64, Fault> {
        let id = Uuid::parse_str(id)?;
        self.0
            .prepare_cached("INSERT INTO profile (id, created_at) VALUES (?1, ?2)")?
            .execute(params![id.as_bytes(), now])?;
        let profile = self.0.last_insert_rowid();
        self.0
            .prepare_cached("INSERT INTO profile_id VALUES (?1, ?2)")?
            .execute(params![id.as_bytes(), profile])?;
        Ok(profile)
    }

    fn new_session(&mut self, id: &str, profile: i64, now: i64) -> Result<i64, Fault> {
        self.0
            .prepare_cached(
                "INSERT INTO session (id, profile, started_at, last_seen) VALUES (?1, ?2, ?3, ?3)",
            )?
            .execute(params![Uuid::parse_str(id)?.as_bytes(), profile, now])?;
        Ok(self.0.last_insert_rowid())
    }

    fn insert(
        &mut self,
        session: &i64,
        request: &TrackRequest,
        event: &Event,
        time: i64,
    ) -> Result<bool, Fault> {
        let id = Uuid::parse_str(event.id.as_deref().ok_or("an id is missing")?)?;
        let inserted = self
            .0
            .prepare_cached(
                "INSERT INTO event (id, session, type, time, properties, context) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                id.as_bytes(),
                session,
                event.event_type,
                time,
                event.properties.as_ref().map(Json::as_str),
                request.context.as_ref().map(Json::as_str),
            ])?;
        Ok(inserted == 1)
    }

    fn count(&mut self, session: &i64, profile: i64, counted: &Counted) -> Result<(), Fault> {
        let Counted { new_session, time, view, conversion, page } = counted;
        let (new, view, conversion) = (i64::from(*new_session), i64::from(*view), i64::from(*conversion));
        self.0
            .prepare_cached(
                "UPDATE session SET events = events + 1, page_views = page_views + ?2, conversions = conversions + ?3,
                     started_at = min(started_at, ?4), last_seen = max(last_seen, ?4),
                     entry_page = coalesce(entry_page, ?5), exit_page = coalesce(?5, exit_page) WHERE number = ?1",
            )?
            .execute(params![session, view, conversion, time, page])?;
        self.0
            .prepare_cached(
                "UPDATE profile SET events = events + 1, sessions = sessions + ?2, page_views = page_views + ?3,
                     first_seen = min(coalesce(first_seen, ?4), ?4), last_seen = max(coalesce(last_seen, ?4), ?4)
                 WHERE number = ?1",
            )?
            .execute(params![profile, new, view, time])?;
        Ok(())
    }

    fn owner(&mut self, namespace: &str, value: &str) -> Result<Option<i64>, Fault> {
        Ok(self
            .0
            .prepare_cached("SELECT profile FROM identifier WHERE namespace = ?1 AND value = ?2")?
            .query_row(params![namespace, value], |row| row.get(0))
            .optional()?)
    }

    fn own(&mut self, namespace: &str, value: &str, profile: i64) -> Result<(), Fault> {
        self.0
            .prepare_cached("INSERT INTO identifier VALUES (?1, ?2, ?3)")?
            .execute(params![namespace, value, profile])?;
        Ok(())
    }

    fn merge(&mut self, winner: i64, loser: i64) -> Result<(), Fault> {
        for moved in MOVED {
            self.0.prepare_cached(moved)?.execute([winner, loser])?;
        }
        self.0.prepare_cached("DELETE FROM profile WHERE number = ?1")?.execute([loser])?;
        Ok(())
    }

    fn set_traits(&mut self, profile: i64, traits: &[(String, Json)]) -> Result<(), Fault> {
        let set = traits.iter().map(|(name, value)| (name.clone(), value.to_value()));
        let set: serde_json::Map<String, serde_json::Value> = set.collect();
        self.0
            .prepare_cached("UPDATE profile SET traits = json_patch(traits, ?2) WHERE number = ?1")?
            .execute(params![profile, serde_json::to_string(&set)?])?;
        Ok(())
    }

    fn profile_id(&mut self, profile: i64) -> Result<String, Fault> {
        let id: Vec<u8> = self
            .0
            .prepare_cached("SELECT id FROM profile WHERE number = ?1")?
            .query_row([profile], |row| row.get(0))?;
        Ok(Uuid::from_slice(&id)?.to_string())
    }
}

/// What a merge moves from profile ?2 to profile ?1.
const MOVED: [&str; 4] = [
    "UPDATE session SET profile = ?1 WHERE profile = ?2",
    "UPDATE identifier SET profile = ?1 WHERE profile = ?2",
    "UPDATE profile_id SET profile = ?1 WHERE profile = ?2",
    "UPDATE profile SET events = profile.events + gone.events, sessions = profile.sessions + gone.sessions,
         page_views = profile.page_views + gone.page_views,
         first_seen = min(profile.first_seen, gone.first_seen), last_seen = max(profile.last_seen, gone.last_seen),
         traits = json_patch(profile.traits, gone.traits)
     FROM profile AS gone WHERE profile.number = ?1 AND gone.number = ?2",
];

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
        let mut sqlite = Sqlite::create(&dir.path().join("bench.sqlite")).unwrap();
        run(&mut sqlite, &mut traffic, 3_000, 64, |_| ()).unwrap();
        let number =
            |query: &str| -> i64 { sqlite.connection.query_row(query, [], |row| row.get(0)).unwrap() };
        let events = number("SELECT count(*) FROM event");
        assert_eq!(events, i64::try_from(sqlite.stored()).unwrap());
        assert_eq!(number("SELECT sum(events) FROM session"), events);
        assert_eq!(number("SELECT sum(events) FROM profile"), events);
        assert_eq!(number("SELECT sum(sessions) FROM profile"), number("SELECT count(*) FROM session"));
        let lost = "SELECT count(*) FROM session WHERE profile NOT IN (SELECT number FROM profile)";
        assert_eq!(number(lost), 0);
        let merged = number("SELECT count(*) FROM profile_id") - number("SELECT count(*) FROM profile");
        assert!(merged > 50, "{merged} merges");
        let named = "SELECT count(*) FROM profile WHERE json_extract(traits, '$.email') IS NOT NULL";
        assert!(number(named) > 50);
    }
}
