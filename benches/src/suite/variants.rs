//! What is measured: each variant on files of its own, made for it and removed after it.

use super::Options;
use crate::Fault;
use crate::book::{Cost, Entry};
use crate::embedded::Client;
use crate::grouped::{GroupStore, run_for};
use crate::load::protocol::Protocol;
use crate::load::{Pace, Plan, Target, Version, run as send};
use crate::logged::replay;
use crate::machine::Machine;
use crate::measure::Counts;
use crate::plain::PlainFile;
use crate::postgres::Cluster;
use crate::probe::{Of, Probe};
use crate::rows::Rows;
use crate::servers::{Inside, Kind};
use crate::simple::Simple;
use crate::sqlite::Sqlite;
use crate::traffic::{Traffic, settings};
use crate::usage::{Spent, Usage};
use clap::ValueEnum;
use serde_json::json;
use spoor::Settings;
use std::path::Path;
use std::time::Duration;

/// What an answer of the engine means.
const ENGINE_DURABILITY: &str =
    "the group that the request is in is appended to the log and synced (fdatasync)";
/// The same of the others.
const APPEND_DURABILITY: &str = "the group's bytes are written to a plain file and synced (fdatasync)";
const REDB_DURABILITY: &str = "the transaction is committed with Durability::Immediate (synced)";
const SQLITE_DURABILITY: &str =
    "the transaction is committed; journal_mode=WAL, synchronous=FULL (synced at each commit)";

/// Requests in flight of the embedded engine, and rows a commit beside it.
const EMBEDDED_IN_FLIGHT: u64 = 1_000;
/// Connections to PostgreSQL with a hundred events a call, where fewer than to the others do better.
const POSTGRES_FEW: usize = 4;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Variant {
    /// The server, one event a request.
    Spoor,
    /// The same server, which only parses.
    Parse,
    /// The same server, which only appends.
    Append,
    /// PostgreSQL, one event a function call.
    Postgres,
    /// SQLite, one event a commit.
    Sqlite,
    /// redb with its indexes, 64 events a commit.
    Redb,
    /// The server, many events a request.
    SpoorBatch,
    /// The same server, which only parses.
    ParseBatch,
    /// The same server, which only appends.
    AppendBatch,
    /// PostgreSQL, many events a function call, as many connections as the servers.
    PostgresBatch,
    /// The same with four connections.
    PostgresBatchFew,
    /// SQLite, many events a commit.
    SqliteBatch,
    /// redb with its indexes, as many events a commit.
    RedbBatch,
    /// The server, one connection.
    SpoorAlone,
    /// The server that only appends, one connection.
    AppendAlone,
    /// The engine in this process, 1,000 requests in flight.
    Engine,
    /// redb, appending the bytes that it logged.
    Rows,
    /// A plain file, appending them.
    Plain,
    /// redb with its indexes, 1,000 events a commit.
    RedbThousand,
    /// The server at half the rate that it reached, in an open loop.
    Half,
}

impl Variant {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 20] = [
        Self::Spoor,
        Self::Parse,
        Self::Append,
        Self::Postgres,
        Self::Sqlite,
        Self::Redb,
        Self::SpoorBatch,
        Self::ParseBatch,
        Self::AppendBatch,
        Self::PostgresBatch,
        Self::PostgresBatchFew,
        Self::SqliteBatch,
        Self::RedbBatch,
        Self::SpoorAlone,
        Self::AppendAlone,
        Self::Engine,
        Self::Rows,
        Self::Plain,
        Self::RedbThousand,
        Self::Half,
    ];

    /// Its short name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spoor => "spoor",
            Self::Parse => "parse",
            Self::Append => "append",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
            Self::Redb => "redb",
            Self::SpoorBatch => "spoor-batch",
            Self::ParseBatch => "parse-batch",
            Self::AppendBatch => "append-batch",
            Self::PostgresBatch => "postgres-batch",
            Self::PostgresBatchFew => "postgres-batch-few",
            Self::SqliteBatch => "sqlite-batch",
            Self::RedbBatch => "redb-batch",
            Self::SpoorAlone => "spoor-alone",
            Self::AppendAlone => "append-alone",
            Self::Engine => "engine",
            Self::Rows => "rows",
            Self::Plain => "plain",
            Self::RedbThousand => "redb-thousand",
            Self::Half => "half",
        }
    }

    /// What it is, in the sizes of a run.
    #[must_use]
    pub fn name(self, options: &Options) -> String {
        let (one, many, batch) = (options.connections, options.batch_connections, options.batch);
        match self {
            Self::Spoor => format!("HTTP, {one} connections"),
            Self::Parse => format!("HTTP that only parses, {one} connections"),
            Self::Append => format!("HTTP that only appends, {one} connections"),
            Self::Postgres => format!("PostgreSQL, a call each, {one} connections"),
            Self::Sqlite => "SQLite, a commit each".to_owned(),
            Self::Redb => "redb with its indexes, 64 a commit".to_owned(),
            Self::SpoorBatch => format!("HTTP, {batch} a request, {many} connections"),
            Self::ParseBatch => format!("HTTP that only parses, {batch} a request"),
            Self::AppendBatch => format!("HTTP that only appends, {batch} a request"),
            Self::PostgresBatch => format!("PostgreSQL, {batch} a call, {many} connections"),
            Self::PostgresBatchFew => format!("PostgreSQL, {batch} a call, {POSTGRES_FEW} connections"),
            Self::SqliteBatch => format!("SQLite, {batch} a commit"),
            Self::RedbBatch => format!("redb with its indexes, {batch} a commit"),
            Self::SpoorAlone => "HTTP, 1 connection".to_owned(),
            Self::AppendAlone => "HTTP that only appends, 1 connection".to_owned(),
            Self::Engine => "embedded, 1,000 in flight".to_owned(),
            Self::Rows => "redb, its bytes, 1,000 a commit".to_owned(),
            Self::Plain => "plain file, its bytes, 1,000 a sync".to_owned(),
            Self::RedbThousand => "redb with its indexes, 1,000 a commit".to_owned(),
            Self::Half => format!("HTTP at half load, {one} connections"),
        }
    }

    /// Whether it needs PostgreSQL.
    #[must_use]
    pub const fn takes_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::PostgresBatch | Self::PostgresBatchFew)
    }
}

/// Measures one. `half` is the rate of [`Variant::Half`], in requests a second.
pub(super) fn run(variant: Variant, options: &Options, machine: &Machine, half: f64) -> Result<Entry, Fault> {
    let run = Run { variant, options };
    let (one, many, batch) = (options.connections, options.batch_connections, options.batch);
    match variant {
        Variant::Spoor => run.server(Kind::Spoor, one, 1, Pace::Closed),
        Variant::Parse => run.server(Kind::ParseOnly, one, 1, Pace::Closed),
        Variant::Append => run.server(Kind::AppendOnly, one, 1, Pace::Closed),
        Variant::SpoorBatch => run.server(Kind::Spoor, many, batch, Pace::Closed),
        Variant::ParseBatch => run.server(Kind::ParseOnly, many, batch, Pace::Closed),
        Variant::AppendBatch => run.server(Kind::AppendOnly, many, batch, Pace::Closed),
        Variant::SpoorAlone => run.server(Kind::Spoor, 1, 1, Pace::Closed),
        Variant::AppendAlone => run.server(Kind::AppendOnly, 1, 1, Pace::Closed),
        Variant::Half => run.server(Kind::Spoor, one, 1, Pace::Open { requests_per_s: half }),
        Variant::Postgres => run.postgres(machine, one, 1),
        Variant::PostgresBatch => run.postgres(machine, many, batch),
        Variant::PostgresBatchFew => run.postgres(machine, POSTGRES_FEW, batch),
        Variant::Sqlite => run.sqlite(1),
        Variant::SqliteBatch => run.sqlite(batch),
        Variant::Redb => run.redb(64),
        Variant::RedbBatch => run.redb(batch),
        Variant::RedbThousand => run.redb(1_000),
        Variant::Engine => run.engine(),
        Variant::Rows => run.rows(),
        Variant::Plain => run.plain(),
    }
}

/// One measurement.
struct Run<'a> {
    variant: Variant,
    options: &'a Options,
}

impl Run<'_> {
    fn dir(&self) -> Result<tempfile::TempDir, Fault> {
        Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(&self.options.dir)?)
    }

    fn settings(&self) -> Settings {
        let mut settings = settings(self.options.inactivity_ms);
        settings.store.overlay_bytes = self.options.overlay_bytes;
        settings
    }

    fn plan(&self, target: Target, connections: usize, batch: usize) -> Plan {
        let Options { warm_up, duration, .. } = *self.options;
        Plan { connections, batch, warm_up, duration, ..Plan::new(target) }
    }

    fn entry(&self, durability: &str, measured: &crate::measure::Measured) -> Entry {
        Entry::new(self.variant.key(), &self.variant.name(self.options), durability, measured)
    }

    fn server(&self, kind: Kind, connections: usize, batch: usize, pace: Pace) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let settings = self.settings();
        let server = Inside::start(kind, dir.path(), &settings)?;
        let target =
            Target::Http { address: server.address()?, version: Version::One, protocol: Protocol::Json };
        let mut plan = self.plan(target, connections, batch);
        plan.pace = pace;
        if pace != Pace::Closed {
            plan.duration = self.options.half_duration;
        }
        let mut probe = self
            .probe(Of::ThisProcess, plan.warm_up + plan.duration)
            .into(server.store()?, server.disk.as_ref());
        let traffic = Traffic::parts(self.options.shape, plan.clients())?;
        let (measured, _) = send(&plan, traffic, &mut probe)?;
        server.stop()?;
        let durability = match kind {
            Kind::Spoor => ENGINE_DURABILITY,
            Kind::ParseOnly => "nothing: it stores nothing",
            Kind::AppendOnly => APPEND_DURABILITY,
        };
        let mut entry = self.entry(durability, &measured);
        entry.settings = json!({ "load": plan, "store": settings.store, "traffic": self.options.shape });
        probe.note(&mut entry);
        self.stored(entry)
    }

    fn postgres(&self, machine: &Machine, connections: usize, batch: usize) -> Result<Entry, Fault> {
        let cluster = Cluster::start(&self.options.dir, machine.memory_bytes)?;
        let plan = self.plan(Target::Postgres { socket: cluster.socket().to_owned() }, connections, batch);
        let mut probe = self.probe(Of::Process(cluster.pid()), plan.warm_up + plan.duration);
        let traffic = Traffic::parts(self.options.shape, plan.clients())?;
        let (measured, _) = send(&plan, traffic, &mut probe)?;
        let durability = format!("the transaction is committed; {}", Cluster::durability());
        let mut entry = self.entry(&durability, &measured);
        entry.settings = json!({ "load": plan, "version": cluster.version, "traffic": self.options.shape });
        probe.note(&mut entry);
        self.stored(entry)
    }

    fn sqlite(&self, group: usize) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let mut store = Sqlite::create(&dir.path().join("bench.sqlite"))?;
        self.grouped(&mut store, group, SQLITE_DURABILITY)
    }

    fn redb(&self, group: usize) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let mut store = Simple::create(&dir.path().join("bench.redb"))?;
        self.grouped(&mut store, group, REDB_DURABILITY)
    }

    fn grouped(&self, store: &mut dyn GroupStore, group: usize, durability: &str) -> Result<Entry, Fault> {
        let mut traffic = Traffic::new(self.options.shape)?;
        let Options { warm_up, duration, .. } = *self.options;
        let before = Usage::now()?;
        let from = store.stored();
        let measured = run_for(store, &mut traffic, group, warm_up, duration)?;
        let spent = Usage::now()?.since(&before);
        let mut entry = self.entry(durability, &measured);
        entry.settings = json!({ "events_per_commit": group, "traffic": self.options.shape });
        entry.cost = Some(cost(&spent, store.stored() - from));
        self.stored(entry)
    }

    fn engine(&self) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let (events, spent, checkpoints) = self.embedded(dir.path())?;
        let mut entry = self.embedded_entry(ENGINE_DURABILITY, events, &spent);
        entry.checkpoints = Some(checkpoints as u64);
        entry.settings = json!({ "in_flight": EMBEDDED_IN_FLIGHT, "store": self.settings().store, "traffic": self.options.shape });
        self.stored(entry)
    }

    /// Fills a store in `dir`, and closes it.
    fn embedded(&self, dir: &Path) -> Result<(u64, Spent, usize), Fault> {
        let events = self.options.embedded_events;
        let traffic = Traffic::new(self.options.shape)?;
        let mut client = Client::open(dir, self.settings(), traffic, EMBEDDED_IN_FLIGHT)?;
        let stretch = client.steady(events / 2, events, |_| ())?;
        client.settle()?;
        client.engine.close()?;
        Ok((stretch.events, stretch.spent, stretch.checkpoints))
    }

    fn rows(&self) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let mut rows = Rows::create(&dir.path().join("rows.redb"))?;
        self.logged(REDB_DURABILITY, |records| rows.append(records, 1_000))
    }

    fn plain(&self) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let mut plain = PlainFile::create(&dir.path().join("plain"))?;
        self.logged(APPEND_DURABILITY, |records| plain.append(records, 1_000))
    }

    /// Hands the bytes that the engine logs of the same traffic to `append`.
    fn logged(
        &self,
        durability: &str,
        append: impl FnMut(&[Vec<u8>]) -> Result<Spent, Fault>,
    ) -> Result<Entry, Fault> {
        let dir = self.dir()?;
        let events = self.options.embedded_events;
        let traffic = Traffic::new(self.options.shape)?;
        let mut client = Client::open(dir.path(), self.settings(), traffic, EMBEDDED_IN_FLIGHT)?;
        client.run(events / 2 + events, |_| ())?;
        client.settle()?;
        client.engine.close()?;
        let (events, spent) = replay(dir.path(), events / 2, events, append, |_| ())?;
        self.stored(self.embedded_entry(durability, events, &spent))
    }

    fn embedded_entry(&self, durability: &str, events: u64, spent: &Spent) -> Entry {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = events as f64 / spent.seconds;
        Entry {
            key: self.variant.key().to_owned(),
            name: self.variant.name(self.options),
            durability: durability.to_owned(),
            settings: serde_json::Value::Null,
            seconds: spent.seconds,
            counts: Counts { requests: 0, stored: events, ..Counts::default() },
            events_per_s: rate,
            rounds_events_per_s: vec![rate],
            latency: None,
            points: Vec::new(),
            cost: Some(cost(spent, events)),
            sync: None,
            checkpoints: None,
        }
    }

    fn probe(&self, of: Of, length: Duration) -> Probe {
        Probe::new(of, &self.variant.name(self.options), length)
    }

    /// A figure without events is none.
    fn stored(&self, entry: Entry) -> Result<Entry, Fault> {
        if entry.counts.stored == 0 {
            return Err(format!("{}: nothing was stored", self.variant.name(self.options)).into());
        }
        Ok(entry)
    }
}

/// Of stores in this process, where what the client does cannot be told from the rest.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn cost(spent: &Spent, events: u64) -> Cost {
    let each = |ns: u64| ns as f64 / 1e3 / events.max(1) as f64;
    Cost {
        server_us_per_event: each(spent.cpu_ns),
        client_us_per_event: 0.0,
        threads_us_per_event: spent.threads.iter().map(|(name, ns)| (name.clone(), each(*ns))).collect(),
        cores_of_others: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Size;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_are_there_once_and_have_names_of_their_own() {
        assert_eq!(Variant::ALL.len(), Variant::value_variants().len());
        let keys: HashSet<&str> = Variant::ALL.iter().map(|variant| variant.key()).collect();
        let options = Options::new(Size::Small, Path::new("."));
        let names: HashSet<String> = Variant::ALL.iter().map(|variant| variant.name(&options)).collect();
        assert_eq!((keys.len(), names.len()), (Variant::ALL.len(), Variant::ALL.len()));
        for variant in Variant::ALL {
            assert_eq!(Variant::from_str(variant.key(), false), Ok(variant));
        }
    }
}
