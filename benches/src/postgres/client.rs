//! One connection to PostgreSQL, which takes requests as the function calls of `tables.sql`.

use crate::Fault;
use crate::load::protocol::Answered;
use spoor::{Event, Json, TrackRequest};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};
use uuid::Uuid;

/// How often a transaction that stood in the way of another is tried.
const ATTEMPTS_MAX: u32 = 20;

pub(super) fn config(socket: &Path) -> Config {
    let mut config = Config::new();
    config.host_path(socket).user("bench").dbname("postgres");
    config
}

/// A connection; one request at a time, each a transaction.
pub struct Postgres {
    client: Client,
    one: Statement,
    many: Statement,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to the cluster at `socket`, and prepares the two calls.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn connect(socket: &Path) -> Result<Self, Fault> {
        let (client, connection) = config(socket).connect(NoTls).await?;
        // Why it ended before the client shows in the next call.
        tokio::spawn(async { drop(connection.await) });
        let one =
            client.prepare("SELECT o_profile, o_stored FROM track($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)").await?;
        let many = client
            .prepare("SELECT o_profiles, o_stored FROM track_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)")
            .await?;
        Ok(Self { client, one, many })
    }

    /// Stores one event by one call, or all events of `items` by one.
    ///
    /// # Errors
    /// If the server says so.
    pub async fn send(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        match items {
            [item] if item.events.len() == 1 => self.one(item).await,
            _ => self.many(items).await,
        }
    }

    /// Clears up and counts its tables, as the server does by itself in time.
    ///
    /// # Errors
    /// If the server says so.
    pub async fn analyze(&self) -> Result<(), Fault> {
        Ok(self.client.batch_execute("VACUUM (ANALYZE)").await?)
    }

    async fn one(&mut self, item: &TrackRequest) -> Result<Answered, Fault> {
        let Some(event) = item.events.first() else { return Ok(Answered::default()) };
        let (session, profile) = (uuid(item.session.as_deref())?, maybe_uuid(item.profile.as_deref())?);
        let (id, time) = (uuid(event.id.as_deref())?, time(event));
        let (properties, context) = (text(event.properties.as_ref()), text(item.context.as_ref()));
        let named = !event.identifiers.is_empty();
        let names: Option<Vec<&str>> =
            named.then(|| event.identifiers.iter().map(|(name, _)| &**name).collect());
        let values: Option<Vec<&str>> =
            named.then(|| event.identifiers.iter().map(|(_, value)| &**value).collect());
        let traits = traits(event)?;
        let (row, retried) = self
            .call(
                &self.one,
                &[
                    &session,
                    &profile,
                    &id,
                    &event.event_type,
                    &time,
                    &properties,
                    &context,
                    &names,
                    &values,
                    &traits,
                ],
            )
            .await?;
        let (profile, stored): (Uuid, bool) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Answered {
            stored: u64::from(stored),
            repeated: u64::from(!stored),
            failed: 0,
            retried,
            profiles: vec![Some(profile.to_string())],
        })
    }

    async fn many(&mut self, items: &[TrackRequest]) -> Result<Answered, Fault> {
        let events: Vec<(&TrackRequest, &Event)> =
            items.iter().flat_map(|item| item.events.iter().map(move |event| (item, event))).collect();
        let mut columns = Columns::default();
        for (item, event) in &events {
            columns.push(item, event)?;
        }
        let (row, retried) = self.call(&self.many, &columns.parameters()).await?;
        let (profiles, stored): (Vec<Uuid>, i64) = (row.try_get(0)?, row.try_get(1)?);
        let stored = u64::try_from(stored)?;
        // The profile of an item is that of its last event.
        let mut last = 0;
        let of_items = items.iter().map(|item| {
            last += item.events.len();
            profiles.get(last.saturating_sub(1)).map(Uuid::to_string)
        });
        Ok(Answered {
            stored,
            repeated: (events.len() as u64).saturating_sub(stored),
            failed: 0,
            retried,
            profiles: of_items.collect(),
        })
    }

    /// Calls again where two transactions waited for each other. Returns how often that was.
    async fn call(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(Row, u64), Fault> {
        let mut attempt = 0;
        loop {
            match self.client.query_one(statement, parameters).await {
                Ok(row) => return Ok((row, u64::from(attempt))),
                Err(error) if attempt < ATTEMPTS_MAX && stood_in_the_way(error.code()) => attempt += 1,
                Err(error) => {
                    let reason = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                    return Err(format!("PostgreSQL: {reason}").into());
                }
            }
        }
    }
}

fn stood_in_the_way(code: Option<&SqlState>) -> bool {
    code.is_some_and(|code| {
        *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
            || *code == SqlState::UNIQUE_VIOLATION
    })
}

/// What `track_many` takes.
#[derive(Default)]
struct Columns<'a> {
    sessions: Vec<Uuid>,
    profiles: Vec<Option<Uuid>>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    times: Vec<SystemTime>,
    properties: Vec<Option<&'a str>>,
    contexts: Vec<Option<&'a str>>,
    owners: Vec<i32>,
    namespaces: Vec<&'a str>,
    values: Vec<&'a str>,
    traits: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, item: &'a TrackRequest, event: &'a Event) -> Result<(), Fault> {
        self.sessions.push(uuid(item.session.as_deref())?);
        self.profiles.push(maybe_uuid(item.profile.as_deref())?);
        self.ids.push(uuid(event.id.as_deref())?);
        self.types.push(&event.event_type);
        self.times.push(time(event));
        self.properties.push(text(event.properties.as_ref()));
        self.contexts.push(text(item.context.as_ref()));
        self.traits.push(traits(event)?);
        let owner = i32::try_from(self.sessions.len())?;
        for (namespace, value) in &event.identifiers {
            self.owners.push(owner);
            self.namespaces.push(namespace);
            self.values.push(value);
        }
        Ok(())
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.sessions,
            &self.profiles,
            &self.ids,
            &self.types,
            &self.times,
            &self.properties,
            &self.contexts,
            &self.owners,
            &self.namespaces,
            &self.values,
            &self.traits,
        ]
    }
}

fn uuid(id: Option<&str>) -> Result<Uuid, Fault> {
    Ok(Uuid::parse_str(id.ok_or("an id is missing")?)?)
}

fn maybe_uuid(id: Option<&str>) -> Result<Option<Uuid>, Fault> {
    Ok(id.map(Uuid::parse_str).transpose()?)
}

fn time(event: &Event) -> SystemTime {
    let micros = event.time.map_or(0, |time| u64::try_from(time.0).unwrap_or(0));
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

fn text(json: Option<&Json>) -> Option<&str> {
    json.map(Json::as_str)
}

/// The traits that are set, as an object; of an event that says nothing about who it was, none.
fn traits(event: &Event) -> Result<Option<String>, Fault> {
    if event.identifiers.is_empty() {
        return Ok(None);
    }
    let set = event.traits.set.iter().map(|(name, value)| {
        let value = serde_json::value::RawValue::from_string(value.as_str().to_owned())?;
        Ok((name.as_str(), value))
    });
    let set: std::collections::BTreeMap<&str, Box<serde_json::value::RawValue>> =
        set.collect::<Result<_, serde_json::Error>>()?;
    Ok(Some(serde_json::to_string(&set)?))
}
