//! The load generator as a program: how much a server does, or how long users wait for it at a given rate.

use clap::{Parser, ValueEnum};
use serde_json::json;
use spoor::Settings;
use spoor_benches::Fault;
use spoor_benches::book::{Book, Entry};
use spoor_benches::load::protocol::Protocol;
use spoor_benches::load::{Pace, Plan, Target, Version, run};
use spoor_benches::machine::Machine;
use spoor_benches::page::html;
use spoor_benches::postgres::Cluster;
use spoor_benches::probe::{Of, Probe};
use spoor_benches::servers::{Beside, Inside, Kind, built_beside};
use spoor_benches::traffic::{Shape, Traffic, settings};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whom to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// Ours in this process, which can be looked into.
    Inside,
    /// Ours as a process of its own.
    Child,
    /// One that parses and answers, and stores nothing.
    Parse,
    /// One that appends to a plain file, durably, and answers.
    Append,
    /// PostgreSQL with tables and functions for the same work, without HTTP.
    Postgres,
}

#[derive(Debug, Parser)]
#[command(
    name = "spoor-load",
    about = "Sends the traffic of a shop to a server, and says how long it waited"
)]
struct Arguments {
    /// A server that runs, HOST:PORT. It needs the sources `web` and `shop` and the identifier `ssn`: docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["server", "program"])]
    address: Option<SocketAddr>,
    /// What to start instead.
    #[arg(long, value_enum, default_value = "inside")]
    server: Server,
    /// The binary of `--server child`; without, the one that was built beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Where its data are made, and removed; on the disk to be measured.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How requests are written.
    #[arg(long, value_enum, default_value = "json")]
    protocol: Protocol,
    /// Version of HTTP.
    #[arg(long, value_enum, default_value = "1.1")]
    http: Version,
    /// Requests due a second, of all connections together: an open loop. Without, a closed one: each connection
    /// sends its next request when it has the answer to its last.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests in flight on each connection; more than one takes `--http 2` or `--protocol stream`.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Events in a request.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// The events of a request are of one session, in one item; otherwise each is an item of an array.
    #[arg(long)]
    gathered: bool,
    /// Threads that send.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds that are not measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds that are.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Sessions that are active at once.
    #[arg(long, default_value_t = Shape::default().sessions)]
    sessions: usize,
    /// Devices at most, and so profiles.
    #[arg(long)]
    profiles: Option<usize>,
    /// Of a hundred events that are not the first of their session, so many say who it was.
    #[arg(long, default_value_t = 5.0)]
    identify: f64,
    /// Of a hundred sessions, so many are of devices that were there before.
    #[arg(long, default_value_t = 50.0)]
    returning: f64,
    /// The same seed makes the same traffic.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What a server that is started here keeps in memory of what changed, in MiB.
    #[arg(long)]
    overlay_mib: Option<usize>,
    /// After this much silence sessions end, in milliseconds, on servers that are started here.
    #[arg(long, default_value_t = 5_000)]
    inactivity_ms: i64,
    /// Write the report there, as text, as JSON and as a page: NAME.txt, NAME.json, NAME.html.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Arguments {
    fn shape(&self) -> Shape {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
        let per_mille = |percent: f64| (percent.clamp(0.0, 100.0) * 10.0).round() as u32;
        Shape {
            seed: self.seed,
            sessions: self.sessions,
            identify_per_mille: per_mille(self.identify),
            returning_per_mille: per_mille(self.returning),
            devices_max: self.profiles.unwrap_or(usize::MAX),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = settings(self.inactivity_ms);
        if let Some(mib) = self.overlay_mib {
            settings.store.overlay_bytes = mib << 20;
        }
        settings
    }

    fn plan(&self, target: Target) -> Plan {
        Plan {
            pace: self.rate.map_or(Pace::Closed, |requests_per_s| Pace::Open { requests_per_s }),
            connections: self.connections.max(1),
            streams: self.streams.max(1),
            batch: self.batch.max(1),
            gathered: self.gathered,
            threads: self.threads.max(1),
            warm_up: Duration::from_secs_f64(self.warm_up.max(0.0)),
            duration: Duration::from_secs_f64(self.seconds.max(0.1)),
            target,
        }
    }

    fn http(&self, address: SocketAddr) -> Plan {
        self.plan(Target::Http { address, version: self.http, protocol: self.protocol })
    }

    fn measure(&self, name: &str, durability: &str, plan: &Plan, probe: Probe) -> Result<Entry, Fault> {
        let mut probe = probe;
        let traffic = Traffic::parts(self.shape(), plan.clients())?;
        let (measured, _) = run(plan, traffic, &mut probe)?;
        let mut entry = Entry::new("load", name, durability, &measured);
        entry.settings = json!({ "load": plan, "traffic": self.shape() });
        probe.note(&mut entry);
        Ok(entry)
    }

    fn probe(&self, of: Of, name: &str) -> Probe {
        Probe::new(of, name, Duration::from_secs_f64(self.warm_up.max(0.0) + self.seconds.max(0.1)))
    }

    fn elsewhere(&self, address: SocketAddr) -> Result<Entry, Fault> {
        let name = format!("server at {address}");
        let probe = self.probe(Of::Nobody, &name);
        self.measure(&name, "whatever that server does", &self.http(address), probe)
    }

    fn inside(&self, kind: Kind) -> Result<Entry, Fault> {
        let (name, durability) = match kind {
            Kind::Spoor => ("server in this process", "the request's group is in the log and synced"),
            Kind::ParseOnly => ("server that only parses", "nothing: it stores nothing"),
            Kind::AppendOnly => ("server that only appends", "the group is in a plain file and synced"),
        };
        let dir = tempfile::Builder::new().prefix("load-").tempdir_in(&self.dir)?;
        let server = Inside::start(kind, dir.path(), &self.settings())?;
        let probe = self.probe(Of::ThisProcess, name).into(server.store()?, server.disk.as_ref());
        let entry = self.measure(name, durability, &self.http(server.address()?), probe)?;
        server.stop()?;
        Ok(entry)
    }

    fn child(&self) -> Result<Entry, Fault> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => built_beside()?,
        };
        let dir = tempfile::Builder::new().prefix("load-").tempdir_in(&self.dir)?;
        let server = Beside::start(&program, dir.path(), &self.settings())?;
        let name = "server as a process";
        let probe = self.probe(Of::Process(server.pid()), name);
        self.measure(name, "the request's group is in the log and synced", &self.http(server.address), probe)
    }

    fn postgres(&self, machine: &Machine) -> Result<Entry, Fault> {
        let cluster = Cluster::start(&self.dir, machine.memory_bytes)?;
        let plan = self.plan(Target::Postgres { socket: cluster.socket().to_owned() });
        let name = format!("PostgreSQL {}", cluster.version);
        let durability = format!("the transaction is committed; {}", Cluster::durability());
        self.measure(&name, &durability, &plan, self.probe(Of::Process(cluster.pid()), &name))
    }
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let machine = Machine::here(&arguments.dir)?;
    let entry = match (arguments.address, arguments.server) {
        (Some(address), _) => arguments.elsewhere(address)?,
        (None, Server::Inside) => arguments.inside(Kind::Spoor)?,
        (None, Server::Parse) => arguments.inside(Kind::ParseOnly)?,
        (None, Server::Append) => arguments.inside(Kind::AppendOnly)?,
        (None, Server::Child) => arguments.child()?,
        (None, Server::Postgres) => arguments.postgres(&machine)?,
    };
    let title = format!("Load on one {}", entry.name);
    let book = Book {
        title,
        machine,
        entries: vec![entry],
        ratios: Vec::new(),
        left_out: Vec::new(),
        failed: Vec::new(),
    };
    println!("{}", book.text());
    if let Some(out) = &arguments.out {
        std::fs::write(out.with_extension("txt"), book.text())?;
        std::fs::write(out.with_extension("json"), serde_json::to_string_pretty(&book)?)?;
        std::fs::write(out.with_extension("html"), html(&book))?;
    }
    Ok(())
}
