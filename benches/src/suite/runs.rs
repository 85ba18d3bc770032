//! How each variant is measured: on files of its own, made for it and removed after it.

use super::stores::Stores;
use super::variants::{POSTGRES_FEW, Variant};
use super::{Options, long};
use crate::Fault;
use crate::book::{Cost, Entry, Reads};
use crate::embedded::Client;
use crate::filled::{Contents, Peer};
use crate::grouped::{GroupStore, run_for};
use crate::load::protocol::Protocol;
use crate::load::{self, Pace, Plan, Reading, Target, Version, known_ids, run as send};
use crate::logged::replay;
use crate::machine::Machine;
use crate::measure::{Counts, Measured};
use crate::plain::PlainFile;
use crate::postgres::Cluster;
use crate::probe::{Of, Probe};
use crate::rows::Rows;
use crate::servers::{Inside, Kind};
use crate::simple::Simple;
use crate::sqlite::Sqlite;
use crate::traffic::{Traffic, settings};
use crate::usage::{Spent, Usage};
use serde_json::json;
use spoor::Settings;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What an answer of the engine means.
pub(super) const ENGINE_DURABILITY: &str =
    "the group that the request is in is appended to the log and synced (fdatasync)";
/// The same of the others.
const APPEND_DURABILITY: &str = "the group's bytes are written to a plain file and synced (fdatasync)";
const REDB_DURABILITY: &str = "the transaction is committed with Durability::Immediate (synced)";
const SQLITE_DURABILITY: &str =
    "the transaction is committed; journal_mode=WAL, synchronous=FULL (synced at each commit)";

/// Requests in flight of the embedded engine, and rows a commit beside it.
pub(super) const EMBEDDED_IN_FLIGHT: u64 = 1_000;

/// Measures one. `half` is the rate of those at half load, in requests a second.
pub(super) fn run(
    variant: Variant,
    options: &Options,
    machine: &Machine,
    stores: &mut Stores,
    half: f64,
) -> Result<Entry, Fault> {
    let mut run = Run { variant, options, machine, stores };
    let (one, many, batch) = (options.connections, options.batch_connections, options.batch);
    let single = Load::new(Kind::Spoor, one, 1, options.preload_events);
    let batched = Load::new(Kind::Spoor, many, batch, options.preload_events);
    let alone = Load::new(Kind::Spoor, 1, 1, options.preload_events);
    let halved = Load { pace: Pace::Open { requests_per_s: half }, ..single };
    let filled = Load { stored: options.stored_events, ..halved };
    match variant {
        Variant::Spoor => run.server(single),
        Variant::Parse => run.server(Load { kind: Kind::ParseOnly, ..single }),
        Variant::Append => run.server(Load { kind: Kind::AppendOnly, ..single }),
        Variant::SpoorBatch => run.server(batched),
        Variant::SpoorBinary => run.server(Load { protocol: Protocol::Binary, ..batched }),
        Variant::ParseBatch => run.server(Load { kind: Kind::ParseOnly, ..batched }),
        Variant::AppendBatch => run.server(Load { kind: Kind::AppendOnly, ..batched }),
        Variant::SpoorAlone => run.server(alone),
        Variant::AppendAlone => run.server(Load { kind: Kind::AppendOnly, ..alone }),
        Variant::Half => run.server(halved),
        Variant::HalfFilled => run.server(filled),
        Variant::Reading => run.server(Load { reads: true, ..filled }),
        Variant::Postgres => run.postgres(one, 1),
        Variant::PostgresBatch => run.postgres(many, batch),
        Variant::PostgresBatchFew => run.postgres(POSTGRES_FEW, batch),
        Variant::Sqlite => run.sqlite(1),
        Variant::SqliteBatch => run.sqlite(batch),
        Variant::Redb => run.redb(64),
        Variant::RedbBatch => run.redb(batch),
        Variant::RedbThousand => run.redb(1_000),
        Variant::Engine => run.engine(),
        Variant::Rows => run.rows(),
        Variant::Plain => run.plain(),
        Variant::Growth => long::growth(&run),
        Variant::Memory => long::memory(&mut run),
    }
}

/// How a server is loaded.
#[derive(Clone, Copy)]
struct Load {
    kind: Kind,
    protocol: Protocol,
    connections: usize,
    batch: usize,
    pace: Pace,
    /// Events that its store holds before; those that store nothing hold nothing.
    stored: u64,
    /// Whether profiles are read meanwhile.
    reads: bool,
}

impl Load {
    const fn new(kind: Kind, connections: usize, batch: usize, stored: u64) -> Self {
        Self { kind, protocol: Protocol::Json, connections, batch, pace: Pace::Closed, stored, reads: false }
    }
}

/// One measurement.
pub(super) struct Run<'a> {
    pub(super) variant: Variant,
    pub(super) options: &'a Options,
    machine: &'a Machine,
    stores: &'a mut Stores,
}

impl Run<'_> {
    pub(super) fn dir(&self) -> Result<tempfile::TempDir, Fault> {
        Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(&self.options.dir)?)
    }

    /// Files that hold `events` events in a store of `peer`, or none, and the traffic of `clients` for it.
    pub(super) fn begin(
        &mut self,
        peer: Peer,
        events: u64,
        clients: usize,
    ) -> Result<(tempfile::TempDir, Vec<Traffic>), Fault> {
        let dir = self.dir()?;
        if events == 0 {
            return Ok((dir, Traffic::parts(self.options.shape, clients)?));
        }
        let (settings, memory_bytes) = (self.settings(), self.machine.memory_bytes);
        let contents = Contents { shape: self.options.shape, events, settings: &settings, memory_bytes };
        let filled = self.stores.with(peer, &self.options.dir, &contents)?;
        filled.copy_to(dir.path())?;
        Ok((dir, filled.traffic(clients)?))
    }

    pub(super) fn settings(&self) -> Settings {
        let mut settings = settings(self.options.inactivity_ms);
        settings.store.overlay_bytes = self.options.overlay_bytes;
        settings
    }

    pub(super) fn plan(&self, target: Target, connections: usize, batch: usize) -> Plan {
        let Options { warm_up, duration, .. } = *self.options;
        Plan { connections, batch, warm_up, duration, ..Plan::new(target) }
    }

    pub(super) fn entry(&self, durability: &str, measured: &Measured) -> Entry {
        Entry::new(self.variant.key(), &self.variant.name(self.options), durability, measured)
    }

    fn server(&mut self, load: Load) -> Result<Entry, Fault> {
        let stored = if load.kind == Kind::Spoor { load.stored } else { 0 };
        let (dir, traffic) = self.begin(Peer::Spoor, stored, load.connections)?;
        let settings = self.settings();
        let server = Inside::start(load.kind, dir.path(), &settings)?;
        let address = server.address()?;
        let target = Target::Http { address, version: Version::One, protocol: load.protocol };
        let mut plan = self.plan(target, load.connections, load.batch);
        plan.pace = load.pace;
        if load.pace != Pace::Closed {
            plan.duration = self.options.half_duration;
        }
        let mut probe = self
            .probe(Of::ThisProcess, plan.warm_up + plan.duration)
            .into(server.store()?, server.disk.as_ref());
        let reading = load.reads.then(|| self.read_beside(address, &plan)).transpose()?;
        let (measured, _) = send(&plan, traffic, &mut probe)?;
        let reads = reading.map(Reading::end).transpose()?;
        server.stop()?;
        let durability = match load.kind {
            Kind::Spoor => ENGINE_DURABILITY,
            Kind::ParseOnly => "nothing: it stores nothing",
            Kind::AppendOnly => APPEND_DURABILITY,
        };
        let mut entry = self.entry(durability, &measured);
        entry.settings = json!({ "load": plan, "store": settings.store, "traffic": self.options.shape, "stored_before": stored });
        entry.reads = reads.as_ref().map(told);
        probe.note(&mut entry);
        self.stored(entry)
    }

    /// Begins to read profiles of the server at `address`, for as long as `plan` says.
    pub(super) fn read_beside(&self, address: SocketAddr, plan: &Plan) -> Result<Reading, Fault> {
        Reading::begin(load::Reads {
            address,
            reads_per_s: self.options.reads_per_s,
            connections: self.options.read_connections,
            ids: known_ids(address, self.options.read_ids)?,
            warm_up: plan.warm_up,
            duration: plan.duration,
        })
    }

    fn postgres(&mut self, connections: usize, batch: usize) -> Result<Entry, Fault> {
        let stored = self.options.preload_events;
        let (dir, traffic) = self.begin(Peer::Postgres, stored, connections)?;
        let cluster = Cluster::start_in(dir.path(), self.machine.memory_bytes)?;
        let plan = self.plan(Target::Postgres { socket: cluster.socket().to_owned() }, connections, batch);
        let mut probe = self.probe(Of::Process(cluster.pid()), plan.warm_up + plan.duration);
        let (measured, _) = send(&plan, traffic, &mut probe)?;
        let durability = format!("the transaction is committed; {}", Cluster::durability());
        let mut entry = self.entry(&durability, &measured);
        entry.settings = json!({ "load": plan, "version": cluster.version, "traffic": self.options.shape, "stored_before": stored });
        probe.note(&mut entry);
        self.stored(entry)
    }

    fn sqlite(&mut self, group: usize) -> Result<Entry, Fault> {
        let stored = self.options.preload_events;
        let (dir, traffic) = self.begin(Peer::Sqlite, stored, 1)?;
        let file = dir.path().join(Peer::Sqlite.file());
        let mut store = if stored == 0 { Sqlite::create(&file) } else { Sqlite::open(&file) }?;
        self.grouped(&mut store, traffic, group, SQLITE_DURABILITY)
    }

    fn redb(&mut self, group: usize) -> Result<Entry, Fault> {
        let stored = self.options.preload_events;
        let (dir, traffic) = self.begin(Peer::Redb, stored, 1)?;
        let file = dir.path().join(Peer::Redb.file());
        let mut store = if stored == 0 { Simple::create(&file) } else { Simple::open(&file) }?;
        self.grouped(&mut store, traffic, group, REDB_DURABILITY)
    }

    fn grouped(
        &self,
        store: &mut dyn GroupStore,
        mut traffic: Vec<Traffic>,
        group: usize,
        durability: &str,
    ) -> Result<Entry, Fault> {
        let traffic = traffic.first_mut().ok_or("there is no traffic")?;
        let Options { warm_up, duration, .. } = *self.options;
        let before = Usage::now()?;
        let from = store.stored();
        let measured = run_for(store, traffic, group, warm_up, duration)?;
        let spent = Usage::now()?.since(&before);
        let mut entry = self.entry(durability, &measured);
        entry.settings =
            json!({ "events_per_commit": group, "traffic": self.options.shape, "stored_before": from });
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

    pub(super) fn embedded_entry(&self, durability: &str, events: u64, spent: &Spent) -> Entry {
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
            reads: None,
            figures: Vec::new(),
        }
    }

    pub(super) fn probe(&self, of: Of, length: Duration) -> Probe {
        Probe::new(of, &self.variant.name(self.options), length)
    }

    /// A figure without events is none.
    pub(super) fn stored(&self, entry: Entry) -> Result<Entry, Fault> {
        if entry.counts.stored == 0 {
            let counts = entry.counts;
            return Err(format!(
                "nothing was stored in the {} s that were measured: {counts:?}",
                entry.seconds
            )
            .into());
        }
        Ok(entry)
    }
}

/// Reads that were measured.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(super) fn told(measured: &Measured) -> Reads {
    Reads {
        reads_per_s: measured.counts.stored as f64 / measured.seconds,
        failed: measured.counts.failed,
        latency: measured.latency(),
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
